#!/usr/bin/env python3
"""Asks two daemons the same questions of the Engine API and prints where the answers differ.

    differ.py SOCKET-OF-THE-JUDGE SOCKET [--section NAME] [--version 1.45]

The first is a real dockerd, the second the daemon under test; both hold the image `busybox` and nothing else. Each
question is one request on a connection of its own; compared are the status, the headers that say something, and the body:
as JSON by keys, types and values, else as text. Ids, times, addresses and sizes are made the same first. The questions are
in `questions.py`, those of several requests that belong together in `wide.py`, and `fields.py` tells each field of each body odd
values; `http.py` sends what is no clean HTTP.
"""
import argparse
import base64
import concurrent.futures
import io
import json
import re
import socket
import sys
import tarfile
import time

import fields
import questions
import wide

HEADERS = ["content-type", "api-version", "docker-experimental", "ostype", "builder-version", "swarm", "cache-control",
           "pragma", "location", "x-docker-container-path-stat", "upgrade", "connection", "allow"]
# Values that are the machine's or the moment's; their types are compared all the same.
VOLATILE = set("""Created CreatedAt StartedAt FinishedAt Pid Size SizeRw SizeRootFs VirtualSize SharedSize time timeNano Mountpoint MountPoint
MacAddress Usage LogPath SandboxID SandboxKey EndpointID NetworkID ResolvConfPath HostnamePath HostsPath Id ID ExecIDs GraphDriver
MergedDir UpperDir LowerDir WorkDir RootFS Layers LayersSize SpaceReclaimed Digest RepoDigests Metadata read preread
cpu_stats precpu_stats memory_stats blkio_stats pids_stats networks LastTagTime BuildTime Started Finished Start End
ExitedAt Elapsed sequenceNumber ServerVersion GitCommit KernelVersion""".split())


class Answer:
    def __init__(self, status, reason, headers, body):
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    def json(self):
        return json.loads(self.body)


def ask(path, method, target, headers=(), body=b"", proto="HTTP/1.1", timeout=None, said=None):
    """One request, its answer read to the end, or as far as it comes within the seconds that are given; `said` is what goes in behind
    its head: bytes, pauses, None for the end of input."""
    end = time.monotonic() + (timeout or 600)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout or 60)
    s.connect(path)
    head = [f"{method} {target} {proto}", "Host: docker", "Connection: close"]
    names = {name.lower() for name, _ in headers}
    head += [f"{name}: {value}" for name, value in headers]
    if "content-length" not in names and "transfer-encoding" not in names and (body or method in ("POST", "PUT")):
        head.append(f"Content-Length: {len(body)}")
    try:
        s.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body)
    except BrokenPipeError:
        pass
    data = b""
    try:
        while said is not None and b"\r\n\r\n" not in data and (chunk := s.recv(65536)):
            data += chunk
        say(s, said or ())
        while chunk := s.recv(65536):
            data += chunk
            if time.monotonic() > end:
                raise TimeoutError
    except TimeoutError:
        data += b"<no end>"
    except (ConnectionResetError, BrokenPipeError):
        pass
    s.close()
    return parse(data)


def say(s, parts):
    try:
        for part in parts:
            if part is None:
                s.shutdown(socket.SHUT_WR)
            elif isinstance(part, bytes):
                s.sendall(part)
            else:
                time.sleep(part)
    except (ConnectionResetError, BrokenPipeError, OSError):
        # Nobody listens any more; what was said before is there to be read.
        pass


def parse(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    first = lines[0].split(" ", 2)
    status = int(first[1]) if len(first) > 1 and first[1].isdigit() else 0
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = unchunk(body)
    return Answer(status, first[2] if len(first) > 2 else "", headers, body)


def unchunk(data):
    out = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        try:
            size = int(size, 16)
        except ValueError:
            return out + b"<bad chunk>"
        if size == 0:
            break
        out, data = out + data[:size], data[size + 2:]
    return out


PATTERNS = [
    (re.compile(r"\b[0-9a-f]{64}\b"), "<id>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<id12>"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"), "<time>"),
    (re.compile(r"\b02:42(:[0-9a-f]{2}){4}\b"), "<mac>"),
    (re.compile(r"\b(Less than a second|About a minute|\d+ seconds?)\b"), "<while>"),
    (re.compile(r"/(work|tmp)/[\w./-]*?/(d26|w)/"), "<root>/"),
]


def plain(text):
    for pattern, by in PATTERNS:
        text = pattern.sub(by, text)
    return text


def compare(a, b, at, out):
    kind = lambda v: {dict: "object", list: "list", str: "string", bool: "bool", type(None): "null"}.get(type(v), "number")
    if kind(a) != kind(b):
        out.append(f"{at}: {kind(a)} {short(a)} -> {kind(b)} {short(b)}")
    elif isinstance(a, dict):
        # Ids that are keys stand in one order.
        a, b = ({plain(key): value for key, value in one.items()} for one in (a, b))
        for key in a:
            if key not in b:
                out.append(f"{at}.{key}: missing, is {short(a[key])}")
        for key in b:
            if key not in a:
                out.append(f"{at}.{key}: extra {short(b[key])}")
        for key in a:
            if key in b:
                if key in VOLATILE and not isinstance(a[key], (dict, list)):
                    if kind(a[key]) != kind(b[key]) or (a[key] in ("", 0)) != (b[key] in ("", 0)):
                        out.append(f"{at}.{key}: {short(a[key])} -> {short(b[key])}")
                elif key == "message":
                    compare(plain(str(a[key])), plain(str(b[key])), f"{at}.{key}", out)
                else:
                    compare(a[key], b[key], f"{at}.{key}", out)
    elif isinstance(a, list):
        if at.endswith(".Ports"):
            # In the order of a Go map.
            a, b = (sorted(one, key=json.dumps) for one in (a, b))
        if len(a) != len(b):
            out.append(f"{at}: {len(a)} of them -> {len(b)}: {short(a)} -> {short(b)}")
        for index, (x, y) in enumerate(zip(a, b)):
            compare(x, y, f"{at}[{index}]", out)
    elif isinstance(a, str):
        if plain(a) != plain(b):
            out.append(f"{at}: {plain(a)!r}\n                   -> {plain(b)!r}")
    elif a != b:
        out.append(f"{at}: {a!r} -> {b!r}")


def frames(body):
    """A stream with its frames taken apart: what came on each, or the bytes as they are if it has none."""
    found, at = {}, 0
    while at + 8 <= len(body) and body[at] < 4 and body[at + 1:at + 4] == b"\0\0\0":
        size = int.from_bytes(body[at + 4:at + 8], "big")
        name = ("stdin", "stdout", "stderr", "error")[body[at]]
        found[name] = found.get(name, "") + plain(body[at + 8:at + 8 + size].decode("latin-1"))
        at += 8 + size
    return {**found, "rest": plain(body[at:].decode("latin-1"))}


def members(body):
    """What an archive holds, by name; JSON among it as such."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body)) as archive:
            for one in archive:
                what = {"mode": oct(one.mode), "owner": [one.uid, one.gid], "type": one.type.decode(), "link": plain(one.linkname), "names": [one.uname, one.gname],
                        "pax": sorted(key for key in one.pax_headers if not key.endswith("time"))}
                if one.isfile():
                    data = archive.extractfile(one).read()
                    if one.name.endswith(".json") or one.name == "repositories":
                        what["json"] = json.loads(plain(data.decode()))
                    elif len(data) < 200:
                        what["data"] = plain(data.decode("latin-1"))
                found.setdefault(plain(one.name), []).append(what)
            found["order"] = [plain(name) for name in archive.getnames()]
    except (tarfile.TarError, ValueError) as error:
        return {"error": str(error)} if body[:1] != b"{" else json.loads(body)
    return found


def path_stat(answer):
    try:
        stat = json.loads(base64.b64decode(answer.headers["x-docker-container-path-stat"]))
        return {**stat, "mtime": kind_of_time(stat["mtime"])}
    except (KeyError, ValueError):
        return None


def kind_of_time(text):
    return re.sub(r"\d", "9", text).replace("9" * 9, "n") if "." not in text else re.sub(r"\.\d+", ".n", re.sub(r"\d(?=.*\.)", "9", text))


def short(value):
    text = json.dumps(value)
    return text if len(text) < 160 else text[:157] + "..."


def documents(body):
    """The JSON documents of a body, one or a stream; none if it is something else."""
    text = body.decode("utf-8", "replace")
    found, decoder = [], json.JSONDecoder()
    text = text.strip()
    while text:
        try:
            one, end = decoder.raw_decode(text)
        except ValueError:
            return None
        found.append(one)
        text = text[end:].strip()
    return found


def told(event):
    """An event without what is the moment's."""
    event = {key: value for key, value in event.items() if key not in ("time", "timeNano")}
    text = plain(json.dumps(event, sort_keys=True))
    return re.sub(r'"(execDuration|size|reclaimed)": "\d+"', r'"\1": "n"', re.sub(r'[0-9a-f]{64}', "<id>", text))


def shape(value):
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value[:1]]
    return {bool: "bool", str: "string", type(None): "null"}.get(type(value), "number")


def differences(a, b, want):
    out = []
    if a.status != b.status:
        out.append(f"status {a.status} {a.reason} -> {b.status} {b.reason}")
    for name in HEADERS:
        x, y = a.headers.get(name), b.headers.get(name)
        # A stat is compared by its fields, if it is.
        if x != y and name not in want.get("ignore_headers", ()) and not (name == "x-docker-container-path-stat" and x and y):
            out.append(f"header {name}: {x} -> {y}")
    if want.get("body") is False:
        return out
    if want.get("stat"):
        compare(path_stat(a), path_stat(b), "stat", out)
    if want.get("tar") and a.status == b.status:
        compare(members(a.body), members(b.body), "tar", out)
        return [line for line in out if not any(re.search(p, line) for p in want.get("ignore", ()))]
    if want.get("frames"):
        compare(frames(a.body), frames(b.body), "frames", out)
        return [line for line in out if not any(re.search(p, line) for p in want.get("ignore", ()))]
    end = b"<no end>" if want.get("live") else b""
    left, right = documents(a.body.removesuffix(end)), documents(b.body.removesuffix(end))
    if want.get("events") and left is not None and right is not None:
        left, right = [told(one) for one in left], [told(one) for one in right]
        if want.get("unordered"):
            left, right = sorted(left), sorted(right)
        if left != right:
            import difflib
            out += [line for line in difflib.unified_diff(left, right, lineterm="", n=1)][2:]
        return [line for line in out if not any(re.search(p, line) for p in want.get("ignore", ()))]
    if want.get("stats") and left and right:
        compare(shape(left[0]), shape(right[0]), "$", out)
        return out
    if want.get("any_order") and left and right and isinstance(left[0], list) and isinstance(right[0], list):
        by = want["any_order"]
        left, right = ([sorted(one[0], key=lambda row: row[by])] for one in (left, right))
    if left is not None and right is not None:
        pairs = (left[0], right[0]) if len(left) == len(right) == 1 else (left, right)
        compare(*pairs, "$", out)
        if a.body.endswith(b"\n") != b.body.endswith(b"\n"):
            out.append(f"end of line: {a.body[-3:]} -> {b.body[-3:]}")
    elif plain(a.body.decode("latin-1")) != plain(b.body.decode("latin-1")):
        out.append(f"body {a.body[:300]!r}\n                   -> {b.body[:300]!r}")
    return [line for line in out if not any(re.search(p, line) for p in want.get("ignore", ()))]


def ask_both(sections, judge, tested, version, show=None):
    """Asks all questions of the sections; yields each, in words, and where the answers differ."""
    ids = ({}, {})
    pool, asides = concurrent.futures.ThreadPoolExecutor(64), {}
    for name, section in sections.items():
        begin = start = time.time()
        for method, target, want in section():
            if not method:
                if target == "join":
                    told, want, asked = asides.pop(want["of"])
                    yield told, differences(*(one.result() for one in asked), want)
                    continue
                if target == "settle":
                    time.sleep(want.get("seconds", 0.3))
                start = {"mark": time.time(), "settle": start, "whole": begin}[target]
                continue
            for names in ids:
                names.update(start=f"{start:.6f}", now=f"{time.time():.6f}", soon=f"{time.time() + 2:.6f}")
            if not target.startswith("!"):
                target = (f"/v{version}" if version and not want.get("bare") else "") + target
            target = target.lstrip("!")
            about = want.get("json", want.get("raw", b""))
            about = short(about) if not isinstance(about, bytes) else about[:120]
            told = f"{name}: {method} {target} {about}"
            if "aside" in want:
                asides[want["aside"]] = told, want, [pool.submit(answer_of, path, names, method, target, want) for path, names in zip((judge, tested), ids)]
                time.sleep(0.2)
                continue
            # Both at once: what takes its time takes it once.
            both = [pool.submit(answer_of, path, names, method, target, want) for path, names in zip((judge, tested), ids)]
            answers = [one.result() for one in both]
            if show and re.search(show, f"{method} {target}"):
                for answer in answers:
                    print(answer.status, answer.headers, answer.body.decode("utf-8", "replace")[:6000], sep="\n")
            yield told, [] if want.get("quiet") else differences(*answers, want)


def answer_of(path, names, method, target, want):
    """The answer of one daemon; what it is to be remembered of it goes to `names`."""
    fill = lambda text: re.sub(r"\{\{(\w+)\}\}", lambda m: names.get(m[1], "none"), text)
    body = want.get("raw")
    headers = list(want.get("headers", ()))
    if body is None and "json" in want:
        body = fill(json.dumps(want["json"])).encode()
    if body is not None and "json" in want and not any(n.lower() == "content-type" for n, _ in headers):
        headers.append(("Content-Type", "application/json"))
    answer = ask(path, method, fill(target), headers, body or b"", want.get("proto", "HTTP/1.1"), want.get("timeout"), want.get("said"))
    if "save" in want:
        try:
            names[want["save"]] = answer.json()["Id"]
        except (ValueError, KeyError, TypeError):
            pass
        names[want["save"] + "12"] = names.get(want["save"], "none")[:12]
    return answer


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("judge")
    options.add_argument("tested")
    options.add_argument("--section", action="append")
    options.add_argument("--version", default="1.45", help="of the API that is asked for; empty for none")
    options.add_argument("--ignore", action="append", default=[], help="a pattern of differences that are not printed")
    options.add_argument("--show", help="print both whole answers to questions that match this pattern")
    args = options.parse_args()
    ignore = [re.compile(p) for p in questions.KNOWN + args.ignore]
    sections = {**questions.SECTIONS, **wide.SECTIONS, **fields.SECTIONS}
    if args.section:
        sections = {name: section for name, section in sections.items() if name in args.section}
    count = found = 0
    for asked, lines in ask_both(sections, args.judge, args.tested, args.version, args.show):
        count += 1
        lines = [line for line in lines if not any(p.search(line) for p in ignore)]
        if lines:
            found += 1
            print(asked)
            for line in lines:
                print("    " + line)
            sys.stdout.flush()
    print(f"{count} questions, {found} with differences")


if __name__ == "__main__":
    main()
