//! Version 2.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use super::{Files, asked, or_max, throttles};
use crate::CgroupError;

pub(super) fn apply(files: &Files<'_>, resources: &LinuxResources) -> Result<(), CgroupError> {
    if let Some(wanted) = resources.memory() {
        memory(files, wanted)?;
    }
    if let Some(wanted) = resources.cpu() {
        cpu(files, wanted)?;
    }
    if let Some(wanted) = resources.block_io() {
        io(files, wanted)?;
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        if file.contains('/') {
            return Err(CgroupError::BadFile(file.clone()));
        }
        for line in value.lines() {
            files.set("", file, line)?;
        }
    }
    Ok(())
}

fn memory(files: &Files<'_>, wanted: &LinuxMemory) -> Result<(), CgroupError> {
    // Before an update alone: what is written a second time, or first, has nobody to refuse.
    if files.journal.is_some() {
        check(wanted, || files.number("memory", "memory.current"))?;
    }
    let limit = asked(wanted.limit());
    // Without a new limit of memory the one that holds counts.
    let known = limit.or_else(|| files.number("memory", "memory.max")?.try_into().ok());
    if let Some(value) = swap(known, asked(wanted.swap()))? {
        match value.as_str() {
            // A kernel that counts no swap limits none either.
            "max" | "0" => files.set_if_there("memory", "memory.swap.max", value)?,
            _ => files.set("memory", "memory.swap.max", value)?,
        }
    }
    if let Some(limit) = limit {
        files.set("memory", "memory.max", or_max(limit))?;
    }
    if let Some(bytes) = asked(wanted.reservation()) {
        files.set("memory", "memory.low", or_max(bytes))?;
    }
    Ok(())
}

/// OCI's swap is memory and swap together; v2 counts swap alone (runc `ConvertMemorySwapToCgroupV2Value`).
pub(crate) fn swap(limit: Option<i64>, both: Option<i64>) -> Result<Option<String>, CgroupError> {
    match (limit, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some("max".to_owned())),
        (_, None) => Ok(None),
        (None | Some(-1), Some(_)) => Err(CgroupError::SwapWithoutMemory),
        (Some(limit), Some(both)) if both < limit => Err(CgroupError::SwapBelowMemory),
        (Some(limit), Some(both)) => Ok(Some((both - limit).to_string())),
    }
}

fn cpu(files: &Files<'_>, wanted: &LinuxCpu) -> Result<(), CgroupError> {
    if let Some(idle) = wanted.idle() {
        files.set("cpu", "cpu.idle", idle)?;
    }
    if let Some(shares) = asked(wanted.shares()) {
        files.set("cpu", "cpu.weight", weight_of(shares))?;
    }
    let (quota, period) = (asked(wanted.quota()), asked(wanted.period()));
    if quota.is_some() || period.is_some() {
        let now = files.text("cpu", "cpu.max").unwrap_or_default();
        files.set("cpu", "cpu.max", bandwidth(&now, quota, period))?;
    }
    if let Some(microseconds) = asked(wanted.burst()) {
        files.set("cpu", "cpu.max.burst", microseconds)?;
    }
    for (file, value) in [
        ("cpuset.cpus", wanted.cpus()),
        ("cpuset.mems", wanted.mems()),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            files.set("cpuset", file, value)?;
        }
    }
    Ok(())
}

/// `cpu.max`: what is not given stays as it is `now`.
fn bandwidth(now: &str, quota: Option<i64>, period: Option<u64>) -> String {
    let mut now = now.split_whitespace();
    let old_quota = now.next().unwrap_or("max");
    let quota = quota.map_or_else(|| old_quota.to_owned(), or_max);
    let old_period = now.next().unwrap_or("100000");
    let period = period.map_or_else(|| old_period.to_owned(), |period| period.to_string());
    format!("{quota} {period}")
}

/// Quota (-1: none) and period of a `cpu.max`.
pub(crate) fn bandwidth_of(text: &str) -> Option<(i64, i64)> {
    let (quota, period) = text.trim().split_once(' ')?;
    let quota = if quota == "max" {
        -1
    } else {
        quota.parse().ok()?
    };
    Some((quota, period.parse().ok()?))
}

/// v1's shares, 2 to 262144, as v2's weight, 1 to 10000, on the curve that leads through both defaults, 1024 and 100 (runc 1.3.2,
/// crun 1.23).
pub(crate) fn weight_of(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            // What is a whole number is not rounded up because of its last bit.
            (10_f64.powf(exponent) - 1e-9).ceil() as u64
        }
    }
}

/// The kernel would rather kill than refuse a limit that is too low: whoever asks for it has it compared before, in runc's words.
fn check(wanted: &LinuxMemory, usage: impl FnOnce() -> Option<u64>) -> Result<(), CgroupError> {
    if wanted.check_before_update() != Some(true) {
        return Ok(());
    }
    let Some(usage) = usage() else {
        return Ok(());
    };
    let limits = [("memory+swap", wanted.swap()), ("memory", wanted.limit())];
    for (what, limit) in limits {
        let limit = limit
            .and_then(|limit| u64::try_from(limit).ok())
            .unwrap_or(0);
        if limit > 0 && limit <= usage {
            return Err(CgroupError::BelowUsage { what, limit, usage });
        }
    }
    Ok(())
}

fn io(files: &Files<'_>, wanted: &LinuxBlockIo) -> Result<(), CgroupError> {
    let bfq = files.has("io", "io.bfq.weight");
    if let Some(weight) = asked(wanted.weight()) {
        if bfq {
            files.set("io", "io.bfq.weight", weight)?;
        } else {
            // 10 to 1000 becomes 1 to 10000, as runc does.
            let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
            files.set("io", "io.weight", format!("default {weight}"))?;
        }
    }
    // Weights of single devices are BFQ's; without it runc passes over them.
    let devices = wanted.weight_device().iter().flatten().filter(|_| bfq);
    for device in devices {
        if let Some(weight) = asked(device.weight()) {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            files.set("io", "io.bfq.weight", value)?;
        }
    }
    for (key, devices) in ["rbps", "wbps", "riops", "wiops"]
        .into_iter()
        .zip(throttles(wanted))
    {
        for device in devices.iter().flatten() {
            let rate = match device.rate() {
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            files.set("io", "io.max", value)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_both_ends() {
        let weights = [weight_of(2), weight_of(1024), weight_of(262_144)];
        assert_eq!(weights, [1, 100, 10_000]);
        let between = [3, 512, 2048, 100_000].map(weight_of);
        assert_eq!(between, [2, 59, 174, 4340]);
    }

    #[test]
    fn a_limit_below_what_is_in_use_is_refused_if_that_is_asked() {
        let of = |text: &str| check(&serde_json::from_str(text).expect("memory"), || Some(100));
        let said = of(r#"{"limit":100,"checkBeforeUpdate":true}"#).expect_err("refused");
        assert_eq!(said.to_string(), "rejecting memory limit 100 <= usage 100");
        assert!(of(r#"{"limit":200,"swap":50,"checkBeforeUpdate":true}"#).is_err());
        assert!(of(r#"{"limit":101,"swap":-1,"checkBeforeUpdate":true}"#).is_ok());
        assert!(of(r#"{"limit":1}"#).is_ok());
    }

    #[test]
    fn the_bandwidth_of_a_file() {
        assert_eq!(bandwidth_of("max 100000\n"), Some((-1, 100_000)));
        assert_eq!(bandwidth_of("5000 20000\n"), Some((5000, 20_000)));
        assert_eq!(bandwidth_of(""), None);
    }

    #[test]
    fn swap_is_without_memory() {
        let swap = |limit, both| swap(limit, both).map_err(|error| error.to_string());
        assert_eq!(swap(Some(100), Some(150)), Ok(Some("50".to_owned())));
        assert_eq!(swap(Some(100), Some(100)), Ok(Some("0".to_owned())));
        assert_eq!(swap(Some(-1), None), Ok(Some("max".to_owned())));
        assert_eq!(swap(Some(100), None), Ok(None));
        assert!(swap(None, Some(100)).is_err() && swap(Some(100), Some(50)).is_err());
    }

    #[test]
    fn a_quota_or_a_period_alone_keeps_the_other() {
        assert_eq!(bandwidth("max 100000\n", Some(5000), None), "5000 100000");
        assert_eq!(bandwidth("5000 20000\n", None, Some(50_000)), "5000 50000");
        assert_eq!(bandwidth("5000 20000\n", Some(-1), None), "max 20000");
        assert_eq!(bandwidth("", Some(1000), Some(2000)), "1000 2000");
    }
}
