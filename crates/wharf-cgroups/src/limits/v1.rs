//! Version 1.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::{EBUSY, EINVAL, Files, asked, is, throttles};
use crate::CgroupError;

const LIMIT: &str = "memory.limit_in_bytes";
const BOTH: &str = "memory.memsw.limit_in_bytes";

pub(super) fn apply(files: &Files<'_>, resources: &LinuxResources) -> Result<(), CgroupError> {
    if resources
        .unified()
        .as_ref()
        .is_some_and(|map| !map.is_empty())
    {
        return Err(CgroupError::NotUnified);
    }
    if let Some(wanted) = resources.memory() {
        memory(files, wanted)?;
    }
    if let Some(wanted) = resources.cpu() {
        cpu(files, wanted)?;
        cpuset(files, wanted)?;
    }
    if let Some(wanted) = resources.block_io() {
        io(files, wanted)?;
    }
    resources
        .network()
        .as_ref()
        .map_or(Ok(()), |wanted| network(files, wanted))
}

fn memory(files: &Files<'_>, wanted: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = asked(wanted.limit());
    let mut both = asked(wanted.swap());
    if limit == Some(-1) && both.is_none() && files.has("memory", BOTH) {
        both = Some(-1);
    }
    let set_limit = || limit.map_or(Ok(()), |limit| set_limit(files, limit));
    let set_both = || both.map_or(Ok(()), |both| files.set("memory", BOTH, both));
    // The limit of memory may at no moment be above that of memory and swap together (runc `fs/memory.go`).
    let now = files.number("memory", LIMIT).unwrap_or(u64::MAX);
    let grows = both.is_some_and(|both| u64::try_from(both).is_ok_and(|both| now < both));
    if both == Some(-1) || grows {
        set_both()?;
        set_limit()?;
    } else {
        set_limit()?;
        set_both()?;
    }
    if let Some(bytes) = asked(wanted.reservation()) {
        files.set("memory", "memory.soft_limit_in_bytes", bytes)?;
    }
    if let Some(bytes) = asked(wanted.kernel_tcp()) {
        files.set("memory", "memory.kmem.tcp.limit_in_bytes", bytes)?;
    }
    if let Some(swappiness) = wanted.swappiness() {
        files.set("memory", "memory.swappiness", swappiness)?;
    }
    if wanted.disable_oom_killer() == Some(true) {
        files.set("memory", "memory.oom_control", 1)?;
    }
    Ok(())
}

fn set_limit(files: &Files<'_>, limit: i64) -> Result<(), CgroupError> {
    match files.set("memory", LIMIT, limit) {
        // More is in use than can be taken away.
        Err(error) if is(&error, EBUSY) => Err(CgroupError::InUse {
            limit,
            usage: files.number("memory", "memory.usage_in_bytes").unwrap_or(0),
            peak: files
                .number("memory", "memory.max_usage_in_bytes")
                .unwrap_or(0),
        }),
        other => other,
    }
}

fn cpu(files: &Files<'_>, wanted: &LinuxCpu) -> Result<(), CgroupError> {
    // The real-time share must be there before any process is.
    if let Some(period) = asked(wanted.realtime_period()) {
        files.set("cpu", "cpu.rt_period_us", period)?;
    }
    if let Some(runtime) = asked(wanted.realtime_runtime()) {
        files.set("cpu", "cpu.rt_runtime_us", runtime)?;
    }
    if let Some(shares) = asked(wanted.shares()) {
        files.set("cpu", "cpu.shares", shares)?;
        // The kernel takes the nearest number that it knows, and says nothing.
        let kept = files.number("cpu", "cpu.shares").unwrap_or(shares);
        if kept != shares {
            let bound = if shares > kept { "maximum" } else { "minimum" };
            return Err(CgroupError::Shares { bound, kept });
        }
    }
    let quota = asked(wanted.quota());
    let mut period = asked(wanted.period());
    if let Some(microseconds) = period {
        match files.set("cpu", "cpu.cfs_period_us", microseconds) {
            Ok(()) => period = None,
            // The old quota is more than the parent's share of the new period: the new quota first.
            Err(error) if is(&error, EINVAL) && quota.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    if let Some(microseconds) = asked(wanted.burst()) {
        files.set("cpu", "cpu.cfs_burst_us", microseconds)?;
    }
    if let Some(microseconds) = quota {
        files.set("cpu", "cpu.cfs_quota_us", microseconds)?;
    }
    if let Some(microseconds) = period {
        files.set("cpu", "cpu.cfs_period_us", microseconds)?;
    }
    if let Some(idle) = wanted.idle() {
        files.set("cpu", "cpu.idle", idle)?;
    }
    Ok(())
}

fn cpuset(files: &Files<'_>, wanted: &LinuxCpu) -> Result<(), CgroupError> {
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

fn io(files: &Files<'_>, wanted: &LinuxBlockIo) -> Result<(), CgroupError> {
    // CFQ has gone with Linux 5.0; BFQ names its files after itself.
    let weight_file = |plain: &'static str, bfq: &'static str| match files.has("blkio", plain) {
        true => plain,
        false => bfq,
    };
    if let Some(weight) = asked(wanted.weight()) {
        files.set(
            "blkio",
            weight_file("blkio.weight", "blkio.bfq.weight"),
            weight,
        )?;
    }
    if let Some(weight) = asked(wanted.leaf_weight()) {
        files.set("blkio", "blkio.leaf_weight", weight)?;
    }
    let of_device = weight_file("blkio.weight_device", "blkio.bfq.weight_device");
    for device in wanted.weight_device().iter().flatten() {
        let number = format!("{}:{}", device.major(), device.minor());
        if let Some(weight) = asked(device.weight()) {
            files.set("blkio", of_device, format!("{number} {weight}"))?;
        }
        if let Some(weight) = asked(device.leaf_weight()) {
            files.set(
                "blkio",
                "blkio.leaf_weight_device",
                format!("{number} {weight}"),
            )?;
        }
    }
    let names = ["read_bps", "write_bps", "read_iops", "write_iops"];
    for (name, devices) in names.into_iter().zip(throttles(wanted)) {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            files.set("blkio", &format!("blkio.throttle.{name}_device"), value)?;
        }
    }
    Ok(())
}

fn network(files: &Files<'_>, wanted: &LinuxNetwork) -> Result<(), CgroupError> {
    if let Some(class) = asked(wanted.class_id()) {
        files.set("net_cls", "net_cls.classid", class)?;
    }
    for one in wanted.priorities().iter().flatten() {
        let value = format!("{} {}", one.name(), one.priority());
        files.set("net_prio", "net_prio.ifpriomap", value)?;
    }
    Ok(())
}
