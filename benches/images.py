"""Images: pull, push, save, load and removal, in time, processor time, memory, bytes on the wire and on the disk. Part of bench.py."""

import io
import os
import statistics
import subprocess
import tarfile
import time

SCRATCH = "127.0.0.1:5001"
SMALL = 50


def wire():
    """Bytes that have gone over loopback."""
    with open("/proc/net/dev", encoding="utf-8") as file:
        for line in file:
            if line.strip().startswith("lo:"):
                return int(line.split(":")[1].split()[0])
    return 0


def cpu(engine, processor):
    return sum(processor(pid) for pid in engine.processes())


def disk(path):
    """Bytes that a folder takes, in MB; each inode once."""
    done = subprocess.run(["du", "-sx", "--block-size=1", path], capture_output=True, text=True, check=False)
    return int(done.stdout.split()[0]) / 1e6


class Scratch:
    """A registry that is empty at first."""

    def __init__(self, work):
        self.storage = f"{work}/scratch"
        os.makedirs(self.storage, exist_ok=True)
        with open(f"{work}/scratch.yml", "w", encoding="utf-8") as file:
            file.write(f'version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {self.storage}}}, delete: {{enabled: true}}}}\nhttp: {{addr: "{SCRATCH}"}}\n')
        log = open(f"{work}/scratch.log", "w", encoding="utf-8")
        self.server = subprocess.Popen(["docker-registry", "serve", f"{work}/scratch.yml"], stdout=log, stderr=log)
        time.sleep(1)

    def clear(self):
        subprocess.run(["rm", "-rf", f"{self.storage}/docker"], check=True)

    def stop(self):
        self.server.terminate()
        self.server.wait()


def measured(engine, processor, todo):
    """Runs `todo`; seconds, processor seconds of the daemon, its peak memory in MB, MB over loopback."""
    engine.reset_peak()
    before, sent = cpu(engine, processor), wire()
    start = time.perf_counter()
    todo()
    seconds = time.perf_counter() - start
    return seconds, cpu(engine, processor) - before, engine.memory("VmHWM") / 1024, (wire() - sent) / 1e6


def compare(row, rounds, processor, engines, what, goal, todo, between=lambda engine: None):
    """Both engines in turn; medians as rows."""
    seen = {engine: [] for engine in engines}
    for _ in range(rounds):
        for engine in engines:
            seen[engine].append(measured(engine, processor, lambda e=engine: todo(e)))
            between(engine)
    ours, theirs = ([statistics.median(values) for values in zip(*seen[engine])] for engine in engines)
    for unit, name, at, wanted in (("s", "", 0, goal), ("s", ", processor time", 1, "-"), ("MB", ", peak memory", 2, "-"), ("MB", ", on the wire", 3, "-")):
        row(what + name, wanted, unit, ours[at], theirs[at], "dockerd")


def small_image(number):
    """A tar with one file of its own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        data = os.urandom(20_000) + str(number).encode()
        entry = tarfile.TarInfo(f"file-{number}")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def benches(row, args, registry, processor):
    """The benches of images, for bench.py's list."""
    large = f"{registry}/large:gzip"

    def run(*words):
        return lambda engine: engine.run("docker", *words)

    def bench_image_store(wharf, dockerd):
        engines, rounds = (wharf, dockerd), 3
        empty = {engine: disk(f"{engine.root}/data") for engine in engines}
        compare(row, rounds, processor, engines, "pull of 1.1 GB, gzip", "2x", run("pull", "-q", large), run("rmi", large))
        for engine in engines:
            engine.run("docker", "pull", "-q", large)
        taken = [disk(f"{engine.root}/data") - empty[engine] for engine in engines]
        row("what 1.1 GB of layers take on the disk", "-", "MB", taken[0], taken[1], "dockerd")
        compare(row, rounds, processor, engines, "pull of what is there", "-", run("pull", "-q", large))
        archive = {engine: f"{engine.root}/large.tar" for engine in engines}
        compare(row, rounds, processor, engines, "save of 1.1 GB", "-", lambda e: e.run("docker", "save", "-o", archive[e], large))
        compare(row, rounds, processor, engines, "rmi of 1.1 GB in 12 layers", "-", run("rmi", large), run("pull", "-q", large))
        for engine in engines:
            engine.run("docker", "rmi", large)
        compare(row, rounds, processor, engines, "load of 1.1 GB", "-", lambda e: e.run("docker", "load", "-q", "-i", archive[e]), run("rmi", large))
        for path in archive.values():
            os.remove(path)

    def bench_image_push(wharf, dockerd):
        engines, target = (wharf, dockerd), f"{SCRATCH}/large:1"
        scratch = Scratch(args.work)
        try:
            for engine in engines:
                engine.run("docker", "pull", "-q", large)
                engine.run("docker", "tag", large, target)
            compare(row, 3, processor, engines, "push of 1.1 GB, gzip", "-", run("push", "-q", target), lambda _: scratch.clear())
            for engine in engines:
                engine.run("docker", "rmi", "-f", large, target)
        finally:
            scratch.clear()
            scratch.stop()

    def bench_image_small(wharf, dockerd):
        engines = (wharf, dockerd)
        names = [f"{SCRATCH}/small:{number}" for number in range(SMALL)]
        scratch = Scratch(args.work)
        try:
            for number, name in enumerate(names):
                subprocess.run(["docker", "import", "-", name], input=small_image(number), env=wharf.env, stdout=subprocess.DEVNULL, check=True)
            wharf.run("docker", "push", "-q", "-a", f"{SCRATCH}/small")
            wharf.run("docker", "rmi", *names)

            def pull(engine):
                for name in names:
                    engine.run("docker", "pull", "-q", name)

            compare(row, 3, processor, engines, f"pull of {SMALL} small images, one after another", "-", pull, run("rmi", *names))
            compare(row, 3, processor, engines, f"pull -a of {SMALL} small images", "-", run("pull", "-q", "-a", f"{SCRATCH}/small"), run("rmi", *names))
        finally:
            scratch.stop()
            scratch.clear()

    return (bench_image_store, bench_image_push, bench_image_small)
