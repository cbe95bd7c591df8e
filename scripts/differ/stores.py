"""Questions of differ.py on what is kept: images and who uses them, parameters of builds one by one, registries, networks and volumes with
all that comes and goes, and the system's own words. Each section as in questions.py."""
import base64
import gzip
import io
import json
import lzma
import bz2
import tarfile
import urllib.parse

from lives import FOREVER, gone, pause, shell, told
from questions import filters, q
from wide import LOOP, made, story, tar

TAR = [("Content-Type", "application/x-tar")]
BASE = "127.0.0.1:5000/"
AUTH = [("X-Registry-Auth", "e30=")]


def query_of(**parts):
    return urllib.parse.urlencode({key: value if isinstance(value, str) else json.dumps(value) for key, value in parts.items()})


def imported(name, *files, save=None, changes=()):
    extra = "".join("&changes=" + urllib.parse.quote(change) for change in changes)
    repo, _, tag = name.rpartition(":")
    return q("POST", f"/images/create?fromSrc=-&repo={repo}&tag={tag}{extra}", raw=tar(*(files or (("a", name),))), headers=TAR, quiet=True)


def using():
    """Images that are used, have many names or children, and how they go."""
    def fresh():
        for name in ("us:1", "us:2", "us:3", "other:1"):
            yield q("DELETE", f"/images/{name}?force=1", quiet=True)
        yield imported("us:1")
        yield q("POST", "/images/us:1/tag?repo=us&tag=2", quiet=True)
        yield q("POST", "/images/us:1/tag?repo=other&tag=1", quiet=True)
        yield q("POST", "/containers/create?name=us1", json={"Image": "us:1", "Cmd": ["x"]}, save="c", quiet=True)
        yield q("GET", "/images/us:1/json", save="i", quiet=True)

    same = [r"\.Deleted: 'sha256|Layers"]
    for state in ("none", "created", "running", "exited"):
        for target in ("us:1", "us:1?force=1", "us", "{{i}}", "{{i}}?force=1", "us:1?noprune=1", "other:1", "us:1@{{i}}"):
            yield from gone("us1")
            yield from fresh()
            if state == "none":
                yield from gone("us1")
            if state in ("running", "exited"):
                yield from gone("us1")
                yield q("POST", "/containers/create?name=us2", json={"Image": "busybox", "Cmd": FOREVER}, quiet=True)
                yield q("POST", "/commit?container=us2&repo=us&tag=1", quiet=True)
                yield q("POST", "/images/us:1/tag?repo=us&tag=2", quiet=True)
                yield q("GET", "/images/us:1/json", save="i", quiet=True)
                yield q("POST", "/containers/create?name=us1", json={"Image": "us:1"}, quiet=True)
                yield q("POST", "/containers/us1/start", quiet=True)
                if state == "exited":
                    yield q("POST", "/containers/us1/kill", quiet=True)
                    yield q("POST", "/containers/us1/wait", quiet=True)
            yield from told(q("DELETE", f"/images/{target}", ignore=same), query="&" + filters({"type": ["image"]}))
            yield q("GET", "/images/json", ignore=["Id", "RepoTags"])
            yield q("GET", "/containers/us1/json", ignore=["."] if state == "none" else ["Cmd"])
            yield q("GET", "/containers/json?all=1&" + filters({"name": ["us1"]}))
            yield from gone("us1", "us2")
    yield from fresh()
    yield from gone("us1")
    # Children, and one that only its id names.
    yield q("POST", "/build?t=kid:1", raw=tar(("Dockerfile", "FROM us:1\nLABEL a=1\nLABEL b=2\n")), headers=TAR, quiet=True)
    yield q("GET", "/images/kid:1/json", save="k", quiet=True)
    yield q("GET", "/images/json?" + filters({"since": ["us:1"]}), ignore=["Id"])
    yield q("GET", "/images/json?" + filters({"before": ["kid:1"]}), ignore=["Id"])
    for target in ("us:1", "us:2", "other:1", "{{i}}", "{{i}}?force=1", "kid:1", "{{k}}"):
        yield q("DELETE", f"/images/{target}", ignore=same)
        yield q("GET", "/images/json", ignore=["Id", "RepoTags"])
    yield imported("dg:1")
    yield q("GET", "/images/dg:1/json", save="old", quiet=True)
    yield q("POST", "/images/create?fromSrc=-&repo=dg&tag=1", raw=tar(("b", "other")), headers=TAR, quiet=True)
    for f in ({"dangling": ["true"]}, {"dangling": ["false"]}, {"dangling": ["1"]}, {"dangling": ["true"], "reference": ["dg"]}, {"reference": ["dg:*"]}, {"reference": ["d?:1"]}, {"reference": ["d*"]}, {"reference": ["dg", "busybox"]}, {"reference": ["docker.io/library/dg"]}, {"reference": ["library/dg"]}, {"reference": ["*/*"]}, {"reference": ["**"]}, {"reference": ["busybox:late*"]}, {"reference": ["{{old}}"]}, {"since": ["busybox"], "before": ["dg:1"]}, {"until": ["1s"]}, {"until": ["2100-01-01"]}, {"label": [""]}):
        yield q("GET", "/images/json?" + filters(f), ignore=["Id"])
    for version in ("1.24", "1.42", "1.43", "1.45"):
        yield q("GET", f"!/v{version}/images/json", ignore=["Id"])
        yield q("GET", f"!/v{version}/images/{{{{old}}}}/json", ignore=["Id", "DockerVersion"])
    for name in ("{{old12}}", "{{old}}"):
        yield q("GET", f"/images/{name}/history", ignore=["Size"])
    yield from told(q("POST", "/images/prune", ignore=same), q("POST", "/images/prune?" + filters({"dangling": ["false"], "until": ["1h"]}), ignore=same))
    yield q("GET", "/images/json", ignore=["Id", "RepoTags"])
    yield q("DELETE", "/images/dg:1", quiet=True)


def telling():
    """What operations on images tell, in order."""
    ids = ["Size"]
    yield from told(q("POST", f"/images/create?fromImage={BASE}busybox&tag=latest", body=False))
    yield from told(q("POST", f"/images/create?fromImage={BASE}busybox&tag=latest", body=False))
    yield from told(q("POST", f"/images/{BASE}busybox/tag?repo={BASE}told&tag=1"), q("POST", f"/images/{BASE}told/push?tag=1", headers=AUTH, body=False), q("POST", f"/images/{BASE}told/push?tag=nope", headers=AUTH, body=False))
    yield from told(q("DELETE", f"/images/{BASE}told:1", body=False), q("POST", f"/images/create?fromImage={BASE}told:1", body=False), q("DELETE", f"/images/{BASE}told:1", body=False), q("DELETE", f"/images/{BASE}busybox:latest", body=False))
    yield from told(q("POST", "/images/busybox/tag?repo=busybox&tag=again"), q("POST", "/images/busybox/tag?repo=busybox&tag=again"), q("GET", "/images/busybox:again/get", body=False), q("GET", "/images/get?names=busybox&names=busybox:again", body=False), q("DELETE", "/images/busybox:again", body=False))
    yield from told(q("POST", "/build?t=tl:1&t=tl:2&nocache=1", raw=tar(("Dockerfile", "FROM busybox\nRUN true\nLABEL a=b\n")), headers=TAR, body=False), ignore=["container"])
    yield from told(q("POST", "/build?t=tl:1&nocache=1", raw=tar(("Dockerfile", "FROM busybox\nRUN false\n")), headers=TAR, body=False))
    yield from told(q("POST", "/build?t=tl:3", raw=tar(("Dockerfile", "FROM busybox\n")), headers=TAR, body=False))
    yield from told(q("DELETE", "/images/tl:1", body=False), q("DELETE", "/images/tl:2", body=False), q("DELETE", "/images/tl:3", body=False))
    yield from made("tm", start=False, Labels={"c": "d"})
    yield from told(q("POST", "/commit?container=tm", body=False), q("POST", "/commit?container=tm&repo=tm", body=False), q("POST", "/commit?container=tm&repo=tm", body=False), q("DELETE", "/images/tm", body=False), q("POST", "/images/prune", body=False))
    yield from made("tm")
    yield from told(q("POST", "/commit?container=tm&repo=tm&pause=1", body=False), q("POST", "/commit?container=tm&repo=tm&pause=0", body=False))
    yield q("POST", "/containers/tm/pause", quiet=True)
    yield from told(q("POST", "/commit?container=tm&repo=tm", body=False), q("GET", "/containers/tm/json", ignore=["."]))
    yield from gone("tm")
    yield from told(q("DELETE", "/images/tm", body=False), q("POST", "/images/prune", body=False), q("POST", "/images/load", raw=b"x", headers=TAR, body=False))
    yield from told(*made("tn", start=False, HostConfig={"NetworkMode": "bridge"}), q("POST", "/networks/create", json={"Name": "tn1"}), q("POST", "/networks/tn1/connect", json={"Container": "tn"}), q("POST", "/containers/tn/start"), q("POST", "/containers/tn/restart?t=0"), q("POST", "/networks/tn1/disconnect", json={"Container": "tn"}), q("POST", "/networks/tn1/connect", json={"Container": "tn"}), q("DELETE", "/containers/tn?force=1"), q("POST", "/networks/prune"))
    yield from told(*made("tn", start=False, HostConfig={"Binds": ["tv:/a:ro", "tv:/b", "/tmp:/c"], "Mounts": [{"Type": "volume", "Source": "tv", "Target": "/d", "VolumeOptions": {"NoCopy": True}}]}), q("POST", "/containers/tn/start"), q("POST", "/containers/tn/stop?t=0"), q("DELETE", "/containers/tn?v=1"), q("DELETE", "/volumes/tv"), q("POST", "/volumes/create", json={}), q("POST", "/volumes/prune", quiet=True))


def building():
    """Parameters of a build, one by one, seen from within."""
    def build(query, text, *files, headers=TAR, **want):
        return q("POST", f"/build?nocache=1&{query}", raw=tar(("Dockerfile", text), *files), headers=headers, ignore=["--->|Removing"], **want)

    run = "FROM busybox\nRUN "
    for query, text in (
            (query_of(buildargs={"A": "1"}), "FROM busybox\nARG A\nRUN echo $A"), (query_of(buildargs={"A": None}), "FROM busybox\nARG A=2\nRUN echo $A"), (query_of(buildargs={"A": ""}), "FROM busybox\nARG A=2\nRUN echo \"[$A]\""), (query_of(buildargs={"NOPE": "1"}), run + "true"), (query_of(buildargs={"NOPE": "1", "ALSO": "2"}), run + "true"), (query_of(buildargs={"http_proxy": "x", "HTTP_PROXY": "y"}), run + "env | grep -i proxy"), (query_of(buildargs={"I": "busybox"}), "ARG I\nFROM $I\nRUN echo \"[$I]\""), (query_of(buildargs=["A=1"]), run + "true"), (query_of(buildargs="null"), run + "true"), (query_of(buildargs="{}"), run + "true"),
            (query_of(labels={"l": "1"}), run + "true"), (query_of(labels={"l": "1", "a": "b"}), "FROM busybox\nLABEL l=0"), (query_of(labels=["l"]), run + "true"), (query_of(labels="null"), run + "true"), (query_of(target="one"), "FROM busybox AS one\nRUN echo 1\nFROM busybox AS two\nRUN echo 2"), (query_of(target="ONE"), "FROM busybox AS one\nRUN echo 1"), (query_of(target="0"), "FROM busybox\nRUN echo 0\nFROM busybox\nRUN echo 1"), (query_of(target="nope"), run + "true"), (query_of(target="two"), "FROM busybox AS one\nRUN echo 1\nFROM one AS two\nRUN echo 2\nFROM busybox\nRUN false"),
            (query_of(q="1"), run + "echo x; echo err >&2"), (query_of(q="1"), run + "echo x; false"), (query_of(q="true"), run + "true"), (query_of(q="0"), run + "true"), (query_of(rm="1"), run + "true"), (query_of(rm="0"), run + "true"), (query_of(forcerm="1"), run + "false"), (query_of(rm="1", forcerm="0"), run + "false"), (query_of(rm="0", forcerm="0"), run + "false"), (query_of(pull="1"), run + "true"), (query_of(pull="x"), run + "true"),
            (query_of(extrahosts="a:1.2.3.4"), run + "grep a$ /etc/hosts"), (query_of(extrahosts=["a:1.2.3.4", "b:::1"]), run + "grep -E 'a$|b$' /etc/hosts"), (query_of(extrahosts="x"), run + "true"), (query_of(networkmode="none"), run + "ls /sys/class/net"), (query_of(networkmode="host"), run + "cat /proc/sys/kernel/hostname | wc -l"), (query_of(networkmode="default"), run + "ls /sys/class/net"), (query_of(networkmode="bridge"), run + "ls /sys/class/net"), (query_of(networkmode="container:nope"), run + "true"), (query_of(networkmode="nope"), run + "true"),
            (query_of(shmsize="1048576"), run + "df -k /dev/shm | tail -1"), (query_of(shmsize="0"), run + "df -k /dev/shm | tail -1"), (query_of(shmsize="-1"), run + "true"), (query_of(ulimits=[{"Name": "nofile", "Soft": 77, "Hard": 88}]), run + "ulimit -n; ulimit -Hn"), (query_of(ulimits=[{"Name": "nope", "Soft": 77, "Hard": 88}]), run + "true"), (query_of(ulimits={}), run + "true"), (query_of(memory="67108864"), run + "cat /sys/fs/cgroup/memory/memory.limit_in_bytes"), (query_of(memory="67108864", memswap="67108864"), run + "cat /sys/fs/cgroup/memory/memory.memsw.limit_in_bytes"), (query_of(memory="1"), run + "true"), (query_of(memory="-1"), run + "true"), (query_of(memory="67108864", memswap="1"), run + "true"), (query_of(cpushares="99"), run + "cat /sys/fs/cgroup/cpu/cpu.shares"), (query_of(cpuperiod="50000", cpuquota="25000"), run + "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us"), (query_of(cpusetcpus="0"), run + "cat /sys/fs/cgroup/cpuset/cpuset.cpus"), (query_of(cpusetcpus="x"), run + "true"), (query_of(cpusetmems="0"), run + "true"), (query_of(cgroupparent="/below"), run + "true"),
            (query_of(t="A"), run + "true"), (query_of(t=""), run + "true"), (query_of(t="a:b:c"), run + "true"), ("t=bq:1&t=bq:2", run + "true"), ("t=bq:1&t=bq:1", run + "true"), ("t=bq:1&t=UPPER", run + "true"), (query_of(t="bq@sha256:" + "0" * 64), run + "true"), (query_of(t="0" * 64), run + "true"), (query_of(dockerfile=""), run + "echo the default"), (query_of(dockerfile="Dockerfile"), run + "true"), (query_of(dockerfile="/Dockerfile"), run + "true"), (query_of(dockerfile="./Dockerfile"), run + "true"), (query_of(dockerfile="nope"), run + "true"), (query_of(dockerfile="../Dockerfile"), run + "true"), (query_of(dockerfile="sub/other"), run + "true"), (query_of(dockerfile="."), run + "true"),
            (query_of(platform="linux/amd64"), run + "true"), (query_of(platform="linux/arm64"), run + "true"), (query_of(platform="windows/amd64"), run + "true"), (query_of(platform="nope"), run + "true"), (query_of(platform=""), run + "true"), (query_of(squash="1"), run + "true"), (query_of(squash="0"), run + "true"), (query_of(securityopt=["seccomp=unconfined"]), run + "grep Seccomp: /proc/self/status"), (query_of(securityopt=["nope"]), run + "true"), (query_of(securityopt="x"), run + "true"), (query_of(isolation="default"), run + "true"), (query_of(isolation="process"), run + "true"), (query_of(cachefrom=["busybox"]), run + "true"), (query_of(cachefrom=["nope"]), run + "true"), (query_of(cachefrom="null"), run + "true"), (query_of(cachefrom={}), run + "true"),
            (query_of(outputs=[{"Type": "tar"}]), run + "true"), (query_of(outputs="x"), run + "true"), (query_of(version="1"), run + "true"), (query_of(version=""), run + "true"), (query_of(version="3"), run + "true"), (query_of(session="x"), run + "true"), (query_of(buildid="x"), run + "true"), (query_of(remote=""), run + "true"), (query_of(remote="nope"), run + "true"), (query_of(remote="http://127.0.0.1:1/x"), run + "true"), (query_of(remote="http://127.0.0.1:5000/v2/"), run + "true"), (query_of(remote="ftp://x"), run + "true"), (query_of(remote="client-session"), run + "true"), (query_of(storageopt={"size": "x"}), run + "true"), (query_of(unknown="1"), run + "true")):
        yield build(query, text, ("sub/other", "FROM busybox\nRUN echo other"))
        yield q("GET", "/containers/json?all=1", ignore=["Names|Image|Command: '/bin/sh -c #"])
        for one in ("bq:1", "bq:2"):
            if "t=bq" in query:
                yield q("GET", f"/images/{one}/json", ignore=["Parent|Container|Comment|Hostname"])
        yield q("POST", "/containers/prune", quiet=True)
    yield build(query_of(t="bq:1", labels={"z": "1", "a": "2"}), "FROM busybox\nLABEL own=x a=0\nCMD x")
    yield q("GET", "/images/bq:1/json", ignore=["Parent|Container|Comment|Hostname"])
    yield q("GET", "/images/bq:1/history", ignore=["Size|Comment"])
    for config in ("", "e30=", "nonsense", "bnVsbA==", base64.b64encode(b'{"127.0.0.1:5000":{"username":"a","password":"b"}}').decode(), base64.urlsafe_b64encode(b'{"x":{"auth":"???>>>"}}').decode(), "W10=", "e30"):
        yield build("", f"FROM {BASE}busybox\n", headers=TAR + [("X-Registry-Config", config)])
    plain = tar(("Dockerfile", run + "echo packed\n"))
    for raw in (gzip.compress(plain), bz2.compress(plain), lzma.compress(plain), plain + b"\0" * 5000, plain[:700], b"FROM busybox\nRUN echo bare\n", b"", b"\0" * 1024, tar(("./Dockerfile", run + "echo dotted\n")), tar(("/Dockerfile", run + "echo rooted\n")), tar(("../Dockerfile", run + "true\n")), tar(("dockerfile", run + "echo small\n")), tar(("Dockerfile", None)), tar(("Dockerfile", ("->", "other")), ("other", run + "echo linked\n")), tar(("Dockerfile", ("->", "/etc/passwd"))), tar(("Dockerfile", ("->", "../x"))),
                tar(("Dockerfile", run + "echo x\n"), (".dockerignore", "Dockerfile\n")), tar(("Dockerfile", "FROM busybox\nCOPY . /c\nRUN ls -A /c\n"), (".dockerignore", "*\n!keep\n"), ("keep", "1"), ("drop", "2")), tar(("Dockerfile", "FROM busybox\nCOPY . /c\nRUN ls -A /c\n"), (".dockerignore", "[\n"), ("keep", "1")), tar(("Dockerfile", "FROM busybox\nCOPY x /\n"), (".dockerignore", "x\n"), ("x", "1"))):
        for kind in (TAR, [], [("Content-Type", "application/tar")], [("Content-Type", "application/gzip")], [("Content-Type", "application/octet-stream")]):
            if kind is not TAR and raw is not plain and raw[:2] != b"\x1f\x8b":
                continue
            yield q("POST", "/build?nocache=1", raw=raw, headers=kind, ignore=["--->|Removing"])
    # The cache, and builds that fail in the middle.
    twice = tar(("Dockerfile", "FROM busybox\nRUN echo cached\nLABEL x=y\n"))
    for query in ("t=cc:1", "t=cc:2", "nocache=1", "nocache=0&t=cc:1", "cachefrom=" + urllib.parse.quote('["cc:1"]')):
        yield q("POST", f"/build?{query}", raw=twice, headers=TAR, ignore=["[0-9a-f]{12}"])
    for text in ("FROM busybox\nRUN exit 5\n", "FROM busybox\nRUN nope\n", "FROM busybox\nRUN [\"nope\"]\n", "FROM busybox\nCOPY x y\n", "FROM nope:nope\n", "FROM 127.0.0.1:5000/nope\n", "FROM busybox\nUSER nope\nRUN true\n", "FROM busybox\nWORKDIR /etc/passwd\n", "FROM busybox AS a\nCOPY --from=b x y\n", "FROM busybox\nCOPY --from=busybox /bin/sh /x\nRUN ls /x\n", "FROM busybox\nADD http://127.0.0.1:5000/v2/ /x\nRUN cat /x\n", "FROM busybox\nADD http://127.0.0.1:5000/nope /x\n", "FROM busybox\nONBUILD RUN echo later\n", "FROM scratch\n", "FROM scratch\nLABEL a=b\n", "FROM scratch\nRUN true\n", "FROM busybox\nHEALTHCHECK --interval=1s CMD true\nHEALTHCHECK NONE\n", "FROM busybox\nCMD a\nENTRYPOINT b\n", "# escape=`\nFROM busybox\nRUN echo `\n a\n", "# syntax=nope\nFROM busybox\n", "FROM busybox\nRUN <<EOF\necho here\nEOF\n", "FROM --platform=linux/arm64 busybox\n", "FROM busybox\nMAINTAINER me\n", "FROM busybox\nSHELL [\"/bin/sh\", \"-xc\"]\nRUN echo traced\n", "FROM busybox\nRUN --mount=type=cache,target=/c true\n", "FROM busybox\nCOPY --chmod=700 Dockerfile /\n", "FROM busybox\nCOPY --link Dockerfile /\n"):
        yield q("POST", "/build?nocache=1&rm=1", raw=tar(("Dockerfile", text)), headers=TAR, ignore=["--->|Removing"])
    for name in ("bq:1", "bq:2", "cc:1", "cc:2"):
        yield q("DELETE", f"/images/{name}?force=1", quiet=True)
    yield q("POST", "/containers/prune", quiet=True)
    yield q("POST", "/images/prune", quiet=True)
    yield q("POST", "/build/prune?all=1", quiet=True)


def loading():
    """Archives of images, of every form, and what is said of them."""
    layer = tar(("f", "x"))
    import hashlib
    digest = lambda data: hashlib.sha256(data).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer)]}})

    def archive(tags, **more):
        out = io.BytesIO()
        manifest = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": ["l.tar"], **more}])
        with tarfile.open(fileobj=out, mode="w") as one:
            for name, data in (("l.tar", layer), ("c.json", config.encode()), ("manifest.json", manifest.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                one.addfile(info, io.BytesIO(data))
        return out.getvalue()

    for raw in (archive(["lo:1"]), archive(["lo:1"]), archive(["lo:1", "lo:2"]), archive(None), archive([]), archive(["UPPER:1"]), archive(["lo"]), archive(["lo:1", "bad name"]), gzip.compress(archive(["lo:3"])), lzma.compress(archive(["lo:3"])), archive(["docker.io/library/lo:4"]), archive(["lo@sha256:" + "0" * 64])):
        for query in ("", "?quiet=1", "?quiet=0", "?quiet=x"):
            yield from told(q("POST", f"/images/load{query}", raw=raw, headers=TAR), query="&" + filters({"type": ["image"]}))
        yield q("GET", "/images/json", ignore=["Size"])
        for name in ("lo:1", "lo:2", "lo:3", "lo:4", "{{x}}"):
            yield q("DELETE", f"/images/{name}", ignore=[r"\d of them"])
        yield q("POST", "/images/prune", body=False)
    yield q("POST", "/images/load", raw=archive(["lo:5"]), headers=[("Content-Type", "application/json")])
    yield q("POST", "/images/load", raw=archive(["lo:5"]))
    yield q("GET", "/images/lo:5/json", ignore=["Size"])
    yield q("GET", "/images/lo:5/history", ignore=["Size"])
    yield q("GET", "/images/lo:5/get", tar=True)
    yield q("GET", "/images/get?names=lo:5&names=busybox", tar=True)
    yield q("POST", "/containers/create?name=lo", json={"Image": "lo:5"})
    yield q("POST", "/containers/lo/start", ignore=["runc create failed"])
    yield q("GET", "/containers/lo/export", tar=True, ignore=["dev|etc|proc|sys"])
    yield from gone("lo")
    yield q("DELETE", "/images/lo:5", body=False)
    for query in ("fromSrc=-&repo=im:1", "fromSrc=-&repo=im&tag=1", "fromSrc=-&repo=im:1&tag=2", "fromSrc=-&repo=im@sha256:" + "0" * 64, "fromSrc=-&repo=im", "fromSrc=-&tag=x", "fromSrc=-&repo=im&platform=linux/arm64", "fromSrc=-&repo=im&platform=nope", "fromSrc=-&repo=im&platform=windows/amd64", "fromSrc=-&repo=im&message=hi%20there", "fromSrc=http://127.0.0.1:5000/nope&repo=im", "fromSrc=127.0.0.1:5000/nope&repo=im", "fromSrc=/etc/passwd", "fromSrc=-&repo=a%20b", "fromSrc=-&repo=im&changes=ENV+A%3D%22b+c%22&changes=CMD+%5B%22a%22%5D"):
        for raw in (tar(("a", "b")), gzip.compress(tar(("a", "b"))), b"nonsense", b""):
            yield q("POST", f"/images/create?{query}", raw=raw, headers=TAR, ignore=["sha256"])
            yield q("GET", "/images/im/json", ignore=["Size|DiffIDs|Layers"])
            yield q("DELETE", "/images/im", quiet=True)
            yield q("DELETE", "/images/im:1", quiet=True)
    yield q("POST", "/images/prune?" + filters({"dangling": ["true"]}), quiet=True)


def asking():
    """Registries: credentials, what they are asked, and what comes of errors."""
    for body in ({"username": "a", "password": "b", "serveraddress": "127.0.0.1:5000"}, {"serveraddress": "127.0.0.1:5000"}, {"serveraddress": "http://127.0.0.1:5000"}, {"serveraddress": "http://127.0.0.1:5000/v2/"}, {"username": "a", "serveraddress": "127.0.0.1:5000"}, {"auth": "YTpi", "serveraddress": "127.0.0.1:5000"}, {"identitytoken": "x", "serveraddress": "127.0.0.1:5000"}, {"serveraddress": "127.0.0.1:5000/"}, {"serveraddress": "/"}, {"serveraddress": "a b"}, {"serveraddress": "http://[::1"}):
        yield q("POST", "/auth", json=body, ignore=["dial|lookup"])
    urlsafe = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
    for header in ("", "e30=", "e30", "%%%", "bnVsbA==", "W10=", "IiI=", urlsafe({"username": "a", "password": "b"}), urlsafe({"username": "a?b>", "password": "??>>"}), urlsafe({"username": "a", "password": "b"}).rstrip("="), base64.b64encode(b'{"password":"??>>~~"}').decode(), urlsafe({"identitytoken": "x"}), urlsafe({"registrytoken": "x"}), urlsafe({"username": 1}), "e30=e30="):
        headers = [("X-Registry-Auth", header)]
        yield q("POST", f"/images/create?fromImage={BASE}busybox&tag=latest", headers=headers, ignore=["Extracting|Downloading|Waiting|of them|Verifying|Pull complete|Download complete|Pulling fs"])
        yield q("GET", f"/distribution/{BASE}busybox:latest/json", headers=headers, ignore=["digest|size"])
        yield q("POST", f"/images/{BASE}busybox/push?tag=nope", headers=headers)
        yield q("GET", "/images/search?term=" + BASE + "x", headers=headers, ignore=["dial|lookup"], timeout=10)
    for query in (f"fromImage={BASE}busybox", f"fromImage={BASE}busybox&tag=", f"fromImage={BASE}busybox:latest&tag=latest", f"fromImage={BASE}busybox@sha256:" + "0" * 64 + "&tag=x", f"fromImage={BASE}busybox&tag=sha256:" + "0" * 64, f"fromImage={BASE}nope/nope&tag=x", f"fromImage={BASE}busybox&tag=latest&platform=linux", f"fromImage={BASE}busybox&tag=latest&platform=linux/amd64", f"fromImage={BASE}busybox&tag=latest&platform=windows/amd64", f"fromImage={BASE}busybox&tag=latest&platform=linux/arm/v7", f"fromImage={BASE}busybox&tag=latest&repo=x", f"fromImage={BASE}busybox&tag=latest&fromSrc=-", "fromImage=127.0.0.1:5001/x&tag=y", "fromImage=127.0.0.1:5000", "fromImage=scratch", "fromImage=" + "0" * 64, "fromImage=sha256:" + "0" * 64, "fromImage=http://127.0.0.1:5000/x", "fromImage=a//b", "fromImage=" + "a" * 300):
        yield q("POST", f"/images/create?{query}", ignore=["Extracting|Downloading|Waiting|of them|dial|lookup|Verifying|Pull complete|Download complete|Pulling fs"])
    yield q("GET", f"/images/{BASE}busybox:latest/json", ignore=["Size"])
    yield q("GET", f"/images/{BASE}busybox/json", ignore=["Size"])
    yield q("GET", "/images/json?digests=1", ignore=["Size"])
    for name in ("nope", f"{BASE}nope", f"{BASE}busybox@sha256:" + "0" * 64, "busybox", "sha256:" + "0" * 64, "UPPER", "a b", f"{BASE}busybox:nope"):
        for query in ("", "?tag=x", "?tag=latest"):
            if name == "busybox":
                continue
            yield q("POST", f"/images/{urllib.parse.quote(name, safe='/:@')}/push{query}", headers=AUTH, ignore=["dial|lookup"])
        yield q("GET", f"/distribution/{urllib.parse.quote(name, safe='/:@')}/json", ignore=["dial|lookup|digest|size|Get "], timeout=20)
    yield q("DELETE", f"/images/{BASE}busybox:latest", body=False)


def wiring():
    """Networks: settings that are kept, containers that come and go, and what they see of each other."""
    made_net = lambda name, **more: q("POST", "/networks/create", json={"Name": name, **more}, save=name)
    yield made_net("wn1", IPAM={"Config": [{"Subnet": "10.81.0.0/24"}]}, Labels={"a": "b"}, Options={"com.docker.network.bridge.enable_icc": "true"}, Internal=True, Attachable=True)
    yield made_net("wn2", IPAM={"Config": [{"Subnet": "10.82.0.0/24", "IPRange": "10.82.0.128/25", "Gateway": "10.82.0.200"}]})
    yield from made("w1", HostConfig={"NetworkMode": "wn1"}, NetworkingConfig={"EndpointsConfig": {"wn1": {"Aliases": ["al"], "MacAddress": "02:42:0a:51:00:33"}}})
    yield from made("w2", HostConfig={"NetworkMode": "wn2"}, cmd=["sh", "-c", "sleep 1000"], Hostname="host2", Domainname="dom")
    for name in ("wn1", "wn2", "{{wn1}}", "{{wn112}}"):
        for query in ("", "?verbose=1", "?scope=local", "?scope=swarm", "?scope=global"):
            yield q("GET", f"/networks/{name}{query}", ignore=["MacAddress: '"])
    yield q("GET", "/networks", ignore=[r"^(?!.*wn1)"])
    see = "ip -o -4 addr show | awk '{print $2, $4}' | sort; ip route | sort; for n in w1 w2 al w1.wn1 host2 nope {0}; do nslookup $n 127.0.0.11 > /tmp/o 2>&1; echo $n $?; done; grep -v '^#' /etc/resolv.conf; grep -c . /etc/hosts"
    yield from shell("w1", see)
    yield q("POST", "/networks/wn2/connect", json={"Container": "w1", "EndpointConfig": {"Aliases": ["second", "second"], "Links": ["w2:two"]}})
    yield q("GET", "/containers/w1/json", ignore=["MacAddress: '"])
    yield from shell("w1", see)
    yield from shell("w2", see)
    yield q("POST", "/containers/w1/restart?t=0")
    # The judge goes by the gateway where the interfaces have their numbers from, and keeps what it has once said of an address.
    yield q("GET", "/containers/w1/json", ignore=["MacAddress: "])
    yield from shell("w1", see.replace("$2, $4", "$4").replace("ip route", "ip route | sed 's/dev eth.//'"))
    yield q("POST", "/containers/w2/rename?name=w3")
    yield from shell("w1", "nslookup w3 127.0.0.11 > /dev/null; echo $?; nslookup w2 127.0.0.11 > /dev/null; echo $?")
    yield q("POST", "/containers/w3/rename?name=w2")
    yield q("POST", "/containers/w1/pause")
    yield q("POST", "/networks/wn2/disconnect", json={"Container": "w1"})
    yield q("GET", "/networks/wn2", ignore=["MacAddress: '"])
    yield q("POST", "/containers/w1/unpause")
    yield q("POST", "/networks/wn1/disconnect", json={"Container": "w1"})
    yield q("GET", "/containers/w1/json")
    yield from shell("w1", "ip -o link | wc -l; cat /etc/resolv.conf | grep -c 127.0.0.11")
    yield q("POST", "/containers/w1/restart?t=0")
    yield q("GET", "/containers/w1/json")
    for body in ({"Container": "w1", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.82.0.200"}}}, {"Container": "w1", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.82.0.5"}}}, {"Container": "w1", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.82.0.5"}, "MacAddress": "02:42:0a:52:00:05"}}, {"Container": "w2"}, {"Container": "w1", "Force": True}):
        yield q("POST", "/networks/wn2/connect", json=body)
        yield q("GET", "/containers/w1/json", ignore=["MacAddress: '"])
    yield q("POST", "/containers/create?name=w4", json={"Image": "busybox", "Cmd": FOREVER, "HostConfig": {"NetworkMode": "wn2"}, "NetworkingConfig": {"EndpointsConfig": {"wn2": {"IPAMConfig": {"IPv4Address": "10.82.0.5"}}}}})
    yield q("POST", "/containers/w4/start")
    yield q("GET", "/containers/w4/json")
    yield q("DELETE", "/networks/wn2")
    yield q("DELETE", "/networks/{{wn2}}")
    yield q("POST", "/networks/prune", ignore=["Deleted"])
    yield from gone("w1", "w4")
    yield q("POST", "/containers/w2/stop?t=0")
    yield q("GET", "/networks/wn2")
    yield q("DELETE", "/networks/wn2")
    yield q("POST", "/containers/w2/start")
    yield q("GET", "/containers/w2/json", ignore=["NetworkMode|IPAMConfig"])
    yield made_net("wn2", IPAM={"Config": [{"Subnet": "10.82.0.0/24"}]})
    yield q("POST", "/containers/w2/start")
    yield from gone("w2")
    # The id of one as the name of another, names twice, beginnings of ids.
    yield made_net("wn3", Labels={"x": "{{wn1}}"})
    yield q("POST", "/networks/create", json={"Name": "{{wn3}}"}, save="odd")
    yield q("GET", "/networks/{{wn3}}", ignore=[r"Subnet|Gateway"])
    yield q("DELETE", "/networks/{{odd}}")
    for name in ("wn1", "WN1", "wn1 "):
        for more in ({}, {"CheckDuplicate": True}, {"CheckDuplicate": False}, {"Driver": "nope"}, {"ConfigOnly": True}):
            yield q("POST", "/networks/create", json={"Name": name, **more}, save="dup")
            yield q("DELETE", "/networks/{{dup}}", quiet=True) if name != "wn1" else q("GET", "/_ping")
    yield made_net("cfg", ConfigOnly=True, IPAM={"Config": [{"Subnet": "10.83.0.0/24"}]}, Options={"com.docker.network.driver.mtu": "1300"}, Labels={"c": "d"})
    yield q("GET", "/networks/cfg")
    yield made_net("from", ConfigFrom={"Network": "cfg"})
    yield q("GET", "/networks/from")
    yield made_net("from2", ConfigFrom={"Network": "cfg"}, IPAM={"Config": [{"Subnet": "10.84.0.0/24"}]})
    yield made_net("from3", ConfigFrom={"Network": "wn1"})
    yield q("POST", "/networks/cfg/connect", json={"Container": "nope"})
    yield q("POST", "/containers/create?name=w5", json={"Image": "busybox", "Cmd": FOREVER, "HostConfig": {"NetworkMode": "cfg"}})
    yield q("POST", "/containers/w5/start")
    yield from gone("w5")
    yield q("DELETE", "/networks/cfg")
    yield q("DELETE", "/networks/from")
    yield q("DELETE", "/networks/cfg")
    for f in ({"until": ["1s"]}, {"until": ["1h"]}, {"label": ["a=b"]}, {"label!": ["a=b"]}, {"label": ["a=c"]}, {}):
        yield q("POST", "/networks/prune?" + filters(f))
        yield q("GET", "/networks?" + filters({"type": ["custom"]}), ignore=[r"Subnet|Gateway|Labels\.x"])
    for kind in ("macvlan", "ipvlan"):
        for options in ({}, {"parent": "lo"}, {"parent": "nope0"}, {"parent": "lo", f"{kind}_mode": "nope"}, {f"{kind}_mode": "l3" if kind == "ipvlan" else "private"}):
            yield q("POST", "/networks/create", json={"Name": "vlan", "Driver": kind, "Options": options, "IPAM": {"Config": [{"Subnet": "10.85.0.0/24"}]}})
            yield q("GET", "/networks/vlan")
            yield q("DELETE", "/networks/vlan", quiet=True)
    yield from gone("w3")


def keeping():
    """Volumes: what is copied into them, who uses them, what is said of them."""
    yield imported("kv:1", ("data", None), ("data/f", "from the image", 0o600, 5), ("data/l", ("->", "f")), ("bin", None), changes=["VOLUME /data", "CMD sh"])
    for host, more in (({}, {}), ({"Binds": ["kv1:/data"]}, {}), ({"Binds": ["kv2:/data:nocopy"]}, {}), ({"Binds": ["kv3:/data:ro"]}, {}), ({"Mounts": [{"Type": "volume", "Source": "kv4", "Target": "/data"}]}, {}), ({"Mounts": [{"Type": "volume", "Source": "kv5", "Target": "/data", "VolumeOptions": {"NoCopy": True, "Labels": {"l": "m"}, "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5"}}}}]}, {}), ({"Tmpfs": {"/data": "size=1m"}}, {}), ({"Binds": ["/tmp:/data"]}, {}), ({}, {"Volumes": {"/data": {}, "/more": {}}})):
        yield q("POST", "/containers/create?name=k1", json={"Image": "kv:1", "Cmd": ["x"], "HostConfig": host, **more})
        yield q("GET", "/containers/k1/json", ignore=[r"Mounts\[\d\]"])
        yield q("GET", "/containers/json?all=1&" + filters({"name": ["k1"]}), ignore=[r"Mounts\[\d\]"])
        yield q("GET", "/containers/k1/archive?path=/data", tar=True, ignore_headers=["x-docker-container-path-stat"])
        yield q("POST", "/containers/create?name=k2", json={"Image": "busybox", "Cmd": FOREVER, "HostConfig": {"VolumesFrom": ["k1:ro"]}})
        yield q("POST", "/containers/k2/start")
        yield q("GET", "/containers/k2/json", ignore=[r"Mounts\[\d\]"])
        yield from shell("k2", "ls -ln /data | sed 's/  */ /g'; cat /data/f; touch /data/new; echo $?; grep -c ' /data ' /proc/mounts")
        yield q("DELETE", "/containers/k1?v=1&force=1")
        yield q("GET", "/volumes", ignore=[r"Volumes\[\d\]\."])
        yield from gone("k2")
    for name in ("kv1", "kv2", "kv3", "kv4", "kv5"):
        yield q("GET", f"/volumes/{name}")
        yield q("DELETE", f"/volumes/{name}")
    for body in ({"Name": "kx"}, {"Name": "kx", "Labels": {"a": "b"}}, {"Name": "kx", "Driver": "local"}, {"Name": "kx", "Driver": "nope"}, {"Name": "kx", "DriverOpts": {"o": "size=1"}}, {"Name": "ky", "DriverOpts": {"o": "x"}}, {"Name": "ky", "DriverOpts": {"type": "tmpfs"}}, {"Name": "ky", "DriverOpts": {"device": "tmpfs"}}, {"Name": "ky", "DriverOpts": {"type": "none", "o": "bind", "device": "/nope"}}, {"Name": "kz", "DriverOpts": {"type": "none", "o": "bind", "device": "/tmp"}}, {"Name": "ky", "DriverOpts": {"size": "1m"}}, {"Name": "ky", "DriverOpts": {"nope": ""}}, {"Name": "a"}, {"Name": "ab"}, {"Name": ".a"}, {"Name": "a" * 255}, {"Name": "a" * 256}, {"Name": "a/b"}, {"Name": "-ab"}, {"Name": "kx", "ClusterVolumeSpec": {}}, {"Labels": {"": ""}}, {"Driver": ""}, {"Driver": "LOCAL"}):
        yield from told(q("POST", "/volumes/create", json=body), query="&" + filters({"type": ["volume"]}), ignore=[] if "Name" in body else ["."])
        if body.get("Name"):
            yield q("GET", "/volumes/" + urllib.parse.quote(body["Name"], safe=""))
    for name in ("ky", "kz"):
        yield q("POST", "/containers/create?name=k3", json={"Image": "busybox", "Cmd": ["true"], "HostConfig": {"Binds": [f"{name}:/v"]}})
        yield q("POST", "/containers/k3/start", ignore=["runc create failed"])
        yield q("GET", "/containers/k3/json", ignore=[r"Mounts\[\d\]\.Source"])
        yield from gone("k3")
    yield q("GET", "/system/df", ignore=["BuildCache|LayersSize|Volumes: |Images"])
    yield q("POST", "/volumes/prune")
    for f in ({"label": ["a"]}, {"all": ["true"], "label": ["a"]}, {"all": ["1"], "label!": ["a"]}, {"all": ["false"]}, {"all": ["true", "false"]}, {"all": ["true"]}):
        yield q("POST", "/volumes/prune?" + filters(f), ignore=[r"VolumesDeleted\[\d\]"])
    yield q("POST", "!/v1.41/volumes/prune", ignore=[r"VolumesDeleted\[\d\]"])
    yield q("GET", "/volumes")
    yield q("DELETE", "/images/kv:1", quiet=True)


def counting():
    """What the system says of all there is, by version."""
    yield from made("n1", cmd=["sh", "-c", "head -c 5000 /dev/zero > /f; sleep 1000"], HostConfig={"Binds": ["nv:/v"]})
    yield from made("n2", start=False)
    yield imported("nn:1")
    yield q("POST", "/images/create?fromSrc=-&repo=nn&tag=1", raw=tar(("c", "d")), headers=TAR, quiet=True)
    for version in ("1.24", "1.41", "1.42", "1.43", "1.44", "1.45"):
        for query in ("", "?type=container", "?type=image", "?type=volume", "?type=build-cache", "?type=image&type=volume", "?type=", "?type=image,volume"):
            yield q("GET", f"!/v{version}/system/df{query}", ignore=["LayersSize|Id|SharedSize"])
        yield q("GET", f"!/v{version}/info", ignore=[r"\.(ID|Name|NFd|NGoroutines|NEventsListener|SystemTime|KernelVersion|ServerVersion|Runtimes|.*Commit|DriverStatus|MemTotal|DockerRootDir)"])
    for method, path in (("HEAD", "/version"), ("HEAD", "/containers/json"), ("HEAD", "/images/busybox/json"), ("HEAD", "/containers/n1/json"), ("HEAD", "/containers/n1/logs?stdout=1"), ("HEAD", "/volumes"), ("HEAD", "/networks"), ("HEAD", "/events?until=1"), ("HEAD", "/exec/x/json"), ("HEAD", "/containers/n1/export"), ("HEAD", "/images/busybox/get"), ("HEAD", "/distribution/x/json"), ("OPTIONS", "/containers/n1/json"), ("OPTIONS", "/_ping"), ("OPTIONS", "/nope")):
        yield q(method, path)
    yield from gone("n1", "n2")
    yield q("DELETE", "/volumes/nv", quiet=True)
    yield q("DELETE", "/images/nn:1", quiet=True)
    yield q("POST", "/images/prune", quiet=True)


SECTIONS = {f.__name__: f for f in (using, telling, building, loading, asking, wiring, keeping, counting)}
