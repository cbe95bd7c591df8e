"""More questions of differ.py: what happens over several requests. Each section as in questions.py."""
import io
import json
import tarfile
import urllib.parse

from questions import filters, q

BOOLS = ("0", "1", "true", "True", "TRUE", "t", "false", "False", "F", "", "no", "none", "yes", "2", "on", "off", "null")


def tar(*members):
    """An archive of (name, content or None for a folder or ('->', target), mode, uid)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content, *rest in members:
            info = tarfile.TarInfo(name)
            info.mode = rest[0] if rest else 0o644
            info.uid = info.gid = rest[1] if len(rest) > 1 else 0
            if content is None:
                info.type, data = tarfile.DIRTYPE, b""
            elif isinstance(content, tuple):
                info.type, info.linkname, data = tarfile.SYMTYPE, content[1], b""
            else:
                data = content.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


LOOP = ["sh", "-c", "trap 'exit 0' TERM; echo out; echo err >&2; while :; do sleep 0.1; done"]


def made(name, cmd=LOOP, start=True, **more):
    yield q("DELETE", f"/containers/{name}?force=1&v=1", quiet=True)
    yield q("POST", f"/containers/create?name={name}", json={"Image": "busybox", "Cmd": cmd, "Hostname": "h", **more}, quiet=True, save=name)
    if start:
        yield q("POST", f"/containers/{name}/start", quiet=True)


def forms():
    """Every way to say yes and no."""
    yield from made("ff")
    for b in BOOLS:
        e = urllib.parse.quote(b)
        yield q("GET", f"/containers/json?all={e}")
        yield q("GET", f"/containers/json?size={e}")
        yield q("GET", f"/containers/ff/json?size={e}")
        yield q("GET", f"/containers/ff/logs?stdout={e}&stderr=1", body=False)
        yield q("GET", f"/containers/ff/logs?stdout=1&timestamps={e}", body=False)
        yield q("GET", f"/containers/ff/logs?stdout=1&details={e}")
        yield q("GET", f"/containers/ff/stats?stream={e}&one-shot=1" if b.lower() not in ("1", "true", "t", "yes", "2", "on", "off") else f"/containers/ff/stats?stream=0&one-shot={e}", body=False)
        yield q("GET", f"/images/json?all={e}&digests={e}&shared-size={e}")
        yield q("DELETE", f"/containers/nope?force={e}&v={e}&link={e}")
        yield q("DELETE", f"/containers/ff?link={e}") if b not in ("1",) else q("GET", "/_ping")
        yield q("DELETE", f"/images/nope?force={e}&noprune={e}")
        yield q("DELETE", f"/volumes/nope?force={e}")
        yield q("GET", f"/networks/bridge?verbose={e}", ignore=[r"Containers"])
        yield q("GET", "/volumes?" + filters({"dangling": [b]}), ignore=["Volumes"])
        yield q("GET", "/images/json?" + filters({"dangling": {b: True}}))
        yield q("GET", "/networks?" + filters({"dangling": {b: True}}), ignore=[r"\$\[\d+\]|\$: \d"])
        yield q("GET", "/containers/json?" + filters({"is-task": {b: True}}))
        yield q("GET", f"/containers/ff/archive?path=/etc/hostname&x={e}", body=False)
        yield q("PUT", f"/containers/ff/archive?path=/tmp&noOverwriteDirNonDir={e}&copyUIDGID={e}", raw=tar(("x", "y")))
        yield q("POST", f"/build/prune?all={e}")
        yield q("POST", f"/commit?container=nope&pause={e}")
        yield q("GET", f"/system/df?verbose={e}&type=build-cache")
    for value in ('{"status":{"running":true}}', '{"status":{"running":false}}', '{"status":["running","exited"]}', '{"name":{"ff":true}}', '{"name":["^/ff$"]}', '{"name":["^ff$"]}', '{"name":["/ff"]}', '{"id":["{{ff}}"]}', '{"label":{"a":true,"b":true}}', '{"ancestor":["busybox"]}', '{"ancestor":["busybox:latest"]}', '{"ancestor":["docker.io/library/busybox"]}', '{"network":["bridge"]}', '{"network":["none"]}', '{"volume":["/x"]}', '{"publish":["80"]}', '{"expose":["80/tcp"]}', '{"health":["none"]}', '{"health":["healthy"]}', '{"exited":["0"]}', '{"before":["ff"]}', '{"since":["ff"]}', '{"before":["{{ff}}"]}', '{"status":["running"],"name":["nope"]}', '{"name":["ff","nope"]}', '{"status":["removing"]}', '{"status":["dead"]}', '{"status":["restarting"]}', '{"isolation":["default"]}'):
        yield q("GET", "/containers/json?all=1&" + filters(value).replace("%7B%7Bff%7D%7D", "{{ff}}"))
    for query in ("limit=1", "limit=1&all=1", "limit=99999999999999999999", "limit=1&" + filters({"status": ["running"]}), "all=1&limit=0", "limit=-5", "last=1", "n=1"):
        yield q("GET", "/containers/json?" + query)
    yield q("DELETE", "/containers/ff?force=1", quiet=True)


def names():
    """Ids by their beginnings, names with slashes, names that look like ids."""
    yield from made("n1", start=False)
    yield q("POST", "/containers/create?name=abc", json={"Image": "busybox"}, quiet=True)
    yield q("POST", "/containers/create?name=abcdef123456", json={"Image": "busybox"}, quiet=True)
    for name in ("{{n1}}", "/n1", "%2Fn1", "n1/", "N1", "n", "n1%20", "%20n1", "n1%00", "ab", "abcdef12345", "abcdef123456", "..", ".", "%2e%2e", "a" * 300, "*", "?", "%", "%25", "n1%2Fjson", "é", "%C3%A9", "{{n1}}0", ":", "sha256:{{n1}}"):
        for path in ("json", "logs?stdout=1", "top", "changes"):
            yield q("GET", f"/containers/{name}/{path}")
        yield q("POST", f"/containers/{name}/stop")
        yield q("POST", f"/containers/{name}/rename?name=n1")
    for name in ("busybox", "busybox:latest", "docker.io/busybox", "docker.io/library/busybox:latest", "library/busybox", "index.docker.io/library/busybox", "Busybox", "/busybox", "busybox/", "busybox%3Alatest", "busybox%40sha256:00", "..", "sha256", "sha256:", "http://x", "busybox@", "busybox:latest@", "a" * 300, "x" * 128 + ":y", "x:" + "y" * 129, "-x", "x-", "x--y", "x__y", "x___y", "x..y", "x.y/z", "localhost/x", "1.2.3.4:5/x", "X.y/z", "[::1]:5000/x", "a//b"):
        yield q("GET", f"/images/{name}/json")
        yield q("GET", f"/images/{name}/history")
        yield q("POST", "/containers/create?name=nm", json={"Image": urllib.parse.unquote(name)}, ignore=["Id"])
        yield q("DELETE", "/containers/nm", quiet=True)
        yield q("POST", f"/images/busybox/tag?repo={urllib.parse.quote(name)}")
        yield q("DELETE", f"/images/{name}") if "busybox" not in name.lower() else q("GET", "/_ping")
    yield q("GET", "/images/json")
    for name in ("n1", "abc", "abcdef123456"):
        yield q("DELETE", f"/containers/{name}", quiet=True)
    yield q("POST", "/networks/create", json={"Name": "net1"}, save="net", quiet=True)
    yield q("POST", "/networks/create", json={"Name": "net2"}, save="net2", quiet=True)
    for name in ("{{net}}", "net1", "net", "NET1", "/net1", "net1/", "%20net1", "é", "a" * 300, "..", "%2e"):
        yield q("GET", f"/networks/{name}", ignore=[r"IPAM.Config\[0\]\.(Subnet|Gateway): '1"])
        yield q("POST", f"/networks/{name}/connect", json={"Container": "nope"})
        yield q("POST", f"/networks/{name}/disconnect", json={"Container": "nope"})
    for name in ("é", "a" * 300, "..", "%2e", "%20", "x%2Fy"):
        yield q("GET", f"/volumes/{name}")
        yield q("DELETE", f"/volumes/{name}")
        yield q("DELETE", f"/networks/{name}")
    yield q("DELETE", "/networks/{{net}}")
    yield q("DELETE", "/networks/net2")


def story(query="", ignore=(), version=None):
    """What has been told since the section's begin."""
    v = f"!/v{version}" if version else ""
    return q("GET", f"{v}/events?since={{{{start}}}}&until={{{{now}}}}{query}", events=True, ignore=list(ignore))


def events():
    """What each operation tells."""
    def told(*what):
        yield q("", "mark")
        yield from what
        yield q("", "settle")
        yield story()

    yield from told(*made("e1", start=False))
    yield from told(q("POST", "/containers/e1/start"), q("POST", "/containers/e1/stop"))
    yield from told(q("POST", "/containers/e1/start"), q("POST", "/containers/e1/kill"), q("POST", "/containers/e1/wait", ignore=["x"]))
    yield from told(q("POST", "/containers/e1/start"), q("POST", "/containers/e1/restart?t=1"))
    yield from told(q("POST", "/containers/e1/pause"), q("POST", "/containers/e1/unpause"))
    yield from told(q("POST", "/containers/e1/pause"), q("POST", "/containers/e1/stop?t=1"))
    yield from told(q("POST", "/containers/e1/start"), q("POST", "/containers/e1/kill?signal=USR1"), q("POST", "/containers/e1/wait"))
    yield from told(q("POST", "/containers/e1/start"), q("POST", "/containers/e1/rename?name=e2"), q("POST", "/containers/e2/rename?name=e1"))
    yield from told(q("POST", "/containers/e1/update", json={"Memory": 104857600, "MemorySwap": -1}))
    yield from told(q("POST", "/containers/e1/resize?h=10&w=20"))
    yield from told(q("GET", "/containers/e1/top", body=False), q("GET", "/containers/e1/logs?stdout=1", body=False), q("GET", "/containers/e1/json", quiet=True), q("GET", "/containers/e1/stats?stream=0&one-shot=1", quiet=True), q("GET", "/containers/e1/changes", quiet=True))
    yield from told(q("GET", "/containers/e1/archive?path=/etc/passwd", quiet=True), q("HEAD", "/containers/e1/archive?path=/etc/passwd", quiet=True), q("PUT", "/containers/e1/archive?path=/tmp", raw=tar(("a", "b"))), q("GET", "/containers/e1/export", quiet=True))
    for detach in (True, False):
        yield from told(q("POST", "/containers/e1/exec", json={"Cmd": ["sh", "-c", "exit 3"], "AttachStdout": True}, save="x"), q("POST", "/exec/{{x}}/start", json={"Detach": detach}))
    yield from told(q("POST", "/containers/e1/exec", json={"Cmd": ["nope"], "AttachStdout": True}, save="x"), q("POST", "/exec/{{x}}/start", json={}))
    yield from told(q("POST", "/containers/e1/exec", json={"Cmd": ["sleep", "1"], "Tty": True}, save="x"), q("POST", "/exec/{{x}}/start", json={"Detach": True, "Tty": True}), q("POST", "/exec/{{x}}/resize?h=3&w=4"), q("POST", "/containers/e1/wait", timeout=2, quiet=True))
    yield from told(q("POST", "/commit?container=e1&repo=ev&tag=1&comment=c&author=a", body=False), q("POST", "/images/ev:1/tag?repo=ev&tag=2"), q("DELETE", "/images/ev:1"), q("DELETE", "/images/ev:2", body=False))
    yield from told(q("POST", "/images/create?fromSrc=-&repo=evi&tag=t", raw=tar(("a", "b")), body=False), q("GET", "/images/evi:t/get", quiet=True), q("DELETE", "/images/evi:t", body=False))
    yield from told(q("POST", "/networks/create", json={"Name": "evweb", "Labels": {"k": "v"}}), q("POST", "/networks/evweb/connect", json={"Container": "e1"}), q("POST", "/networks/evweb/disconnect", json={"Container": "e1"}), q("DELETE", "/networks/evweb"))
    yield from told(q("POST", "/volumes/create", json={"Name": "evv", "Labels": {"k": "v"}}), q("POST", "/volumes/create", json={"Name": "evv"}), q("GET", "/volumes/evv", quiet=True), q("DELETE", "/volumes/evv"))
    yield from told(*made("e3", HostConfig={"Binds": ["evb:/b", "/tmp:/t"], "Tmpfs": {"/q": ""}}, Volumes={"/anon": {}}, Labels={"a": "b", "image": "l"}), q("DELETE", "/containers/e3?force=1&v=1"), q("DELETE", "/volumes/evb"))
    yield from told(*made("e3", cmd=["sh", "-c", "exit 7"], HostConfig={"AutoRemove": True}), q("POST", "/containers/e3/wait?condition=removed", quiet=True))
    yield from told(*made("e3", cmd=["nope"], start=False), q("POST", "/containers/e3/start"), q("DELETE", "/containers/e3"))
    yield from told(*made("e3", cmd=["sh", "-c", "exit 7"], HostConfig={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}), q("POST", "/containers/e3/wait", quiet=True), q("DELETE", "/containers/e3?force=1"))
    yield from told(*made("e3", HostConfig={"NetworkMode": "none"}), q("DELETE", "/containers/e3?force=1"))
    yield from told(*made("e3", HostConfig={"NetworkMode": "host"}), q("DELETE", "/containers/e3?force=1"))
    yield from told(*made("e3", HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8099"}]}}, ExposedPorts={"80/tcp": {}}), q("DELETE", "/containers/e3?force=1"))
    yield from told(*made("e3", cmd=["sh", "-c", "sleep 3"], Healthcheck={"Test": ["CMD", "true"], "Interval": 1000000000}), q("POST", "/containers/e3/wait", quiet=True), q("DELETE", "/containers/e3?force=1"))
    yield from told(q("POST", "/containers/prune", quiet=True), q("POST", "/volumes/prune", quiet=True), q("POST", "/networks/prune", quiet=True), q("POST", "/images/prune", quiet=True), q("POST", "/build/prune", quiet=True))
    yield from told(q("POST", "/containers/e1/kill"), q("POST", "/containers/e1/wait"), q("POST", "/containers/prune", quiet=True))
    yield q("", "whole")
    for f in ({"container": ["e"]}, {"container": ["e1"]}, {"volume": ["ev"]}, {"network": ["ev"]}, {"network": ["bri"]}, {"image": ["busy"]}, {"image": ["e"]}, {"plugin": ["x"]}, {"type": ["container"]}, {"type": ["image"]}, {"type": ["volume"]}, {"type": ["network"]}, {"event": ["die", "start"]}, {"event": ["exec_create"]}, {"event": ["exec_create: sh"]}, {"event": ["exec_start"]}, {"event": ["health_status"]}, {"event": ["health_status: healthy"]}, {"container": ["e3"]}, {"container": ["e1"], "event": ["create"]}, {"image": ["busybox"], "event": ["create"]}, {"image": ["busybox:latest"], "event": ["create"]}, {"image": ["ev"]}, {"image": ["ev:1"]}, {"label": ["a=b"]}, {"label": ["a"]}, {"label": ["k=v"]}, {"volume": ["evv"]}, {"network": ["evweb"]}, {"network": ["bridge"], "event": ["connect"]}, {"scope": ["local"], "event": ["destroy"]}, {"scope": ["swarm"]}, {"daemon": ["x"]}, {"type": ["container", "network"], "event": ["connect", "create"]}, {"type": {"container": True}, "event": {"destroy": True}}, {"type": ["builder"]}, {"event": ["prune"]}, {"container": ["e3"], "label": ["a"], "event": ["start"]}):
        yield story("&" + filters(f))
    for v in ("1.24", "1.40", "1.44"):
        yield story("&" + filters({"event": ["create", "prune", "destroy"]}), version=v)


def logs():
    """Everything that logs can be asked."""
    for name, tty in (("l1", False), ("l2", True)):
        yield from made(name, cmd=["sh", "-c", "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; printf 'no newline'"], Tty=tty)
        yield q("POST", f"/containers/{name}/wait")
        for query in ("stdout=1", "stderr=1", "stdout=1&stderr=0", "stdout=1&tail=2", "stderr=1&tail=0", "stdout=1&tail=all", "stdout=1&tail=", "stdout=1&tail=-1", "stdout=1&tail=x", "stdout=1&tail=100", "stdout=1&since=0", "stdout=1&since=9999999999", "stdout=1&until=1", "stdout=1&until=9999999999&tail=1", "stdout=1&since=-1", "stdout=1&since=1.5", "stdout=1&since=1.x", "stdout=1&since=2020-01-01", "stdout=1&until=0", "stdout=1&follow=1", "stdout=1&follow=1&tail=1", "stdout=1&follow=1&since=9999999999", "follow=1", "", "stdout=1&details=1", "stdout=1&until=x&follow=1", "stdout=1&since=1&until=2", "stdout=1&timestamps=1&tail=1", "timestamps=1"):
            yield q("GET", f"/containers/{name}/logs?{query}")
            yield q("GET", f"!/v1.41/containers/{name}/logs?{query}")
        yield q("POST", f"/containers/{name}/attach?logs=1&stdout=1&stderr=1")
        yield q("POST", f"/containers/{name}/attach?logs=1&stdout=1&stderr=1&stream=1")
        yield q("DELETE", f"/containers/{name}", quiet=True)
    for kind in ("none", "local", "json-file", "syslog"):
        yield from made("l3", cmd=["sh", "-c", "echo a; echo b >&2"], HostConfig={"LogConfig": {"Type": kind, "Config": {"labels": "x"} if kind == "json-file" else {}}}, Labels={"x": "y"})
        yield q("POST", "/containers/l3/wait", quiet=True)
        yield q("GET", "/containers/l3/logs?stdout=1")
        yield q("GET", "/containers/l3/logs?stdout=1&details=1")
        yield q("GET", "/containers/l3/json", ignore=["StartedAt"])
        yield q("DELETE", "/containers/l3", quiet=True)


def archives():
    """Files in and out."""
    yield from made("aa")
    yield from made("as", start=False)
    everything = tar(("d", None, 0o755), ("d/f", "hello", 0o640, 5), ("d/l", ("->", "f")), ("abs", ("->", "/etc/passwd")), ("dangling", ("->", "/nope")), ("up", ("->", "../../../etc")), ("loop", ("->", "loop")), ("suid", "x", 0o4755))
    for name in ("aa", "as"):
        yield q("PUT", f"/containers/{name}/archive?path=/tmp", raw=everything)
        for path in ("/tmp/d", "/tmp/d/", "/tmp/d/.", "/tmp/d/f", "/tmp/d/f/", "/tmp/d/l", "/tmp/abs", "/tmp/abs/", "/tmp/dangling", "/tmp/up", "/tmp/up/passwd", "/tmp/loop", "/tmp/loop/x", "tmp/d", "/tmp/../tmp/d", "/tmp/suid", "/tmp/nope", "/", ".", "..", "", "/etc/hostname", "/proc/1/cmdline", "/dev/null", "/bin/sh", "/tmp/d/f/x", "/sys", "%2Ftmp%2Fd", "/tmp/d%00", "/tmp/é"):
            if path in ("/", ".", "..", "/sys"):
                continue
            yield q("HEAD", f"/containers/{name}/archive?path={urllib.parse.quote(path, safe='/%')}", stat=True, ignore_headers=["x-docker-container-path-stat"])
            yield q("GET", f"/containers/{name}/archive?path={urllib.parse.quote(path, safe='/%')}", tar=True, stat=True, ignore_headers=["x-docker-container-path-stat"])
            yield q("PUT", f"/containers/{name}/archive?path={urllib.parse.quote(path, safe='/%')}", raw=tar(("n", "1")))
        for query in ("", "path=", "path=/tmp", "path=/nope", "path=/etc/passwd", "path=/tmp/d&noOverwriteDirNonDir=1", "path=/tmp&noOverwriteDirNonDir=1", "path=/tmp&noOverwriteDirNonDir=true&copyUIDGID=1", "path=/tmp&copyUIDGID=true", "path=/proc", "path=/dev"):
            for what in (tar(("d", "now a file")), tar(("d/f", None)), tar(("../esc", "x")), tar(("/abs2", "x")), b"", b"\0" * 1024, b"nonsense" * 100, tar(("x", "y"))[:700]):
                yield q("PUT", f"/containers/{name}/archive?{query}", raw=what)
        for method in ("POST", "DELETE", "OPTIONS", "PATCH"):
            yield q(method, f"/containers/{name}/archive?path=/tmp")
        yield q("GET", f"/containers/{name}/archive?path=/tmp", tar=True)
        yield q("GET", f"/containers/{name}/changes", ignore=[])
        yield q("GET", f"/containers/{name}/export", tar=True)
        yield q("HEAD", f"/containers/{name}/export")
    yield from made("ro", HostConfig={"ReadonlyRootfs": True, "Binds": ["arv:/v", "arw:/w:ro"], "Tmpfs": {"/t": ""}})
    for path in ("/", "/tmp", "/v", "/w", "/t", "/v/x", "/w/x"):
        yield q("PUT", f"/containers/ro/archive?path={path}", raw=tar(("x", "y")))
        yield q("GET", f"/containers/ro/archive?path={path}/x", tar=True)
    for name in ("aa", "as", "ro"):
        yield q("DELETE", f"/containers/{name}?force=1&v=1", quiet=True)
    yield q("DELETE", "/volumes/arv", quiet=True)
    yield q("DELETE", "/volumes/arw", quiet=True)


def saved():
    """Images as archives."""
    yield q("GET", "/images/busybox/get", tar=True)
    yield q("GET", "/images/get?names=busybox", tar=True)
    yield q("GET", "/images/get?names=busybox&names=busybox:latest", tar=True)
    yield q("POST", "/images/busybox/tag?repo=sv&tag=1")
    yield q("POST", "/images/busybox/tag?repo=sv&tag=2")
    yield q("GET", "/images/get?names=sv", tar=True)
    yield q("GET", "/images/get?names=sv:1&names=sv:2", tar=True)
    yield q("GET", "/images/get?names=sv:1&names=nope", tar=True)
    yield q("GET", "/images/get?names=sv:1,sv:2", tar=True)
    yield q("DELETE", "/images/sv:1")
    yield q("DELETE", "/images/sv:2")
    for what in (tar(("manifest.json", "[]")), tar(("manifest.json", "x")), tar(("manifest.json", '[{"Config":"nope","RepoTags":["a:b"],"Layers":[]}]')), tar(("repositories", "{}")), tar(("x", "y")), tar(("manifest.json", '[{"Config":"../x","RepoTags":null,"Layers":[]}]')), tar(("c.json", "{}"), ("manifest.json", '[{"Config":"c.json","RepoTags":["ldd:1"],"Layers":[]}]')), tar(("c.json", '{"rootfs":{"type":"layers","diff_ids":[]},"os":"linux","architecture":"amd64"}'), ("manifest.json", '[{"Config":"c.json","RepoTags":["ldd:1"],"Layers":[]}]')), tar(("c.json", '{"rootfs":{"type":"layers","diff_ids":["sha256:00"]},"os":"linux","architecture":"amd64"}'), ("manifest.json", '[{"Config":"c.json","RepoTags":["ldd:1"],"Layers":["l"]}]')), tar(("c.json", '{"rootfs":{"type":"layers","diff_ids":["sha256:' + "0" * 64 + '"]},"os":"linux","architecture":"amd64"}'), ("l", "x"), ("manifest.json", '[{"Config":"c.json","RepoTags":["ldd:1"],"Layers":["l"]}]'))):
        for query in ("", "?quiet=1", "?quiet=0"):
            yield q("POST", f"/images/load{query}", raw=what, headers=[("Content-Type", "application/x-tar")])
    yield q("GET", "/images/ldd:1/json")
    yield q("DELETE", "/images/ldd:1", body=False)
    # Imports with everything that changes can say.
    for change in ("CMD x y", 'CMD ["a","b"]', "ENTRYPOINT a", 'ENTRYPOINT ["a"]', "ENV A=b C=d", "ENV A b", "EXPOSE 80 90/udp", "EXPOSE x", "USER u", "USER", "WORKDIR /a", "WORKDIR a", "VOLUME /v /w", 'VOLUME ["/v"]', "LABEL a=b", "LABEL a", "ONBUILD RUN x", "HEALTHCHECK CMD x", "HEALTHCHECK NONE", "HEALTHCHECK --interval=1s CMD x", "STOPSIGNAL SIGTERM", "STOPSIGNAL x", 'SHELL ["a"]', "SHELL a", "RUN x", "FROM x", "COPY a b", "MAINTAINER x", "ARG a", "", "#x", "cmd x"):
        yield q("POST", "/images/create?fromSrc=-&repo=imp&tag=1&changes=" + urllib.parse.quote(change), raw=tar(("a", "b")), body=False)
        yield q("GET", "/images/imp:1/json")
        yield q("DELETE", "/images/imp:1", quiet=True)
    yield q("POST", "/images/create?fromSrc=-&repo=imp&tag=1&message=hello&platform=linux/arm64", raw=tar(("a", "b")))
    yield q("GET", "/images/imp:1/json")
    yield q("GET", "/images/imp:1/history")
    yield q("DELETE", "/images/imp:1", quiet=True)
    yield q("POST", "/images/create?fromSrc=-", raw=tar(("a", "b")))
    yield q("GET", "/images/json", ignore=[r"Id"])
    yield q("POST", "/images/prune", body=False)


def webs():
    """Networks with containers in them."""
    yield q("POST", "/networks/create", json={"Name": "w1", "IPAM": {"Config": [{"Subnet": "10.77.0.0/24", "Gateway": "10.77.0.1"}]}}, quiet=True)
    yield q("POST", "/networks/create", json={"Name": "w2", "IPAM": {"Config": [{"Subnet": "10.78.0.0/24"}]}, "EnableIPv6": False, "Options": {"com.docker.network.driver.mtu": "1400"}}, quiet=True)
    yield q("POST", "/networks/create", json={"Name": "w6", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "10.79.0.0/24"}, {"Subnet": "fd00:79::/64", "Gateway": "fd00:79::1"}]}}, quiet=True)
    same = [r"MacAddress: '"]
    for config in ({"w1": {}}, {"w1": {"Aliases": ["x", "y"]}}, {"w1": {"IPAMConfig": {"IPv4Address": "10.77.0.9"}}}, {"w1": {"IPAMConfig": {}}}, {"w1": {"MacAddress": "02:42:00:00:00:55"}}, {"w1": {}, "w2": {}}, {"w1": {"Links": ["nope"]}}, {"w1": {"DriverOpts": {"a": "b"}}}, {"w6": {}}, {"w6": {"IPAMConfig": {"IPv6Address": "fd00:79::77"}}}, {"w1": {"Aliases": [""]}}, {"w1": None}, {"w1": {"IPAMConfig": {"LinkLocalIPs": ["169.254.3.3"]}}}, {"w1": {"GwPriority": 5}}, {"w1": {"IPAMConfig": {"IPv4Address": "10.77.0.1"}}}, {"w1": {"IPAMConfig": {"IPv4Address": "10.99.0.1"}}}, {"w2": {"IPAMConfig": {"IPv4Address": "10.78.0.7"}}}):
        for mode in (None, next(iter(config)), "bridge"):
            host = {"NetworkMode": mode} if mode else {}
            yield q("POST", "/containers/create?name=wc", json={"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": config}}, save="wc")
            yield q("GET", "/containers/wc/json")
            yield q("POST", "/containers/wc/start")
            yield q("GET", "/containers/wc/json", ignore=same)
            yield q("GET", "/containers/json", ignore=same)
            yield q("GET", "!/v1.43/containers/wc/json", ignore=same)
            yield q("POST", "/containers/wc/stop?t=0")
            yield q("GET", "/containers/wc/json", ignore=same)
            yield q("DELETE", "/containers/wc?force=1", quiet=True)
    yield from made("wd", HostConfig={"NetworkMode": "w1"})
    for body in ({"Container": "wd"}, {"Container": "wd", "EndpointConfig": None}, {"Container": "wd", "EndpointConfig": {"Aliases": ["q"]}}, {"Container": "wd", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.78.0.50"}, "Aliases": ["q"], "Links": ["wd:z"]}}, {"Container": "{{wd}}", "EndpointConfig": {"MacAddress": "02:42:00:00:00:56"}}, {"Container": "wd", "EndpointConfig": {"MacAddress": "x"}}, {"Container": "wd", "EndpointConfig": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "x"}}}, {"Container": "wd", "EndpointConfig": {"IPAMConfig": {"IPv6Address": "fd00:1::1"}}}):
        yield q("POST", "/networks/w2/connect", json=body)
        yield q("GET", "/containers/wd/json", ignore=same)
        yield q("GET", "/networks/w2", ignore=same)
        yield q("POST", "/networks/w2/connect", json=body)
        yield q("POST", "/networks/w2/disconnect", json={"Container": body["Container"]})
    yield q("POST", "/networks/w1/disconnect", json={"Container": "wd"})
    yield q("GET", "/containers/wd/json", ignore=same)
    yield q("POST", "/networks/none/connect", json={"Container": "wd"})
    yield q("GET", "/containers/wd/json", ignore=same)
    yield q("POST", "/networks/bridge/connect", json={"Container": "wd"})
    yield q("POST", "/networks/bridge/connect", json={"Container": "wd", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "172.17.0.77"}}})
    yield q("POST", "/networks/bridge/disconnect", json={"Container": "wd"})
    yield q("POST", "/networks/bridge/disconnect", json={"Container": "wd", "Force": True})
    yield q("POST", "/networks/w1/disconnect", json={"Container": "nope", "Force": True})
    yield q("DELETE", "/containers/wd?force=1")
    for name, host in (("host", {"NetworkMode": "host"}), ("none", {"NetworkMode": "none"}), ("ports", {"PortBindings": {"80/tcp": [{"HostPort": "8077"}], "90/udp": [{"HostIp": "127.0.0.1", "HostPort": "9077"}]}}), ("all", {"PublishAllPorts": True})):
        yield from made("wp", HostConfig=host, ExposedPorts={"80/tcp": {}, "81/udp": {}})
        yield q("GET", "/containers/wp/json", ignore=same + [r"HostPort: '(3|4|5|6)\d{4}'"])
        yield q("GET", "/containers/json", ignore=same + ["PublicPort"])
        yield q("GET", f"/networks/{name if name in ('host', 'none') else 'bridge'}", ignore=same)
        yield q("POST", "/containers/wp/stop?t=0")
        yield q("GET", "/containers/wp/json", ignore=same)
        yield q("GET", "/containers/json?all=1", ignore=same)
    yield from made("wq", HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8077"}]}})
    yield from made("wr", HostConfig={"PortBindings": {"80/tcp": [{"HostPort": "8077"}]}}, start=False)
    yield q("POST", "/containers/wr/start")
    yield q("GET", "/containers/wr/json", ignore=same)
    yield from made("ws", HostConfig={"NetworkMode": "container:wq"})
    yield q("GET", "/containers/ws/json", ignore=same)
    yield q("POST", "/containers/wq/stop?t=0")
    yield from made("ws", HostConfig={"NetworkMode": "container:wq"}, start=False)
    yield q("POST", "/containers/ws/start")
    yield q("POST", "/containers/create?name=wt", json={"Image": "busybox", "Hostname": "x", "HostConfig": {"NetworkMode": "container:wq"}})
    yield q("POST", "/containers/create?name=wt", json={"Image": "busybox", "HostConfig": {"NetworkMode": "container:wq", "PortBindings": {"80/tcp": [{}]}}})
    yield q("POST", "/containers/create?name=wt", json={"Image": "busybox", "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:wq"}})
    yield q("POST", "/containers/create?name=wt", json={"Image": "busybox", "HostConfig": {"NetworkMode": "container:wq", "Dns": ["1.1.1.1"], "ExtraHosts": ["a:1.1.1.1"], "Links": ["wq:x"]}})
    yield q("DELETE", "/containers/wt", quiet=True)
    for c in ("wp", "wq", "wr", "ws"):
        yield q("DELETE", f"/containers/{c}?force=1", quiet=True)
    for n in ("w1", "w2", "w6"):
        yield q("DELETE", f"/networks/{n}")


def years():
    """What each version of the API says of things with everything set."""
    yield q("POST", "/networks/create", json={"Name": "yn", "Labels": {"a": "b"}, "IPAM": {"Config": [{"Subnet": "10.71.0.0/24"}]}}, quiet=True)
    yield q("POST", "/containers/create?name=yy", json={"Image": "busybox", "Cmd": ["sleep", "1000"], "Hostname": "h", "Labels": {"a": "b"}, "MacAddress": "02:42:0a:47:00:09", "StopTimeout": 3, "Healthcheck": {"Test": ["CMD", "true"], "Interval": 3600000000000, "StartInterval": 2000000000, "StartPeriod": 3000000000}, "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/anon": {}},
        "HostConfig": {"NetworkMode": "yn", "Binds": ["yv:/v", "/tmp:/t:ro"], "Mounts": [{"Type": "tmpfs", "Target": "/q", "TmpfsOptions": {"SizeBytes": 1000000}}, {"Type": "bind", "Source": "/var", "Target": "/var2", "ReadOnly": True, "BindOptions": {"NonRecursive": True}}], "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8071"}]}, "Annotations": {"a": "b"}, "CapAdd": ["NET_ADMIN"], "IpcMode": "shareable", "PidsLimit": 100, "Init": True, "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "Memory": 104857600, "DeviceRequests": []},
        "NetworkingConfig": {"EndpointsConfig": {"yn": {"Aliases": ["al"], "IPAMConfig": {"IPv4Address": "10.71.0.9"}}}}}, save="yy")
    yield q("POST", "/containers/yy/start")
    yield q("POST", "/volumes/create", json={"Name": "yv"}, quiet=True)
    for version in ["1.%d" % minor for minor in range(24, 46)]:
        v = f"!/v{version}"
        same = [r"Health\.|Health: |Status: '|CreatedAt"]
        yield q("GET", f"{v}/containers/yy/json", ignore=same)
        yield q("GET", f"{v}/containers/yy/json?size=1", ignore=same)
        yield q("GET", f"{v}/containers/json", ignore=same)
        yield q("GET", f"{v}/containers/yy/stats?stream=0&one-shot=1", stats=True)
        yield q("GET", f"{v}/containers/yy/top")
        yield q("GET", f"{v}/containers/yy/changes")
        yield q("GET", f"{v}/images/json?shared-size=1")
        yield q("GET", f"{v}/images/json?digests=1&all=1")
        yield q("GET", f"{v}/images/busybox/json")
        yield q("GET", f"{v}/networks/yn", ignore=same)
        yield q("GET", f"{v}/networks?" + filters({"name": ["yn"]}), ignore=same)
        yield q("GET", f"{v}/volumes/yv", ignore=same)
        yield q("GET", f"{v}/system/df", ignore=same + [r"LayersSize|Volumes: |BuildCache"])
        yield q("GET", f"{v}/swarm")
        yield q("GET", f"{v}/plugins")
        yield q("GET", f"{v}/distribution/nope.invalid/x/json", ignore=["dial|lookup|Get"])
        yield q("POST", f"{v}/containers/yy/wait?condition=nope", timeout=2)
        yield q("POST", f"{v}/containers/yy/exec", json={"Cmd": ["true"], "Env": ["A=b"], "WorkingDir": "/", "ConsoleSize": [1, 2], "Tty": True}, save="e")
        yield q("GET", f"{v}/exec/{{{{e}}}}/json")
        yield q("POST", f"{v}/exec/{{{{e}}}}/start", json={"Detach": True, "Tty": True, "ConsoleSize": [3, 4]})
        yield q("POST", f"{v}/containers/yy/update", json={"CpuShares": 100})
        yield q("POST", f"{v}/containers/yy/resize?h=1&w=1")
        yield q("POST", f"{v}/containers/prune?" + filters({"label": ["nope"]}))
        yield q("POST", f"{v}/images/prune?" + filters({"label": ["nope"]}))
        yield q("POST", f"{v}/networks/prune?" + filters({"label": ["nope"]}))
        yield q("POST", f"{v}/volumes/prune?" + filters({"label": ["nope"]}))
        yield q("POST", f"{v}/build/prune")
        yield q("POST", f"{v}/session")
        yield q("POST", f"{v}/grpc")
        yield q("GET", f"{v}/events?since=1&until=2")
        yield q("DELETE", f"{v}/containers/nope?force=1")
        yield q("POST", f"{v}/containers/nope/start")
        yield q("POST", f"{v}/containers/yy/copy", json={"Resource": "/etc/hostname"}, tar=True)
        yield q("POST", f"{v}/containers/create?platform=linux/amd64&name=yc", json={"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/m", "BindOptions": {"NonRecursive": True, "CreateMountpoint": True, "ReadOnlyNonRecursive": True}, "ReadOnly": True}], "ReadonlyPaths": ["/x"], "MaskedPaths": ["/y"], "KernelMemory": 10485760, "KernelMemoryTCP": 10485760, "OomKillDisable": False, "BlkioWeight": 0, "PidsLimit": -1, "IpcMode": "", "CgroupnsMode": "", "Annotations": {"b": "c"}, "StorageOpt": {}}, "Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 5000000000, "StartPeriod": 1000000}, "Volumes": {"/z": {}}})
        yield q("GET", f"/containers/yc/json", ignore=same)
        yield q("GET", f"{v}/containers/yc/json", ignore=same)
        yield q("DELETE", "/containers/yc?v=1", quiet=True)
        for value in ('{"a":["b"]}', '{"a":{"b":true}}', '{"label":["a"]}', '{"label":{"a":true}}', "x", ""):
            yield q("GET", f"{v}/containers/json?" + filters(value))
    yield q("DELETE", "/containers/yy?force=1&v=1", quiet=True)
    yield q("DELETE", "/volumes/yv", quiet=True)
    yield q("DELETE", "/networks/yn", quiet=True)


def bodies():
    """Bodies of every kind for every operation that takes one."""
    yield from made("bb")
    targets = ["/containers/create", "/containers/bb/update", "/containers/bb/exec", "/networks/create", "/networks/bridge/connect", "/networks/bridge/disconnect", "/volumes/create", "/commit?container=nope", "/auth", "/swarm/init", "/swarm/join", "/services/create", "/secrets/create", "/configs/create", "/containers/bb/start", "/exec/nope/start", "/containers/bb/stop?t=0", "/containers/prune", "/images/create?fromImage=", "/build/cancel", "/containers/bb/kill?signal=0", "/plugins/pull?remote=x", "/plugins/create?name=x", "/plugins/x/upgrade?remote=y"]
    for target in targets:
        for raw in (b"", b"{}", b"null", b"[]", b'"', b"\xff\xfe", b'{"a":1}' * 2, b" {} ", b"\n{}\n", b'{"Image":"busybox","image":"x"}', b'{"' + b"a" * 10000 + b'":1}', b"[" * 1000, b'{"Labels":{"a":"\\ud800"}}', b'{"Name":"\xc3\x28"}', b"{} // x", b"\xef\xbb\xbf{}"):
            for kind in ("application/json", "application/JSON", "application/json;charset=UTF-8", "application/jsonx", "text/json", "", "x", "application/tar"):
                if kind not in ("application/json", "") and raw not in (b"", b"{}"):
                    continue
                yield q("POST", target, raw=raw, headers=[("Content-Type", kind)] if kind else [], ignore=["dial|lookup"])
        chunked = [("Transfer-Encoding", "chunked"), ("Content-Type", "application/json")]
        yield q("POST", target, raw=b"2\r\n{}\r\n0\r\n\r\n", headers=chunked, ignore=["dial|lookup"])
        yield q("POST", target, raw=b"0\r\n\r\n", headers=chunked, ignore=["dial|lookup"])
        yield q("POST", target, raw=b"1;x=y\r\n{\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n", headers=chunked, ignore=["dial|lookup"])
        yield q("POST", "/containers/bb/start", quiet=True)
    yield q("DELETE", "/containers/bb?force=1", quiet=True)


def methods():
    """Every path by every method."""
    paths = ["/_ping", "/version", "/info", "/events", "/system/df", "/auth", "/commit", "/build", "/build/prune", "/build/cancel", "/session", "/grpc", "/containers/json", "/containers/create", "/containers/prune", "/containers/x", "/images/json", "/images/create", "/images/load", "/images/get", "/images/search", "/images/prune", "/images/x", "/networks", "/networks/", "/networks/create", "/networks/prune", "/networks/x", "/networks/x/connect", "/volumes", "/volumes/", "/volumes/create", "/volumes/prune", "/volumes/x", "/exec/x/json", "/exec/x/start", "/exec/x/resize", "/swarm", "/swarm/init", "/nodes", "/nodes/x", "/services", "/services/x", "/tasks", "/tasks/x", "/secrets", "/secrets/x", "/configs", "/configs/x", "/plugins", "/plugins/x", "/plugins/x/json", "/plugins/privileges", "/plugins/pull", "/plugins/create", "/plugins/x/upgrade", "/plugins/x/enable", "/plugins/x/push", "/plugins/x/set", "/distribution/x/json", "/debug/vars", "/debug/pprof/", "/metrics", "/v1.45", "/v1.45/", "/v/", "/favicon.ico", "/containers/ps", "/containers/x/resize", "/containers/x/attach/ws", "/containers/x/copy", "/containers/x/checkpoints", "/images/x/push", "/images/x/tag", "/images/viz", "/checkpoints"]
    for path in paths:
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "FOO", "get"):
            if (method in ("GET", "HEAD") and path in ("/events", "/debug/vars", "/debug/pprof/", "/info", "/system/df", "/version", "/images/search")) or (path in ("/session", "/grpc") and method == "POST"):
                continue
            if method == "CONNECT":
                continue
            yield q(method, path, ignore=["dial|lookup"])
    for headers in ([("Origin", "http://x")], [("X-HTTP-Method-Override", "DELETE")], [("Accept", "text/html")], [("Accept-Encoding", "gzip")], [("Authorization", "x")], [("Host", "y")], [("User-Agent", "Docker-Client/20.10 (linux)")], [("User-Agent", "Docker-Client/1.0 (linux)")], [("If-None-Match", "x")], [("Range", "bytes=0-3")], [("Cookie", "a=b")], [("X-Registry-Auth", "nonsense")], [("Upgrade", "h2c"), ("Connection", "Upgrade")], [("Upgrade", "tcp"), ("Connection", "Upgrade")], [("Expect", "x")], [("Content-Length", "x")], [("Content-Length", "-1")], [("Transfer-Encoding", "gzip")], [("Connection", "keep-alive")]):
        yield q("GET", "/containers/json", headers=headers)
        yield q("GET", "/_ping", headers=headers)
        yield q("POST", "/containers/nope/start", headers=headers)


def pools():
    """Subnets, ranges, gateways, auxiliary addresses and names that are odd, overlap or are too many."""
    def create(name, *configs, **more):
        ipam = {"Config": list(configs)} if configs else None
        body = {"Name": name, **more}
        if ipam:
            body["IPAM"] = ipam | more.get("IPAM", {})
        yield q("POST", "/networks/create", json=body)
        yield q("GET", "/networks/" + urllib.parse.quote(name, safe="") + "?verbose=1", ignore=[r"IPAM.Config\[0\]\.(Subnet|Gateway): '(1|fd)"])
        yield q("DELETE", "/networks/" + urllib.parse.quote(name, safe=""))

    def c(subnet=None, iprange=None, gateway=None, **aux):
        given = {"Subnet": subnet, "IPRange": iprange, "Gateway": gateway, "AuxiliaryAddresses": aux or None}
        return {key: value for key, value in given.items() if value is not None}

    for config in (
            c("10.8.0.0/24"), c("10.8.0.0/8"), c("10.8.0.1/24"), c("10.8.0.0/33"), c("10.8.0.0/-1"), c("10.8.0.0"), c("10.8.0/24"), c("10.8.0.0/24 "), c(" 10.8.0.0/24"),
            c("010.8.0.0/24"), c("10.8.0.0/024"), c("10.8.0.0/0"), c("0.0.0.0/0"), c("0.0.0.0/8"), c("127.0.0.0/8"), c("127.0.0.0/24"), c("224.0.0.0/4"), c("224.1.0.0/24"), c("240.0.0.0/24"),
            c("255.255.255.0/24"), c("169.254.0.0/16"), c("10.8.0.0/30"), c("10.8.0.0/31"), c("10.8.0.0/32"), c("10.8.0.4/30"), c("::/0"), c("fd00:8::/64"), c("fd00:8::/127"), c("fd00:8::/128"), c("fd00:8::1/64"),
            c("fe80::/64"), c("ff00::/8"), c("::ffff:10.8.0.0/120"), c("x"), c(""), c("/"), c("10.8.0.0/24,10.9.0.0/24"),
            c("10.8.0.0/24", "10.8.0.0/24"), c("10.8.0.0/24", "10.8.0.128/25"), c("10.8.0.0/24", "10.8.0.5/32"), c("10.8.0.0/24", "10.8.0.5/25"), c("10.8.0.0/24", "10.9.0.0/25"), c("10.8.0.0/24", "10.8.0.0/16"), c("10.8.0.0/24", "x"), c("10.8.0.0/24", "fd00::/64"),
            c("10.8.0.0/24", "10.8.0.255/32"), c("10.8.0.0/24", "10.8.0.0/32"),
            c("10.8.0.0/24", "10.8.0.64/26", "10.8.0.1"), c("10.8.0.0/24", "10.8.0.64/26", "10.8.0.64"), c("10.8.0.0/24", "10.8.0.64/26", "10.8.0.127"),
            c("10.8.0.0/24", None, "10.8.0.254"), c("10.8.0.0/24", None, "10.8.0.0"), c("10.8.0.0/24", None, "10.8.0.255"), c("10.8.0.0/24", None, "10.9.0.1"), c("10.8.0.0/24", None, "10.8.0.1/24"), c("10.8.0.0/24", None, "x"), c("10.8.0.0/24", None, ""), c("10.8.0.0/24", None, "fd00::1"),
            c("10.8.0.0/24", None, "0.0.0.0"), c("10.8.0.0/24", None, "::ffff:10.8.0.9"), c("10.8.0.0/24", None, "010.8.0.1"),
            c(None, None, "10.8.0.1"), c(None, "10.8.0.0/25"), c(None, None, None, a="10.8.0.3"), c("", "", ""), c(None, None, ""),
            c("10.8.0.0/24", None, None, a="10.8.0.3"), c("10.8.0.0/24", None, None, a="10.8.0.1"), c("10.8.0.0/24", None, "10.8.0.1", a="10.8.0.1"), c("10.8.0.0/24", None, None, a="10.8.0.3", b="10.8.0.3"), c("10.8.0.0/24", None, None, a="10.8.0.0"), c("10.8.0.0/24", None, None, a="10.8.0.255"),
            c("10.8.0.0/24", None, None, a="10.9.0.1"), c("10.8.0.0/24", None, None, a="x"), c("10.8.0.0/24", None, None, a="fd00::1"), c("10.8.0.0/24", None, None, DefaultGatewayIPv4="10.8.0.9"),
            c("10.8.0.0/31", None, "10.8.0.0"), c("10.8.0.0/31", None, "10.8.0.1"), c("10.8.0.0/32", None, "10.8.0.0"), c("10.8.0.0/30", None, "10.8.0.3"), c("10.8.0.0/30", "10.8.0.2/31"),
    ):
        yield from create("p", config)
        if ":" in config.get("Subnet", ""):
            yield from create("p", config, EnableIPv6=True)
    for several in (
            [c("10.8.0.0/24"), c("10.9.0.0/24")], [c("10.8.0.0/24"), c("10.8.0.0/24")], [c("10.8.0.0/24"), c("10.8.0.0/25")], [c("10.8.0.0/24"), c("fd00:8::/64")], [c("fd00:8::/64"), c("fd00:9::/64")], [c(), c()], [c(), c("10.8.0.0/24")],
            [c("x"), c("y")], [c("10.8.0.1/24", None, "10.9.0.1", a="x")], [c("10.8.0.0/24", "x", "y", a="z", b="10.9.0.9")]):
        for six in (False, True):
            yield from create("p", *several, EnableIPv6=six)
        yield from create("p", *several, Driver="macvlan", Options={"parent": "lo"})
    for more in (
            {"EnableIPv4": False}, {"EnableIPv6": True}, {"IPAM": {"Driver": "nope"}}, {"IPAM": {"Driver": "null"}}, {"IPAM": {"Driver": "default", "Options": {"a": "b"}}}, {"IPAM": {"Driver": ""}}, {"IPAM": {"Options": {}}}, {"IPAM": {"Config": None}}, {"IPAM": {"Config": [{}]}}, {"IPAM": {"Config": [None]}},
            {"Driver": "nope"}, {"Driver": "overlay"}, {"Driver": "null"}, {"Driver": "host"}, {"Driver": "none"}, {"Driver": "default"}, {"Driver": "Bridge"}, {"Driver": " bridge"}, {"Driver": "macvlan"}, {"Driver": "ipvlan"}, {"Driver": "remote"}, {"Driver": "a/b"},
            {"Scope": "local"}, {"Scope": "swarm"}, {"Scope": "global"}, {"Scope": "x"}, {"Attachable": True}, {"Ingress": True}, {"Internal": True}, {"ConfigFrom": {"Network": ""}}, {"ConfigOnly": True, "Internal": True}, {"Labels": {"": "x"}}, {"Labels": {"a": ""}}, {"Options": {"": ""}},
            {"Options": {"com.docker.network.bridge.name": ""}}, {"Options": {"com.docker.network.bridge.name": "a/b"}}, {"Options": {"com.docker.network.bridge.name": "lo"}}, {"Options": {"com.docker.network.bridge.name": "has space"}}, {"Options": {"com.docker.network.bridge.name": "docker0"}},
            {"Options": {"com.docker.network.driver.mtu": "-1"}}, {"Options": {"com.docker.network.driver.mtu": "0"}}, {"Options": {"com.docker.network.driver.mtu": "1400"}}, {"Options": {"com.docker.network.driver.mtu": "67"}}, {"Options": {"com.docker.network.driver.mtu": "70000"}},
            {"Options": {"com.docker.network.bridge.host_binding_ipv4": "x"}}, {"Options": {"com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}}, {"Options": {"com.docker.network.bridge.host_binding_ipv4": ""}}, {"Options": {"com.docker.network.bridge.enable_ip_masquerade": ""}},
            {"Options": {"com.docker.network.bridge.inhibit_ipv4": "x"}}, {"Options": {"com.docker.network.container_iface_prefix": "net"}}, {"Options": {"com.docker.network.container_iface_prefix": ""}}, {"Options": {"com.docker.network.host_ipv4": "x"}}, {"Options": {"com.docker.network.host_ipv4": "192.0.2.9"}},
            {"Options": {"com.docker.network.enable_ipv6": "true"}}, {"Options": {"com.docker.network.enable_ipv6": "x"}}, {"Options": {"com.docker.network.bridge.default_bridge": "true"}}, {"Options": {"com.docker.network.nope": "x"}}):
        yield from create("p", **more)
    for name in (" ", "\t", " a", "a ", "a b", "a/b", "/a", "a/", "a\\b", "a:b", "a@b", "a,b", "a\nb", "é", "日本", "-a", "_a", ".a", ".", "..", "A", "a%2fb", "a?b", "a#b", "x" * 64, "x" * 300, "\"", "'", "<script>", "*", "a*", "$a", "bridge ", "Bridge", "host", "none", "default", "container", "container:x", "null", "0", "ingress", "docker_gwbridge", "a" * 12, "0" * 64, "\x00", "\x7f"):
        yield from create(name)
        yield from create(name, ConfigOnly=True)
    yield q("POST", "/networks/create", json={"Name": "p1", "IPAM": {"Config": [c("10.8.0.0/24")]}}, quiet=True)
    for config in (c("10.8.0.0/24"), c("10.8.0.0/16"), c("10.8.0.0/25"), c("10.8.0.128/25"), c("10.7.255.0/24"), c("10.0.0.0/8"), c("0.0.0.0/1")):
        yield from create("p2", config)
        yield from create("p2", config, Driver="macvlan", Options={"parent": "lo"})
        yield from create("p2", config, ConfigOnly=True)
        yield from create("p2", config, Internal=True)
    for name in ("p1", "P1"):
        yield q("POST", "/networks/create", json={"Name": name})
    yield q("DELETE", "/networks/P1")
    yield from made("pc", start=False)
    for address in ("10.8.0.9", "10.8.0.0", "10.8.0.255", "10.8.0.1", "10.9.0.1", "x", "", "fd00::1", "010.8.0.9", "10.8.0.9/24"):
        yield q("POST", "/networks/p1/connect", json={"Container": "pc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": address}}})
        yield q("POST", "/networks/p1/disconnect", json={"Container": "pc"})
    for settings in ({"IPAMConfig": {"IPv6Address": "fd00::1"}}, {"IPAMConfig": {"IPv6Address": "x"}}, {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}, {"IPAMConfig": {"LinkLocalIPs": ["x"]}}, {"IPAMConfig": {"LinkLocalIPs": ["10.1.1.1"]}}, {"IPAMConfig": {"LinkLocalIPs": [""]}}, {"IPAMConfig": {}}, {"Aliases": [""]}, {"Aliases": ["a b"]}, {"Aliases": ["a", "a"]}, {"Links": ["x"]}, {"Links": ["pc:x"]}, {"Links": ["nope:x"]},
                     {"MacAddress": "x"}, {"MacAddress": "02:42:ac:11:00"}, {"MacAddress": "02-42-ac-11-00-02"}, {"MacAddress": "0242.ac11.0002"}, {"MacAddress": "ff:ff:ff:ff:ff:ff"}, {"MacAddress": "00:00:00:00:00:00"}, {"MacAddress": "01:00:00:00:00:01"}, {"DriverOpts": {"a": "b"}}, {"NetworkID": "nope"}, {"EndpointID": "x"}, {"Gateway": "1.2.3.4"}, {"IPAddress": "10.8.0.77"}):
        yield q("POST", "/networks/p1/connect", json={"Container": "pc", "EndpointConfig": settings})
        yield q("GET", "/containers/pc/json", ignore=[r"^(?!.*NetworkSettings)"])
        yield q("POST", "/networks/p1/disconnect", json={"Container": "pc"})
    yield q("DELETE", "/containers/pc?force=1", quiet=True)
    yield q("DELETE", "/networks/p1", quiet=True)


SECTIONS = {f.__name__: f for f in (forms, names, events, logs, archives, saved, webs, years, bodies, methods, pools)}
