"""Builds: the same folders built by Wharf's command, by the stock one with either of its builders, and by buildah. Part of bench.py.

A measure takes every way to build in turn. What changes between two builds changes before each of them, as those that ask the same
engine would find what another one has left in its cache.
"""

import os
import shutil
import statistics
import subprocess
import time

from images import small_image

# What is compared: the client, its way on Wharf, and whose it is held against.
PAIRS = (
    ("wharf build", "wharf", "classic"),
    ("wharf build", "wharf", "buildkit"),
    ("wharf build", "wharf", "buildah"),
    ("docker build", "wharf-classic", "classic"),
    ("docker buildx build", "wharf-buildx", "buildkit"),
)
PROJECT = """FROM busybox
ENV MODE=release
WORKDIR /src
COPY settings ./
RUN cat settings > /settings
COPY source/ source/
RUN cat source/*/* | sha256sum > /sum
CMD ["cat", "/sum"]
"""
BUSYBOX = """FROM debian-build AS build
WORKDIR /src
COPY busybox/ ./
RUN make -s allnoconfig && for one in STATIC BUSYBOX ASH SH_IS_ASH ECHO; do sed -i "s/# CONFIG_$one is not set/CONFIG_$one=y/" .config; done && (yes n | make -s oldconfig > /dev/null)
RUN make -s -j2 && make -s install CONFIG_PREFIX=/out
FROM scratch
COPY --from=build /out/ /
"""
REDIS = """FROM debian-build AS build
WORKDIR /src
COPY redis/deps ./deps
COPY redis/src ./src
RUN make -s -j2 -C src redis-server redis-cli MALLOC=libc OPTIMIZATION=-O0 > /dev/null && install -D -t /out/bin src/redis-server src/redis-cli
FROM scratch
COPY --from=build /out/ /
"""


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())


class Way:
    """A command that builds a folder, and the engine that it asks, if any."""

    def __init__(self, engine, words, env):
        self.engine, self.words, self.env = engine, words, env

    def run(self, *words):
        done = subprocess.run(words, env=self.env, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.decode()[-2000:]}")

    def build(self, folder, options):
        """Seconds."""
        start = time.perf_counter()
        self.run(*self.words, "-t", "built", *options, folder)
        return time.perf_counter() - start

    def forget(self):
        """Only the base images are left."""
        subprocess.run(["docker", "rmi", "-f", "built"], env=self.env, capture_output=True, check=False)
        for what in (("image", "prune", "-f"), ("builder", "prune", "-af")):
            self.run("docker", *what)


class Buildah(Way):
    def __init__(self, work):
        self.program = [f"{os.environ['WHARF_BUILDAH']}/buildah", "--root", f"{work}/buildah/root", "--runroot", f"{work}/buildah/run"]
        super().__init__(None, [*self.program, "bud", "-q", "--layers"], dict(os.environ, HOME=work))

    def take(self, engine, image):
        """Gets an image of an engine."""
        archive = f"{engine.root}/{image}.tar"
        engine.run("docker", "save", "-o", archive, image)
        self.run(*self.program, "pull", "-q", f"docker-archive:{archive}")
        os.remove(archive)

    def forget(self):
        subprocess.run([*self.program, "rmi", "built"], env=self.env, capture_output=True, check=False)
        self.run(*self.program, "rmi", "--prune", "-f")


def forget(way):
    way.forget()


def ways(args, wharf, dockerd):
    """All of them by name."""
    def stock(engine, kit):
        plugins = {"DOCKER_CONFIG": os.environ["WHARF_PLUGINS"], "BUILDX_CONFIG": f"{engine.root}/buildx"} if kit else {}
        return Way(engine, ["docker", *(("buildx",) if kit else ()), "build", "-q"], dict(engine.env, DOCKER_BUILDKIT=str(int(kit)), **plugins))

    return {
        "wharf": Way(wharf, [f"{args.bin}/wharf", "build", "-q"], wharf.env),
        "wharf-classic": stock(wharf, False),
        "wharf-buildx": stock(wharf, True),
        "classic": stock(dockerd, False),
        "buildkit": stock(dockerd, True),
        "buildah": Buildah(args.work),
    }


def benches(row, args):
    """The measures, in the order they run; bench.py has the engines."""
    built = {}

    def all_ways(wharf, dockerd):
        if not built:
            built.update(ways(args, wharf, dockerd))
            built["buildah"].take(dockerd, "busybox")
        return built

    def scaled(number):
        return max(1, round(number * args.share))

    def folder(name):
        path = f"{args.work}/context-{name}"
        os.makedirs(path)
        return path

    def measure(by, rounds, path, prepare, options=lambda name: ()):
        """Medians of the seconds of every way's builds, each after `prepare`, and of the most MB of memory that its daemon had."""
        seen = {name: [] for name in by}
        for _ in range(rounds):
            for name, way in by.items():
                prepare(way)
                more = options(name)
                os.sync()
                if way.engine:
                    way.engine.reset_peak()
                seconds = way.build(path, more)
                seen[name].append((seconds, way.engine.memory("VmHWM") / 1024 if way.engine else 0))
        return {name: [statistics.median(values) for values in zip(*all_of)] for name, all_of in seen.items()}

    def report(what, goal, measured, memory=False):
        for client, ours, theirs in PAIRS:
            if ours in measured and theirs in measured:
                (mine, my_peak), (other, its_peak) = measured[ours], measured[theirs]
                unit, factor = ("ms", 1000) if other < 10 else ("s", 1)
                row(f"{what}, {client}", goal, unit, mine * factor, other * factor, theirs)
                if memory and theirs != "buildah":
                    row(f"{what}, {client}, peak memory", "-", "MB", my_peak, its_peak, theirs)

    def compare(what, goal, *how):
        report(what, goal, measure(*how))

    def warm(by, path, options=lambda name: ()):
        for name, way in by.items():
            way.build(path, options(name))

    def changing(path):
        """Gives a file another line, which differs each time."""
        count = iter(range(10**6))
        return lambda _: write(path, f"line {next(count)}\n")

    def project():
        path = folder("project")
        write(f"{path}/Dockerfile", PROJECT)
        write(f"{path}/settings", "a = 1\n")
        for number in range(200):
            write(f"{path}/source/{number % 20}/{number}.c", os.urandom(2048).hex())
        return path

    def bench_build_again(wharf, dockerd):
        by, path = all_ways(wharf, dockerd), project()
        warm(by, path)
        compare("no-op rebuild", "5x", by, scaled(10), path, lambda _: None)
        compare("one-line change", "2x", by, scaled(10), path, changing(f"{path}/source/0/0.c"))
        shutil.rmtree(path)

    def transfer(groups, what, path, rounds, renew):
        """A folder that is not known yet, and one that is. Groups of ways go one after the other."""
        write(f"{path}/Dockerfile", "FROM scratch\nCOPY data /data\n")
        steps = {"first": renew, "as before": lambda _: None, "a file changed": changing(f"{path}/data/0/changes")}
        seen = {step: {} for step in steps}
        for by in groups:
            for step, prepare in steps.items():
                seen[step].update(measure(by, rounds, path, prepare))
                if step == "first":
                    warm(by, path)
            for way in by.values():
                way.forget()
        for step, measured in seen.items():
            report(f"{what}, {step}", "5x", measured, memory=step == "first")
        shutil.rmtree(path)

    def bench_build_files(wharf, dockerd):
        path, count = folder("files"), scaled(50_000)

        def renew(_):
            # Not forgotten: for minutes ext4 is slow to make files where many have just been removed.
            for number in range(count):
                write(f"{path}/data/{number % 500}/{number}", os.urandom(512).hex())

        renew(None)
        transfer([all_ways(wharf, dockerd)], f"{count:,} files", path, 3, renew)

    def bench_build_bytes(wharf, dockerd):
        path, size = folder("bytes"), scaled(2000)
        for number in range(20):
            write(f"{path}/data/{number % 4}/{number}", os.urandom(size * 50_000))
        # Each way for itself: the disk need not hold what all of them keep.
        apart = [{name: way} for name, way in all_ways(wharf, dockerd).items()]
        transfer(apart, f"{size:,} MB", path, 2, forget)

    def bench_build_stages(wharf, dockerd):
        by, path = all_ways(wharf, dockerd), folder("stages")
        stages = "".join(f"FROM busybox AS s{number}\nRUN echo {number} | sha256sum > /sum\n" for number in range(20))
        copies = "".join(f"COPY --from=s{number} /sum /{number}\n" for number in range(20))
        write(f"{path}/Dockerfile", f"{stages}FROM busybox\n{copies}")
        compare("20 stages", "2x", by, 3, path, lambda _: None, lambda _: ("--no-cache",))
        shutil.rmtree(path)

    def bench_build_rebase(wharf, dockerd):
        by = {name: way for name, way in all_ways(wharf, dockerd).items() if way.engine}
        path, rounds, count = folder("rebase"), 3, iter(range(1000))
        # What dockerd's classic builder has not got is left out for it.
        for name, link in (("plain", ""), ("link", "--link ")):
            write(f"{path}/{name}", f"ARG BASE\nFROM $BASE\nCOPY {link}data /data\n")
        for number in range(20):
            write(f"{path}/data/{number}", os.urandom(scaled(10_000_000)))
        for number in range(len(by) * (rounds + 1)):
            image = small_image(number)
            for engine in (wharf, dockerd):
                subprocess.run(["docker", "import", "-", f"base:{number}"], input=image, env=engine.env, stdout=subprocess.DEVNULL, check=True)

        def onto_the_next(name):
            return ("-f", f"{path}/{'plain' if name == 'classic' else 'link'}", "--build-arg", f"BASE=base:{next(count)}")

        warm(by, path, onto_the_next)
        compare(f"rebase of {scaled(200)} MB", "2x", by, rounds, path, lambda _: None, onto_the_next)
        shutil.rmtree(path)

    def bench_build_cold(wharf, dockerd):
        by, archive = all_ways(wharf, dockerd), f"{os.environ['WHARF_APPLICATIONS']}/build.tar.gz"
        for engine in (wharf, dockerd):
            engine.run("docker", "import", archive, "debian-build")
        by["buildah"].take(dockerd, "debian-build")
        for name, text, source in (("busybox", BUSYBOX, "WHARF_APPLICATIONS"), ("redis", REDIS, "WHARF_SOURCES")):
            path = folder(name)
            shutil.copytree(f"{os.environ[source]}/{name}", f"{path}/{name}", symlinks=True)
            write(f"{path}/Dockerfile", text)
            compare(f"cold build of {name}", "2x", by, 1, path, forget)
            shutil.rmtree(path)

    return (bench_build_again, bench_build_files, bench_build_bytes, bench_build_stages, bench_build_rebase, bench_build_cold)
