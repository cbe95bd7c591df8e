"""docker-py against a daemon: every public method of it at least once, and what it says.

    main.py SOCKET REGISTRY API-VERSION

REGISTRY is HOST:PORT as the daemon reaches it, with `busybox` in it; the daemon holds the image `busybox` and nothing
else. API-VERSION may be `auto`. Two daemons print the same.
"""
import sys

import docker
from docker import models

import containers
import images
import low_level
import networks
import streams
import swarm
import system
import told
import volumes

KINDS = [
    docker.APIClient, docker.DockerClient, models.containers.Container, models.containers.ContainerCollection,
    models.images.Image, models.images.ImageCollection, models.images.RegistryData, models.networks.Network,
    models.networks.NetworkCollection, models.volumes.Volume, models.volumes.VolumeCollection, models.swarm.Swarm,
    models.services.ServiceCollection, models.nodes.NodeCollection, models.secrets.SecretCollection,
    models.configs.ConfigCollection, models.plugins.PluginCollection,
]


def main():
    socket, registry, version = sys.argv[1:]
    for kind in KINDS:
        told.watch(kind)
    client = docker.DockerClient(base_url=f"unix://{socket}", version=version, timeout=60)
    for subject in (system, images, containers, streams, networks, volumes, swarm, low_level):
        subject.run(client, registry)
    client.close()
    print("never called:", [name for kind in KINDS for name in told.never_called(kind)])


main()
