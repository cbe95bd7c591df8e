"""testcontainers-python against a daemon: containers that are waited for, spoken to and gone afterwards.

    DOCKER_HOST=unix://… TESTCONTAINERS_RYUK_DISABLED=true main.py

It is to run where the daemon's ports are. Two daemons print the same.
"""
import urllib.request

import docker
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy, PortWaitStrategy

SERVER = "echo starting; mkdir /www; echo hello from $NAME > /www/index.html; echo ready; exec httpd -f -p 80 -h /www"


def served(container):
    address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(80)}/"
    return urllib.request.urlopen(address, timeout=10).read()


def server():
    return DockerContainer("busybox:latest").with_command(["sh", "-c", SERVER]).with_env("NAME", "a test").with_exposed_ports(80)


def waits():
    for strategy in (LogMessageWaitStrategy("ready"), PortWaitStrategy(80), HttpWaitStrategy(80).for_status_code(200)):
        with server().waiting_for(strategy) as container:
            print(type(strategy).__name__, served(container))
    try:
        server().waiting_for(LogMessageWaitStrategy("never").with_startup_timeout(2)).start()
    except Exception as error:
        print("never", type(error).__name__)


def inside():
    with server().with_name("tested").with_kwargs(hostname="inside").waiting_for(LogMessageWaitStrategy("ready")) as container:
        print(container.exec(["hostname"]))
        print(container.exec("sh -c 'echo $NAME; exit 3'").exit_code)
        print(container.get_logs()[0].splitlines()[-1:], container.get_wrapped_container().name)


def networks():
    with Network() as network:
        with server().with_network(network).with_network_aliases("web").waiting_for(LogMessageWaitStrategy("ready")):
            client = DockerContainer("busybox:latest").with_command("sleep 1000").with_network(network)
            with client as asking:
                print(asking.exec(["wget", "-q", "-O", "-", "http://web/"]))


def images():
    with DockerImage(path=".", dockerfile_path="testcontainers/Dockerfile", tag="tested:1") as image:
        with DockerContainer(str(image)).waiting_for(LogMessageWaitStrategy("built")) as container:
            print(container.get_logs()[0])


def main():
    for subject in (waits, inside, networks, images):
        subject()
    client = docker.from_env()
    print("left", len(client.containers.list(all=True)), len(client.networks.list()), [one.tags for one in client.images.list()])


main()
