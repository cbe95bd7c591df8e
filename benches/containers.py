"""Containers: the end of one, lists and records of many, a daemon's start with many, statistics. Part of bench.py."""

import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

# It ends at SIGTERM, as a service does: what is measured is the engine.
SERVICE = ("busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait")


def fill(engine, count, *words):
    """Makes `count` containers from eight clients, with the command's words."""
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda _: engine.run("docker", *words, "--network", "none", *SERVICE), range(count)))


def listed(engine, *words):
    return subprocess.run(["docker", "ps", "-q", "--no-trunc", *words], env=engine.env, capture_output=True, text=True, check=True).stdout.split()


def clear(engine):
    ids = listed(engine, "-a")
    for start in range(0, len(ids), 100):
        engine.run("docker", "rm", "-f", *ids[start:start + 100])


def benches(row, in_turn, args):
    wharf_client = f"{args.bin}/wharf"

    def bench_stop(wharf, dockerd):
        def end(engine, client):
            engine.run("docker", "run", "-d", "--name", "ends", *SERVICE)
            return engine.run(client, "stop", "ends") + engine.run(client, "rm", "ends")

        medians = in_turn(args.rounds, wharf=lambda: end(wharf, wharf_client), stock=lambda: end(wharf, "docker"), dockerd=lambda: end(dockerd, "docker"))
        row("stop and rm, wharf / docker", "5x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
        row("stop and rm, stock docker", "-", "ms", medians["stock"], medians["dockerd"], "dockerd")

    def bench_list(wharf, dockerd):
        count = args.containers
        try:
            for engine in (wharf, dockerd):
                fill(engine, count, "create")
            for what, words in (("ps -a", ("ps", "-a")), ("ps -a by a filter", ("ps", "-aq", "--filter", "label=nobody"))):
                medians = in_turn(args.rounds, wharf=lambda w=words: wharf.run(wharf_client, *w), stock=lambda w=words: wharf.run("docker", *w), dockerd=lambda w=words: dockerd.run("docker", *w))
                row(f"{what} of {count} containers, wharf / docker", "5x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
                row(f"{what} of {count} containers, stock docker", "-", "ms", medians["stock"], medians["dockerd"], "dockerd")
            one = {engine: listed(engine, "-a")[-1] for engine in (wharf, dockerd)}
            many = {engine: listed(engine, "-a")[:100] for engine in (wharf, dockerd)}
            for what, ids in (("inspect of one", {e: [i] for e, i in one.items()}), (f"inspect of {len(many[wharf])}", many)):
                medians = in_turn(
                    args.rounds,
                    wharf=lambda i=ids: wharf.run(wharf_client, "inspect", *i[wharf]),
                    stock=lambda i=ids: wharf.run("docker", "inspect", *i[wharf]),
                    dockerd=lambda i=ids: dockerd.run("docker", "inspect", *i[dockerd]),
                )
                row(f"{what} among {count} containers, wharf / docker", "5x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
                row(f"{what} among {count} containers, stock docker", "-", "ms", medians["stock"], medians["dockerd"], "dockerd")
        finally:
            for engine in (wharf, dockerd):
                clear(engine)

    def bench_restart(wharf, dockerd):
        """The daemon ends and comes back with its containers alive, for both: `live-restore`."""
        count, engines = args.running, (wharf, dockerd)
        try:
            for engine in engines:
                engine.configure('{"live-restore": true}')
                engine.restart()
                fill(engine, count, "run", "-d")
            # By SIGTERM alone: a dockerd that was killed finds its containerd in the way.
            seen = {engine: [] for engine in engines}
            for _ in range(3):
                for engine in engines:
                    start = time.perf_counter()
                    engine.restart()
                    alive = len(listed(engine))
                    seen[engine].append(time.perf_counter() - start)
                    if alive != count:
                        raise RuntimeError(f"{engine.name}: {alive} of {count} containers are there after its start")
            row(f"stop and start of the daemon, {count} running", "5x", "ms", *(statistics.median(seen[engine]) * 1000 for engine in engines), "dockerd")
        finally:
            for engine in engines:
                clear(engine)
                engine.configure("{}")
                engine.restart()

    def bench_stats(wharf, dockerd):
        try:
            for engine in (wharf, dockerd):
                fill(engine, args.running, "run", "-d")
            rounds = min(args.rounds, 5)
            medians = in_turn(
                rounds,
                wharf=lambda: wharf.run(wharf_client, "stats", "--no-stream"),
                stock=lambda: wharf.run("docker", "stats", "--no-stream"),
                dockerd=lambda: dockerd.run("docker", "stats", "--no-stream"),
            )
            # Whoever computes a share of the processors looks twice, a second apart.
            row(f"stats --no-stream of {args.running}, wharf / docker", "not slower", "ms", medians["wharf"], medians["dockerd"], "dockerd")
            row(f"stats --no-stream of {args.running}, stock docker", "not slower", "ms", medians["stock"], medians["dockerd"], "dockerd")
        finally:
            for engine in (wharf, dockerd):
                clear(engine)

    return (bench_stop, bench_list, bench_restart, bench_stats)
