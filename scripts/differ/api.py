#!/usr/bin/env python3
"""Asks a dockerd 26.1 and a wharf the same requests and prints each kind of difference once.

    worlds.sh FOLDER-OF-DOCKERD FOLDER-OF-WHARF api.py [--only NAME]... [--whole]

Its sections go through what ordinary suites of the API ask: every verb in every state of a container, ids and names of all
forms, filters, headers, streams with a registry at 127.0.0.1:5000, archives, volumes, networks, commits and prunes.
`--whole` asks the questions of `differ.py`, too. What differs on purpose stands in MEANT with its reason; all else is a fault.
"""
import argparse
import collections
import fields
import json
import lives
import re
import stores
import sys
import talks
import urllib.parse

import differ
import questions
import wide
from questions import filters, q
from wide import LOOP, made, tar

# A pattern of a difference, why it is one, and of which requests, if not of all.
MEANT = [
    (r"MaskedPaths", "/proc/interrupts is masked since 28"),
    (r"HostConfig\.Runtime: |DefaultRuntime|InitBinary|\.Runtimes\.", "the runtime is our own"),
    (r"\.Name: '/[a-z]+_[a-z]+'", "a random name"),
    (r"header api-version: ", "ours is newer"),
    (r"docker-experimental: false -> None|ostype: linux -> None|connection: Upgrade -> Upgrade, close", "the head of a stream without an upgrade"),
    (r"header (docker-experimental|ostype|connection): None -> ", "an error of an attach has the same head as any other"),
    (r"strconv.ParseInt: parsing|status 500 Internal Server Error -> 200 OK", "times in since and until may be dates, times and durations", r"(since|until)="),
    (r"bridge.name: 'docker0'", "the bridge has a name of its own"),
    (r"status 500 Internal Server Error -> 400 Bad Request", "what the client did wrong is said to be so, as in newer versions"),
    (r"failed to parse value as time or duration", "the words of 28"),
    (r'"Action": "create".*"Type": "image"', "an image that a commit makes is told of, as by the containerd store"),
    (r"frames\.(stdout|stderr): extra|frames\.rest: ''", "who has said all before the start is given the output, and not cut off", r"/t2/attach"),
    (r'"/etc": (permission denied|is a directory)', "the words of newer runtimes"),
    (r"read escape sequence|Running: False -> True", "who leaves a command by the keys leaves it running, and no error behind", r"exec/"),
    (r"Networks\.bridge\.(\w+: |NetworkID)", "dockerd goes on to list the network of a start that failed", r"(k6|cc|containers/cc)"),
    (r'^ *[-+ ]?\{?"Action": "unpause"|^\+\{"Action": "unpause"', "dockerd tells of it if the container is not dead before", r"d9"),
    (r"LogPath: \"\" -> \"/", "what fails before anything is logged has no log with dockerd", r"containers/(k7|cc)/json"),
    (r"SandboxI|SandboxKey", "a container that does not run has none, since 28"),
    (r"runc create failed", "the runtime is our own"),
    (r"InsecureRegistryCIDRs", "::1 is local, too, since 28"),
    (r"BridgeNfIp|GitCommit|CDISpecDirs|Commit\.|Plugins\.(Network|Log)|NFd|NGoroutines", "what is built in differs"),
    (r"digest: sha256:|Digest: 'sha|, \"Size\": \d+|Digest\": \"sha256|\.Size: \d+", "layers are compressed otherwise, and sizes counted otherwise"),
    (r"IPAM\.Config\[\d\]\.(Subnet|Gateway): '1", "the pools have other histories"),
    (r"\$\.name: extra|\$\.id: extra", "stats of one shot name their container, since 27"),
    (r"\$\.(memory_stats\.)?stats\.", "the kernel's list of counters"),
    (r"invalid name: name is empty|^ *-> 'invalid name: name is empty'", "the words of 28"),
]

STATES = {
    "created": [],
    "running": [("start", 204)],
    "paused": [("start", 204), ("pause", 204)],
    "exited": [("start", 204), ("kill", 204), ("wait", 200)],
}


def in_state(name, state, **more):
    yield from made(name, start=False, **more)
    for verb, _ in STATES[state]:
        yield q("POST", f"/containers/{name}/{verb}", quiet=True)


VERBS = ["start", "stop?t=0", "restart?t=0", "kill", "kill?signal=USR1", "kill?signal=0", "kill?signal=99", "kill?signal=", "pause", "unpause", "resize?h=5&w=5", "rename?name=sx2",
         "wait?condition=not-running", "wait?condition=nonsense", "update", "exec", "attach?logs=1&stdout=1", "start?detachKeys=nonsense", "start?checkpoint=x", "stop?t=x", "stop?signal=nope", "restart?t=-1"]


def states():
    """Every verb in every state."""
    for state in STATES:
        for verb in VERBS:
            if verb.startswith("wait?condition=not") and state in ("running", "paused"):
                continue
            yield from in_state("sx", state)
            body = {"update": {"Memory": 104857600, "MemorySwap": -1}, "exec": {"Cmd": ["true"]}}.get(verb)
            yield q("POST", f"/containers/sx/{verb}", **({"json": body} if body else {}), save="x", timeout=20)
            yield q("GET", "/containers/sx/json", ignore=[r"Health|StartedAt|FinishedAt"])
            yield q("DELETE", "/containers/sx2?force=1", quiet=True)
        yield from in_state("sx", state)
        for get in ("top", "top?ps_args=-o+pid", "changes", "stats?stream=0&one-shot=1", "logs", "logs?stdout=1", "archive?path=/etc/passwd", "archive?path=/nope", "archive", "archive?path=", "export", "json?size=1"):
            yield q("GET", f"/containers/sx/{get}", body=not get.startswith(("stats", "export", "archive?path=/etc", "top")), ignore=[r"SizeRw"])
        yield q("HEAD", "/containers/sx/archive?path=/etc", stat=True)
        yield q("HEAD", "/containers/sx/archive?path=/nope")
        yield q("PUT", "/containers/sx/archive?path=/tmp", raw=tar(("a", "b")))
        yield q("PUT", "/containers/sx/archive?path=/nope", raw=tar(("a", "b")))
        yield q("PUT", "/containers/sx/archive?path=/etc/passwd", raw=tar(("a", "b")))
        yield q("PUT", "/containers/sx/archive?path=/tmp", raw=b"nonsense")
        yield q("PUT", "/containers/sx/archive", raw=tar(("a", "b")))
        yield q("POST", "/commit?container=sx&repo=st&tag=1", body=False)
        yield q("DELETE", "/images/st:1", quiet=True)
        yield q("GET", "/containers/json?all=1", ignore=[r"Status: 'Up|Created"])
        yield q("DELETE", "/containers/sx")
        yield q("DELETE", "/containers/sx?force=1&v=1", quiet=True)


def ids():
    """Beginnings of ids, one of them shared by many."""
    for number in range(20):
        yield q("POST", f"/containers/create?name=id{number}", json={"Image": "busybox"}, save=f"i{number}", quiet=True)
    for path in ("{{i012}}/json", "{{i0}}/json", "/json", "id/json"):
        yield q("GET", f"/containers/{path}")
    yield q("GET", "/containers/json?all=1&" + filters({"id": ["{{i012}}"]}).replace("%7B%7Bi012%7D%7D", "{{i012}}"))
    yield q("GET", "/containers/json?all=1&" + filters({"name": ["id1"]}))
    yield q("GET", "/containers/json?all=1&limit=3")
    yield q("POST", "/containers/prune?" + filters({"label": ["nope"]}))
    yield q("POST", "/containers/prune", ignore=["ContainersDeleted"])
    for image in ("{{none}}", "42355", "4235505964c2", "sha256:4235505964c2"):
        yield q("GET", f"/images/{image}/json", ignore=["Size"])


def registries():
    """What pulls and pushes tell."""
    base = "127.0.0.1:5000/"
    pull = lambda query, **want: q("POST", f"/images/create?fromImage={query}", ignore=["Extracting|Downloading|Waiting|of them"], **want)
    for query in (base + "busybox&tag=latest", base + "busybox&tag=latest", base + "busybox:latest&platform=linux/arm64", base + "busybox:latest&platform=x/y/z/w", base + "busybox:nope", base + "nope", base + "nope:x",
                  base + "library/busybox", base + "library/busybox&tag=", base + "library/busybox:latest&tag=nope", base + "UPPER", base + "busybox&tag=a%20b", base + "busybox@sha256:" + "0" * 64, base + "busybox@sha256:00"):
        yield pull(query)
    yield q("GET", "/images/json", ignore=["Size"])
    yield q("GET", f"/distribution/{base}busybox:latest/json", ignore=["digest|size"])
    yield q("GET", f"/distribution/{base}busybox:nope/json")
    yield q("GET", f"/distribution/{base}nope/json")
    yield q("GET", f"/distribution/{base}UPPER/json")
    auth = [("X-Registry-Auth", "e30=")]
    yield q("POST", f"/images/busybox/tag?repo={base}mine&tag=1")
    # How often the first says how far it is, is the moment's.
    yield q("POST", f"/images/{base}mine/push?tag=1", headers=auth, ignore=["."])
    for name, headers in ((base + "mine/push?tag=1", auth), (base + "mine/push", auth), (base + "mine/push?tag=nope", auth), (base + "none/push", auth), (base + "mine/push?tag=1", ()), (base + "mine/push?tag=1", [("X-Registry-Auth", "%%")])):
        yield q("POST", f"/images/{name}", headers=list(headers), ignore=["Pushing|of them"])
    for name in (base + "mine:1", base + "busybox:latest", base + "library/busybox:latest", base + "mine"):
        yield q("DELETE", f"/images/{name}", ignore=["sha256"])


def heads():
    """Headers and statuses of odd paths, versions and methods."""
    for version in ("", "/v1.24", "/v1.44", "/v1.45", "/v1.23", "/v9.9", "/v1", "/vx"):
        for method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "PUT"):
            for path in ("/_ping", "/containers/json", "/nope", "/images/create", "/containers/nope/archive"):
                yield q(method, f"!{version}{path}", ignore=[r"Maximum|Minimum|Warning"], body=False)
    for kind in (None, "", "application/json", "text/plain", "application/json; charset=utf-8", "APPLICATION/JSON", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense"):
        headers = [] if kind is None else [("Content-Type", kind)]
        for target in ("/containers/create", "/networks/create", "/volumes/create", "/auth", "/containers/nope/exec", "/containers/nope/update", "/exec/nope/start", "/commit?container=nope"):
            yield q("POST", target, raw=b"{}", headers=headers, ignore=["dial|Id|Name|Mountpoint|Created"])
    yield q("POST", "/volumes/prune?" + filters({"all": ["1"]}), quiet=True)


def volumes():
    """Volumes by all filters, in use and not."""
    for body in ({"Name": "va", "Labels": {"k": "v"}}, {"Name": "vb", "Labels": {"k": "w"}}, {"Name": "vc", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}, {"Name": "va"}, {"Name": "va", "Driver": "nope"}, {"Name": "va", "DriverOpts": {"type": "x"}}):
        yield q("POST", "/volumes/create", json=body, timeout=40)
    yield q("POST", "/containers/create?name=vx", json={"Image": "busybox", "Cmd": LOOP, "HostConfig": {"Binds": ["va:/a:ro", "vb:/b"], "Mounts": [{"Type": "volume", "Target": "/m"}]}, "Volumes": {"/v": {}}}, quiet=True)
    for f in ({}, {"name": ["va"]}, {"name": ["v"]}, {"label": ["k"]}, {"label": ["k=v"]}, {"label": ["k=v", "k=w"]}, {"label!": ["k"]}, {"driver": ["local"]}, {"driver": ["nope"]}, {"dangling": ["true"]}, {"dangling": ["false"]}, {"dangling": ["x"]}, {"scope": ["x"]}, {"nope": ["x"]}):
        yield q("GET", "/volumes?" + filters(f), ignore=[r"Volumes\[\d+\]\.(Name|Labels|Options)|com.docker.volume"])
    yield q("GET", "/containers/vx/json", ignore=[r"Mounts\[\d\]|Mounts: "])
    yield q("DELETE", "/volumes/va")
    yield q("DELETE", "/volumes/va?force=1")
    yield q("POST", "/volumes/prune", ignore=["Deleted"])
    yield q("DELETE", "/containers/vx?v=1&force=1")
    yield q("DELETE", "/volumes/va")
    yield q("DELETE", "/volumes/va")
    yield q("DELETE", "/volumes/va?force=1")
    yield q("POST", "/volumes/prune?" + filters({"all": ["true"], "label": ["k=w"]}))
    yield q("POST", "/volumes/prune?" + filters({"all": ["true"], "label!": ["k"]}))


def networks():
    """Networks with a container that comes and goes."""
    yield q("POST", "/networks/create", json={"Name": "na", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]}, "Labels": {"k": "v"}}, save="na")
    yield q("POST", "/networks/create", json={"Name": "nb", "Internal": True, "IPAM": {"Config": [{"Subnet": "10.78.0.0/24"}]}}, save="nb")
    for state in STATES:
        yield from in_state("nx", state, Hostname="h", HostConfig={"NetworkMode": "na"}, NetworkingConfig={"EndpointsConfig": {"na": {"Aliases": ["one"], "IPAMConfig": {"IPv4Address": "10.77.0.9"}}}})
        yield q("GET", "/networks/na")
        yield q("POST", "/networks/nb/connect", json={"Container": "nx", "EndpointConfig": {"Aliases": ["two"], "Links": ["nope:x"]}})
        yield q("POST", "/networks/nb/connect", json={"Container": "nx", "EndpointConfig": {"Aliases": ["two"]}})
        yield q("POST", "/networks/nb/connect", json={"Container": "nx"})
        yield q("GET", "/containers/nx/json")
        yield q("GET", "/networks/nb")
        yield q("GET", "/containers/json?all=1&" + filters({"network": ["nb"]}), ignore=["Status|Created"])
        yield q("DELETE", "/networks/nb")
        yield q("POST", "/networks/prune", ignore=["Deleted"])
        yield q("POST", "/networks/nb/disconnect", json={"Container": "nx"})
        yield q("POST", "/networks/nb/disconnect", json={"Container": "nx"})
        yield q("POST", "/networks/na/disconnect", json={"Container": "nx", "Force": True})
        yield q("GET", "/containers/nx/json", ignore=["NetworkMode"])
        yield q("DELETE", "/containers/nx?force=1", quiet=True)
        yield q("POST", "/networks/create", json={"Name": "nb", "Internal": True, "IPAM": {"Config": [{"Subnet": "10.78.0.0/24"}]}}, quiet=True)
        yield q("POST", "/networks/create", json={"Name": "na", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}}, quiet=True)
    for f in ({"name": ["na"]}, {"id": ["{{na}}"]}, {"label": ["k"]}, {"driver": ["bridge"]}, {"scope": ["local"]}, {"type": ["custom"]}, {"type": ["builtin"]}, {"dangling": ["true"]}, {"dangling": ["x"]}, {"nope": ["x"]}):
        yield q("GET", "/networks?" + filters(f).replace("%7B%7Bna%7D%7D", "{{na}}"), ignore=[r"\$\[\d\]"])
    yield q("POST", "/networks/prune?" + filters({"label": ["k"]}))
    yield q("POST", "/networks/prune?" + filters({"until": ["1h"]}))
    yield q("POST", "/networks/prune", ignore=["Deleted"])


def images():
    """Images made by hand, and all that is said of them."""
    context = tar(("Dockerfile", "FROM busybox\nLABEL a=b\nENV X=y\nEXPOSE 80\nVOLUME /v\nUSER 1\nWORKDIR /w\nENTRYPOINT [\"e\"]\nCMD [\"c\"]\nSTOPSIGNAL 9\nHEALTHCHECK CMD true\nONBUILD RUN x\nSHELL [\"s\"]\n"))
    plain = [("Content-Type", "application/x-tar")]
    yield q("POST", "/build?t=im:1&nocache=1", raw=context, headers=plain, ignore=["--->|of them|stream"])
    yield q("GET", "/images/im:1/json", ignore=["Size|Parent|Container|DockerVersion|Comment"])
    yield q("GET", "/images/im:1/history", ignore=["Size|Comment"])
    yield q("POST", "/build?t=im:2&q=1", raw=context, headers=plain, ignore=["sha256"])
    for f in ({"reference": ["im"]}, {"reference": ["im:*"]}, {"reference": ["*:1"]}, {"label": ["a"]}, {"label": ["a=b"]}, {"label": ["a=c"]}, {"dangling": ["true"]}, {"dangling": ["x"]}, {"before": ["im:1"]}, {"since": ["busybox"]}, {"until": ["1h"]}, {"nope": ["x"]}, {"before": ["nope"]}):
        yield q("GET", "/images/json?" + filters(f), ignore=["Size|Created|of them"])
    for repo, tag in (("im", "3"), ("im", ""), ("", "x"), ("IM", "x"), ("im", "a b"), ("host:1/im", "x"), ("im@sha256:" + "0" * 64, "")):
        yield q("POST", f"/images/im:1/tag?repo={urllib.parse.quote(repo)}&tag={urllib.parse.quote(tag)}")
    yield q("POST", "/images/nope/tag?repo=x")
    yield q("GET", "/images/im:1/get", tar=True, ignore=["tar"])
    yield q("GET", "/images/nope/get")
    yield q("GET", "/images/get?names=nope")
    yield q("GET", "/images/get")
    yield q("POST", "/images/load", raw=b"nonsense", headers=plain, ignore=["Error|archive"])
    yield q("POST", "/images/load?quiet=1", raw=b"", headers=plain, ignore=["Error|archive|EOF"])
    yield q("POST", "/images/create?fromSrc=-&repo=imp&tag=1&message=m&changes=CMD+x&changes=ENV+A%3Db", raw=tar(("a", "b")), ignore=["sha256"])
    yield q("GET", "/images/imp:1/json", ignore=["Size|Id|DiffIDs|Layers|DockerVersion|Container"])
    yield q("GET", "/images/imp:1/history", ignore=["Size"])
    yield q("POST", "/images/create?fromSrc=-&repo=IMP", raw=tar(("a", "b")))
    yield q("POST", "/images/create?fromSrc=-&changes=NOPE", raw=tar(("a", "b")))
    yield from made("ix")
    for query in ("container=ix&repo=cm&tag=1&comment=c&author=a&changes=LABEL+x%3Dy&changes=CMD+%5B%22z%22%5D", "container=ix&changes=NOPE", "container=nope", "container=ix&repo=CM", "container=ix&pause=0"):
        yield q("POST", f"/commit?{query}", ignore=["Id"])
    yield q("GET", "/images/cm:1/json", ignore=["Size|DockerVersion|Container|Hostname"])
    yield q("DELETE", "/containers/ix?force=1", quiet=True)
    for name in ("im:1", "im:2", "im:3", "im:latest", "imp:1", "cm:1", "host:1/im:x", "nope", "im"):
        yield q("DELETE", f"/images/{name}", ignore=["Deleted|of them"])
    yield q("POST", "/images/prune?" + filters({"dangling": ["false"], "label": ["nope"]}), ignore=["Reclaimed"])
    yield q("POST", "/images/prune", ignore=["Reclaimed|Deleted"])
    yield q("POST", "/build/prune", quiet=True)


SECTIONS = {section.__name__: section for section in (states, ids, registries, heads, volumes, networks, images)}


def kind(line):
    """A difference without what is of one case: those of the same kind are told once."""
    return re.sub(r"\[\d+\]", "[]", re.sub(r'"[0-9a-f]{64}"|<id>|\b[0-9a-f]{64}\b', "<id>", line))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", action="append")
    options.add_argument("--whole", action="store_true")
    options.add_argument("--every", action="store_true", help="print each difference, not only the first of its kind")
    options.add_argument("judge")
    options.add_argument("tested")
    args = options.parse_args()
    sections = {**SECTIONS, **lives.SECTIONS, **talks.SECTIONS, **stores.SECTIONS}
    if args.whole:
        sections.update({f"all-{name}": section for one in (questions, wide, fields) for name, section in one.SECTIONS.items()})
    if unknown := set(args.only or []) - set(sections):
        options.error(f"--only: no {', '.join(sorted(unknown))} among {', '.join(sections)}")
    if args.only:
        sections = {name: section for name, section in sections.items() if name in args.only}
    meant = [(re.compile(pattern), re.compile("".join(of))) for pattern, _, *of in MEANT]
    kinds, count, created = collections.Counter(), 0, ""
    for name, section in sections.items():
        for path in (args.judge, args.tested):
            # Without it every question has the same answer.
            assert differ.ask(path, "GET", "/v1.45/images/busybox/json").status == 200, f"{path}: no busybox"
        for asked, lines in differ.ask_both({name: section}, args.judge, args.tested, "1.45"):
            count += 1
            if "/containers/create" in asked:
                created = f"    of {asked.split(' ', 3)[-1]}\n"
            for line in lines:
                if any(pattern.search(line) and of.search(asked) for pattern, of in meant):
                    continue
                kinds[kind(line)] += 1
                if args.every or kinds[kind(line)] == 1:
                    print(f"{asked}\n{created}    {line}", flush=True)
                    created = ""
    print(f"{count} requests, {len(kinds)} kinds of differences in {kinds.total()} places")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
