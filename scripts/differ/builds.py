#!/usr/bin/env python3
"""Builds the same contexts by `POST /build` on two daemons and prints where they differ: in the status, in what is said, and in
the configuration, history and files of the image.

    builds.py SOCKET-OF-THE-JUDGE SOCKET [--only TEXT] [--kept FILE]

The first is a real dockerd, whose classic builder is the judge. Both get an image `base` first. The cases are in `build_cases.py`.
Ids are numbered in their order of appearance, digests of contents and times are made the same. Images and containers that were
there before go: these are daemons for this alone.
"""
import argparse
import difflib
import hashlib
import io
import json
import os
import re
import sys
import tarfile
from urllib.parse import quote, urlencode

import build_cases
from differ import ask


def base():
    """A `docker save` archive of the image `base`: busybox, and users."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "root", "usr", "usr/bin", "home", "var"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(member)
        tar.add("/bin/busybox", "bin/busybox")
        for name in build_cases.APPLETS:
            member = tarfile.TarInfo(f"bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(member)
        for name, text in build_cases.ETC.items():
            add(tar, name, text)
    diff_id = "sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2020-01-01T00:00:00Z",
        "config": {"Env": ["PATH=/bin:/usr/bin"], "Cmd": ["sh"]},
        "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "by hand"}],
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
    }).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        add(tar, "config.json", config)
        add(tar, "layer.tar", layer.getvalue())
        manifest = [{"Config": "config.json", "RepoTags": ["base:latest"], "Layers": ["layer.tar"]}]
        add(tar, "manifest.json", json.dumps(manifest))
    return archive.getvalue()


def add(tar, name, content, mode=0o644):
    data = content.encode() if isinstance(content, str) else content
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(data), mode, 1500000000
    tar.addfile(member, io.BytesIO(data))


def context(files):
    """Files by name: a text, `->TARGET` for a link, None for a folder, `(mode, text)`, or a TarInfo."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mtime = 1500000000
            if content is None:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
            elif isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            elif isinstance(content, tuple):
                add(tar, name, content[1], content[0])
            elif isinstance(content, str) and content.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, content[2:]
                tar.addfile(member)
            else:
                add(tar, name, content)
    return archive.getvalue()


class Names:
    """Ids by their order of appearance: that one is mentioned again is told."""

    def __init__(self):
        self.known = {}

    def plain(self, text):
        # How long ago, when, and what a content hashes to with times in it, are the moment's.
        text = re.sub(r"(file|dir|multi):[0-9a-f]{64}", r"\1:<sum>", text)
        text = re.sub(r"\b(?:sha256:)?([0-9a-f]{12})(?:[0-9a-f]{52})?\b", lambda m: self.name(m[1]), text)
        return re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>", text)

    def name(self, digits):
        return self.known.setdefault(digits, f"<{len(self.known) + 1}>")


def told(body, names):
    """The lines of a build's answer: what is streamed as one text."""
    lines, text = [], ""
    for line in body.decode("utf-8", "replace").splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            lines.append("no JSON: " + names.plain(line))
            continue
        if list(message) == ["stream"]:
            text += message["stream"]
            continue
        lines += [names.plain(part) for part in text.split("\n")]
        text = ""
        lines.append(names.plain(json.dumps(message, sort_keys=True)))
    return lines + [names.plain(part) for part in text.split("\n")]


FIELDS = ("Author", "Architecture", "Os", "Comment", "Variant", "OsVersion", "RepoTags")


def image(socket, name, names):
    answer = ask(socket, "GET", f"/v1.45/images/{quote(name)}/json")
    if answer.status != 200:
        return [f"no image {name}"]
    document = answer.json()
    lines = [f"{field}: {names.plain(json.dumps(document.get(field), sort_keys=True))}" for field in FIELDS]
    for key, value in sorted(document["Config"].items()):
        # The parent's id, which the API has forgotten since.
        if key == "Image":
            continue
        lines.append(f"Config.{key}: {names.plain(json.dumps(value, sort_keys=True))}")
    lines.append(f"layers: {len(document['RootFS'].get('Layers') or [])}")
    lines.append(f"container config: {sorted((document.get('ContainerConfig') or {}).items())}")
    for step in ask(socket, "GET", f"/v1.45/images/{quote(name)}/history").json():
        has_id, size = step["Id"] != "<missing>", step["Size"]
        lines.append(f"history: {names.plain(step['CreatedBy'])!r} {step['Comment']!r} id={has_id} {'empty' if size == 0 else 'files'}")
    return lines + tree(socket, name)


def tree(socket, name):
    """The files of the image's own, as an export has them."""
    body = json.dumps({"Image": name, "Cmd": ["x"], "Entrypoint": []}).encode()
    made = ask(socket, "POST", "/v1.45/containers/create", [("Content-Type", "application/json")], body)
    if made.status != 201:
        return [f"no container: {made.status} {made.body!r}"]
    id = made.json()["Id"]
    lines = []
    export = ask(socket, "GET", f"/v1.45/containers/{id}/export").body
    with tarfile.open(fileobj=io.BytesIO(export)) as tar:
        for member in tar:
            name = member.name.rstrip("/")
            if name.startswith("bin/") or re.match(r"(dev|proc|sys)(/|$)|\.dockerenv|etc$|etc/(hosts|hostname|resolv.conf|mtab)$", name):
                continue
            time = int(member.mtime) if member.mtime < 1600000000 else "now"
            content = tar.extractfile(member).read(200) if member.isfile() else member.linkname
            lines.append(f"file {name} {member.type!r} {member.mode:o} {member.uid}:{member.gid} {time} {content!r} {member.pax_headers.get('SCHILY.xattr.security.capability', '')!r}")
    ask(socket, "DELETE", f"/v1.45/containers/{id}?force=1&v=1")
    return sorted(lines)


def set_apart(one, other):
    """Without the many lines of an image that only one of them has."""
    for lines, others in ((one, other), (other, one)):
        if any(line.startswith("no image") for line in others):
            lines[:] = [line for line in lines if not re.match(r"Config\.|file |[A-Z][A-Za-z]+: |container config|history", line)]
    return one, other


def build(socket, case):
    lines = []
    for number, one in enumerate(case["before"] + [case]):
        names = Names()
        query = {"t": "made" if one is case else f"before{number}", "rm": "1", **one["query"]}
        query = urlencode({key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items() if value is not None})
        answer = ask(socket, "POST", f"/v1.45/build?{query}", [("Content-Type", "application/x-tar")], one["raw"] if "raw" in one else context(one["files"]))
        lines.append(f"status: {answer.status} {answer.headers.get('content-type')}")
        lines += told(answer.body, names)
    left = ask(socket, "GET", "/v1.45/containers/json?all=1").json()
    lines.append(f"containers: {len(left)}")
    for container in left:
        ask(socket, "DELETE", f"/v1.45/containers/{container['Id']}?force=1&v=1")
    lines += image(socket, "made", names)
    for name in ("made", "other:tag", "before1", "before0"):
        ask(socket, "DELETE", f"/v1.45/images/{name}?force=1")
    ask(socket, "POST", "/v1.45/images/prune")
    ask(socket, "POST", "/v1.45/build/prune?all=1")
    return lines


# What the machine, the moment or a newer BuildKit says otherwise.
SAME = [
    (r"(flag[^:]*: )--", r"\1"), (r"(unknown flag: \S+?) \(did you mean .*?\)", r"\1"),
    (r"/\S*/(data|overlay2|snapshots|tmp|builds?)/\S*", "<path>"),
    (r"(dial tcp|dial udp|lookup)[^\"]*", "<unreachable>"),
]


def same(lines):
    for pattern, by in SAME:
        lines = [re.sub(pattern, by, line) for line in lines]
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("judge")
    parser.add_argument("socket")
    parser.add_argument("--only", default="")
    parser.add_argument("--kept", help="a file for what the judge has said, so that it is asked once")
    parser.add_argument("--show", action="store_true", help="print what the first says")
    args = parser.parse_args()
    kept = {}
    if args.kept and os.path.exists(args.kept):
        with open(args.kept) as file:
            kept = json.load(file)
    for socket in {args.judge, args.socket}:
        ask(socket, "POST", "/v1.45/images/load", [("Content-Type", "application/x-tar")], base())
    count = different = 0
    for case in build_cases.cases():
        if args.only not in case["name"]:
            continue
        count += 1
        key = repr(case)
        if key not in kept:
            kept[key] = build(args.judge, case)
            if args.kept:
                with open(args.kept, "w") as file:
                    json.dump(kept, file)
        one = kept[key]
        if args.show:
            print(f"== {case['name']}", *one, sep="\n    ", flush=True)
            continue
        one, other = same(one), same(build(args.socket, case))
        if one != other:
            different += 1
            one, other = set_apart(one, other)
            print(f"== {case['name']}", *[line for line in difflib.unified_diff(one, other, n=0, lineterm="") if not re.match(r"---|\+\+\+|@@", line)], sep="\n    ", flush=True)
    print(f"{count} builds, {different} different")


if __name__ == "__main__":
    sys.exit(main())
