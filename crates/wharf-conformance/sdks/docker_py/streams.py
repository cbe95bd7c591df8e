"""What goes through streams: logs, attach, exec."""
import itertools
import time

import docker

from told import shape, step


def read(socket):
    """A raw stream of a daemon to its end."""
    data = b""
    while chunk := socket.read(4096):
        data += chunk
    socket.close()
    return data


def frames(data):
    """Docker's frames of a stream: (1 for stdout or 2 for stderr, bytes), neighbours of one kind together."""
    found = []
    while data:
        size = int.from_bytes(data[4:8], "big")
        found.append((data[0], data[8:8 + size]))
        data = data[8 + size:]
    return [(kind, b"".join(part for _, part in parts)) for kind, parts in itertools.groupby(found, key=lambda one: one[0])]


def run(client, registry):
    logs(client)
    attach(client)
    execs(client)
    for name in ("spoken", "teller"):
        try:
            client.containers.get(name).remove(force=True)
        except docker.errors.NotFound:
            pass


def logs(client):
    client.containers.run("busybox", ["sh", "-c", "echo out 1; sleep 1.1; echo err 2 >&2; sleep 1.1; echo out 3"], name="spoken", detach=True)

    @step("logs that are followed")
    def _():
        return list(client.containers.get("spoken").logs(stream=True, follow=True))

    @step("logs")
    def _():
        spoken = client.containers.get("spoken")
        choices = [{}, {"stdout": False}, {"stderr": False}, {"tail": 1}, {"tail": 0}, {"tail": "all"}, {"since": 1}, {"until": 1}, {"since": int(time.time()) + 5}, {"stream": True, "tail": 2}]
        return [b"".join(logs) if not isinstance(logs := spoken.logs(**choice), bytes) else logs for choice in choices]

    @step("logs between times")
    def _():
        spoken = client.containers.get("spoken")
        stamps = [line.split(b" ")[0].decode() for line in spoken.logs(timestamps=True).splitlines()]
        seconds = [time.mktime(time.strptime(stamp[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + float("0" + stamp[19:-1]) for stamp in stamps]
        return spoken.logs(since=seconds[1] - 0.5), spoken.logs(until=seconds[1] - 0.5), spoken.logs(since=seconds[1] - 0.5, until=seconds[1] + 0.5)

    @step("logs, neither of them")
    def _():
        return client.containers.get("spoken").logs(stdout=False, stderr=False)

    @step("logs of one that does not log")
    def _():
        silent = client.containers.run("busybox", "echo x", detach=True, log_config=docker.types.LogConfig(type="none"))
        try:
            silent.wait()
            return silent.logs()
        finally:
            silent.remove()

    @step("logs of a terminal")
    def _():
        terminal = client.containers.run("busybox", "sh -c 'echo a; echo b >&2'", tty=True, detach=True)
        terminal.wait()
        try:
            return terminal.logs(), list(terminal.logs(stream=True))
        finally:
            terminal.remove()


def attach(client):
    @step("attach to a stream")
    def _():
        teller = client.containers.create("busybox", ["sh", "-c", "echo o; sleep 0.3; echo e >&2"], name="teller")
        stream = teller.attach(stream=True, stdout=True, stderr=True)
        teller.start()
        return list(stream)

    @step("attach by a socket")
    def _():
        client.containers.get("teller").remove()
        teller = client.containers.create("busybox", "cat", name="teller", stdin_open=True)
        socket = teller.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
        teller.start()
        socket._sock.sendall(b"hey\n")
        socket._sock.shutdown(1)
        return frames(read(socket)), teller.wait()

    @step("attach to what is not there")
    def _():
        return client.api.attach("nope")


def execs(client):
    client.containers.get("teller").remove(force=True)
    client.containers.run("busybox", "sleep 1000", name="teller", detach=True)

    @step("exec")
    def _():
        teller = client.containers.get("teller")
        return [teller.exec_run("echo hello"), teller.exec_run(["sh", "-c", "echo o; exit 7"]), teller.exec_run("true", detach=True).output, teller.exec_run(["sh", "-c", "echo e >&2"], stderr=False)]

    @step("exec, both streams")
    def _():
        return client.containers.get("teller").exec_run(["sh", "-c", "echo o; echo e >&2; exit 3"], demux=True)

    @step("exec, streamed")
    def _():
        script = ["sh", "-c", "echo o; sleep 0.3; echo e >&2"]
        teller = client.containers.get("teller")
        return list(teller.exec_run(script, stream=True).output), list(teller.exec_run(script, stream=True, demux=True).output)

    @step("exec with everything")
    def _():
        return client.containers.get("teller").exec_run(["sh", "-c", "id -u; echo $X; pwd; tty; grep CapEff /proc/self/status"], tty=True, environment={"X": "y"}, user="nobody", workdir="/tmp", privileged=True, stdin=True)

    @step("exec by a socket")
    def _():
        made = client.api.exec_create("teller", "cat", stdin=True)
        socket = client.api.exec_start(made["Id"], socket=True)
        socket._sock.sendall(b"through\n")
        socket._sock.shutdown(1)
        told = frames(read(socket))
        found = client.api.exec_inspect(made["Id"])
        return told, found["ExitCode"], shape(found)

    @step("exec of another size")
    def _():
        made = client.api.exec_create("teller", ["sh", "-c", "read x; stty size"], tty=True, stdin=True)
        socket = client.api.exec_start(made["Id"], socket=True, tty=True)
        client.api.exec_resize(made["Id"], height=10, width=20)
        socket._sock.sendall(b"\n")
        return read(socket)

    @step("exec that is not there")
    def _():
        return client.api.exec_start("nope")

    @step("exec of nothing")
    def _():
        return client.api.exec_create("teller", [])

    @step("exec of a user who is not there")
    def _():
        return client.containers.get("teller").exec_run("true", user="nobodyatall").exit_code

    @step("exec in one that is paused, and in one that has ended")
    def _():
        teller = client.containers.get("teller")
        teller.pause()
        try:
            return teller.exec_run("true")
        finally:
            teller.unpause()
            teller.kill()
            teller.wait()
            step("exec in one that has ended")(lambda: teller.exec_run("true"))
