"""The cases of `runtime.py`: a change of the plain spec, and commands. `{b}` is the bundle, `{t}` a folder around it."""

import copy
import json
import sys

PATH = "PATH=/bin"
SPEC = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "process": {"user": {"uid": 0, "gid": 0}, "args": ["true"], "env": [PATH], "cwd": "/"},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ],
    "linux": {
        "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
    },
}
CASES = []
LONG = "sleep 1000"


# What differs on purpose, and why: beginnings of names.
ON_PURPOSE = {
    "global --rootless maybe": "ours is read at once, the judge's when it is needed",
    "config is null": "the judge crashes",
    "config with trailing words": "what is behind the object is no JSON",
    "no process": "create may be without one, start may not (OCI, config.md)",
    "rlimits twice": "an error by OCI, config.md",
    "terminal in the foreground": "without a terminal of the caller's the judge gives up",
    "console size": "the same",
    "mappings without a user namespace": "what has no effect is refused",
    "a device with {'path': 'd'}": "a full path by OCI, config-linux.md",
    "a device with {'path': ''}": "the same",
    "a device with {'path': '/dev/null'}": "the judge opens it again",
    "the setting net.ipv4/ip_forward": "a slash stands for a dot within a name, as sysctl(8) has it",
    "propagation of the root": "the judge cannot do all four of OCI, config-linux.md",
    "mount a tmpfs defaults": "a word of mount(8)",
    "mount a tmpfs r": "words of later versions",
    "bind without options": "by its type it is one",
    "mount over /": "it works",
    "hook startContainer that": "start waits for it and fails (OCI, runtime.md); the judge of 1.1 does not hear of it",
    "hook poststart": "they run after the start (OCI, runtime.md), in the judge of 1.1 at creation",
    "hook poststop by a relative path": "refused at creation",
    "hook poststop without a timeout": "refused at creation (OCI, config.md)",
    "hook poststop with a negative": "refused at creation (OCI, config.md)",
    "hook startContainer by": "refused at creation",
    "spec": "the judge of 1.1 gives ambient capabilities",
    "the group /": "the top is nobody's",
    "limits: cpu burst": "later than the judge",
    "limits: idle": "later than the judge",
    "seccomp no default": "REQUIRED by OCI, config-linux.md",
    "seccomp log flag": "the judge was built without",
    "run --preserve-fds": "refused if there are none",
    "version ": "an error for what is no semantic version, or of another major one (OCI, config.md)",
    "no version": "REQUIRED by OCI, config.md",
    "global --version": "of each its own",
    "global -v": "of each its own",
}


class Case:
    def __init__(self, name, change, *steps):
        self.name, self.change, self.steps = name, change, steps
        self.module = sys._getframe(1).f_globals["__name__"]
        self.on_purpose = next((why for begin, why in ON_PURPOSE.items() if name.startswith(begin)), None)
        CASES.append(self)

    def plan(self):
        """What the configuration is, to tell whether an answer is of this case."""
        spec = copy.deepcopy(SPEC)
        spec["linux"]["cgroupsPath"] = ""
        changed = self.change(spec) if callable(self.change) else None
        return json.dumps(spec if changed is None else changed)


def script(text, change=None):
    """The plain spec with that script as its program."""
    def both(spec):
        spec["process"]["args"] = ["sh", "-c", text]
        return change(spec) if change else None
    return both


def put(pointer, value, text=None):
    """A value at a place of the spec."""
    def change(spec):
        if text is not None:
            spec["process"]["args"] = ["sh", "-c", text]
        *parents, name = pointer.split("/")
        place = spec
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        place[int(name) if isinstance(place, list) else name] = value
    return change


def without(pointer):
    def change(spec):
        *parents, name = pointer.split("/")
        place = spec
        for parent in parents:
            place = place[parent]
        del place[name]
    return change


def more(*changes):
    def change(spec):
        for one in changes:
            one(spec)
    return change


def mount(options, text, kind="tmpfs", source="tmpfs", destination="/tmp/m"):
    def change(spec):
        one = {"destination": destination, "source": source, "options": options}
        if kind:
            one["type"] = kind
        spec["mounts"].append(one)
        spec["process"]["args"] = ["sh", "-c", text]
    return change


# --- words before the command, and those that no command knows
for words in (["--version"], ["-v"], ["nonsense"], ["--nonsense"], ["--log-format", "xml", "list"], ["--log-format=json", "state", "x"],
              ["--rootless", "maybe", "list"], ["--rootless=false", "list"], ["--log", "{t}/log", "state", "x"], ["--debug=false", "list"],
              ["--log", "{t}/no/log", "state", "x"], ["--root", "", "list"], ["--criu", "x", "list"], ["--root"], ["help", "nonsense"]):
    Case("global " + " ".join(words), None, words)
Case("global log as json", None, ["--log", "{t}/log", "--log-format", "json", "start", "x"], ["sh", "sed 's/,\"time.*//' {t}/log"])
Case("global log as text", None, ["--log", "{t}/log", "start", "x"], ["sh", "sed 's/time=[^ ]*//' {t}/log"])

# --- commands without an id, with too many words, with unknown flags, with odd ids
COMMANDS = "create delete events exec kill pause ps resume run start state update".split()
for command in COMMANDS:
    program = ["true"] if command == "exec" else []
    Case(f"{command} without an id", None, [command])
    Case(f"{command} of none", None, [command, "none", *program]) if command not in ("create", "run") else None
    Case(f"{command} with an unknown flag", None, [command, "--nonsense", "x"])
    Case(f"{command} with a word too many", None, [command, "x", "y", "z"]) if command not in ("exec", "ps") else None
    for odd in ("", "a/b", "..", ".", "a b", "é", "-x", "a" * 1000, "a:b"):
        Case(f"{command} of the id {odd[:20]!r}", None, [command, odd, *program])
for good in ("a_b", "a.b", "a+b", "A-1", "...", "_", "1"):
    Case(f"run of the id {good!r}", None, ["run", good])
Case("list with a word", None, ["list", "x"])
Case("features with a word", None, ["features", "x"])
Case("spec with a word", None, ["spec", "x"])

# --- a life
Case("a life", put("process/args", ["sleep", "1000"]), ["create", "c"], ["state", "c"], ["create", "c"], ["pause", "c"], ["resume", "c"],
     ["list", "-q"], ["exec", "c", "echo", "in created"], ["start", "c"], ["start", "c"], ["state", "c"], ["ps", "-f", "json", "none"],
     ["delete", "c"], ["pause", "c"], ["pause", "c"], ["state", "c"], ["exec", "c", "true"], ["delete", "c"], ["start", "c"], ["resume", "c"],
     ["resume", "c"], ["exec", "c", "echo", "x"], ["kill", "c", "KILL"], ["wait", "c", "stopped"], ["state", "c"], ["kill", "c"], ["kill", "-a", "c"],
     ["start", "c"], ["pause", "c"], ["resume", "c"], ["exec", "c", "true"], ["ps", "c"], ["events", "--stats", "c"], ["update", "--pids-limit", "5", "c"],
     ["delete", "c"], ["delete", "c"], ["delete", "-f", "c"], ["state", "c"])
Case("delete of a created one", put("process/args", ["sleep", "1000"]), ["create", "c"], ["delete", "c"], ["state", "c"])
Case("delete -f of a running one", put("process/args", ["sleep", "1000"]), ["run", "-d", "c"], ["delete", "-f", "c"], ["state", "c"], ["list"])
Case("delete -f of a paused one", put("process/args", ["sleep", "1000"]), ["run", "-d", "c"], ["pause", "c"], ["delete", "-f", "c"], ["list", "-q"])
Case("kill of a created one", put("process/args", ["sleep", "1000"]), ["create", "c"], ["kill", "c", "9"], ["wait", "c", "stopped"], ["start", "c"], ["delete", "c"])
Case("kill by names", script("sleep 1000"), ["run", "-d", "c"], ["kill", "c", "nonsense"], ["kill", "c", "0"], ["kill", "c", "65"], ["kill", "c", "-1"],
     ["kill", "c", "SIGUSR9"], ["kill", "c", "sigwinch"], ["kill", "c", "WINCH"], ["kill", "c", "28"], ["kill", "c", "SIGRTMIN"], ["kill", "c", "RTMIN+1"], ["kill", "c", ""],
     ["kill", "-a", "c", "CONT"], ["kill", "--all", "c", "KILL"], ["wait", "c", "stopped"], ["kill", "c", "KILL"], ["kill", "-a", "c", "KILL"])
Case("exit codes", script("exit 7"), ["run", "c"], ["run", "--keep", "c"], ["state", "c"], ["run", "c"], ["delete", "c"])
Case("killed by a signal", script("kill -9 $$"), ["run", "c"])
Case("killed by another", script("kill -TERM $$; sleep 1; echo on"), ["run", "c"])
Case("list", put("process/args", ["sleep", "1000"]), ["list"], ["list", "-f", "json"], ["list", "-q"], ["list", "-f", "xml"], ["create", "c"],
     ["sh", "true"], ["list", "-q", "-f", "json"], ["list", "-f", "xml"])
Case("annotations", put("annotations", {"a": "b", "empty": ""}, LONG), ["run", "-d", "c"], ["state", "c"])
Case("ps", script("sleep 1000"), ["run", "-d", "c"], ["ps", "-f", "xml", "c"], ["ps", "c", "-o", "cmd"], ["ps", "c", "-o", "pid,comm"], ["ps", "c", "--nonsense"])
Case("pid file", script("sleep 1000"), ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "test $(cat {t}/pid) -gt 1; ls -a {t} | grep pid; stat -c %a {t}/pid"])
Case("pid file in no folder", script("sleep 1000"), ["run", "-d", "--pid-file", "{t}/no/pid", "c"], ["state", "c"])

# --- bundles
Case("no config", "no config", ["run", "c"], ["create", "c"])
Case("no bundle", None, ["run", "--bundle", "{t}/none", "c"])
Case("an empty bundle", None, ["run", "--bundle", "", "c"])
Case("the bundle by a relative path", None, ["run", "-b", "../b", "c"])
Case("the bundle is a file", None, ["run", "-b", "{b}/config.json", "c"])
Case("config is no json", lambda spec: "{", ["run", "c"])
Case("config is empty", lambda spec: "", ["run", "c"])
Case("config is a list", lambda spec: "[]", ["run", "c"])
Case("config is an empty object", lambda spec: "{}", ["run", "c"])
Case("config is null", lambda spec: "null", ["run", "c"])
Case("config with a number as args", put("process/args", 7), ["run", "c"])
Case("config with trailing words", lambda spec: json.dumps(spec) + " x", ["run", "c"])

# --- process
Case("no process", without("process"), ["run", "c"], ["create", "c"])
Case("no args", without("process/args"), ["run", "c"])
Case("empty args", put("process/args", []), ["run", "c"])
Case("an empty word as args", put("process/args", [""]), ["run", "c"], ["state", "c"])
Case("no cwd", without("process/cwd"), ["run", "c"])
Case("empty cwd", put("process/cwd", ""), ["run", "c"])
Case("relative cwd", put("process/cwd", "tmp"), ["run", "c"])
Case("a new cwd", put("process/cwd", "/a/b", "pwd; stat -c %a:%u /a/b"), ["run", "c"])
Case("cwd is a file", put("process/cwd", "/bin/sh"), ["run", "c"])
Case("cwd that the user may not enter", more(put("process/cwd", "/tmp/x"), lambda spec: spec["mounts"].append(
    {"destination": "/tmp/x", "type": "tmpfs", "source": "x", "options": ["mode=700"]}), put("process/user", {"uid": 33, "gid": 34})), ["run", "c"])
for word in ("nonsense", "/nonsense", "./nonsense", "/etc/passwd", "/tmp", "tmp", "/etc/passwd/x", "bin/true"):
    Case(f"the program {word}", put("process/args", [word]), ["run", "c"], ["create", "c"], ["state", "c"])
Case("no environment", more(without("process/env"), put("process/args", ["/bin/env"])), ["run", "c"])
Case("environment", put("process/env", [PATH, "A=1", "A=2", "EMPTY=", "NOVALUE", "HOME=/x"], "env | sort"), ["run", "c"])
Case("odd environment", put("process/env", [PATH, "=x", ""], "env | sort"), ["run", "c"])
Case("home of a user", put("process/user", {"uid": 33, "gid": 34}, "echo $HOME; id"), ["run", "c"])
Case("home of nobody known", put("process/user", {"uid": 77, "gid": 78, "additionalGids": [5, 6]}, "echo $HOME; id"), ["run", "c"])
Case("umask", put("process/user", {"uid": 0, "gid": 0, "umask": 63}, "umask"), ["run", "c"])
Case("plain umask", script("umask"), ["run", "c"])
Case("umask of 0", put("process/user", {"uid": 0, "gid": 0, "umask": 0}, "umask"), ["run", "c"])
Case("rlimits", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50}, {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}], "ulimit -n; ulimit -Hn; ulimit -c"), ["run", "c"])
Case("rlimits twice", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "hard": 100, "soft": 50}] * 2), ["run", "c"])
Case("rlimits soft over hard", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 50}]), ["run", "c"])
Case("rlimits unknown", put("process/rlimits", [{"type": "RLIMIT_NONSENSE", "hard": 10, "soft": 5}]), ["run", "c"])
Case("oom score", put("process/oomScoreAdj", 100, "cat /proc/self/oom_score_adj"), ["run", "c"])
Case("oom score out of range", put("process/oomScoreAdj", 2000, "cat /proc/self/oom_score_adj"), ["run", "c"])
Case("no new privileges", put("process/noNewPrivileges", True, "grep NoNewPrivs /proc/self/status"), ["run", "c"])
Case("no capabilities", script("grep Cap /proc/self/status"), ["run", "c"])
CAPS = ["CAP_CHOWN", "CAP_KILL"]
for sets in (["bounding"], ["bounding", "effective", "permitted"], ["bounding", "effective", "permitted", "inheritable"],
             ["bounding", "effective", "permitted", "inheritable", "ambient"], ["bounding", "effective", "permitted", "ambient"], ["effective"], ["ambient"], []):
    Case(f"capabilities {sets}", put("process/capabilities", {name: CAPS for name in sets}, "grep Cap /proc/self/status"), ["run", "c"])
    Case(f"capabilities {sets} of a user", more(put("process/user", {"uid": 33, "gid": 34}), put("process/capabilities", {name: CAPS for name in sets}, "grep Cap /proc/self/status")), ["run", "c"])
Case("unknown capabilities", put("process/capabilities", {"bounding": ["CAP_NONSENSE", "CAP_CHOWN", "nonsense"]}, "grep CapBnd /proc/self/status"), ["run", "c"])
Case("apparmor", put("process/apparmorProfile", "nonsense"), ["run", "c"])
Case("apparmor unconfined", put("process/apparmorProfile", "unconfined"), ["run", "c"])
Case("selinux", put("process/selinuxLabel", "a:b:c:d"), ["run", "c"])
Case("mount label", put("linux/mountLabel", "a:b:c:d"), ["run", "c"])
Case("terminal without a socket", put("process/terminal", True), ["create", "c"], ["run", "-d", "c"])
Case("socket without a terminal", None, ["create", "--console-socket", "{t}/s", "c"], ["run", "--console-socket", "{t}/s", "c"], ["run", "-d", "--console-socket", "{t}/s", "c"])
Case("terminal with no such socket", put("process/terminal", True), ["create", "--console-socket", "{t}/s", "c"], ["state", "c"])
Case("terminal in the foreground", put("process/terminal", True, "tty; stat -c %t,%T /dev/console; ls /dev"), ["run", "c"])
Case("console size", more(put("process/terminal", True), put("process/consoleSize", {"height": 10, "width": 20}, "stty size")), ["run", "c"])

# --- root, names, version
Case("no root", without("root"), ["run", "c"])
Case("empty root", put("root", {}), ["run", "c"])
Case("empty root path", put("root/path", ""), ["run", "c"])
Case("root is not there", put("root/path", "nonsense"), ["run", "c"], ["create", "c"])
Case("root is a file", put("root/path", "config.json"), ["run", "c"])
Case("root by an absolute path", put("root/path", "{b}/rootfs", "echo in"), ["run", "c"])
Case("root is a link", None, ["sh", "ln -s rootfs {b}/link; sed -i 's/\"path\": \"rootfs\"/\"path\": \"link\"/' {b}/config.json"], ["run", "c"])
Case("read-only root", put("root/readonly", True, "touch /x; touch /dev/x; echo $?; mount | head -1 | cut -d'(' -f2 | cut -c1-2"), ["run", "c"])
for version in ("", "1", "1.0", "1.0.0", "1.0.0-rc1", "0.9.0", "2.0.0", "nonsense"):
    Case(f"version {version}", put("ociVersion", version), ["run", "c"])
Case("no version", without("ociVersion"), ["run", "c"])
Case("hostname", put("hostname", "name", "hostname"), ["run", "c"])
Case("hostname with the host's", more(put("hostname", "name"), put("linux/namespaces", [{"type": "mount"}, {"type": "pid"}])), ["run", "c"])
Case("a long hostname", put("hostname", "n" * 100, "hostname"), ["run", "c"])

# --- namespaces
Case("no linux", without("linux"), ["run", "c"])
Case("no namespaces", put("linux/namespaces", [], "echo in"), ["run", "c"])
Case("only a mount namespace", put("linux/namespaces", [{"type": "mount"}], "test $(readlink /proc/self/ns/pid) = $(readlink /proc/1/ns/pid); echo $?"), ["run", "c"])
Case("a namespace twice", put("linux/namespaces", [{"type": "mount"}, {"type": "mount"}]), ["run", "c"])
Case("an unknown namespace", put("linux/namespaces", [{"type": "mount"}, {"type": "nonsense"}]), ["run", "c"])
Case("an empty namespace", put("linux/namespaces", [{"type": "mount"}, {"type": ""}]), ["run", "c"])
Case("a namespace that is not there", put("linux/namespaces", [{"type": "mount"}, {"type": "network", "path": "/nonsense"}]), ["run", "c"])
Case("a namespace by a relative path", put("linux/namespaces", [{"type": "mount"}, {"type": "network", "path": "nonsense"}]), ["run", "c"])
Case("a namespace of another kind", put("linux/namespaces", [{"type": "mount"}, {"type": "network", "path": "/proc/self/ns/uts"}]), ["run", "c"])
Case("a namespace that is a file", put("linux/namespaces", [{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}]), ["run", "c"])
Case("the host's network by path", put("linux/namespaces", [{"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}], "ls /proc/self/ns"), ["run", "c"])
Case("mappings without a user namespace", put("linux/uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}]), ["run", "c"])
Case("a user namespace without mappings", lambda spec: spec["linux"]["namespaces"].append({"type": "user"}), ["run", "c"])
IDS = [{"containerID": 0, "hostID": 100000, "size": 1000}]
MAPPED = more(lambda spec: spec["linux"]["namespaces"].append({"type": "user"}), put("linux/uidMappings", IDS), put("linux/gidMappings", IDS))
Case("a user namespace", more(MAPPED, script("id; cat /proc/self/uid_map")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a user namespace without the user", more(MAPPED, put("process/user", {"uid": 5000, "gid": 0})), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a cgroup namespace", more(lambda spec: spec["linux"]["namespaces"].append({"type": "cgroup"}), script("cut -d: -f3 /proc/self/cgroup | sort -u")), ["run", "c"])

# --- devices, masks, settings
Case("default devices", script("cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %t,%T %a %u:%g' $d; done; for l in fd stdin stdout stderr core ptmx; do echo $l $(readlink $l); done; ls"), ["run", "c"])
DEVICE = {"path": "/dev/d", "type": "c", "major": 1, "minor": 3, "fileMode": 438, "uid": 5, "gid": 6}
for change in ({}, {"type": "p"}, {"type": "u"}, {"type": "b", "major": 7, "minor": 0}, {"type": "x"}, {"path": "d"}, {"path": ""}, {"path": "/odd/place/d"}, {"fileMode": 0}, {"fileMode": 0o4755}, {"path": "/dev/null"}, {"type": "a"}, {"type": ""}):
    Case(f"a device with {change}", more(put("linux/devices", [{**DEVICE, **change}]), script("stat -c '%n %F %t,%T %a %u:%g' /dev/d /odd/place/d /d")), ["run", "c"])
Case("a device without a mode", more(put("linux/devices", [{"path": "/dev/d", "type": "c", "major": 1, "minor": 3}]), script("stat -c '%F %t,%T %a %u:%g' /dev/d")), ["run", "c"])
Case("a device twice", more(put("linux/devices", [DEVICE, {**DEVICE, "minor": 5}]), script("stat -c '%F %t,%T %a %u:%g' /dev/d")), ["run", "c"])
Case("masked paths", put("linux/maskedPaths", ["/proc/kcore", "/sys", "/none", "/etc/passwd"], "ls /sys | wc -l; cat /etc/passwd; stat -c %F /etc/passwd; touch /sys/x"), ["run", "c"])
Case("masked paths by odd words", put("linux/maskedPaths", ["", "etc", "/"], "ls /"), ["run", "c"])
Case("readonly paths", put("linux/readonlyPaths", ["/etc", "/none", "/proc/sys"], "touch /etc/x; echo 1 > /proc/sys/net/ipv4/ip_forward"), ["run", "c"])
Case("masks without a mount namespace", more(put("linux/maskedPaths", ["/proc/kcore"]), put("linux/namespaces", [{"type": "pid"}])), ["run", "c"])
for key, value in (("net.ipv4.ip_forward", "1"), ("net/ipv4/ip_forward", "1"), ("kernel.shmmax", "100000"), ("kernel.hostname", "x"), ("kernel.domainname", "x"), ("vm.swappiness", "1"), ("nonsense", "1"), ("net.nonsense", "1"), ("fs.mqueue.msg_max", "5"), ("", "1"), ("net.ipv4.ip_forward", "nonsense"), ("kernel.msgmax", "70000"), ("net.ipv4/ip_forward", "1"), ("../x", "1")):
    Case(f"the setting {key}={value}", put("linux/sysctl", {key: value}, "cat /proc/sys/net/ipv4/ip_forward"), ["run", "c"])
Case("a network setting with the host's", more(put("linux/sysctl", {"net.ipv4.ip_forward": "1"}), put("linux/namespaces", [{"type": "mount"}])), ["run", "c"])
for kind in ("shared", "slave", "private", "unbindable", "rshared", "rslave", "rprivate", "runbindable", "nonsense", ""):
    Case(f"propagation of the root {kind}", put("linux/rootfsPropagation", kind, "grep ' / / ' /proc/self/mountinfo | wc -l; mount | wc -l; cut -d' ' -f5,7 /proc/self/mountinfo | head -1 | sed 's/:[0-9]*//g'"), ["run", "c"])

# --- mounts
SHOW = "grep ' /tmp/m ' /proc/self/mountinfo | cut -d' ' -f6-7 | sed 's/:[0-9]*//g'; grep ' /tmp/m ' /proc/self/mountinfo | sed 's/.* - //; s/,inode64//; s/,size=[0-9]*k,nr_inodes=[0-9]*//'"
for option in ("ro rw nosuid suid nodev dev noexec exec sync async dirsync remount mand nomand atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime "
               "defaults shared rshared slave rslave private rprivate unbindable runbindable size=64k mode=1700 uid=5 nonsense silent loud iversion noiversion lazytime nolazytime tmpcopyup "
               "rro rnosuid rnoexec rnodev rnoatime rrelatime nosymfollow bind rbind").split():
    Case(f"mount a tmpfs {option}", mount([option], SHOW), ["run", "c"])
    Case(f"bind {option}", mount(["bind", option], SHOW, kind="none", source="{b}/rootfs/etc"), ["run", "c"])
Case("bind ro and rw", mount(["rbind", "ro", "rw"], SHOW, kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("bind rw and ro", mount(["rbind", "rw", "ro", "nosuid"], SHOW, kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("bind of a file", mount(["bind"], "stat -c %F /tmp/m", kind="bind", source="{b}/config.json"), ["run", "c"])
Case("bind of nothing", mount(["bind"], "true", kind="bind", source="{b}/none"), ["run", "c"])
Case("bind by a relative source", mount(["bind"], "stat -c %F /tmp/m", kind="bind", source="config.json"), ["run", "c"])
Case("bind without a source", lambda spec: spec["mounts"].append({"destination": "/tmp/m", "type": "bind", "options": ["bind"]}), ["run", "c"])
Case("bind without options", mount([], "ls /tmp/m", kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("bind without a type", mount(["bind"], "ls /tmp/m", kind=None, source="{b}/rootfs/etc"), ["run", "c"])
Case("mount without a type", mount([], "ls /tmp/m", kind=None), ["run", "c"])
Case("mount of nonsense", mount([], "true", kind="nonsense"), ["run", "c"])
Case("mount on a relative place", mount([], "ls -d /tmp/m", destination="tmp/m"), ["run", "c"])
Case("mount on a file", mount([], "true", destination="/etc/passwd"), ["run", "c"])
Case("mount without a destination", lambda spec: spec["mounts"].append({"type": "tmpfs", "source": "tmpfs"}), ["run", "c"])
Case("mount of sysfs", mount(["ro"], SHOW, kind="sysfs", source="sysfs"), ["run", "c"])
Case("mount of mqueue", mount(["nosuid"], SHOW, kind="mqueue", source="mqueue", destination="/dev/mqueue"), ["run", "c"])
Case("mount of proc on another place", mount([], SHOW, kind="proc", source="proc"), ["run", "c"])
Case("mount of cgroup", mount(["ro", "nosuid", "noexec", "nodev"], "ls /tmp/m | grep -v misc; touch /tmp/m/x; mount | grep -c ' /tmp/m'; ls -l /tmp/m | grep -c -- '->'", kind="cgroup", source="cgroup"), ["run", "c"])
Case("tmpfs begins with what is there", mount(["tmpcopyup"], "ls /etc; touch /etc/x", destination="/etc"), ["run", "c"], ["sh", "ls {b}/rootfs/etc"])
for place in ("/proc", "/proc/self", "/proc/cpuinfo", "/proc/net/dev", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/ns_last_pid", "/proc/../proc/self", "/procession", "/proc/none"):
    Case(f"bind over {place}", mount(["bind"], "ls -d /procession", kind="bind", source="{b}/config.json" if place != "/proc" else "{b}/rootfs/etc", destination=place), ["run", "c"])
Case("bind of proc over /proc", mount(["bind"], "true", kind="bind", source="/proc", destination="/proc"), ["run", "c"])
Case("tmpfs over /proc/scsi", mount(["mode=755"], "true", destination="/proc/acpi"), ["run", "c"])
Case("proc behind a link", lambda spec: spec["mounts"].append({"destination": "/p", "type": "proc", "source": "proc"}), ["sh", "ln -s proc {b}/rootfs/p"], ["run", "c"])
Case("a tmpfs keeps the mode of what it covers", mount([], "stat -c %a /etc", destination="/etc"), ["sh", "chmod 750 {b}/rootfs/etc"], ["run", "c"])
Case("a tmpfs of its own mode", mount(["mode=711"], "stat -c %a /tmp/m"), ["run", "c"])
Case("a tmpfs of no mode", mount([], "stat -c %a /tmp/m"), ["run", "c"])
Case("tmpcopyup of nothing", mount(["tmpcopyup"], "stat -c %a /tmp/m"), ["run", "c"])
Case("a bind shared outside", mount(["bind", "nonsense=5"], SHOW, kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("mount over /", mount([], "ls /", destination="/"), ["run", "c"])
Case("mount with a comma", mount(["size=64k,mode=700"], SHOW), ["run", "c"])
Case("mount through a link", mount([], "readlink /link; ls /real", destination="/link/x"), ["sh", "mkdir {b}/rootfs/real; ln -s /real {b}/rootfs/link"], ["run", "c"])

# --- hooks
def hook(text, **also):
    return {"path": "/bin/sh", "args": ["sh", "-c", text], **also}


for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"):
    inside = point == "startContainer"
    where = "/tmp/said" if inside else "{b}/rootfs/tmp/said"
    Case(f"hook {point}", more(put("hooks", {point: [hook(f"cat > {where}")]}), script("true")), ["create", "c"], ["start", "c"], ["wait", "c", "stopped"], ["delete", "c"],
         ["sh", "sed 's/\"pid\":[0-9]*/\"pid\":N/; s/,\"bundle.*//' {b}/rootfs/tmp/said; cat {b}/rootfs/tmp/said | tr , '\\n' | grep bundle | tr -d '{}'"])
    Case(f"hook {point} that fails", more(put("hooks", {point: [hook("echo out; echo err >&2; exit 5")]}), script(LONG)), ["create", "c"], ["state", "c"], ["start", "c"], ["state", "c"], ["delete", "-f", "c"])
    Case(f"hook {point} that fails in run", more(put("hooks", {point: [hook("exit 5")]}), script("true")), ["run", "c"], ["state", "c"])
    Case(f"hook {point} that lingers", more(put("hooks", {point: [hook("sleep 10", timeout=1)]}), script(LONG)), ["run", "-d", "c"], ["state", "c"])
    Case(f"hook {point} that is not there", more(put("hooks", {point: [{"path": "/nonsense"}]}), script(LONG)), ["run", "-d", "c"], ["state", "c"])
    Case(f"hook {point} by a relative path", more(put("hooks", {point: [{"path": "true"}]}), script(LONG)), ["run", "-d", "c"], ["state", "c"])
    Case(f"hook {point} with an environment", more(put("hooks", {point: [hook(f"env | grep -v -e ^_= -e PWD -e SHLVL > {where}", env=["A=b"])]}), script("true")), ["run", "c"], ["sh", "cat {b}/rootfs/tmp/said"])
    Case(f"hook {point} without a timeout to speak of", put("hooks", {point: [hook("true", timeout=0)]}), ["run", "c"])
    Case(f"hook {point} with a negative timeout", put("hooks", {point: [hook("true", timeout=-1)]}), ["run", "c"])
Case("all hooks", more(put("hooks", {point: [hook(f"echo {point} >> " + ("/tmp/said" if point == "startContainer" else "{b}/rootfs/tmp/said"))] * 2 for point in
                                     ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), script("echo program >> /tmp/said")),
     ["run", "c"], ["sh", "cat {b}/rootfs/tmp/said | grep -v -e program -e poststart; grep -c -e program -e poststart {b}/rootfs/tmp/said"])

# --- exec
Case("exec", script(LONG), ["run", "-d", "c"], ["exec", "c", "echo", "-n", "x"], ["exec", "c", "sh", "-c", "exit 9"], ["exec", "c", "nonsense"], ["exec", "c", "/etc/passwd"],
     ["exec", "c"], ["exec", "c", ""], ["exec", "--cwd", "/tmp", "c", "pwd"], ["exec", "--cwd", "tmp", "c", "pwd"], ["exec", "--cwd", "/none", "c", "pwd"], ["exec", "-e", "A=1", "-e", "B=2", "c", "env"],
     ["exec", "-u", "33", "c", "id"], ["exec", "-u", "33:44", "c", "id"], ["exec", "-u", "web", "c", "id"], ["exec", "-u", "33:x", "c", "id"], ["exec", "-u", ":5", "c", "id"], ["exec", "-u", "-1", "c", "id"], ["exec", "-u", "33", "c", "sh", "-c", "echo $HOME"],
     ["exec", "-g", "5", "-g", "6", "c", "id"], ["exec", "-g", "x", "c", "id"],      ["exec", "--no-new-privs", "c", "grep", "NoNew", "/proc/self/status"], ["exec", "-t", "-d", "c", "tty"], ["exec", "-d", "--pid-file", "{t}/pid", "c", "sleep", "100"], ["sh", "test $(cat {t}/pid) -gt 1"],
     ["exec", "--console-socket", "{t}/s", "c", "true"], ["exec", "--apparmor", "nonsense", "c", "true"], ["exec", "--process-label", "a:b:c:d", "c", "true"], ["exec", "--preserve-fds", "x", "c", "true"],
     ["exec", "--process", "{t}/none", "c"], ["exec", "--cgroup", "/none", "c", "true"], ["exec", "--cgroup", "../x", "c", "true"], ["exec", "--cgroup", "nonsense:/", "c", "true"], ["exec", "--cgroup", "/", "c", "true"], ["exec", "--cgroup", "pids:/", "c", "true"], ["exec", "--ignore-paused", "c", "echo", "x"],
     ["exec", "c", "sh", "-c", "kill -9 $$"], ["exec", "c", "--", "echo"], ["exec", "--", "c", "echo", "y"], ["exec", "--pid-file", "{t}/no/pid", "c", "true"], ["exec", "c", "sh", "-c", "umask; ulimit -n | wc -l"])
for name, text in (("plain", '{"args": ["echo", "x"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 0, "gid": 0}}'), ("without args", '{"cwd": "/", "user": {"uid": 0, "gid": 0}}'), ("no json", "{"),
                   ("relative cwd", '{"args": ["true"], "cwd": "x", "user": {"uid": 0, "gid": 0}}'), ("user", '{"args": ["id"], "env": ["PATH=/bin"], "cwd": "/", "user": {"uid": 5, "gid": 6, "additionalGids": [7]}}'),
                   ("without user", '{"args": ["id"], "env": ["PATH=/bin"], "cwd": "/"}'), ("without cwd", '{"args": ["true"], "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}')):
    Case(f"exec of a process {name}", script(LONG), ["run", "-d", "c"], ["sh", f"echo '{text}' > {{t}}/p.json"], ["exec", "-p", "{t}/p.json", "c"], ["exec", "-p", "{t}/p.json", "c", "echo", "words"])
Case("exec gives the user's standard error", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "echo out; echo err >&2; exit 3"])

# --- resources
def limits(value, text):
    return put("linux/resources", value, text)


GROUP = "/sys/fs/cgroup/{0}/differ-{{n}}/{1}"
for name, resources, files in (
        ("memory", {"memory": {"limit": 50000000}}, [("memory", "memory.limit_in_bytes")]), ("memory without end", {"memory": {"limit": -1}}, [("memory", "memory.limit_in_bytes")]),
        ("memory and swap", {"memory": {"limit": 50000000, "swap": 60000000}}, [("memory", "memory.limit_in_bytes")]), ("swap below memory", {"memory": {"limit": 50000000, "swap": 10000}}, []),
        ("reservation", {"memory": {"reservation": 20000000}}, [("memory", "memory.soft_limit_in_bytes")]), ("no oom killer", {"memory": {"limit": 50000000, "disableOOMKiller": True}}, [("memory", "memory.oom_control")]),
        ("swappiness", {"memory": {"swappiness": 30}}, [("memory", "memory.swappiness")]), ("swappiness of 101", {"memory": {"swappiness": 101}}, []), ("kernel memory", {"memory": {"kernel": 10000000}}, []),
        ("cpu", {"cpu": {"shares": 500, "quota": 20000, "period": 50000}}, [("cpu", "cpu.shares"), ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us")]), ("cpu burst", {"cpu": {"quota": 20000, "period": 50000, "burst": 5000}}, [("cpu", "cpu.cfs_burst_us")]), ("a period that is too short", {"cpu": {"period": 5}}, []),
        ("cpus", {"cpu": {"cpus": "0", "mems": "0"}}, [("cpuset", "cpuset.cpus"), ("cpuset", "cpuset.mems")]), ("cpus that are not there", {"cpu": {"cpus": "99"}}, []), ("cpus of nonsense", {"cpu": {"cpus": "x"}}, []), ("idle", {"cpu": {"idle": 1}}, [("cpu", "cpu.idle")]),
        ("pids", {"pids": {"limit": 50}}, [("pids", "pids.max")]), ("pids without end", {"pids": {"limit": -1}}, [("pids", "pids.max")]), ("pids of 0", {"pids": {"limit": 0}}, [("pids", "pids.max")]),
        ("weight", {"blockIO": {"weight": 500}}, []), ("a weight that is too small", {"blockIO": {"weight": 5}}, []), ("network class", {"network": {"classID": 65537}}, []), ("network priority", {"network": {"priorities": [{"name": "lo", "priority": 3}]}}, []),
        ("hugepages", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}, []), ("hugepages of nonsense", {"hugepageLimits": [{"pageSize": "3MB", "limit": 4194304}]}, []), ("rdma", {"rdma": {"x": {"hcaHandles": 3}}}, []),
        ("unified", {"unified": {"pids.max": "5"}}, []), ("throttle", {"blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1000000}]}}, [])):
    Case(f"limits: {name}", limits(resources, LONG), ["run", "-d", "c"], *[["sh", "cat " + GROUP.format(*file)] for file in files], ["state", "c"])
Case("devices denied", limits({"devices": [{"allow": False, "access": "rwm"}]}, "echo x > /dev/null; cat /dev/zero | head -c 3 | wc -c; cat /dev/d"), ["run", "c"])
Case("devices denied and one allowed", more(put("linux/devices", [{**DEVICE, "minor": 11}]), limits({"devices": [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 11, "access": "r"}]}, "test -r /dev/d; head -c 0 /dev/d; echo x > /dev/d")), ["run", "c"])
Case("devices of nonsense", limits({"devices": [{"allow": False, "access": "xyz"}]}, "true"), ["run", "c"])
Case("update", limits({"memory": {"limit": 50000000}}, LONG), ["run", "-d", "c"], ["update", "c"], ["update", "--memory", "60000000", "c"], ["sh", "cat /sys/fs/cgroup/memory/differ-{n}/memory.limit_in_bytes"], ["update", "--memory", "x", "c"],
     ["update", "--pids-limit", "7", "c"], ["sh", "cat /sys/fs/cgroup/pids/differ-{n}/pids.max"], ["update", "--pids-limit", "x", "c"], ["update", "--cpu-quota", "20000", "--cpu-period", "40000", "c"], ["sh", "cat /sys/fs/cgroup/cpu/differ-{n}/cpu.cfs_quota_us"],
     ["update", "--cpu-share", "200", "c"], ["sh", "cat /sys/fs/cgroup/cpu/differ-{n}/cpu.shares"], ["update", "--cpuset-cpus", "0", "c"], ["update", "--cpuset-cpus", "77", "c"], ["update", "--blkio-weight", "5", "c"], ["update", "--memory-swap", "-1", "c"], ["update", "--memory-reservation", "10m", "c"],
     ["sh", "cat /sys/fs/cgroup/memory/differ-{n}/memory.soft_limit_in_bytes"], ["update", "--kernel-memory", "5", "c"], ["update", "--kernel-memory-tcp", "5", "c"], ["update", "-r", "{t}/none", "c"], ["sh", "echo '{\"memory\": {\"limit\": 70000000}}' > {t}/r"], ["update", "-r", "{t}/r", "c"], ["update", "-r", "-", "c"],
     ["sh", "cat /sys/fs/cgroup/memory/differ-{n}/memory.limit_in_bytes"], ["update", "--cpu-rt-period", "x", "c"], ["update", "--l3-cache-schema", "x", "c"], ["update", "--memory", "1000", "c"])
Case("events", script(LONG), ["run", "-d", "c"], ["events", "--interval", "0s", "c"], ["events", "--interval", "x", "c"], ["events", "--interval", "-1s", "--stats", "c"])
for path in ("relative", "relative/below", "/", "", "/../../up", "a/../b", "system.slice:x:y"):
    Case(f"the group {path}", put("linux/cgroupsPath", path, "grep -v ^0:: /proc/self/cgroup | cut -d: -f3 | sort -u | sed 's/.*user/user/'"), ["run", "c"])

# --- seccomp
def calls(rules, default="SCMP_ACT_ALLOW", **also):
    return put("linux/seccomp", {"defaultAction": default, "syscalls": rules, **also}, "mkdir /tmp/d; echo $?")


Case("seccomp errno", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]), ["run", "c"])
Case("seccomp errno of 5", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}]), ["run", "c"])
Case("seccomp kill", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL"}]), ["run", "c"])
Case("seccomp trap", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"}]), ["run", "c"])
Case("seccomp of an unknown call", calls([{"names": ["nonsense"], "action": "SCMP_ACT_ERRNO"}]), ["run", "c"])
Case("seccomp unknown action", calls([{"names": ["mkdir"], "action": "nonsense"}]), ["run", "c"])
Case("seccomp unknown default", calls([], default="nonsense"), ["run", "c"])
Case("seccomp no default", put("linux/seccomp", {"syscalls": []}), ["run", "c"])
Case("seccomp unknown architecture", calls([], architectures=["SCMP_ARCH_NONSENSE"]), ["run", "c"])
Case("seccomp unknown flag", calls([], flags=["NONSENSE"]), ["run", "c"])
Case("seccomp log flag", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}], flags=["SECCOMP_FILTER_FLAG_LOG"]), ["run", "c"])
Case("seccomp notify without a listener", calls([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]), ["run", "c"])
Case("seccomp notify of write", calls([{"names": ["write"], "action": "SCMP_ACT_NOTIFY"}], listenerPath="/none"), ["run", "c"])
Case("seccomp notify by default", calls([], default="SCMP_ACT_NOTIFY", listenerPath="/none"), ["run", "c"])
Case("seccomp notify with nobody there", calls([{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}], listenerPath="/none"), ["run", "c"])
Case("seccomp names none", calls([{"names": [], "action": "SCMP_ACT_ERRNO"}]), ["run", "c"])
FEW = """execve exit exit_group read write open openat close brk mmap munmap mprotect arch_prctl futex set_tid_address set_robust_list rseq
prlimit64 getrandom newfstatat fstat stat faccessat faccessat2 access capset capget prctl setuid setgid setgroups setresuid setresgid getuid getgid
geteuid getegid chdir fchdir getcwd epoll_ctl epoll_pwait epoll_create1 nanosleep rt_sigaction rt_sigprocmask rt_sigreturn clone clone3 gettid tgkill
sigaltstack fcntl dup3 dup2 uname getppid getpid readlinkat readlink madvise sched_yield sched_getaffinity umask fchown mkdir mkdirat fstatfs close_range getdents64""".split()
Case("seccomp that allows little", calls([{"names": FEW, "action": "SCMP_ACT_ALLOW"}], default="SCMP_ACT_ERRNO"), ["run", "c"], ["run", "-d", "d"], ["create", "e"], ["start", "e"])
Case("seccomp that allows little, without new privileges", more(put("process/noNewPrivileges", True), calls([{"names": FEW, "action": "SCMP_ACT_ALLOW"}], default="SCMP_ACT_ERRNO")), ["run", "c"], ["create", "e"], ["start", "e"])
Case("seccomp with an argument", calls([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]}]), ["run", "c"])
Case("seccomp with an odd argument", calls([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "value": 8, "op": "SCMP_CMP_EQ"}]}]), ["run", "c"])
Case("seccomp with an odd operator", calls([{"names": ["personality"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 8, "op": "NONSENSE"}]}]), ["run", "c"])

# --- the rest
Case("intel rdt", put("linux/intelRdt", {"l3CacheSchema": "L3:0=f"}), ["run", "c"])
Case("spec", "no config", ["spec"], ["sh", "sed 's/\"ociVersion.*//' {b}/config.json"], ["spec"])
Case("spec --rootless", "no config", ["spec", "--rootless"], ["sh", "sed 's/\"ociVersion.*//' {b}/config.json"])
Case("spec --bundle", "no config", ["spec", "-b", "{b}/rootfs"], ["sh", "ls {b} {b}/rootfs"], ["spec", "-b", "{b}/none"])
Case("run --no-pivot", script("ls / | sort"), ["run", "--no-pivot", "c"])
Case("run --no-new-keyring", script("echo in"), ["run", "--no-new-keyring", "c"])
Case("run --no-subreaper", script("echo in"), ["run", "--no-subreaper", "c"])
Case("run --preserve-fds", script("ls /proc/self/fd | wc -l"), ["run", "--preserve-fds", "2", "c"], ["run", "--preserve-fds", "x", "c"])
Case("run --detach=false", script("echo in"), ["run", "--detach=false", "c"], ["run", "--detach=nonsense", "c"])
Case("checkpoint and restore", script(LONG), ["checkpoint", "none"], ["run", "-d", "c"], ["checkpoint", "c"], ["restore", "d"], ["state", "c"])
Case("the state folder", script(LONG), ["run", "-d", "c"], ["sh", "stat -c '%a' {t}/state {t}/state/c"])
Case("output of a program is not changed", script("printf 'a\\0b\\n'; echo e >&2"), ["run", "c"])
