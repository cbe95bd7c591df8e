#!/usr/bin/env python3
"""Gives two OCI runtimes the same commands and prints where exit code, output or words differ.

    inworld run-of-this runtime.py RUNC RUNTIME [FILTER] [--all] [--beside CRUN]

The first is the judge (runc, or crun), the second the runtime under test. It must run as root in a world of its own
(`crates/wharf-testkit/src/world`): every case has a bundle, a root of states and a control group of its own. The cases are
in `runtime_*.py`. Numbers, times and paths are made the same first. `--all` shows what is the same, too; `--beside` what a third
runtime does where the two differ; `--module runtime_lives` takes the cases of that file.
"""
import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import runtime_cases
import runtime_fields  # noqa: F401
import runtime_flags  # noqa: F401
import runtime_lives  # noqa: F401

APPLETS = """sh echo cat sleep true false mount id ls stat hostname touch rm ln mv mkdir grep ip uname tty stty kill wc env readlink
test dd ps head sort tr cut printf dnsdomainname nice ionice pwd""".split()


class Bundle:
    """A folder with a config.json, a busybox, and what one runtime has of it."""

    def __init__(self, runtime, number):
        self.runtime, self.folder = runtime, tempfile.mkdtemp(prefix="runtime-")
        self.number, root = number, f"{self.folder}/b/rootfs"
        for name in ["bin", "proc", "dev", "sys", "tmp", "etc"]:
            os.makedirs(f"{root}/{name}")
        shutil.copy("/bin/busybox", f"{root}/bin/busybox")
        for name in APPLETS:
            os.symlink("busybox", f"{root}/bin/{name}")
        with open(f"{root}/etc/passwd", "w") as file:
            file.write("root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n")
        self.spec = copy.deepcopy(runtime_cases.SPEC)
        self.spec["linux"]["cgroupsPath"] = f"/differ-{os.path.basename(self.folder)}"

    def fill(self, word):
        pid = os.path.join(self.folder, "pid")
        return (str(word).replace("{b}", f"{self.folder}/b").replace("{t}", self.folder).replace("{n}", os.path.basename(self.folder))
                .replace("{r}", f"{self.runtime} --root {self.folder}/state").replace("{h}", os.path.dirname(os.path.realpath(__file__)))
                .replace("{p}", open(pid).read() if "{p}" in str(word) and os.path.exists(pid) else "{p}"))

    def run(self, command):
        """Exit code, output and errors of a step."""
        if command[0] == "sh":
            words = ["sh", "-c", self.fill(command[1])]
        elif command[0] == "wait":
            return self.wait(command[1], command[2])
        else:
            words = [self.runtime, "--root", f"{self.folder}/state", *map(self.fill, command)]
        # Files and no pipes: what is left behind holds them open.
        with open(f"{self.folder}/out", "w+b") as out, open(f"{self.folder}/err", "w+b") as err:
            try:
                code = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=f"{self.folder}/b",
                                      timeout=20).returncode
            except subprocess.TimeoutExpired:
                code = "no end"
            out.seek(0)
            err.seek(0)
            return code, self.plain(out.read()), self.plain(err.read())

    def wait(self, name, status):
        """Until the container has that status."""
        for _ in range(300):
            shown = subprocess.run([self.runtime, "--root", f"{self.folder}/state", "state", name], capture_output=True)
            if shown.returncode == 0 and json.loads(shown.stdout)["status"] == status:
                return 0, "", ""
            time.sleep(0.01)
        return 1, "", f"{name} does not become {status}"

    def plain(self, text):
        """Without what differs from run to run."""
        text = text.decode(errors="replace").replace(self.folder, "{t}").replace(os.path.basename(self.folder), "{n}")
        text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "{time}", text)
        text = re.sub(r'("pid": ?|nsexec(?:-\d)?\[|pid |^ *(?=\d+ sleep)|to write |/proc/)[1-9]\d*', r"\1{pid}", text, flags=re.M)
        # How a command is used is told in words of our own.
        text = re.sub(r"(Incorrect Usage[^\n]*)\n.*", r"\1", text, flags=re.S)
        text = re.sub(r'("ociVersion": ?)"[^"]*"', r"\1{version}", text)
        text = text.replace("/proc/self/fd/", "/dev/fd/").replace(self.runtime, "runtime").replace(os.path.basename(self.runtime), "runtime").replace("runc", "runtime")
        return text

    def remove(self):
        state = f"{self.folder}/state"
        for name in os.listdir(state) if os.path.isdir(state) else []:
            subprocess.run([self.runtime, "--root", state, "delete", "-f", name], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def play(runtime, number, case):
    bundle = Bundle(runtime, number)
    try:
        if callable(case.change):
            changed = case.change(bundle.spec)
            bundle.spec = bundle.spec if changed is None else changed
        if case.change != "no config":
            with open(f"{bundle.folder}/b/config.json", "w") as file:
                file.write(bundle.spec if isinstance(bundle.spec, str) else bundle.fill(json.dumps(bundle.spec)))
        return [bundle.run(step) for step in case.steps]
    finally:
        bundle.remove()


def message(errors):
    """The words of runc's log, whatever the form."""
    found = re.findall(r'msg="((?:[^"\\]|\\.)*)"', errors) or re.findall(r'"msg":"((?:[^"\\]|\\.)*)"', errors)
    return "\n".join(sorted(set(found))).replace('\\"', '"') if found else errors.strip()


def same_output(one, other):
    try:
        return json.loads(one) == json.loads(other)
    except ValueError:
        return one == other


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("judge")
    parser.add_argument("runtime")
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--beside", help="a third runtime")
    parser.add_argument("--module", default="", help="the cases of that file")
    parser.add_argument("--kept", help="a file of the judge's answers: read if it is there, written at the end")
    asked = parser.parse_args()
    steps = codes = outputs = words = 0
    kept = json.load(open(asked.kept)) if asked.kept and os.path.exists(asked.kept) else {}
    for number, case in enumerate(runtime_cases.CASES):
        if asked.filter not in case.name or asked.module not in case.module:
            continue
        beside = None
        key = f"{case.name} {case.steps} {case.plan()}"
        judged = kept[key] = kept.get(key) or play(asked.judge, number, case)
        got = play(asked.runtime, number, case)
        for index, (step, one, other) in enumerate(zip(case.steps, judged, got)):
            steps += 1
            code, output = one[0] != other[0], not same_output(one[1], other[1])
            said = message(one[2]) != message(other[2])
            if case.on_purpose and not asked.all:
                continue
            codes, outputs, words = codes + code, outputs + output, words + said
            if code or output or said or asked.all:
                kind = " ".join(name for name, is_so in [("CODE", code), ("OUTPUT", output), ("words", said)] if is_so) or "same"
                print(f"## {case.name}: {' '.join(map(str, step))}  [{kind}] {case.on_purpose or ''}")
                for who, answer in (("judge", one), ("ours ", other)):
                    print(f"  {who} {answer[0]} {answer[1].rstrip()!r}\n        {message(answer[2])!r}")
                if asked.beside and (code or output):
                    beside = beside or play(asked.beside, number, case)
                    answer = beside[index]
                    print(f"  third {answer[0]} {answer[1].rstrip()!r}\n        {message(answer[2])!r}")
    if asked.kept:
        json.dump(kept, open(asked.kept, "w"))
    print(f"{steps} steps; differ: {codes} codes, {outputs} outputs, {words} words")
    return 1 if codes or outputs else 0


if __name__ == "__main__":
    sys.exit(main())
