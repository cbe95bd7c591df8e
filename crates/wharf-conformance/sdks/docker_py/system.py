"""The daemon as a whole: ping, version, info, disk usage, events, logging in."""
import time

from told import refused, shape, step


def run(client, registry):
    @step("ping")
    def _():
        return client.ping()

    @step("version")
    def _():
        version = client.version()
        return sorted(version), sorted(version["Components"][0]), version["Os"], version["Platform"].keys()

    @step("version without negotiation")
    def _():
        return sorted(client.api.version(api_version=False)) == sorted(client.version())

    @step("info")
    def _():
        info = client.info()
        plain = ("OSType", "Swarm", "LiveRestoreEnabled", "LoggingDriver", "Isolation", "Labels", "ExperimentalBuild")
        return {key: info[key] for key in plain}, info["Containers"], info["Images"]

    @step("info's plugins")
    def _():
        plugins = client.info()["Plugins"]
        return shape(plugins), plugins["Volume"], [driver for driver in plugins["Log"] if driver in ("json-file", "local", "syslog", "journald")]

    @step("disk usage")
    def _():
        usage = client.df()
        return sorted(usage), sorted(usage["Images"][0]), usage["Containers"], usage["Volumes"]

    @step("login to what is no registry")
    def _():
        return client.login("someone", "secret", registry="http://127.0.0.1:1/")

    @step("login, then from what is remembered")
    def _():
        first = client.login("someone", "secret", registry=registry, reauth=True)
        return first, client.login("someone", "secret", registry=registry)

    @step("events of a life")
    def _():
        begin = int(time.time())
        container = client.containers.run("busybox", "true", name="evented", labels={"a": "b"}, detach=True)
        container.wait()
        container.remove()
        found = client.events(since=begin, until=int(time.time()) + 1, decode=True, filters={"container": "evented"})
        return [(one["Type"], one["Action"], one["scope"], sorted(one["Actor"]["Attributes"])) for one in found]

    @step("events by their kinds")
    def _():
        until = int(time.time()) + 1
        filters = [{"type": "container"}, {"event": ["create", "die"]}, {"label": "a=b"}, {"label": "a=c"}, {"image": "busybox", "type": "container"}, {"type": "image"}]
        told = [client.events(since=until - 60, until=until, decode=True, filters=one) for one in filters]
        return [sorted({event["Action"] for event in events if event["Actor"]["Attributes"].get("name") in ("evented", "busybox:latest")}) for events in told]

    @step("events as text")
    def _():
        text = b"".join(client.events(since=1, until=int(time.time()) + 1, filters={"container": "evented", "event": "start"}))
        return text.count(b'"start"') > 0, text.endswith(b"\n")

    @step("events stop when they are closed")
    def _():
        events = client.events(decode=True)
        client.volumes.create("closing").remove()
        first = next(events)
        events.close()
        return first["Type"], first["Action"]

    @step("events with a filter that there is not")
    def _():
        return list(client.events(since=1, until=2, filters={"nope": "x"}))

    @step("search where nothing is")
    def _():
        return refused(lambda: client.images.search("127.0.0.1:1/x"))
