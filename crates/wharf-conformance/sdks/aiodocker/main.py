"""aiodocker against a daemon: its methods, many requests at once, and what it says.

    main.py SOCKET REGISTRY API-VERSION

As docker_py/main.py; two daemons print the same.
"""
import asyncio
import io
import pathlib
import sys
import tarfile

import aiodocker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "docker_py"))
from told import plain, shape  # noqa: E402

STEPS = []


def step(name):
    """Notes a step; they run in their order."""
    return lambda function: STEPS.append((name, function))


def archive(**files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as out:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    return made.getvalue()


@step("version and info")
async def _(client, registry):
    return sorted(key for key in await client.version() if key in ("ApiVersion", "Arch", "Os", "Version")), (await client.system.info())["Driver"]


@step("images")
async def _(client, registry):
    rows = await client.images.list(filters={"reference": ["busybox"]})
    inspect = await client.images.inspect("busybox")
    return [one["RepoTags"] for one in rows], inspect["Config"]["Cmd"], inspect["Os"], len(await client.images.history("busybox"))


@step("no such image")
async def _(client, registry):
    await client.images.inspect("nope")


@step("pull")
async def _(client, registry):
    lines = await client.images.pull(f"{registry}/busybox", tag="latest")
    return [one["status"] for one in lines if one["status"].startswith(("Digest", "Status", "Pulling from"))]


@step("pull again")
async def _(client, registry):
    # Wharf also names the layers that are there.
    lines = await client.images.pull(f"{registry}/busybox", tag="latest")
    return [(one.get("id"), one["status"]) for one in lines if one["status"] != "Already exists"]


@step("pull as a stream")
async def _(client, registry):
    return len([one async for one in client.images.pull(f"{registry}/busybox:latest", stream=True)]) > 2


@step("pull what is not there")
async def _(client, registry):
    await client.images.pull(f"{registry}/nope", tag="latest")


@step("tag, push, delete")
async def _(client, registry):
    await client.images.tag("busybox", f"{registry}/pushed", tag="1")
    lines = await client.images.push(f"{registry}/pushed", tag="1")
    deleted = await client.images.delete(f"{registry}/pushed:1")
    return [one["status"] for one in lines if "repository" in one.get("status", "")], [sorted(one) for one in deleted]


@step("save and load")
async def _(client, registry):
    async with client.images.export_image("busybox") as saved:
        data = await saved.read()
    return [one.get("stream") for one in await client.images.import_image(data) if "stream" in one]


@step("build")
async def _(client, registry):
    lines = await client.images.build(fileobj=io.BytesIO(archive(Dockerfile=b"FROM busybox\nRUN echo built\nLABEL a=b\n")), tag="built", encoding="identity", labels={"c": "d"})
    inspect = await client.images.inspect("built")
    return [one["stream"].strip() for one in lines if one.get("stream", "").startswith(("Step", "built"))], inspect["Config"]["Labels"]


@step("build that fails")
async def _(client, registry):
    lines = await client.images.build(fileobj=io.BytesIO(archive(Dockerfile=b"FROM busybox\nRUN exit 3\n")), encoding="identity")
    return [one["error"] for one in lines if "error" in one]


@step("create, show, start, wait")
async def _(client, registry):
    container = await client.containers.create({"Image": "busybox", "Cmd": ["sh", "-c", "echo out; echo err >&2; exit 3"], "Labels": {"a": "b"}}, name="c1")
    before = (await container.show())["State"]["Status"]
    await container.start()
    code = await container.wait()
    after = (await container.show())["State"]
    return before, code, after["Status"], after["ExitCode"], await container.log(stdout=True), await container.log(stderr=True), [line async for line in container.log(stdout=True, stderr=False, follow=True)]


@step("a name in use")
async def _(client, registry):
    await client.containers.create({"Image": "busybox"}, name="c1")


@step("create or replace")
async def _(client, registry):
    container = await client.containers.create_or_replace("c1", {"Image": "busybox", "Cmd": ["true"]})
    return (await container.show())["Config"]["Cmd"], (await container.show())["Name"]


@step("run, list, port")
async def _(client, registry):
    container = await client.containers.run({"Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": {"80/tcp": {}}, "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "18099"}]}}}, name="c2")
    rows = await client.containers.list(filters={"name": ["^/?c2$"]})
    return len(rows), rows[0]["State"], await container.port(80), await container.port(81), (await client.containers.get("c2"))["Name"]


@step("top, stats, rename, resize")
async def _(client, registry):
    container = client.containers.container("c2")
    top = await container.top()
    stats = await container.stats(stream=False)
    await container.rename("c3")
    return top["Titles"], len(top["Processes"]), sorted(stats[0])[:3], (await client.containers.get("c3"))["Name"]


@step("top with a wrong word")
async def _(client, registry):
    return await client.containers.container("c3").top(ps_args="nope")


@step("pause and unpause")
async def _(client, registry):
    container = client.containers.container("c3")
    await container.pause()
    paused = (await container.show())["State"]["Status"]
    await container.unpause()
    return paused, (await container.show())["State"]["Status"]


@step("exec")
async def _(client, registry):
    container = client.containers.container("c3")
    session = await container.exec(["sh", "-c", "echo out; echo err >&2; read x; echo got $x; exit 7"], stdin=True, environment={"A": "b"}, workdir="/tmp")
    heard = []
    async with session.start(detach=False) as stream:
        await stream.write_in(b"word\n")
        while (message := await stream.read_out()) is not None:
            heard.append((message.stream, message.data))
    told = await session.inspect()
    streams = {number: b"".join(data for one, data in heard if one == number) for number in sorted({one for one, _ in heard})}
    return streams, told["ExitCode"], told["Running"], told["ProcessConfig"]


@step("exec, detached, on a terminal")
async def _(client, registry):
    container = client.containers.container("c3")
    await (await container.exec(["touch", "/made"])).start(detach=True)
    session = await container.exec("tty", tty=True)
    heard = b""
    async with session.start(detach=False) as stream:
        while (message := await stream.read_out()) is not None:
            heard += message.data
    return heard


@step("exec of nothing there")
async def _(client, registry):
    session = await client.containers.container("c3").exec(["nope"])
    async with session.start(detach=False) as stream:
        message = await stream.read_out()
    return message.data[-60:], (await session.inspect())["ExitCode"] in (126, 127)


@step("attach")
async def _(client, registry):
    container = await client.containers.create({"Image": "busybox", "Cmd": ["sh", "-c", "read x; echo got $x"], "OpenStdin": True, "StdinOnce": True, "AttachStdin": True, "AttachStdout": True}, name="att")
    heard = b""
    async with container.attach(stdin=True, stdout=True, stderr=True) as stream:
        await container.start()
        await stream.write_in(b"word\n")
        while (message := await stream.read_out()) is not None:
            heard += message.data
    return heard, await container.wait()


@step("a websocket")
async def _(client, registry):
    container = await client.containers.run({"Image": "busybox", "Cmd": ["sh", "-c", "read x; echo got $x"], "OpenStdin": True}, name="ws")
    socket = await container.websocket(stdin=True, stdout=True, stream=True)
    await socket.send_str("word\n")
    heard = await socket.receive()
    await socket.close()
    return heard.data


@step("files")
async def _(client, registry):
    container = client.containers.container("c3")
    await container.put_archive("/tmp", archive(one=b"1", two=b"22"))
    found = await container.get_archive("/tmp")
    return sorted(found.getnames()), found.extractfile("tmp/two").read()


@step("files of nowhere")
async def _(client, registry):
    await client.containers.container("c3").get_archive("/nope")


@step("commit")
async def _(client, registry):
    made = await client.containers.container("c3").commit(repository="kept", tag="1", message="m", author="a", changes=["ENV A=b"])
    inspect = await client.images.inspect("kept:1")
    return shape(made), inspect["Author"], inspect["Comment"], inspect["Config"]["Env"]


@step("kill, restart, stop, delete")
async def _(client, registry):
    container = client.containers.container("c3")
    await container.kill(signal="SIGKILL")
    code = (await container.wait())["StatusCode"]
    await container.restart(t=0)
    await container.stop(t=0)
    state = (await container.show())["State"]
    await container.delete(v=True)
    return code, state["Status"], state["ExitCode"], state["OOMKilled"], state["Pid"]


@step("no such container")
async def _(client, registry):
    await client.containers.get("c3")


@step("a bad body")
async def _(client, registry):
    await client.containers.create({"Image": "busybox", "HostConfig": {"RestartPolicy": {"Name": "nope"}}})


@step("networks")
async def _(client, registry):
    network = await client.networks.create({"Name": "n1", "Driver": "bridge", "Labels": {"a": "b"}, "IPAM": {"Config": [{"Subnet": "10.77.0.0/24"}]}})
    container = await client.containers.run({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}, name="c4")
    await container.kill()
    await container.wait()
    other = await client.containers.run({"Image": "busybox", "Cmd": ["sleep", "1000"]}, name="c5")
    await network.connect({"Container": "c5", "EndpointConfig": {"Aliases": ["al"], "IPAMConfig": {"IPv4Address": "10.77.0.9"}}})
    address = (await other.show())["NetworkSettings"]["Networks"]["n1"]["IPAddress"]
    inside = [one["Name"] for one in (await network.show())["Containers"].values()]
    await network.disconnect({"Container": "c5", "Force": True})
    rows = await client.networks.list(filters={"name": "n1"})
    return address, inside, [one["Name"] for one in rows], await network.delete()


@step("no such network")
async def _(client, registry):
    await (await client.networks.get("nope")).show()


@step("volumes")
async def _(client, registry):
    volume = await client.volumes.create({"Name": "v1", "Labels": {"a": "b"}})
    shown = await volume.show()
    rows = await client.volumes.list(filters={"label": ["a"]})
    await volume.delete()
    return shown["Driver"], shown["Labels"], shown["Scope"], [one["Name"] for one in rows["Volumes"]], rows["Warnings"]


@step("no such volume")
async def _(client, registry):
    await (await client.volumes.get("nope")).show()


@step("events")
async def _(client, registry):
    told = client.events.subscribe()
    container = await client.containers.run({"Image": "busybox", "Cmd": ["true"]}, name="ev")
    await container.wait()
    await container.delete()
    heard = []
    while not heard or heard[-1] != ("container", "destroy"):
        event = await asyncio.wait_for(told.get(), 30)
        heard.append((event["Type"], event["Action"]))
    await client.events.stop()
    return heard


@step("a log that is followed")
async def _(client, registry):
    container = await client.containers.run({"Image": "busybox", "Cmd": ["sh", "-c", "for i in 1 2 3; do echo $i; done"]}, name="lf")
    return [line async for line in container.log(stdout=True, follow=True)]


@step("stats as a stream")
async def _(client, registry):
    async for one in client.containers.container("c5").stats(stream=True):
        return one["name"], sorted(one["memory_stats"])[:1]


@step("forty at once")
async def _(client, registry):
    async def life(number):
        container = await client.containers.run({"Image": "busybox", "Cmd": ["sh", "-c", f"echo {number}; exit {number % 5}"]}, name=f"many{number}")
        code = (await container.wait())["StatusCode"]
        said = await container.log(stdout=True)
        await container.delete(force=True)
        return code == number % 5 and said == [f"{number}\n"]

    return all(await asyncio.gather(*(life(number) for number in range(40))))


@step("prunes")
async def _(client, registry):
    await client.containers.container("c5").delete(force=True)
    containers = await client.containers.prune()
    images = await client.images.prune(filters={"dangling": ["true"]})
    volumes, networks = await client.volumes.prune(), await client.networks.prune()
    return len(containers["ContainersDeleted"]), sorted(images), sorted(volumes), sorted(networks), sorted(await client.images.prune_builds())


@step("a login that is refused")
async def _(client, registry):
    return await client.auth(username="a", password="b", serveraddress="127.0.0.1:1") and None


async def main():
    socket, registry, version = sys.argv[1:]
    async with aiodocker.Docker(url=f"unix://{socket}", api_version=f"v{version}") as client:
        for name, function in STEPS:
            try:
                print(f"{name}: {plain(await function(client, registry))}")
            except aiodocker.DockerError as error:
                print(f"{name}: DockerError {error.status}: {plain(error.message)}")
            except Exception as error:
                print(f"{name}: {type(error).__name__}: {plain(str(error))}")
            sys.stdout.flush()


asyncio.run(main())
