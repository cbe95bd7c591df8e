"""Networks: what setting them up costs, name resolution, and bytes through them. Part of bench.py."""

import os
import subprocess
import time

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


def output(engine, *words):
    done = subprocess.run(["docker", *words], env=engine.env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def inside(engine, name, code, *words):
    """A command that runs Python in a container's network namespace."""
    pid = output(engine, "inspect", "-f", "{{.State.Pid}}", name)
    return ["nsenter", "-t", pid, "-n", "python3", "-c", code, *words]


def throughput(engine, host, port):
    """Megabytes per second from a container (or the host, if `host` is none) into another one."""
    server = subprocess.Popen(inside(engine, "server", SINK), stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    if host:
        command = ["python3", "-c", SOURCE, host, str(port)]
    else:
        address = output(engine, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", "server")
        command = inside(engine, "client", SOURCE, address, "5001")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    server.wait()
    return float(done.stdout)


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
        for name, more in (("server", ("-p", f"{port}:5001")), ("client", ())):
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
            for what, host in (("container to container", None), ("host loopback to published port", "127.0.0.1")):
                seen = {engine: throughput(engine, host, port) for engine, port in engines}
                row(f"{what}, MB/s (ratio: wharf is 1/ratio)", "1x", "MB/s", seen[wharf], seen[dockerd], "dockerd")
        finally:
            for engine, _ in engines:
                engine.run("docker", "rm", "-f", "server", "client")
                engine.run("docker", "network", "rm", "pair")

    assert os.geteuid() == 0
    return (bench_network_start, bench_network_create, bench_network_publish, bench_network_traffic)
