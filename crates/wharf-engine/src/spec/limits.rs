//! Limits of a container, with paths of the host turned into numbers.

use std::os::unix::fs::MetadataExt as _;

use wharf_bundle as bundle;

use crate::{EngineError, Resources, Throttle, Ulimit, WeightDevice};

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

/// As [`resources`], for a container that is about to start.
pub(super) fn at_start(r: &Resources) -> Result<bundle::Resources, EngineError> {
    match r.cpu_shares < 0 {
        true => Err(EngineError::Failed("shares: invalid argument".to_owned())),
        false => resources(r),
    }
}

/// Limits of the control group.
fn resources(r: &Resources) -> Result<bundle::Resources, EngineError> {
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
        EngineError::Failed(format!("stat {path}: {}", wharf_sys::words::of(&error)))
    })?;
    let device = metadata.rdev();
    Ok((
        i64::from(rustix::fs::major(device)),
        i64::from(rustix::fs::minor(device)),
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn billionths_become_a_quota() {
        let r = Resources {
            nano_cpus: 500_000_000,
            ..Resources::default()
        };
        let limits = resources(&r).unwrap();
        assert_eq!((limits.cpu_quota, limits.cpu_period), (50_000, 100_000));
    }

    #[test]
    fn shares_below_zero_are_too_many() {
        let shares = Resources {
            cpu_shares: -1,
            ..Resources::default()
        };
        let error = at_start(&shares).unwrap_err();
        assert_eq!(error.to_string(), "shares: invalid argument");
        let limits = limits(&shares).unwrap();
        let cpu = limits.cpu().clone().unwrap();
        assert_eq!(cpu.shares(), Some(u64::MAX));
    }
}
