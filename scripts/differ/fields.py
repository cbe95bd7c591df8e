"""Every field of the bodies of requests, with values of every kind: what is refused and how, and what becomes of the rest."""
from questions import q

# What a field may be told: its own kind of value among many that are not.
VALUES = [None, "", 0, -1, 1, 1.5, True, "x", "a" * 300, "/", [], {}, [None], [""], ["x"], [{}], {"": ""}, {"a": "b"}, {"a": 1}, 2 ** 53, "\u0000"]

CONFIG = """Hostname Domainname User AttachStdin AttachStdout AttachStderr ExposedPorts Tty OpenStdin StdinOnce Env Cmd Healthcheck ArgsEscaped
Image Volumes WorkingDir Entrypoint NetworkDisabled MacAddress OnBuild Labels StopSignal StopTimeout Shell HostConfig NetworkingConfig""".split()
HOST = """Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom ConsoleSize Annotations CapAdd
CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode Privileged PublishAllPorts ReadonlyRootfs
SecurityOpt StorageOpt Tmpfs UTSMode UsernsMode ShmSize Sysctls Runtime Isolation Mounts MaskedPaths ReadonlyPaths Init""".split()
RESOURCES = """CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps
BlkioDeviceWriteIOps CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices DeviceCgroupRules DeviceRequests KernelMemory
KernelMemoryTCP MemoryReservation MemorySwap MemorySwappiness OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps
IOMaximumBandwidth""".split()
MOUNT = "Type Source Target ReadOnly Consistency BindOptions VolumeOptions TmpfsOptions ClusterOptions".split()
DEEP = {
    "Healthcheck": "Test Interval Timeout Retries StartPeriod StartInterval".split(),
    "HostConfig.LogConfig": ["Type", "Config"],
    "HostConfig.RestartPolicy": ["Name", "MaximumRetryCount"],
    "HostConfig.Mounts[].BindOptions": "Propagation NonRecursive CreateMountpoint ReadOnlyNonRecursive ReadOnlyForceRecursive".split(),
    "HostConfig.Mounts[].VolumeOptions": "NoCopy Labels DriverConfig Subpath".split(),
    "HostConfig.Mounts[].VolumeOptions.DriverConfig": ["Name", "Options"],
    "HostConfig.Mounts[].TmpfsOptions": "SizeBytes Mode Options".split(),
    "HostConfig.Devices[]": "PathOnHost PathInContainer CgroupPermissions".split(),
    "HostConfig.DeviceRequests[]": "Driver Count DeviceIDs Capabilities Options".split(),
    "HostConfig.Ulimits[]": "Name Hard Soft".split(),
    "HostConfig.BlkioWeightDevice[]": ["Path", "Weight"],
    "HostConfig.BlkioDeviceReadBps[]": ["Path", "Rate"],
    "NetworkingConfig": ["EndpointsConfig"],
    "NetworkingConfig.EndpointsConfig.bridge": "IPAMConfig Links Aliases MacAddress DriverOpts NetworkID EndpointID Gateway IPAddress IPPrefixLen DNSNames".split(),
    "NetworkingConfig.EndpointsConfig.bridge.IPAMConfig": "IPv4Address IPv6Address LinkLocalIPs".split(),
}
# What must be there beside a field, that it is looked at at all.
BESIDE = {"HostConfig.Mounts[]": {"Type": "volume", "Target": "/x"}, "HostConfig.Mounts[].BindOptions": {}, "HostConfig.Devices[]": {"PathOnHost": "/dev/null"},
          "HostConfig.Ulimits[]": {"Name": "nofile", "Hard": 10, "Soft": 5}, "HostConfig.BlkioWeightDevice[]": {"Path": "/dev/null"},
          "HostConfig.BlkioDeviceReadBps[]": {"Path": "/dev/null"}}


def placed(place, field, value):
    """A body with one field of one place."""
    inner = {**BESIDE.get(place, {}), field: value}
    for part in reversed([part for part in place.split(".") if part]):
        inner = {part[:-2]: [inner]} if part.endswith("[]") else {part: inner}
    return inner


def places():
    for field in CONFIG:
        yield "", field
    for field in HOST + RESOURCES:
        yield "HostConfig", field
    for field in MOUNT:
        yield "HostConfig.Mounts[]", field
    for place, fields in DEEP.items():
        for field in fields:
            yield place, field


def creates():
    for place, field in places():
        for value in VALUES:
            body = {"Image": "busybox", **placed(place, field, value)}
            yield q("POST", "/containers/create?name=f1", json=body)
            yield q("GET", "/containers/f1/json", ignore=["^\\$.Name", "message"])
            yield q("DELETE", "/containers/f1?force=1&v=1", quiet=True)


def bodies_of(target, fields, base, undo=None):
    for field in fields:
        for value in VALUES:
            yield q("POST", target, json={**base, field: value}, ignore=["dial|lookup"])
            if undo:
                yield q(*undo, quiet=True)


def others():
    yield q("POST", "/containers/create?name=g1", json={"Image": "busybox", "Cmd": ["sleep", "1000"]}, quiet=True)
    yield q("POST", "/containers/g1/start", quiet=True)
    yield from bodies_of("/containers/g1/update", RESOURCES + ["RestartPolicy"], {})
    yield from bodies_of("/containers/g1/exec", "AttachStdin AttachStdout AttachStderr DetachKeys Tty Env Cmd Privileged User WorkingDir ConsoleSize Detach".split(), {"Cmd": ["true"]})
    yield from bodies_of("/volumes/create", "Name Driver DriverOpts Labels ClusterVolumeSpec".split(), {"Name": "fv"}, ("DELETE", "/volumes/fv?force=1"))
    yield from bodies_of("/networks/create", "Name CheckDuplicate Driver Scope Internal Attachable Ingress ConfigOnly ConfigFrom IPAM EnableIPv6 Options Labels".split(), {"Name": "fn"}, ("DELETE", "/networks/fn"))
    for field in "Driver Options Config".split():
        for value in VALUES:
            yield q("POST", "/networks/create", json={"Name": "fn", "IPAM": {field: value}})
            yield q("DELETE", "/networks/fn", quiet=True)
    for field in "Subnet IPRange Gateway AuxiliaryAddresses".split():
        for value in VALUES:
            yield q("POST", "/networks/create", json={"Name": "fn", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", field: value}]}})
            yield q("DELETE", "/networks/fn", quiet=True)
    yield q("POST", "/networks/create", json={"Name": "fc"}, quiet=True)
    yield from bodies_of("/networks/fc/connect", ["Container", "EndpointConfig"], {"Container": "g1"}, ("POST", "/networks/fc/disconnect?x={\"Container\":\"g1\"}"))
    yield from bodies_of("/networks/fc/disconnect", ["Container", "Force"], {"Container": "g1"})
    yield from bodies_of("/commit?container=g1&repo=fi", CONFIG, {})
    yield from bodies_of("/auth", "username password auth email serveraddress identitytoken registrytoken".split(), {"serveraddress": "localhost:1"})
    for text in ("", "0", "-1", "1.5", "x", "99999999999999999999", "true", " 1", "1 ", "%00", "a" * 3000):
        for target in ("/containers/g1/stop?signal=0&t=", "/containers/g1/kill?signal=", "/containers/g1/resize?w=1&h=", "/containers/g1/logs?stdout=1&tail=", "/containers/g1/logs?stdout=1&since=",
                       "/containers/g1/logs?stdout=1&until=", "/containers/g1/top?ps_args=", "/containers/g1/stats?stream=", "/containers/g1/wait?condition=", "/containers/g1/rename?name=", "/containers/json?limit=",
                       "/containers/json?all=", "/containers/json?size=", "/images/json?all=", "/images/json?digests=", "/events?until=1&since=", "/events?since=1&until=", "/images/busybox/history?x=", "/images/search?term=",
                       "/images/search?term=x&limit=", "/images/busybox/tag?repo=", "/images/busybox/tag?repo=a&tag=", "/networks/", "/volumes/", "/containers/", "/exec/", "/images/", "/system/df?type=", "/build/prune?keep-storage=",
                       "/containers/g1/archive?path=", "/containers/g1/attach?logs=", "/commit?container=", "/commit?container=g1&pause=0&changes=", "/images/create?fromImage=", "/networks/fc?verbose=", "/networks/fc?scope="):
            method = "POST" if any(word in target for word in ("stop", "kill", "resize", "wait", "rename", "tag?", "prune", "commit", "create", "attach")) else "GET"
            if "stats?stream" in target or ("logs=" in target and text in ("1", "true", "x")) or "wait" in target and text == "":
                continue
            tail = "/json" if target in ("/containers/", "/exec/", "/images/") else ""
            yield q(method, target + text.replace(" ", "%20") + tail, ignore=["dial|lookup", "Titles|Processes"], timeout=15)
            yield q("POST", "/containers/g1/start", quiet=True)
    yield q("DELETE", "/containers/g1?force=1", quiet=True)
    yield q("DELETE", "/networks/fc", quiet=True)


SECTIONS = {"creates": creates, "others": others}
