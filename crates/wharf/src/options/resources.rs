//! Memory, processors, block devices, limits.

use serde_json::{Value, json};

use super::Fields;
use crate::cli::number::parse_int;
use crate::cli::{Flag, Kind, Matches, flag, switch, text};

/// Flags of resources.
pub static FLAGS: &[Flag] = &[
    flag(
        "blkio-weight",
        Kind::Uint(16),
        "Weight of block I/O, 10 to 1000, or 0 for none",
    ),
    flag(
        "blkio-weight-device",
        Kind::Checked("list", check_weight),
        "Weight of one device: PATH:WEIGHT",
    ),
    text("cgroup-parent", "Control group to live under"),
    flag("cpu-count", Kind::Int, "").hidden(),
    flag("cpu-percent", Kind::Int, "").hidden(),
    flag(
        "cpu-period",
        Kind::Int,
        "Period of the processor quota in microseconds",
    ),
    flag(
        "cpu-quota",
        Kind::Int,
        "Processor time per period in microseconds",
    ),
    flag(
        "cpu-rt-period",
        Kind::Int,
        "Period of the real-time quota in microseconds",
    ),
    flag(
        "cpu-rt-runtime",
        Kind::Int,
        "Real-time per period in microseconds",
    ),
    flag("cpu-shares", Kind::Int, "Weight against other containers").short('c'),
    flag("cpus", Kind::Decimal, "Number of processors"),
    text("cpuset-cpus", "Processors to run on (0-3, 0,1)"),
    text("cpuset-mems", "Memory nodes to use (0-3, 0,1)"),
    flag(
        "device-read-bps",
        Kind::Checked("list", check_bps),
        "Bytes per second to read from a device",
    ),
    flag(
        "device-read-iops",
        Kind::Checked("list", check_iops),
        "Operations per second to read from a device",
    ),
    flag(
        "device-write-bps",
        Kind::Checked("list", check_bps),
        "Bytes per second to write to a device",
    ),
    flag(
        "device-write-iops",
        Kind::Checked("list", check_iops),
        "Operations per second to write to a device",
    ),
    flag("io-maxbandwidth", Kind::Bytes, "").hidden(),
    flag("io-maxiops", Kind::Uint(64), "").hidden(),
    flag("kernel-memory", Kind::Bytes, "Limit of kernel memory"),
    flag("memory", Kind::Bytes, "Limit of memory").short('m'),
    flag("memory-reservation", Kind::Bytes, "Soft limit of memory"),
    flag(
        "memory-swap",
        Kind::Swap,
        "Limit of memory and swap together: '-1' for no limit",
    ),
    flag(
        "memory-swappiness",
        Kind::Int,
        "Readiness to swap (0 to 100)",
    )
    .default("-1"),
    switch("oom-kill-disable", "Never kill for want of memory"),
    flag(
        "oom-score-adj",
        Kind::Int,
        "Readiness to be killed for want of memory (-1000 to 1000)",
    ),
    flag(
        "pids-limit",
        Kind::Int,
        "Limit of processes (-1 for no limit)",
    ),
    flag("shm-size", Kind::Bytes, "Size of /dev/shm"),
    flag(
        "ulimit",
        Kind::Checked("ulimit", check_ulimit),
        "Limit of the process: NAME=SOFT[:HARD]",
    ),
];

const ULIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn check_ulimit(value: &str) -> Result<String, String> {
    ulimit(value).map(|_| value.to_owned())
}

/// Reads `NAME=SOFT[:HARD]`.
pub fn ulimit(value: &str) -> Result<Value, String> {
    let (name, limits) = value
        .split_once('=')
        .ok_or_else(|| format!("invalid ulimit argument: {value}"))?;
    if !ULIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = limits.split(':').collect();
    if parts.len() > 2 {
        return Err(format!(
            "too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`"
        ));
    }
    let soft = parse_int(parts[0])?;
    let hard = parts.get(1).map_or(Ok(soft), |text| parse_int(text))?;
    // -1 is no limit.
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(json!({"Name": name, "Hard": hard, "Soft": soft}))
}

fn split_device(value: &str) -> Result<(&str, &str), String> {
    match value.split_once(':') {
        Some((path, rest)) if !path.is_empty() && path.starts_with("/dev/") => Ok((path, rest)),
        Some(_) => Err(format!("bad format for device path: {value}")),
        None => Err(format!("bad format: {value}")),
    }
}

fn check_weight(value: &str) -> Result<String, String> {
    let (_, weight) = split_device(value)?;
    match weight.parse::<u16>() {
        Ok(0 | 10..=1000) => Ok(value.to_owned()),
        _ => Err(format!("invalid weight for device: {value}")),
    }
}

fn check_bps(value: &str) -> Result<String, String> {
    let (_, rate) = split_device(value)?;
    let bad = || {
        format!(
            "invalid rate for device: {value}. The correct format is <device-path>:<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb"
        )
    };
    wharf_go::ram_in_bytes(rate)
        .map(|_| value.to_owned())
        .map_err(|_| bad())
}

fn check_iops(value: &str) -> Result<String, String> {
    let (_, rate) = split_device(value)?;
    let bad = || {
        format!(
            "invalid rate for device: {value}. The correct format is <device-path>:<number>. Number must be a positive integer"
        )
    };
    rate.parse::<u64>()
        .map(|_| value.to_owned())
        .map_err(|_| bad())
}

fn rates(values: &[String], field: &str) -> Vec<Value> {
    let one = |value: &String| {
        let (path, rate) = value.split_once(':').unwrap_or((value, "0"));
        json!({"Path": path, field: wharf_go::ram_in_bytes(rate).unwrap_or_default()})
    };
    values.iter().map(one).collect()
}

/// Puts this group into `HostConfig`.
pub fn apply(matches: &Matches, host: &mut Fields) -> Result<(), String> {
    let swappiness = matches.int("memory-swappiness");
    if swappiness != -1 && !(0..=100).contains(&swappiness) {
        return Err(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        ));
    }
    if swappiness != -1 {
        host.set("MemorySwappiness", swappiness);
    }
    for (field, flag) in [
        ("Memory", "memory"),
        ("MemoryReservation", "memory-reservation"),
        ("MemorySwap", "memory-swap"),
        ("KernelMemory", "kernel-memory"),
        ("NanoCpus", "cpus"),
        ("CpuCount", "cpu-count"),
        ("CpuPercent", "cpu-percent"),
        ("CpuShares", "cpu-shares"),
        ("CpuPeriod", "cpu-period"),
        ("CpuQuota", "cpu-quota"),
        ("CpuRealtimePeriod", "cpu-rt-period"),
        ("CpuRealtimeRuntime", "cpu-rt-runtime"),
        ("BlkioWeight", "blkio-weight"),
        ("IOMaximumBandwidth", "io-maxbandwidth"),
        ("IOMaximumIOps", "io-maxiops"),
        ("OomScoreAdj", "oom-score-adj"),
        ("PidsLimit", "pids-limit"),
        ("ShmSize", "shm-size"),
    ] {
        host.int(field, matches.int(flag));
    }
    host.text("CgroupParent", matches.text("cgroup-parent"));
    host.text("CpusetCpus", matches.text("cpuset-cpus"));
    host.text("CpusetMems", matches.text("cpuset-mems"));
    host.on("OomKillDisable", matches.on("oom-kill-disable"));
    for (field, flag, key) in [
        ("BlkioWeightDevice", "blkio-weight-device", "Weight"),
        ("BlkioDeviceReadBps", "device-read-bps", "Rate"),
        ("BlkioDeviceWriteBps", "device-write-bps", "Rate"),
        ("BlkioDeviceReadIOps", "device-read-iops", "Rate"),
        ("BlkioDeviceWriteIOps", "device-write-iops", "Rate"),
    ] {
        if matches.given(flag) {
            host.set(field, rates(matches.list(flag), key));
        }
    }
    if matches.given("ulimit") {
        let limits = matches
            .list("ulimit")
            .iter()
            .map(|value| ulimit(value))
            .collect::<Result<Vec<_>, _>>()?;
        host.set("Ulimits", limits);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits() {
        assert_eq!(
            ulimit("nofile=1:2").unwrap().to_string(),
            r#"{"Name":"nofile","Hard":2,"Soft":1}"#
        );
        assert_eq!(ulimit("nofile=5").unwrap()["Hard"], 5);
        assert_eq!(ulimit("x"), Err("invalid ulimit argument: x".into()));
        assert_eq!(ulimit("x=1"), Err("invalid ulimit type: x".into()));
        assert_eq!(
            ulimit("core=3:2"),
            Err("ulimit soft limit must be less than or equal to hard limit: 3 > 2".into())
        );
    }
}
