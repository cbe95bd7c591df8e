"""Containers: their settings, their life, lists of them, files in them."""
import io
import tarfile

import docker
from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from images import archive
from told import plain, refused, shape, step

SETTINGS = dict(
    environment={"A": "b"}, labels={"l": "1"}, mem_limit="64m", memswap_limit="128m", mem_reservation="32m", hostname="hh", domainname="dd", dns=["192.0.2.1"],
    dns_search=["x.y"], dns_opt=["ndots:2"], extra_hosts={"foo": "192.0.2.4"}, cap_add=["NET_ADMIN"], cap_drop=["MKNOD"], tmpfs={"/t": "size=1m"},
    volumes={"pyvolume": {"bind": "/v", "mode": "rw"}, "/usr": {"bind": "/tt", "mode": "ro"}}, ports={"80/tcp": None, "81/tcp": ("127.0.0.1", 18081), 82: [18082, 18083], "83/udp": 18084},
    restart_policy={"Name": "on-failure", "MaximumRetryCount": 2}, ulimits=[Ulimit(name="nofile", soft=100, hard=200)], sysctls={"net.core.somaxconn": "1024"},
    working_dir="/tmp", user="1:1", group_add=["2"], read_only=True, security_opt=["no-new-privileges"], shm_size="32m", stop_signal="SIGINT", init=True, pids_limit=100,
    cpu_shares=512, nano_cpus=500000000, cpuset_cpus="0", mounts=[Mount("/m", None, type="tmpfs", tmpfs_size=1000000), Mount("/mb", "/usr", type="bind", read_only=True, propagation="rprivate"), Mount("/mv", "pymounted", labels={"a": "b"}, no_copy=True)],
    log_config=LogConfig(type="json-file", config={"max-size": "1m"}), healthcheck={"test": ["CMD", "true"], "interval": 3600 * 10**9, "timeout": 10**9, "retries": 3, "start_period": 10**9},
    oom_score_adj=100, ipc_mode="private", devices=["/dev/null:/dev/other:rwm"], device_cgroup_rules=["c 1:3 rwm"], cgroupns="private", platform="linux",
)


def run(client, registry):
    settings(client)
    life(client)
    lists(client)
    files(client)
    ends(client)


def settings(client):
    @step("every setting")
    def _():
        container = client.containers.run("busybox", "sleep 1000", name="whole", detach=True, **SETTINGS)
        container.reload()
        return container.status, container.name, container.labels, container.image.tags, container.health in ("starting", "healthy"), len(container.id), len(container.short_id), repr(container)[:12]

    @step("what is said of them")
    def _():
        host = client.containers.get("whole").attrs["HostConfig"]
        return {key: value for key, value in sorted(host.items()) if key not in ("MaskedPaths", "ReadonlyPaths", "Mounts", "Runtime")}

    @step("what is said of its mounts")
    def _():
        attrs = client.containers.get("whole").attrs
        found = sorted((one["Destination"], one["Type"], one.get("Name"), one.get("Driver"), one["Mode"], one["RW"], one["Propagation"]) for one in attrs["Mounts"])
        return attrs["HostConfig"]["Mounts"], found

    @step("what is said of its image's settings")
    def _():
        return dict(sorted(client.containers.get("whole").attrs["Config"].items()))

    @step("what is said of its ports")
    def _():
        container = client.containers.get("whole")
        ports = {port: sorted({one["HostIp"] for one in found}) if found else found for port, found in sorted(container.ports.items())}
        return ports, client.api.port("whole", 81), len(client.api.port("whole", "82/tcp")), client.api.port("whole", 99)

    @step("what is said of its state")
    def _():
        attrs = client.containers.get("whole").attrs
        return shape(attrs["State"]), sorted(attrs), attrs["Path"], attrs["Args"], attrs["RestartCount"], attrs["Platform"], attrs["Driver"]

    @step("what holds in it")
    def _():
        script = "id; hostname; echo $A; pwd; cat /proc/sys/net/core/somaxconn; ulimit -n; touch /no 2>&1; cat /etc/resolv.conf | grep -v ^#; grep foo /etc/hosts; df /dev/shm | tail -1 | tr -s ' '; stat -c '%F %t %T' /dev/other; cat /proc/self/oom_score_adj"
        return client.containers.get("whole").exec_run(["sh", "-c", script]).output.decode().splitlines()

    for name, more in {
        "a name in use": dict(name="whole"), "a bad name": dict(name="a b"), "a bad limit": dict(mem_limit="1k"), "a bad unit": dict(mem_limit="1x"), "a bad network": dict(network="nope"), "a bad volume": dict(volumes=["a b:/x"]),
        "a bad user": dict(user="nobodyatall"), "a bad runtime": dict(runtime="nope"), "a bad capability": dict(cap_add=["NOPE"]), "a bad device": dict(devices=["/dev/nope"]), "a bad log driver": dict(log_config=LogConfig(type="nope")),
        "two networks of old": dict(network="bridge", network_mode="host"), "a bad signal": dict(stop_signal="NOPE"), "a bad restart": dict(restart_policy={"Name": "nope"}),
        "removal and restart": dict(auto_remove=True, restart_policy={"Name": "always"}), "a device nobody has": dict(device_requests=[DeviceRequest(driver="nope", count=1, capabilities=[["gpu"]])]), "a bad mount": dict(mounts=[Mount("x", "/tmp", type="bind")]),
        "a bad platform": dict(platform="linux/nope"), "a bad port": dict(ports={"x/tcp": 1}), "a bad working folder": dict(working_dir="x"), "a bad environment": dict(environment=["=x"]),
    }.items():
        step(f"refused: {name}")(lambda more=more: client.containers.create("busybox", "true", **{"name": "refused", **more}).start())
        try:
            client.containers.get("refused").remove(force=True)
        except docker.errors.NotFound:
            pass


def life(client):
    @step("run")
    def _():
        return client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True), client.containers.run("busybox", ["sh", "-c", "echo out; echo err >&2"], stdout=False, stderr=True, remove=True)

    @step("run that fails")
    def _():
        return client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)

    @step("run of a program that is not there")
    def _():
        return client.containers.run("busybox", "/nope", name="absent")

    @step("run of an image that is not there")
    def _():
        return client.containers.run("127.0.0.1:1/nope:x", "true")

    @step("run, streamed")
    def _():
        return list(client.containers.run("busybox", ["sh", "-c", "echo a; sleep 0.3; echo b"], stream=True, remove=True))

    @step("run without anything")
    def _():
        return client.containers.run("busybox", "true", detach=True, auto_remove=True).wait(condition="removed")

    @step("create, start, stop, start, restart, kill")
    def _():
        container = client.containers.create("busybox", "sleep 1000", name="living", stop_signal="SIGKILL")
        seen = []
        for change in (lambda: None, container.start, container.start, lambda: container.stop(timeout=1), container.stop, container.start, lambda: container.restart(timeout=1), lambda: container.kill("SIGKILL")):
            change()
            if change == container.kill:
                container.wait()
            container.reload()
            seen.append((container.status, container.attrs["State"]["ExitCode"]))
        return seen[:-1], container.wait()

    @step("kill of one that has ended")
    def _():
        return client.containers.get("living").kill()

    @step("kill with a bad signal")
    def _():
        return client.containers.get("whole").kill("NOPE")

    @step("wait")
    def _():
        container = client.containers.run("busybox", "sh -c 'exit 7'", name="waited", detach=True)
        first = container.wait(timeout=30)
        return first, container.wait(condition="not-running"), client.api.wait("waited")

    @step("wait for too long")
    def _():
        return client.containers.get("whole").wait(timeout=0.5)

    @step("pause")
    def _():
        container, seen = client.containers.get("whole"), []
        for change in (container.pause, container.unpause):
            change()
            container.reload()
            seen.append((container.status, container.attrs["State"]["Paused"]))
        return seen

    @step("pause of one that has ended")
    def _():
        return client.containers.get("living").pause()

    @step("unpause of one that runs")
    def _():
        return client.containers.get("whole").unpause()

    @step("rename")
    def _():
        container = client.containers.get("waited")
        container.rename("renamed")
        container.reload()
        return container.name

    @step("rename to a name in use")
    def _():
        return client.containers.get("renamed").rename("whole")

    @step("update")
    def _():
        container = client.containers.get("whole")
        told = container.update(mem_limit="128m", mem_reservation="64m", memswap_limit="256m", cpu_shares=256, cpuset_cpus="0", restart_policy={"Name": "no"})
        container.reload()
        return told, [container.attrs["HostConfig"][key] for key in ("Memory", "MemorySwap", "MemoryReservation", "CpuShares", "RestartPolicy")]

    @step("update without sense")
    def _():
        return client.containers.get("whole").update(mem_limit=1)

    @step("resize")
    def _():
        return client.containers.get("whole").resize(10, 20)

    @step("resize of one that has ended")
    def _():
        return client.containers.get("living").resize(10, 20)

    @step("top")
    def _():
        container = client.containers.get("whole")
        return container.top()["Titles"], [one[-1] for one in container.top()["Processes"]], container.top(ps_args="-o pid,comm")["Titles"]

    @step("top of one that has ended")
    def _():
        return client.containers.get("living").top()

    @step("stats")
    def _():
        container = client.containers.get("whole")
        once, stream = container.stats(stream=False), container.stats(decode=True)
        first = next(stream)
        stream.close()
        return sorted(once) == sorted(first), once["name"], sorted(once["networks"]["eth0"]), sorted(once["cpu_stats"]), once["memory_stats"]["limit"], once["num_procs"]

    @step("stats of one that has ended")
    def _():
        stats = client.containers.get("living").stats(stream=False)
        return shape(stats["cpu_stats"]), stats["memory_stats"], stats["pids_stats"], stats["read"]

    @step("stats once")
    def _():
        return client.api.stats("whole", stream=False, one_shot=True)["precpu_stats"]["cpu_usage"]["total_usage"]


def lists(client):
    @step("lists")
    def _():
        filters = [{"name": "whole"}, {"status": "running"}, {"label": "l"}, {"label": ["l=1", "l=2"]}, {"ancestor": "busybox", "name": "whole"}, {"exited": 7}, {"volume": "pyvolume"}, {"network": "bridge", "name": "whole"}, {"publish": "18081"}, {"expose": "80/tcp"},
                   {"health": "none", "name": "renamed"}, {"is-task": False, "name": "whole"}, {"id": client.containers.get("whole").short_id}]
        return [sorted(one.name for one in client.containers.list(all=True, filters=f)) for f in filters]

    @step("lists that are bounded")
    def _():
        known = ("whole", "living", "renamed", "absent")
        since = client.containers.list(all=True, since="whole", before="renamed")
        return [one.name for one in client.containers.list(limit=1)], [one.name for one in since if one.name in known], sorted(one.name for one in client.containers.list())

    @step("lists that ask for little")
    def _():
        return [sorted(one.attrs) for one in client.containers.list(sparse=True, filters={"name": "whole"})], [one.status for one in client.containers.list(ignore_removed=True, filters={"name": "whole"})]

    @step("lists, low")
    def _():
        row = client.api.containers(quiet=False, all=True, size=True, trunc=True, latest=True)
        return [one["Names"] for one in row], sorted(key for key in row[0] if key != "Health"), shape(row[0]["NetworkSettings"]["Networks"]["bridge"].keys())

    @step("lists with a filter that there is not")
    def _():
        return client.containers.list(filters={"nope": "x"})

    @step("lists by a status that there is not")
    def _():
        return client.containers.list(filters={"status": "nope"})

    @step("one by its beginning")
    def _():
        whole = client.containers.get("whole")
        return client.containers.get(whole.short_id) == whole, client.containers.get(whole.id[:20]).name

    @step("one that is not there")
    def _():
        return client.containers.get("nope")


def files(client):
    @step("put and get")
    def _():
        container = client.containers.get("renamed")
        done = container.put_archive("/tmp", archive({"f.txt": b"abc", "d/g": b"g"}))
        bits, stat = container.get_archive("/tmp/f.txt", chunk_size=10, encode_stream=False)
        found = tarfile.open(fileobj=io.BytesIO(b"".join(bits)))
        return done, {key: value for key, value in stat.items() if key != "mtime"}, [(one.name, one.size, oct(one.mode)) for one in found.getmembers()]

    @step("get a folder, packed on its way")
    def _():
        bits, stat = client.containers.get("renamed").get_archive("/tmp/d", encode_stream=True)
        return sorted(tarfile.open(fileobj=io.BytesIO(b"".join(bits))).getnames()), stat["name"], stat["mode"]

    @step("get what is not there")
    def _():
        return client.containers.get("renamed").get_archive("/nope")

    @step("put where nothing is")
    def _():
        return client.containers.get("renamed").put_archive("/nope", archive({}))

    @step("put into a file")
    def _():
        return refused(lambda: client.containers.get("renamed").put_archive("/tmp/f.txt", archive({})))

    @step("put nonsense")
    def _():
        return refused(lambda: client.containers.get("renamed").put_archive("/tmp", b"nonsense" * 200))

    @step("put where nothing may be written")
    def _():
        return refused(lambda: client.containers.get("whole").put_archive("/etc", archive({"x": b"x"})))

    @step("diff")
    def _():
        return sorted((one["Path"], one["Kind"]) for one in client.containers.get("renamed").diff())

    @step("export")
    def _():
        data = b"".join(client.containers.get("renamed").export(chunk_size=100000))
        names = tarfile.open(fileobj=io.BytesIO(data)).getnames()
        return "tmp/f.txt" in names, "bin/sh" in names, ".dockerenv" in names

    @step("commit")
    def _():
        image = client.containers.get("renamed").commit("committed", "2", changes="CMD cat /tmp/f.txt")
        try:
            return client.containers.run(image, remove=True), image.history()[0]["CreatedBy"], len(image.attrs["RootFS"]["Layers"])
        finally:
            image.remove()


def ends(client):
    @step("remove one that runs")
    def _():
        return client.containers.get("whole").remove()

    @step("remove a link that is not there")
    def _():
        return client.containers.get("renamed").remove(link=True)

    @step("remove with its volumes")
    def _():
        client.containers.create("busybox", name="voluminous", volumes=["/anonymous"]).remove(v=True)
        client.containers.get("whole").remove(force=True, v=True)
        return sorted(one.name for one in client.volumes.list())

    @step("remove twice")
    def _():
        container = client.containers.create("busybox")
        container.remove()
        return container.remove()

    @step("prune")
    def _():
        kept = client.containers.create("busybox", labels={"keep": "1"})
        first = client.containers.prune(filters={"label!": ["keep"]})
        second = client.containers.prune()
        del kept
        return len(first["ContainersDeleted"]) > 1, len(second["ContainersDeleted"]), shape(second["SpaceReclaimed"]), client.containers.prune()

    @step("what is left")
    def _():
        client.volumes.prune(filters={"all": "1"})
        return plain(client.containers.list(all=True)), client.volumes.list()
