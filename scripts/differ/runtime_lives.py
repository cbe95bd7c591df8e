"""More cases of `runtime.py`: mounts, hooks, groups, filters, flags, lives. In a step of `sh`, `{r}` is the runtime with its root."""

import json

from runtime_cases import CAPS, LONG, MAPPED, ON_PURPOSE, PATH, SHOW, SPEC, Case, calls, hook, limits, mount, more, put, script, without

ON_PURPOSE.update({
    "a bind with rw of": "what is said counts; the judge of 1.1 does nothing about these",
    "a bind with ro of": "flags that nobody has spoken of stay: the judge of 1.1 takes them away",
    "a bind in a user namespace of": "the same, where it may not",
    "tmpfs without a source": "a name only",
    "idmap by itself": "later than the judge",
    "hooks see their namespaces": "the first process cannot be looked into yet",
    "a poststop hook that": "the others run (OCI, runtime.md)",
    "a poststart hook that": "OCI, runtime.md",
    "the state of hooks": "running by then (OCI, runtime.md)",
    "hooks have a folder": "the same, and the order",
    "hooks of exec": "the program has begun by then",
    "hooks with mounts and a private root": "it cannot lead out",
    "filter with a large errno": "the kernel takes the largest",
    "filter with a default errno": "an error by OCI, config-linux.md",
    "filter with KILL": "the judge hangs",
    "filter for": "what this machine does not run is passed over",
    "filter with the flags": "later than the judge, or built without",
    "a call by number": "REQUIRED by OCI, config-linux.md",
    "new calls": "as the judge with architectures listed",
    "limits: kernel memory of tcp": "OCI, config-linux.md",
    "device rules": "in another order; 10:200 is none of OCI's; type a denies all",
    "a group with somebody in it": "words only",
    "two in one group": "an error in later judges",
    "groups below with somebody in them": "what is not done is an error: it can be done again",
})

SHUT = ["sh", "chmod 755 {t} {b}"]


def mounts(*all_of_them, text):
    def change(spec):
        spec["mounts"].extend(all_of_them)
        spec["process"]["args"] = ["sh", "-c", text]
    return change


def bind(source, destination, *options):
    return {"source": source, "destination": destination, "type": "bind", "options": ["bind", *options]}


# --- mounts
TWO = ["sh", "mkdir -p {t}/src/below; mount -t tmpfs top {t}/src; mkdir {t}/src/below; mount -t tmpfs below {t}/src/below; touch {t}/src/f {t}/src/below/f"]
END = ["sh", "umount -R {t}/src"]
FLAGS = "for m in /tmp/m /tmp/m/below; do grep \" $m \" /proc/self/mountinfo | cut -d' ' -f6-7 | sed 's/:[0-9]*//g'; done"
for options in (["ro"], ["rro"], ["rro", "rw"], ["ro", "rrw"], ["rnosuid", "rnodev", "rnoexec"], ["nosuid", "nodev", "noexec"], ["rnoatime"], ["rstrictatime"], ["rnodiratime"], ["rnosymfollow"], ["rro", "rshared"], ["rslave"], ["rshared"], ["runbindable"], ["unbindable"], ["shared", "rprivate"], ["slave", "shared"]):
    Case(f"rbind {options}", mount(["rbind", *options], FLAGS, kind="bind", source="{t}/src"), TWO, ["run", "c"], END)
Case("a bind of two does not take the second", mount(["bind"], "ls /tmp/m /tmp/m/below", kind="bind", source="{t}/src"), TWO, ["run", "c"], END)
for flags in ("ro", "nosuid", "nodev,noexec", "noatime", "ro,nosuid,nodev,noexec,relatime"):
    Case(f"a bind of a mount that is {flags}", mount(["bind"], SHOW, kind="bind", source="{t}/src"), ["sh", f"mkdir {{t}}/src; mount -t tmpfs -o {flags} top {{t}}/src"], ["run", "c"], END)
    Case(f"a bind with ro of a mount that is {flags}", mount(["bind", "ro"], SHOW, kind="bind", source="{t}/src"), ["sh", f"mkdir {{t}}/src; mount -t tmpfs -o {flags} top {{t}}/src"], ["run", "c"], END)
    Case(f"a bind with rw of a mount that is {flags}", mount(["bind", "rw", "suid", "dev", "exec"], SHOW, kind="bind", source="{t}/src"), ["sh", f"mkdir {{t}}/src; mount -t tmpfs -o {flags} top {{t}}/src"], ["run", "c"], END)
    Case(f"a bind in a user namespace of a mount that is {flags}", more(MAPPED, mount(["bind", "ro"], SHOW, kind="bind", source="{t}/src")), SHUT, ["sh", f"mkdir {{t}}/src {{b}}/rootfs/tmp/m; mount -t tmpfs -o {flags} top {{t}}/src"], ["run", "c"], END)
Case("remount of a bind", mounts(bind("{b}/rootfs/etc", "/tmp/m"), {"destination": "/tmp/m", "type": "bind", "options": ["bind", "remount", "ro"]}, text=SHOW), ["run", "c"])
Case("remount of what is none", mount(["remount", "ro"], SHOW), ["run", "c"])
Case("two on one place", mounts(bind("{b}/rootfs/etc", "/tmp/m"), bind("{b}/rootfs/bin", "/tmp/m"), text="ls /tmp/m | head -2"), ["run", "c"])
Case("a mount in a mount", mounts({"destination": "/tmp/m", "type": "tmpfs", "source": "x"}, bind("{b}/config.json", "/tmp/m/a/b"), text="ls -l /tmp/m/a | cut -c1-10; find /tmp/m"), ["run", "c"])
Case("bind of a file over a file", mounts(bind("{b}/config.json", "/etc/passwd", "ro"), text="head -c 1 /etc/passwd; echo x >> /etc/passwd; echo $?"), ["run", "c"])
Case("bind of a folder over a file", mounts(bind("{b}/rootfs/bin", "/etc/passwd"), text="ls /etc/passwd"), ["run", "c"])
Case("bind of a file over a folder", mounts(bind("{b}/config.json", "/etc"), text="ls /etc"), ["run", "c"])
Case("bind of a device", mounts(bind("/dev/zero", "/tmp/z"), text="head -c 2 /tmp/z | wc -c"), ["run", "c"])
Case("bind of a fifo", mounts(bind("{t}/f", "/tmp/z"), text="stat -c %F /tmp/z"), ["sh", "mkfifo {t}/f"], ["run", "c"])
Case("bind of a socket", mounts(bind("{t}/f", "/tmp/z"), text="stat -c %F /tmp/z"), ["sh", "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"{t}/f\")'"], ["run", "c"])
Case("bind of a link", mounts(bind("{t}/f", "/tmp/z"), text="stat -c %F /tmp/z; ls /tmp/z | head -1"), ["sh", "ln -s {b}/rootfs/bin {t}/f"], ["run", "c"])
Case("bind of a dangling link", mounts(bind("{t}/f", "/tmp/z"), text="stat -c %F /tmp/z"), ["sh", "ln -s /none {t}/f"], ["run", "c"])
Case("bind on a link", mounts(bind("{b}/config.json", "/tmp/l"), text="readlink /tmp/l; head -c1 /etc/new"), ["sh", "ln -s /etc/new {b}/rootfs/tmp/l"], ["run", "c"], ["sh", "ls {b}/rootfs/etc"])
Case("bind on a link out of the root", mounts(bind("{b}/config.json", "/tmp/l"), text="head -c1 /x-out"), ["sh", "ln -s ../../../../../../x-out {b}/rootfs/tmp/l"], ["run", "c"], ["sh", "ls {b}/rootfs /x-out"])
Case("bind on a link to an absolute folder", mounts(bind("{b}/rootfs/bin", "/tmp/l/m"), text="ls /etc/m | head -1"), ["sh", "ln -s /etc {b}/rootfs/tmp/l"], ["run", "c"])
Case("bind on a loop of links", mounts(bind("{b}/rootfs/bin", "/tmp/l/m"), text="ls /etc/m | head -1"), ["sh", "ln -s l {b}/rootfs/tmp/l"], ["run", "c"])
Case("a destination with dots", mount([], "ls -d /m /tmp/m", destination="/tmp/../m"), ["run", "c"])
Case("a destination that leads out", mount([], "ls -d /m", destination="/../../m"), ["run", "c"], ["sh", "ls -d /m {b}/rootfs/m"])
Case("a destination with many slashes", mount([], "grep -c ' /tmp/m ' /proc/self/mountinfo", destination="//tmp///m/"), ["run", "c"])
Case("a destination with a space", mount([], "ls -d '/tmp/a b'", destination="/tmp/a b"), ["run", "c"])
Case("an empty destination", mount([], "ls", destination=""), ["run", "c"])
Case("a destination below a file", mount([], "ls", destination="/etc/passwd/x"), ["run", "c"])
Case("a destination in a read-only mount", mounts({"destination": "/tmp/m", "type": "tmpfs", "source": "x", "options": ["ro"]}, bind("{b}/config.json", "/tmp/m/a"), text="ls /tmp/m; touch /tmp/m/x; echo $?"), ["run", "c"])
Case("a destination in a bind that is read-only", mounts(bind("{b}/rootfs/etc", "/tmp/m", "ro"), bind("{b}/config.json", "/tmp/m/new"), text="ls /tmp/m; touch /tmp/m/x; echo $?"), ["run", "c"])
Case("options that are null", lambda spec: spec["mounts"].append({"destination": "/tmp/m", "type": "tmpfs", "source": "x", "options": None}), ["run", "c"])
Case("an empty option", mount([""], SHOW), ["run", "c"])
Case("an option with spaces", mount([" ro"], SHOW), ["run", "c"])
Case("options of two kinds in a word", mount(["ro,nosuid"], SHOW), ["run", "c"])
Case("an unknown filesystem option", mount(["size=x"], SHOW), ["run", "c"])
Case("tmpfs by percent", mount(["size=10%"], SHOW), ["run", "c"])
Case("tmpfs with owners", mount(["uid=5", "gid=6", "mode=0750", "nr_inodes=10"], "stat -c %u:%g:%a /tmp/m; " + SHOW), ["run", "c"])
Case("tmpfs without a source", lambda spec: (spec["mounts"].append({"destination": "/tmp/m", "type": "tmpfs"}), put("process/args", ["sh", "-c", SHOW])(spec))[1], ["run", "c"])
Case("tmpfs ro, as flag and by file system", mount(["ro", "nosuid"], SHOW + "; touch /tmp/m/x"), ["run", "c"])
Case("tmpcopyup with ro", mount(["tmpcopyup", "ro"], "ls /etc; touch /etc/x; echo $?; stat -c %a /etc", destination="/etc"), ["run", "c"])
Case("tmpcopyup of links and owners", mount(["tmpcopyup"], "ls -lan /etc/d | cut -c1-30 | tail -n +4; readlink /etc/d/l", destination="/etc"), ["sh", "mkdir {b}/rootfs/etc/d; cd {b}/rootfs/etc/d; touch f; chown 5:6 f; chmod 4711 f; ln -s x l; mkdir -m 700 k"], ["run", "c"])
Case("bind with tmpcopyup", mount(["bind", "tmpcopyup"], "ls /tmp/m", kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("proc with an option", mount(["hidepid=2"], "grep ' /tmp/m ' /proc/self/mountinfo | sed 's/.* - //'", kind="proc", source="proc"), ["run", "c"])
Case("proc read-only", lambda spec: (spec["mounts"][0].update(options=["ro"]), put("process/args", ["sh", "-c", "grep ' /proc ' /proc/self/mountinfo | cut -d' ' -f6; echo x > /proc/self/comm; echo $?"])(spec))[1], ["run", "c"])
Case("sysfs behind a link", lambda spec: spec["mounts"].append({"destination": "/sys2", "type": "sysfs", "source": "sysfs"}), ["sh", "ln -s sys {b}/rootfs/sys2"], ["run", "c"])
Case("proc behind a linked folder", lambda spec: spec["mounts"].append({"destination": "/p/x", "type": "proc", "source": "proc"}), ["sh", "ln -s tmp {b}/rootfs/p"], ["run", "c"])
Case("proc is a link in the root", script("echo in"), ["sh", "rmdir {b}/rootfs/proc; ln -s tmp {b}/rootfs/proc"], ["run", "c"])
Case("sys is a link in the root", lambda spec: spec["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs"}), ["sh", "rmdir {b}/rootfs/sys; ln -s tmp {b}/rootfs/sys"], ["run", "c"])
Case("dev is a link in the root", script("ls /dev/null"), ["sh", "rmdir {b}/rootfs/dev; ln -s tmp {b}/rootfs/dev"], ["run", "c"], ["sh", "ls {b}/rootfs/tmp"])
Case("sysfs with the host's network", more(put("linux/namespaces", [{"type": "mount"}, {"type": "pid"}]), mount(["ro", "nosuid"], SHOW, kind="sysfs", source="sysfs")), ["run", "c"])
Case("mqueue with an own ipc", mount(["nosuid", "noexec", "nodev"], SHOW, kind="mqueue", source="mqueue"), ["run", "c"])
Case("shm", mount(["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"], "stat -c %a /dev/shm; " + SHOW.replace("/tmp/m", "/dev/shm"), source="shm", destination="/dev/shm"), ["run", "c"])
Case("devpts without an own instance", lambda spec: (spec["mounts"][2].update(options=["ptmxmode=0666"]), put("process/args", ["sh", "-c", "grep ' /dev/pts ' /proc/self/mountinfo | sed 's/.* - //'"])(spec))[1], ["run", "c"])
Case("devpts with nonsense", lambda spec: spec["mounts"][2].update(options=["nonsense"]), ["run", "c"])
Case("overlay", mount(["lowerdir={t}/l1:{t}/l2", "upperdir={t}/u", "workdir={t}/w"], "ls /tmp/m; touch /tmp/m/new", kind="overlay", source="overlay"), ["sh", "mkdir {t}/l1 {t}/l2 {t}/u {t}/w; touch {t}/l1/a {t}/l2/b"], ["run", "c"], ["sh", "ls {t}/u"])
Case("cgroup with an own namespace", more(lambda spec: spec["linux"]["namespaces"].append({"type": "cgroup"}), mount(["ro", "nosuid", "noexec", "nodev", "relatime"], "ls /sys/fs/cgroup/ | head -3; ls /sys/fs/cgroup/pids | grep -c pids.max; touch /sys/fs/cgroup/pids/x; grep -c ' /sys/fs/cgroup' /proc/self/mountinfo; grep '/sys/fs/cgroup/pids' /proc/self/mountinfo | cut -d' ' -f4-6",
     kind="cgroup", source="cgroup", destination="/sys/fs/cgroup")), ["run", "c"])
Case("cgroup that can be written", mount(["nosuid"], "mkdir /sys/fs/cgroup/pids/x; echo $?; ls -d /sys/fs/cgroup/pids/x; rmdir /sys/fs/cgroup/pids/x; touch /sys/fs/cgroup/y; echo $?; rm /sys/fs/cgroup/y", kind="cgroup", source="cgroup", destination="/sys/fs/cgroup"), ["run", "c"])
Case("cgroup in a user namespace", more(MAPPED, mount(["ro"], "ls /tmp/m | grep -c pids; cat /tmp/m/pids/pids.max", kind="cgroup", source="cgroup")), SHUT, ["sh", "mkdir {b}/rootfs/tmp/m"], ["run", "c"])
Case("cgroup2 on v1", mount([], "ls /tmp/m | grep -c cgroup.procs", kind="cgroup2", source="cgroup2"), ["run", "c"])
Case("idmap by itself", mount(["bind", "idmap"], SHOW, kind="bind", source="{b}/rootfs/etc"), ["run", "c"])
Case("propagation: host's mounts appear", more(put("linux/rootfsPropagation", "rslave"), mount(["rbind", "rslave"], "sleep 1; ls /tmp/m/late", kind="bind", source="{t}/src")), ["sh", "mkdir {t}/src; mount -t tmpfs x {t}/src; mount --make-shared {t}/src; mkdir {t}/src/late"], ["run", "-d", "c"], ["sh", "mount -t tmpfs y {t}/src/late; touch {t}/src/late/f"],
     ["exec", "c", "ls", "/tmp/m/late"], END)
Case("propagation: mounts inside appear outside", more(put("process/capabilities", {name: ["CAP_SYS_ADMIN"] for name in ("bounding", "effective", "permitted")}), mount(["rbind", "rshared"], "mkdir /tmp/m/in; mount -t tmpfs z /tmp/m/in; touch /tmp/m/in/f; sleep 1000", kind="bind", source="{t}/src")), ["sh", "mkdir {t}/src; mount -t tmpfs x {t}/src; mount --make-shared {t}/src"],
     ["run", "-d", "c"], ["sh", "sleep 0.3; ls {t}/src {t}/src/in"], ["delete", "-f", "c"], END)
Case("nothing is left on the host", mount([], "true"), ["sh", "cat /proc/self/mountinfo | wc -l > {t}/n"], ["run", "c"], ["sh", "test $(cat /proc/self/mountinfo | wc -l) = $(cat {t}/n); echo $?"])
Case("a shared root of the host", script("true"), ["sh", "unshare -m --propagation shared sh -c 'cat /proc/self/mountinfo | wc -l; {r} run c; cat /proc/self/mountinfo | wc -l' | uniq | wc -l"])

# --- hooks
INSIDE = "{b}/rootfs/tmp/said"
Case("hooks see their namespaces", put("hooks", {point: [hook(f"for n in mnt pid uts; do test $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) && echo {point} $n same >> {INSIDE if point != 'startContainer' else '/tmp/said'}; done; true")] for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), ["run", "c"], ["sh", f"cat {INSIDE}"])
Case("hooks have a folder", put("hooks", {point: [hook(f"echo {point} $(pwd) >> {INSIDE if point != 'startContainer' else '/tmp/said'}")] for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), ["run", "c"], ["sh", f"cat {INSIDE}"])
Case("hooks have streams", more(put("hooks", {point: [hook(f"echo {point}; echo {point} err >&2")] for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), script("echo in")), ["run", "c"])
Case("hooks have arguments", put("hooks", {"prestart": [{"path": "/bin/sh", "args": ["name", "-c", "echo $0 > {b}/said; env > {b}/env", "zero"]}]}), ["run", "c"], ["sh", "cat {b}/said; grep -v -e PWD -e SHLVL -e ^_ {b}/env"])
Case("hooks without arguments", put("hooks", {"prestart": [{"path": "/bin/true"}]}), ["run", "c"])
Case("hooks with an empty path", put("hooks", {"prestart": [{"path": ""}]}), ["run", "c"])
Case("hooks without a path", put("hooks", {"prestart": [{"args": ["x"]}]}), ["run", "c"])
Case("hooks that are no list", put("hooks", {"prestart": {"path": "/bin/true"}}), ["run", "c"])
Case("hooks of an unknown kind", put("hooks", {"nonsense": [{"path": "/bin/false"}]}), ["run", "c"])
Case("hooks of nobody", put("hooks", {"prestart": [], "poststop": None}), ["run", "c"])
Case("a hook that is killed", more(put("hooks", {"prestart": [hook("kill -9 $$")]}), script("true")), ["run", "c"])
Case("a hook that may not be executed", put("hooks", {"prestart": [{"path": "/etc/passwd"}]}), ["run", "c"])
Case("a hook that leaves somebody behind", more(put("hooks", {"prestart": [hook("sleep 3 & true")]}), script("echo in")), ["run", "c"])
Case("a hook that reads nothing", put("hooks", {"prestart": [{"path": "/bin/true"}] * 5}), ["run", "c"])
Case("a hook with a large state", more(put("annotations", {f"k{n}": "v" * 1000 for n in range(200)}), put("hooks", {"prestart": [{"path": "/bin/true"}, hook("wc -c > {b}/said")]})), ["run", "c"], ["sh", "test $(cat {b}/said) -gt 200000; echo $?"])
Case("hooks after one that fails", more(put("hooks", {"prestart": [hook("exit 3"), hook("touch {b}/second")], "createRuntime": [hook("touch {b}/third")], "poststop": [hook("touch {b}/stopped")]})), ["run", "c"], ["sh", "ls {b}"])
Case("a poststop hook that fails", put("hooks", {"poststop": [hook("exit 3"), hook("touch {b}/second")]}), ["run", "c"], ["sh", "ls {b}"], ["run", "-d", "c"], ["wait", "c", "stopped"], ["delete", "c"], ["state", "c"])
Case("a poststart hook that fails", more(put("hooks", {"poststart": [hook("exit 3"), hook("touch {b}/second")]}), script(LONG)), ["create", "c"], ["start", "c"], ["sh", "ls {b}"], ["state", "c"], ["delete", "-f", "c"])
Case("the state of hooks", put("hooks", {point: [hook(f"cat > {{b}}/rootfs/tmp/{point}" if point != "startContainer" else "cat > /tmp/startContainer")] for point in ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")}), ["run", "c"],
     ["sh", "cd {b}/rootfs/tmp; for p in prestart createRuntime createContainer startContainer poststart poststop; do jq -c '[.ociVersion, .id, .status, .bundle, (.pid // 0 | . > 0)]' $p; done"])
Case("the pid of hooks is the container's", more(put("hooks", {"createRuntime": [hook("p=$(jq .pid); tr '\\\\0' ' ' < /proc/$p/cmdline | wc -c > {b}/n; test $(readlink /proc/$p/ns/pid) != $(readlink /proc/self/ns/pid) && echo own > {b}/own")]})), ["run", "c"], ["sh", "cat {b}/own"])
Case("a createContainer hook sees the mounts", more(mount([], "true"), put("hooks", {"createContainer": [hook("grep -c rootfs/tmp/m /proc/self/mountinfo > {b}/rootfs/tmp/said")]})), ["run", "c"], ["sh", f"cat {INSIDE}"])
Case("a startContainer hook has what the program has", more(put("process/user", {"uid": 33, "gid": 34}), put("hooks", {"startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "id -u > /tmp/said; grep CapEff /proc/self/status >> /tmp/said; pwd >> /tmp/said"]}]})), ["run", "c"], ["sh", f"cat {INSIDE}"])
Case("hooks of exec", more(put("hooks", {"startContainer": [hook("echo x >> /tmp/said")], "poststart": [hook("echo y >> {b}/rootfs/tmp/said")]}), script(LONG)), ["run", "-d", "c"], ["exec", "c", "true"], ["sh", f"cat {INSIDE}"])
Case("hooks that are in the mount namespace make mounts", put("hooks", {"createContainer": [hook("mount --bind /etc {b}/rootfs/tmp")]}, "ls /tmp/hostname"), ["run", "c"], ["sh", "ls {b}/rootfs/tmp"])

# --- filters
def rule(name, op, value, second=None, index=0):
    args = {"index": index, "value": value, "op": op}
    if second is not None:
        args["valueTwo"] = second
    return {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": [args]}


# The mode of mkdir is 0777 here.
for op, value in (("EQ", 0o777), ("EQ", 5), ("NE", 0o777), ("NE", 5), ("LT", 0o777), ("LT", 0o1000), ("LE", 0o777), ("LE", 0o776), ("GT", 0o777), ("GT", 0o776), ("GE", 0o777), ("GE", 0o1000)):
    Case(f"filter {op} {value}", calls([rule("mkdir", f"SCMP_CMP_{op}", value, index=1), rule("mkdirat", f"SCMP_CMP_{op}", value, index=2)]), ["run", "c"])
for mask, value in ((0o700, 0o700), (0o700, 0), (0o7000, 0)):
    Case(f"filter MASKED_EQ {mask} {value}", calls([rule("mkdir", "SCMP_CMP_MASKED_EQ", mask, value, index=1), rule("mkdirat", "SCMP_CMP_MASKED_EQ", mask, value, index=2)]), ["run", "c"])
Case("filter of a large number", calls([rule("personality", "SCMP_CMP_EQ", 2**64 - 1)]), ["run", "c"])
Case("filter of a negative number", calls([rule("personality", "SCMP_CMP_EQ", -1)]), ["run", "c"])
Case("filter of two arguments", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 0o777, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0, "op": "SCMP_CMP_NE"}]}]), ["run", "c"])
Case("filter of one argument twice, neither or both", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 5, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0o777, "op": "SCMP_CMP_EQ"}]}]), ["run", "c"])
Case("filter of rules that meet", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}, {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7}]), ["run", "c"])
Case("filter of a rule as the default", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}]), ["run", "c"])
for action in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG"):
    Case(f"filter with {action}", calls([{"names": ["mkdir", "mkdirat"], "action": f"SCMP_ACT_{action}"}]), ["run", "c"])
for action in ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "TRACE", "LOG"):
    Case(f"filter with {action} by default", calls([], default=f"SCMP_ACT_{action}"), ["run", "c"])
Case("filter with an errno of 0", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0}]), ["run", "c"])
Case("filter with a large errno", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}]), ["run", "c"])
Case("filter with a trace number", calls([{"names": ["mkdir"], "action": "SCMP_ACT_TRACE", "errnoRet": 5}]), ["run", "c"])
Case("filter with a default errno", calls([{"names": [name], "action": "SCMP_ACT_ALLOW"} for name in "mkdirat"], default="SCMP_ACT_ALLOW", defaultErrnoRet=5), ["run", "c"])
Case("filter for other architectures", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}], architectures=["SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64"]), ["run", "c"])
Case("filter for all architectures", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}], architectures=[f"SCMP_ARCH_{name}" for name in "X86 X86_64 X32 ARM AARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE S390 S390X".split()]), ["run", "c"])
Case("filter for a newer architecture", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}], architectures=["SCMP_ARCH_RISCV64"]), ["run", "c"])
for flags in ([], ["SECCOMP_FILTER_FLAG_TSYNC"], ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"], ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], [""], ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"], ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]):
    Case(f"filter with the flags {flags}", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}], flags=flags), ["run", "c"])
Case("filter without calls", put("linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW"}, "grep Seccomp: /proc/self/status"), ["run", "c"])
Case("filter of an exec", more(calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]), script(LONG)), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "grep Seccomp /proc/self/status; mkdir /tmp/x"])
Case("filter and a listener", calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}], listenerPath="{t}/s", listenerMetadata="meta"), ["sh", "python3 {h}/console.py --wait 0 {t}/s {r} run -d c | sed 's/\"pid\": *[0-9]*/\"pid\":N/g'"])
Case("filter, a listener and an exec", more(calls([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}], listenerPath="{t}/s", listenerMetadata="meta"), script(LONG)), ["sh", "timeout 9 python3 {h}/console.py --wait 0 {t}/s {r} run -d c | head -c 4; rm {t}/s"], ["sh", "timeout 9 python3 {h}/console.py --wait 0 {t}/s {r} exec -d c true | grep -o -e pid -e status.......... -e metadata.......; "])
Case("metadata without a listener", calls([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}], listenerMetadata="meta"), ["run", "c"])
Case("a call by number", put("linux/seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mkdir", "action": "SCMP_ACT_ERRNO"}]}), ["run", "c"])
Case("new calls are as if they were not there", more(put("process/args", ["/call"]), put("linux/seccomp", {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [{"names": ["execve", "write", "exit", "exit_group", "brk", "arch_prctl", "mmap", "mprotect", "munmap", "close", "read", "fstat", "newfstatat", "readlinkat", "readlink", "set_tid_address", "set_robust_list", "rseq", "prlimit64", "getrandom", "futex", "capset", "capget", "prctl", "setgroups", "setresuid", "setresgid", "setuid", "setgid", "chdir", "fchdir", "getcwd", "openat", "open", "openat2", "fcntl", "dup3", "epoll_pwait", "epoll_ctl", "epoll_create1", "nanosleep", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "clone", "clone3", "gettid", "tgkill", "getpid", "getppid", "faccessat2", "faccessat", "access", "stat", "umask", "fchown", "close_range", "getuid", "getgid", "geteuid", "getegid", "madvise", "sched_yield", "sched_getaffinity", "getdents64", "fstatfs", "statx", "personality"], "action": "SCMP_ACT_ALLOW"}]})),
     ["sh", "printf '#include <stdio.h>\\n#include <errno.h>\\n#include <unistd.h>\\n#include <sys/syscall.h>\\nint main(){long n[]={SYS_mkdir,SYS_uname,SYS_statx+200,1000,100000};for(int i=0;i<5;i++){errno=0;syscall(n[i],0,0,0,0,0);printf(\"%%ld %%d\\\\n\",n[i],errno);}}' > {t}/c.c; gcc -static -o {b}/rootfs/call {t}/c.c"], ["run", "c"])

# --- groups and limits
GROUP = "/sys/fs/cgroup/{0}/differ-{{n}}/{1}"


def shown(name, resources, *files):
    Case(f"limits: {name}", limits(resources, LONG), ["run", "-d", "c"], *[["sh", "cat " + GROUP.format(*file)] for file in files])


shown("memory of 0", {"memory": {"limit": 0}}, ("memory", "memory.limit_in_bytes"))
shown("memory that is tiny", {"memory": {"limit": 1000}})
shown("swap alone", {"memory": {"swap": 60000000}}, ("memory", "memory.memsw.limit_in_bytes"))
shown("swap without end", {"memory": {"limit": 50000000, "swap": -1}}, ("memory", "memory.memsw.limit_in_bytes"))
shown("kernel memory of tcp", {"memory": {"kernelTCP": 20000000}}, ("memory", "memory.kmem.tcp.limit_in_bytes"))
shown("hierarchy", {"memory": {"useHierarchy": True}})
shown("check before", {"memory": {"limit": 50000000, "checkBeforeUpdate": True}}, ("memory", "memory.limit_in_bytes"))
shown("reservation over limit", {"memory": {"limit": 20000000, "reservation": 50000000}}, ("memory", "memory.soft_limit_in_bytes"))
shown("swappiness 0", {"memory": {"swappiness": 0}}, ("memory", "memory.swappiness"))
shown("swappiness that is negative", {"memory": {"swappiness": -1}})
for number in (0, 1, 2, 262144, 300000):
    shown(f"cpu shares of {number}", {"cpu": {"shares": number}}, ("cpu", "cpu.shares"))
shown("quota without end", {"cpu": {"quota": -1}}, ("cpu", "cpu.cfs_quota_us"))
shown("quota of 0", {"cpu": {"quota": 0, "period": 0}}, ("cpu", "cpu.cfs_quota_us"))
shown("quota that is too small", {"cpu": {"quota": 500}}, ("cpu", "cpu.cfs_quota_us"))
shown("quota alone", {"cpu": {"quota": 20000}}, ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"))
shown("period alone", {"cpu": {"period": 50000}}, ("cpu", "cpu.cfs_quota_us"), ("cpu", "cpu.cfs_period_us"))
shown("period that is too long", {"cpu": {"period": 2000000}})
shown("real time", {"cpu": {"realtimeRuntime": 1000, "realtimePeriod": 100000}})
shown("idle of 2", {"cpu": {"idle": 2}})
shown("cpus with blanks", {"cpu": {"cpus": " 0 , 1 "}}, ("cpuset", "cpuset.cpus"))
shown("cpus that are empty", {"cpu": {"cpus": "", "mems": ""}}, ("cpuset", "cpuset.cpus"))
shown("mems that are not there", {"cpu": {"mems": "9"}})
shown("pids of -5", {"pids": {"limit": -5}}, ("pids", "pids.max"))
shown("pids of 1", {"pids": {"limit": 1}}, ("pids", "pids.max"))
shown("pids without a number", {"pids": {}}, ("pids", "pids.max"))
shown("throttles", {"blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1000000}], "throttleWriteBpsDevice": [{"major": 254, "minor": 0, "rate": 2000000}], "throttleReadIOPSDevice": [{"major": 254, "minor": 0, "rate": 300}], "throttleWriteIOPSDevice": [{"major": 254, "minor": 0, "rate": 400}]}},
      ("blkio", "blkio.throttle.read_bps_device"), ("blkio", "blkio.throttle.write_bps_device"), ("blkio", "blkio.throttle.read_iops_device"), ("blkio", "blkio.throttle.write_iops_device"))
shown("a throttle of no device", {"blockIO": {"throttleReadBpsDevice": [{"major": 250, "minor": 77, "rate": 1000000}]}})
shown("a throttle that is negative", {"blockIO": {"throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": -1}]}})
shown("weight devices", {"blockIO": {"weightDevice": [{"major": 254, "minor": 0, "weight": 500}]}})
shown("leaf weight", {"blockIO": {"leafWeight": 500}})
shown("unified that is empty", {"unified": {}})
shown("unified of nonsense", {"unified": {"a/b": "5"}})
shown("hugepages of a size that is no size", {"hugepageLimits": [{"pageSize": "x", "limit": 1}]})
shown("hugepages of none", {"hugepageLimits": []})
DEVICE_RULES = "cat /sys/fs/cgroup/devices/differ-{n}/devices.list"
for name, rules in (("none", []), ("all denied", [{"allow": False, "access": "rwm"}]), ("all allowed", [{"allow": True, "access": "rwm"}]), ("all denied by type", [{"allow": False, "type": "a", "access": "rwm"}]),
                    ("one allowed", [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]), ("one taken away", [{"allow": True, "access": "rwm"}, {"allow": False, "type": "c", "major": 10, "minor": 200, "access": "rwm"}]),
                    ("a part", [{"allow": False, "access": "rwm"}, {"allow": True, "type": "b", "major": 8, "access": "rw"}]), ("no access", [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 10, "minor": 5}]), ("minus one", [{"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": -1, "minor": -1, "access": "r"}]),
                    ("a wrong type", [{"allow": True, "type": "x", "access": "r"}]), ("all of one type", [{"allow": False, "type": "c", "access": "rwm"}]), ("without allow", [{"type": "c", "major": 1, "minor": 3, "access": "r"}])):
    Case(f"device rules: {name}", limits({"devices": rules}, LONG), ["run", "-d", "c"], ["sh", DEVICE_RULES])
for path in ("/a/b/c", "./x", "/x/../y", "//x//", "x y", "machine.slice:a:b"):
    Case(f"the group path {path}", put("linux/cgroupsPath", f"{path}-{{n}}" if path[-1] != "/" else path + "{n}", "grep pids /proc/self/cgroup | cut -d: -f3"), ["run", "c"], ["sh", "find /sys/fs/cgroup/pids -name '*{n}*'"])
Case("a group that is there", put("linux/cgroupsPath", "/there-{n}", "echo in"), ["sh", "for c in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do mkdir /sys/fs/cgroup/$c/there-{n}; done"], ["run", "c"], ["sh", "ls -d /sys/fs/cgroup/*/there-{n}"])
Case("a group with somebody in it", put("linux/cgroupsPath", "/there-{n}", "echo in"), ["sh", "mkdir /sys/fs/cgroup/pids/there-{n}; sleep 100 & echo $! > /sys/fs/cgroup/pids/there-{n}/cgroup.procs"], ["run", "c"], ["sh", "kill $(cat /sys/fs/cgroup/pids/there-{n}/cgroup.procs); sleep 0.2; rmdir /sys/fs/cgroup/pids/there-{n}"])
Case("a group that is frozen", put("linux/cgroupsPath", "/there-{n}", "echo in"), ["sh", "mkdir /sys/fs/cgroup/freezer/there-{n}; echo FROZEN > /sys/fs/cgroup/freezer/there-{n}/freezer.state"], ["sh", "timeout 5 {r} run c; echo $?"], ["sh", "echo THAWED > /sys/fs/cgroup/freezer/there-{n}/freezer.state; rmdir /sys/fs/cgroup/freezer/there-{n}"])
Case("two in one group", script(LONG), ["run", "-d", "c"], ["run", "-d", "d"], ["list", "-q"])
Case("groups below are removed", more(put("linux/cgroupsPath", "/below-{n}"), script(LONG)), ["run", "-d", "c"], ["sh", "mkdir -p /sys/fs/cgroup/pids/below-{n}/a/b /sys/fs/cgroup/memory/below-{n}/x"], ["delete", "-f", "c"], ["sh", "ls -d /sys/fs/cgroup/*/below-{n}"])
Case("groups below with somebody in them", more(put("linux/cgroupsPath", "/below-{n}"), script(LONG)), ["run", "-d", "c"], ["sh", "mkdir -p /sys/fs/cgroup/pids/below-{n}/a; sleep 100 & echo $! > /sys/fs/cgroup/pids/below-{n}/a/cgroup.procs"], ["delete", "-f", "c"], ["sh", "ls -d /sys/fs/cgroup/*/below-{n}"])
Case("no more processes than allowed", limits({"pids": {"limit": 3}}, "sleep 5 & sleep 5 & sleep 5 & sleep 5 & echo in"), ["run", "c"])
Case("killed for memory", limits({"memory": {"limit": 10000000, "swap": 10000000}}, "head -c 100000000 /dev/zero | tail > /dev/null; echo $?"), ["run", "c"])
Case("the first process is killed for memory", more(limits({"memory": {"limit": 10000000, "swap": 10000000}}, "true"), put("process/args", ["busybox", "awk", "BEGIN { x = \"x\"; while (1) x = x x }"])), ["run", "c"])
Case("a runtime hook enters the mount namespace", put("hooks", {"createRuntime": [hook("p=$(jq .pid); nsenter -m -t $p mount --bind /etc {b}/rootfs/tmp")]}, "ls /tmp/hostname"), ["run", "c"], ["sh", "ls {b}/rootfs/tmp"])
for name, change in (("a user namespace", MAPPED), ("a shared root", put("linux/rootfsPropagation", "shared")), ("a private root", put("linux/rootfsPropagation", "private")), ("a read-only root", put("root/readonly", True))):
    Case(f"hooks with mounts and {name}", more(change, mount([], "ls /tmp/hostname; grep -c . /proc/self/mountinfo", destination="/m"), put("hooks", {"createContainer": [hook("mount --bind /etc {b}/rootfs/tmp")]})), SHUT, ["sh", "mkdir {b}/rootfs/m; cat /proc/self/mountinfo | wc -l > {t}/n"], ["run", "c"], ["run", "--no-pivot", "d"], ["sh", "ls {b}/rootfs/tmp; test $(cat /proc/self/mountinfo | wc -l) = $(cat {t}/n); echo $?"])
Case("hooks in a shared world", more(put("linux/rootfsPropagation", "shared"), put("hooks", {"createContainer": [hook("mount -t tmpfs x {b}/rootfs/tmp")]}, "echo in; grep -c ' /tmp ' /proc/self/mountinfo")), ["sh", "unshare -m --propagation shared sh -c 'cat /proc/self/mountinfo | wc -l; {r} run c; cat /proc/self/mountinfo | wc -l'"])
Case("groups by systemd where there is none", put("linux/cgroupsPath", "system.slice:x:y"), ["--systemd-cgroup", "run", "c"], ["--systemd-cgroup", "create", "c"], ["list", "-q"])
Case("groups by systemd of a path", put("linux/cgroupsPath", "/x"), ["--systemd-cgroup", "run", "c"])
