"""python-on-whales against a daemon, by the stock command: what its methods make of the answers.

    main.py SOCKET REGISTRY API-VERSION

As docker_py/main.py; two daemons print the same.
"""
import os
import pathlib
import sys
import tempfile

from python_on_whales import DockerClient
from python_on_whales.exceptions import DockerException, NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "docker_py"))
from told import plain  # noqa: E402

STEPS = []


def step(name):
    """Notes a step; they run in their order."""
    return lambda function: STEPS.append((name, function))


@step("version and info")
def _(docker, registry):
    info, version = docker.system.info(), docker.version()
    return info.driver, info.os_type, info.swarm.local_node_state, version.server.os, version.server.min_api_version


@step("images")
def _(docker, registry):
    image = docker.image.inspect("busybox")
    return image.repo_tags, image.config.cmd, image.os, image.root_fs.type, [one.repo_tags for one in docker.image.list("busybox")], docker.image.exists("nope")


@step("pull, tag, push, remove")
def _(docker, registry):
    image = docker.pull(f"{registry}/busybox", quiet=True)
    docker.tag(image, f"{registry}/whale:1")
    docker.push(f"{registry}/whale:1", quiet=True)
    docker.image.remove([f"{registry}/whale:1", f"{registry}/busybox"])
    return image.repo_tags, docker.image.exists(f"{registry}/whale:1")


@step("no such image")
def _(docker, registry):
    docker.image.inspect("nope")


@step("save and load")
def _(docker, registry):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "saved.tar")
        docker.save("busybox", output=path)
        return docker.load(path, quiet=True)


@step("build")
def _(docker, registry):
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "Dockerfile").write_text("FROM busybox\nARG x\nRUN echo built $x\nLABEL a=b\n")
        image = docker.legacy_build(folder, tags="whale:built", build_args={"x": "y"}, labels={"c": "d"})
    return image.repo_tags, image.config.labels


@step("run")
def _(docker, registry):
    return docker.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True), docker.run("busybox", ["echo", "x"], remove=True, envs={"A": "b"}, hostname="hh", user="1:1", workdir="/tmp")


@step("run as a stream")
def _(docker, registry):
    return sorted(docker.run("busybox", ["sh", "-c", "echo out; echo err >&2"], remove=True, stream=True))


@step("run that fails")
def _(docker, registry):
    docker.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"], remove=True)


@step("every setting")
def _(docker, registry):
    container = docker.run(
        "busybox", ["sleep", "1000"], detach=True, name="whole", cap_add=["NET_ADMIN"], cpus=0.5, memory="64m", dns=["192.0.2.1"], envs={"A": "b"}, expose=[81], init=True, labels={"l": "1"},
        log_driver="json-file", log_options=["max-size=1m"], mounts=[("type=tmpfs", "destination=/t")], networks=["bridge"], oom_score_adj=100, pids_limit=50, publish=[("127.0.0.1:18098", 80)],
        read_only=True, restart="on-failure:2", security_options=["no-new-privileges"], shm_size="32m", stop_signal="SIGINT", sysctl={"net.core.somaxconn": "1024"}, tmpfs=["/tt"], ulimit=["nofile=100:200"],
        volumes=[("whalevolume", "/v"), ("/usr", "/u", "ro")], health_cmd="true", health_interval=3600,
    )
    host, config = container.host_config, container.config
    mounts = sorted((one.type, one.destination, one.rw) for one in container.mounts)
    return host.memory, host.nano_cpus, host.cap_add, host.restart_policy.name, host.log_config.type, config.labels, config.env[-1], config.stop_signal, mounts, container.state.status, container.network_settings.ports


@step("lists")
def _(docker, registry):
    return [one.name for one in docker.ps(filters={"name": "whole"})], docker.container.exists("whole"), docker.container.exists("nope"), len(docker.ps(all=True, filters={"label": "l=1"}))


@step("execute")
def _(docker, registry):
    container = docker.container.inspect("whole")
    return container.execute(["echo", "x"]), container.execute(["sh", "-c", "echo $A; pwd"], envs={"A": "c"}, workdir="/tmp"), list(container.execute(["echo", "y"], stream=True))


@step("execute what fails")
def _(docker, registry):
    docker.container.inspect("whole").execute(["sh", "-c", "echo bad >&2; exit 4"])


@step("logs, top, diff, stats")
def _(docker, registry):
    container = docker.run("busybox", ["sh", "-c", "echo one; touch /made; exec sleep 1000"], detach=True, name="logged")
    while "one" not in container.logs():
        pass
    stats = docker.stats("logged")[0]
    return container.logs(), docker.logs("logged", tail=1), sorted(key for key in container.diff() if "made" in key), stats.container_name, stats.memory_used > 0


@step("copy")
def _(docker, registry):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "one")
        path.write_text("1")
        docker.copy(path, ("logged", "/two"))
        docker.copy(("logged", "/two"), pathlib.Path(folder, "three"))
        return pathlib.Path(folder, "three").read_text()


@step("pause, rename, update, commit")
def _(docker, registry):
    container = docker.container.inspect("logged")
    container.pause()
    paused = container.state.status
    container.unpause()
    container.rename("renamed")
    docker.container.update("renamed", pids_limit=77)
    image = container.commit("whale:kept", author="a", message="m")
    return paused, container.state.status, container.name, container.host_config.pids_limit, image.author, image.comment


@step("kill, wait, start, restart, stop, remove")
def _(docker, registry):
    container = docker.container.inspect("renamed")
    container.kill(signal="KILL")
    code = docker.wait("renamed")
    container.start()
    container.restart(time=0)
    container.stop(time=0)
    state = (container.state.status, container.state.exit_code, container.state.pid)
    container.remove(volumes=True)
    return code, state, docker.container.exists("renamed")


@step("no such container")
def _(docker, registry):
    docker.container.inspect("nope")


@step("networks")
def _(docker, registry):
    network = docker.network.create("n1", driver="bridge", labels={"a": "b"}, subnet="10.78.0.0/24", gateway="10.78.0.1")
    container = docker.run("busybox", ["sleep", "1000"], detach=True, name="joined")
    docker.network.connect("n1", "joined", alias="al", ip="10.78.0.9")
    address = container.network_settings.networks["n1"].ip_address
    container.reload()
    joined = sorted(container.network_settings.networks)
    docker.network.disconnect("n1", "joined", force=True)
    told = (network.driver, network.labels, network.ipam.config[0]["Subnet"], network.scope, [one.name for one in docker.network.list(filters={"name": "n1"})])
    container.remove(force=True)
    network.remove()
    return address, joined, told


@step("no such network")
def _(docker, registry):
    docker.network.inspect("nope")


@step("volumes")
def _(docker, registry):
    volume = docker.volume.create("v1", labels={"a": "b"})
    told = (volume.name, volume.driver, volume.labels, volume.scope, volume.options, [one.name for one in docker.volume.list(filters={"label": "a"})])
    volume.remove()
    return told, docker.volume.exists("v1")


@step("no such volume")
def _(docker, registry):
    docker.volume.inspect("nope")


@step("what is on the disk, and prunes")
def _(docker, registry):
    usage = docker.system.disk_free()
    docker.container.inspect("whole").remove(force=True)
    docker.container.prune()
    docker.image.prune()
    docker.volume.prune(all=True)
    docker.network.prune()
    return usage.images.total_count, usage.containers.active, docker.ps(all=True), docker.volume.list()


@step("swarm")
def _(docker, registry):
    docker.swarm.leave()


def main():
    socket, registry, version = sys.argv[1:]
    os.environ["DOCKER_API_VERSION"] = version
    docker = DockerClient(host=f"unix://{socket}")
    for name, function in STEPS:
        try:
            print(f"{name}: {plain(repr(function(docker, registry)))}")
        except (NoSuchContainer, NoSuchImage, NoSuchNetwork, NoSuchVolume) as error:
            print(f"{name}: {type(error).__name__}")
        except DockerException as error:
            print(f"{name}: exit {error.return_code}: {plain((error.stderr or '').strip())}")
        except Exception as error:
            print(f"{name}: {type(error).__name__}: {plain(str(error))}")
        sys.stdout.flush()


main()
