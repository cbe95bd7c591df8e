"""Questions of differ.py on the lives of containers: health, restarts, memory that runs out, removal, signals, limits that contradict
each other, and what is told of it. Each section as in questions.py."""
import urllib.parse

from questions import filters, q
from wide import LOOP, made, story, tar

SECOND = 1000000000
FAILS = ["sh", "-c", "exit 7"]
FOREVER = ["sleep", "1000"]


def pause(seconds=0.3):
    return q("", "settle", seconds=seconds)


def told(*what, query="", ignore=()):
    """What is told of it; in any order, as the judge may say that something has stopped before it says that it has died."""
    yield q("", "mark")
    yield from what
    yield pause(0.5)
    method, target, want = story(query, ignore=ignore)
    yield q(method, target, unordered=True, **want)


def gone(*names):
    for name in names:
        yield q("DELETE", f"/containers/{name}?force=1&v=1", quiet=True)


def shell(name, text, **more):
    """A command in a container, and how it ended."""
    yield q("POST", f"/containers/{name}/exec", json={"Cmd": ["sh", "-c", text], "AttachStdout": True, "AttachStderr": True, **more}, save="sh")
    yield q("POST", "/exec/{{sh}}/start", json={}, frames=True)
    yield q("GET", "/exec/{{sh}}/json")


def health():
    """Probes: what inspect, lists and events say from the start to the end."""
    def states(name, *, all_=False):
        yield q("GET", f"/containers/{name}/json", ignore=[r"Health\.Log: \d|Health.FailingStreak: \d"])
        yield q("GET", "/containers/json?all=1&" + filters({"name": [name]}))
        for state in ("starting", "healthy", "unhealthy", "none"):
            yield q("GET", "/containers/json?all=1&" + filters({"name": [name], "health": [state]}))

    half = SECOND // 2
    probe = {"Test": ["CMD-SHELL", "test -f /ok; r=$?; echo said $r; exit $r"], "Interval": half, "Timeout": SECOND * 5, "Retries": 2}
    yield q("", "mark")
    yield from made("h1", Healthcheck=probe)
    yield from states("h1")
    yield pause(3)
    yield from states("h1")
    yield from shell("h1", "touch /ok")
    yield pause(2)
    yield from states("h1")
    yield q("POST", "/containers/h1/pause")
    yield pause(1)
    yield from states("h1")
    yield q("POST", "/containers/h1/unpause")
    yield q("POST", "/containers/h1/stop?t=2")
    yield from states("h1")
    yield q("POST", "/containers/h1/start")
    yield from states("h1")
    yield q("POST", "/containers/h1/kill")
    yield q("POST", "/containers/h1/wait")
    yield story("&" + filters({"container": ["h1"], "event": ["health_status"]}))
    for event in ("health_status: healthy", "health_status: unhealthy", "health_status: starting"):
        yield story("&" + filters({"container": ["h1"], "event": [event]}))
    yield from gone("h1")
    # Not `["CMD"]` alone: it ends the judge.
    for more in (
            {"Test": ["CMD", "true"], "Interval": half}, {"Test": ["CMD", "false"], "Interval": half, "Retries": 1}, {"Test": ["CMD", "/nope"], "Interval": half, "Retries": 1}, {"Test": ["CMD-SHELL", "nope"], "Interval": half, "Retries": 1},
            {"Test": ["CMD-SHELL", "exit 2"], "Interval": half, "Retries": 1}, {"Test": ["CMD-SHELL", "head -c 6000 /dev/zero | tr '\\0' x"], "Interval": half}, {"Test": ["CMD-SHELL", "echo out; echo err >&2; exit 1"], "Interval": half, "Retries": 1},
            {"Test": ["CMD-SHELL", "echo a; sleep 5"], "Interval": half, "Timeout": half, "Retries": 1}, {"Test": ["CMD-SHELL", "exit 1"], "Interval": half, "Retries": 1, "StartPeriod": 60 * SECOND}, {"Test": ["CMD-SHELL", "exit 1"], "Interval": 60 * SECOND, "Retries": 1, "StartPeriod": 2 * SECOND, "StartInterval": half},
            {"Test": ["CMD-SHELL", "id -u; pwd; env | sort"], "Interval": half}, {"Test": ["CMD-SHELL"], "Interval": half, "Retries": 1}, {"Test": ["CMD", ""], "Interval": half, "Retries": 1}, {"Test": ["NONE"], "Interval": half}, {"Test": ["NONE", "x"]}, {"Test": [""]}, {"Test": ["CMD-SHELL", "true", "more"], "Interval": half}, {"Interval": half, "Retries": 3}):
        yield from made("h2", Healthcheck=more, User="1000:1000", WorkingDir="/tmp", Env=["A=b"])
        yield pause(2)
        yield q("GET", "/containers/h2/json", ignore=[r"Health\.Log: \d|FailingStreak: \d|Log\[[1-4]\]"])
        yield q("GET", "/containers/json?" + filters({"name": ["h2"]}))
    yield from gone("h2")
    yield from told(*made("h3", Healthcheck={"Test": ["CMD", "false"], "Interval": half, "Retries": 1}), pause(1.5), q("POST", "/containers/h3/stop?t=1"), query="&" + filters({"container": ["h3"], "event": ["health_status", "die", "stop", "start"]}))
    yield from gone("h3")


def restarts():
    """Policies: who is started again, who is not, and what may be done with one that waits for it."""
    # A signal that is not the one to stop by is no wish to stop; without one of its own each is.
    for stop in (None, "SIGTERM", "SIGUSR2"):
        for signal in ("USR1", "TERM", "KILL", "USR2"):
            more = {"StopSignal": stop} if stop else {}
            yield from made("r1", cmd=["sh", "-c", "trap 'exit 9' USR1 USR2 TERM; while :; do sleep 0.1; done"], HostConfig={"RestartPolicy": {"Name": "always"}}, **more)
            yield pause(0.2)
            yield q("POST", f"/containers/r1/kill?signal={signal}")
            yield pause(1.5)
            yield q("GET", "/containers/r1/json", ignore=[r"State.Pid"])
    for name, count in (("on-failure", 2), ("on-failure", 0), ("always", 0), ("unless-stopped", 0), ("no", 0), ("", 0)):
        for code in ("0", "7"):
            yield from made("r2", cmd=["sh", "-c", f"sleep 0.2; [ -f /twice ] && sleep 1000; touch /twice; exit {code}"], HostConfig={"RestartPolicy": {"Name": name, "MaximumRetryCount": count}})
            yield pause(2.5)
            yield q("GET", "/containers/r2/json")
            yield q("POST", "/containers/r2/stop?t=0")
            yield q("GET", "/containers/r2/json")
            yield q("POST", "/containers/r2/start")
            yield q("GET", "/containers/r2/json")
            yield from gone("r2")
    yield from told(*made("r3", cmd=FAILS, HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}), pause(3), q("GET", "/containers/r3/json"), q("POST", "/containers/r3/wait"))
    yield q("POST", "/containers/r3/start")
    yield pause(3)
    yield q("GET", "/containers/r3/json")
    yield from gone("r3", "r1")
    # Those that wait for their next start.
    verbs = ["json", "top", "stats?stream=0&one-shot=1", "logs?stdout=1", "changes", "archive?path=/etc/hostname", "start", "stop?t=1", "kill", "kill?signal=USR1", "pause", "unpause", "restart?t=0", "exec", "update", "wait?condition=next-exit", "DELETE", "DELETE?force=1"]
    for number, verb in enumerate(verbs):
        if number % 5 == 0:
            for one in range(number, min(number + 5, len(verbs))):
                yield from made(f"r4x{one}", cmd=FAILS, HostConfig={"RestartPolicy": {"Name": "always"}})
            yield pause(10)
        name = f"r4x{number}"
        yield q("GET", f"/containers/{name}/json", quiet=True)
        if number % 5 == 0:
            yield q("GET", "/containers/json?" + filters({"name": [name]}), ignore=["Status: 'Restarting"])
            yield q("GET", "/containers/json?" + filters({"status": ["restarting"], "name": [name]}), ignore=["Status: 'Restarting"])
        if verb.startswith("DELETE"):
            yield q("DELETE", f"/containers/{name}{verb[6:]}")
        elif number < 6:
            yield q("GET", f"/containers/{name}/{verb}", body=verb not in ("stats?stream=0&one-shot=1", "archive?path=/etc/hostname"), ignore=["RestartCount", "body"])
        else:
            body = {"update": {"RestartPolicy": {"Name": "no"}}, "exec": {"Cmd": ["true"]}}.get(verb)
            yield q("POST", f"/containers/{name}/{verb}", **({"json": body} if body else {}), save="e", timeout=3, **({"quiet": True} if "next-exit" in verb else {}))
        yield q("GET", f"/containers/{name}/json", ignore=["RestartCount"] + (["State|Net"] if verb.startswith(("start", "restart", "exec", "wait")) or number < 6 else []))
        yield from gone(name, "r4y")
    # A policy that is changed while it runs.
    yield from made("r5", cmd=FOREVER)
    yield q("POST", "/containers/r5/update", json={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}})
    yield from shell("r5", "kill -9 1; true")
    yield q("POST", "/containers/r5/update", json={"RestartPolicy": {"Name": "always"}})
    yield q("POST", "/containers/r5/kill?signal=KILL")
    yield pause(1)
    yield q("GET", "/containers/r5/json")
    yield from made("r6", cmd=FOREVER, HostConfig={"AutoRemove": True})
    for name in ("always", "no", "on-failure", "unless-stopped", ""):
        yield q("POST", "/containers/r6/update", json={"RestartPolicy": {"Name": name}})
    yield from gone("r5", "r6")


def memory():
    """What happens when there is none left."""
    hungry = ["sh", "-c", "x=a; while :; do x=$x$x; done"]
    limit = {"Memory": 16777216, "MemorySwap": 16777216}
    yield from told(*made("o1", cmd=hungry, HostConfig=limit), q("POST", "/containers/o1/wait"), query="&" + filters({"container": ["o1"]}))
    yield q("GET", "/containers/o1/json")
    yield q("GET", "/containers/json?all=1&" + filters({"name": ["o1"]}))
    yield q("POST", "/containers/o1/start")
    yield q("POST", "/containers/o1/wait")
    yield q("GET", "/containers/o1/json")
    # Another process than the first.
    yield from told(*made("o2", cmd=["sh", "-c", "(x=a; while :; do x=$x$x; done); sleep 1000"], HostConfig=limit), pause(2), q("GET", "/containers/o2/json"), q("POST", "/containers/o2/kill"), q("POST", "/containers/o2/wait"), query="&" + filters({"container": ["o2"]}))
    yield q("GET", "/containers/o2/json")
    yield from made("o3", cmd=FOREVER, HostConfig={"Memory": 33554432, "MemorySwap": 33554432})
    yield q("POST", "/containers/o3/exec", json={"Cmd": hungry, "AttachStdout": True, "AttachStderr": True}, save="e")
    yield q("POST", "/exec/{{e}}/start", json={}, frames=True)
    yield q("GET", "/exec/{{e}}/json")
    yield pause()
    yield q("GET", "/containers/o3/json")
    yield from made("o3", cmd=FOREVER, HostConfig=limit)
    for body in ({"Memory": 8388608}, {"MemorySwap": 8388608}, {"Memory": 33554432}, {"Memory": 33554432, "MemorySwap": 33554432}, {"Memory": 0}, {"Memory": 0, "MemorySwap": 0}, {"MemoryReservation": 4194304}, {"PidsLimit": 0}, {"PidsLimit": -1}, {"PidsLimit": 100}, {"CpuPeriod": 50000}, {"CpuQuota": 25000}, {"NanoCpus": 500000000}, {"CpuQuota": 0, "CpuPeriod": 0}, {"BlkioWeight": 300}, {"OomKillDisable": True}, {"CpusetCpus": "0"}, {"CpusetCpus": ""}, {"CpusetMems": "0"}, {"Ulimits": [{"Name": "nofile", "Soft": 5, "Hard": 5}]}, {"MemorySwappiness": 3}, {}):
        yield q("POST", "/containers/o3/update", json=body)
        yield q("GET", "/containers/o3/json")
        yield from shell("o3", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cpu/cpu.cfs_period_us /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpuset/cpuset.cpus 2>&1")
    yield from gone("o1", "o2", "o3")


def endings():
    """Signals, times to stop, exit codes, and who waits for them."""
    deaf = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"]
    for signal in ("KILL", "SIGKILL", "kill", "Kill", "9", "sigkill", "SIGsigKILL", "TERM", "15", "RTMIN", "SIGRTMIN+3", "RTMIN+3", "RTMAX-1", "rtmax", "34", "64", "65", "0", "-9", "009", "9.0", "%20KILL", "KILL%20", "STOP", "CHLD", "CLD", "POLL", "IO", "PWR", "STKFLT", "UNUSED", "IOT", "WINCH"):
        yield from made("k1")
        yield from told(q("POST", f"/containers/k1/kill?signal={urllib.parse.quote(signal, safe='%')}"), query="&" + filters({"container": ["k1"], "event": ["kill"]}))
    for signal in ("QUIT", "INT", "2", "RTMIN+3", "nope", "0", "", "sigquit", "KILL"):
        for verb in ("stop", "restart"):
            yield from made("k2", cmd=["sh", "-c", "trap 'exit 42' QUIT; trap 'exit 43' INT; trap 'exit 44' TERM; trap 'exit 45' 37; while :; do sleep 0.1; done"])
            yield from told(q("POST", f"/containers/k2/{verb}?t=2&signal={urllib.parse.quote(signal)}"), query="&" + filters({"container": ["k2"]}))
            yield q("GET", "/containers/k2/json")
    for stop in ("QUIT", "SIGQUIT", "3", "RTMIN+3", "quit"):
        yield from made("k3", cmd=["sh", "-c", "trap 'exit 42' QUIT; trap 'exit 44' TERM; trap 'exit 45' 37; while :; do sleep 0.1; done"], StopSignal=stop)
        yield from told(q("POST", "/containers/k3/stop"), query="&" + filters({"container": ["k3"]}))
        yield q("GET", "/containers/k3/json")
    for query in ("t=1", "t=0", "", "t=-2"):
        yield from made("k4", cmd=["sh", "-c", "trap 'sleep 0.5; exit 5' TERM; while :; do sleep 0.1; done"] if query in ("", "t=-2") else deaf, StopTimeout=1)
        yield from told(q("POST", f"/containers/k4/stop?{query}"), query="&" + filters({"container": ["k4"]}))
        yield q("GET", "/containers/k4/json")
    for code in (0, 1, 125, 126, 127, 128, 137, 255, 256, -1):
        yield from made("k5", cmd=["sh", "-c", f"exit {code}"])
        yield q("POST", "/containers/k5/wait")
        yield q("GET", "/containers/json?all=1&" + filters({"name": ["k5"]}))
        yield q("GET", "/containers/json?all=1&" + filters({"name": ["k5"], "exited": [str(code)]}))
    for cmd in (["/nope"], ["nope"], ["/etc/passwd"], ["/etc"], ["/"], [""], ["./x"], ["sh", "-c", "kill -SEGV $$"], ["sh", "-c", "kill -ABRT $$"], ["sh\x00x"], ["a" * 5000]):
        yield from made("k6", cmd=cmd, start=False)
        yield from told(q("POST", "/containers/k6/start", ignore=["runc create failed"]), query="&" + filters({"container": ["k6"]}))
        yield pause()
        yield q("GET", "/containers/k6/json", ignore=["runc create failed"])
        yield q("GET", "/containers/json?all=1&" + filters({"name": ["k6"]}))
        yield q("POST", "/containers/k6/wait", timeout=5)
        yield q("GET", "/containers/k6/logs?stdout=1&stderr=1")
    for more in ({"WorkingDir": "/new/folder"}, {"User": "nope"}, {"User": "0:nope"}, {"User": "nope:0"}, {"User": "99999:99999"}, {"User": "4294967296"}, {"User": "-1"}, {"User": "nobody"}, {"User": ":"}, {"User": "root:wheel"}, {"User": "1000"}, {"HostConfig": {"GroupAdd": ["nope"]}}, {"HostConfig": {"GroupAdd": ["wheel", "77"]}, "User": "nobody"},
                 {"Hostname": "", "Domainname": "d.e"}, {"Hostname": "a.b.c", "Domainname": "d"}, {"Env": ["PATH=/nope"]}, {"Env": ["PATH="]}, {"Env": ["HOME=/x", "TERM=y", "HOSTNAME=z"]}, {"Env": ["A=1", "A", "B"]}, {"Tty": True}, {"Entrypoint": ["echo", "e"], "Cmd": ["c"]}, {"Entrypoint": [], "Cmd": ["echo", "x"]}):
        given = {"cmd": ["sh", "-c", "id; pwd; hostname; env | sort"], **({"cmd": more["Cmd"]} if "Cmd" in more else {})}
        yield from made("k7", start=False, **given, **{key: value for key, value in more.items() if key != "Cmd"})
        yield q("POST", "/containers/k7/start", ignore=["runc create failed"])
        yield q("POST", "/containers/k7/wait", timeout=5)
        yield q("GET", "/containers/k7/logs?stdout=1&stderr=1", ignore=["HOSTNAME"])
        yield q("GET", "/containers/k7/json", ignore=["runc create failed"])
    for version in ("1.24", "1.29", "1.30", "1.45"):
        v = f"!/v{version}"
        yield from made("k8", start=False)
        yield q("POST", f"{v}/containers/k8/wait?condition=not-running", timeout=3)
        for condition in ("", "?condition=not-running", "?condition=next-exit", "?condition=removed", "?condition=", "?condition=NOT-RUNNING"):
            yield q("POST", "/containers/k8/start", quiet=True)
            yield q("POST", f"{v}/containers/k8/wait{condition}", aside="w", timeout=6)
            yield q("POST", "/containers/k8/stop?t=1")
            yield pause(0.2)
            yield from gone("k8")
            yield q("", "join", of="w")
            yield from made("k8", start=False)
    yield from gone("k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8")


def removals():
    """Containers that go by themselves, with what is theirs."""
    volumes = {"Volumes": {"/anon": {}}, "HostConfig": {"Binds": ["named:/named"], "Mounts": [{"Type": "volume", "Target": "/anon2"}, {"Type": "volume", "Source": "named2", "Target": "/n2"}]}}
    for query in ("", "?v=1", "?v=0", "?v=true&force=true", "?force=1"):
        yield from made("d1", start="force" in query, **volumes)
        yield from told(q("DELETE", f"/containers/d1{query}"), ignore=["Volumes"])
        yield q("GET", "/volumes", ignore=[r"Volumes\[\d\]"])
        yield q("POST", "/volumes/prune?" + filters({"all": ["1"]}), quiet=True)
    yield from told(*made("d2", cmd=["true"], HostConfig={**volumes["HostConfig"], "AutoRemove": True}, Volumes={"/anon": {}}), pause(1))
    yield q("GET", "/volumes", ignore=[r"Volumes\[\d\]"])
    yield q("POST", "/volumes/prune?" + filters({"all": ["1"]}), quiet=True)
    yield from told(*made("d3", HostConfig={"AutoRemove": True}), q("POST", "/containers/d3/stop?t=2"), q("GET", "/containers/d3/json"))
    yield from told(*made("d3", HostConfig={"AutoRemove": True}), q("POST", "/containers/d3/kill"), pause(1), q("POST", "/containers/d3/start"))
    yield from told(*made("d3", HostConfig={"AutoRemove": True}), q("POST", "/containers/d3/restart?t=1"), q("GET", "/containers/d3/json"), q("DELETE", "/containers/d3"), q("DELETE", "/containers/d3?force=1"))
    yield from told(*made("d3", cmd=["nope"], start=False, HostConfig={"AutoRemove": True}), q("POST", "/containers/d3/start", ignore=["runc create failed"]), pause(), q("GET", "/containers/d3/json"))
    yield from made("d3", start=False, HostConfig={"AutoRemove": True})
    yield q("POST", "/containers/d3/wait?condition=removed", aside="w", timeout=10)
    yield q("POST", "/containers/d3/start")
    yield q("DELETE", "/containers/d3?force=1")
    yield q("", "join", of="w")
    # What is frozen ends all the same.
    for verb in ("stop?t=1", "kill", "kill?signal=TERM", "kill?signal=USR1", "restart?t=1", "DELETE?force=1"):
        yield from made("d9", cmd=["sh", "-c", "trap 'exit 3' TERM USR1; while :; do sleep 0.1; done"])
        yield q("POST", "/containers/d9/pause")
        yield from told(q("DELETE", "/containers/d9?force=1") if "DELETE" in verb else q("POST", f"/containers/d9/{verb}"), pause(1), q("GET", "/containers/d9/json"), query="&" + filters({"container": ["d9"]}))
    # Links, names that go and come, and one that others need.
    yield from made("d4")
    yield from made("d5", HostConfig={"Links": ["d4:alias", "d4"]})
    yield q("GET", "/containers/d5/json")
    yield q("GET", "/containers/d4/json")
    yield from shell("d5", "sed 's/[0-9.]*/IP/' /etc/hosts | grep -v host.docker.internal; tr '\\0' '\\n' < /proc/1/environ | sort | grep -v HOSTNAME")
    yield q("POST", "/containers/d4/rename?name=d4b")
    yield q("GET", "/containers/d5/json")
    yield q("POST", "/containers/d4b/rename?name=d4b")
    yield q("POST", "/containers/d4b/rename?name=/d4c")
    yield q("POST", "/containers/d4c/rename?name=d5")
    yield q("DELETE", "/containers/d5?link=1")
    yield q("DELETE", "/containers/nope/x?link=1")
    yield q("POST", "/containers/d5/restart?t=0")
    yield q("GET", "/containers/d5/json")
    yield q("DELETE", "/containers/d4c?force=1")
    yield from made("d7", HostConfig={"NetworkMode": "container:d5", "PidMode": "container:d5"})
    yield q("GET", "/containers/d7/json")
    yield q("DELETE", "/containers/d5?force=1")
    yield q("GET", "/containers/d7/json")
    yield q("POST", "/containers/d7/restart?t=0")
    yield q("POST", "/containers/d7/start")
    yield q("GET", "/containers/json?all=1&" + filters({"name": ["d7"]}))
    yield from gone("d7", "d9")
    for f in ({"until": ["1s"]}, {"until": ["0s"]}, {"until": ["1h"]}, {"until": ["2100-01-01"]}, {"until": ["2100-01-01T00:00:00"]}, {"until": ["1s", "2s"]}, {"label": ["k"]}, {"label": ["k=v"]}, {"label!": ["k"]}, {"label!": ["k=w"]}, {"label": ["k"], "label!": ["k"]}):
        yield q("POST", "/containers/create?name=d8", json={"Image": "busybox", "Labels": {"k": "v"}}, quiet=True)
        yield pause(2.2 if "until" in f else 0)
        yield q("POST", "/containers/prune?" + filters(f), ignore=[r"ContainersDeleted\[0\]"])
        yield q("GET", "/containers/json?all=1")
    yield from gone("d8")


def contradictions():
    """Settings that do not go together, in one body."""
    yield from made("c0", HostConfig={"IpcMode": "shareable"})
    yield from made("c1", start=False)
    for host, more in (
            ({"NetworkMode": "none", "PublishAllPorts": True}, {"ExposedPorts": {"80/tcp": {}}}), ({"NetworkMode": "none", "PortBindings": {"80/tcp": [{"HostPort": "8123"}]}}, {}), ({"NetworkMode": "host"}, {"Hostname": "x", "MacAddress": "02:42:ac:11:00:77"}), ({"NetworkMode": "none", "Links": ["c0:a"]}, {}), ({"NetworkMode": "host", "Links": ["c0:a"]}, {}), ({"NetworkMode": "host", "Dns": ["1.1.1.1"]}, {}), ({"NetworkMode": "host", "ExtraHosts": ["a:1.2.3.4"]}, {}),
            ({"UTSMode": "host"}, {"Hostname": "x"}), ({"UTSMode": "host"}, {"Domainname": "x"}), ({"PidMode": "host", "Init": True}, {}), ({"PidMode": "container:c0"}, {}), ({"PidMode": "container:c1"}, {}), ({"IpcMode": "container:c0", "ShmSize": 1048576}, {}), ({"IpcMode": "container:c1"}, {}), ({"IpcMode": "host", "ShmSize": 1048576}, {}), ({"IpcMode": "none", "Tmpfs": {"/dev/shm": ""}}, {}),
            ({"Privileged": True, "CapDrop": ["ALL"]}, {}), ({"Privileged": True, "SecurityOpt": ["no-new-privileges"]}, {}), ({"Privileged": True, "ReadonlyRootfs": True}, {}), ({"Privileged": True, "MaskedPaths": ["/etc"]}, {}), ({"CapAdd": ["ALL"], "CapDrop": ["ALL"]}, {}), ({"CapAdd": ["NET_ADMIN"], "CapDrop": ["NET_ADMIN"]}, {}), ({"SecurityOpt": ["seccomp=unconfined", "seccomp=unconfined"]}, {}), ({"SecurityOpt": ["no-new-privileges:true", "no-new-privileges:false"]}, {}),
            ({"Memory": 0, "MemorySwap": 0}, {}), ({"Memory": 0, "MemorySwap": -1}, {}), ({"Memory": 67108864, "MemorySwap": 67108863}, {}), ({"Memory": 67108864, "MemoryReservation": 67108864}, {}), ({"OomKillDisable": True}, {}), ({"OomKillDisable": True, "Memory": 67108864}, {}), ({"MemorySwappiness": 0}, {}), ({"MemorySwappiness": 100, "Memory": 67108864}, {}), ({"CpuQuota": 500}, {}), ({"CpuQuota": 1000}, {}), ({"CpuPeriod": 999}, {}), ({"CpuPeriod": 1000001}, {}), ({"CpuShares": 2 ** 40}, {}), ({"NanoCpus": 2 ** 62}, {}), ({"PidsLimit": 2 ** 62}, {}), ({"Memory": 2 ** 62}, {}), ({"ShmSize": 2 ** 62}, {}), ({"OomScoreAdj": 1000}, {}), ({"OomScoreAdj": -1001}, {}), ({"BlkioWeight": 9}, {}), ({"BlkioWeight": 65536}, {}), ({"MemorySwappiness": 2 ** 62}, {}),
            ({"Binds": ["aa:/x"]}, {"Volumes": {"/x": {}}}), ({"Binds": ["aa:/x", "bb:/x"]}, {}), ({"Binds": ["aa:/x", "bb:/x/"]}, {}), ({"Binds": ["aa:/x"], "Tmpfs": {"/x": ""}}, {}), ({"Mounts": [{"Type": "volume", "Target": "/x"}]}, {"Volumes": {"/x": {}}}), ({"Tmpfs": {"/x": ""}}, {"Volumes": {"/x": {}}}), ({"VolumesFrom": ["c0"], "Binds": ["aa:/x"]}, {}), ({"Binds": ["aa:/x:ro,z"]}, {}), ({"Binds": ["aa:/x:Z,ro"]}, {}), ({"Binds": ["aa:/x:shared"]}, {}), ({"Binds": ["/tmp:/x:nocopy"]}, {}), ({"Binds": ["/tmp:/x:shared,private"]}, {}), ({"Binds": ["aa:/x:consistent"]}, {}), ({"Binds": ["aa:/x:volume-nocopy"]}, {}), ({"Binds": ["aa:/../x"]}, {}), ({"Binds": ["/tmp/:/x/"]}, {}), ({"Binds": ["/tmp/../tmp:/x/./y"]}, {}), ({"Binds": ["a-_.b:/x"]}, {}), ({"Binds": ["a/b:/x"]}, {}), ({"Binds": ["~:/x"]}, {}), ({"Binds": ["./a:/x"]}, {}), ({"Binds": ["aa:/x:"]}, {}), ({"Binds": ["aa:/"]}, {}),
            ({"RestartPolicy": {"Name": "always"}, "AutoRemove": True}, {}), ({"RestartPolicy": {"Name": "no"}, "AutoRemove": True}, {}), ({"RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 1}}, {}), ({"RestartPolicy": {"MaximumRetryCount": -1}}, {}), ({"RestartPolicy": {"Name": "Always"}}, {}), ({"Sysctls": {"kernel.hostname": "x"}}, {}), ({"Sysctls": {"net.ipv4.ip_unprivileged_port_start": "x"}}, {}), ({"Sysctls": {"": "x"}}, {}), ({"Sysctls": {"kernel.msgmax": "1"}, "IpcMode": "host"}, {}), ({"Sysctls": {"fs.mqueue.msg_max": "9"}}, {}), ({"Sysctls": {"kernel.domainname": "x"}, "UTSMode": "host"}, {}),
            ({"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": -1}]}, {}), ({"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": -1}]}, {}), ({"Ulimits": [{"Name": "nofile", "Soft": -1, "Hard": 10}]}, {}), ({"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nofile", "Soft": 3, "Hard": 4}]}, {}), ({"Ulimits": [{"Name": "NOFILE", "Soft": 1, "Hard": 2}]}, {}), ({"Devices": [{"PathOnHost": "/dev", "PathInContainer": "/dev/all", "CgroupPermissions": "r"}]}, {}), ({"Devices": [{"PathOnHost": "/etc/hostname", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}]}, {}), ({"Devices": [{"PathOnHost": "null"}]}, {}), ({"DeviceCgroupRules": ["a *:* rwm"]}, {}), ({"DeviceCgroupRules": ["c 1:3"]}, {}), ({"DeviceCgroupRules": ["c 1 r"]}, {}),
            ({"GroupAdd": ["a b"]}, {}), ({"GroupAdd": [""]}, {}), ({"GroupAdd": ["-1"]}, {}), ({"CgroupnsMode": "private", "Privileged": True}, {}), ({"CgroupParent": "/a/../b"}, {}), ({"CgroupParent": "x.slice"}, {}), ({"StorageOpt": {"size": "x"}}, {}), ({"StorageOpt": {"size": "-1"}}, {}), ({"Tmpfs": {"/x": "size=x"}}, {}), ({"Tmpfs": {"/x": "uid=1,mode=1777,exec"}}, {}), ({"Tmpfs": {"/x/": ""}}, {}), ({"Tmpfs": {"/x": "rw", "/x/y": "ro"}}, {}), ({"DnsSearch": ["."]}, {}), ({"Dns": ["1.1.1.1", "x"]}, {}), ({"DnsOptions": ["x y"]}, {}), ({"ExtraHosts": ["a:"]}, {}), ({"ExtraHosts": [":1.2.3.4"]}, {}), ({"ExtraHosts": ["a:[::1]"]}, {}), ({"ExtraHosts": ["a b:1.2.3.4"]}, {}), ({"ExtraHosts": ["host-gateway:host-gateway"]}, {}),
            ({"LogConfig": {"Type": "json-file", "Config": {"max-size": "1k", "max-file": "x"}}}, {}), ({"LogConfig": {"Type": "json-file", "Config": {"compress": "true"}}}, {}), ({"LogConfig": {"Type": "json-file", "Config": {"compress": "x"}}}, {}), ({"LogConfig": {"Type": "local", "Config": {"max-size": "x"}}}, {}), ({"LogConfig": {"Type": "json-file", "Config": {"tag": "{{.Name}}/{{.ID}}"}}}, {}), ({"LogConfig": {"Type": "journald"}}, {}), ({"LogConfig": {"Type": "gelf"}}, {}), ({"LogConfig": {"Type": "json-file", "Config": {"mode": "blocking", "max-buffer-size": "1m"}}}, {}), ({"LogConfig": {"Type": "", "Config": {"max-size": "1k"}}}, {}),
            ({"PortBindings": {"80/tcp": [{"HostPort": "8124"}, {"HostPort": "8124"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8125"}, {"HostIp": "127.0.0.2", "HostPort": "8125"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostPort": "0"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostPort": "-1"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostPort": "65536"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostPort": "8130-8120"}]}}, {}), ({"PortBindings": {"80/TCP": [{"HostPort": "8127"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "8127"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "8127"}]}}, {}), ({"PortBindings": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8127"}]}}, {}), ({}, {"ExposedPorts": {"0/tcp": {}}}),
            ({}, {"StopTimeout": 2 ** 40}), ({}, {"Labels": {"a": "b" * 70000}}), ({}, {"Healthcheck": {"Test": ["CMD", "x"], "Retries": 2 ** 40}}), ({}, {"Healthcheck": {"Test": "CMD"}}), ({}, {"NetworkDisabled": True}), ({"NetworkMode": "c0"}, {}), ({"NetworkMode": "container:c0"}, {"Domainname": "x"}), ({"NetworkMode": "container:c0"}, {"MacAddress": "02:42:ac:11:00:77"}), ({"NetworkMode": "container:c1"}, {}), ({"Annotations": {"": "x"}}, {}), ({"VolumeDriver": "nope", "Binds": ["qq:/q"]}, {}), ({"Runtime": ""}, {}), ({"Isolation": "process"}, {})):
        host = {"CgroupnsMode": "private", **host}
        yield q("POST", "/containers/create?name=cc", json={"Image": "busybox", "Cmd": ["sh", "-c", "sleep 1000"], "HostConfig": host, **more})
        yield q("GET", "/containers/cc/json")
        yield q("POST", "/containers/cc/start", ignore=["runc create failed"])
        yield q("GET", "/containers/cc/json", ignore=["runc create failed", r"HostPort: '\d{5}'"])
        yield q("GET", "/containers/json?all=1&" + filters({"name": ["cc"]}), ignore=["PublicPort"])
        yield from gone("cc")
    yield from gone("c0", "c1")
    yield q("POST", "/volumes/prune?" + filters({"all": ["1"]}), quiet=True)


def lists():
    """Lists: order, limits, filters that name what is there."""
    for number in range(4):
        yield q("POST", f"/containers/create?name=ls{number}", json={"Image": "busybox", "Cmd": FOREVER, "Labels": {"n": str(number), "all": ""}, "ExposedPorts": {"443/tcp": {}, "80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8003/tcp": {}},
                "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": f"820{number}"}], "53/udp": [{"HostIp": "127.0.0.1", "HostPort": f"821{number}"}]}, "Binds": ["lsv:/lsv", "/tmp:/host"], "Tmpfs": {"/q": ""}}}, save=f"l{number}", quiet=True)
        yield pause(0.1)
    for number in (0, 2):
        yield q("POST", f"/containers/ls{number}/start", quiet=True)
    yield q("POST", "/containers/create?name=ls4", json={"Image": "busybox", "Cmd": FAILS}, quiet=True)
    yield q("POST", "/containers/ls4/start", quiet=True)
    yield q("POST", "/containers/ls4/wait", quiet=True)
    for query in ("", "all=1", "limit=1", "limit=2", "limit=2&all=1", "limit=10", "all=1&size=1", "all=true&limit=-1"):
        yield q("GET", f"/containers/json?{query}", ignore=["SizeRw"])
    for f in ({"before": ["ls2"]}, {"since": ["ls2"]}, {"before": ["ls2", "ls1"]}, {"since": ["ls1", "ls2"]}, {"before": ["ls3"], "since": ["ls0"]}, {"status": ["created"]}, {"status": ["running", "created"]}, {"status": ["exited"]}, {"exited": ["7"]}, {"exited": ["7", "0"]}, {"label": ["n=1"]}, {"label": ["n"]}, {"label": ["n=1", "n=2"]}, {"label": ["n=1", "all"]}, {"label": ["all="]}, {"label": ["N"]},
              {"name": ["ls"]}, {"name": ["ls0", "ls1"]}, {"name": ["^ls"]}, {"name": ["s1$"]}, {"name": ["/ls1"]}, {"name": ["ls[0-1]"]}, {"name": ["LS1"]}, {"id": ["{{l0}}"]}, {"id": ["{{l012}}"]}, {"id": ["{{l0}}", "{{l1}}"]}, {"ancestor": ["busybox"]}, {"ancestor": ["busybox:latest"]}, {"ancestor": ["busybox:nope"]}, {"ancestor": ["nope", "busybox"]}, {"volume": ["lsv"]}, {"volume": ["/lsv"]}, {"volume": ["/tmp"]}, {"volume": ["/host"]}, {"volume": ["/q"]}, {"volume": ["nope"]},
              {"network": ["bridge"]}, {"network": ["bri"]}, {"network": ["bridge", "none"]}, {"publish": ["8200"]}, {"publish": ["80"]}, {"publish": ["80/tcp"]}, {"publish": ["53/udp"]}, {"publish": ["53"]}, {"publish": ["1-9000"]}, {"publish": ["1-9000/udp"]}, {"expose": ["443"]}, {"expose": ["443/tcp"]}, {"expose": ["8000-8001/tcp"]}, {"expose": ["8003"]}, {"expose": ["53/udp"]}, {"expose": ["1-100"]}, {"expose": ["x"]}, {"expose": ["80/sctp"]}, {"is-task": ["false"]}, {"isolation": ["default"]}, {"health": ["none"]}, {"health": ["none", "healthy"]}, {"status": ["running"], "label": ["n=1"]}, {"status": ["paused"]}, {"status": [""]}, {"name": [""]}, {"id": [""]}, {"label": [""]}, {"ancestor": [""]}):
        text = filters(f)
        for number in range(2):
            text = text.replace(f"%7B%7Bl{number}%7D%7D", f"{{{{l{number}}}}}").replace(f"%7B%7Bl{number}12%7D%7D", f"{{{{l{number}12}}}}")
        yield q("GET", f"/containers/json?all=1&{text}")
        yield q("GET", f"/containers/json?{text}")
        yield q("GET", f"/containers/json?limit=2&{text}")
    yield q("GET", "/containers/json?before=ls2&all=1")
    yield q("GET", "!/v1.24/containers/json?before=ls2&since=ls0&all=1")
    for version in ("1.24", "1.35", "1.43"):
        yield q("GET", f"!/v{version}/containers/json?all=1")
    yield q("GET", "/info", ignore=[r"^(?!.*\.(Containers|Images|Driver|Memory|Swap|Cpu|CPU|Pids|IPv4|Oom|Logging|Cgroup|Live|Isol|Default|Security|Warn|Http|No|Labels|Exper|Swarm|Index|OSType|Arch|Gener|Product|CDI|Runt))", "DefaultRuntime|Runtimes|InitBinary|CDISpecDirs"])
    yield from gone("ls0", "ls1", "ls2", "ls3", "ls4")
    yield q("DELETE", "/volumes/lsv", quiet=True)


SECTIONS = {f.__name__: f for f in (health, restarts, memory, endings, removals, contradictions, lists)}
