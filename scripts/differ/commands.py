#!/usr/bin/env python3
"""Runs every command of the stock `docker`, plainly and wrongly, against two daemons and prints where they are told differently.

    commands.py SOCKET-OF-THE-JUDGE SOCKET

The commands are found by walking `docker --help`; each is given an unknown flag, nothing, the name of something that is not there,
and too much. Then come the uses of `commands.txt`, a line each. Both daemons hold the image `busybox` and nothing else.
Ids, times and sizes are made the same first.
"""
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

# Their answers come from elsewhere, or do not end.
ELSEWHERE = {"buildx", "compose", "swarm", "node", "service", "stack", "secret", "config", "context", "help", "trust"}
ENDLESS = {"login", "logout", "events", "stats", "attach", "search"}
# What they do without an argument is done by the uses.
WITHOUT = {"prune", "info", "version", "df", "ps", "images", "ls", "create", "load", "build"}
REPLACED = [
    (r"\b[0-9a-f]{64}\b", "<id>"), (r"\b[0-9a-f]{12}\b", "<id12>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d)( UTC)?)?", "<time>"),
    (r"\b(About an?|Less than a|\d+) (second|minute|hour)s?( ago)?", "<ago>"),
    (r"\b02:42(:[0-9a-f]{2}){4}", "<mac>"), (r"\b[a-z]+_[a-z]+(?=\s|\"|$)", "<name>"),
    (r"\b\d+(\.\d+)?(k|M|G)?i?B\b", "<size>"), (r"0x[0-9a-f]+", "<hex>"), (r"runc create failed: ", ""), (r" +", " "),
]


def run(socket, args):
    home = os.path.dirname(socket)
    env = {**os.environ, "DOCKER_HOST": f"unix://{socket}", "HOME": home, "LC_ALL": "C.UTF-8", "DOCKER_BUILDKIT": "0"}
    try:
        done = subprocess.run(["docker", *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=25)
    except subprocess.TimeoutExpired:
        return "does not end", "", ""
    return done.returncode, plain(done.stdout, home), plain(done.stderr, home)


def plain(data, home):
    text = data.decode("utf-8", "replace").replace(home, "<root>")
    for pattern, by in REPLACED:
        text = re.sub(pattern, by, text)
    return text


def compare(sockets, args):
    one, other = (run(socket, args) for socket in sockets)
    differences = [f"{what} {a!r}\n         -> {b!r}" for what, a, b in zip(("exit", "out ", "err "), one, other) if a != b]
    if differences:
        print(f"docker {shlex.join(args)}", *differences, sep="\n    ", flush=True)


def commands(socket, path=()):
    """All commands below `path`, as lists of words."""
    _, text, _ = run(socket, [*path, "--help"])
    if len(path) == 2 or "Commands:" not in text:
        return [list(path)]
    names = re.findall(r"^ ([a-z][a-z-]*)\*? \S", re.sub(r"(Global )?Options:.*", "", text, flags=re.S), re.M)
    return [found for name in names if path or name not in ELSEWHERE for found in commands(socket, (*path, name))]


def wrong_uses(command):
    yield [*command, "--nope"]
    verb = command[-1]
    if verb in ENDLESS:
        return
    if verb not in WITHOUT:
        yield command
    if verb != "prune":
        yield [*command, "nope-nothere"]
    # None of them the beginning of an id.
    yield [*command, "w", "x", "y", "z"]


def main():
    sockets = sys.argv[1:3]
    for use in (Path(__file__).parent / "commands.txt").read_text().splitlines():
        if use == "*":
            for command in commands(sockets[0]):
                for args in wrong_uses(command):
                    compare(sockets, args)
        elif use and not use.startswith("#"):
            compare(sockets, shlex.split(use))


main()
