//! The fields that an engine leaves out when they are empty, and that templates of `docker inspect` know all the same: it
//! reads the answer into Go's structs, which have all fields.

use serde_json::{Map, Value};

/// Go's zero values of what may be missing, for each kind of object. `*` stands for every field of a map, the one element of
/// a list for all of its elements.
const CONTAINER: &str = r#"{
    "Id": "", "Created": "", "Path": "", "Args": null, "Image": "", "ResolvConfPath": "", "HostnamePath": "",
    "HostsPath": "", "LogPath": "", "Name": "", "RestartCount": 0, "Driver": "", "Platform": "", "MountLabel": "",
    "ProcessLabel": "", "AppArmorProfile": "", "ExecIDs": null, "SizeRw": null, "SizeRootFs": null,
    "ImageManifestDescriptor": null, "Mounts": [{
        "Type": "", "Name": "", "Source": "", "Destination": "", "Driver": "", "Mode": "", "RW": false, "Propagation": ""
    }],
    "State": {
        "Status": "", "Running": false, "Paused": false, "Restarting": false, "OOMKilled": false, "Dead": false, "Pid": 0,
        "ExitCode": 0, "Error": "", "StartedAt": "", "FinishedAt": "", "Health": null
    },
    "Config": {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
        "ExposedPorts": null, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null, "Cmd": null,
        "Healthcheck": null, "ArgsEscaped": false, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null,
        "NetworkDisabled": false, "MacAddress": "", "OnBuild": null, "Labels": null, "StopSignal": "", "StopTimeout": null,
        "Shell": null
    },
    "HostConfig": {
        "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": null}, "NetworkMode": "",
        "PortBindings": null, "RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "AutoRemove": false,
        "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0], "Annotations": null, "CapAdd": null,
        "CapDrop": null, "CgroupnsMode": "", "Dns": null, "DnsOptions": null, "DnsSearch": null, "ExtraHosts": null,
        "GroupAdd": null, "IpcMode": "", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
        "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null, "StorageOpt": null,
        "Tmpfs": null, "UTSMode": "", "UsernsMode": "", "ShmSize": 0, "Sysctls": null, "Runtime": "", "Isolation": "",
        "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": null,
        "BlkioDeviceReadBps": null, "BlkioDeviceWriteBps": null, "BlkioDeviceReadIOps": null,
        "BlkioDeviceWriteIOps": null, "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0,
        "CpusetCpus": "", "CpusetMems": "", "Devices": null, "DeviceCgroupRules": null, "DeviceRequests": null,
        "KernelMemory": 0, "KernelMemoryTCP": 0, "MemoryReservation": 0, "MemorySwap": 0, "MemorySwappiness": null,
        "OomKillDisable": null, "PidsLimit": null, "Ulimits": null, "CpuCount": 0, "CpuPercent": 0,
        "IOMaximumIOps": 0, "IOMaximumBandwidth": 0, "Mounts": null, "MaskedPaths": null, "ReadonlyPaths": null,
        "Init": null
    },
    "NetworkSettings": {
        "Bridge": "", "SandboxID": "", "SandboxKey": "", "Ports": null, "HairpinMode": false, "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0, "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null, "EndpointID": "",
        "Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "IPAddress": "", "IPPrefixLen": 0,
        "IPv6Gateway": "", "MacAddress": "", "Networks": {"*": {
            "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null, "GwPriority": 0,
            "NetworkID": "", "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
            "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null
        }}
    }
}"#;

const IMAGE: &str = r#"{
    "Id": "", "RepoTags": null, "RepoDigests": null, "Parent": "", "Comment": "", "Created": "", "DockerVersion": "",
    "Author": "", "Architecture": "", "Variant": "", "Os": "", "OsVersion": "", "Size": 0, "VirtualSize": 0,
    "GraphDriver": {"Data": null, "Name": ""}, "RootFS": {"Type": "", "Layers": null},
    "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}, "Descriptor": null, "Manifests": null,
    "Config": {
        "User": "", "ExposedPorts": null, "Env": null, "Entrypoint": null, "Cmd": null, "Volumes": null,
        "WorkingDir": "", "Labels": null, "StopSignal": "", "ArgsEscaped": false, "Healthcheck": null, "OnBuild": null,
        "Shell": null
    }
}"#;

const NETWORK: &str = r#"{
    "Name": "", "Id": "", "Created": "", "Scope": "", "Driver": "", "EnableIPv4": false, "EnableIPv6": false,
    "IPAM": {"Driver": "", "Options": null, "Config": null}, "Internal": false, "Attachable": false, "Ingress": false,
    "ConfigFrom": {"Network": ""}, "ConfigOnly": false, "Containers": null, "Options": null, "Labels": null,
    "Peers": null, "Services": null
}"#;

const VOLUME: &str = r#"{
    "ClusterVolume": null, "CreatedAt": "", "Driver": "", "Labels": null, "Mountpoint": "", "Name": "", "Options": null,
    "Scope": "", "Status": null, "UsageData": null
}"#;

/// A document of this kind of object, with all fields.
pub(super) fn completed(kind: &str, document: &Value) -> Value {
    let defaults = match kind {
        "container" => CONTAINER,
        "image" => IMAGE,
        "network" => NETWORK,
        "volume" => VOLUME,
        _ => "{}",
    };
    let mut document = document.clone();
    // They are JSON: a test reads them all.
    fill(
        &mut document,
        &serde_json::from_str(defaults).unwrap_or_default(),
    );
    document
}

/// Puts in what is missing. What is there stays, be it null.
pub(super) fn fill(value: &mut Value, defaults: &Value) {
    match (value, defaults) {
        (Value::Object(fields), Value::Object(defaults)) => fill_fields(fields, defaults),
        (Value::Array(items), Value::Array(defaults)) => {
            if let [each] = defaults.as_slice() {
                items.iter_mut().for_each(|item| fill(item, each));
            }
        }
        _ => {}
    }
}

fn fill_fields(fields: &mut Map<String, Value>, defaults: &Map<String, Value>) {
    for (name, default) in defaults {
        if name == "*" {
            fields.values_mut().for_each(|field| fill(field, default));
            continue;
        }
        match fields.get_mut(name) {
            Some(field) => fill(field, default),
            // An element is no default of a list that has none.
            None if matches!(default, Value::Array(items) if items.len() == 1) => {
                fields.insert(name.clone(), Value::Null);
            }
            None => {
                fields.insert(name.clone(), default.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_there_stays_and_the_rest_is_zero() {
        let document = json!({"Config": {"Env": ["A=b"], "Cmd": null}, "NetworkSettings": {"Networks": {"n": {"IPAddress": "1.2.3.4"}}}});
        let whole = completed("container", &document);
        assert_eq!(whole["Config"]["Env"], json!(["A=b"]));
        assert_eq!(whole["Config"]["StopSignal"], "");
        assert_eq!(
            whole["NetworkSettings"]["Networks"]["n"]["IPAddress"],
            "1.2.3.4"
        );
        assert_eq!(whole["NetworkSettings"]["Networks"]["n"]["GwPriority"], 0);
        assert_eq!(whole["HostConfig"]["LogConfig"]["Type"], "");
        for kind in ["image", "network", "volume"] {
            assert!(
                completed(kind, &json!({})).as_object().unwrap().len() > 8,
                "{kind}"
            );
        }
    }
}
