//! Limits, devices and device rules of a container, with paths of the host turned into numbers.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use wharf_bundle as bundle;

use crate::{EngineError, HostConfig, Resources, Throttle, Ulimit, WeightDevice};

pub(super) fn rlimits(resources: &Resources) -> Vec<bundle::Rlimit> {
    // −1 is without limit; the kernel's RLIM_INFINITY is the largest number.
    let value = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let limit = |limit: &Ulimit| bundle::Rlimit {
        name: limit.name.clone(),
        soft: value(limit.soft),
        hard: value(limit.hard),
    };
    resources.ulimits.iter().map(limit).collect()
}

/// Limits of the control group.
pub(super) fn resources(r: &Resources) -> Result<bundle::Resources, EngineError> {
    // Billionths of a CPU are a share of a period of 100 ms, as in dockerd.
    let (quota, period) = match r.nano_cpus {
        0 => (r.cpu_quota, r.cpu_period),
        nano => (nano / 10_000, 100_000),
    };
    Ok(bundle::Resources {
        memory: r.memory,
        memory_reservation: r.memory_reservation,
        memory_swap: r.memory_swap,
        memory_swappiness: r.memory_swappiness,
        oom_kill_disable: r.oom_kill_disable.filter(|disable| *disable),
        cpu_shares: r.cpu_shares,
        cpu_quota: quota,
        cpu_period: period,
        cpu_realtime_runtime: r.cpu_realtime_runtime,
        cpu_realtime_period: r.cpu_realtime_period,
        cpuset_cpus: r.cpuset_cpus.clone(),
        cpuset_mems: r.cpuset_mems.clone(),
        // No limit is −1 there, and 0 what a client may say for it.
        pids: r
            .pids_limit
            .map(|limit| if limit == 0 { -1 } else { limit }),
        blkio_weight: r.blkio_weight,
        weight_devices: weights(&r.blkio_weight_device)?,
        read_bps: throttles(&r.blkio_device_read_bps)?,
        write_bps: throttles(&r.blkio_device_write_bps)?,
        read_iops: throttles(&r.blkio_device_read_iops)?,
        write_iops: throttles(&r.blkio_device_write_iops)?,
    })
}

/// The same as OCI's, for a group that is there.
pub(crate) fn limits(r: &Resources) -> Result<oci_spec::runtime::LinuxResources, EngineError> {
    bundle::limits(&resources(r)?).map_err(|error| EngineError::failed(&error))
}

/// The number of the block device `path`; Go's words if there is none.
fn number(path: &str) -> Result<(i64, i64), EngineError> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        let text = rustix::io::Errno::from_io_error(&error)
            .map_or_else(|| error.to_string(), |errno| errno_text(errno).to_owned());
        EngineError::Failed(format!("stat {path}: {text}"))
    })?;
    let device = metadata.rdev();
    Ok((
        i64::from(rustix::fs::major(device)),
        i64::from(rustix::fs::minor(device)),
    ))
}

/// What Go says, which is what C says in small letters.
fn errno_text(errno: rustix::io::Errno) -> &'static str {
    match errno {
        rustix::io::Errno::NOENT => "no such file or directory",
        rustix::io::Errno::ACCESS => "permission denied",
        rustix::io::Errno::NOTDIR => "not a directory",
        _ => "cannot be read",
    }
}

fn weights(list: &[WeightDevice]) -> Result<Vec<bundle::WeightDevice>, EngineError> {
    let weight = |one: &WeightDevice| {
        let (major, minor) = number(&one.path)?;
        Ok(bundle::WeightDevice {
            major,
            minor,
            weight: one.weight,
        })
    };
    list.iter().map(weight).collect()
}

fn throttles(list: &[Throttle]) -> Result<Vec<bundle::Throttle>, EngineError> {
    let throttle = |one: &Throttle| {
        let (major, minor) = number(&one.path)?;
        Ok(bundle::Throttle {
            major,
            minor,
            rate: one.rate,
        })
    };
    list.iter().map(throttle).collect()
}

/// The node `path` of the host, to be made at `target`.
fn node(path: &str, target: &str) -> Result<bundle::Device, EngineError> {
    let gather = |text: String| {
        EngineError::Failed(format!(
            "error gathering device information while adding custom device {path:?}: {text}"
        ))
    };
    let metadata = std::fs::metadata(path).map_err(|error| gather(error.to_string()))?;
    let kind = metadata.file_type();
    if !kind.is_char_device() && !kind.is_block_device() {
        return Err(gather("not a device node".to_owned()));
    }
    let device = metadata.rdev();
    Ok(bundle::Device {
        path: target.to_owned(),
        block: kind.is_block_device(),
        major: i64::from(rustix::fs::major(device)),
        minor: i64::from(rustix::fs::minor(device)),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

/// Nodes to make in `/dev` beside the default ones.
pub(super) fn devices(host: &HostConfig) -> Result<Vec<bundle::Device>, EngineError> {
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
        devices.push(node(&mapping.host, target)?);
    }
    Ok(devices)
}

/// All nodes of the host, for `--privileged` (runc `devices.HostDevices`).
fn below(folder: &Path, devices: &mut Vec<bundle::Device>) {
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
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        if OTHERS.iter().any(|other| *other == name) {
            continue;
        }
        if kind.is_dir() {
            below(&path, devices);
        } else if let Some(text) = path
            .to_str()
            .filter(|_| !kind.is_symlink() && !kind.is_file())
        {
            // A socket or a FIFO is no device.
            devices.extend(node(text, text).ok());
        }
    }
}

/// Rules beside the default ones: for the devices that are given, and those that are typed.
pub(super) fn rules(host: &HostConfig) -> Result<Vec<bundle::DeviceRule>, EngineError> {
    let mut rules = Vec::new();
    for mapping in &host.resources.devices {
        let node = node(&mapping.host, &mapping.host)?;
        let access = mapping.permissions.as_str();
        rules.push(bundle::DeviceRule {
            allow: true,
            kind: if node.block { 'b' } else { 'c' },
            major: Some(node.major),
            minor: Some(node.minor),
            access: if access.is_empty() { "rwm" } else { access }.to_owned(),
        });
    }
    for text in &host.resources.device_cgroup_rules {
        rules.push(rule(text)?);
    }
    Ok(rules)
}

/// `c 1:3 rwm`, `a *:* rwm`.
fn rule(text: &str) -> Result<bundle::DeviceRule, EngineError> {
    let invalid = || EngineError::Invalid(format!("invalid device cgroup rule format: '{text}'"));
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else {
        return Err(invalid());
    };
    let kind = match kind {
        "a" => 'a',
        "b" => 'b',
        "c" => 'c',
        _ => return Err(invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    Ok(bundle::DeviceRule {
        allow: true,
        kind,
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_device_rules() {
        let read = rule("c 1:* r").unwrap();
        assert_eq!(
            (read.kind, read.major, read.minor, read.access.as_str()),
            ('c', Some(1), None, "r")
        );
        assert!(rule("x 1:1 r").is_err() && rule("c 1 r").is_err() && rule("c a:1 r").is_err());
    }

    #[test]
    fn billionths_become_a_quota() {
        let r = Resources {
            nano_cpus: 500_000_000,
            ..Resources::default()
        };
        let limits = resources(&r).unwrap();
        assert_eq!((limits.cpu_quota, limits.cpu_period), (50_000, 100_000));
    }
}
