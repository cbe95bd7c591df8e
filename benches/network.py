"""Networks: what setting them up costs, name resolution, and bytes through them. Part of bench.py.

iperf3, wrk and nginx are Debian's, run in the network namespaces of containers. Each measure of a set-up ends after as
many networks or containers as it wants, or when its time is over: then it is the rate that is compared.
"""

import json
import os
import re
import statistics
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

# Run inside a container's network namespace: so many questions, each a while after the one before (none: as soon as that
# is answered). Prints questions per second, the median of the answers' microseconds, and the 99th of a hundred.
LOOKUPS = """
import socket, struct, sys, time
query = bytearray(struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\\x06server\\x00\\x00\\x01\\x00\\x01")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect(("127.0.0.11", 53))
count, pause = int(sys.argv[1]), float(sys.argv[2])
start, took = time.perf_counter(), []
for number in range(count):
    while time.perf_counter() < start + number * pause:
        time.sleep(pause / 10)
    asked = time.perf_counter()
    query[0:2] = struct.pack(">H", number % 65536)
    sock.send(query)
    answer = sock.recv(512)
    took.append(time.perf_counter() - asked)
    assert answer[0:2] == query[0:2] and answer[3] & 15 == 0 and answer[7] == 1, answer
seconds = time.perf_counter() - start
took.sort()
print(count / seconds, took[count // 2] * 1e6, took[count * 99 // 100] * 1e6)
"""
# One byte there and back by one socket, as often as it goes.
ECHO = """
import socket
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 5002))
print("ready", flush=True)
while True:
    data, client = udp.recvfrom(64)
    udp.sendto(data, client)
"""
ASK = """
import socket, sys, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect((sys.argv[1], int(sys.argv[2])))
count, start = 0, time.perf_counter()
while time.perf_counter() - start < float(sys.argv[3]):
    udp.send(b"x")
    assert udp.recv(1) == b"x"
    count += 1
print(count / (time.perf_counter() - start))
"""
NGINX = """
daemon off;
worker_processes 1;
pid /tmp/nginx.pid;
error_log /dev/null;
events { worker_connections 512; }
http { access_log off; keepalive_requests 1000000; server { listen 5003; location / { return 200 "ok"; } } }
"""
# What goes where, and who serves.
WAYS = (
    ("container to container", "server", "client"),
    ("host loopback to published port", "server", None),
    ("container to host", None, "client"),
)


def busy():
    """Seconds that all processors of the machine have worked."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, *_ = (int(number) for number in stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def output(engine, *words):
    done = subprocess.run(["docker", *words], env=engine.env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def inside(engine, name, *words):
    """A command in a container's network namespace, or on the host."""
    if name is None:
        return [*words]
    return ["nsenter", "-t", output(engine, "inspect", "-f", "{{.State.Pid}}", name), "-n", *words]


class Programs:
    """Debian's programs over a copy of their tree that may be written to."""

    def __init__(self, work):
        self.root = f"{work}/programs/root"
        for folder in ("root", "upper", "work"):
            os.makedirs(f"{work}/programs/{folder}")
        options = f"lowerdir={os.environ['WHARF_CLIENTS']},upperdir={work}/programs/upper,workdir={work}/programs/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "programs", self.root], check=True)
        subprocess.run(["mount", "--bind", "/dev", f"{self.root}/dev"], check=True)
        with open(f"{self.root}/tmp/nginx.conf", "w", encoding="utf-8") as file:
            file.write(NGINX)

    def words(self, engine, name, *words):
        return inside(engine, name, "chroot", self.root, *words)


def address(engine, server, client, port, published):
    """Where the client finds the server."""
    if client is None:
        return "127.0.0.1", published
    template = ".Gateway" if server is None else ".IPAddress"
    name = client if server is None else server
    return output(engine, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{%s}}{{end}}" % template, name), port


def throughput(programs, engine, way, published, udp, seconds):
    """Megabytes per second that come, and seconds of all processors for each gigabyte of them."""
    _, server, client = way
    listen = programs.words(engine, server, "iperf3", "-s", "-1", "-p", "5001", "--forceflush")
    serving = subprocess.Popen(listen, stdout=subprocess.PIPE, text=True)
    while "listening" not in serving.stdout.readline():
        pass
    host, port = address(engine, server, client, 5001, published)
    # Datagrams as large as a link takes, as many as go.
    more = ("-u", "-b", "0", "-l", "1400") if udp else ()
    before = busy()
    send = programs.words(engine, client, "iperf3", "-J", "-c", host, "-p", str(port), "-t", str(seconds), *more)
    done = subprocess.run(send, capture_output=True, text=True, check=False)
    used = busy() - before
    serving.stdout.read()
    serving.wait()
    report = json.loads(done.stdout)
    if "error" in report:
        raise RuntimeError(f"{engine.name}: {way[0]}: {report['error']}")
    # The receiver of datagrams says what was lost.
    end = report["end"]["sum"] if udp else report["end"]["sum_received"]
    came = end["bytes"] * (1 - end.get("lost_percent", 0) / 100)
    return came / end["seconds"] / 1e6, used / (came / 1e9)


def requests(programs, engine, way, published, seconds):
    """Small requests of HTTP per second, over 16 connections, and the median of their microseconds."""
    _, server, client = way
    serving = subprocess.Popen(programs.words(engine, server, "nginx", "-c", "/tmp/nginx.conf"), stderr=subprocess.DEVNULL)
    try:
        host, port = address(engine, server, client, 5003, published)
        url = f"http://{host}:{port}/"
        while subprocess.run(programs.words(engine, client, "curl", "-s", "-o", "/dev/null", url), check=False).returncode:
            time.sleep(0.02)
        ask = programs.words(engine, client, "wrk", "-t1", "-c16", f"-d{seconds}s", "--latency", url)
        said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    finally:
        serving.terminate()
        serving.wait()
    rate = float(re.search(r"Requests/sec: +([0-9.]+)", said)[1])
    number, unit = re.search(r"50% +([0-9.]+)(us|ms|s)", said).groups()
    return rate, float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def datagrams(engine, published, seconds):
    """Round trips of a datagram per second from the host's loopback to a published port."""
    server = subprocess.Popen(inside(engine, "server", "python3", "-c", ECHO), stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        ask = ["python3", "-c", ASK, "127.0.0.1", str(published), str(seconds)]
        return (float(subprocess.run(ask, capture_output=True, text=True, check=True).stdout),)
    finally:
        server.kill()
        server.wait()


def by_turns(engines, measure):
    """Medians of each engine's numbers, measured three times in turn."""
    seen = {engine: [] for engine, _ in engines}
    for _ in range(3):
        for engine, port in engines:
            seen[engine].append(measure(engine, port))
    return {engine: [statistics.median(column) for column in zip(*rows)] for engine, rows in seen.items()}


def lookups(engine, count, pause):
    ask = inside(engine, "client", "python3", "-c", LOOKUPS, str(count), str(pause))
    done = subprocess.run(ask, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def as_many(do, names, limit, clients=1):
    """How many of `names` are done per second, and which: all, or those that were begun within so many seconds."""
    start, done = time.perf_counter(), []

    def one(name):
        if time.perf_counter() - start < limit:
            do(name)
            done.append(name)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, names))
    return len(done) / (time.perf_counter() - start), done


def benches(row, in_turn, rounds, share):
    """The measures, in the order they run; bench.py has the engines."""

    def part(number):
        return max(1, round(number * share))

    def compare(what, goal, unit, wharf, dockerd, more=False):
        row(what, goal, unit, wharf, dockerd, "dockerd", more)

    def bench_network_start(wharf, dockerd):
        for engine in (wharf, dockerd):
            engine.run("docker", "network", "create", "startnet")
        words = ("run", "--rm", "--network", "startnet", "busybox", "true")
        medians = in_turn(part(rounds), wharf=lambda: wharf.run("docker", *words), dockerd=lambda: dockerd.run("docker", *words))
        compare("run --rm on a user-defined network, stock docker", "5x", "ms", medians["wharf"], medians["dockerd"])
        for engine in (wharf, dockerd):
            engine.run("docker", "network", "rm", "startnet")

    def bench_network_create(wharf, dockerd):
        # From the API: the stock client takes longer to start than the daemon to make a network.
        seen = {}
        for engine, second in ((wharf, 100), (dockerd, 101)):
            names = [f"many{number}" for number in range(part(100))]

            def create(name):
                subnet = f"10.{second}.{name[4:]}.0/24"
                body = json.dumps({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})
                api(engine, "POST", "/networks/create", body, "201")

            seen[engine], made = as_many(create, names, 40)
            for name in made:
                api(engine, "DELETE", f"/networks/{name}", "", "204")
        compare(f"networks made, up to {part(100)} of them", "5x", "/s", seen[wharf], seen[dockerd], more=True)

    def bench_network_publish(wharf, dockerd):
        seen = {}
        for engine, first in ((wharf, 20000), (dockerd, 21000)):
            ports = f"{first}-{first + part(500) - 1}"
            seen[engine] = engine.run("docker", "run", "-d", "--name", "ports", "-p", f"{ports}:{ports}", "busybox", "sleep", "1000")
            engine.run("docker", "rm", "-f", "ports")
        compare(f"run -d with {part(500)} published ports", "5x", "s", seen[wharf], seen[dockerd])

    def pair(engine, port):
        engine.run("docker", "network", "create", "pair")
        ports = []
        for number, (inner, protocols) in enumerate(((5001, ("tcp", "udp")), (5002, ("udp",)), (5003, ("tcp",)))):
            for protocol in protocols:
                ports += ["-p", f"{port + 10 * number}:{inner}/{protocol}"]
        for name, more in (("server", ports), ("client", ())):
            engine.run("docker", "run", "-d", "--name", name, "--network", "pair", *more, "busybox", "sleep", "1000")

    def carried(engines, wharf, dockerd):
        programs, seconds = Programs(os.path.dirname(wharf.root)), max(1, round(2 * share))
        for way in WAYS:
            for udp in (False, True):
                seen = by_turns(engines, lambda engine, port: throughput(programs, engine, way, port, udp, seconds))
                what = f"{way[0]}, {'udp' if udp else 'tcp'}, iperf3"
                compare(f"{what}, MB/s", "1x", "MB/s", seen[wharf][0], seen[dockerd][0], more=True)
                compare(f"{what}, processors' seconds per GB", "1x", "s", seen[wharf][1], seen[dockerd][1])
            seen = by_turns(engines, lambda engine, port: requests(programs, engine, way, port + 20, seconds))
            compare(f"{way[0]}, small requests, wrk, 1/s", "1x", "/s", seen[wharf][0], seen[dockerd][0], more=True)
            compare(f"{way[0]}, small requests, wrk, median", "1x", "us", seen[wharf][1], seen[dockerd][1])
        seen = by_turns(engines, lambda engine, port: datagrams(engine, port + 10, seconds))
        compare("host loopback to published port, small datagrams, 1/s", "1x", "/s", seen[wharf][0], seen[dockerd][0], more=True)

    def bench_network_traffic(wharf, dockerd):
        # A dockerd's policy drops what crosses bridges that are not its own.
        for side in ("-i", "-o"):
            subprocess.run(["iptables", "-I", "DOCKER-USER", side, "br-+", "-j", "ACCEPT"], check=True)
        engines = ((wharf, 25001), (dockerd, 25002))
        try:
            for engine, port in engines:
                pair(engine, port)
            seen = by_turns(engines, lambda engine, _: lookups(engine, part(2000), 0))
            compare("lookups of a name in turn, 1/s", "1x", "/s", seen[wharf][0], seen[dockerd][0], more=True)
            seen = by_turns(engines, lambda engine, _: lookups(engine, part(2000), 0.001))
            for index, which in ((1, "median"), (2, "99 of 100")):
                compare(f"1,000 lookups per second, {which}", "1x", "us", seen[wharf][index], seen[dockerd][index])
            carried(engines, wharf, dockerd)
        finally:
            for engine, _ in engines:
                engine.run("docker", "rm", "-f", "server", "client")
                engine.run("docker", "network", "rm", "pair")

    def bench_network_many(wharf, dockerd):
        seen = {}
        for engine, subnet in ((wharf, "10.110.0.0/16"), (dockerd, "10.111.0.0/16")):
            engine.run("docker", "network", "create", "--subnet", subnet, "crowd")

            def start(name):
                engine.run("docker", "run", "-d", "--name", name, "--network", "crowd", "busybox", "sleep", "10000")

            names = [f"crowd{number}" for number in range(part(500))]
            seen[engine], made = as_many(start, names, 45, clients=8)
            engine.run("docker", "rm", "-f", *made)
            engine.run("docker", "network", "rm", "crowd")
        compare(f"containers onto one network, up to {part(500)}, 8 clients", "5x", "/s", seen[wharf], seen[dockerd], more=True)

    assert os.geteuid() == 0
    return (bench_network_start, bench_network_create, bench_network_publish, bench_network_traffic, bench_network_many)


def api(engine, method, target, body, wanted):
    """One request by curl."""
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "--unix-socket", engine.socket]
    words += ["-H", "Content-Type: application/json", "-d", body, f"http://engine{target}"]
    status = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if status != wanted:
        raise RuntimeError(f"{engine.name}: {method} {target} is answered {status}")
