"""Images: building, pulling, pushing, saving, loading, importing, naming, removing."""
import io
import json
import tarfile
import tempfile

import docker

from told import plain, refused, shape, step


def archive(files):
    """A tar of names and contents, as a stream at its begin."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    out.seek(0)
    return out


def tree():
    """A root file system of one file, for imports."""
    return archive({"hello": b"hello\n"})


def run(client, registry):
    api = client.api
    looked_at(client)
    moved(client, registry)
    kept(client)
    imported(api)
    built(client)
    removed(client)


def looked_at(client):
    @step("images")
    def _():
        filters = [None, {"reference": "busy*"}, {"dangling": True}, {"label": "nope"}, {"before": "busybox"}, {"since": "busybox"}]
        return [[one.tags for one in client.images.list(filters=f)] for f in filters], client.images.list(name="nope"), [i.tags for i in client.images.list(name="busybox", all=True)]

    @step("images, low")
    def _():
        return plain(client.api.images(quiet=True)), sorted(client.api.images()[0])

    @step("image")
    def _():
        image = client.images.get("busybox")
        image.reload()
        return image.tags, image.labels, len(image.id), len(image.short_id), image.attrs["Config"]["Cmd"], image.attrs["Os"], repr(image) == "<Image: 'busybox:latest'>"

    @step("image that is not there")
    def _():
        return client.images.get("nope")

    @step("image of a bad name")
    def _():
        return client.api.inspect_image("UPPER")

    @step("history")
    def _():
        return shape(client.images.get("busybox").history())

    @step("images with a filter that there is not")
    def _():
        return client.images.list(filters={"nope": "x"})


def moved(client, registry):
    name = f"{registry}/busybox"

    @step("pull")
    def _():
        return client.images.pull(name, tag="latest").tags

    @step("pull, told")
    def _():
        told = list(client.api.pull(name, tag="latest", stream=True, decode=True))
        return [plain(one.get("status", "")) for one in told][-2:]

    @step("pull of all tags")
    def _():
        return [one.tags for one in client.images.pull(name, all_tags=True)]

    @step("pull for a platform that there is not")
    def _():
        return client.images.pull(name, platform="windows/riscv64")

    @step("pull of what is not there")
    def _():
        return client.images.pull(f"{registry}/nope", tag="x")

    @step("pull from where nothing is")
    def _():
        return client.images.pull("127.0.0.1:1/nope")

    @step("push")
    def _():
        client.images.get(name).tag(f"{registry}/pushed", tag="1")
        told = list(client.images.push(f"{registry}/pushed", tag="1", stream=True, decode=True))
        return [one.get("aux", {}).get("Tag") for one in told if "aux" in one], sorted({one["status"] for one in told if "id" in one} - {"Pushing", "Waiting", "Preparing"})

    @step("push as text, with a name and a secret")
    def _():
        text = client.images.push(f"{registry}/pushed", tag="1", auth_config={"username": "u", "password": "p"})
        return [sorted(json.loads(line)) for line in text.splitlines()][-1]

    @step("push of what is not there")
    def _():
        return client.images.push(f"{registry}/nope", tag="x").split("\r\n")

    @step("what a registry has")
    def _():
        found = client.images.get_registry_data(name)
        found.reload()
        return found.id, found.short_id, found.has_platform("linux/amd64"), found.has_platform("linux/s390x"), found.pull().tags, sorted(found.attrs["Descriptor"])

    @step("what a registry has not")
    def _():
        return refused(lambda: client.images.get_registry_data(f"{registry}/nope"))


def kept(client):
    @step("save and load")
    def _():
        image = client.images.get("busybox")
        saved = b"".join(image.save(named=True))
        names = tarfile.open(fileobj=io.BytesIO(saved)).getnames()
        return [one.tags for one in client.images.load(saved)], "manifest.json" in names, "repositories" in names

    @step("save without a name, in small pieces")
    def _():
        saved = b"".join(client.images.get("busybox").save(chunk_size=1000))
        manifest = json.load(tarfile.open(fileobj=io.BytesIO(saved)).extractfile("manifest.json"))
        return manifest[0]["RepoTags"]

    @step("save of what is not there")
    def _():
        return b"".join(client.api.get_image("nope"))

    @step("load, told")
    def _():
        saved = b"".join(client.api.get_image("busybox"))
        return [sorted(one) for one in client.api.load_image(saved, quiet=True)], plain("".join(one.get("stream", "") for one in client.api.load_image(saved)))

    @step("load of nonsense")
    def _():
        return refused(lambda: client.images.load(b"nonsense" * 100))


def imported(api):
    @step("import of data")
    def _():
        return plain(api.import_image_from_data(tree().read(), repository="imported", tag="data", changes=["CMD echo x"])), api.inspect_image("imported:data")["Config"]["Cmd"]

    @step("import of a file")
    def _():
        with tempfile.NamedTemporaryFile() as file:
            file.write(tree().read())
            file.flush()
            return sorted(json.loads(api.import_image_from_file(file.name, repository="imported", tag="file")))

    @step("import of a page that is not there")
    def _():
        return plain(api.import_image_from_url("http://127.0.0.1:1/x.tar", repository="imported", tag="url"))

    @step("import by what it is given")
    def _():
        return sorted(json.loads(api.import_image(src=tree().read(), repository="imported", tag="any")))

    @step("import of an image's name")
    def _():
        return plain(api.import_image_from_image("127.0.0.1:1/nope", repository="imported"))

    @step("imported images")
    def _():
        names = sorted(tag for one in api.images(name="imported") for tag in one["RepoTags"])
        for name in names:
            api.remove_image(name)
        return names


def built(client):
    def build(lines, **more):
        return client.images.build(fileobj=io.BytesIO("\n".join(lines).encode()), **more)

    @step("build")
    def _():
        image, told = build(["FROM busybox", "LABEL a=b", "ARG X=1", "RUN echo $X > /x", "ENV Y=$X", 'CMD ["cat", "/x"]'], tag="built", rm=True, forcerm=True, nocache=True, buildargs={"X": "two"}, labels={"c": "d"})
        text = "".join(one.get("stream", "") for one in told)
        # A container for each step is the judge's way, which others need not go.
        lines = [line for line in plain(text).splitlines() if line and "ntermediate container" not in line and "Running in" not in line]
        return image.labels, image.attrs["Config"]["Env"], lines, client.containers.run(image, remove=True)

    @step("build of a folder's archive")
    def _():
        context = archive({"Dockerfile.other": b"FROM busybox AS first\nCOPY f /f\nFROM first AS last\nRUN false\n", "f": b"content"})
        image, _ = client.images.build(fileobj=context, custom_context=True, dockerfile="Dockerfile.other", target="first", tag="built:2", pull=False, squash=False, shmsize=1 << 20, network_mode="none",
                                       extra_hosts={"h": "1.2.3.4"}, container_limits={"memory": 1 << 28}, cache_from=["built"], platform="linux/amd64")
        return image.tags, client.containers.run("built:2", "cat /f", remove=True)

    @step("build of a folder")
    def _():
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("Dockerfile", "FROM busybox\nCOPY . /c\n"), ("kept", "k"), ("left", "l"), (".dockerignore", "left\n")):
                with open(f"{folder}/{name}", "w") as file:
                    file.write(text)
            client.images.build(path=folder, tag="built:3", gzip=True, quiet=True)
        return client.containers.run("built:3", "ls -A /c", remove=True)

    @step("build, told")
    def _():
        told = list(client.api.build(fileobj=io.BytesIO(b"FROM busybox\nRUN echo out; echo err >&2\n"), rm=True, decode=True, nocache=True))
        return [sorted(one) for one in told], [one["aux"].keys() for one in told if "aux" in one]

    @step("build that fails")
    def _():
        return build(["FROM busybox", "RUN exit 4"])

    @step("build without sense")
    def _():
        return build(["NOPE busybox"])

    @step("build without a base")
    def _():
        return build(["FROM 127.0.0.1:1/nope"])

    @step("build without a file")
    def _():
        return client.images.build(fileobj=archive({"f": b"x"}), custom_context=True)

    @step("build without anything")
    def _():
        return build([""])

    @step("prune of builds")
    def _():
        return [sorted(one) for one in (client.images.prune_builds(), client.api.prune_builds(filters={"until": "1h"}, all=True))]


def removed(client):
    @step("tag")
    def _():
        image = client.images.get("busybox")
        return image.tag("tagged", tag="1"), image.tag("tagged:2"), client.api.tag("busybox", "tagged", "3", force=True), sorted(tag for tag in client.images.get("tagged:1").tags if "tagged" in tag)

    @step("tag of a bad name")
    def _():
        return client.images.get("busybox").tag("UPPER")

    @step("remove names")
    def _():
        client.images.remove("tagged:1", noprune=True)
        client.images.remove("tagged:2", force=True)
        return client.images.get("tagged:3").remove(), [tag for tag in client.images.get("busybox").tags if "tagged" in tag]

    @step("remove one in use")
    def _():
        container = client.containers.create("built", name="using")
        try:
            return client.images.remove(client.images.get("built").id)
        finally:
            container.remove()

    @step("remove one that is not there")
    def _():
        return client.images.remove("nope")

    @step("prune")
    def _():
        for name in ("built:latest", "built:2", "built:3"):
            client.images.remove(name)
        return sorted(client.images.prune(filters={"dangling": True})), shape(client.api.prune_images(filters={"until": "1h"})["SpaceReclaimed"])

    @step("what is left")
    def _():
        for one in client.images.list():
            for tag in one.tags:
                if tag != "busybox:latest":
                    client.images.remove(tag)
        return [one.tags for one in client.images.list(all=True)]

    @step("an image that is made with a message")
    def _():
        container = client.containers.create("busybox")
        image = container.commit("committed", "1", message="because", author="me", pause=True, changes=["ENV A=b", "LABEL c=d"], conf={"User": "nobody"})
        container.remove()
        attrs = image.attrs
        image.remove()
        return image.tags, attrs["Comment"], attrs["Author"], attrs["Config"]["Env"], attrs["Config"]["Labels"], attrs["Config"]["User"]

    @step("an error has what is needed to understand it")
    def _():
        try:
            client.images.get("nope")
        except docker.errors.ImageNotFound as error:
            return error.status_code, error.explanation, error.is_client_error(), error.is_server_error(), error.response.reason, error.response.headers["Content-Type"]
