"""More cases of `runtime.py`: flags of every command, terminals, descriptors, signals, ends, and two things at once."""

import json

from runtime_cases import CAPS, LONG, MAPPED, ON_PURPOSE, PATH, Case, hook, limits, more, mount, put, script, without

TERMINAL = put("process/terminal", True)
ON_PURPOSE.update({
    "things in the root": "what is none is passed over",
    "an id with odd ends": "a comma is a slip of the judge's pattern",
    "a bundle that was removed": "what was made stays made (OCI, runtime.md, create)",
    "a root that was removed": "the same",
    "a config that was changed": "the same",
    "kill before the start": "the first process has no handlers yet: the kernel keeps it, as with crun",
    "the host's pids, kill": "all of it is gone at once",
    "the stopped one": "no processes are an empty list",
    "the foreground gets WINCH": "passed on, as with crun",
    "the foreground gets PIPE": "our own writes may bring it",
    "the foreground gets URG": "not in later judges either",
    "preserved descriptors with a gap": "the judge's own descriptor is one more",
    "preserved descriptors below none": "no number of descriptors",
    "output is shut": "the program has the null device",
    "a file as output of another user": "a file of the caller's stays his; the judge puts pipes between",
    "the umask of the caller": "targets of mounts have the modes that they are to have",
    "a terminal without a width": "REQUIRED by OCI, config.md",
    "exec in a terminal": "the judge is late with the size",
    "the master's name": "a name only",
    "exec of a process with a score": "what is said counts",
    "a manager that is not there": "with a warning",
    "a pid file by a relative path": "two in one group",
    "exec and more words": "numbers that are none; later flags",
    "two creates at once": "the judge has none then",
    "two starts at once": "the judge hangs",
    "features": "later fields",
})


# --- words before the command
Case("--log over what is there", None, ["sh", "echo old > {t}/log"], ["--log", "{t}/log", "state", "x"], ["sh", "head -1 {t}/log; wc -l < {t}/log"])
Case("--log as a descriptor", None, ["sh", "{r} --log /dev/fd/3 --log-format json state x 3> {t}/log; sed 's/,\"time.*//' {t}/log"])
Case("--log that is empty", None, ["--log", "", "state", "x"])
Case("--log that is a folder", None, ["--log", "{t}", "state", "x"])
Case("--log of a good run", script("echo in"), ["--log", "{t}/log", "run", "c"], ["sh", "wc -c < {t}/log"])
Case("--log of a failure inside", put("process/args", ["/none"]), ["--log", "{t}/log", "--log-format", "json", "run", "c"], ["sh", "jq -r '[.level, .msg] | @text' {t}/log"])
Case("--log of a warning", put("process/capabilities", {"bounding": ["CAP_NONSENSE"]}), ["--log", "{t}/log", "--log-format", "json", "run", "c"], ["sh", "jq -r '[.level, .msg] | @text' {t}/log"])
Case("--log of words in quotes", None, ["--log", "{t}/log", "state", "a\"b\\c\n"], ["sh", "sed 's/time=[^ ]*//' {t}/log"])
Case("--log of words in quotes as json", None, ["--log", "{t}/log", "--log-format", "json", "state", "a\"b\\c\n"], ["sh", "jq -r .msg {t}/log"])
Case("--log of exec", script(LONG), ["run", "-d", "c"], ["--log", "{t}/log", "--log-format", "json", "exec", "c", "/none"], ["sh", "jq -r '[.level, .msg] | @text' {t}/log"])
Case("--debug says something", None, ["sh", "{r} --debug run c 2>&1 | grep -c level=debug | sed 's/[1-9][0-9]*/some/'"])
Case("--debug as json in a log", script("true"), ["sh", "{r} --debug --log {t}/log --log-format json run c; jq -r .level {t}/log | sort -u"])
Case("--root below what is not there", script("echo in"), ["--root", "{t}/a/b/c", "run", "c"], ["sh", "stat -c %a {t}/a {t}/a/b/c"])
Case("--root is a file", None, ["sh", "touch {t}/f"], ["--root", "{t}/f", "run", "c"], ["--root", "{t}/f", "list"])
Case("--root by a relative path", script(LONG), ["--root", "rel", "run", "-d", "c"], ["sh", "ls {b}/rel"], ["--root", "{b}/rel", "delete", "-f", "c"])
Case("--root twice", None, ["--root", "{t}/one", "list"])
Case("-root with one dash", None, ["-root", "{t}/one", "list"])
Case("--root=", None, ["--root={t}/one", "list"])
Case("things in the root that are none", script(LONG), ["run", "-d", "c"], ["sh", "mkdir {t}/state/empty; touch {t}/state/file"], ["list", "-q"], ["state", "empty"], ["delete", "empty"], ["delete", "-f", "empty"], ["state", "file"])
Case("a state that is broken", None, ["sh", "mkdir -p {t}/state/x; echo '{' > {t}/state/x/state.json"], ["state", "x"])
for command in "checkpoint create delete events exec features kill list pause ps restore resume run spec start state update".split():
    Case(f"{command} --help", None, ["sh", f"{{r}} {command} --help > {{t}}/o; echo $?; sed -n '1p; 2s/.* {command} - .*/{command}/p; 4p' {{t}}/o"], ["sh", f"{{r}} {command} -h > {{t}}/o; echo $?; head -1 {{t}}/o"], ["sh", f"{{r}} help {command} > {{t}}/o; echo $?; head -1 {{t}}/o"])
Case("--help", None, ["sh", "{r} --help | head -1"], ["sh", "{r} -h | head -1"], ["sh", "{r} help | head -1"], ["sh", "{r} h | head -1"], ["sh", "{r} | head -1"])
Case("a flag behind the id", script("echo in"), ["run", "c", "--bundle", "{b}"], ["run", "c", "-d"], ["wait", "c", "stopped"], ["delete", "c", "--force"])
Case("--bundle=", script("echo in"), ["run", "--bundle={b}", "c"], ["run", "-bundle", "{b}", "d"], ["run", "--bundle", "c"])
Case("a switch with a word", script("echo in"), ["run", "--detach", "true", "c"])
Case("-d in one with another", script(LONG), ["run", "-db", "{b}", "c"])
Case("words after --", script("echo in"), ["run", "--", "c"], ["state", "--", "c"], ["delete", "--", "-f"])

# --- ids
Case("an id of 1024", None, ["run", "a" * 1024], ["run", "a" * 255], ["run", "a" * 256])
Case("an id with an end of line", None, ["run", "a\n"], ["state", "a\n"])
Case("an id with odd ends", None, ["run", "-"], ["run", "--", "-a"], ["run", "a-"], ["run", ".a"], ["run", "+a"], ["run", "_a"], ["run", "a~"], ["run", "a@b"], ["run", "a,b"])

# --- bundles and the folder that is current
Case("a bundle that was removed", put("process/args", ["sleep", "1000"]), ["create", "c"], ["sh", "mv {b}/config.json {t}/x"], ["start", "c"], ["exec", "c", "echo", "x"], ["state", "c"], ["delete", "-f", "c"])
Case("a root that was removed", put("process/args", ["sleep", "1000"]), ["run", "-d", "c"], ["sh", "mv {b}/rootfs {t}/x"], ["exec", "c", "echo", "x"], ["state", "c"], ["delete", "-f", "c"])
Case("a folder that was removed", None, ["sh", "mkdir {t}/gone; cd {t}/gone; rmdir {t}/gone; {r} run -b {b} c; echo $?"])
Case("a folder that was removed, without a bundle", None, ["sh", "mkdir {t}/gone; cd {t}/gone; rmdir {t}/gone; {r} state c; echo $?"])
Case("a bundle that cannot be entered", None, ["run", "-b", "/dev/null", "c"])
Case("a config that was changed", put("process/args", ["sleep", "1000"]), ["create", "c"], ["sh", "echo '{}' > {b}/config.json"], ["start", "c"], ["exec", "c", "sh", "-c", "echo $PATH"])

# --- lives
Case("create of two ids", put("process/args", ["sleep", "1000"]), ["create", "c"], ["sh", "sed -i 's/\\(differ-[a-z0-9_-]*\\)/\\1x/' {b}/config.json"], ["create", "d"], ["list", "-q"], ["start", "d"], ["delete", "-f", "c"], ["list", "-q"], ["delete", "-f", "d"])
Case("a failed create leaves nothing", put("process/args", ["/none"]), ["create", "c"], ["sh", "ls {t}/state; ls -d /sys/fs/cgroup/*/differ-{n}"], ["delete", "c"], ["delete", "-f", "c"])
Case("a failed create is done again", put("process/args", ["/none"]), ["create", "c"], ["sh", "sed -i 's|/none|/bin/true|' {b}/config.json"], ["create", "c"], ["start", "c"], ["wait", "c", "stopped"], ["delete", "c"])
Case("an id is used again", script("true"), ["run", "c"], ["run", "c"], ["run", "-d", "c"], ["wait", "c", "stopped"], ["run", "c"], ["delete", "c"], ["run", "c"])
Case("start long after", script("echo in; sleep 1000"), ["create", "c"], ["sh", "sleep 1.5"], ["state", "c"], ["start", "c"], ["state", "c"])
Case("the created one has no program yet", script("touch /tmp/began; sleep 1000"), ["create", "c"], ["sh", "sleep 0.3; ls {b}/rootfs/tmp"], ["start", "c"], ["sh", "sleep 0.3; ls {b}/rootfs/tmp"])
Case("delete while it runs", put("process/args", ["sleep", "1000"]), ["run", "-d", "c"], ["delete", "c"], ["state", "c"], ["delete", "--force", "c"], ["delete", "--force", "c"])
Case("delete -f of one that never was", None, ["delete", "-f", "never"], ["delete", "-f", ""], ["delete", "-f", "../x"], ["delete", "-f", "a/b"])
Case("kill of one that never was", None, ["kill", "never"], ["kill", "never", "nonsense"], ["kill", "--all", "never"])
Case("kill before the start", script("trap 'echo got; exit 3' TERM; sleep 1000 & wait"), ["create", "c"], ["kill", "c", "TERM"], ["sh", "sleep 0.3"], ["state", "c"], ["delete", "-f", "c"])
Case("kill with a handler", script("trap 'touch /tmp/got; exit 3' TERM; sleep 1000 & wait"), ["run", "-d", "c"], ["sh", "sleep 0.3"], ["kill", "c"], ["wait", "c", "stopped"], ["sh", "ls {b}/rootfs/tmp"])
Case("kill of a paused one", script("trap 'exit 3' TERM; sleep 1000 & wait"), ["run", "-d", "c"], ["sh", "sleep 0.2"], ["pause", "c"], ["kill", "c", "TERM"], ["state", "c"], ["resume", "c"], ["wait", "c", "stopped"])
Case("kill -9 of a paused one", script(LONG), ["run", "-d", "c"], ["pause", "c"], ["kill", "c", "KILL"], ["sh", "sleep 0.5"], ["state", "c"], ["resume", "c"], ["sh", "sleep 0.2"], ["state", "c"])
for text in ("9", "SIGKILL", "sigkill", "kill", "Kill", " 9", "9 ", "0x9", "+9", "09", "SIGNONSENSE", "SIG9", "64", "1000", "-9", "1.5", "TERM,KILL", "IOT", "CLD", "POLL", "STKFLT", "SIGRTMAX", "EXIT", "ERR"):
    Case(f"kill {text!r}", put("process/args", ["sleep", "1000"]), ["run", "-d", "c"], ["kill", "c", text], ["kill", "c", "--", text])
Case("the host's pids, and the first ends", more(put("linux/namespaces", [{"type": "mount"}]), script("sleep 1000 & sleep 1000 & exit 0")), ["run", "-d", "c"], ["wait", "c", "stopped"], ["sh", "cat /sys/fs/cgroup/pids/differ-{n}/cgroup.procs | wc -l"], ["state", "c"], ["ps", "-f", "json", "none"], ["kill", "c", "KILL"], ["kill", "-a", "c", "KILL"], ["sh", "sleep 0.2; cat /sys/fs/cgroup/pids/differ-{n}/cgroup.procs | wc -l"], ["delete", "c"])
Case("the host's pids, and delete", more(put("linux/namespaces", [{"type": "mount"}]), script("sleep 1000 & sleep 1000 & exit 0")), ["run", "-d", "c"], ["wait", "c", "stopped"], ["delete", "c"], ["sh", "ls -d /sys/fs/cgroup/pids/differ-{n}"])
Case("the host's pids in the foreground", more(put("linux/namespaces", [{"type": "mount"}]), script("sleep 1000 & exit 4")), ["run", "c"], ["sh", "ls -d /sys/fs/cgroup/pids/differ-{n}"])
Case("the host's pids, kill", more(put("linux/namespaces", [{"type": "mount"}]), script("sleep 1000 & sleep 1000")), ["run", "-d", "c"], ["sh", "sleep 0.2"], ["kill", "c", "KILL"], ["wait", "c", "stopped"], ["sh", "sleep 0.2; cat /sys/fs/cgroup/pids/differ-{n}/cgroup.procs | wc -l"], ["delete", "c"])
Case("kill --all with other signals", script("trap '' TERM; sleep 1000 & sleep 1000"), ["run", "-d", "c"], ["sh", "sleep 0.3"], ["kill", "-a", "c", "TERM"], ["sh", "sleep 0.2; cat /sys/fs/cgroup/pids/differ-{n}/cgroup.procs | wc -l"], ["kill", "-a", "c", "0"], ["kill", "-a", "c", "nonsense"])
Case("pause of each state", put("process/args", ["sleep", "1000"]), ["create", "c"], ["pause", "c"], ["state", "c"], ["start", "c"], ["sh", "timeout 3 {r} delete c; echo $?"], ["resume", "c"], ["start", "c"], ["pause", "c"], ["start", "c"], ["delete", "c"], ["resume", "c"])
Case("the stopped one", script("exit 3"), ["run", "-d", "c"], ["wait", "c", "stopped"], ["state", "c"], ["list", "-q"], ["start", "c"], ["pause", "c"], ["resume", "c"], ["exec", "c", "true"], ["update", "--pids-limit", "5", "c"], ["events", "--stats", "c"], ["ps", "c"], ["ps", "-f", "json", "c"], ["kill", "c"], ["kill", "c", "0"], ["run", "c"], ["delete", "c"], ["delete", "c"])
Case("the created one", put("process/args", ["sleep", "1000"]), ["create", "c"], ["events", "--stats", "--interval", "1s", "none"], ["update", "--pids-limit", "50", "c"], ["sh", "cat /sys/fs/cgroup/pids/differ-{n}/pids.max"], ["ps", "-f", "json", "none"], ["exec", "c", "sh", "-c", "echo $$ | wc -l"], ["kill", "c", "0"], ["resume", "c"], ["delete", "c"])
Case("exit codes of all kinds", script("exit $N"), *[["sh", f"jq '.process.env += [\"N={code}\"]' {{b}}/config.json > {{b}}/x; cp {{b}}/x {{b}}/config.json; {{r}} run c; echo $?"] for code in (0, 1, 126, 127, 128, 255, 256)])
for number in (1, 2, 3, 6, 9, 11, 15, 34, 64):
    Case(f"ended by the signal {number}", script(f"kill -{number} $$; sleep 0.1; echo on"), ["run", "c"])
    Case(f"exec ended by the signal {number}", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", f"kill -{number} $$; sleep 0.1; echo on"])
for signal in ("TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "CONT", "ALRM", "WINCH", "PIPE", "URG"):
    Case(f"the foreground gets {signal}", script(f"trap 'echo got {signal}; exit 5' {signal}; echo ready > /tmp/ready; i=0; while [ $i -lt 15 ]; do i=$((i+1)); sleep 0.1; done; echo end"),
         ["sh", f"{{r}} run c & p=$!; while [ ! -e {{b}}/rootfs/tmp/ready ]; do sleep 0.05; done; kill -{signal} $p; wait $p; echo $?; {{r}} list -q"])
Case("exec in the foreground gets TERM", script(LONG), ["run", "-d", "c"], ["sh", "{r} exec c sh -c 'trap \"echo got; exit 5\" TERM; echo ready > /tmp/ready; i=0; while [ $i -lt 15 ]; do i=$((i+1)); sleep 0.1; done; echo end' & p=$!; while [ ! -e {b}/rootfs/tmp/ready ]; do sleep 0.05; done; kill -TERM $p; wait $p; echo $?"])
Case("the foreground is killed", script("echo ready > /tmp/ready; sleep 1000"), ["sh", "{r} run c & p=$!; while [ ! -e {b}/rootfs/tmp/ready ]; do sleep 0.05; done; kill -KILL $p; wait $p; echo $?; sleep 0.3"], ["state", "c"], ["delete", "-f", "c"])
Case("the caller of run -d ends", script(LONG), ["sh", "({r} run -d c)"], ["sh", "sleep 0.2"], ["state", "c"])
Case("children that are left are reaped", more(put("linux/namespaces", [{"type": "mount"}]), script("(sleep 0.2; exit 3) & exit 0")), ["run", "c"])

# --- descriptors and streams
FDS = "ls -l /proc/self/fd | awk '{print $9}' | grep -v '^$' | sort -n | tr '\\n' ' '"
Case("no descriptor of the caller goes in", script("ls /proc/self/fd | wc -l"), ["sh", "exec 5</etc/passwd 9</etc/hostname; {r} run c"], ["sh", "exec 3</etc/passwd; {r} create d; {r} start d; sleep 0.2"])
Case("preserved descriptors", script("cat <&3; cat <&4; ls /proc/self/fd | wc -l"), ["sh", "echo three > {t}/3; echo four > {t}/4; exec 3<{t}/3 4<{t}/4 5</dev/null; {r} run --preserve-fds 2 c"])
Case("preserved descriptors of exec", script(LONG), ["run", "-d", "c"], ["sh", "echo three > {t}/3; exec 3<{t}/3 5</dev/null; {r} exec --preserve-fds 1 c sh -c 'cat <&3; ls /proc/self/fd | wc -l'"])
Case("preserved descriptors with a gap", script("cat <&4; ls /proc/self/fd | wc -l"), ["sh", "echo four > {t}/4; exec 4<{t}/4; {r} run --preserve-fds 2 c"])
Case("preserved descriptors below none", None, ["run", "--preserve-fds", "-1", "c"], ["run", "--preserve-fds", "0", "c"], ["run", "--preserve-fds", "", "c"])
Case("listening descriptors", script("env | grep LISTEN | sort; cat <&3; ls /proc/self/fd | wc -l; echo $$"), ["sh", "echo three > {t}/3; sh -c 'exec 3<{t}/3 4</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=a; exec {r} run c'"],
     ["sh", "sh -c 'exec 3<{t}/3 4</dev/null; export LISTEN_FDS=1 LISTEN_PID=1; exec {r} run c'"], ["sh", "sh -c 'exec 3<{t}/3 4</dev/null; export LISTEN_FDS=1; exec {r} run c'"], ["sh", "sh -c 'exec 3<{t}/3 4<{t}/3 5</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec {r} run --preserve-fds 1 c'"])
Case("listening descriptors of exec", script(LONG), ["run", "-d", "c"], ["sh", "echo three > {t}/3; sh -c 'exec 3<{t}/3 4</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec {r} exec c sh -c \"env | grep LISTEN; ls /proc/self/fd | wc -l\"'"])
Case("input goes in", script("cat"), ["sh", "echo hello | {r} run c"], ["sh", "{r} run c < /etc/hostname | wc -c"])
Case("output is shut", script("echo in; echo err >&2"), ["sh", "{r} run c >&-; echo $?"], ["sh", "{r} run c 2>&-; echo $?"], ["sh", "{r} run c <&-; echo $?"], ["sh", "{r} run c <&- >&- 2>&-; echo $?"])
Case("nobody reads", script("busybox yes"), ["sh", "timeout 5 {r} run c | head -1; sleep 0.2"], ["sh", "{r} list -q"])
Case("streams of another user", more(put("process/user", {"uid": 33, "gid": 34}), script("echo in > /dev/stdout; echo err > /dev/stderr")), ["sh", "{r} run c 2>&1 | cat"])
Case("streams of another user in a user namespace", more(MAPPED, put("process/user", {"uid": 33, "gid": 34}), script("echo in > /dev/stdout")), ["sh", "chmod 755 {t} {b}"], ["sh", "{r} run c 2>&1 | cat"])
Case("a file as output of another user", more(put("process/user", {"uid": 33, "gid": 34}), script("echo in > /dev/stdout; echo $?")), ["sh", "{r} run c > {t}/o 2>&1; cat {t}/o; stat -c %u {t}/o"])
Case("exec with input", script(LONG), ["run", "-d", "c"], ["sh", "echo hello | {r} exec c cat"], ["sh", "{r} exec c cat < /dev/null; echo $?"])
Case("the session", script("ps -o pid,sid,pgid | sed -n 2p | tr -s ' '"), ["run", "c"])
Case("signals that are ignored or held", script("grep -e SigBlk -e SigIgn -e SigCgt /proc/self/status | head -2"), ["sh", "trap '' PIPE HUP INT; {r} run c"], ["run", "c"])
Case("nice and affinity come along", script("nice; busybox taskset -p $$ | sed 's/pid [0-9]*//'"), ["sh", "nice -n 5 taskset 1 {r} run c"])
Case("the umask of the caller", script("umask; stat -c %a /tmp/m"), ["sh", "umask 077; jq '.mounts += [{\"destination\": \"/tmp/m/a\", \"type\": \"tmpfs\", \"source\": \"x\"}]' {b}/config.json > {b}/x; cp {b}/x {b}/config.json; {r} run c"], ["sh", "stat -c %a {b}/rootfs/tmp/m/a {t}/state"])
Case("the death signal", script("busybox setpriv --pdeathsig clear true; grep -c . /proc/self/status | wc -l"), ["run", "c"])
Case("limits of the caller", script("ulimit -n; ulimit -c"), ["sh", "ulimit -n 500; ulimit -c 0; {r} run c"])
Case("the environment of the caller does not go in", script("env | sort"), ["sh", "SECRET=x {r} run c"], ["sh", "{r} run -d d; SECRET=x {r} exec d env"])
Case("the keyring", script("grep -c . /proc/keys"), ["run", "c"], ["run", "--no-new-keyring", "c"])

# --- terminals
TTY = "tty; stat -c '%u %a' $(tty); stty size; test -c /dev/console; echo $?; ps -o tty= | head -1 | tr -d ' '"
Case("a terminal for who listens", more(TERMINAL, script("tty; echo $?; stty size; ls -l /dev/console | cut -c1-10")), ["sh", "python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | sed 's/^word .*descriptors/word descriptors/'"])
Case("a terminal of a size", more(TERMINAL, put("process/consoleSize", {"height": 11, "width": 22}, "stty size")), ["sh", "python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal of a strange size", more(TERMINAL, put("process/consoleSize", {"height": 100000, "width": -1}, "stty size")), ["sh", "timeout 9 python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal without a width", more(TERMINAL, put("process/consoleSize", {"height": 10}, "stty size")), ["sh", "timeout 9 python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal of another user", more(TERMINAL, put("process/user", {"uid": 33, "gid": 34}), script("stat -c %u:%g:%a $(tty) /dev/console; echo x > $(tty)")), ["sh", "python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal of a user namespace", more(MAPPED, TERMINAL, put("process/user", {"uid": 33, "gid": 34}), script("stat -c %u:%a $(tty) /dev/console; echo x > $(tty)")), ["sh", "chmod 755 {t} {b}; python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal between create and start", more(TERMINAL, script("tty; read a; echo got $a")), ["sh", "python3 {h}/console.py --more '{r} start c; sleep 0.2' --type 'hello\\n' {t}/s {r} create --console-socket {t}/s c | grep -v word"], ["wait", "c", "stopped"], ["delete", "c"])
Case("a terminal is the controlling one", more(TERMINAL, script("echo x > /dev/tty; ps -o pid,sid,pgid | sed -n 2p | tr -s ' '")), ["sh", "python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | grep -v word"])
Case("a terminal of exec", script(LONG), ["run", "-d", "c"], ["sh", "python3 {h}/console.py {t}/s {r} exec -d -t --console-socket {t}/s c sh -c 'tty; stty size; stat -c %u:%a $(tty)' | grep -v word"], ["sh", "rm {t}/s; python3 {h}/console.py {t}/s {r} exec -d -t -u 33 --console-socket {t}/s c sh -c 'tty; stat -c %u:%a $(tty)' | grep -v word"],
     ["sh", "rm {t}/s; echo '{\"args\": [\"stty\", \"size\"], \"env\": [\"PATH=/bin\"], \"cwd\": \"/\", \"terminal\": true, \"consoleSize\": {\"height\": 12, \"width\": 34}, \"user\": {\"uid\": 0, \"gid\": 0}}' > {t}/p; python3 {h}/console.py {t}/s {r} exec -d -p {t}/p --console-socket {t}/s c | grep -v word"],
     ["exec", "-t", "--console-socket", "{t}/s", "c", "true"], ["exec", "-d", "--console-socket", "{t}/s", "c", "true"], ["exec", "-d", "-t", "c", "true"], ["sh", "rm {t}/s; {r} exec -d -t --console-socket {t}/s c true; echo $?"])
Case("a terminal in a terminal", more(TERMINAL, script("tty; stty size; read x; echo got $x; exit 7")), ["sh", "(sleep 0.5; echo hello; sleep 0.5) | script -qec 'stty rows 21 cols 43; {r} run c' /dev/null | tr -d '\\r'; echo ${PIPESTATUS}"])
Case("exec in a terminal", script(LONG), ["run", "-d", "c"], ["sh", "(sleep 0.5; echo hello; sleep 0.5) | script -qec 'stty rows 21 cols 43; {r} exec -t c sh -c \"tty; stty size; read x; echo got \\$x; exit 7\"; echo code $?' /dev/null | tr -d '\\r'"])
Case("the master's name", more(TERMINAL, script("true")), ["sh", "python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c | head -1 | sed 's/[0-9][0-9]* d/N d/'"])
Case("a socket that is a file", more(TERMINAL, script("true")), ["sh", "touch {t}/s"], ["run", "-d", "--console-socket", "{t}/s", "c"], ["state", "c"], ["create", "--console-socket", "", "c"])
Case("a terminal without /dev/pts", more(TERMINAL, lambda spec: spec["mounts"].__delitem__(2), script("tty")), ["sh", "timeout 9 python3 {h}/console.py {t}/s {r} run -d --console-socket {t}/s c 2>&1 | grep -v word | tail -1"])

# --- files of pids, the manager's socket
Case("a pid file that is there", script(LONG), ["sh", "echo old > {t}/pid"], ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "grep -c old {t}/pid; test $(cat {t}/pid) = $({r} state c | jq .pid); echo $?"])
Case("a pid file by a relative path", script(LONG), ["run", "-d", "--pid-file", "x/../pid", "c"], ["run", "-d", "--pid-file", "pid", "d"], ["sh", "ls {b}"], ["delete", "-f", "d"])
Case("a pid file with another bundle", script(LONG), ["sh", "mkdir {t}/w; cd {t}/w; {r} run -d -b {b} --pid-file pid c; ls {t}/w {b}"])
Case("a pid file without an end of line", script(LONG), ["run", "-d", "--pid-file", "{t}/pid", "c"], ["sh", "tail -c1 {t}/pid | grep -c '[0-9]'; wc -l < {t}/pid"])
Case("a pid file of create", put("process/args", ["sleep", "1000"]), ["create", "--pid-file", "{t}/pid", "c"], ["sh", "test $(cat {t}/pid) = $({r} state c | jq .pid); echo $?"])
Case("a pid file in the foreground", script("true"), ["run", "--pid-file", "{t}/pid", "c"], ["sh", "ls {t} | grep pid"])
Case("a pid file of exec", script(LONG), ["run", "-d", "c"], ["exec", "-d", "--pid-file", "{t}/pid", "c", "sleep", "100"], ["sh", "tr '\\0' ' ' < /proc/$(cat {t}/pid)/cmdline"])
Case("the manager's socket", script("echo $NOTIFY_SOCKET; ls $NOTIFY_SOCKET | wc -l; sleep 1000"), ["sh", "NOTIFY_SOCKET=/none {r} create c; echo $?; {r} state c | jq -r .status"])
Case("a manager that is not there", script("sleep 1000"), ["sh", "NOTIFY_SOCKET=/none timeout 5 {r} run -d c; echo $?"])

# --- exec
Case("exec and more words", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "echo $0 $1", "a", "b"], ["exec", "c", "ls", "-d", "/"], ["exec", "-e", "A", "c", "env"], ["exec", "-e", "=x", "c", "env"], ["exec", "-e", "", "c", "env"], ["exec", "-e", "PATH=/none", "c", "ls"], ["exec", "-e", "PATH=/none", "-e", "PATH=/bin", "c", "echo", "x"],
     ["exec", "--env", "A=1,B=2", "c", "env"], ["exec", "-u", "0:0", "c", "id"], ["exec", "-u", "", "c", "id"], ["exec", "-u", "33:", "c", "id"], ["exec", "-u", "4294967295", "c", "id"], ["exec", "-u", "99999999999", "c", "id"], ["exec", "-g", "-1", "c", "id"], ["exec", "-g", "4294967296", "c", "id"], ["exec", "--additional-gids", "5,6", "c", "id"],
     ["exec", "--cwd", "", "c", "pwd"], ["exec", "--cwd", "/tmp/new/a", "c", "pwd"], ["exec", "--cwd", "/etc/passwd", "c", "pwd"], ["exec", "--cap", "", "c", "true"], ["exec", "-d", "c", "true"], ["exec", "-d", "c", "nonsense"], ["exec", "-dt", "c", "true"], ["exec", "--detach", "--tty", "c", "true"], ["exec", "--no-subreaper", "c", "echo", "x"], ["exec", "--ignore-paused=false", "c", "echo", "x"])
Case("exec by a process and flags", script(LONG), ["run", "-d", "c"], ["sh", "echo '{\"args\": [\"sh\", \"-c\", \"id -u; pwd; echo $A\"], \"env\": [\"PATH=/bin\", \"A=file\"], \"cwd\": \"/tmp\", \"user\": {\"uid\": 5, \"gid\": 6}}' > {t}/p"], ["exec", "-p", "{t}/p", "-u", "7", "--cwd", "/etc", "-e", "A=flag", "c"], ["exec", "-p", "{t}/p", "-t", "c"], ["exec", "-p", "", "c"], ["exec", "-p", "-", "c"], ["exec", "-p", "{t}", "c"])
for name, field in (("rlimits", '"rlimits": [{"type": "RLIMIT_CORE", "soft": 3, "hard": 4}]'), ("a score", '"oomScoreAdj": 123'), ("no new privileges", '"noNewPrivileges": true'), ("capabilities", '"capabilities": {"bounding": ["CAP_SYSLOG"], "effective": ["CAP_SYSLOG"], "permitted": ["CAP_SYSLOG"]}'), ("unknown fields", '"nonsense": 1'), ("a wrong type", '"noNewPrivileges": "yes"'), ("an umask", '"umask": 63'),
                    ("an empty list", '"capabilities": {}'), ("a wrong limit", '"rlimits": [{"type": "X", "soft": 3, "hard": 4}]'), ("a profile", '"apparmorProfile": "x"'), ("a label", '"selinuxLabel": "x"')):
    Case(f"exec of a process with {name}", more(put("process/capabilities", {"bounding": CAPS, "effective": CAPS, "permitted": CAPS}), put("process/oomScoreAdj", 50), script(LONG)), ["run", "-d", "c"], ["sh", f"echo '{{\"args\": [\"sh\", \"-c\", \"grep core /proc/self/limits; cat /proc/self/oom_score_adj; grep -e Cap -e NoNew /proc/self/status\"], \"env\": [\"PATH=/bin\"], \"cwd\": \"/\", \"user\": {{\"uid\": 0, \"gid\": 0}}, {field}}}' > {{t}}/p"], ["exec", "-p", "{t}/p", "c"])
Case("exec in a group below", script(LONG), ["run", "-d", "c"], ["sh", "for c in cpu memory pids freezer; do mkdir /sys/fs/cgroup/$c/differ-{n}/sub; done"], ["exec", "--cgroup", "pids:sub", "c", "sh", "-c", "grep -e pids -e memory /proc/self/cgroup | cut -d: -f3"], ["exec", "--cgroup", "pids,memory:sub", "c", "sh", "-c", "grep -e pids -e memory /proc/self/cgroup | cut -d: -f3"], ["exec", "--cgroup", "pids:/sub", "c", "sh", "-c", "grep -e pids -e memory /proc/self/cgroup | cut -d: -f3"],
     ["exec", "--cgroup", "sub", "c", "true"], ["exec", "--cgroup", "pids:sub/../..", "c", "true"], ["exec", "--cgroup", "", "c", "echo", "x"], ["exec", "--cgroup", "pids:", "c", "echo", "x"], ["exec", "--cgroup", "pids:sub", "--cgroup", "memory:sub", "c", "sh", "-c", "grep -e pids -e memory /proc/self/cgroup | cut -d: -f3"])
Case("exec has the namespaces and the group", script(LONG), ["run", "-d", "c"], ["exec", "c", "sh", "-c", "for n in mnt pid ipc uts net cgroup user; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) || echo $n; done; cmp /proc/1/cgroup /proc/self/cgroup"])
Case("exec in a paused one", script(LONG), ["run", "-d", "c"], ["pause", "c"], ["exec", "c", "true"], ["sh", "{r} exec --ignore-paused c echo late & sleep 0.5; {r} resume c; wait"])
Case("exec while it is deleted", script(LONG), ["run", "-d", "c"], ["sh", "{r} exec c sh -c 'touch /tmp/ready; sleep 100' & p=$!; while [ ! -e {b}/rootfs/tmp/ready ]; do sleep 0.05; done; {r} delete -f c; wait $p; echo $?"])
Case("the first ends during exec", script("while [ ! -e /tmp/ready ]; do sleep 0.05; done"), ["run", "-d", "c"], ["sh", "{r} exec c sh -c 'touch /tmp/ready; sleep 100'; echo $?"])
Case("exec leaves a child", script(LONG), ["run", "-d", "c"], ["sh", "timeout 5 {r} exec c sh -c 'sleep 1000 > /dev/null 2>&1 & echo x'; echo $?"], ["ps", "-f", "json", "none"])

# --- list, state, ps, events, update
Case("list as a table", script(LONG), ["run", "-d", "c"], ["sh", "{r} list | head -1 | tr -s ' '; {r} list | tail -1 | awk '{print $1, $3, $4, $6}' | sed 's|/tmp/[^ ]*|B|'"], ["sh", "{r} list -f json | jq -c '.[0] | keys'"], ["sh", "{r} list --format table -q"], ["list", "--format", ""])
Case("state's fields", script(LONG), ["run", "-d", "c"], ["sh", "{r} state c | jq -c keys"], ["sh", "{r} state c | tail -c 2"], ["state", "-f", "json", "c"])
Case("ps of all kinds", script(LONG), ["run", "-d", "c"], ["sh", "{r} ps c | wc -l; {r} ps -f json c | jq length; {r} ps --format table c | head -1 | tr -s ' '; {r} ps c -e -o pid,comm | wc -l; {r} ps c aux | head -1 | tr -s ' '"], ["ps", "--format", "", "c"], ["ps", "c", "-o", "comm"])
Case("ps of several", script("sleep 1000 & sleep 1000 & sleep 1000"), ["run", "-d", "c"], ["sh", "sleep 0.2; {r} ps -f json c | jq length"])
Case("events once", script(LONG), ["run", "-d", "c"], ["sh", "{r} events --stats c | jq -c 'paths(type != \"object\" and type != \"array\") | map(tostring) | join(\".\")' | grep -v -e raw -e percpu -e Recursive -e hugetlb | sort"])
Case("events for a while", script("sleep 1"), ["run", "-d", "c"], ["sh", "timeout 5 {r} events --interval 300ms c | jq -r .type | sort | uniq -c | sed 's/  *[1-9][0-9]*/some/'; echo $?"])
Case("events of a kill for memory", more(limits({"memory": {"limit": 10000000, "swap": 10000000}}, "sleep 1; head -c 100000000 /dev/zero | tail > /dev/null; sleep 0.5")), ["run", "-d", "c"], ["sh", "timeout 8 {r} events --interval 1m c | jq -c '[.type, .id]' | sort -u"])
Case("update by a file", limits({"memory": {"limit": 50000000}}, LONG), ["run", "-d", "c"], *[step for text in ('{"cpu": {"shares": 300}}', '{"cpu": {"shares": "x"}}', "[]", "", "{}", '{"pids": {"limit": 9}, "nonsense": 1}', '{"devices": [{"allow": false, "access": "rwm"}]}', '{"memory": {"limit": 0}}', '{"memory": {"limit": -1}}', '{"cpu": {"cpus": "0"}}', '{"unified": {"pids.max": "5"}}', '{"blockIO": {"weight": 500}}')
                                                                                          for step in (["sh", f"echo '{text}' > {{t}}/r"], ["update", "-r", "{t}/r", "c"], ["sh", "cd /sys/fs/cgroup; cat cpu/differ-{n}/cpu.shares pids/differ-{n}/pids.max memory/differ-{n}/memory.limit_in_bytes cpuset/differ-{n}/cpuset.cpus"])])
Case("update by flags", limits({"memory": {"limit": 50000000}}, LONG), ["run", "-d", "c"], *[step for words in (["--memory", "40M"], ["--memory", "-1"], ["--memory", "0"], ["--memory", ""], ["--memory", "-5"], ["--memory-swap", "80000000"], ["--memory", "70000000", "--memory-swap", "90000000"], ["--memory", "95000000"], ["--pids-limit", "0"], ["--pids-limit", "-1"], ["--pids-limit", "-7"], ["--cpu-share", "0"], ["--cpu-share", "1"], ["--cpu-share", "-1"], ["--cpu-share", "x"],
     ["--cpu-quota", "-1"], ["--cpu-period", "50000"], ["--cpu-period", "0"], ["--cpu-quota", "5"], ["--cpuset-cpus", "x"], ["--cpuset-cpus", "0-1"], ["--cpuset-mems", "0"], ["--cpuset-mems", "7"], ["--blkio-weight", "x"], ["--blkio-weight", "100"], ["--cpu-rt-period", "100000"], ["--cpu-rt-runtime", "x"], ["--memory-reservation", "20000000"], ["--memory-reservation", "x"], ["--mem-bw-schema", "x"], ["--cpu-idle", "1"], ["--memory", "30000000", "-r", "{t}/none"])
                                                                                    for step in (["update", *words, "c"], ["sh", "cd /sys/fs/cgroup; for f in cpu/differ-{n}/cpu.shares cpu/differ-{n}/cpu.cfs_quota_us cpu/differ-{n}/cpu.cfs_period_us pids/differ-{n}/pids.max memory/differ-{n}/memory.limit_in_bytes memory/differ-{n}/memory.memsw.limit_in_bytes memory/differ-{n}/memory.soft_limit_in_bytes cpuset/differ-{n}/cpuset.cpus; do cat $f; done 2>/dev/null | tr '\\n' ' '"])])
Case("update of a paused one", script(LONG), ["run", "-d", "c"], ["pause", "c"], ["update", "--pids-limit", "8", "c"], ["state", "c"], ["sh", "cat /sys/fs/cgroup/pids/differ-{n}/pids.max"], ["resume", "c"])
Case("update is kept", limits({"pids": {"limit": 100}}, LONG), ["run", "-d", "c"], ["update", "--pids-limit", "8", "c"], ["update", "--cpu-share", "500", "c"], ["sh", "cat /sys/fs/cgroup/pids/differ-{n}/pids.max"])

# --- two at once
Case("two creates at once", put("process/args", ["sleep", "1000"]), ["sh", "for i in 1 2 3 4; do ({r} create c 2>{t}/e$i; echo $?) & done | sort; wait; cat {t}/e? | grep -c exists | sed 's/[1-9]/some/'"], ["state", "c"], ["delete", "-f", "c"])
Case("two starts at once", script("echo in; sleep 1000"), ["create", "c"], ["sh", "for i in 1 2 3 4; do ({r} start c 2>/dev/null; echo $?) & done | sort; wait"], ["state", "c"])
Case("delete during start", script(LONG), *[["sh", "{r} create c; {r} start c 2> /dev/null & {r} delete -f c; echo $?; wait; {r} list -q; ls /sys/fs/cgroup/pids | grep -c differ-{n}"]] * 5)
Case("delete during create", script(LONG), ["sh", "for i in 1 2 3 4 5; do {r} create c 2> /dev/null & p=$!; {r} delete -f c 2> /dev/null; wait $p; {r} delete -f c; done; {r} list -q; ls /sys/fs/cgroup/pids | grep -c differ-{n}"])
Case("kill during start", put("process/args", ["sleep", "1000"]), ["sh", "{r} create c; {r} start c 2> /dev/null & {r} kill c KILL; wait; sleep 0.2; {r} state c | jq -r .status; {r} delete c; echo $?"])
Case("many at once", script("true"), ["sh", "for i in 1 2 3 4 5 6 7 8 9; do mkdir {t}/b$i; jq \".linux.cgroupsPath += \\\"-$i\\\" | .root.path = \\\"{b}/rootfs\\\"\" {b}/config.json > {t}/b$i/config.json; ({r} run -b {t}/b$i c$i; echo $?) & done | sort | uniq -c; wait; {r} list -q"])
Case("many execs at once", script(LONG), ["run", "-d", "c"], ["sh", "for i in 1 2 3 4 5 6 7 8 9; do ({r} exec c sh -c \"exit $i\"; echo $?) & done | sort; wait"])
Case("pause during exec", script(LONG), ["run", "-d", "c"], ["sh", "for i in 1 2 3 4 5; do {r} exec c true 2> /dev/null & {r} pause c; {r} resume c; wait; done; {r} state c | jq -r .status"])

# --- spec and features
Case("features", None, ["sh", "{r} features | jq -c 'keys, (.linux | keys), .hooks, .linux.namespaces'"])
Case("spec by itself works", "no config", ["spec"], ["sh", "jq '.process.terminal = false | .process.args = [\"/bin/echo\", \"in\"]' config.json > x; mv x config.json"], ["run", "c"])
Case("spec of another bundle", "no config", ["sh", "mkdir {t}/o"], ["spec", "--bundle", "{t}/o"], ["sh", "stat -c %a {t}/o/config.json; tail -c 1 {t}/o/config.json | od -c | head -1"])
Case("paths that are empty", script("echo in"), ["run", "--pid-file", "", "c"], ["run", "--console-socket", "", "c"], ["run", "-b", "", "--log", "", "c"], ["create", "--pid-file=", "c"], ["exec", "--pid-file", "", "--console-socket=", "c", "true"], ["delete", "-f", "c"])
Case("a pid file in a folder that is not there", script("echo in"), ["create", "--pid-file", "/none/pid", "c"], ["state", "c"], ["run", "--pid-file", "/none/pid", "c"])
Case("a pid file that is a folder", script("echo in"), ["run", "--pid-file", "{t}", "c"], ["list", "-q"])
