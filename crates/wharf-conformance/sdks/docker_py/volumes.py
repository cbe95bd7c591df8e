"""Volumes."""
from told import plain, shape, step


def run(client, registry):
    @step("volume")
    def _():
        volume = client.volumes.create("kept", driver="local", labels={"a": "b"})
        volume.reload()
        return volume.name, volume.id, volume.short_id, {**volume.attrs, "Mountpoint": plain(volume.attrs["Mountpoint"]).rsplit("/", 3)[1:], "CreatedAt": "at"}

    @step("volume that has options")
    def _():
        made = client.api.create_volume("optional", driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"})
        return made["Options"], client.api.inspect_volume("optional")["Options"]

    @step("volume with options that make no sense")
    def _():
        return client.volumes.create("nonsense", driver_opts={"nope": "x"})

    @step("volume of a driver that is not there")
    def _():
        return client.volumes.create("driven", driver="nope")

    @step("volume without a name")
    def _():
        volume = client.volumes.create()
        volume.remove()
        return len(volume.name), volume.attrs["Labels"].keys(), volume.attrs["Options"]

    @step("volume again with other settings")
    def _():
        return client.volumes.create("kept", labels={"other": "x"}).attrs["Labels"]

    @step("volume of a bad name")
    def _():
        return client.volumes.create("a b")

    @step("volumes")
    def _():
        filters = [None, {"label": "a"}, {"label": "a=c"}, {"name": "opt"}, {"driver": "local"}, {"dangling": True}, {"dangling": False}]
        return [sorted(one.name for one in client.volumes.list(filters=f) if one.name in ("kept", "optional")) for f in filters]

    @step("volumes, low")
    def _():
        return shape(client.api.volumes(filters={"name": "kept"}))

    @step("volumes with a filter that there is not")
    def _():
        return client.volumes.list(filters={"nope": "x"})

    @step("volume that is used")
    def _():
        container = client.containers.create("busybox", volumes=["kept:/v"])
        try:
            return client.volumes.get("kept").remove()
        finally:
            container.remove()

    @step("volume that is not there")
    def _():
        return client.volumes.get("nope")

    @step("removing one that is not there")
    def _():
        return client.api.remove_volume("nope")

    @step("removing one that is not there, by force")
    def _():
        return client.api.remove_volume("nope", force=True)

    @step("prune")
    def _():
        client.api.create_volume(None)
        pruned = client.volumes.prune()
        return shape(pruned), sorted(one.name for one in client.volumes.list())

    @step("prune of all")
    def _():
        return sorted(client.volumes.prune(filters={"all": True})["VolumesDeleted"]), client.volumes.list()
