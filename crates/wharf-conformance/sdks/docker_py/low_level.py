"""What only the client's lower half has: a container from settings by hand, its calls by name."""
import docker

from told import plain, step


def run(client, registry):
    api = client.api

    @step("settings by hand")
    def _():
        host = api.create_host_config(binds=["/tmp:/b:ro", "named:/n:nocopy"], port_bindings={1111: 11111, "2222/udp": ("127.0.0.1",)}, publish_all_ports=True, network_mode="bridge", blkio_weight=None, cpu_period=100000,
                                      cpu_quota=50000, mem_swappiness=40, memswap_limit=-1, mem_limit="64m", oom_kill_disable=False, uts_mode="host", pid_mode="host", isolation=None, auto_remove=False, tmpfs=["/x"])
        made = api.create_container("busybox", "true", name="low", ports=[1111, (2222, "udp")], environment=["Q=1"], volumes=["/dv"], entrypoint="echo", host_config=host, stop_timeout=5, detach=False, tty=False, stdin_open=True, labels=["x"], use_config_proxy=False)
        found = api.inspect_container("low")
        return made["Warnings"], found["HostConfig"]["PortBindings"], found["Config"]["Entrypoint"], found["Config"]["ExposedPorts"], sorted(one["Destination"] for one in found["Mounts"]), found["Config"]["StopTimeout"], found["Config"]["AttachStdin"]

    @step("links")
    def _():
        api.create_container("busybox", "sleep 1000", name="linked", environment={"K": "v"})
        api.start("linked")
        api.create_container("busybox", ["sh", "-c", "ping -c 1 li > /dev/null && env | grep LI_ENV_K"], name="linking", host_config=api.create_host_config(links={"linked": "li"}))
        api.start("linking")
        api.wait("linking")
        return api.inspect_container("linking")["HostConfig"]["Links"], api.logs("linking")

    @step("its volumes in another")
    def _():
        api.create_container("busybox", "true", name="taking", host_config=api.create_host_config(volumes_from=["low:ro"]))
        return sorted((one["Destination"], one["RW"]) for one in api.inspect_container("taking")["Mounts"])

    @step("a container from a document")
    def _():
        made = api.create_container_from_config(api.create_container_config("busybox", "true", hostname="h"), "written", "linux/amd64")
        return sorted(made), api.inspect_container("written")["Config"]["Hostname"]

    @step("calls by name")
    def _():
        return [api.start("low"), api.wait("low"), api.stop("linked", timeout=0), api.restart("linked", timeout=0), api.pause("linked"), api.unpause("linked"), api.rename("low", "lower"), api.kill("linked", 9), api.wait("linked"), api.update_container("lower", cpu_shares=3), api.resize("lower", 1, 1)]

    @step("looking by name")
    def _():
        return sorted(one["Path"] for one in api.diff("lower")), api.logs("lower"), len(b"".join(api.export("lower"))) > 1000, api.port("lower", 1111)

    @step("files by name")
    def _():
        stream, stat = api.get_archive("lower", "/etc/passwd")
        return stat["name"], api.put_archive("lower", "/tmp", b"".join(stream))

    @step("commit by name")
    def _():
        made = api.commit("lower", repository="lowly", tag="1", message="m", author="a", changes=["USER nobody"])
        return plain(made), api.history("lowly:1")[0]["Tags"], api.remove_image("lowly:1", force=True)[0]

    @step("networks by name")
    def _():
        made = api.create_network("lownet", options=None, check_duplicate=None, labels=None, enable_ipv6=False, attachable=None, scope=None)
        told = [made["Warning"], api.connect_container_to_network("lower", "lownet", aliases=["x"]), api.disconnect_container_from_network("lower", "lownet", force=False), api.remove_network("lownet")]
        return told

    @step("no container at all")
    def _():
        return api.start(None)

    @step("prune by name")
    def _():
        for name in ("linking", "taking", "written", "linked"):
            api.remove_container(name, v=True, force=True)
        return len(api.prune_containers(filters={"until": "0s"})["ContainersDeleted"]), api.prune_volumes(filters={"all": "true"})["VolumesDeleted"] is not None, api.df()["Containers"] if "Containers" in api.df() else []

    @step("versions")
    def _():
        api.reload_config("/nonexistent")
        return docker.utils.compare_version("1.24", api.api_version) > 0, api.version()["MinAPIVersion"]
