#!/usr/bin/env python3
"""docker-py against a daemon, its high and its low level: one line for each step, ids and times made the same.

    docker_py.py SOCKET [API-VERSION [STEP]]    two daemons' outputs are to be compared with diff

Needs PyPI's `docker`; the daemon holds the image `busybox`.
"""
import io
import re
import sys
import tarfile
import time

import docker

base = "unix://" + sys.argv[1]
c = docker.DockerClient(base_url=base, version=sys.argv[2] if len(sys.argv) > 2 else "1.45", timeout=30)
api = c.api
only = sys.argv[3] if len(sys.argv) > 3 else None
def norm(v):
    t = v if isinstance(v, str) else repr(v)
    t = re.sub(r"\b[0-9a-f]{64}\b", "<id>", t); t = re.sub(r"\b[0-9a-f]{12}\b", "<id12>", t)
    t = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-][\d:]+)", "<time>", t)
    t = re.sub(r"/(tmp|work)/[\w./-]+?/data/", "<root>/data/", t)
    return t[:600]
def step(name):
    def deco(f):
        if only and only not in name: return f
        t = time.time()
        try: r = f(); print(f"{name}: {norm(r)}")
        except Exception as e:
            print(f"{name}: !! {type(e).__name__}: {norm(str(e))}")
        dt = time.time() - t
        if dt > 5: print(f"   (slow: {name} {dt:.1f}s)", file=sys.stderr)
        sys.stdout.flush()
        return f
    return deco
def shape(v):
    if isinstance(v, dict): return {k: shape(x) for k, x in sorted(v.items())}
    if isinstance(v, list): return [shape(v[0])] if v else []
    return type(v).__name__
def rm(name):
    try: c.containers.get(name).remove(force=True, v=True)
    except docker.errors.NotFound: pass
for n in ("p1","p2","p3","p4","p5","p6","p7","p8"): rm(n)

@step("ping")
def _(): return c.ping()
@step("version")
def _(): return sorted(c.version())
@step("info")
def _(): return c.info()["OSType"], c.info()["Swarm"]["LocalNodeState"]
@step("df")
def _(): return sorted(c.df())
@step("images.list")
def _(): return [i.tags for i in c.images.list()]
@step("images.get")
def _(): i = c.images.get("busybox"); return i.short_id[:7], i.labels, i.tags, shape(i.attrs)
@step("images.get missing")
def _(): return c.images.get("nope")
@step("image.history")
def _(): return shape(c.images.get("busybox").history())
@step("image.tag/remove")
def _(): i = c.images.get("busybox"); r = i.tag("pyx", tag="1"); c.images.remove("pyx:1"); return r
@step("image.save")
def _(): return sorted(set(m.name.split("/")[-1][:8] if "json" in m.name else "" for m in tarfile.open(fileobj=io.BytesIO(b"".join(c.images.get("busybox").save(named=True)))).getmembers()))[:2]
@step("images.load")
def _(): return [i.tags for i in c.images.load(b"".join(c.images.get("busybox").save(named=True)))]
@step("images.build")
def _():
    img, log = c.images.build(fileobj=io.BytesIO(b"FROM busybox\nLABEL a=b\nRUN echo hi\nCMD [\"echo\",\"built\"]\n"), tag="pybuilt", rm=True, nocache=True)
    return img.labels, [sorted(l) for l in log]
@step("images.build fail")
def _(): return c.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 4\n"))
@step("images.build bad")
def _(): return c.images.build(fileobj=io.BytesIO(b"NOPE busybox\n"))
@step("run built")
def _(): return c.containers.run("pybuilt", remove=True)
@step("images.remove")
def _(): return c.images.remove("pybuilt")
@step("images.prune")
def _(): return shape(c.images.prune())
@step("images.pull missing")
def _(): return c.images.pull("127.0.0.1:1/nope", tag="x")
@step("run")
def _(): return c.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], stdout=True, stderr=True, remove=True)
@step("run stderr only")
def _(): return c.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], stdout=False, stderr=True, remove=True)
@step("run fail")
def _(): return c.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)
@step("run stream")
def _(): return list(c.containers.run("busybox", ["sh", "-c", "echo a; sleep 0.2; echo b"], stream=True, remove=False))
@step("run missing image")
def _(): return c.containers.run("127.0.0.1:1/nope:x", "true")
@step("run missing program")
def _():
    try: return c.containers.run("busybox", "/nope", name="p8")
    finally: rm("p8")
@step("run options")
def _():
    k = c.containers.run("busybox", "sleep 1000", name="p1", detach=True, environment={"A": "b"}, labels={"l": "1"}, mem_limit="64m", hostname="hh", domainname="dd", dns=["1.1.1.1"], dns_search=["x.y"], dns_opt=["ndots:2"], extra_hosts={"foo": "1.2.3.4"},
        cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], tmpfs={"/t": "size=1m"}, volumes={"pv1": {"bind": "/v", "mode": "rw"}, "/tmp": {"bind": "/tt", "mode": "ro"}}, ports={"80/tcp": None, "81/tcp": ("127.0.0.1", 18081), 82: [18082, 18083]}, restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        ulimits=[docker.types.Ulimit(name="nofile", soft=100, hard=200)], sysctls={"net.core.somaxconn": "1024"}, working_dir="/tmp", user="1:1", group_add=["2"], read_only=True, security_opt=["no-new-privileges"], shm_size="32m", stop_signal="SIGINT", init=True, pids_limit=100, cpu_shares=512, nano_cpus=500000000, cpuset_cpus="0",
        mounts=[docker.types.Mount("/m", None, type="tmpfs", tmpfs_size=1000000)], log_config=docker.types.LogConfig(type="json-file", config={"max-size": "1m"}), healthcheck={"test": ["CMD", "true"], "interval": 1000000000, "retries": 3}, oom_score_adj=100, ipc_mode="private")
    k.reload(); return k.status, k.name, k.labels, k.image.tags
@step("attrs")
def _(): return {k: shape(v) for k, v in c.containers.get("p1").attrs.items() if k not in ("GraphDriver", "HostConfig", "Config", "NetworkSettings")}
@step("attrs HostConfig")
def _(): return {k: v for k, v in sorted(c.containers.get("p1").attrs["HostConfig"].items()) if k not in ("MaskedPaths", "ReadonlyPaths")}
@step("attrs HostConfig 2")
def _(): return {k: v for k, v in sorted(c.containers.get("p1").attrs["HostConfig"].items()) if k > "I" and k not in ("MaskedPaths", "ReadonlyPaths")}
@step("attrs Config")
def _(): return dict(sorted(c.containers.get("p1").attrs["Config"].items()))
@step("attrs net")
def _(): n = dict(c.containers.get("p1").attrs["NetworkSettings"]); p = n.pop("Ports"); return shape(n), sorted(p)
@step("attrs mounts")
def _(): return sorted((m["Type"], m.get("Name", ""), m["Destination"], m["Mode"], m["RW"], m["Propagation"]) for m in c.containers.get("p1").attrs["Mounts"])
@step("ports")
def _(): return {k: len(v or []) for k, v in sorted(c.containers.get("p1").ports.items())}
@step("exec_run")
def _(): return c.containers.get("p1").exec_run("echo hello")
@step("exec_run demux")
def _(): return c.containers.get("p1").exec_run(["sh", "-c", "echo o; echo e >&2; exit 7"], demux=True)
@step("exec_run stream")
def _(): return list(c.containers.get("p1").exec_run("echo hello", stream=True).output)
@step("exec_run tty env user")
def _(): return c.containers.get("p1").exec_run(["sh", "-c", "id -u; echo $X; pwd"], tty=True, environment={"X": "y"}, user="root", workdir="/")
@step("exec_run detach")
def _(): return c.containers.get("p1").exec_run("true", detach=True)
@step("exec_run missing")
def _(): return c.containers.get("p1").exec_run("nope")
@step("exec socket stdin")
def _():
    e = api.exec_create("p1", "cat", stdin=True)
    s = api.exec_start(e["Id"], socket=True)
    s._sock.sendall(b"through\n"); s._sock.shutdown(1)
    data = b""
    while True:
        b = s.read(1024) if not hasattr(s, "recv") else s.recv(1024)
        if not b: break
        data += b
    s.close()
    return data, shape(api.exec_inspect(e["Id"])), api.exec_inspect(e["Id"])["ExitCode"]
@step("exec resize")
def _():
    e = api.exec_create("p1", "sleep 5", tty=True, stdin=True)
    s = api.exec_start(e["Id"], socket=True, tty=True)
    time.sleep(0.3); r = api.exec_resize(e["Id"], height=10, width=20); s.close(); return r
@step("logs of run")
def _():
    k = c.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], detach=True, name="p2"); w = k.wait()
    return w, k.logs(), k.logs(stdout=False), k.logs(stderr=False), k.logs(tail=1), k.logs(since=1), k.logs(until=1), len(k.logs(timestamps=True)), list(k.logs(stream=True)), list(k.logs(stream=True, follow=True))
@step("wait conditions")
def _():
    k = c.containers.get("p2"); k.start()
    return k.wait(condition="not-running")
@step("attach stream")
def _():
    k = c.containers.create("busybox", ["sh", "-c", "echo o; echo e >&2"], name="p3"); g = k.attach(stream=True, logs=False); k.start(); return sorted(g)
@step("attach logs")
def _(): return c.containers.get("p3").attach(stdout=True, stderr=True, logs=True, stream=False)
@step("attach logs demux")
def _(): return c.containers.get("p3").attach(stdout=True, stderr=True, logs=True, stream=False, demux=True)
@step("attach_socket")
def _():
    rm("p3"); k = c.containers.create("busybox", "cat", name="p3", stdin_open=True, tty=False, detach=False)
    s = k.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1}); k.start(); s._sock.sendall(b"hey\n"); s._sock.shutdown(1)
    data = b""
    while True:
        b = s.read(1024)
        if not b: break
        data += b
    return data, k.wait()
@step("attach_socket ws")
def _():
    rm("p3"); k = c.containers.create("busybox", ["sh", "-c", "read x; echo got $x"], name="p3", stdin_open=True, tty=True)
    k.start()
    s = k.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1}, ws=True); s.send("hey\n"); out = b""
    while b"got" not in out: 
        r = s.recv()
        out += r if isinstance(r, bytes) else r.encode()
    s.close(); return out, k.wait()
@step("put/get_archive")
def _():
    k = c.containers.get("p3"); b = io.BytesIO(); t = tarfile.open(fileobj=b, mode="w"); i = tarfile.TarInfo("f.txt"); i.size = 3; t.addfile(i, io.BytesIO(b"abc")); t.close()
    r = k.put_archive("/tmp", b.getvalue()); bits, stat = k.get_archive("/tmp/f.txt"); t = tarfile.open(fileobj=io.BytesIO(b"".join(bits)))
    return r, {k: v for k, v in stat.items() if k != "mtime"}, [(m.name, m.size) for m in t.getmembers()]
@step("get_archive missing")
def _(): return c.containers.get("p3").get_archive("/nope")
@step("put_archive missing")
def _(): return c.containers.get("p3").put_archive("/nope", b"\0"*1024)
@step("diff")
def _(): return c.containers.get("p3").diff()
@step("export")
def _(): return len(tarfile.open(fileobj=io.BytesIO(b"".join(c.containers.get("p3").export()))).getmembers()) > 10
@step("commit")
def _(): i = c.containers.get("p3").commit("pycommit", "t", message="m", author="a", changes=["CMD echo x"]); r = i.tags, i.attrs["Comment"], i.attrs["Author"], i.attrs["Config"]["Cmd"]; c.images.remove("pycommit:t"); return r
@step("top")
def _(): return c.containers.get("p1").top()["Titles"], shape(c.containers.get("p1").top(ps_args="aux"))
@step("stats")
def _(): s = c.containers.get("p1").stats(stream=False); return shape(s)
@step("stats stream")
def _(): g = c.containers.get("p1").stats(decode=True); return sorted(next(g)) 
@step("pause")
def _(): k = c.containers.get("p1"); k.pause(); k.reload(); s = k.status; k.unpause(); k.reload(); return s, k.status
@step("rename")
def _(): k = c.containers.get("p2"); k.rename("p4"); k.reload(); return k.name
@step("rename conflict")
def _(): return c.containers.get("p4").rename("p1")
@step("restart")
def _(): k = c.containers.get("p1"); k.restart(timeout=0); k.reload(); return k.status
@step("update")
def _(): k = c.containers.get("p1"); return k.update(mem_limit="128m", memswap_limit="256m", cpu_shares=256, restart_policy={"Name": "no"})
@step("resize")
def _(): return c.containers.get("p1").resize(10, 20)
@step("kill bad")
def _(): return c.containers.get("p4").kill()
@step("stop/start")
def _(): k = c.containers.get("p1"); k.stop(timeout=0); k.reload(); s = k.status; k.start(); k.reload(); return s, k.status
@step("list filters")
def _(): return [sorted(x.name for x in c.containers.list(all=True, filters=f)) for f in ({"name": "p1"}, {"status": "running"}, {"label": "l"}, {"label": ["l=1"]}, {"ancestor": "busybox", "name": "p1"}, {"exited": 0, "name": "p"}, {"volume": "pv1"}, {"network": "bridge", "name": "p1"}, {"publish": "81"}, {"health": "none", "name": "p4"})]
@step("list sparse")
def _(): return [(x.name if not hasattr(x, "attrs") else sorted(x.attrs)) for x in c.containers.list(sparse=True, filters={"name": "p1"})]
@step("list limit/since/before")
def _(): return len(c.containers.list(limit=1)), len(c.containers.list(all=True, since="p1", filters={"name": "^p[0-9]$"})), len(c.containers.list(all=True, before="p4", filters={"name": "^p[0-9]$"}))
@step("api.containers")
def _(): return shape(api.containers(all=True, size=True, filters={"name": "p1"}))
@step("events")
def _():
    out = []
    t0 = int(time.time()); k = c.containers.run("busybox", "true", name="p5"); rm("p5"); t1 = int(time.time()) + 1
    for e in c.events(since=t0, until=t1, decode=True, filters={"container": "p5"}): out.append((e["Type"], e["Action"], e.get("status"), sorted(e["Actor"]["Attributes"])))
    return out
@step("events shape")
def _():
    t0 = int(time.time()); k = c.containers.run("busybox", "true", name="p5"); rm("p5"); t1 = int(time.time()) + 1
    return [shape(e) for e in c.events(since=t0, until=t1, decode=True, filters={"event": "start"})][:1]
@step("events network")
def _():
    t0 = int(time.time()); n = c.networks.create("pyev"); n.remove(); t1 = int(time.time()) + 1
    return [(e["Type"], e["Action"], sorted(e["Actor"]["Attributes"].items())[0:2]) for e in c.events(since=t0, until=t1, decode=True, filters={"type": "network"})][-2:]
@step("volumes")
def _():
    v = c.volumes.create("pyv", driver="local", labels={"a": "b"}); r = (v.name, sorted(v.attrs), v.attrs["Labels"], v.attrs["Options"]); l = [x.name for x in c.volumes.list(filters={"label": "a=b"})]; g = c.volumes.get("pyv").short_id; v.remove(); return r, l, g
@step("volume missing")
def _(): return c.volumes.get("nope")
@step("volume in use")
def _(): return c.volumes.get("pv1").remove()
@step("volumes.prune")
def _(): return shape(c.volumes.prune())
@step("networks")
def _():
    n = c.networks.create("pyn", driver="bridge", labels={"a": "b"}, internal=False, attachable=True, enable_ipv6=False, options={"com.docker.network.driver.mtu": "1400"}, ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.99.0.0/24", gateway="10.99.0.1", iprange="10.99.0.128/25", aux_addresses={"x": "10.99.0.9"})]))
    n.reload(); k = c.containers.get("p1"); n.connect(k, aliases=["al"], ipv4_address="10.99.0.200"); n.reload(); r = (n.attrs["IPAM"], n.attrs["Options"], sorted(n.attrs), [x.name for x in n.containers])
    k.reload(); r2 = {kk: v for kk, v in k.attrs["NetworkSettings"]["Networks"]["pyn"].items() if kk not in ("MacAddress",)}
    n.disconnect(k, force=True); l = [x.name for x in c.networks.list(names=["pyn"])]; n.remove(); return r, r2, l
@step("networks dup")
def _():
    n = c.networks.create("pyd")
    try: return c.networks.create("pyd", check_duplicate=True)
    finally: n.remove()
@step("networks get greedy")
def _(): return [n.name for n in c.networks.list(greedy=True)], c.networks.get("bridge").attrs["Driver"]
@step("networks.prune")
def _(): return c.networks.prune()
@step("networking_config")
def _():
    n = c.networks.create("pync", ipam=docker.types.IPAMConfig(pool_configs=[docker.types.IPAMPool(subnet="10.98.0.0/24")]))
    try:
        k = c.containers.run("busybox", "sleep 100", name="p6", detach=True, network="pync", networking_config={"pync": docker.types.EndpointConfig("1.45", aliases=["zz"], ipv4_address="10.98.0.77")})
        k.reload(); e = k.attrs["NetworkSettings"]["Networks"]["pync"]; return e["IPAddress"], e["Aliases"], len(e["DNSNames"]), k.exec_run("nslookup zz 127.0.0.11").exit_code
    finally: rm("p6"); n.remove()
@step("low-level create_host_config")
def _():
    hc = api.create_host_config(binds=["/tmp:/b:ro"], port_bindings={1111: 11111, "2222/udp": ("127.0.0.1",)}, links={"p1": "li"}, lxc_conf=None, publish_all_ports=True, volumes_from=["p1"], network_mode="bridge", devices=["/dev/null:/dev/xn:rwm"], device_cgroup_rules=["c 1:3 rwm"], blkio_weight=300, cpu_period=100000, cpu_quota=50000, mem_swappiness=40, memswap_limit=-1, mem_limit="64m", kernel_memory=None, oom_kill_disable=False, userns_mode="host", uts_mode="host", pid_mode="host", cgroupns="private", runtime=None, device_requests=None, storage_opt=None)
    k = api.create_container("busybox", "true", name="p7", ports=[1111, (2222, "udp")], environment=["Q=1"], volumes=["/dv"], entrypoint="echo", host_config=hc, stop_timeout=5)
    i = api.inspect_container("p7"); return k["Warnings"], i["HostConfig"]["PortBindings"], i["HostConfig"]["Links"], i["Config"]["Entrypoint"], i["Config"]["ExposedPorts"], [m["Destination"] for m in sorted(i["Mounts"], key=lambda m: m["Destination"])], i["HostConfig"]["Devices"], i["HostConfig"]["PidMode"]
@step("port")
def _(): return api.port("p1", 81)
@step("remove running")
def _(): return c.containers.get("p1").remove()
@step("remove v")
def _(): c.containers.get("p1").remove(force=True, v=True); return c.containers.get("p1")
@step("containers.prune")
def _(): return shape(c.containers.prune(filters={"until": "1h"}))
@step("search")
def _(): return c.images.search("busybox")
@step("login")
def _(): return c.login("u", "p", registry="127.0.0.1:1")
@step("swarm")
def _(): return c.swarm.attrs, c.swarm.reload()
@step("services")
def _(): return c.services.list()
@step("plugins")
def _(): return c.plugins.list()
@step("secrets")
def _(): return c.secrets.list()
@step("auth/distribution")
def _(): return c.images.get_registry_data("127.0.0.1:1/x")
for n in ("p1","p2","p3","p4","p5","p6","p7","p8"): rm(n)
