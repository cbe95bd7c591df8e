"""More cases of `runtime.py`: fields of config.json, one by one and against each other."""

import json

from runtime_cases import CAPS, LONG, MAPPED, ON_PURPOSE, PATH, SPEC, Case, hook, limits, mount, more, put, script, without
ON_PURPOSE.update({
    "the largest ids": "they are ids, OCI config.md; crun has them too",
    "umask of an exec": "what is not said of an exec is the container's",
    "capabilities in small letters": "crun knows them too",
    "capabilities of an exec": "the same; the judge crashes where there are none",
    "process.": "later than the judge",
    "more args than fit": "255, as later judges: 1 is what programs end with",
    "a script with": "the same",
    "an empty file as program": "the same",
    "an empty part of the path": "as execvp(3)",
    "a dot in the path": "as execvp(3)",
    "root is /": "it works",
    "domainname": "later than the judge",
    "names in other letters": "of Go alone",
    "everything null": "the judge crashes",
    "linux/seccomp is {": "REQUIRED by OCI, config-linux.md",
    "process/terminal is True": "without a terminal of the caller's the judge gives up",
    "linux/uidMappings is [1]": "wrong in any case",
    "a mount namespace of another": "the judge builds a second root in it",
})


# --- process: rlimits
LIMITS = "AS CORE CPU DATA FSIZE LOCKS MEMLOCK MSGQUEUE NICE NOFILE NPROC RSS RTPRIO RTTIME SIGPENDING STACK".split()
Case("every rlimit", put("process/rlimits", [{"type": f"RLIMIT_{name}", "soft": 1 << 40 if name in ("AS", "DATA", "STACK") else 100, "hard": 1 << 41 if name in ("AS", "DATA", "STACK") else 200} for name in LIMITS],
                         "cat /proc/self/limits"), ["run", "c"])
Case("an endless rlimit", put("process/rlimits", [{"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1}], "grep core /proc/self/limits"), ["run", "c"])
Case("rlimit without a prefix", put("process/rlimits", [{"type": "NOFILE", "soft": 10, "hard": 20}]), ["run", "c"])
Case("rlimit in small letters", put("process/rlimits", [{"type": "rlimit_nofile", "soft": 10, "hard": 20}]), ["run", "c"])
Case("rlimit without a soft one", put("process/rlimits", [{"type": "RLIMIT_CORE", "hard": 20}], "grep core /proc/self/limits"), ["run", "c"])
Case("rlimit without a type", put("process/rlimits", [{"soft": 10, "hard": 20}]), ["run", "c"])
Case("rlimit over what the kernel has", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "soft": 1 << 40, "hard": 1 << 40}]), ["run", "c"])
Case("rlimit that is negative", put("process/rlimits", [{"type": "RLIMIT_CORE", "soft": -1, "hard": -1}]), ["run", "c"])
Case("few files for the program", put("process/rlimits", [{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 3}], "echo in"), ["run", "c"])
Case("few processes for the user", more(put("process/user", {"uid": 33, "gid": 34}), put("process/rlimits", [{"type": "RLIMIT_NPROC", "soft": 1, "hard": 1}]), put("process/args", ["cat", "/etc/passwd"])), ["run", "c"])
Case("an exec has the limits", put("process/rlimits", [{"type": "RLIMIT_CORE", "soft": 5, "hard": 6}], LONG), ["run", "-d", "c"], ["exec", "c", "grep", "core", "/proc/self/limits"])

# --- process: user, capabilities, oom, privileges
Case("additional groups", put("process/user", {"uid": 0, "gid": 5, "additionalGids": [7, 7, 0, 5]}, "id -G; grep Groups /proc/self/status"), ["run", "c"])
Case("many additional groups", put("process/user", {"uid": 1, "gid": 1, "additionalGids": list(range(100, 200))}, "grep Groups /proc/self/status | wc -w"), ["run", "c"])
Case("an additional group that is too large", put("process/user", {"uid": 1, "gid": 1, "additionalGids": [2**32]}), ["run", "c"])
Case("the largest ids", put("process/user", {"uid": 2**32 - 2, "gid": 2**32 - 2}, "grep -e Uid -e Gid /proc/self/status"), ["run", "c"])
Case("ids that mean none", put("process/user", {"uid": 2**32 - 1, "gid": 2**32 - 1}, "grep -e Uid -e Gid /proc/self/status"), ["run", "c"])
Case("a user by name", put("process/user", {"username": "web"}, "id -u"), ["run", "c"])
Case("user is a word", put("process/user", "web"), ["run", "c"])
Case("no user", without("process/user"), ["run", "c"])
Case("umask of 0777", put("process/user", {"uid": 0, "gid": 0, "umask": 511}, "umask; touch /tmp/x; stat -c %a /tmp/x"), ["run", "c"])
Case("umask over 0777", put("process/user", {"uid": 0, "gid": 0, "umask": 4095}, "umask"), ["run", "c"])
Case("umask of an exec", put("process/user", {"uid": 0, "gid": 0, "umask": 63}, LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "umask"], ["exec", "-u", "33", "c", "sh", "-c", "umask"],
     ["sh", "echo '{\"args\": [\"sh\", \"-c\", \"umask\"], \"env\": [\"PATH=/bin\"], \"cwd\": \"/\", \"user\": {\"uid\": 0, \"gid\": 0}}' > {t}/p.json"], ["exec", "-p", "{t}/p.json", "c"])
ALL = {name: CAPS for name in ("bounding", "effective", "permitted", "inheritable", "ambient")}
STATUS = "grep -e Cap -e NoNew /proc/self/status"
Case("all capability sets of a user in a user namespace", more(MAPPED, put("process/user", {"uid": 33, "gid": 34}), put("process/capabilities", ALL, STATUS)), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("capabilities in small letters", put("process/capabilities", {"bounding": ["cap_chown", "chown", "CHOWN"]}, STATUS), ["run", "c"])
Case("a capability twice", put("process/capabilities", {"bounding": ["CAP_CHOWN", "CAP_CHOWN"]}, STATUS), ["run", "c"])
Case("effective beyond permitted", put("process/capabilities", {"bounding": CAPS, "effective": CAPS, "permitted": ["CAP_CHOWN"]}, STATUS), ["run", "c"])
Case("permitted beyond bounding", put("process/capabilities", {"bounding": ["CAP_CHOWN"], "effective": CAPS, "permitted": CAPS}, STATUS), ["run", "c"])
Case("inheritable beyond bounding", put("process/capabilities", {"bounding": ["CAP_CHOWN"], "inheritable": CAPS}, STATUS), ["run", "c"])
Case("ambient beyond inheritable", more(put("process/user", {"uid": 33, "gid": 34}), put("process/capabilities", {"bounding": CAPS, "permitted": CAPS, "effective": CAPS, "inheritable": ["CAP_CHOWN"], "ambient": CAPS}, STATUS)), ["run", "c"])
Case("capabilities as a list", put("process/capabilities", CAPS), ["run", "c"])
Case("every capability", put("process/capabilities", {name: ["CAP_AUDIT_CONTROL", "CAP_AUDIT_READ", "CAP_AUDIT_WRITE", "CAP_BLOCK_SUSPEND", "CAP_BPF", "CAP_CHECKPOINT_RESTORE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_IPC_LOCK",
     "CAP_IPC_OWNER", "CAP_KILL", "CAP_LEASE", "CAP_LINUX_IMMUTABLE", "CAP_MAC_ADMIN", "CAP_MAC_OVERRIDE", "CAP_MKNOD", "CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_RAW", "CAP_PERFMON", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYSLOG",
     "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_CHROOT", "CAP_SYS_MODULE", "CAP_SYS_NICE", "CAP_SYS_PACCT", "CAP_SYS_PTRACE", "CAP_SYS_RAWIO", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_WAKE_ALARM"] for name in ("bounding", "effective", "permitted")}, STATUS), ["run", "c"])
Case("capabilities of an exec", put("process/capabilities", {"bounding": CAPS, "effective": CAPS, "permitted": CAPS}, LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", STATUS], ["exec", "--cap", "CAP_SYSLOG", "c", "sh", "-c", STATUS], ["exec", "-c", "CAP_NET_RAW", "-c", "CAP_SYSLOG", "c", "sh", "-c", STATUS],
     ["exec", "--cap", "CAP_NONSENSE", "c", "sh", "-c", STATUS], ["exec", "--cap", "CAP_SYSLOG", "-u", "33", "c", "sh", "-c", STATUS], ["exec", "--cap", "syslog", "c", "sh", "-c", STATUS], ["exec", "-u", "33:34", "c", "sh", "-c", STATUS])
Case("capabilities of an exec where none are", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", STATUS], ["exec", "--cap", "CAP_SYSLOG", "c", "sh", "-c", STATUS])
for score in (-1000, -1, 0, 1000, 1001, -1001):
    Case(f"oom score of {score}", put("process/oomScoreAdj", score, "cat /proc/self/oom_score_adj"), ["run", "c"])
Case("oom score is a word", put("process/oomScoreAdj", "5"), ["run", "c"])
Case("oom score of an exec", put("process/oomScoreAdj", 77, LONG), ["run", "-d", "c"], ["exec", "c", "cat", "/proc/self/oom_score_adj"])
Case("oom score in a user namespace", more(MAPPED, put("process/oomScoreAdj", -500, "cat /proc/self/oom_score_adj")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("no new privileges off", put("process/noNewPrivileges", False, STATUS), ["run", "c"])
Case("no new privileges of an exec", put("process/noNewPrivileges", True, LONG), ["run", "-d", "c"], ["exec", "c", "grep", "NoNew", "/proc/self/status"], ["exec", "--no-new-privs=false", "c", "grep", "NoNew", "/proc/self/status"])
for text in ("scheduler", "ioPriority", "execCPUAffinity"):
    Case(f"process.{text} is a number", put(f"process/{text}", 5, "true"), ["run", "c"])

# --- process: program, folder, environment
Case("args with an empty word", put("process/args", ["echo", "", "x", ""]), ["run", "c"])
Case("args with a zero byte", put("process/args", ["echo", "a\0b"]), ["run", "c"])
Case("args with odd letters", put("process/args", ["echo", "ä\n\t\"'\\$x"]), ["run", "c"])
Case("cwd with a zero byte", put("process/cwd", "/a\0b"), ["run", "c"])
Case("env with a zero byte", put("process/env", [PATH, "A=a\0b"], "env"), ["run", "c"])
Case("args is a word", put("process/args", "true"), ["run", "c"])
Case("many args", put("process/args", ["sh", "-c", "echo $#", *["x" * 1000] * 100]), ["run", "c"])
Case("more args than fit", put("process/args", ["true", *["x" * 100000] * 100]), ["run", "c"])
Case("a large environment", put("process/env", [PATH, *[f"V{n}={'x' * 1000}" for n in range(100)]], "env | wc -c"), ["run", "c"])
Case("the program by a relative path", put("process/args", ["./bin/sh", "-c", "echo in"]), ["run", "c"])
Case("the program by a relative path from another folder", more(put("process/cwd", "/bin"), put("process/args", ["./sh", "-c", "echo in"])), ["run", "c"])
Case("the program in the folder without a path", more(put("process/cwd", "/bin"), put("process/env", ["PATH=/none"]), put("process/args", ["sh", "-c", "echo in"])), ["run", "c"])
Case("an empty part of the path", more(put("process/cwd", "/bin"), put("process/env", ["PATH=/none:"]), put("process/args", ["sh", "-c", "echo in"])), ["run", "c"])
Case("a dot in the path", more(put("process/cwd", "/bin"), put("process/env", ["PATH=."]), put("process/args", ["sh", "-c", "echo in"])), ["run", "c"])
Case("no path at all", more(put("process/env", ["A=b"]), put("process/args", ["sh", "-c", "echo in"])), ["run", "c"])
Case("the path twice", more(put("process/env", ["PATH=/none", PATH]), put("process/args", ["sh", "-c", "echo $PATH"])), ["run", "c"])
Case("a script with an interpreter", put("process/args", ["/tmp/s", "a"]), ["sh", "printf '#!/bin/sh\\necho in $0 $1\\n' > {b}/rootfs/tmp/s; chmod 755 {b}/rootfs/tmp/s"], ["run", "c"])
Case("a script without an interpreter", put("process/args", ["/tmp/s"]), ["sh", "printf 'echo in\\n' > {b}/rootfs/tmp/s; chmod 755 {b}/rootfs/tmp/s"], ["run", "c"])
Case("a script with a missing interpreter", put("process/args", ["/tmp/s"]), ["sh", "printf '#!/none\\necho in\\n' > {b}/rootfs/tmp/s; chmod 755 {b}/rootfs/tmp/s"], ["run", "c"])
Case("an empty file as program", put("process/args", ["/tmp/s"]), ["sh", "touch {b}/rootfs/tmp/s; chmod 755 {b}/rootfs/tmp/s"], ["run", "c"])
Case("a program that the user may not execute", more(put("process/user", {"uid": 33, "gid": 34}), put("process/args", ["/tmp/s"])), ["sh", "cp /bin/busybox {b}/rootfs/tmp/s; chmod 700 {b}/rootfs/tmp/s"], ["run", "c"])
Case("a program on a mount without exec", more(mount(["noexec"], "true"), put("process/args", ["/tmp/m/x"])), ["run", "c"])
Case("a program behind a loop of links", put("process/args", ["/tmp/a"]), ["sh", "ln -s b {b}/rootfs/tmp/a; ln -s a {b}/rootfs/tmp/b"], ["run", "c"])
Case("a program behind a dangling link", put("process/args", ["/tmp/a"]), ["sh", "ln -s /none {b}/rootfs/tmp/a"], ["run", "c"])
Case("the program is a link out of the root", put("process/args", ["/tmp/a", "-c", "echo in"]), ["sh", "ln -s ../../../../../bin/sh {b}/rootfs/tmp/a"], ["run", "c"])
Case("cwd with dots", put("process/cwd", "/tmp/../etc/./", "pwd"), ["run", "c"])
Case("cwd through a link", put("process/cwd", "/link/below", "pwd; ls -d /tmp/below"), ["sh", "ln -s tmp {b}/rootfs/link"], ["run", "c"])
Case("cwd through a link out of the root", put("process/cwd", "/link/below", "pwd"), ["sh", "ln -s ../../../tmp {b}/rootfs/link"], ["run", "c"], ["sh", "ls {b}/rootfs/tmp"])
Case("cwd below a file", put("process/cwd", "/etc/passwd/x"), ["run", "c"])
Case("cwd on a read-only root", more(put("root/readonly", True), put("process/cwd", "/a/b", "pwd")), ["run", "c"])
Case("cwd in a mount", more(mount([], "pwd"), put("process/cwd", "/tmp/m/a/b")), ["run", "c"])
Case("cwd of another user", more(put("process/user", {"uid": 33, "gid": 34}), put("process/cwd", "/new", "pwd; stat -c %u:%g:%a .")), ["run", "c"])
Case("HOME that is empty", put("process/env", [PATH, "HOME="], "echo \"[$HOME]\""), ["run", "c"])
Case("HOME without a passwd", script("echo $HOME"), ["sh", "rm {b}/rootfs/etc/passwd"], ["run", "c"])
Case("HOME from a passwd that is a link", put("process/user", {"uid": 33, "gid": 34}, "echo $HOME"), ["sh", "mv {b}/rootfs/etc/passwd {b}/rootfs/tmp/pw; ln -s /tmp/pw {b}/rootfs/etc/passwd"], ["run", "c"])
Case("HOME of an exec", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "echo $HOME"], ["exec", "-u", "33", "c", "sh", "-c", "echo $HOME"], ["exec", "-u", "77", "c", "sh", "-c", "echo $HOME"], ["exec", "-e", "HOME=/x", "c", "sh", "-c", "echo $HOME"], ["exec", "-e", "HOME=", "c", "sh", "-c", "echo \"[$HOME]\""])
Case("env with newlines", put("process/env", [PATH, "A=x\ny"], "echo \"$A\""), ["run", "c"])

# --- root, names, top level
Case("root with dots", put("root/path", "x/../rootfs", "echo in"), ["sh", "mkdir {b}/x"], ["run", "c"])
Case("root with a slash at the end", put("root/path", "rootfs/", "echo in"), ["run", "c"])
Case("root is /", put("root/path", "/"), ["run", "c"])
Case("root is the bundle", put("root/path", "."), ["run", "c"])
Case("root behind a linked folder", put("root/path", "link/rootfs", "echo in"), ["sh", "ln -s . {b}/link"], ["run", "c"])
Case("bundle behind a link", script("echo in"), ["sh", "ln -s b {t}/l"], ["run", "-b", "{t}/l", "c"], ["create", "-b", "{t}/l", "d"], ["state", "d"])
Case("readonly root, mounts in it", more(put("root/readonly", True), mount([], "touch /tmp/m/x; touch /tmp/y; echo $?")), ["run", "c"])
Case("readonly is a word", put("root/readonly", "yes"), ["run", "c"])
Case("domainname", put("domainname", "dom.example", "cat /proc/sys/kernel/domainname"), ["run", "c"])
Case("domainname with the host's", more(put("domainname", "name"), put("linux/namespaces", [{"type": "mount"}, {"type": "pid"}])), ["run", "c"])
Case("an empty hostname", put("hostname", "", "hostname"), ["run", "c"])
Case("hostname is a number", put("hostname", 5, "hostname"), ["run", "c"])
Case("hostname of 64", put("hostname", "n" * 64, "hostname"), ["run", "c"])
Case("annotations that are numbers", put("annotations", {"a": 1}, "true"), ["run", "c"])
Case("annotations that are null", put("annotations", None, "true"), ["run", "c"])
Case("annotation without a name", put("annotations", {"": "x"}, LONG), ["run", "-d", "c"], ["state", "c"])
Case("unknown at the top", put("nonsense", {"a": [1]}, "echo in"), ["run", "c"])
Case("unknown everywhere", more(put("process/nonsense", 1), put("root/nonsense", 1), put("linux/nonsense", {"x": 1}), put("linux/resources", {"nonsense": 1}), script("echo in")), ["run", "c"])
Case("names in other letters", lambda spec: {**{key: value for key, value in spec.items() if key != "process"}, "Process": {**spec["process"], "args": ["echo", "in"]}}, ["run", "c"])
Case("a field twice", lambda spec: json.dumps({**spec, "linux": {"namespaces": [{"type": "mount"}]}})[:-1] + ', "hostname": "a", "hostname": "b"}', ["run", "c"])
Case("solaris, windows and vm", more(put("solaris", {"milestone": "x"}), put("windows", {"layerFolders": ["x"]}), put("vm", {"kernel": {"path": "/x"}}), script("echo in")), ["run", "c"])
Case("everything null", lambda spec: {**spec, "hooks": None, "annotations": None, "mounts": None, "linux": None, "hostname": None}, ["run", "c"])
Case("fields of linux null", lambda spec: {**spec, "linux": {**spec["linux"], "resources": None, "devices": None, "seccomp": None, "sysctl": None, "maskedPaths": None, "uidMappings": None, "personality": None, "intelRdt": None}}, ["run", "c"])
Case("fields of the process null", lambda spec: {**spec, "process": {**spec["process"], "capabilities": None, "rlimits": None, "consoleSize": None, "oomScoreAdj": None, "apparmorProfile": None, "selinuxLabel": None, "scheduler": None, "args": ["echo", "in"]}}, ["run", "c"])
Case("a mark at the beginning", lambda spec: "\ufeff" + json.dumps(spec), ["run", "c"])
Case("a large config", put("annotations", {f"k{n}": "v" * 1000 for n in range(2000)}, "echo in"), ["run", "c"])
Case("a config that is deep", lambda spec: json.dumps(spec)[:-1] + ', "x": ' + "[" * 200 + "]" * 200 + "}", ["run", "c"])
Case("a config that is a folder", "no config", ["sh", "mkdir {b}/config.json"], ["run", "c"])
Case("a config that is a link", None, ["sh", "mv {b}/config.json {t}/x; ln -s ../x {b}/config.json"], ["run", "c"])
Case("a config that is a fifo", "no config", ["sh", "mkfifo {b}/config.json"], ["sh", "timeout 1 {r} run c; test $? -gt 0; echo $?"])
for pointer in ("process", "root", "mounts", "linux", "hooks", "linux/namespaces", "linux/devices", "linux/resources", "linux/resources/memory", "linux/resources/memory/limit", "linux/seccomp", "linux/sysctl", "linux/maskedPaths", "process/env", "process/cwd", "process/terminal", "mounts/0", "mounts/0/options",
                "linux/uidMappings", "linux/cgroupsPath", "linux/rootfsPropagation", "linux/resources/pids", "linux/resources/cpu/shares", "linux/resources/blockIO/weight"):
    for wrong in ("word", 5, True, [1], {"a": 1}):
        Case(f"{pointer} is {wrong!r}", put(pointer, wrong), ["run", "c"])

# --- namespaces
Case("namespaces of another container", script(LONG), ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "jq --arg p $(cat {t}/pid) '.linux.namespaces = [{type: \"mount\"}, {type: \"pid\", path: \"/proc/\\($p)/ns/pid\"}, {type: \"ipc\", path: \"/proc/\\($p)/ns/ipc\"}, {type: \"uts\", path: \"/proc/\\($p)/ns/uts\"}, {type: \"network\", path: \"/proc/\\($p)/ns/net\"}] | .process.args = [\"sh\", \"-c\", \"test $$ -gt 1; echo $?; for n in pid ipc uts net; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) && echo same $n; done\"] | .linux.cgroupsPath += \"x\"' {b}/config.json > {b}/c2; mv {b}/c2 {b}/config.json"],
     ["run", "d"], ["list", "-q"])
Case("a mount namespace of another container", script(LONG), ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "jq --arg p $(cat {t}/pid) '.linux.namespaces = [{type: \"mount\", path: \"/proc/\\($p)/ns/mnt\"}, {type: \"pid\"}] | .process.args = [\"sh\", \"-c\", \"ls /bin/busybox\"] | .linux.cgroupsPath += \"x\"' {b}/config.json > {b}/c2; mv {b}/c2 {b}/config.json"], ["run", "d"])
Case("a user namespace of another container", more(MAPPED, script(LONG)), ["sh", "chmod 755 {t} {b}"], ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "jq --arg p $(cat {t}/pid) '.linux.namespaces = [{type: \"mount\"}, {type: \"pid\"}, {type: \"user\", path: \"/proc/\\($p)/ns/user\"}] | .process.args = [\"sh\", \"-c\", \"cat /proc/self/uid_map; id -u\"] | .linux.cgroupsPath += \"x\"' {b}/config.json > {b}/c2; mv {b}/c2 {b}/config.json"], ["run", "d"],
     ["sh", "jq 'del(.linux.uidMappings) | del(.linux.gidMappings)' {b}/config.json > {b}/c2; mv {b}/c2 {b}/config.json"], ["run", "e"])
Case("the host's pid namespace", put("linux/namespaces", [{"type": "mount"}], "test $$ -gt 1; echo $?"), ["run", "c"])
Case("a path that is empty", put("linux/namespaces", [{"type": "mount"}, {"type": "pid", "path": ""}], "echo $$"), ["run", "c"])
Case("no mount namespace", put("linux/namespaces", [{"type": "pid"}], "ls /bin/busybox"), ["run", "c"])
Case("no mount namespace and no mounts", more(put("linux/namespaces", [{"type": "pid"}], "ls /bin/busybox"), put("mounts", [])), ["run", "c"])
Case("a namespace without a type", put("linux/namespaces", [{"type": "mount"}, {"path": "/x"}]), ["run", "c"])
Case("namespaces by words of the kernel", put("linux/namespaces", [{"type": "mnt"}, {"type": "net"}]), ["run", "c"])
Case("a time namespace", put("linux/namespaces", [{"type": "mount"}, {"type": "time"}], "readlink /proc/self/ns/time | cut -c1-4"), ["run", "c"])
Case("offsets without a time namespace", put("linux/timeOffsets", {"monotonic": {"secs": 5}}), ["run", "c"])
Case("mappings that overlap", more(MAPPED, put("linux/uidMappings", [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 5, "hostID": 200000, "size": 10}])), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("mappings without 0", more(MAPPED, put("linux/uidMappings", [{"containerID": 5, "hostID": 100000, "size": 10}]), put("process/user", {"uid": 5, "gid": 0})), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a mapping of no size", more(MAPPED, put("linux/uidMappings", [{"containerID": 0, "hostID": 100000, "size": 0}])), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("several mappings", more(MAPPED, put("linux/uidMappings", [{"containerID": 0, "hostID": 100000, "size": 10}, {"containerID": 10, "hostID": 0, "size": 1}]), script("cat /proc/self/uid_map; stat -c %u /bin/busybox")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a user namespace and a bundle that is shut", more(MAPPED, script("echo in")), ["sh", "chmod 700 {t} {b}"], ["run", "c"])
Case("a user namespace and a bind of what is shut", more(MAPPED, mount(["rbind"], "ls /tmp/m", kind="bind", source="{t}/shut/deep/x")), ["sh", "chmod 755 {t} {b}; mkdir -p {t}/shut/deep/x/y {b}/rootfs/tmp/m; chmod 700 {t}/shut {t}/shut/deep"], ["run", "c"])
Case("a user namespace and a new target", more(MAPPED, mount([], "stat -c %u /tmp/m")), ["sh", "chmod 755 {t} {b}"], ["run", "c"], ["sh", "stat -c %u {b}/rootfs/tmp/m"])
Case("a user namespace and sysfs", more(MAPPED, mount(["ro"], "ls /sys/class/net", kind="sysfs", source="sysfs", destination="/sys")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a user namespace and devices", more(MAPPED, script("ls -l /dev/null | cut -c1-10; echo x > /dev/null; echo $?; stat -c '%t,%T %u' /dev/null /dev/zero")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a user namespace with devpts of a group", more(MAPPED, lambda spec: spec["mounts"][2]["options"].append("gid=5"), script("stat -c %u:%g:%a /dev/pts /dev/pts/ptmx")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("devpts of a group that is not mapped", more(MAPPED, put("linux/gidMappings", [{"containerID": 0, "hostID": 100000, "size": 1}]), lambda spec: spec["mounts"][2]["options"].append("gid=5")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
Case("a user namespace and exec", more(MAPPED, script(LONG)), ["sh", "chmod 755 {t} {b}"], ["run", "-d", "c"], ["exec", "c", "id"], ["exec", "-u", "5:6", "-g", "7", "c", "id"], ["exec", "-u", "5000", "c", "id"], ["exec", "c", "cat", "/proc/self/uid_map"], ["kill", "c", "KILL"], ["wait", "c", "stopped"], ["delete", "c"])

# --- devices, masks, settings, the rest
Case("a device in a folder that is not there", put("linux/devices", [{"path": "/dev/a/b/c", "type": "c", "major": 1, "minor": 3}], "stat -c '%a %u' /dev/a /dev/a/b /dev/a/b/c"), ["run", "c"])
Case("a device with dots", put("linux/devices", [{"path": "/dev/../tmp/d", "type": "c", "major": 1, "minor": 3}], "ls -l /tmp/d | cut -c1-10"), ["run", "c"])
Case("a device behind a link", put("linux/devices", [{"path": "/dev/l/d", "type": "c", "major": 1, "minor": 3}], "ls -l /tmp/d | cut -c1-10"), ["sh", "ln -s /tmp {b}/rootfs/dev/l"], ["run", "c"])
Case("a device of a word", put("linux/devices", [{"path": "/dev/d", "type": "c", "major": "1", "minor": 3}]), ["run", "c"])
Case("a device without numbers", put("linux/devices", [{"path": "/dev/d", "type": "c"}], "stat -c %t,%T /dev/d"), ["run", "c"])
Case("a device without a type", put("linux/devices", [{"path": "/dev/d", "major": 1, "minor": 3}]), ["run", "c"])
Case("a device with a negative number", put("linux/devices", [{"path": "/dev/d", "type": "c", "major": -1, "minor": 3}]), ["run", "c"])
Case("a fifo", put("linux/devices", [{"path": "/dev/d", "type": "p", "fileMode": 384, "uid": 1, "gid": 2}], "stat -c '%F %a %u:%g' /dev/d"), ["run", "c"])
Case("a device over a default one with another number", put("linux/devices", [{"path": "/dev/zero", "type": "c", "major": 1, "minor": 3, "fileMode": 384}], "stat -c '%t,%T %a' /dev/zero"), ["run", "c"])
Case("a device with the type in fileMode", put("linux/devices", [{"path": "/dev/d", "type": "c", "major": 1, "minor": 3, "fileMode": 0o20660}], "stat -c '%F %a' /dev/d"), ["run", "c"])
Case("/dev is a bind", lambda spec: spec["mounts"].__setitem__(1, {"destination": "/dev", "type": "bind", "source": "/dev", "options": ["rbind"]}) or spec["mounts"].pop(2) and put("process/args", ["sh", "-c", "ls -d /dev/null /dev/fd"])(spec), ["run", "c"])
Case("/dev is not mounted", more(lambda spec: spec["mounts"].__delitem__(slice(1, 3)), script("ls /dev")), ["run", "c"], ["sh", "ls {b}/rootfs/dev"])
Case("/dev/pts is not mounted", more(lambda spec: spec["mounts"].__delitem__(2), script("ls -l /dev | grep -c ptmx; readlink /dev/ptmx")), ["run", "c"])
Case("/proc is not mounted", more(lambda spec: spec["mounts"].__delitem__(0), script("ls /proc | wc -l")), ["run", "c"])
Case("no mounts at all", more(put("mounts", []), script("ls /dev /proc")), ["run", "c"])
Case("a mask of a link", put("linux/maskedPaths", ["/tmp/l"], "cat /tmp/l; cat /etc/passwd | wc -l"), ["sh", "ln -s /etc/passwd {b}/rootfs/tmp/l"], ["run", "c"])
Case("a mask of a device", put("linux/maskedPaths", ["/dev/zero"], "head -c 3 /dev/zero | wc -c"), ["run", "c"])
Case("a mask with dots", put("linux/maskedPaths", ["/etc/../etc/passwd"], "cat /etc/passwd"), ["run", "c"])
Case("a mask of a mask", put("linux/maskedPaths", ["/etc", "/etc/passwd"], "ls /etc"), ["run", "c"])
Case("a mask below a file", put("linux/maskedPaths", ["/etc/passwd/x"], "echo in"), ["run", "c"])
Case("a mask twice", put("linux/maskedPaths", ["/etc/passwd", "/etc/passwd"], "wc -c /etc/passwd"), ["run", "c"])
Case("a readonly path that is a file", put("linux/readonlyPaths", ["/etc/passwd"], "echo x >> /etc/passwd; echo $?"), ["run", "c"])
Case("a readonly path that is relative", put("linux/readonlyPaths", ["etc"], "touch /etc/x; echo $?"), ["run", "c"])
Case("a readonly path behind a link", put("linux/readonlyPaths", ["/tmp/l"], "touch /etc/x; echo $?"), ["sh", "ln -s /etc {b}/rootfs/tmp/l"], ["run", "c"])
Case("a readonly path keeps flags", more(mount(["nosuid", "noexec"], "grep /tmp/m /proc/self/mountinfo | cut -d' ' -f6"), put("linux/readonlyPaths", ["/tmp/m"])), ["run", "c"])
Case("a readonly path with a mount below", more(mount([], "touch /tmp/m/x; echo $?"), put("linux/readonlyPaths", ["/tmp"])), ["run", "c"])
for key, value in (("net.core.somaxconn", "300"), ("net.ipv4.conf.lo.forwarding", "1"), ("net.ipv4.ping_group_range", "0 0"), ("kernel.sem", "1 2 3 4"), ("kernel.shm_rmid_forced", "1"), ("kernel.msgmni", "10"), ("fs.mqueue.queues_max", "3"), ("kernel.pid_max", "40000"), ("kernel..shmmax", "1"), ("net.ipv4.ip_forward", ""), ("net.ipv4.ip_forward", "1\n"), ("kernel/shmmax", "7"), ("fs.file-max", "100"), ("/net/ipv4/ip_forward", "1")):
    Case(f"the setting {key} of {value!r}", put("linux/sysctl", {key: value}, f"cat /proc/sys/{key.strip('/').replace('.', '/')}"), ["run", "c"])
Case("a setting with a number", put("linux/sysctl", {"net.ipv4.ip_forward": 1}), ["run", "c"])
Case("ipc settings with the host's", more(put("linux/sysctl", {"kernel.shmmax": "100"}), put("linux/namespaces", [{"type": "mount"}])), ["run", "c"])
Case("a setting and a user namespace", more(MAPPED, put("linux/sysctl", {"net.ipv4.ip_forward": "1"}, "cat /proc/sys/net/ipv4/ip_forward")), ["sh", "chmod 755 {t} {b}"], ["run", "c"])
for domain in ("LINUX", "LINUX32", "nonsense", ""):
    Case(f"personality {domain}", put("linux/personality", {"domain": domain}, "uname -m"), ["run", "c"])
Case("apparmor that is empty", put("process/apparmorProfile", "", "echo in"), ["run", "c"])
Case("selinux that is empty", put("process/selinuxLabel", "", "echo in"), ["run", "c"])
Case("rdt that is empty", put("linux/intelRdt", {}, "echo in"), ["run", "c"])
Case("propagation is a number", put("linux/rootfsPropagation", 5), ["run", "c"])
TIME = lambda spec: spec["linux"]["namespaces"].append({"type": "time"})  # noqa: E731
for offsets in ({"monotonic": {"secs": 100000}}, {"boottime": {"secs": 100000, "nanosecs": 5}}, {"monotonic": {}, "boottime": {}}, {}, {"monotonic": {"secs": -1000000000}}, {"nonsense": {"secs": 1}}, {"monotonic": {"secs": "1"}}):
    Case(f"clocks by {offsets}", more(TIME, put("linux/timeOffsets", offsets), script("cat /proc/self/timens_offsets; test $(cut -d. -f1 /proc/uptime) -gt 100000; echo $?")), ["run", "c"])
Case("clocks of an exec", more(TIME, put("linux/timeOffsets", {"boottime": {"secs": 100000}}), script(LONG)), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "test $(cut -d. -f1 /proc/uptime) -gt 100000; echo $?"])
OWNERS = [{"containerID": 0, "hostID": 100000, "size": 1000}]
for extra in ({"uidMappings": OWNERS, "gidMappings": OWNERS}, {"uidMappings": OWNERS}, {"uidMappings": OWNERS, "gidMappings": OWNERS, "options": ["rbind", "ridmap"]}, {"options": ["bind", "idmap=uids=0-100000-10;gids=0-100000-10"]}):
    Case(f"a mount with {extra}", lambda spec, extra=extra: (spec["mounts"].append({"destination": "/tmp/m", "type": "bind", "source": "{b}/rootfs/etc", "options": ["bind"], **extra}), put("process/args", ["sh", "-c", "stat -c %u:%g /tmp/m /tmp/m/passwd; touch /tmp/m/new"])(spec))[1], ["run", "c"], ["sh", "stat -c %u {b}/rootfs/etc/new"])
for name, value in (("scheduler", {"policy": "SCHED_BATCH", "nice": 5}), ("scheduler", {"policy": "SCHED_FIFO", "priority": 5}), ("scheduler", {"policy": "SCHED_OTHER", "nice": -5}), ("scheduler", {"policy": "SCHED_IDLE"}), ("scheduler", {"policy": "SCHED_DEADLINE", "runtime": 10000000, "deadline": 20000000, "period": 20000000}), ("scheduler", {"policy": "SCHED_RR", "priority": 100}),
                    ("scheduler", {}), ("ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 3}), ("ioPriority", {"class": "IOPRIO_CLASS_IDLE", "priority": 0}), ("ioPriority", {"class": "IOPRIO_CLASS_BE", "priority": 9}), ("ioPriority", {"class": "IOPRIO_CLASS_BE"}), ("ioPriority", {})):
    Case(f"process.{name} of {value}", put(f"process/{name}", value, "busybox ionice -p $$; nice; cut -d' ' -f19,41 /proc/$$/stat"), ["run", "c"])
