"""The questions of differ.py, by subject. Each is (method, target, what else is said and expected)."""
import json
import urllib.parse

# Differences that are meant, or the other's age.
KNOWN = [
    r"header api-version: ",
    r"header builder-version: 2 -> 1",
]


def q(method, target, **want):
    return method, target, want


def filters(value):
    text = value if isinstance(value, str) else json.dumps(value)
    return "filters=" + urllib.parse.quote(text)


BAD_FILTERS = ["x", "[]", "{}", '{"nope":["x"]}', '{"label":"a"}', '{"label":{"a":true}}', '{"label":{"a":false}}', '{"label":1}',
               '{"label":[]}', '{"label":["a=b","c"]}', '{"label":[1]}', "null", '{"nope":{"x":true}}', '"x"']
BAD_BODIES = [b"", b"{", b"{}", b"[]", b"null", b'"x"', b"1", b"{} {}", b"{}x", b'{"a":', b"nonsense"]


def bad_bodies(method, target, kinds=BAD_BODIES):
    for body in kinds:
        yield q(method, target, raw=body, headers=[("Content-Type", "application/json")])
    yield q(method, target, raw=b"{}")
    yield q(method, target, raw=b"{}", headers=[("Content-Type", "text/plain")])
    yield q(method, target, raw=b"{}", headers=[("Content-Type", "application/json; charset=utf-8")])
    yield q(method, target, raw=b"{}", headers=[("Content-Type", "application/x-www-form-urlencoded")])
    yield q(method, target)
    yield q(method, target, headers=[("Content-Type", "application/json")])


def system():
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        yield q(method, "/_ping")
        yield q(method, "/version", ignore=[r"Version|Components|Arch|BuildTime|Platform|Kernel"])
    yield q("GET", "/info", ignore=[r"\.(ID|Name|NFd|NGoroutines|NEventsListener|SystemTime|KernelVersion|ServerVersion|Runtimes|.*Commit|DriverStatus|MemTotal|DockerRootDir)"])
    yield q("HEAD", "/info")
    yield q("POST", "/info")
    for path in ("/", "", "/nope", "/containers", "/containers/", "/images", "/images/", "/containers/json/", "//info", "/info/",
                 "/containers//json", "/volumes/", "/networks/", "/exec", "/exec/", "/_ping/", "/info?x=%zz", "/containers/a/b",
                 "/containers/a%2Fb/json", "/images//json", "/images/a//json", "/volumes//", "/networks//connect", "/Info"):
        yield q("GET", path)
        yield q("POST", path)
    for version in ("1.24", "1.23", "1.12", "1.25", "1.40", "1.45", "1.999", "2.0", "0.1", "1.", "1", "a.b", "1.24.1", "01.40", "1.0045", ""):
        yield q("GET", f"!/v{version}/_ping", ignore=[r"Maximum|Minimum"])
        yield q("GET", f"!/v{version}/containers/json", ignore=[r"Maximum|Minimum"])
        yield q("GET", f"!/v{version}/nope", ignore=[r"Maximum|Minimum"])
    for version in ("1.24", "1.25", "1.30", "1.35", "1.40", "1.43", "1.44"):
        yield q("GET", f"!/v{version}/info", ignore=[r"\.(ID|Name|NFd|NGoroutines|NEventsListener|SystemTime|KernelVersion|ServerVersion|Runtimes|.*Commit|DriverStatus|MemTotal|DockerRootDir)"])
        yield q("GET", f"!/v{version}/version", ignore=[r"Version|Components|Arch|BuildTime|Platform|Kernel"])
    for value in BAD_FILTERS:
        yield q("GET", "/events?since=1&until=2&" + filters(value))
    for query in ("since=x&until=1", "since=1&until=x", "since=1.5&until=2.5", "since=2&until=1", "since=0&until=1",
                  "since=2020-01-01&until=2020-01-02", "since=2020-01-01T00:00:00Z&until=2020-01-01T00:00:00", "since=-1&until=1", "since=10m&until=1",
                  "until=1.1.1", "since=99999999999999999999&until=1"):
        yield q("GET", "/events?" + query)
    for key in ("type", "event", "container", "image", "volume", "network", "plugin", "daemon", "scope", "node", "service", "secret", "config", "label"):
        yield q("GET", "/events?since=1&until=2&" + filters({key: ["x"]}))
    for kind in ("container", "image", "volume", "build-cache", "nope", "", "container&type=nope", "container&type=image"):
        yield q("GET", f"/system/df?type={kind}", ignore=[r"BuilderSize"])
    yield q("GET", "/system/df")
    yield q("GET", "!/v1.41/system/df?type=nope")
    yield q("POST", "/system/df")
    yield from bad_bodies("POST", "/auth")
    yield q("POST", "/auth", json={"username": "a", "password": "b", "serveraddress": "127.0.0.1:1"}, ignore=["dial"])
    yield q("GET", "/auth")


def containers():
    for value in BAD_FILTERS + ['{"status":["nope"]}', '{"status":["running"]}', '{"exited":["x"]}', '{"exited":["1"]}', '{"health":["x"]}', '{"is-task":["x"]}',
                                '{"before":["nope"]}', '{"since":["nope"]}', '{"ancestor":["nope"]}', '{"publish":["x"]}', '{"publish":["80/x"]}', '{"expose":["80-x"]}',
                                '{"isolation":["x"]}', '{"name":["["]}', '{"id":["["]}', '{"network":["nope"]}', '{"volume":["nope"]}', '{"is-task":["true"]}']:
        yield q("GET", "/containers/json?all=1&" + filters(value))
    for query in ("limit=x", "limit=-1", "limit=0", "limit=1.5", "limit=", "all=x", "all=0", "size=1", "before=nope", "since=nope", "foo=bar"):
        yield q("GET", "/containers/json?" + query)
    for method in ("POST", "PUT", "DELETE", "HEAD"):
        yield q(method, "/containers/json")
    yield from bad_bodies("POST", "/containers/create")
    c = lambda body, query="", **want: q("POST", "/containers/create" + query, json=body, **want)
    for name in ("a", "_a", "-a", "a b", "/", "/ok1", "a/b", "é", "ok.2-_", "ab:c", ""):
        yield c({"Image": "busybox"}, "?name=" + urllib.parse.quote(name))
    yield c({"Image": "busybox"}, "?name=dup")
    yield c({"Image": "busybox"}, "?name=dup")
    for image in ("", "nope", "nope:1", "UPPER", "a b", "sha256:", "sha256:" + "0" * 64, "0" * 64, "busybox@sha256:" + "0" * 64, ":", "/", "-", "busybox:", "busybox:no such",
                  "localhost:1/x", "docker.io/busybox", "docker.io/library/busybox:latest", "library/busybox"):
        yield c({"Image": image})
    yield c({})
    for platform in ("linux", "linux/amd64", "linux/arm64", "windows", "nope/nope", "a/b/c/d", "linux/", "/"):
        yield c({"Image": "busybox"}, "?platform=" + urllib.parse.quote(platform, safe=""))
    for config in (
        {"Cmd": "true"}, {"Cmd": 1}, {"Cmd": []}, {"Cmd": None}, {"Cmd": [1]}, {"Cmd": ["a"], "Entrypoint": "b c"}, {"Entrypoint": []}, {"Entrypoint": [""]}, {"Entrypoint": None},
        {"Env": ["A"]}, {"Env": [""]}, {"Env": ["=b"]}, {"Env": "A=b"}, {"Env": {}}, {"Env": ["A=b", "A=c"]},
        {"Labels": {"": "x"}}, {"Labels": ["a"]}, {"Labels": {"a": 1}}, {"Labels": None}, {"Labels": {"a": None}},
        {"Volumes": {"/x": {}}}, {"Volumes": {"x": {}}}, {"Volumes": {"": {}}}, {"Volumes": {"/": {}}}, {"Volumes": ["/x"]}, {"Volumes": {"/a:/b": {}}}, {"Volumes": {"a:/b": {}}},
        {"ExposedPorts": {"80/tcp": {}}}, {"ExposedPorts": {"80": {}}}, {"ExposedPorts": {"x": {}}}, {"ExposedPorts": {"80/x": {}}}, {"ExposedPorts": {"99999": {}}}, {"ExposedPorts": {"80-90/udp": {}}}, {"ExposedPorts": ["80"]},
        {"StopSignal": "x"}, {"StopSignal": "SIGTERM"}, {"StopSignal": "15"}, {"StopSignal": "0"}, {"StopSignal": "99"}, {"StopSignal": "term"}, {"StopTimeout": -1}, {"StopTimeout": "x"}, {"StopTimeout": 3},
        {"WorkingDir": "x"}, {"WorkingDir": "/"}, {"WorkingDir": "C:\\x"}, {"WorkingDir": "/a/../b"},
        {"User": "nope"}, {"User": "1:2"}, {"Hostname": "a.b"}, {"Hostname": "-x"}, {"Hostname": "a" * 65}, {"Hostname": "a b"}, {"Domainname": "x.y"}, {"Hostname": "h", "Domainname": "d"},
        {"Healthcheck": {"Test": ["CMD", "true"]}}, {"Healthcheck": {"Test": ["NOPE"]}}, {"Healthcheck": {"Test": ["NONE"]}}, {"Healthcheck": {"Test": []}}, {"Healthcheck": {"Interval": 1}}, {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}},
        {"Healthcheck": {"Test": ["CMD", "x"], "Timeout": -1}}, {"Healthcheck": {"Test": ["CMD", "x"], "Retries": -1}}, {"Healthcheck": {"Test": ["CMD", "x"], "StartPeriod": 1}}, {"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 1}}, {"Healthcheck": {}},
        {"Healthcheck": None}, {"MacAddress": "x"}, {"MacAddress": "02:42:ac:11:00:99"}, {"NetworkDisabled": True}, {"Shell": ["x"]}, {"OnBuild": ["x"]}, {"Tty": "x"}, {"Tty": 1}, {"Unknown": 1},
        {"tty": True, "CMD": ["x"]}, {"AttachStdin": True, "OpenStdin": True, "StdinOnce": True}, {"ArgsEscaped": True},
    ):
        yield c({"Image": "busybox", **config}, save="c")
        yield q("GET", "/containers/{{c}}/json")
        yield q("DELETE", "/containers/{{c}}?force=1&v=1", quiet=True)
    for host in (
        {"Memory": 1}, {"Memory": 6291456}, {"Memory": -1}, {"Memory": "x"}, {"Memory": 10485760, "MemorySwap": 1}, {"MemorySwap": 10485760}, {"Memory": 10485760, "MemorySwap": -1}, {"MemoryReservation": 1}, {"MemoryReservation": 20971520, "Memory": 10485760},
        {"MemorySwappiness": 101}, {"MemorySwappiness": -1}, {"MemorySwappiness": 50}, {"MemorySwappiness": -2}, {"OomKillDisable": True}, {"OomScoreAdj": 1001}, {"OomScoreAdj": -1000}, {"PidsLimit": -5}, {"PidsLimit": 0}, {"PidsLimit": 10},
        {"NanoCpus": 1}, {"NanoCpus": -1}, {"NanoCpus": 500000000}, {"NanoCpus": 99000000000}, {"NanoCpus": 1000000000, "CpuQuota": 1000}, {"NanoCpus": 1000000000, "CpuPeriod": 1000}, {"CpuShares": -1}, {"CpuShares": 1}, {"CpuPeriod": 1}, {"CpuQuota": 1}, {"CpuPeriod": 100000, "CpuQuota": 50000},
        {"CpusetCpus": "x"}, {"CpusetCpus": "0"}, {"CpusetCpus": "0-999"}, {"CpusetMems": "x"}, {"CpusetMems": "9"}, {"BlkioWeight": 1}, {"BlkioWeight": 500}, {"BlkioWeight": 1001}, {"CpuRealtimePeriod": 1, "CpuRealtimeRuntime": 2}, {"KernelMemory": 1}, {"KernelMemoryTCP": 1},
        {"ShmSize": -1}, {"ShmSize": 0}, {"ShmSize": 1}, {"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}]}, {"Ulimits": [{"Name": "nope", "Soft": 1, "Hard": 1}]}, {"Ulimits": [{"Name": "nofile", "Soft": 30, "Hard": 20}]}, {"Ulimits": [{}]}, {"Ulimits": {}},
        {"RestartPolicy": {"Name": "nope"}}, {"RestartPolicy": {"Name": "always"}}, {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}, {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}, {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}}, {"RestartPolicy": {}}, {"RestartPolicy": {"Name": "", "MaximumRetryCount": 2}},
        {"AutoRemove": True, "RestartPolicy": {"Name": "always"}}, {"AutoRemove": True}, {"RestartPolicy": {"Name": "no", "MaximumRetryCount": 1}}, {"RestartPolicy": None},
        {"NetworkMode": "nope"}, {"NetworkMode": "host"}, {"NetworkMode": "none"}, {"NetworkMode": "bridge"}, {"NetworkMode": "default"}, {"NetworkMode": ""}, {"NetworkMode": "container:"}, {"NetworkMode": "container:nope"}, {"NetworkMode": "container:dup"}, {"NetworkMode": "host", "PortBindings": {"80/tcp": [{"HostPort": "80"}]}}, {"NetworkMode": "ns:x"},
        {"PidMode": "x"}, {"PidMode": "host"}, {"PidMode": "container:nope"}, {"PidMode": "container:dup"}, {"PidMode": "container:"}, {"IpcMode": "x"}, {"IpcMode": "host"}, {"IpcMode": "private"}, {"IpcMode": "shareable"}, {"IpcMode": "none"}, {"IpcMode": "container:dup"}, {"IpcMode": "container:nope"}, {"UTSMode": "x"}, {"UTSMode": "host"}, {"UsernsMode": "x"}, {"UsernsMode": "host"}, {"CgroupnsMode": "x"}, {"CgroupnsMode": "host"}, {"CgroupnsMode": "private"}, {"CgroupnsMode": ""},
        {"Privileged": True}, {"ReadonlyRootfs": True}, {"PublishAllPorts": True}, {"CapAdd": ["nope"]}, {"CapAdd": ["NET_ADMIN"]}, {"CapAdd": ["CAP_NET_ADMIN", "all"]}, {"CapAdd": "x"}, {"CapDrop": ["nope"]}, {"CapDrop": ["ALL"]}, {"CapAdd": None}, {"CapAdd": ["cap_sys_admin", "net_admin"]},
        {"SecurityOpt": ["nope"]}, {"SecurityOpt": ["nope=x"]}, {"SecurityOpt": ["seccomp=x"]}, {"SecurityOpt": ["seccomp=unconfined"]}, {"SecurityOpt": ["seccomp={"]}, {"SecurityOpt": ["label=disable"]}, {"SecurityOpt": ["no-new-privileges"]}, {"SecurityOpt": ["no-new-privileges=x"]}, {"SecurityOpt": ["apparmor=unconfined"]}, {"SecurityOpt": ["label:disable"]}, {"SecurityOpt": ["systempaths=unconfined"]}, {"SecurityOpt": []},
        {"Binds": ["/tmp:/x"]}, {"Binds": ["/tmp:/x:ro"]}, {"Binds": ["/tmp:/x:nope"]}, {"Binds": ["/tmp"]}, {"Binds": ["tmp"]}, {"Binds": ["x:/y"]}, {"Binds": ["x:y"]}, {"Binds": [":/y"]}, {"Binds": ["/tmp:/"]}, {"Binds": ["/nonexistent-x:/x"]}, {"Binds": ["a b:/x"]}, {"Binds": ["/tmp:/x", "/var:/x"]}, {"Binds": ["/tmp:/x:ro,rw"]}, {"Binds": ["/tmp:/x:rslave"]}, {"Binds": ["v:/x:nocopy"]}, {"Binds": ["/a:/b:/c:/d"]}, {"Binds": [""]}, {"Binds": ["x:/y:z"]}, {"Binds": "x"}, {"Binds": ["vol1:/x:rw"]},
        {"Mounts": [{}]}, {"Mounts": [{"Type": "nope", "Target": "/x"}]}, {"Mounts": [{"Type": "bind", "Target": "/x"}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp"}]}, {"Mounts": [{"Type": "bind", "Source": "tmp", "Target": "/x"}]}, {"Mounts": [{"Type": "bind", "Source": "/nonexistent-y", "Target": "/x"}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "x"}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/"}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x", "VolumeOptions": {}}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x", "BindOptions": {"Propagation": "nope"}}]},
        {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x", "ReadOnly": True, "BindOptions": {"Propagation": "rslave", "NonRecursive": True}}]}, {"Mounts": [{"Type": "bind", "Source": "/nonexistent-z", "Target": "/x", "BindOptions": {"CreateMountpoint": True}}]}, {"Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/x", "ReadOnly": True, "BindOptions": {"ReadOnlyNonRecursive": True}}]},
        {"Mounts": [{"Type": "volume", "Target": "/x"}]}, {"Mounts": [{"Type": "volume", "Source": "v1", "Target": "/x", "VolumeOptions": {"NoCopy": True, "Labels": {"a": "b"}, "DriverConfig": {"Name": "local", "Options": {}}}}]}, {"Mounts": [{"Type": "volume", "Source": "/v1", "Target": "/x"}]}, {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/x", "VolumeOptions": {"DriverConfig": {"Name": "nope"}}}]}, {"Mounts": [{"Type": "volume", "Source": "v2", "Target": "/x", "VolumeOptions": {"Subpath": "a/b"}}]}, {"Mounts": [{"Type": "volume", "Source": "v2", "Target": "/x", "VolumeOptions": {"Subpath": "../b"}}]},
        {"Mounts": [{"Type": "tmpfs", "Target": "/x"}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x", "Source": "y"}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 1000000, "Mode": 511}}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": -1}}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x", "BindOptions": {}}]}, {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/x"}]}, {"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/x"}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x"}, {"Type": "tmpfs", "Target": "/x"}]}, {"Mounts": [{"Type": "tmpfs", "Target": "/x"}], "Binds": ["/tmp:/x"]},
        {"Tmpfs": {"/x": ""}}, {"Tmpfs": {"/x": "nope"}}, {"Tmpfs": {"x": ""}}, {"Tmpfs": {"/x": "size=1m,mode=700"}}, {"Tmpfs": {"/": ""}}, {"Tmpfs": []},
        {"VolumesFrom": ["nope"]}, {"VolumesFrom": ["dup:x"]}, {"VolumesFrom": ["dup:ro"]}, {"VolumesFrom": [""]}, {"VolumeDriver": "nope"}, {"VolumeDriver": "local"},
        {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}, {"PortBindings": {"80": [{"HostPort": "8081"}]}}, {"PortBindings": {"x": [{}]}}, {"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}}, {"PortBindings": {"80/tcp": [{"HostIp": "x", "HostPort": "1"}]}}, {"PortBindings": {"80/tcp": []}}, {"PortBindings": {"80/tcp": None}}, {"PortBindings": {"80/tcp": [{}]}}, {"PortBindings": {"80/nope": [{}]}}, {"PortBindings": {"80-81/tcp": [{"HostPort": "8000-8001"}]}}, {"PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}]}}, {"PortBindings": []}, {"PortBindings": {"80/sctp": [{"HostPort": ""}]}},
        {"Devices": [{"PathOnHost": "/dev/null"}]}, {"Devices": [{"PathOnHost": "/dev/nope"}]}, {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]}, {"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "q"}]}, {"Devices": [{}]}, {"DeviceCgroupRules": ["x"]}, {"DeviceCgroupRules": ["c 1:3 rwm"]}, {"DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}]}, {"DeviceRequests": [{"Driver": "nope"}]},
        {"Dns": ["x"]}, {"Dns": ["1.1.1.1"]}, {"DnsSearch": ["x y"]}, {"DnsSearch": ["example.com"]}, {"DnsOptions": ["ndots:1"]}, {"Dns": [""]}, {"Dns": None, "DnsSearch": None}, {"ExtraHosts": ["x"]}, {"ExtraHosts": ["a:1.2.3.4"]}, {"ExtraHosts": ["a:x"]}, {"ExtraHosts": ["a:host-gateway"]}, {"ExtraHosts": ["a:::1"]}, {"ExtraHosts": ["a=1.2.3.4"]},
        {"Links": ["nope"]}, {"Links": ["nope:x"]}, {"Links": ["dup"]}, {"Links": ["dup:alias"]}, {"Links": [":"]}, {"Links": ["a:b:c"]},
        {"LogConfig": {"Type": "nope"}}, {"LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}}, {"LogConfig": {"Type": "json-file", "Config": {"nope": "x"}}}, {"LogConfig": {"Type": "json-file", "Config": {"max-size": "x"}}}, {"LogConfig": {"Type": "none"}}, {"LogConfig": {"Type": "local"}}, {"LogConfig": {"Type": "none", "Config": {"a": "b"}}}, {"LogConfig": {}}, {"LogConfig": {"Type": "json-file", "Config": {"max-file": "0"}}}, {"LogConfig": {"Type": "json-file", "Config": {"max-file": "2"}}}, {"LogConfig": {"Type": "json-file", "Config": {"mode": "x"}}}, {"LogConfig": {"Type": "json-file", "Config": {"mode": "non-blocking", "max-buffer-size": "1m"}}}, {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "x"}}},
        {"Sysctls": {"net.ipv4.ip_forward": "1"}}, {"Sysctls": {"nope": "1"}}, {"Sysctls": {"kernel.shm_rmid_forced": "1"}}, {"Sysctls": {"kernel.panic": "1"}}, {"Sysctls": {"net.x": "1"}, "NetworkMode": "host"}, {"StorageOpt": {"size": "1g"}}, {"StorageOpt": {"nope": "1"}}, {"Runtime": "nope"}, {"Runtime": "runc"}, {"Runtime": "io.containerd.runc.v2"}, {"Init": True}, {"Init": "x"}, {"CgroupParent": "x"}, {"CgroupParent": "/x"}, {"Cgroup": "x"}, {"GroupAdd": ["nope"]}, {"GroupAdd": ["1", "root"]}, {"Isolation": "hyperv"}, {"Isolation": "default"}, {"Isolation": "x"}, {"ConsoleSize": [1, 2]}, {"ConsoleSize": [1]}, {"MaskedPaths": []}, {"MaskedPaths": ["/x"]}, {"ReadonlyPaths": None}, {"ContainerIDFile": "x"}, {"Annotations": {"a": "b"}}, {"CpuCount": 1}, {"CpuPercent": 1}, {"IOMaximumIOps": 1}, {"IOMaximumBandwidth": 1}, {"BlkioWeightDevice": [{"Path": "/dev/nope", "Weight": 10}]}, {"BlkioDeviceReadBps": [{"Path": "/dev/nope", "Rate": 1}]}, {"BlkioDeviceReadBps": [{"Path": "/dev/null", "Rate": 1024}]}, {"CpuRealtimePeriod": 1000000},
    ):
        yield c({"Image": "busybox", "Cmd": ["true"], "HostConfig": host}, save="c")
        yield q("GET", "/containers/{{c}}/json")
        yield q("DELETE", "/containers/{{c}}?force=1&v=1", quiet=True)
    for networking in (
        {"EndpointsConfig": {"bridge": {}}}, {"EndpointsConfig": {"nope": {}}}, {"EndpointsConfig": {"bridge": None}}, {"EndpointsConfig": {"bridge": {}, "none": {}}}, {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}}}, {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv4Address": "x"}}}}, {"EndpointsConfig": {"bridge": {"Aliases": ["a"]}}}, {"EndpointsConfig": {"bridge": {"MacAddress": "x"}}}, {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:00:00:00:01"}}}, {"EndpointsConfig": {"": {}}}, {"EndpointsConfig": []}, {"EndpointsConfig": {}}, {"EndpointsConfig": {"bridge": {"DriverOpts": {"a": "b"}}}}, {"EndpointsConfig": {"bridge": {"Links": ["dup:x"]}}}, {"EndpointsConfig": {"host": {}}}, {"EndpointsConfig": {"bridge": {"IPAMConfig": {"LinkLocalIPs": ["169.254.1.1"]}}}}, {"EndpointsConfig": {"bridge": {"IPAMConfig": {"IPv6Address": "x"}}}},
    ):
        yield c({"Image": "busybox", "NetworkingConfig": networking}, save="c")
        yield q("GET", "/containers/{{c}}/json")
        yield q("DELETE", "/containers/{{c}}?force=1&v=1", quiet=True)
    for version in ("1.24", "1.25", "1.29", "1.30", "1.39", "1.40", "1.41", "1.42", "1.43", "1.44"):
        v = f"!/v{version}"
        yield q("POST", f"{v}/containers/create", json={"Image": "busybox", "Cmd": ["true"], "MacAddress": "02:42:ac:11:00:99", "HostConfig": {"AutoRemove": False, "CapAdd": ["NET_ADMIN"], "PidsLimit": 0, "KernelMemory": 1, "Mounts": [{"Type": "tmpfs", "Target": "/x"}], "CgroupnsMode": "", "IpcMode": "", "ConsoleSize": [1, 2], "Annotations": {"a": "b"}}}, save="c")
        yield q("GET", f"{v}/containers/{{{{c}}}}/json?size=1")
        yield q("GET", f"{v}/containers/json?all=1&" + filters({"id": ["{{c}}"]}))
        yield q("DELETE", "/containers/{{c}}?force=1&v=1", quiet=True)
    yield q("GET", "/containers/json?all=1", body=False)
    yield q("DELETE", "/containers/dup", quiet=True)
    for path in ("json", "top", "logs?stdout=1", "changes", "export", "stats?stream=0", "archive?path=/", "attach/ws"):
        yield q("GET", f"/containers/nope/{path}")
        yield q("POST", f"/containers/nope/{path}")
    for path in ("start", "stop", "restart", "kill", "pause", "unpause", "rename?name=x", "resize?h=1&w=1", "wait", "attach?stream=1&stdout=1"):
        yield q("POST", f"/containers/nope/{path}")
        yield q("GET", f"/containers/nope/{path}")
    yield q("POST", "/containers/nope/update", json={})
    yield q("POST", "/containers/nope/exec", json={"Cmd": ["x"]})
    yield q("PUT", "/containers/nope/archive?path=/", raw=b"")
    yield q("HEAD", "/containers/nope/archive?path=/")
    yield q("DELETE", "/containers/nope")
    yield q("DELETE", "/containers/nope?force=1")
    yield q("HEAD", "/containers/nope/json")


def lifecycle():
    """Verbs on a container in each state."""
    verbs = ["start", "stop", "restart?t=0", "kill", "pause", "unpause", "resize?h=24&w=80", "rename", "rename?name=", "rename?name=a%20b", "rename?name=s-{state}", "rename?name=other", "wait",
             "attach?stream=1", "attach?logs=1&stdout=1", "attach", "update", "exec"]
    gets = ["json", "top", "logs", "logs?stdout=1", "logs?stdout=1&tail=x", "logs?stdout=1&since=x", "logs?stderr=1&until=x", "logs?stdout=x", "changes", "stats?stream=0&one-shot=1", "stats?stream=0", "archive?path=/nope", "archive", "archive?path=", "archive?path=/etc/passwd",
            "top?ps_args=aux", "top?ps_args=-o%20nope", "top?ps_args=-o%20user", "json?size=1"]
    yield q("POST", "/containers/create?name=other", json={"Image": "busybox", "Cmd": ["true"]}, quiet=True)
    for state in ("created", "running", "paused", "exited", "failed"):
        fresh = [
            q("DELETE", f"/containers/s-{state}?force=1&v=1", quiet=True),
            q("POST", f"/containers/create?name=s-{state}", json={"Image": "busybox", "Hostname": "h", "Cmd": {"failed": ["/nope"], "exited": ["sh", "-c", "echo out; echo err >&2; exit 3"]}.get(state, ["sh", "-c", "trap 'exit 0' TERM; echo out; while :; do sleep 0.1; done"])}, quiet=True),
        ]
        if state != "created":
            fresh.append(q("POST", f"/containers/s-{state}/start", quiet=state != "failed"))
        if state == "exited":
            fresh.append(q("POST", f"/containers/s-{state}/wait"))
        if state == "paused":
            fresh.append(q("POST", f"/containers/s-{state}/pause", quiet=True))
        yield from fresh
        for path in gets:
            yield q("GET", f"/containers/s-{state}/{path}", ignore=[r"Processes|blkio|_stats|networks|StartedAt|body b'(etc/)?passwd"])
            if path.startswith("archive"):
                yield q("HEAD", f"/containers/s-{state}/{path}", ignore_headers=["x-docker-container-path-stat"])
                yield q("PUT", f"/containers/s-{state}/{path}", raw=b"\0" * 1024)
                yield q("PUT", f"/containers/s-{state}/{path}", raw=b"nonsense")
        for verb in verbs:
            if verb == "wait" and state in ("created", "running", "paused"):
                continue
            body = {"update": {"Memory": 20971520}, "exec": {"Cmd": ["true"]}}.get(verb)
            if verb == "attach?stream=1" and state in ("created", "running", "paused"):
                continue
            want = {"json": body} if body else {}
            yield q("POST", f"/containers/s-{state}/" + verb.replace("{state}", state), **want)
            yield q("GET", f"/containers/s-{state}/json", ignore=[r"StartedAt|Health"])
            yield from fresh
        yield q("POST", f"/containers/s-{state}/kill?signal=nope")
        yield q("POST", f"/containers/s-{state}/kill?signal=0")
        yield q("POST", f"/containers/s-{state}/kill?signal=99")
        yield q("POST", f"/containers/s-{state}/kill?signal=-1")
        yield q("POST", f"/containers/s-{state}/stop?t=x")
        yield q("POST", f"/containers/s-{state}/stop?signal=nope")
        yield q("POST", f"/containers/s-{state}/restart?t=x")
        yield q("POST", f"/containers/s-{state}/restart?signal=nope&t=0")
        for size in ("", "?h=1", "?w=1", "?h=x&w=1", "?h=-1&w=-1", "?h=99999999999&w=1", "?h=0&w=0"):
            yield q("POST", f"/containers/s-{state}/resize{size}")
        for condition in ("nope", "removed%20", "not-running"):
            if state in ("exited", "failed") or condition != "not-running":
                yield q("POST", f"/containers/s-{state}/wait?condition={condition}", timeout=3)
        yield from bad_bodies("POST", f"/containers/s-{state}/exec")
        yield from bad_bodies("POST", f"/containers/s-{state}/update")
        if state != "created":
            yield q("POST", f"/containers/s-{state}/start", json={})
            yield q("POST", f"/containers/s-{state}/start", json={"Binds": ["x"]})
            yield q("POST", f"!/v1.24/containers/s-{state}/start", json={})
        yield q("DELETE", f"/containers/s-{state}")
        yield q("DELETE", f"/containers/s-{state}?link=1")
        yield q("DELETE", f"/containers/s-{state}?force=1", quiet=True)
    yield q("DELETE", "/containers/other", quiet=True)
    for value in BAD_FILTERS + ['{"until":["x"]}', '{"until":["1"]}', '{"until":["1h","2h"]}', '{"label!":["x"]}']:
        yield q("POST", "/containers/prune?" + filters(value))


def updates():
    yield q("POST", "/containers/create?name=up", json={"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"Memory": 104857600}}, quiet=True)
    yield q("POST", "/containers/up/start", quiet=True)
    for body in ({"Memory": 1}, {"Memory": 209715200}, {"Memory": 209715200, "MemorySwap": -1}, {"CpuShares": 1}, {"CpuShares": 512}, {"NanoCpus": -1}, {"NanoCpus": 99000000000}, {"CpusetCpus": "99"}, {"CpusetCpus": "x"}, {"PidsLimit": 5}, {"PidsLimit": None},
                 {"RestartPolicy": {"Name": "nope"}}, {"RestartPolicy": {"Name": "always"}}, {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 4}}, {"RestartPolicy": {"Name": "no"}}, {"KernelMemory": 1}, {"Devices": []}, {"BlkioWeight": 1}, {"Unknown": 1}, {"Memory": "x"}, {"MemoryReservation": 1048576000}):
        yield q("POST", "/containers/up/update", json=body)
        yield q("GET", "/containers/up/json")
    yield q("DELETE", "/containers/up?force=1")


def execs():
    yield q("POST", "/containers/create?name=ex", json={"Image": "busybox", "Cmd": ["sleep", "1000"]}, quiet=True)
    yield q("POST", "/containers/ex/start", quiet=True)
    for body in ({"Cmd": ["true"]}, {"Cmd": "true"}, {"Cmd": []}, {"Cmd": None}, {}, {"Cmd": [""]}, {"Cmd": ["nope"]}, {"Cmd": ["true"], "User": "nope"}, {"Cmd": ["true"], "User": "1:1", "Tty": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Env": ["A=b"], "WorkingDir": "/tmp", "Privileged": True, "DetachKeys": "ctrl-x"},
                 {"Cmd": ["true"], "WorkingDir": "nope"}, {"Cmd": ["true"], "WorkingDir": "/nope"}, {"Cmd": ["true"], "Env": ["x"]}, {"Cmd": ["true"], "DetachKeys": "nope"}, {"Cmd": ["true"], "ConsoleSize": [10, 20], "Tty": True}, {"Cmd": ["true"], "ConsoleSize": [10, 20]}, {"Cmd": ["sh", "-c", "echo o; echo e >&2; exit 3"], "AttachStdout": True, "AttachStderr": True}):
        yield q("POST", "/containers/ex/exec", json=body, save="e")
        yield q("GET", "/exec/{{e}}/json")
        yield q("POST", "/exec/{{e}}/resize?h=10&w=10")
        yield q("POST", "/exec/{{e}}/start", json={"Detach": True, "Tty": bool(body.get("Tty"))})
        yield q("POST", "/exec/{{e}}/start", json={"Detach": True})
        yield q("POST", "/exec/{{e}}/start", json={})
        yield q("GET", "/exec/{{e}}/json", ignore=["Pid|Running|ExitCode"])
        yield q("POST", "/containers/ex/exec", json=body, save="e")
        yield q("POST", "/exec/{{e}}/start", json={"Detach": False, "Tty": bool(body.get("Tty"))})
        yield q("GET", "/exec/{{e}}/json", ignore=["Pid"])
        yield q("POST", "/containers/ex/exec", json=body, save="e")
        yield q("POST", "/exec/{{e}}/start", json={"Detach": False, "Tty": bool(body.get("Tty"))}, headers=[("Upgrade", "tcp"), ("Connection", "Upgrade")])
        yield q("GET", "/exec/{{e}}/json", ignore=["Pid"])
        yield q("POST", "/exec/{{e}}/resize?h=10&w=10")
    yield q("POST", "/containers/ex/exec", json={"Cmd": ["true"]}, save="e")
    yield from bad_bodies("POST", "/exec/{{e}}/start", [b"{", b"[]", b"nonsense", b"null", b"{}x"])
    for path in ("json", "start", "resize?h=1&w=1", "resize", "nope"):
        for method in ("GET", "POST", "DELETE"):
            yield q(method, f"/exec/nope/{path}", **({"json": {}} if path == "start" else {}))
    yield q("POST", "/containers/ex/pause", quiet=True)
    yield q("POST", "/exec/{{e}}/start", json={})
    yield q("POST", "/containers/ex/unpause", quiet=True)
    yield q("POST", "/containers/ex/exec", json={"Cmd": ["true"]}, save="e")
    yield q("POST", "/containers/ex/kill", quiet=True)
    yield q("POST", "/containers/ex/wait", quiet=True)
    yield q("POST", "/exec/{{e}}/start", json={})
    yield q("GET", "/exec/{{e}}/json")
    yield q("DELETE", "/containers/ex?force=1", quiet=True)
    yield q("GET", "/exec/{{e}}/json")


def images():
    for value in BAD_FILTERS + ['{"dangling":["x"]}', '{"dangling":["true"]}', '{"dangling":["1","0"]}', '{"before":["nope"]}', '{"since":["nope"]}', '{"since":["busybox"]}', '{"reference":["["]}', '{"reference":["busy*"]}', '{"until":["x"]}', '{"until":["1h"]}', '{"label":["x"]}']:
        yield q("GET", "/images/json?" + filters(value))
    for query in ("all=1", "all=x", "digests=1", "shared-size=1", "filter=nope", "manifests=1"):
        yield q("GET", "/images/json?" + query)
    for version in ("1.24", "1.25", "1.30", "1.40", "1.42", "1.43", "1.44"):
        yield q("GET", f"!/v{version}/images/json")
        yield q("GET", f"!/v{version}/images/json?filter=busybox")
        yield q("GET", f"!/v{version}/images/busybox/json")
        yield q("GET", f"!/v{version}/images/busybox/history")
    yield q("GET", "/images/busybox/json")
    yield q("GET", "/images/busybox/history", ignore=["CreatedBy"])
    for name in ("nope", "UPPER", "a%20b", "sha256:" + "0" * 64, "0" * 64, "busybox:nope", "busybox@sha256:" + "0" * 64, "nope/nope/nope:1", "-", "sha256:xyz", "busybox:a:b", "localhost:1/a/b"):
        for verb in ("json", "history"):
            yield q("GET", f"/images/{name}/{verb}")
        yield q("POST", f"/images/{name}/tag?repo=x&tag=y")
        yield q("POST", f"/images/{name}/push", headers=[("X-Registry-Auth", "e30=")])
        yield q("DELETE", f"/images/{name}")
        yield q("DELETE", f"/images/{name}?force=1")
        yield q("GET", f"/images/{name}/get")
        yield q("GET", f"/images/get?names={name}")
        yield q("GET", f"/distribution/{name}/json", ignore=["dial|lookup|Get "])
    for query in ("", "repo=", "repo=UPPER", "repo=x&tag=a%20b", "repo=x:y&tag=z", "repo=x&tag=", "repo=x@sha256:" + "0" * 64, "tag=y", "repo=sha256&tag=x", "repo=a/b/c:d", "repo=" + "0" * 64, "repo=localhost:5000/x&tag=1"):
        yield q("POST", f"/images/busybox/tag?{query}")
    yield q("GET", "/images/busybox/json")
    for name in ("x:y", "x:latest", "x:z", "a/b/c:d", "localhost:5000/x:1", "x", "nope"):
        yield q("DELETE", f"/images/{name}")
    for query in ("", "fromImage=", "fromImage=UPPER", "fromImage=a%20b", "fromImage=127.0.0.1:1/x&tag=y", "fromImage=x&tag=a%20b", "fromSrc=nope", "fromSrc=-&repo=UPPER", "fromSrc=-", "fromSrc=http://127.0.0.1:1/x", "fromImage=busybox&platform=nope/x/y/z", "fromImage=x@sha256:00", "fromSrc=-&repo=imp&changes=NOPE", "fromSrc=-&repo=imp&changes=CMD%20x&message=hello"):
        yield q("POST", f"/images/create?{query}", ignore=["dial|lookup|refused"])
    yield q("POST", "/images/create?fromSrc=-&repo=imp&tag=t", raw=b"\0" * 1024)
    yield q("GET", "/images/imp:t/json")
    yield q("GET", "/images/imp:t/history")
    yield q("DELETE", "/images/imp:t")
    yield q("POST", "/images/load", raw=b"nonsense")
    yield q("POST", "/images/load", raw=b"")
    yield q("POST", "/images/load?quiet=1", raw=b"\0" * 1024)
    yield q("POST", "/images/load")
    for query in ("", "term=", "term=x&limit=x", "term=x&limit=101", "term=x&limit=-1", "term=x&filters=x", "term=x&filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "term=x&filters=%7B%22stars%22%3A%5B%22x%22%5D%7D", "term=x&filters=%7B%22is-official%22%3A%5B%22x%22%5D%7D", "term=https://x"):
        yield q("GET", f"/images/search?{query}", ignore=["dial|lookup"], timeout=20)
    yield q("GET", "/images/get")
    yield q("GET", "/images/get?names=")
    yield q("GET", "/images/get?names=nope&names=busybox")
    for path in ("json", "create", "load", "search", "get", "prune", "busybox/json", "busybox/history", "busybox/tag", "busybox/push", "busybox/get", "busybox", "busybox/nope", "a/b/c/nope"):
        for method in ("GET", "POST", "PUT", "DELETE", "HEAD"):
            if (method, path) in (("DELETE", "busybox"), ("POST", "busybox/push"), ("GET", "busybox/get"), ("HEAD", "busybox/get"), ("POST", "prune"), ("GET", "search"), ("HEAD", "search"), ("GET", "get"), ("POST", "load")):
                continue
            yield q(method, f"/images/{path}", ignore=["dial|lookup"])
    for value in BAD_FILTERS + ['{"dangling":["x"]}', '{"until":["x"]}', '{"dangling":["true"]}', '{"until":["1h","2h"]}']:
        yield q("POST", "/images/prune?" + filters(value))
    yield q("POST", "/images/busybox/push")
    yield q("POST", "/images/busybox/push", headers=[("X-Registry-Auth", "nonsense")])
    yield q("POST", "/images/nope/push?tag=a%20b", headers=[("X-Registry-Auth", "e30=")])


def commits():
    yield q("POST", "/containers/create?name=cm", json={"Image": "busybox", "Cmd": ["true"], "Env": ["A=b"], "Labels": {"l": "1"}}, quiet=True)
    yield from bad_bodies("POST", "/commit?container=nope")
    yield from bad_bodies("POST", "/commit?container=cm")
    for query in ("", "container=", "container=nope", "container=cm&repo=UPPER", "container=cm&repo=x&tag=a%20b", "container=cm&changes=NOPE", "container=cm&changes=RUN%20x", "container=cm&changes=CMD%20x&changes=ENV%20C%20d&repo=cmx&author=me&comment=hi&pause=0", "container=cm&repo=cmx@sha256:" + "0" * 64, "container=cm&repo=cmx:t&tag=u"):
        yield q("POST", f"/commit?{query}")
        yield q("POST", f"/commit?{query}", json={"Labels": {"x": "y"}, "ExposedPorts": {"80/tcp": {}}, "User": "u"})
    yield q("GET", "/images/cmx/json", ignore=["Created|Parent"])
    yield q("GET", "/images/cmx/history")
    yield q("GET", "!/v1.43/images/cmx/json", ignore=["Parent"])
    yield q("DELETE", "/images/cmx", body=False)
    yield q("DELETE", "/images/cmx:t", body=False)
    yield q("DELETE", "/images/cmx:u", body=False)
    yield q("DELETE", "/containers/cm", quiet=True)
    yield q("POST", "/images/prune", quiet=True)


def volumes():
    yield from bad_bodies("POST", "/volumes/create", [b"{", b"[]", b"null", b"{}x", b"nonsense", b'"x"'])
    for body in ({"Name": "a b"}, {"Name": "a"}, {"Name": "ok"}, {"Name": "ok"}, {"Name": "/x"}, {"Name": "é"}, {"Name": "x/y"}, {"Name": 1}, {"Name": "_x"}, {"Driver": "nope"}, {"Name": "ok", "Driver": "nope"}, {"Name": "v3", "Driver": "local", "DriverOpts": {"nope": "x"}}, {"Name": "v4", "DriverOpts": {"type": "tmpfs"}}, {"Name": "v5", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}}, {"Name": "v6", "Labels": {"a": "b"}}, {"Name": "v6", "Labels": {"c": "d"}}, {"Labels": {"a": 1}}, {"Labels": []}, {"Name": "v7", "DriverOpts": {"device": "x"}}, {"Name": "v8", "DriverOpts": {"type": "none", "o": "bind", "device": "/nope"}}, {"Name": "v9", "DriverOpts": {}}, {"ClusterVolumeSpec": {}}, {"Name": "v10", "DriverOpts": {"size": "1g"}}, {"Name": "v11", "DriverOpts": None, "Labels": None}, {"Name": "a" * 256}):
        yield q("POST", "/volumes/create", json=body)
        if isinstance(body.get("Name"), str):
            yield q("GET", "/volumes/" + urllib.parse.quote(body["Name"], safe=""))
    for value in BAD_FILTERS + ['{"dangling":["x"]}', '{"dangling":["true"]}', '{"dangling":["0"]}', '{"driver":["nope"]}', '{"name":["ok"]}', '{"name":["["]}', '{"label":["a=b"]}']:
        yield q("GET", "/volumes?" + filters(value), ignore=["Volumes"])
    for version in ("1.24", "1.25", "1.40", "1.44"):
        yield q("GET", f"!/v{version}/volumes/ok")
        yield q("GET", f"!/v{version}/volumes?" + filters({"name": ["ok"]}))
        yield q("POST", f"!/v{version}/volumes/prune?" + filters({"label": ["nope"]}))
    yield q("GET", "/volumes/nope")
    yield q("DELETE", "/volumes/nope")
    yield q("DELETE", "/volumes/nope?force=1")
    yield q("DELETE", "/volumes/a%20b")
    yield q("PUT", "/volumes/ok")
    yield q("PUT", "/volumes/ok?version=1", json={})
    yield q("PUT", "/volumes/nope?version=1", json={})
    yield q("PUT", "/volumes/nope?version=x", json={})
    yield q("POST", "/volumes/ok")
    yield q("POST", "/volumes")
    yield q("GET", "/volumes/create")
    yield q("GET", "/volumes/prune")
    yield q("POST", "/containers/create?name=vc", json={"Image": "busybox", "HostConfig": {"Binds": ["ok:/x"]}}, quiet=True)
    yield q("DELETE", "/volumes/ok")
    yield q("DELETE", "/volumes/ok?force=1")
    yield q("GET", "/volumes?" + filters({"dangling": ["false"]}))
    yield q("GET", "/system/df?type=volume", ignore=["Volumes: "])
    yield q("DELETE", "/containers/vc", quiet=True)
    for value in BAD_FILTERS + ['{"all":["x"]}', '{"all":["0"]}', '{"until":["1h"]}', '{"label!":["x"]}', '{"dangling":["1"]}', '{"name":["x"]}']:
        yield q("POST", "/volumes/prune?" + filters(value), ignore=["Deleted"])
    yield q("POST", "/volumes/prune?" + filters({"all": ["1"]}), quiet=True)
    yield q("GET", "/volumes")


def networks():
    yield from bad_bodies("POST", "/networks/create", [b"{", b"[]", b"null", b"{}x", b"nonsense", b"{}", b""])
    for body in ({"Name": ""}, {"Name": "n1"}, {"Name": "n1"}, {"Name": "n1", "CheckDuplicate": True}, {"Name": "a b"}, {"Name": "bridge"}, {"Name": "host"}, {"Name": "none"}, {"Name": "default"}, {"Name": "container"}, {"Name": "container:x"}, {"Name": "é"}, {"Name": "-x"}, {"Name": "n2", "Driver": "nope"}, {"Name": "n2", "Driver": "host"}, {"Name": "n2", "Driver": "null"}, {"Name": "n2", "Driver": "overlay"}, {"Name": "n2", "Scope": "swarm"}, {"Name": "n2", "Scope": "nope"}, {"Name": "n2", "Driver": "bridge", "IPAM": {"Driver": "nope"}},
                 {"Name": "n2", "IPAM": {"Config": [{"Subnet": "x"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "Gateway": "10.2.0.1"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.1.0.0/24", "IPRange": "10.2.0.0/25"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.1.0.1/24"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Gateway": "10.1.0.1"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Subnet": "10.1.0.0/33"}]}}, {"Name": "n2", "IPAM": {"Config": [{"Subnet": "fd00::/64"}]}}, {"Name": "n3", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00:1::/64"}]}},
                 {"Name": "n4", "EnableIPv6": True}, {"Name": "n5", "Internal": True, "Attachable": True, "Labels": {"a": "b"}, "Options": {"com.docker.network.bridge.name": "br-n5"}}, {"Name": "n6", "Ingress": True}, {"Name": "n6", "ConfigOnly": True}, {"Name": "n7", "ConfigFrom": {"Network": "nope"}}, {"Name": "n8", "Options": {"com.docker.network.bridge.enable_icc": "x"}}, {"Name": "n8", "Options": {"com.docker.network.driver.mtu": "x"}}, {"Name": "n8", "Options": {"nope": "1"}}, {"Name": "n9", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "IPRange": "10.9.0.128/25", "Gateway": "10.9.0.1", "AuxiliaryAddresses": {"h": "10.9.0.5"}}], "Options": {"a": "b"}}}, {"Name": "n10", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}}, {"Name": "n11", "IPAM": {"Config": []}}, {"Name": "n12", "Options": {"com.docker.network.bridge.name": "br-n5"}}, {"Name": "n13", "Labels": {"a": 1}}, {"Name": "n14", "Options": {"com.docker.network.bridge.name": "a" * 20}}, {"Name": "n15", "IPAM": {"Config": [{"Subnet": "10.9.1.0/24"}, {"Subnet": "10.9.2.0/24"}]}}, {"Name": "n16", "IPAM": {"Config": [{"Subnet": "10.9.3.0/24", "Gateway": "x"}]}}, {"Name": "n17", "IPAM": {"Config": [{"Subnet": "10.9.3.0/24", "AuxiliaryAddresses": {"x": "y"}}]}}):
        yield q("POST", "/networks/create", json=body)
        if body["Name"]:
            yield q("GET", "/networks/" + urllib.parse.quote(body["Name"], safe=""), ignore=[r"IPAM.Config\[0\]\.(Subnet|Gateway): '1"])
    for value in BAD_FILTERS + ['{"dangling":["x"]}', '{"dangling":["true"]}', '{"type":["x"]}', '{"type":["custom"]}', '{"type":["builtin"]}', '{"driver":["nope"]}', '{"driver":["null"]}', '{"name":["n1"]}', '{"id":["x"]}', '{"scope":["swarm"]}', '{"scope":["x"]}', '{"label":["a=b"]}', '{"name":["["]}']:
        yield q("GET", "/networks?" + filters(value), ignore=[r"IPAM.Config\[0\]\.(Subnet|Gateway): '1", r"\$\[\d+\]\.|\$: \d+ of them"])
    yield q("GET", "/networks?" + filters({"name": ["n1"]}))
    yield q("GET", "/networks/none")
    yield q("GET", "/networks/host")
    yield q("GET", "/networks/bridge")
    for version in ("1.24", "1.27", "1.28", "1.40", "1.43", "1.44"):
        yield q("GET", f"!/v{version}/networks/bridge")
        yield q("GET", f"!/v{version}/networks?" + filters({"name": ["n5"]}))
    for query in ("verbose=x", "verbose=1", "scope=local", "scope=swarm", "scope=x"):
        yield q("GET", f"/networks/n1?{query}")
    yield q("GET", "/networks/nope")
    for name in ("nope", "bridge", "host", "none", "n3", "n3", "a%20b"):
        yield q("DELETE", f"/networks/{name}")
    yield q("POST", "/containers/create?name=nc", json={"Image": "busybox", "Cmd": ["sleep", "1000"]}, quiet=True)
    for verb in ("connect", "disconnect"):
        yield from bad_bodies("POST", f"/networks/n1/{verb}", [b"{", b"[]", b"null", b"{}x", b"nonsense", b"{}", b""])
        yield q("POST", f"/networks/nope/{verb}", json={"Container": "nc"})
        yield q("POST", f"/networks/n1/{verb}", json={"Container": "nope"})
        yield q("POST", f"/networks/n1/{verb}", json={"Container": ""})
        yield q("POST", f"/networks/host/{verb}", json={"Container": "nc"})
        yield q("POST", f"/networks/none/{verb}", json={"Container": "nc"})
        yield q("GET", f"/networks/n1/{verb}")
    for state in ("stopped", "running"):
        if state == "running":
            yield q("POST", "/containers/nc/start", quiet=True)
        yield q("POST", "/networks/n1/connect", json={"Container": "nc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}})
        yield q("POST", "/networks/n9/connect", json={"Container": "nc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}})
        yield q("POST", "/networks/n9/connect", json={"Container": "nc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "x"}}})
        yield q("POST", "/networks/n9/connect", json={"Container": "nc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.9.0.1"}}})
        yield q("POST", "/networks/n9/connect", json={"Container": "nc", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.9.0.130"}, "Aliases": ["x"], "MacAddress": "02:42:00:00:00:09"}})
        yield q("POST", "/networks/n9/connect", json={"Container": "nc"})
        yield q("GET", "/containers/nc/json")
        yield q("GET", "/networks/n9")
        yield q("DELETE", "/networks/n9", ignore=["id12"])
        yield q("POST", "/networks/n9/disconnect", json={"Container": "nc"})
        yield q("POST", "/networks/n9/disconnect", json={"Container": "nc"})
        yield q("POST", "/networks/n9/disconnect", json={"Container": "nc", "Force": True})
        yield q("POST", "/networks/bridge/connect", json={"Container": "nc"})
        yield q("POST", "/networks/bridge/disconnect", json={"Container": "nc"})
        yield q("GET", "/containers/nc/json")
        yield q("POST", "/networks/bridge/connect", json={"Container": "nc", "EndpointConfig": {"Aliases": ["x"]}})
        yield q("POST", "/networks/bridge/connect", json={"Container": "nc"})
    yield q("DELETE", "/containers/nc?force=1", quiet=True)
    for value in BAD_FILTERS + ['{"until":["x"]}', '{"until":["1h"]}', '{"label!":["x"]}', '{"dangling":["1"]}', '{"name":["x"]}']:
        yield q("POST", "/networks/prune?" + filters(value), ignore=["Deleted"])
    yield q("POST", "/networks/prune", quiet=True)
    yield q("DELETE", "/networks/n6", quiet=True)
    yield q("GET", "/networks", ignore=[r"\$\[\d\]"])


def swarm():
    for path in ("/swarm", "/swarm/unlockkey", "/nodes", "/nodes/x", "/services", "/services/x", "/services/x/logs?stdout=1", "/tasks", "/tasks/x", "/tasks/x/logs?stdout=1", "/secrets", "/secrets/x", "/configs", "/configs/x", "/plugins", "/plugins/x/json", "/plugins/x", "/nodes?filters=x", "/plugins?filters=x", "/plugins?" + filters({"nope": ["x"]}), "/plugins?" + filters({"enabled": ["true"]})):
        for method in ("GET", "POST", "DELETE", "HEAD"):
            yield q(method, path)
    for path in ("/swarm/leave", "/swarm/leave?force=1", "/swarm/unlock", "/swarm/update?version=1", "/swarm/update", "/nodes/x/update?version=1", "/nodes/x/update", "/services/create", "/services/x/update?version=1", "/services/x/update", "/secrets/create", "/secrets/x/update?version=1", "/secrets/x/update", "/configs/create", "/configs/x/update?version=1", "/configs/x/update", "/plugins/x/enable", "/plugins/x/enable?timeout=1", "/plugins/x/disable", "/plugins/x/set", "/plugins/x/push", "/swarm/join"):
        yield q("POST", path, json={})
        yield q("POST", path)
        yield q("GET", path)
    yield q("POST", "/plugins/x/set", json=["a=b"])
    yield q("POST", "/secrets/create", json={"Name": "x", "Data": "eA=="})
    yield q("POST", "/services/create", json={"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}})
    yield q("DELETE", "/plugins/x?force=1")


def builds():
    import io
    import tarfile

    def context(text, name="Dockerfile"):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as archive:
            info = tarfile.TarInfo(name)
            data = text.encode()
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        return out.getvalue()

    tar = [("Content-Type", "application/x-tar")]
    one = context("FROM busybox\nLABEL a=b\n")
    for query in ("", "t=UPPER", "t=a%20b", "t=bt:1", "dockerfile=nope", "dockerfile=../x", "buildargs=x", "buildargs=%7B%22a%22%3A1%7D", "labels=x", "labels=%7B%22l%22%3A%22m%22%7D", "cachefrom=x", "ulimits=x", "memory=x", "version=3", "version=x", "networkmode=nope", "remote=nope", "target=nope", "platform=nope/x/y/z", "platform=linux/amd64", "q=1", "q=1&t=bt:2", "extrahosts=x", "shmsize=x", "isolation=x", "squash=1", "nocache=1", "rm=0", "pull=0", "cgroupparent=x", "cpuquota=x", "session=x", "outputs=x", "buildid=x"):
        yield q("POST", f"/build?{query}", raw=one, headers=tar, ignore=["dial|lookup"])
    yield q("POST", "/build", raw=one)
    yield q("POST", "/build", raw=b"nonsense", headers=tar)
    yield q("POST", "/build", raw=b"", headers=tar)
    yield q("POST", "/build", headers=tar)
    for text in ("", "NOPE", "FROM", "FROM nope:nope", "FROM busybox\nRUN exit 3", "FROM busybox\nCOPY nope /", "FROM busybox\nNOPE x", "FROM busybox AS a\nFROM a\nENV x", "# only", "FROM scratch", "FROM busybox\nRUN", "RUN x\nFROM busybox", "FROM busybox\nEXPOSE x", "FROM busybox\nHEALTHCHECK x", "FROM busybox\nADD http://127.0.0.1:1/x /", "FROM busybox\nARG A=1\nRUN echo $A >&2; echo out"):
        yield q("POST", "/build?nocache=1", raw=context(text), headers=tar, ignore=["dial|lookup|refused"])
    yield q("POST", "/build", raw=one, headers=tar + [("X-Registry-Config", "nonsense")])
    yield q("POST", "/build", raw=one, headers=[("Content-Type", "text/plain")])
    for query in ("", "all=1", "keep-storage=x", "filters=x", "all=1&" + filters({"nope": ["x"]}), filters({"until": ["x"]}), filters({"unused-for": ["24h"]})):
        yield q("POST", f"/build/prune?{query}")
    yield q("POST", "/build/cancel")
    yield q("POST", "/build/cancel?id=x")
    yield q("GET", "/build")
    yield q("GET", "/build/prune")
    yield q("POST", "/session")
    yield q("GET", "/session")
    yield q("POST", "/grpc")
    yield q("DELETE", "/images/bt:1", quiet=True)
    yield q("DELETE", "/images/bt:2", quiet=True)
    yield q("POST", "/images/prune", quiet=True)
    yield q("POST", "/build/prune", quiet=True)


def words():
    """Names that look like words of the API, words of ps, values that Go takes and others might not."""
    for method, path in (("GET", "/containers/a/b/json"), ("POST", "/containers/a/b/start"), ("DELETE", "/containers/a/b"), ("DELETE", "/containers/json"), ("POST", "/containers/create/start"),
                         ("POST", "/containers/a/b"), ("GET", "/volumes/a/b"), ("DELETE", "/volumes/create"), ("GET", "/volumes/create"), ("GET", "/networks/a/json"), ("DELETE", "/networks/prune"),
                         ("GET", "/exec/a/b/json"), ("POST", "/exec/a/b/start"), ("DELETE", "/images/json"), ("DELETE", "/images/get"), ("GET", "/containers/a/json/json")):
        yield q(method, path)
    for method, path in (("GET", "/containers/x/checkpoints"), ("POST", "/containers/x/checkpoints"), ("DELETE", "/containers/x/checkpoints/y"), ("POST", "/containers/x/start?checkpoint=y"),
                         ("POST", "/containers/x/start?checkpoint-dir=y"), ("GET", "!/debug/pprof/nope"), ("GET", "!/debug"), ("GET", "!/debug/pprof")):
        yield q(method, path)
    yield q("POST", "/containers/create?name=w", json={"image": "x", "IMAGE": "busybox", "cmd": ["sleep", "1000"], "labels": {"Image": None, "a": "b"}, "hostconfig": {"logconfig": {"type": "none", "config": None}, "consolesize": [7]}}, save="c")
    yield q("GET", "/containers/{{c}}/json", ignore=[r"MaskedPaths"])
    yield q("POST", "/containers/w/start")
    for args in ("", "-e", "ax", "-x", "-l", "-ly", "-F", "-j", "j", "l", "u", "v", "aux", "-aux", "-c", "-fc", "-Z", "-L", "-T", "-o", "-o pid", "-opid,stat", "-o pid=X", "-o pid,comm=NAME", "-o comm", "-eo pid,args",
                 "--no-headers", "--sort pid", "--foo", "--", "nope", "xyz", "pid", "k", "-i", "-y", "-o pid:20,nope"):
        yield q("GET", "/containers/w/top?ps_args=" + urllib.parse.quote(args), ignore=[r"\$\.Processes\[\d\]\[\d+\]"])
    for query in ("tail=2", "tail=+2", "tail=1.5", "tail=x", "tail=0", "tail=-1", "stderr=0&tail=1"):
        yield q("GET", f"/containers/w/logs?stdout=1&{query}")
    for query in ("repo=x:a&tag=b", "repo=x&tag=a%20b", "repo=x@sha256:" + "0" * 64 + "&tag=b"):
        yield q("POST", f"/images/busybox/tag?{query}")
    yield q("DELETE", "/images/x:b")
    for text in ('{"Image":}', "{Image:1}", '{"Image":"a" "b"}', '{"Image":nil}', '{"Image":"\\x"}', '{"Image":01}', '{"Image":1.}', '{"Image":"a",}', "[1 2]", "]", "nul", '{"a":1}}'):
        yield q("POST", "/containers/create", raw=text.encode(), headers=[("Content-Type", "application/json")])
    for verb in ("stop", "restart"):
        yield q("POST", f"/containers/w/{verb}?signal=nope", ignore=[r"status 500"])
    yield q("POST", "/containers/w/kill")
    yield q("POST", "/containers/w/stop?signal=nope")
    yield q("DELETE", "/containers/w?force=1", quiet=True)


SECTIONS = {"system": system, "containers": containers, "lifecycle": lifecycle, "updates": updates, "execs": execs, "images": images,
            "commits": commits, "volumes": volumes, "networks": networks, "swarm": swarm, "builds": builds, "words": words}
