//! The function itself.

use oci_spec::runtime::{LinuxResources, PosixRlimitType, Spec};
use serde_json::{Map, Value, json};

use crate::capabilities::{CapabilityError, capabilities};
use crate::defaults::{DEVICES, MASKED, READONLY};
use crate::mounts::{mounts, range};
use crate::{
    ContainerSpec, Device, DeviceRule, HostFacts, Namespace, Namespaces, OwnNamespaces, Resources,
    Throttle, WeightDevice, check_sysctl,
};

/// A spec that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A capability that does not exist.
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    /// A limit of the process that does not exist; runc's words.
    #[error("wrong rlimit value: {0}")]
    Limit(String),
    /// A kernel setting that is not the container's own.
    #[error("{0}")]
    Sysctl(String),
    /// A value that OCI has no place for.
    #[error("make the OCI spec")]
    Shape(#[from] serde_json::Error),
}

/// `spec` as OCI has it.
///
/// # Errors
/// If a capability or a limit has an unknown name, or a kernel setting is the host's.
pub fn to_oci(spec: &ContainerSpec, host: &HostFacts) -> Result<Spec, BundleError> {
    let ContainerSpec {
        args,
        env,
        cwd,
        terminal,
        console_size,
        hostname,
        domainname,
        namespaces,
        mounts: _,
        privileged,
        cap_add,
        cap_drop,
        no_new_privileges,
        apparmor,
        writable_cgroups: _,
        masked_paths,
        readonly_paths,
        readonly_rootfs,
        shm_size: _,
        sysctls,
        annotations,
        umask,
        oom_score_adj,
        rlimits,
        resources,
        devices,
        device_rules,
        cgroup_path,
    } = spec;
    let own = OwnNamespaces {
        network: !matches!(namespaces.network, Namespace::Host),
        ipc: !matches!(namespaces.ipc, Namespace::Host),
        uts: !matches!(namespaces.uts, Namespace::Host),
    };
    for key in sysctls.keys() {
        check_sysctl(key, own).map_err(BundleError::Sysctl)?;
    }
    let set = capabilities(*privileged, cap_add, cap_drop, host.capabilities)?;
    let rlimits = rlimits.iter().map(|limit| {
        let name = format!("RLIMIT_{}", limit.name.to_uppercase());
        match serde_json::from_value::<PosixRlimitType>(name.as_str().into()) {
            Ok(_) => Ok(json!({ "type": name, "soft": limit.soft, "hard": limit.hard })),
            Err(_) => Err(BundleError::Limit(name)),
        }
    });
    let rlimits: Vec<Value> = rlimits.collect::<Result<_, _>>()?;
    let mut process = json!({
        "terminal": terminal,
        // Who it is, is resolved inside, by name.
        "user": { "uid": 0, "gid": 0 },
        "args": args,
        "env": env,
        "cwd": if cwd.is_empty() { "/" } else { cwd },
        // Neither inheritable nor ambient: what a program gains, it gains by its own file (CVE-2022-24769).
        "capabilities": { "bounding": set, "effective": set, "permitted": set },
        "rlimits": rlimits,
        "noNewPrivileges": no_new_privileges,
        "oomScoreAdj": oom_score_adj,
    });
    if let Some(umask) = umask {
        process["user"]["umask"] = json!(umask);
    }
    if let Some((rows, columns)) = console_size {
        process["consoleSize"] = json!({ "height": rows, "width": columns });
    }
    if !apparmor.is_empty() {
        process["apparmorProfile"] = json!(apparmor);
    }
    let or_default = |paths: &Option<Vec<String>>, default: &[&str]| match paths {
        _ if *privileged => Vec::new(),
        Some(paths) => paths.clone(),
        None => default.iter().map(|&path| path.to_owned()).collect(),
    };
    let mut document = json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": { "path": "rootfs", "readonly": readonly_rootfs },
        "hostname": hostname,
        "domainname": domainname,
        "mounts": mounts(spec),
        "annotations": annotations,
        "linux": {
            "namespaces": self::namespaces(namespaces),
            "cgroupsPath": cgroup_path,
            "resources": self::resources(resources, *privileged, device_rules),
            "devices": devices.iter().map(device).collect::<Vec<_>>(),
            "sysctl": sysctls,
            "maskedPaths": or_default(masked_paths, MASKED),
            "readonlyPaths": or_default(readonly_paths, READONLY),
        },
    });
    if let Some(user) = &namespaces.user {
        document["linux"]["uidMappings"] = user.users.iter().map(range).collect();
        document["linux"]["gidMappings"] = user.groups.iter().map(range).collect();
    }
    Ok(serde_json::from_value(document)?)
}

fn namespaces(namespaces: &Namespaces) -> Vec<Value> {
    let Namespaces {
        network,
        ipc,
        pid,
        uts,
        cgroup,
        user,
    } = namespaces;
    let mut list = vec![json!({ "type": "mount" })];
    if let Some(user) = user {
        let mut own = json!({ "type": "user" });
        if let Some(path) = &user.path {
            own["path"] = json!(path);
        }
        list.push(own);
    }
    for (kind, namespace) in [
        ("network", network),
        ("uts", uts),
        ("pid", pid),
        ("ipc", ipc),
        ("cgroup", cgroup),
    ] {
        match namespace {
            Namespace::Private => list.push(json!({ "type": kind })),
            Namespace::Host => {}
            Namespace::Path(path) => list.push(json!({ "type": kind, "path": path })),
        }
    }
    list
}

fn device(device: &Device) -> Value {
    let Device {
        path,
        block,
        major,
        minor,
        mode,
        uid,
        gid,
    } = device;
    let kind = if *block { "b" } else { "c" };
    json!({ "path": path, "type": kind, "major": major, "minor": minor, "fileMode": mode, "uid": uid, "gid": gid })
}

fn device_rules(privileged: bool, more: &[DeviceRule]) -> Vec<Value> {
    if privileged {
        return vec![json!({ "allow": true, "access": "rwm" })];
    }
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    let rule = |allow: bool, kind: char, major: Option<i64>, minor: Option<i64>, access: &str| {
        let mut rule = json!({ "allow": allow, "type": kind, "access": access });
        for (key, number) in [("major", major), ("minor", minor)] {
            if let Some(number) = number {
                rule[key] = json!(number);
            }
        }
        rule
    };
    let any = |number: i64| Some(number).filter(|number| *number >= 0);
    rules.extend(
        DEVICES.iter().map(|(kind, major, minor, access)| {
            rule(true, *kind, any(*major), any(*minor), access)
        }),
    );
    rules.extend(
        more.iter()
            .map(|one| rule(one.allow, one.kind, one.major, one.minor, &one.access)),
    );
    rules
}

/// Limits alone, without device rules: for a group that is there.
///
/// # Errors
/// If a number is one that OCI has no place for.
pub fn limits(resources: &Resources) -> Result<LinuxResources, BundleError> {
    Ok(serde_json::from_value(Value::Object(limits_of(resources)))?)
}

fn resources(resources: &Resources, privileged: bool, rules: &[DeviceRule]) -> Value {
    let mut all = Map::new();
    all.insert("devices".to_owned(), json!(device_rules(privileged, rules)));
    all.extend(limits_of(resources));
    Value::Object(all)
}

fn limits_of(resources: &Resources) -> Map<String, Value> {
    let Resources {
        memory,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        cpu_shares,
        cpu_quota,
        cpu_period,
        cpu_realtime_runtime,
        cpu_realtime_period,
        cpuset_cpus,
        cpuset_mems,
        pids,
        blkio_weight,
        weight_devices,
        read_bps,
        write_bps,
        read_iops,
        write_iops,
    } = resources;
    let number = |value: &i64| Some(json!(value)).filter(|_| *value != 0);
    // As Go converts them: what is below 0 is more than the kernel takes. It says so; of shares the highest weight is made.
    let unsigned = |value: &i64| Some(json!(value.cast_unsigned())).filter(|_| *value != 0);
    let text = |value: &String| Some(json!(value)).filter(|_| !value.is_empty());
    let memory = object([
        ("limit", number(memory)),
        ("reservation", number(memory_reservation)),
        ("swap", number(memory_swap)),
        ("swappiness", memory_swappiness.map(|value| json!(value))),
        (
            "disableOOMKiller",
            oom_kill_disable.map(|value| json!(value)),
        ),
    ]);
    let cpu = object([
        ("shares", unsigned(cpu_shares)),
        ("quota", number(cpu_quota)),
        ("period", unsigned(cpu_period)),
        ("realtimeRuntime", number(cpu_realtime_runtime)),
        ("realtimePeriod", unsigned(cpu_realtime_period)),
        ("cpus", text(cpuset_cpus)),
        ("mems", text(cpuset_mems)),
    ]);
    let io = object([
        (
            "weight",
            Some(json!(blkio_weight)).filter(|_| *blkio_weight != 0),
        ),
        ("weightDevice", weights(weight_devices)),
        ("throttleReadBpsDevice", throttles(read_bps)),
        ("throttleWriteBpsDevice", throttles(write_bps)),
        ("throttleReadIOPSDevice", throttles(read_iops)),
        ("throttleWriteIOPSDevice", throttles(write_iops)),
    ]);
    let mut all = Map::new();
    for (key, value) in [("memory", memory), ("cpu", cpu), ("blockIO", io)] {
        if let Some(value) = value {
            all.insert(key.to_owned(), value);
        }
    }
    if let Some(limit) = pids.filter(|limit| *limit != 0) {
        all.insert("pids".to_owned(), json!({ "limit": limit }));
    }
    all
}

fn weights(list: &[WeightDevice]) -> Option<Value> {
    let row = |one: &WeightDevice| json!({ "major": one.major, "minor": one.minor, "weight": one.weight });
    let rows = list.iter().map(row);
    Some(Value::Array(rows.collect())).filter(|_| !list.is_empty())
}

fn throttles(list: &[Throttle]) -> Option<Value> {
    let rows = list.iter().map(
        |Throttle { major, minor, rate }| json!({ "major": major, "minor": minor, "rate": rate }),
    );
    Some(Value::Array(rows.collect())).filter(|_| !list.is_empty())
}

/// The fields that have a value; nothing if none has.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Option<Value> {
    let set = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let map: Map<String, Value> = set.collect();
    Some(Value::Object(map.clone())).filter(|_| !map.is_empty())
}
