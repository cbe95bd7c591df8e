"""Measures Wharf's registry beside Debian's docker-registry, over one storage folder, in turn. Run by registry.sh, in a world of its own."""

import argparse
import hashlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time

parser = argparse.ArgumentParser()
parser.add_argument("bin")
parser.add_argument("work")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--seconds", type=int, default=4, help="of each run of wrk")
parser.add_argument("--size", type=int, default=1024, help="of the large blob, in MiB")
args = parser.parse_args()

TICK = os.sysconf("SC_CLK_TCK")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Server:
    """A registry, and its processor time."""

    def __init__(self, name, port, command):
        self.name, self.port = name, port
        config = f"{args.work}/{name}.yml"
        # As each comes, but for the log of every request: both write it by default, into the same kind of file.
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"version: 0.1\nstorage:\n  filesystem: {{rootdirectory: {args.work}/storage}}\n")
            file.write("  delete: {enabled: true}\n  cache: {blobdescriptor: inmemory}\n")
            file.write(f"http: {{addr: '127.0.0.1:{port}'}}\n")
        log = open(f"{args.work}/{name}.log", "w", encoding="utf-8")
        self.process = subprocess.Popen(command + ["serve", config], stdout=log, stderr=log)
        while True:
            try:
                self.request("GET", "/v2/")
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(open(f"{args.work}/{name}.log", encoding="utf-8").read())
                time.sleep(0.02)

    def request(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        if answer.status >= 400:
            raise RuntimeError(f"{self.name}: {method} {path}: {answer.status} {data[:200]}")
        return answer

    def push(self, name, data):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        place = self.request("POST", f"/v2/{name}/blobs/uploads/", b"").headers["Location"]
        place = re.sub("^http://[^/]+", "", place)
        self.request("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data)
        return digest

    def processor(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def wrk(server, path):
    """Requests per second, from 16 connections of one thread."""
    url = f"http://127.0.0.1:{server.port}{path}"
    words = ["wrk", "-t1", "-c16", f"-d{args.seconds}s", "-H", f"Accept: {MANIFEST}", url]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(said)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])


def curl(server, *words):
    """Seconds on the clock, and of the server's processor."""
    start, spent = time.perf_counter(), server.processor()
    subprocess.run(["curl", "-sf", "-o", "/dev/null", *words], check=True)
    return time.perf_counter() - start, server.processor() - spent


def row(what, unit, ours, theirs, more_is_better):
    ratio = ours / theirs if more_is_better else theirs / ours
    print(f"{what:46} wharf {ours:10.2f} {unit:6} docker-registry {theirs:10.2f} {unit:6} ratio {ratio:6.1f}", flush=True)


def in_turn(measure):
    seen = {server: [] for server in servers}
    for _ in range(args.rounds):
        for server in servers:
            seen[server].append(measure(server))
    return seen


os.makedirs(f"{args.work}/storage")
servers = [
    Server("wharf", 5000, [f"{args.bin}/wharf", "registry"]),
    Server("docker", 5001, ["docker-registry"]),
]
ours, theirs = servers

layer = os.urandom(args.size << 20)
file = f"{args.work}/layer"
with open(file, "wb") as out:
    out.write(layer)
small = b'{"small": true}'
digest, config = ours.push("bench", layer), ours.push("bench", small)
del layer
descriptor = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": len(small)}
document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor, "layers": [dict(descriptor, mediaType="application/x")] * 12}
text = json.dumps(document).encode()
ours.request("PUT", "/v2/bench/manifests/one", text, {"Content-Type": MANIFEST})
named = "sha256:" + hashlib.sha256(text).hexdigest()

for what, path in (
    ("manifest by tag", "/v2/bench/manifests/one"),
    ("manifest by digest", f"/v2/bench/manifests/{named}"),
    ("blob of 15 bytes", f"/v2/bench/blobs/{config}"),
):
    seen = in_turn(lambda server, path=path: wrk(server, path))
    row(what, "req/s", *(statistics.median(seen[server]) for server in servers), True)

giga = args.size / 1024
seen = in_turn(lambda server: curl(server, f"http://127.0.0.1:{server.port}/v2/bench/blobs/{digest}"))
for index, (what, unit) in enumerate((("large blob down, clock", "s/GiB"), ("large blob down, processor", "s/GiB"))):
    row(what, unit, *(statistics.median(pair[index] for pair in seen[server]) / giga for server in servers), False)


def upload(server):
    place = server.request("POST", "/v2/up/blobs/uploads/", b"").headers["Location"]
    if place.startswith("/"):
        place = f"http://127.0.0.1:{server.port}{place}"
    took = curl(server, "-T", file, f"{place}{'&' if '?' in place else '?'}digest={digest}")
    server.request("DELETE", f"/v2/up/blobs/{digest}")
    return took


seen = in_turn(upload)
for index, (what, unit) in enumerate((("large blob up, clock", "s/GiB"), ("large blob up, processor", "s/GiB"))):
    row(what, unit, *(statistics.median(pair[index] for pair in seen[server]) / giga for server in servers), False)
row("peak memory", "MiB", ours.memory() / 1024, theirs.memory() / 1024, False)
for server in servers:
    server.process.kill()
