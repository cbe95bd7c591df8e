"""Networks: what setting them up costs, name resolution, and bytes through them. Part of bench.py."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

# Run inside a container's network namespace: busybox has no client that is quick enough to be measured with.
LOOKUPS = """
import socket, struct, sys, time
query = bytearray(struct.pack(">HHHHHH", 1, 0x0100, 1, 0, 0, 0) + b"\\x06server\\x00\\x00\\x01\\x00\\x01")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(5)
sock.connect(("127.0.0.11", 53))
count, start = 2000, time.perf_counter()
for number in range(count):
    query[0:2] = struct.pack(">H", number)
    sock.send(query)
    answer = sock.recv(512)
    assert answer[0:2] == query[0:2] and answer[3] & 15 == 0 and answer[7] == 1, answer
print(count / (time.perf_counter() - start))
"""
SINK = """
import socket
server = socket.create_server(("0.0.0.0", 5001))
print("ready", flush=True)
client, _ = server.accept()
buffer = bytearray(1 << 18)
while client.recv_into(buffer):
    pass
client.send(b"x")
"""
SOURCE = """
import socket, sys, time
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
block, total, start = bytes(1 << 18), 0, time.perf_counter()
while time.perf_counter() - start < 2:
    sock.sendall(block)
    total += len(block)
sock.shutdown(socket.SHUT_WR)
sock.recv(1)
print(total / (time.perf_counter() - start) / 1e6)
"""


# One byte there and back, as often as it goes: over TCP one connection each (what small requests cost), over UDP one socket.
ECHO = """
import socket, threading
def tcp():
    server = socket.create_server(("0.0.0.0", 5002), backlog=512)
    while True:
        client, _ = server.accept()
        client.sendall(client.recv(1))
        client.close()
threading.Thread(target=tcp, daemon=True).start()
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 5002))
print("ready", flush=True)
while True:
    data, client = udp.recvfrom(64)
    udp.sendto(data, client)
"""
ASK = """
import socket, sys, time
kind, address = sys.argv[1], (sys.argv[2], int(sys.argv[3]))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.settimeout(5)
udp.connect(address)
count, start = 0, time.perf_counter()
while time.perf_counter() - start < 2:
    if kind == "tcp":
        with socket.create_connection(address) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    else:
        udp.send(b"x")
        assert udp.recv(1) == b"x"
    count += 1
print(count / (time.perf_counter() - start))
"""


def busy():
    """Seconds that all processors of the machine have worked."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, *_ = (int(number) for number in stat.readline().split()[1:])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def output(engine, *words):
    done = subprocess.run(["docker", *words], env=engine.env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def inside(engine, name, code, *words):
    """A command that runs Python in a container's network namespace."""
    pid = output(engine, "inspect", "-f", "{{.State.Pid}}", name)
    return ["nsenter", "-t", pid, "-n", "python3", "-c", code, *words]


def throughput(engine, way, port):
    """Megabytes per second, and seconds of all processors for each gigabyte."""
    here = ["python3", "-c"]
    server = subprocess.Popen([*here, SINK] if way == "to host" else inside(engine, "server", SINK), stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    if way == "from host":
        command = [*here, SOURCE, "127.0.0.1", str(port)]
    else:
        template = ".Gateway" if way == "to host" else ".IPAddress"
        name = "client" if way == "to host" else "server"
        address = output(engine, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{%s}}{{end}}" % template, name)
        command = inside(engine, "client", SOURCE, address, "5001")
    before = busy()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    server.wait()
    speed = float(done.stdout)
    # It sends for two seconds.
    return speed, (busy() - before) / (speed * 2 / 1e3)


def requests(engine, kind, port):
    """Round trips per second from the host's loopback to a published port."""
    server = subprocess.Popen(inside(engine, "server", ECHO), stdout=subprocess.PIPE, text=True)
    try:
        server.stdout.readline()
        done = subprocess.run(["python3", "-c", ASK, kind, "127.0.0.1", str(port)], capture_output=True, text=True, check=True)
        return float(done.stdout)
    finally:
        server.kill()
        server.wait()


def benches(row, in_turn, rounds):
    """The measures, in the order they run; bench.py has the engines."""

    def bench_network_start(wharf, dockerd):
        for engine in (wharf, dockerd):
            engine.run("docker", "network", "create", "startnet")
        words = ("run", "--rm", "--network", "startnet", "busybox", "true")
        medians = in_turn(rounds, wharf=lambda: wharf.run("docker", *words), dockerd=lambda: dockerd.run("docker", *words))
        row("run --rm on a user-defined network, stock docker", "5x", "ms", medians["wharf"], medians["dockerd"], "dockerd")
        for engine in (wharf, dockerd):
            engine.run("docker", "network", "rm", "startnet")

    def bench_network_create(wharf, dockerd):
        seen = {}
        for engine in (wharf, dockerd):
            names = [f"many{number}" for number in range(100)]
            start = time.perf_counter()
            for number, name in enumerate(names):
                engine.run("docker", "network", "create", "--subnet", f"10.{100 + (engine is dockerd)}.{number}.0/24", name)
            seen[engine] = time.perf_counter() - start
            engine.run("docker", "network", "rm", *names)
        row("network create, 100 of them", "5x", "s", seen[wharf], seen[dockerd], "dockerd")

    def bench_network_publish(wharf, dockerd):
        seen = {}
        for engine, first in ((wharf, 20000), (dockerd, 21000)):
            ports = f"{first}-{first + 499}:{first}-{first + 499}"
            seen[engine] = engine.run("docker", "run", "-d", "--name", "ports", "-p", ports, "busybox", "sleep", "1000")
            engine.run("docker", "rm", "-f", "ports")
        row("run -d with 500 published ports", "5x", "s", seen[wharf], seen[dockerd], "dockerd")

    def pair(engine, port):
        engine.run("docker", "network", "create", "pair")
        ports = ("-p", f"{port}:5001", "-p", f"{port + 10}:5002", "-p", f"{port + 10}:5002/udp")
        for name, more in (("server", ports), ("client", ())):
            engine.run("docker", "run", "-d", "--name", name, "--network", "pair", *more, "busybox", "sleep", "1000")

    def bench_network_traffic(wharf, dockerd):
        # A dockerd's policy drops what crosses bridges that are not its own.
        for side in ("-i", "-o"):
            subprocess.run(["iptables", "-I", "DOCKER-USER", side, "br-+", "-j", "ACCEPT"], check=True)
        engines = ((wharf, 25001), (dockerd, 25002))
        try:
            for engine, port in engines:
                pair(engine, port)
            lookups = {e: float(subprocess.run(inside(e, "client", LOOKUPS), capture_output=True, text=True, check=True).stdout) for e, _ in engines}
            row("lookups of a name in turn, 1/s (ratio: wharf is 1/ratio)", "-", "/s", lookups[wharf], lookups[dockerd], "dockerd")
            for what, way in (
                ("container to container", "between"),
                ("host loopback to published port", "from host"),
                ("container to host", "to host"),
            ):
                seen = {engine: throughput(engine, way, port) for engine, port in engines}
                row(f"{what}, MB/s (ratio: wharf is 1/ratio)", "1x", "MB/s", seen[wharf][0], seen[dockerd][0], "dockerd")
                row(f"{what}, processors' seconds per GB", "1x", "s", seen[wharf][1], seen[dockerd][1], "dockerd")
            for kind in ("tcp", "udp"):
                seen = {engine: requests(engine, kind, port + 10) for engine, port in engines}
                row(f"small requests to a published port, {kind}, 1/s (ratio: wharf is 1/ratio)", "1x", "/s", seen[wharf], seen[dockerd], "dockerd")
        finally:
            for engine, _ in engines:
                engine.run("docker", "rm", "-f", "server", "client")
                engine.run("docker", "network", "rm", "pair")

    def bench_network_many(wharf, dockerd):
        seen = {}
        for engine, subnet in ((wharf, "10.110.0.0/16"), (dockerd, "10.111.0.0/16")):
            engine.run("docker", "network", "create", "--subnet", subnet, "crowd")
            names = [f"crowd{number}" for number in range(500)]
            one = lambda name: engine.run("docker", "run", "-d", "--name", name, "--network", "crowd", "busybox", "sleep", "10000")
            start = time.perf_counter()
            with ThreadPoolExecutor(8) as clients:
                list(clients.map(one, names))
            seen[engine] = time.perf_counter() - start
            engine.run("docker", "rm", "-f", *names)
            engine.run("docker", "network", "rm", "crowd")
        row("500 containers onto one network, from 8 clients", "5x", "s", seen[wharf], seen[dockerd], "dockerd")

    assert os.geteuid() == 0
    return (bench_network_start, bench_network_create, bench_network_publish, bench_network_traffic, bench_network_many)
