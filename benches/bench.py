"""Measures Wharf beside dockerd and the bare runtimes. Run by run.sh, inside a world of its own."""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time

import builds
import containers
import images
import network

parser = argparse.ArgumentParser()
parser.add_argument("bin")
parser.add_argument("fixtures")
parser.add_argument("work")
parser.add_argument("--rounds", type=int, default=20)
parser.add_argument("--only", default="")
parser.add_argument("--share", type=float, default=1.0, help="of the networks, containers, ports and seconds of benches/network.py, and of the files and bytes of builds.py: 0.1 is a trial")
parser.add_argument("--containers", type=int, default=1000, help="how many there are for lists")
parser.add_argument("--running", type=int, default=100, help="how many run when a daemon starts again")
args = parser.parse_args()

REGISTRY = "127.0.0.1:5000"


class Engine:
    """A daemon, the clients that speak to it, and its processes."""

    def __init__(self, name, command):
        self.name = name
        self.root = os.path.join(args.work, name)
        os.makedirs(self.root)
        self.socket = f"{self.root}/engine.sock"
        self.command = [*command, "-H", f"unix://{self.socket}", "--data-root", f"{self.root}/data"]
        # As by default, in memory.
        self.command += ["--exec-root", f"/run/{name}"]
        self.command += ["--pidfile", f"{self.root}/pid", "--config-file", f"{self.root}/daemon.json"]
        self.env = dict(os.environ, DOCKER_HOST=f"unix://{self.socket}", HOME=self.root)
        self.configure("{}")
        self.launch()

    def configure(self, text):
        """daemon.json from the next start on."""
        with open(f"{self.root}/daemon.json", "w", encoding="utf-8") as file:
            file.write(text)

    def launch(self):
        """Starts the daemon, and waits until it answers."""
        with open(f"{self.root}/log", "a", encoding="utf-8") as log:
            self.daemon = subprocess.Popen(self.command, stdout=log, stderr=log)
        while not self.answers():
            if self.daemon.poll() is not None:
                sys.exit(f"{self.name} did not start: {open(f'{self.root}/log', encoding='utf-8').read()}")
            time.sleep(0.002)

    def stop(self):
        self.daemon.terminate()
        self.daemon.wait()

    def restart(self):
        """Ends the daemon, and starts it again."""
        self.stop()
        self.launch()

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self.socket)
                client.sendall(b"GET /_ping HTTP/1.0\r\nHost: d\r\n\r\n")
                return b" 200 " in client.recv(100)
        except OSError:
            return False

    def run(self, client, *words):
        """Runs a client to its end; its seconds."""
        start = time.perf_counter()
        done = subprocess.run([client, *words], env=self.env, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {words}: {done.stderr.decode()}")
        return time.perf_counter() - start

    def processes(self):
        """The daemon's processes (dockerd: containerd too), not those of containers."""
        children = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    children.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(pid))
            except OSError:
                pass
        return [self.daemon.pid] + [pid for pid in children.get(self.daemon.pid, []) if comm(pid) == "containerd"]

    def memory(self, field="VmRSS"):
        return sum(status(pid, field) for pid in self.processes())

    def reset_peak(self):
        for pid in self.processes():
            with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as file:
                file.write("5")


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def status(pid, field):
    """A field of /proc/PID/status, in KiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def private(pid):
    """Private memory of a process, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_"))


rows = []


def row(what, goal, unit, ours, theirs, peer, more=False):
    """One line; the ratio says how many times better ours is: less of it, or `more`."""
    less, greater = (theirs, ours) if more else (ours, theirs)
    ratio = greater / less if less else float("inf")
    rows.append((what, goal, ours, theirs, peer, unit, ratio))
    print(f"{what:58} wharf {ours:9.1f} {unit:5} {peer:8} {theirs:9.1f} {unit:5} ratio {ratio:6.1f}  goal {goal}", flush=True)


def in_turn(rounds, **measures):
    """Runs the measures in turn, and returns the median of each, in milliseconds."""
    seen = {name: [] for name in measures}
    for measure in measures.values():
        measure()
    for _ in range(rounds):
        for name, measure in measures.items():
            seen[name].append(measure() * 1000)
    return {name: statistics.median(times) for name, times in seen.items()}


def bench_run(wharf, dockerd):
    for net, goals in (("none", ("4x", "12x")), ("bridge", ("4x", "15x"))):
        words = ("run", "--rm", "--network", net, "busybox", "true")
        medians = in_turn(
            args.rounds,
            docker_on_wharf=lambda w=words: wharf.run("docker", *w),
            docker_on_dockerd=lambda w=words: dockerd.run("docker", *w),
            wharf_on_wharf=lambda w=words: wharf.run(f"{args.bin}/wharf", *w),
        )
        row(f"run --rm --network {net} true, stock docker", goals[0], "ms", medians["docker_on_wharf"], medians["docker_on_dockerd"], "dockerd")
        row(f"run --rm --network {net} true, wharf / docker", goals[1], "ms", medians["wharf_on_wharf"], medians["docker_on_dockerd"], "dockerd")


def bench_exec(wharf, dockerd):
    for engine in (wharf, dockerd):
        engine.run("docker", "run", "-d", "--name", "exec", "busybox", "sleep", "100000")
    words = ("exec", "exec", "true")
    medians = in_turn(
        args.rounds,
        wharf=lambda: wharf.run(f"{args.bin}/wharf", *words),
        stock=lambda: wharf.run("docker", *words),
        dockerd=lambda: dockerd.run("docker", *words),
    )
    row("exec true, wharf / docker", "5x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
    row("exec true, stock docker", "-", "ms", medians["stock"], medians["dockerd"], "dockerd")
    for engine in (wharf, dockerd):
        engine.run("docker", "rm", "-f", "exec")


def burst(engine, client):
    """50 containers from 8 clients; containers per second."""
    todo = list(range(50))
    lock = threading.Lock()

    def work():
        while True:
            with lock:
                if not todo:
                    return
                todo.pop()
            engine.run(client, "run", "-d", "--label", "burst", "busybox", "sleep", "100000")

    threads = [threading.Thread(target=work) for _ in range(8)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 50 / (time.perf_counter() - start)


def clear(engine):
    listed = subprocess.run(["docker", "ps", "-aq"], env=engine.env, capture_output=True, text=True, check=True)
    ids = listed.stdout.split()
    if ids:
        engine.run("docker", "rm", "-f", *ids)


def bench_burst(wharf, dockerd):
    ours, theirs = [], []
    for _ in range(3):
        ours.append(burst(wharf, f"{args.bin}/wharf"))
        shims = shim_memory()
        clear(wharf)
        theirs.append(burst(dockerd, "docker"))
        clear(dockerd)
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    ratio = ours / theirs
    print(f"{'50 containers from 8 clients':58} wharf {ours:9.1f} /s    dockerd  {theirs:9.1f} /s    ratio {ratio:6.1f}  goal 5x", flush=True)
    rows.append(("50 containers from 8 clients", "5x", ours, theirs, "dockerd", "/s", ratio))
    print(f"{'private memory of a shim, median of 50':58} wharf {shims:9.1f} KiB   goal 1024", flush=True)
    rows.append(("private memory of a shim", "1024 KiB", shims, 0, "-", "KiB", 0))


def shim_memory():
    pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and comm(int(pid)).startswith("wharf-shim")]
    return statistics.median(private(pid) for pid in pids) if pids else float("nan")


def processor(pid):
    """Seconds of processor time that a process has had."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def log_run(engine, lines, times):
    """A container that writes as fast as it can, nobody attached; MB/s, and processor seconds of who logs for a GB."""
    def loggers():
        pids = engine.processes()
        pids += [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and comm(int(pid)).startswith(("wharf-shim", "containerd-sh"))]
        return {pid: processor(pid) for pid in pids}

    before = loggers()
    used = {}
    over = threading.Event()

    def watch():
        # What a process has had is gone with it, so it is looked at until then.
        while not over.is_set():
            for pid, seconds in loggers().items():
                used[pid] = max(used.get(pid, 0), seconds - before.get(pid, 0))
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    script = f"i=0; while [ $i -lt {times} ]; do cat /lines; i=$((i+1)); done"
    engine.run("docker", "create", "--name", "log", "--network", "none", "-v", f"{lines}:/lines:ro", "busybox", "sh", "-c", script)
    start = time.perf_counter()
    engine.run("docker", "start", "log")
    engine.run("docker", "wait", "log")
    seconds = time.perf_counter() - start
    over.set()
    watcher.join()
    engine.run("docker", "rm", "log")
    size = os.path.getsize(lines) * times / 1e6
    return size / seconds, sum(used.values()) * 1000 / size


def bench_logs(wharf, dockerd):
    lines = f"{args.work}/lines"
    with open(lines, "w", encoding="utf-8") as file:
        for number in range(100_000):
            file.write(f"{number:08} GET /an/address/that/is/neither/long/nor/short 200 some more words of a usual line\n")
    ours, theirs = [], []
    for _ in range(3):
        ours.append(log_run(wharf, lines, 30))
        theirs.append(log_run(dockerd, lines, 30))
    ours, theirs = ([statistics.median(values) for values in zip(*runs)] for runs in (ours, theirs))
    for what, goal, unit, index in (("json-file, one container, MB/s", "3x", "MB/s", 0), ("json-file, processor time per GB", "3x", "s", 1)):
        mine, other = ours[index], theirs[index]
        ratio = mine / other if index == 0 else other / mine
        rows.append((what, goal, mine, other, "dockerd", unit, ratio))
        print(f"{what:58} wharf {mine:9.1f} {unit:5} dockerd  {other:9.1f} {unit:5} ratio {ratio:6.1f}  goal {goal}", flush=True)


def bench_read_logs(wharf, dockerd):
    lines = f"{args.work}/few-lines"
    with open(lines, "w", encoding="utf-8") as file:
        for number in range(200_000):
            file.write(f"{number:08} GET /an/address/that/is/neither/long/nor/short 200 some more words of a usual line\n")
    for engine in (wharf, dockerd):
        engine.run("docker", "run", "--name", "read", "--network", "none", "-v", f"{lines}:/lines:ro", "busybox", "cat", "/lines")
    medians = in_turn(
        3,
        wharf=lambda: wharf.run("docker", "logs", "read"),
        dockerd=lambda: dockerd.run("docker", "logs", "read"),
    )
    row("logs of 200,000 lines, stock docker", "2x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
    medians = in_turn(
        args.rounds,
        wharf=lambda: wharf.run("docker", "logs", "-n", "10", "read"),
        dockerd=lambda: dockerd.run("docker", "logs", "-n", "10", "read"),
    )
    row("logs -n 10, stock docker", "not slower", "ms", medians["wharf"], medians["dockerd"], "dockerd")
    for engine in (wharf, dockerd):
        engine.run("docker", "rm", "-f", "read")


def bench_idle(wharf, dockerd):
    # Both have just loaded an image: idle is what they are after a quiet while.
    time.sleep(25)
    row("idle daemon, resident", "20 MB", "MB", wharf.memory() / 1024, dockerd.memory() / 1024, "dockerd")


def bench_pull(wharf, dockerd):
    for tag in ("gzip", "zstd"):
        image = f"{REGISTRY}/large:{tag}"
        if tag == "zstd":
            # Debian's dockerd 20.10 cannot read zstd layers.
            wharf.run("docker", "pull", "-q", image)
            seconds = []
            for _ in range(3):
                wharf.run("docker", "rmi", image)
                seconds.append(wharf.run("docker", "pull", "-q", image))
            print(f"{'pull of 1.1 GB in 12 layers, zstd':58} wharf {statistics.median(seconds):9.2f} s", flush=True)
            wharf.run("docker", "rmi", image)
            continue
        times, peaks = {wharf: [], dockerd: []}, {wharf: 0, dockerd: 0}
        for _ in range(3):
            for engine in times:
                engine.reset_peak()
                times[engine].append(engine.run("docker", "pull", "-q", image))
                peaks[engine] = max(peaks[engine], engine.memory("VmHWM"))
                engine.run("docker", "rmi", image)
        row(f"pull of 1.1 GB in 12 layers, {tag}", "2x", "s", statistics.median(times[wharf]), statistics.median(times[dockerd]), "dockerd")
        row(f"peak memory of that pull, {tag}", "2x", "MB", peaks[wharf] / 1024, peaks[dockerd] / 1024, "dockerd")


def bundle():
    folder = os.path.join(args.work, "bundle")
    os.makedirs(folder)
    shutil.copytree(f"{args.fixtures}/rootfs", f"{folder}/rootfs", symlinks=True)
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    with open(f"{folder}/config.json", encoding="utf-8") as file:
        spec = json.load(file)
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["true"]
    with open(f"{folder}/config.json", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    return folder


def bench_bundle(_wharf, _dockerd):
    folder = bundle()
    count = iter(range(10**6))

    def runtime(program):
        start = time.perf_counter()
        done = subprocess.run(
            [program, "--root", f"{args.work}/state-{os.path.basename(program)}", "run", "--bundle", folder, f"bench{next(count)}"],
            capture_output=True, stdin=subprocess.DEVNULL, check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")
        return time.perf_counter() - start

    measures = {"wharf": lambda: runtime(f"{args.bin}/wharf-shim"), "runc": lambda: runtime("runc")}
    try:
        runtime("crun")
        measures["crun"] = lambda: runtime("crun")
    except RuntimeError as error:
        print(f"crun does not run here: {str(error).strip()}")
    medians = in_turn(args.rounds, **measures)
    row("bare bundle, run true", "4x", "ms", medians["wharf"], medians["runc"], "runc")
    if "crun" in medians:
        row("bare bundle, run true", "faster", "ms", medians["wharf"], medians["crun"], "crun")


def main():
    with open(f"{args.work}/registry.yml", "w", encoding="utf-8") as file:
        file.write(f'version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {args.fixtures}/registry}}}}\nhttp: {{addr: "{REGISTRY}"}}\n')
    log = open(f"{args.work}/registry.log", "w", encoding="utf-8")
    registry = subprocess.Popen(["docker-registry", "serve", f"{args.work}/registry.yml"], stdout=log, stderr=log)
    wharf = Engine("wharf", [f"{args.bin}/wharf", "daemon"])
    dockerd = Engine("dockerd", ["dockerd", "--bip", "172.31.0.1/16"])
    busybox = ("load", "-q", "-i", f"{args.fixtures}/busybox.tar")
    for engine in (wharf, dockerd):
        engine.run("docker", *busybox)
    own = (bench_idle, bench_bundle, bench_run, bench_exec, bench_burst, bench_pull, bench_logs, bench_read_logs)
    measure(own + containers.benches(row, in_turn, args) + images.benches(row, args, REGISTRY, processor) + network.benches(row, in_turn, args.rounds, args.share), wharf, dockerd)
    dockerd.stop()
    built = builds.benches(row, args)
    if any(args.only in bench.__name__ for bench in built):
        # Both have a containerd of their own, and a bridge of the same name.
        os.environ["PATH"] = f"{os.environ['WHARF_DOCKERD']}:{os.environ['PATH']}"
        dockerd = Engine("dockerd-26", ["dockerd", "--bip", "172.31.0.1/16"])
        dockerd.run("docker", *busybox)
        measure(built, wharf, dockerd)
        dockerd.stop()
    wharf.stop()
    registry.terminate()
    registry.wait()


def measure(benches, wharf, dockerd):
    for bench in benches:
        if args.only in bench.__name__:
            try:
                bench(wharf, dockerd)
            except (RuntimeError, OSError) as error:
                print(f"{bench.__name__}: {error}")


main()
