//! OCI's resources as properties of a unit: those that systemd knows, as runc translates them (runc, `docs/systemd.md`).
//! The group's files hold all of them, and are written as well.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use wharf_dbus::Value;

use super::Property;
use super::devices;
use crate::CgroupError;
use crate::limits::{asked, swap, weight_of};

/// The property's "no limit" (`CGROUP_LIMIT_MAX` and `USEC_INFINITY` of systemd's).
pub(super) const INFINITY: u64 = u64::MAX;
/// The kernel's period of a quota, in microseconds, where none is asked for.
const PERIOD: u64 = 100_000;
/// systemd keeps a quota in hundredths of a processor: so many microseconds of a second.
const HUNDREDTH: u64 = 10_000;

/// Collects properties.
#[derive(Default)]
pub(super) struct Properties(pub(super) Vec<Property>);

impl Properties {
    pub(super) fn add(&mut self, name: &str, value: Value) {
        self.0.push((name.to_owned(), value));
    }

    fn limit(&mut self, name: &str, limit: Option<i64>) {
        if let Some(limit) = limit {
            let limit = u64::try_from(limit).unwrap_or(INFINITY);
            self.add(name, Value::Uint64(limit));
        }
    }

    fn set_of(&mut self, name: &str, list: Option<&str>) -> Result<(), CgroupError> {
        if let Some(list) = list.filter(|list| !list.is_empty()) {
            let bits = bits(list).ok_or_else(|| CgroupError::BadSet(list.to_owned()))?;
            self.add(name, Value::Bytes(bits));
        }
        Ok(())
    }
}

/// What systemd is told of `resources`; `unified` on cgroup v2.
pub(crate) fn of_resources(
    resources: &LinuxResources,
    unified: bool,
) -> Result<Vec<Property>, CgroupError> {
    let mut all = Properties::default();
    if let Some(rules) = resources.devices() {
        all.0.extend(devices::properties(rules));
    }
    if let Some(memory) = resources.memory() {
        of_memory(&mut all, memory, unified)?;
    }
    if let Some(cpu) = resources.cpu() {
        of_cpu(&mut all, cpu, unified)?;
    }
    let io = resources.block_io().as_ref().filter(|_| !unified);
    if let Some(weight) = io.and_then(|io| asked(io.weight())) {
        all.add("BlockIOWeight", Value::Uint64(weight.into()));
    }
    let tasks = resources.pids().as_ref().map(|pids| pids.limit());
    all.limit("TasksMax", tasks.filter(|limit| *limit != 0));
    if unified {
        let mut files: Vec<_> = resources.unified().iter().flatten().collect();
        files.sort();
        for (file, value) in files {
            of_file(&mut all, file, value.trim())?;
        }
    }
    Ok(all.0)
}

fn of_memory(all: &mut Properties, memory: &LinuxMemory, unified: bool) -> Result<(), CgroupError> {
    let limit = asked(memory.limit());
    if !unified {
        all.limit("MemoryLimit", limit);
        return Ok(());
    }
    all.limit("MemoryMax", limit);
    all.limit("MemoryLow", asked(memory.reservation()));
    // Without a limit of memory beside it, it is known when the files are written.
    let both = asked(memory.swap()).filter(|both| *both == -1 || limit.is_some());
    all.limit(
        "MemorySwapMax",
        swap(limit, both)?.map(|value| value.parse().unwrap_or(-1)),
    );
    Ok(())
}

fn of_cpu(all: &mut Properties, cpu: &LinuxCpu, unified: bool) -> Result<(), CgroupError> {
    if let Some(shares) = asked(cpu.shares()) {
        // A weight would end the idleness that the file asks for.
        match (unified, cpu.idle()) {
            (true, Some(1)) => {}
            (true, _) => all.add("CPUWeight", Value::Uint64(weight_of(shares))),
            (false, _) => all.add("CPUShares", Value::Uint64(shares)),
        }
    }
    of_bandwidth(all, asked(cpu.quota()), asked(cpu.period()));
    all.set_of("AllowedCPUs", cpu.cpus().as_deref())?;
    all.set_of("AllowedMemoryNodes", cpu.mems().as_deref())
}

pub(super) fn of_bandwidth(all: &mut Properties, quota: Option<i64>, period: Option<u64>) {
    if let Some(period) = period {
        all.add("CPUQuotaPeriodUSec", Value::Uint64(period));
    }
    if quota.is_none() && period.is_none() {
        return;
    }
    // Rounded up, so that a group below may have what is asked for.
    let of_second = match quota.map(u64::try_from) {
        Some(Ok(quota)) => (quota.saturating_mul(1_000_000) / period.unwrap_or(PERIOD).max(1))
            .checked_next_multiple_of(HUNDREDTH)
            .unwrap_or(INFINITY),
        _ => INFINITY,
    };
    all.add("CPUQuotaPerSecUSec", Value::Uint64(of_second));
}

/// A file of cgroup v2 that is named as such, if a property stands for it.
fn of_file(all: &mut Properties, file: &str, value: &str) -> Result<(), CgroupError> {
    let number = match value {
        "max" => Some(INFINITY),
        number => number.parse().ok(),
    };
    let name = match file {
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = words.next().map(|quota| quota.parse().unwrap_or(-1));
            of_bandwidth(
                all,
                quota,
                words.next().and_then(|period| period.parse().ok()),
            );
            return Ok(());
        }
        "cpuset.cpus" => return all.set_of("AllowedCPUs", Some(value)),
        "cpuset.mems" => return all.set_of("AllowedMemoryNodes", Some(value)),
        "cpu.weight" => "CPUWeight",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return Ok(()),
    };
    // What is no number the kernel refuses when the file is written.
    if let Some(number) = number {
        all.add(name, Value::Uint64(number));
    }
    Ok(())
}

/// `0-2,7` as bits, the lowest first.
pub(super) fn bits(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel counts (`CONFIG_NR_CPUS`).
    const MOST: usize = 1 << 16;
    let mut bytes = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MOST {
            return None;
        }
        bytes.resize(bytes.len().max(last / 8 + 1), 0);
        for bit in first..=last {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str, unified: bool) -> Vec<(String, Value)> {
        let resources = serde_json::from_str(json).expect("resources");
        of_resources(&resources, unified).expect("properties")
    }

    fn named(all: &[(&str, u64)]) -> Vec<(String, Value)> {
        let one = |(name, value): &(&str, u64)| ((*name).to_owned(), Value::Uint64(*value));
        all.iter().map(one).collect()
    }

    #[test]
    fn limits_of_v2() {
        let limits = r#"{"memory":{"limit":100,"swap":150,"reservation":50},
            "cpu":{"shares":1024,"quota":12345,"period":50000},"pids":{"limit":-1}}"#;
        let wanted = [
            ("MemoryMax", 100),
            ("MemoryLow", 50),
            ("MemorySwapMax", 50),
            ("CPUWeight", 100),
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUQuotaPerSecUSec", 250_000),
            ("TasksMax", u64::MAX),
        ];
        assert_eq!(told(limits, true), named(&wanted));
        let files =
            r#"{"unified":{"memory.high":"7","pids.max":"max","cpu.max":"max 50000","io.x":"1"}}"#;
        let wanted = [
            ("CPUQuotaPeriodUSec", 50_000),
            ("CPUQuotaPerSecUSec", u64::MAX),
            ("MemoryHigh", 7),
            ("TasksMax", u64::MAX),
        ];
        assert_eq!(told(files, true), named(&wanted));
    }

    #[test]
    fn a_quota_beyond_all_numbers_is_none() {
        let limits = format!(r#"{{"cpu":{{"quota":{},"period":1}}}}"#, i64::MAX);
        let told = told(&limits, true);
        let second = told.iter().find(|(name, _)| name == "CPUQuotaPerSecUSec");
        assert_eq!(
            second.map(|(_, value)| value),
            Some(&Value::Uint64(INFINITY))
        );
    }

    #[test]
    fn limits_of_v1() {
        let limits = r#"{"memory":{"limit":100,"swap":150},"cpu":{"shares":2},
            "blockIO":{"weight":10},"pids":{"limit":0}}"#;
        let wanted = [
            ("MemoryLimit", 100),
            ("CPUShares", 2),
            ("BlockIOWeight", 10),
        ];
        assert_eq!(told(limits, false), named(&wanted));
    }

    #[test]
    fn lists_become_bits() {
        assert_eq!(bits("0-2,7"), Some(vec![0b1000_0111]));
        assert_eq!(bits("9"), Some(vec![0, 2]));
        for bad in ["", "x", "3-1", "1-", "99999999"] {
            assert_eq!(bits(bad), None, "{bad}");
        }
    }
}
