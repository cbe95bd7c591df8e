"""Questions of differ.py on what flows: attaching and commands with all ends, logs in every state, events and statistics while they
happen, archives of every form, and names that must be escaped. Each section as in questions.py."""
import bz2
import gzip
import io
import itertools
import json
import lzma
import tarfile
import urllib.parse

from lives import FOREVER, gone, pause, shell, told
from questions import filters, q
from wide import LOOP, made, story, tar

UP = [("Connection", "Upgrade"), ("Upgrade", "tcp")]
TALK = ["sh", "-c", "echo begin; echo wrong >&2; while read x; do echo got $x; [ \"$x\" = bye ] && exit 3; done; echo end"]
FILES = [("d", None, 0o755, 7), ("d/f", "hello", 0o640, 5)]


def attaching():
    """Every combination of what is attached, to containers of every kind."""
    ends = ["stdin=1", "stdout=1", "stderr=1", "stream=1", "logs=1"]
    for tty, open_ in ((False, True), (False, False), (True, True)):
        for count in range(1, 6):
            for chosen in itertools.combinations(ends, count):
                if "stream=1" not in chosen and "logs=1" not in chosen and count > 1:
                    continue
                yield from made("t1", cmd=TALK, start=False, Tty=tty, OpenStdin=open_, StdinOnce=open_)
                if open_ and {"stdin=1", "stream=1"} < set(chosen) | {""} and not {"stdout=1", "stderr=1"} & set(chosen):
                    # The judge goes on behind the container's end.
                    continue
                reads = "stdin=1" in chosen and "stream=1" in chosen and open_
                yield q("POST", f"/containers/t1/attach?{'&'.join(chosen)}", aside="t", headers=UP if tty else [], frames=True, timeout=4, said=[1, b"hello\n", 0.2, b"bye\n"] if reads else [1])
                yield q("POST", "/containers/t1/start", quiet=True)
                if not reads:
                    yield pause(1.2)
                    yield q("POST", "/containers/t1/kill", quiet=True)
                yield q("", "join", of="t")
    for tty in (False, True):
        # The end of input without a word; two clients; input that comes before the start; one that stays.
        for said in ([0.5, None], [b"one\ntwo\n", 0.5, None], [0.5, b"no newline", None], [0.5, b"bye\n"]):
            for once in (True, False):
                yield from made("t2", cmd=TALK, start=False, Tty=tty, OpenStdin=True, StdinOnce=once)
                yield q("POST", "/containers/t2/attach?stdin=1&stdout=1&stderr=1&stream=1", aside="t", headers=UP, frames=True, timeout=3, said=said)
                yield q("POST", "/containers/t2/start", quiet=True)
                yield q("", "join", of="t")
                yield q("GET", "/containers/t2/json", ignore=["Pid"])
        yield from made("t3", cmd=TALK, Tty=tty, OpenStdin=True)
        yield q("POST", "/containers/t3/attach?stdout=1&stderr=1&stream=1&logs=1", aside="a", headers=UP, frames=True, timeout=4)
        yield q("POST", "/containers/t3/attach?stdin=1&stdout=1&stream=1", aside="b", headers=UP, frames=True, timeout=4, said=[b"hello\n", 0.3, b"bye\n"])
        yield q("", "join", of="a")
        yield q("", "join", of="b")
        # The keys that leave: the default, others, some of them only, none.
        for keys, said in (("", b"\x10\x11"), ("", b"\x10x\x11\n"), ("ctrl-a", b"\x01"), ("ctrl-a,b", b"\x01b"), ("ctrl-a,b", b"\x01c\n"), ("a,b,c", b"xabc"), ("ctrl-@", b"\0"), ("ctrl-[", b"\x1b"), ("ctrl-]", b"\x1d"), ("ctrl-_", b"\x1f"), ("ctrl-%5C", b"\x1c"), ("nope", b""), ("ctrl-", b""), ("ctrl-1", b""), (",", b""), ("A", b"A"), ("ctrl-A", b"\x01")):
            yield from made("t4", cmd=TALK, Tty=tty, OpenStdin=True)
            yield from told(q("POST", "/containers/t4/attach?stdin=1&stdout=1&stderr=1&stream=1" + (f"&detachKeys={keys}" if keys else ""), headers=UP, frames=True, timeout=2, said=[0.2, b"hello\n", 0.2, said]), query="&" + filters({"container": ["t4"], "event": ["attach", "detach"]}))
            yield q("GET", "/containers/t4/json", ignore=["State.Pid"])
        for query in ("stream=1&stdout=1", "logs=1&stdout=1&stderr=1", "stdout=1", "stream=1&logs=1&stdout=1&stderr=1&stdin=1"):
            yield from made("t5", cmd=TALK, OpenStdin=True, Tty=tty)
            yield q("POST", "/containers/t5/pause", quiet=True)
            yield q("POST", f"/containers/t5/attach?{query}", headers=UP, frames=True, timeout=2)
            yield q("GET", f"/containers/t5/attach/ws?{query}")
    yield q("POST", "/containers/nope/attach?stream=1&stdout=1", headers=UP)
    yield from gone("t1", "t2", "t3", "t4", "t5")


def commands():
    """Commands in containers, by every way to start them."""
    yield from made("x1", cmd=FOREVER, Env=["C=1"], User="nobody", WorkingDir="/tmp")
    for ends in itertools.product((False, True), repeat=4):
        body = dict(zip(("AttachStdin", "AttachStdout", "AttachStderr", "Tty"), ends))
        for detach in (False, True):
            for headers in ([], UP):
                yield q("POST", "/containers/x1/exec", json={"Cmd": ["sh", "-c", "echo out; echo err >&2; cat; exit 4"], **body}, save="e")
                yield q("POST", "/exec/{{e}}/start", json={"Detach": detach, "Tty": body["Tty"]}, headers=headers, frames=True, timeout=3, said=None if detach else [0.2, b"hello\n", 0.2, b"\x04", 0.1, None])
                yield pause(0.1)
                yield q("GET", "/exec/{{e}}/json", ignore=["Pid"])
    for tty, asked in ((True, False), (False, True)):
        for detach in (True, False):
            yield q("POST", "/containers/x1/exec", json={"Cmd": ["tty"], "AttachStdout": True, "Tty": tty}, save="e")
            yield q("POST", "/exec/{{e}}/start", json={"Detach": detach, "Tty": asked}, frames=True)
            yield q("GET", "/exec/{{e}}/json", ignore=["Pid"])
    out = {"AttachStdout": True, "AttachStderr": True}
    for body in ({"Cmd": ["nope"]}, {"Cmd": ["/etc/passwd"]}, {"Cmd": ["/etc"]}, {"Cmd": ["/tmp/x"]}, {"Cmd": [""]}, {"Cmd": ["true"], "User": "nope"}, {"Cmd": ["id"], "User": "0"}, {"Cmd": ["id"], "User": "root:wheel"}, {"Cmd": ["id"], "User": "5:6"}, {"Cmd": ["true"], "User": "0:nope"}, {"Cmd": ["pwd"]}, {"Cmd": ["pwd"], "WorkingDir": "/etc"}, {"Cmd": ["pwd"], "WorkingDir": "etc"}, {"Cmd": ["pwd"], "WorkingDir": "/nope"}, {"Cmd": ["pwd"], "WorkingDir": "/etc/passwd"}, {"Cmd": ["sh", "-c", "env | sort | grep -v HOSTNAME"]}, {"Cmd": ["sh", "-c", "env | sort | grep -v HOSTNAME"], "Env": ["C=2", "D=3"]}, {"Cmd": ["sh", "-c", "env | sort | grep -v HOSTNAME"], "Env": ["C"], "User": "root"}, {"Cmd": ["sh", "-c", "env | sort | grep -v HOSTNAME"], "Tty": True}, {"Cmd": ["sh", "-c", "env | sort | grep -v HOSTNAME"], "Env": [""]}, {"Cmd": ["sh", "-c", "env"], "Env": ["=x"]},
                 {"Cmd": ["grep", "CapEff", "/proc/self/status"]}, {"Cmd": ["grep", "CapEff", "/proc/self/status"], "User": "0"}, {"Cmd": ["grep", "-E", "CapEff|Seccomp:|NoNewPrivs", "/proc/self/status"], "Privileged": True, "User": "0"}, {"Cmd": ["sh", "-c", "kill -9 $$"]}, {"Cmd": ["sh", "-c", "kill -TERM $$"]}, {"Cmd": ["sh", "-c", "exit 255"]}, {"Cmd": ["sh", "-c", "sleep 0.5 & exit 0"]}, {"Cmd": ["stty", "size"], "Tty": True, "ConsoleSize": [11, 22]}, {"Cmd": ["stty", "size"], "Tty": True}, {"Cmd": ["sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x"]}, {"Cmd": ["printf", "\\377\\376\\0"]}, {"Cmd": ["sh", "-c", "ulimit -n; umask; cat /proc/self/oom_score_adj"]}):
        yield from told(q("POST", "/containers/x1/exec", json={**out, **body}, save="e"), q("POST", "/exec/{{e}}/start", json={"Tty": body.get("Tty", False)}, frames=True), q("GET", "/exec/{{e}}/json"), query="&" + filters({"container": ["x1"]}))
    yield q("POST", "/containers/x1/exec", json={"Cmd": ["sleep", "2"]}, save="e")
    yield q("GET", "/exec/{{e}}/json")
    yield q("GET", "/containers/x1/json")
    yield q("POST", "/exec/{{e}}/start", json={"Detach": True})
    yield pause(0.2)
    yield q("GET", "/exec/{{e}}/json")
    yield q("GET", "/containers/x1/json")
    yield q("POST", "/exec/{{e}}/start", json={"Detach": True})
    yield q("POST", "/exec/{{e}}/resize?h=3&w=3")
    yield q("GET", "/containers/x1/top?ps_args=-o+args")
    yield pause(2.2)
    yield q("GET", "/exec/{{e}}/json")
    yield q("GET", "/containers/x1/json")
    yield q("POST", "/exec/{{e}}/start", json={"Detach": True})
    yield q("POST", "/exec/{{e}}/resize?h=3&w=3")
    for name in ("{{e12}}", "{{e}}0", "{{e}}/", "%20{{e}}"):
        yield q("GET", f"/exec/{name}/json")
    # The keys that leave a command, and what goes on behind it.
    for tty in (True, False):
        for keys in (None, "ctrl-a,b", "nope"):
            yield q("POST", "/containers/x1/exec", json={**out, "AttachStdin": True, "Cmd": ["sh", "-c", "cat; sleep 1"], "Tty": tty, **({"DetachKeys": keys} if keys else {})}, save="e")
            yield from told(q("POST", "/exec/{{e}}/start", json={"Tty": tty}, headers=UP, frames=True, timeout=2, said=[0.2, b"\x10\x11" if keys is None else b"\x01b"]), q("GET", "/exec/{{e}}/json"), query="&" + filters({"container": ["x1"]}), ignore=["exec_die"])
    # A command whose container goes, and one that no longer fits.
    yield q("POST", "/containers/x1/exec", json={**out, "Cmd": ["sleep", "1000"]}, save="e")
    yield q("POST", "/exec/{{e}}/start", json={}, aside="t", frames=True, timeout=8)
    yield from told(q("POST", "/containers/x1/kill"), pause(0.5), query="&" + filters({"container": ["x1"]}))
    yield q("", "join", of="t")
    yield q("GET", "/exec/{{e}}/json")
    yield q("POST", "/containers/x1/exec", json={"Cmd": ["true"]}, save="e2")
    yield q("POST", "/containers/x1/start", quiet=True)
    yield q("GET", "/exec/{{e}}/json")
    yield q("POST", "/exec/{{e}}/start", json={})
    yield q("POST", "/containers/x1/pause")
    yield q("POST", "/containers/x1/exec", json={"Cmd": ["true"]}, save="e2")
    yield q("POST", "/containers/x1/unpause")
    for version in ("1.24", "1.35", "1.42", "1.45"):
        for raw in (b"", b"null", b"{}", b'{"Detach":true}', b'{"Detach":"x"}', b'{"Tty":1}', b'{"ConsoleSize":[1]}', b'{"ConsoleSize":[5,6]}', b'{"Tty":true,"ConsoleSize":[5,6]}', b'{"Tty":true,"ConsoleSize":[-1,6]}'):
            yield q("POST", f"!/v{version}/containers/x1/exec", json={**out, "Cmd": ["sh", "-c", "stty size; tty"], "Tty": b"Tty" in raw}, save="e")
            yield q("POST", f"!/v{version}/exec/{{{{e}}}}/start", raw=raw, headers=[("Content-Type", "application/json")], frames=True, timeout=4)
    yield from gone("x1")


def logging():
    """Logs of every state, kind and time."""
    lines = ["sh", "-c", "for i in 1 2 3; do echo out $i; echo err $i >&2; sleep 0.4; done; printf last"]
    for kind in ("json-file", "local"):
        for tty in (False, True):
            config = {"Type": kind, "Config": {"labels": "a,nope", "env": "E", "tag": "t/{{.ImageName}}"} if kind == "json-file" else {}}
            yield from made("g1", cmd=lines, start=False, Tty=tty, Labels={"a": "b", "c": "d"}, Env=["E=f,=%"], HostConfig={"LogConfig": config})
            for query in ("stdout=1", "stdout=1&follow=1"):
                yield q("GET", f"/containers/g1/logs?{query}", frames=True, timeout=3)
            yield q("POST", "/containers/g1/start", quiet=True)
            yield q("GET", "/containers/g1/logs?stdout=1&stderr=1&follow=1", aside="a", frames=True, timeout=8)
            yield q("GET", "/containers/g1/logs?stderr=1&follow=1&tail=0", aside="b", frames=True, timeout=8)
            yield q("GET", "/containers/g1/logs?stdout=1&follow=1&until={{soon}}", aside="c", frames=True, timeout=8)
            for aside in "abc":
                yield q("", "join", of=aside)
            for query in ("stdout=1&stderr=1", "stdout=1&stderr=1&tail=3", "stdout=1&tail=1", "stderr=1&tail=1", "stdout=1&stderr=1&timestamps=1", "stdout=1&details=1", "stdout=1&details=1&timestamps=1", "stdout=1&follow=1&tail=2", "stdout=1&since={{start}}", "stdout=1&since={{now}}", "stdout=1&until={{start}}", "stdout=1&until={{now}}&tail=2", "stdout=1&since=1.000000001&until={{now}}"):
                yield q("GET", f"/containers/g1/logs?{query}", frames=True)
            yield q("POST", "/containers/g1/start", quiet=True)
            yield q("POST", "/containers/g1/wait", quiet=True)
            yield q("GET", "/containers/g1/logs?stdout=1&stderr=1", frames=True)
            yield q("GET", "/containers/g1/logs?stdout=1&tail=4", frames=True)
    for text in ("printf '\\377\\376\\n'", "printf 'a\\0b\\n'", "printf '\\033[31mred\\033[0m\\r\\n'", "printf '\\n\\n\\n'", "printf ''", "printf 'a\\rb\\n'", "printf '\"\\\\<&>\\342\\200\\250\\n'", "printf '\\303'; sleep 0.2; printf '\\251\\n'", "head -c 16383 /dev/zero | tr '\\0' x; echo y", "head -c 16384 /dev/zero | tr '\\0' x; echo", "head -c 16385 /dev/zero | tr '\\0' x; echo", "head -c 40000 /dev/zero | tr '\\0' x; echo y; echo z", "printf a; sleep 0.3; printf b; sleep 0.3; echo c"):
        for kind in ("json-file", "local"):
            yield from made("g2", cmd=["sh", "-c", text], HostConfig={"LogConfig": {"Type": kind}})
            yield q("POST", "/containers/g2/wait", quiet=True)
            for query in ("stdout=1", "stdout=1&tail=1", "stdout=1&tail=2", "stdout=1&timestamps=1", "stdout=1&follow=1"):
                yield q("GET", f"/containers/g2/logs?{query}", frames=True)
    for config in ({"max-size": "2k", "max-file": "1"}, {"max-size": "2k", "max-file": "3"}, {"max-size": "2k", "max-file": "3", "compress": "true"}):
        for kind in ("json-file", "local"):
            if kind == "local" and config["max-file"] == "1":
                config = {**config, "compress": "false"}
            yield from made("g3", cmd=["sh", "-c", "for i in $(seq 1 300); do echo line $i; done"], HostConfig={"LogConfig": {"Type": kind, "Config": config}})
            yield q("POST", "/containers/g3/wait", quiet=True)
            # Where a file ends depends on how many zeros its times end with.
            for query in ("stdout=1&tail=5", "stdout=1&tail=12&follow=1"):
                yield q("GET", f"/containers/g3/logs?{query}", frames=True)
    # Streams that follow: across a restart, a removal, a pause.
    yield from made("g4", cmd=["sh", "-c", "echo started; exec sleep 1000"])
    yield q("GET", "/containers/g4/logs?stdout=1&follow=1", aside="a", frames=True, timeout=4)
    yield q("POST", "/containers/g4/restart?t=0")
    yield pause(1)
    yield q("", "join", of="a")
    yield q("GET", "/containers/g4/logs?stdout=1&follow=1", aside="a", frames=True, timeout=4)
    yield q("POST", "/containers/g4/pause", quiet=True)
    yield q("GET", "/containers/g4/logs?stdout=1", frames=True)
    yield q("DELETE", "/containers/g4?force=1")
    yield q("", "join", of="a")
    yield from made("g5", HostConfig={"LogConfig": {"Type": "none"}})
    for query in ("stdout=1", "", "stdout=1&follow=1"):
        yield q("GET", f"/containers/g5/logs?{query}", timeout=3)
    # The judge forgets to answer one that attaches to its log.
    yield q("POST", "/containers/g5/attach?stream=1&stdout=1", timeout=3, frames=True)
    yield from gone("g1", "g2", "g3", "g4", "g5")


def watching():
    """Events and statistics while they happen."""
    live = lambda query, key, **want: q("GET", f"/events?{query}", aside=key, events=True, timeout=6, **want)
    yield live("since={{start}}&until={{soon}}", "a")
    yield live("since={{start}}&until={{soon}}&" + filters({"type": ["container"]}), "b")
    yield live("since={{start}}&until={{soon}}&" + filters({"event": ["create", "start", "die"]}), "c")
    yield live("since={{start}}&until={{soon}}&" + filters({"type": ["volume", "network"]}), "d")
    yield from made("v1", cmd=["sh", "-c", "exit 2"], HostConfig={"Binds": ["vv:/v"]})
    yield pause(2)
    for key in "abcd":
        yield q("", "join", of=key)
    yield from gone("v1")
    yield q("DELETE", "/volumes/vv", quiet=True)
    for query in ("since=1&until=1", "until=-1", "since=5&until=0", "since=&until=1", "until=1&since=1&since=2"):
        yield q("GET", f"/events?{query}", timeout=4)
    for query in ("until=0", "since=0&until=0", "since=0&until={{now}}", "since=0"):
        yield q("GET", f"/events?{query}&" + filters({"event": ["destroy"], "container": ["v1"]}), events=True, live=True, timeout=3)
    # Streams of statistics: of one that runs, is paused, has ended, and of one that goes.
    for host in ({}, {"NetworkMode": "none"}, {"NetworkMode": "host"}, {"Memory": 67108864, "PidsLimit": 50, "CpuQuota": 50000}):
        yield from made("v2", HostConfig=host)
        yield q("GET", "/containers/v2/stats?stream=0", stats=True)
        yield q("GET", "/containers/v2/stats?stream=false&one-shot=true", stats=True)
        yield q("GET", "!/v1.40/containers/v2/stats?stream=0&one-shot=1", stats=True)
    yield q("POST", "/containers/v2/pause", quiet=True)
    yield q("GET", "/containers/v2/stats?stream=0", stats=True)
    yield q("POST", "/containers/v2/kill", quiet=True)
    yield q("POST", "/containers/v2/wait", quiet=True)
    for query in ("stream=0", "stream=0&one-shot=1", "stream=1&one-shot=1", "one-shot=1"):
        yield q("GET", f"/containers/v2/stats?{query}", timeout=3, live=True)
    yield q("GET", "/containers/v2/stats?stream=1", timeout=3, body=False, ignore_headers=["content-type"])
    yield q("POST", "/containers/v2/start", quiet=True)
    yield q("GET", "/containers/v2/stats", aside="a", timeout=8, body=False)
    yield pause(1.5)
    yield q("DELETE", "/containers/v2?force=1")
    yield q("", "join", of="a")
    yield from made("v3", Tty=True, cmd=["sh", "-c", "stty size; while :; do sleep 0.1; done"], HostConfig={"ConsoleSize": [30, 90]})
    yield pause(0.3)
    yield q("GET", "/containers/v3/logs?stdout=1")
    for size in ("h=20&w=40", "h=0&w=0", "h=65535&w=65535", "w=5&h=5&h=7"):
        yield from told(q("POST", f"/containers/v3/resize?{size}"), query="&" + filters({"container": ["v3"]}))
        yield from shell("v3", "stty size < /proc/1/fd/0")
    yield q("POST", "/containers/v3/exec", json={"Cmd": ["sh", "-c", "sleep 0.7; stty size"], "Tty": True, "AttachStdout": True}, save="e")
    yield q("POST", "/exec/{{e}}/start", json={"Tty": True}, aside="a", timeout=5)
    for size in ("h=20&w=40", "h=x&w=1", "w=1", ""):
        yield q("POST", f"/exec/{{{{e}}}}/resize?{size}")
    yield q("", "join", of="a")
    yield from gone("v3")


def packed(make, *members):
    return make(tar(*members))


def special(*infos):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in infos:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor, info.mode = kind, link, 1, 3, 0o644
            archive.addfile(info)
    return out.getvalue()


def packing():
    """Archives in other clothes, and what they do to what is there."""
    yield from made("p1", HostConfig={"Binds": ["pv:/vol"], "Tmpfs": {"/tm": ""}})
    put = lambda query, raw, **want: q("PUT", f"/containers/p1/archive?{query}", raw=raw, headers=[("Content-Type", "application/x-tar")], **want)
    for raw in (packed(gzip.compress, *FILES), packed(bz2.compress, *FILES), packed(lzma.compress, *FILES), packed(gzip.compress, *FILES)[:60], tar(*FILES) + b"x" * 1000, tar(*FILES) * 2, b"\0" * 512, b"\0" * 100, gzip.compress(b""), gzip.compress(b"x")):
        yield from shell("p1", "rm -rf /tmp/*")
        yield put("path=/tmp", raw)
        yield from shell("p1", "find /tmp -exec stat -c '%n %a %u:%g %F %s' {} + | sort")
    for infos in ([("fifo", tarfile.FIFOTYPE, "")], [("null", tarfile.CHRTYPE, "")], [("blk", tarfile.BLKTYPE, "")], [("a", tarfile.REGTYPE, ""), ("b", tarfile.LNKTYPE, "a")], [("b", tarfile.LNKTYPE, "nope")], [("b", tarfile.LNKTYPE, "/etc/passwd")], [("b", tarfile.LNKTYPE, "../etc/passwd")], [("l", tarfile.SYMTYPE, "/etc")], [("l", tarfile.SYMTYPE, "/etc"), ("l/escaped", tarfile.REGTYPE, "")], [("x/y/z", tarfile.REGTYPE, "")], [("./", tarfile.DIRTYPE, "")], [(".", tarfile.DIRTYPE, "")], [("", tarfile.DIRTYPE, "")], [(".wh.gone", tarfile.REGTYPE, "")], [("odd", b"Z", "")]):
        yield from shell("p1", "rm -rf /tmp/* /tmp/.wh*; touch /tmp/gone")
        yield put("path=/tmp", special(*infos))
        yield from shell("p1", "find /tmp -exec stat -c '%n %a %u:%g %F %s %h' {} + | sort; ls /etc/escaped")
        yield q("GET", "/containers/p1/archive?path=/tmp", tar=True)
    for flag, again in itertools.product(("", "&noOverwriteDirNonDir=1", "&copyUIDGID=1", "&noOverwriteDirNonDir=true&copyUIDGID=true"), ([("d", "a file now")], [("d/f", None)], [("d", ("->", "/etc"))], FILES, [("d/f", ("->", "x"))])):
        yield from shell("p1", "rm -rf /tmp/*")
        yield put("path=/tmp", tar(*FILES))
        yield put(f"path=/tmp{flag}", tar(*again))
        yield from shell("p1", "find /tmp -exec stat -c '%n %a %u:%g %F %s' {} + | sort")
    for path in ("/vol", "/tm", "/vol/new", "/dev", "/dev/shm", "/proc/sys", "/etc/hosts", "/etc/resolv.conf", "/etc", "/root/../tmp/.", "//tmp//", "/tmp/%2e%2e/tmp", "/tmp%0A", "%20/tmp", "/tmp/d/f/..", "tmp"):
        yield put(f"path={path}", tar(("n", "1")))
        yield q("HEAD", f"/containers/p1/archive?path={path}", stat=True, ignore_headers=["x-docker-container-path-stat"])
        yield q("GET", f"/containers/p1/archive?path={path}/n", tar=True)
    yield q("GET", "/containers/p1/changes", any_order="Path")
    yield from shell("p1", "mkfifo /root/fifo; ln /etc/passwd /root/hard; chmod 4755 /root/hard; mkdir -m 1777 /root/sticky; rm /etc/group; touch -d '2001-02-03 04:05:06' /root/old; mkdir /root/'a b' /root/é")
    yield q("GET", "/containers/p1/changes", any_order="Path")
    for path in ("/root", "/root/", "/root/.", "/root/fifo", "/root/hard", "/root/sticky", "/root/a%20b", "/root/a+b", "/root/%C3%A9", "/root/old", "/etc/group"):
        yield q("GET", f"/containers/p1/archive?path={path}", tar=True, stat=True, ignore_headers=["x-docker-container-path-stat"])
        yield q("HEAD", f"/containers/p1/archive?path={path}", stat=True, ignore_headers=["x-docker-container-path-stat"])
    yield put("path=/tmp&path=/root", tar(("twice", "x")))
    yield q("PUT", "/containers/p1/archive?path=/tmp", raw=tar(("n", "1")), headers=[("Content-Type", "application/json")])
    yield q("PUT", "/containers/p1/archive?path=/tmp", raw=b"800\r\n" + tar(("n", "1"))[:2048] + b"\r\n0\r\n\r\n", headers=[("Transfer-Encoding", "chunked"), ("Content-Type", "application/x-tar")])
    yield q("POST", "/containers/p1/stop?t=0", quiet=True)
    yield q("GET", "/containers/p1/export", tar=True, ignore=[r"tar\.(?!root|etc/hosts|tmp)"])
    yield from gone("p1")
    yield q("DELETE", "/volumes/pv", quiet=True)


def escaping():
    """Slashes, dots, percents and versions in the address."""
    yield from made("esc", start=False)
    yield q("POST", "/volumes/create", json={"Name": "esc.v"}, quiet=True)
    for path in ("//containers/json", "/containers//json", "/containers/./json", "/containers/../containers/json", "/./_ping", "/../_ping", "/containers/json%2F", "/containers/%65sc/json", "/containers/esc%00/json", "/containers/esc/json?", "/containers/esc/json?&", "/containers/esc/json?size", "/containers/esc/json?=1", "/containers/esc/json?size=1&size=0", "/containers/esc/json?SIZE=1", "/containers/esc/json/", "/containers/esc//json", "/containers/esc;x/json", "/containers/esc%3Fx/json", "/containers/esc%23/json", "/containers/%2Fesc/json", "/containers/%2F%2Fesc/json", "/containers//esc/json",
                 "/volumes/esc%2Ev", "/volumes/./esc.v", "/volumes/esc.v/", "/volumes/%2E%2E", "/images/busybox%3Alatest/json", "/images/%62usybox/json", "/images/library%2Fbusybox/json", "/images/docker.io/library/busybox:latest/json", "/images/docker.io%2Flibrary%2Fbusybox/history", "/networks/%62ridge", "/networks/bridge%20", "/images//busybox/json", "/images/busybox//json", "/images/busybox/json/json"):
        for method in ("GET", "HEAD", "POST", "DELETE"):
            if method == "DELETE" and ("esc.v" in path or "esc%2Ev" in path):
                continue
            yield q(method, path, ignore=[r"IPAM", "Containers"])
        yield q("GET", f"!{path}", body=False, ignore=["200 OK -> 200"])
    for version in ("v1.45", "V1.45", "1.45", "v01.45", "v1.45.0", "v1.450", "v1", "v1.", "v.45", "v-1.45", "v1.45x", "v1.45%20", "v1.45//", "v1.45/v1.45"):
        for path in ("_ping", "containers/json", "version"):
            yield q("GET", f"!/{version}/{path}", body=path != "version", ignore=["Maximum|Minimum"])
    yield from gone("esc")
    yield q("DELETE", "/volumes/esc.v", quiet=True)


SECTIONS = {f.__name__: f for f in (attaching, commands, logging, watching, packing, escaping)}
