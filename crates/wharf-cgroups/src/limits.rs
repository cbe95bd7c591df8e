//! OCI's resources as the files of v1 and v2.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources};

use crate::group::write;
use crate::{Cgroup, CgroupError};

pub(crate) fn apply(group: &Cgroup, resources: &LinuxResources) -> Result<(), CgroupError> {
    let v2 = group.layout().is_v2();
    let mut settings = Vec::new();
    if let Some(memory) = resources.memory() {
        settings.extend(if v2 {
            memory_v2(memory)
        } else {
            memory_v1(memory)
        });
    }
    if let Some(cpu) = resources.cpu() {
        settings.extend(if v2 { cpu_v2(cpu) } else { cpu_v1(cpu) });
    }
    if let Some(pids) = resources.pids() {
        let limit = pids.limit();
        let value = if limit > 0 {
            limit.to_string()
        } else {
            "max".to_owned()
        };
        settings.push(Setting::new("pids", "pids.max", value));
    }
    if let Some(io) = resources.block_io() {
        settings.extend(if v2 { io_v2(io) } else { io_v1(io) });
    }
    for page in resources.hugepage_limits().iter().flatten() {
        let file = match v2 {
            true => format!("hugetlb.{}.max", page.page_size()),
            false => format!("hugetlb.{}.limit_in_bytes", page.page_size()),
        };
        settings.push(Setting::new("hugetlb", &file, page.limit().to_string()));
    }
    settings
        .into_iter()
        .try_for_each(|setting| setting.write(group))
}

struct Setting {
    controller: &'static str,
    file: String,
    value: String,
}

impl Setting {
    fn new(controller: &'static str, file: &str, value: impl ToString) -> Self {
        Self {
            controller,
            file: file.to_owned(),
            value: value.to_string(),
        }
    }

    fn write(&self, group: &Cgroup) -> Result<(), CgroupError> {
        let folder = group.controller(self.controller);
        let folder = folder.ok_or(CgroupError::NoController(self.controller))?;
        write(&folder.join(&self.file), &self.value)
    }
}

/// -1 stands for no limit (OCI runtime spec, `config-linux`).
fn or_max(value: i64) -> String {
    if value < 0 {
        "max".to_owned()
    } else {
        value.to_string()
    }
}

fn memory_v1(memory: &LinuxMemory) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file, value: String| settings.push(Setting::new("memory", file, value));
    if let Some(limit) = memory.limit().filter(|limit| *limit != 0) {
        set("memory.limit_in_bytes", limit.to_string());
    }
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        set("memory.memsw.limit_in_bytes", swap.to_string());
    }
    if let Some(reservation) = memory.reservation().filter(|bytes| *bytes != 0) {
        set("memory.soft_limit_in_bytes", reservation.to_string());
    }
    if let Some(swappiness) = memory.swappiness() {
        set("memory.swappiness", swappiness.to_string());
    }
    if memory.disable_oom_killer() == Some(true) {
        set("memory.oom_control", "1".to_owned());
    }
    settings
}

fn memory_v2(memory: &LinuxMemory) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file, value: String| settings.push(Setting::new("memory", file, value));
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        set("memory.max", or_max(limit));
    }
    // OCI's swap is memory and swap together; v2 counts swap alone.
    if let Some(swap) = memory.swap().filter(|swap| *swap != 0) {
        let alone = if swap < 0 {
            swap
        } else {
            (swap - limit.unwrap_or(0)).max(0)
        };
        set("memory.swap.max", or_max(alone));
    }
    if let Some(reservation) = memory.reservation().filter(|bytes| *bytes != 0) {
        set("memory.low", or_max(reservation));
    }
    settings
}

fn cpu_v1(cpu: &LinuxCpu) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set =
        |controller, file, value: String| settings.push(Setting::new(controller, file, value));
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set("cpu", "cpu.shares", shares.to_string());
    }
    // A quota must fit its period at every moment, so the period goes first.
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        set("cpu", "cpu.cfs_period_us", period.to_string());
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        set("cpu", "cpu.cfs_quota_us", quota.to_string());
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        set("cpu", "cpu.rt_period_us", period.to_string());
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        set("cpu", "cpu.rt_runtime_us", runtime.to_string());
    }
    if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
        set("cpuset", "cpuset.cpus", cpus.clone());
    }
    if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
        set("cpuset", "cpuset.mems", mems.clone());
    }
    settings
}

fn cpu_v2(cpu: &LinuxCpu) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set =
        |controller, file, value: String| settings.push(Setting::new(controller, file, value));
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        set("cpu", "cpu.weight", weight_of(shares).to_string());
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.map_or("max".to_owned(), or_max);
        set(
            "cpu",
            "cpu.max",
            format!("{quota} {}", period.unwrap_or(100_000)),
        );
    }
    if let Some(cpus) = cpu.cpus().as_ref().filter(|cpus| !cpus.is_empty()) {
        set("cpuset", "cpuset.cpus", cpus.clone());
    }
    if let Some(mems) = cpu.mems().as_ref().filter(|mems| !mems.is_empty()) {
        set("cpuset", "cpuset.mems", mems.clone());
    }
    settings
}

/// v1's shares, 2 to 262144, as v2's weight, 1 to 10000, on a straight line as runc draws it.
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn io_v1(io: &LinuxBlockIo) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file: &str, value: String| settings.push(Setting::new("blkio", file, value));
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        set("blkio.weight", weight.to_string());
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            set(
                "blkio.weight_device",
                format!("{}:{} {weight}", device.major(), device.minor()),
            );
        }
    }
    for (file, throttles) in [
        (
            "blkio.throttle.read_bps_device",
            io.throttle_read_bps_device(),
        ),
        (
            "blkio.throttle.write_bps_device",
            io.throttle_write_bps_device(),
        ),
        (
            "blkio.throttle.read_iops_device",
            io.throttle_read_iops_device(),
        ),
        (
            "blkio.throttle.write_iops_device",
            io.throttle_write_iops_device(),
        ),
    ] {
        for device in throttles.iter().flatten() {
            set(
                file,
                format!("{}:{} {}", device.major(), device.minor(), device.rate()),
            );
        }
    }
    settings
}

fn io_v2(io: &LinuxBlockIo) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |file: &str, value: String| settings.push(Setting::new("io", file, value));
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // 10 to 1000 becomes 1 to 10000, as runc does.
        let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
        set("io.weight", format!("default {weight}"));
    }
    for (key, throttles) in [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ] {
        for device in throttles.iter().flatten() {
            set(
                "io.max",
                format!(
                    "{}:{} {key}={}",
                    device.major(),
                    device.minor(),
                    device.rate()
                ),
            );
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_both_ends() {
        assert_eq!(
            [weight_of(2), weight_of(1024), weight_of(262_144)],
            [1, 39, 10_000]
        );
    }

    #[test]
    fn swap_of_v2_is_without_memory() {
        let memory = serde_json::from_str(r#"{"limit":100,"swap":150}"#).expect("memory");
        let values: Vec<_> = memory_v2(&memory)
            .into_iter()
            .map(|one| (one.file, one.value))
            .collect();
        let expected = [("memory.max", "100"), ("memory.swap.max", "50")];
        assert_eq!(
            values,
            expected.map(|(file, value)| (file.to_owned(), value.to_owned()))
        );
    }
}
