//! Limits, devices and device rules of a container.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{EngineError, HostConfig, Resources, Throttle};

/// Device nodes that every container may use (moby `oci/defaults.go`): type, major, minor (−1: all).
const ALLOWED: &[(&str, i64, i64)] = &[
    ("c", 1, 5),
    ("c", 1, 3),
    ("c", 1, 7),
    ("c", 1, 8),
    ("c", 1, 9),
    ("c", 5, 0),
    ("c", 5, 1),
    ("c", 5, 2),
    ("c", 136, -1),
];

pub(super) fn rlimits(resources: &Resources) -> Vec<Value> {
    // −1 is without limit; the kernel's RLIM_INFINITY is the largest number.
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let limit = |limit: &crate::Ulimit| {
        let name = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
        json!({ "type": name, "soft": value(limit.soft), "hard": value(limit.hard) })
    };
    resources.ulimits.iter().map(limit).collect()
}

/// `linux.resources`.
pub(super) fn resources(host: &HostConfig) -> Result<Value, EngineError> {
    let r = &host.resources;
    Ok(json!({
        "devices": rules(host)?,
        "memory": memory(r),
        "cpu": cpu(r),
        "pids": { "limit": r.pids_limit.filter(|limit| *limit > 0).unwrap_or(-1) },
        "blockIO": block_io(r)?,
    }))
}

fn put(map: &mut Map<String, Value>, key: &str, value: i64) {
    if value != 0 {
        map.insert(key.to_owned(), json!(value));
    }
}

fn memory(r: &Resources) -> Value {
    let mut map = Map::new();
    put(&mut map, "limit", r.memory);
    put(&mut map, "reservation", r.memory_reservation);
    put(&mut map, "swap", r.memory_swap);
    if let Some(swappiness) = r.memory_swappiness {
        map.insert("swappiness".to_owned(), json!(swappiness));
    }
    if r.oom_kill_disable == Some(true) {
        map.insert("disableOOMKiller".to_owned(), json!(true));
    }
    Value::Object(map)
}

fn cpu(r: &Resources) -> Value {
    let mut map = Map::new();
    put(&mut map, "shares", r.cpu_shares);
    if r.nano_cpus > 0 {
        // Of a period of 100 ms, as dockerd.
        put(&mut map, "period", 100_000);
        put(&mut map, "quota", r.nano_cpus / 10_000);
    }
    put(&mut map, "period", r.cpu_period);
    put(&mut map, "quota", r.cpu_quota);
    put(&mut map, "realtimePeriod", r.cpu_realtime_period);
    put(&mut map, "realtimeRuntime", r.cpu_realtime_runtime);
    for (key, text) in [("cpus", &r.cpuset_cpus), ("mems", &r.cpuset_mems)] {
        if !text.is_empty() {
            map.insert(key.to_owned(), json!(text));
        }
    }
    Value::Object(map)
}

fn block_io(r: &Resources) -> Result<Value, EngineError> {
    let mut map = Map::new();
    put(&mut map, "weight", i64::from(r.blkio_weight));
    let rates = |list: &[Throttle]| {
        let rate = |one: &Throttle| {
            let node = Node::read(&one.path)?;
            Ok(json!({ "major": node.major, "minor": node.minor, "rate": one.rate }))
        };
        list.iter()
            .map(rate)
            .collect::<Result<Vec<_>, EngineError>>()
    };
    let lists = [
        ("throttleReadBpsDevice", &r.blkio_device_read_bps),
        ("throttleWriteBpsDevice", &r.blkio_device_write_bps),
        ("throttleReadIOPSDevice", &r.blkio_device_read_iops),
        ("throttleWriteIOPSDevice", &r.blkio_device_write_iops),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            map.insert(key.to_owned(), json!(rates(list)?));
        }
    }
    let weights = r.blkio_weight_device.iter().map(|one| {
        let node = Node::read(&one.path)?;
        Ok(json!({ "major": node.major, "minor": node.minor, "weight": one.weight }))
    });
    let weights = weights.collect::<Result<Vec<Value>, EngineError>>()?;
    if !weights.is_empty() {
        map.insert("weightDevice".to_owned(), json!(weights));
    }
    Ok(Value::Object(map))
}

/// A device node of the host.
struct Node {
    kind: &'static str,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    fn read(path: &str) -> Result<Self, EngineError> {
        let gather = |text: String| {
            EngineError::Failed(format!(
                "error gathering device information while adding custom device {path:?}: {text}"
            ))
        };
        let metadata =
            std::fs::metadata(path).map_err(|error| gather(crate::error::chain(&error)))?;
        let kind = match metadata.file_type() {
            kind if kind.is_char_device() => "c",
            kind if kind.is_block_device() => "b",
            _ => return Err(gather("not a device node".to_owned())),
        };
        let device = metadata.rdev();
        Ok(Self {
            kind,
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
        })
    }

    fn at(&self, path: &str) -> Value {
        json!({
            "type": self.kind, "path": path, "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }
}

/// Nodes to make in `/dev` beside the default ones.
pub(super) fn devices(host: &HostConfig) -> Result<Vec<Value>, EngineError> {
    let mut devices = Vec::new();
    if host.privileged {
        below(Path::new("/dev"), &mut devices);
    }
    for mapping in &host.resources.devices {
        let target = if mapping.container.is_empty() {
            &mapping.host
        } else {
            &mapping.container
        };
        devices.push(Node::read(&mapping.host)?.at(target));
    }
    Ok(devices)
}

/// All nodes of the host, for `--privileged` (runc `devices.HostDevices`).
fn below(folder: &Path, devices: &mut Vec<Value>) {
    const OTHERS: &[&str] = &[
        "pts",
        "shm",
        "fd",
        "mqueue",
        ".lxc",
        ".lxd-mounts",
        ".udev",
        "console",
        "ptmx",
        "tty",
    ];
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if OTHERS.iter().any(|other| *other == name) {
            continue;
        }
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if kind.is_dir() {
            below(&path, devices);
        } else if (kind.is_char_device() || kind.is_block_device())
            && let Some(text) = path.to_str()
            && let Ok(node) = Node::read(text)
        {
            devices.push(node.at(text));
        }
    }
}

/// Which devices may be used; the last rule that fits decides.
fn rules(host: &HostConfig) -> Result<Vec<Value>, EngineError> {
    if host.privileged {
        return Ok(vec![json!({ "allow": true, "access": "rwm" })]);
    }
    let mut rules = vec![
        json!({ "allow": false, "access": "rwm" }),
        // A node may be made of anything; that gives no access to it.
        json!({ "allow": true, "type": "c", "access": "m" }),
        json!({ "allow": true, "type": "b", "access": "m" }),
    ];
    for (kind, major, minor) in ALLOWED {
        let mut rule = json!({ "allow": true, "type": kind, "major": major, "access": "rwm" });
        if *minor >= 0 {
            rule["minor"] = json!(minor);
        }
        rules.push(rule);
    }
    for mapping in &host.resources.devices {
        let node = Node::read(&mapping.host)?;
        let access = if mapping.permissions.is_empty() {
            "rwm"
        } else {
            &mapping.permissions
        };
        rules.push(json!({ "allow": true, "type": node.kind, "major": node.major, "minor": node.minor, "access": access }));
    }
    for text in &host.resources.device_cgroup_rules {
        rules.push(rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, `a *:* rwm`.
fn rule(text: &str) -> Result<Value, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind @ ("a" | "b" | "c"), numbers, access] = words[..] else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let mut rule = json!({ "allow": true, "type": kind, "access": access });
    for (key, number) in [("major", major), ("minor", minor)] {
        if number != "*" {
            rule[key] = json!(number.parse::<i64>().map_err(|_| invalid())?);
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_device_rules() {
        assert_eq!(
            rule("c 1:* r").unwrap(),
            json!({ "allow": true, "type": "c", "access": "r", "major": 1 })
        );
        assert!(rule("x 1:1 r").is_err() && rule("c 1 r").is_err() && rule("c a:1 r").is_err());
    }

    #[test]
    fn billionths_become_a_quota() {
        let r = Resources {
            nano_cpus: 500_000_000,
            ..Resources::default()
        };
        assert_eq!(cpu(&r), json!({ "period": 100_000, "quota": 50_000 }));
    }
}
