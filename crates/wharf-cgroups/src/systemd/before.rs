//! What a unit's limits were, by the kernel's files: systemd is told of them again when a change that it knows of fails after all.

use wharf_dbus::Value;

use super::Property;
use super::properties::{INFINITY, Properties, bits, of_bandwidth};

/// A property and the file that says it, of v2 and of v1 with its controller; none where systemd has no such property.
type Row = (
    &'static str,
    Option<&'static str>,
    Option<(&'static str, &'static str)>,
);

const FILES: &[Row] = &[
    ("MemoryMax", Some("memory.max"), None),
    ("MemoryHigh", Some("memory.high"), None),
    ("MemoryLow", Some("memory.low"), None),
    ("MemoryMin", Some("memory.min"), None),
    ("MemorySwapMax", Some("memory.swap.max"), None),
    (
        "MemoryLimit",
        None,
        Some(("memory", "memory.limit_in_bytes")),
    ),
    ("CPUWeight", Some("cpu.weight"), None),
    ("CPUShares", None, Some(("cpu", "cpu.shares"))),
    ("BlockIOWeight", None, Some(("blkio", "blkio.weight"))),
    ("TasksMax", Some("pids.max"), Some(("pids", "pids.max"))),
    (
        "AllowedCPUs",
        Some("cpuset.cpus"),
        Some(("cpuset", "cpuset.cpus")),
    ),
    (
        "AllowedMemoryNodes",
        Some("cpuset.mems"),
        Some(("cpuset", "cpuset.mems")),
    ),
];
/// From here on a limit of v1's is none: the kernel counts in pages.
const NONE_OF_V1: u64 = i64::MAX as u64 - 0xffff;

/// The limits of a unit, as they were when they were read.
pub(crate) struct Before(Vec<Property>);

impl Before {
    /// `text` reads a file of a controller; of v2, of the group.
    pub(crate) fn read(unified: bool, text: impl Fn(&'static str, &str) -> Option<String>) -> Self {
        let mut all = Properties::default();
        for (name, of_v2, of_v1) in FILES {
            let place = match unified {
                true => of_v2.map(|file| ("", file)),
                false => *of_v1,
            };
            let said = place.and_then(|(controller, file)| text(controller, file));
            if let Some(value) = said.and_then(|said| value(name, said.trim())) {
                all.add(name, value);
            }
        }
        let number = |file| text("cpu", file)?.trim().parse().ok();
        let bandwidth = match unified {
            true => text("", "cpu.max").and_then(|said| crate::limits::bandwidth_of(&said)),
            false => number("cpu.cfs_quota_us").zip(number("cpu.cfs_period_us")),
        };
        if let Some((quota, period)) = bandwidth {
            of_bandwidth(&mut all, Some(quota), Some(period.unsigned_abs()));
        }
        Self(all.0)
    }

    /// Those that `changed` are.
    pub(crate) fn of(&self, changed: &[Property]) -> Vec<Property> {
        let is_changed = |name: &str| changed.iter().any(|(other, _)| other == name);
        let known = self.0.iter().filter(|(name, _)| is_changed(name));
        known.cloned().collect()
    }
}

fn value(name: &str, said: &str) -> Option<Value> {
    if name.starts_with("Allowed") {
        // An empty list is all of them, to the kernel and to systemd.
        let bits = if said.is_empty() {
            Some(Vec::new())
        } else {
            bits(said)
        };
        return bits.map(Value::Bytes);
    }
    let number = match said {
        "max" => INFINITY,
        said => said.parse().ok()?,
    };
    Some(Value::Uint64(if number >= NONE_OF_V1 {
        INFINITY
    } else {
        number
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::of_resources;

    fn back(unified: bool, files: &[(&str, &str)], update: &str) -> Vec<Property> {
        let said = |_: &'static str, file: &str| {
            let found = files.iter().find(|(name, _)| *name == file);
            found.map(|(_, said)| format!("{said}\n"))
        };
        let update = serde_json::from_str(update).expect("resources");
        let changed = of_resources(&update, unified).expect("properties");
        let mut back = Before::read(unified, said).of(&changed);
        back.sort_by(|one, other| one.0.cmp(&other.0));
        back
    }

    fn number((name, value): (&str, u64)) -> Property {
        (name.to_owned(), Value::Uint64(value))
    }

    const UPDATE: &str = r#"{"memory":{"limit":100,"swap":150},"cpu":{"quota":5000,"period":10000,"cpus":"1"},"pids":{"limit":7}}"#;

    #[test]
    fn what_a_change_of_v2_would_replace() {
        let files = [
            ("memory.max", "200"),
            ("memory.swap.max", "max"),
            ("memory.low", "9"),
            ("cpu.max", "20000 50000"),
            ("cpuset.cpus", "0,2"),
            ("pids.max", "50"),
        ];
        let mut wanted = vec![("AllowedCPUs".to_owned(), Value::Bytes(vec![5]))];
        let numbers = [
            ("CPUQuotaPerSecUSec", 400_000),
            ("CPUQuotaPeriodUSec", 50_000),
            ("MemoryMax", 200),
            ("MemorySwapMax", INFINITY),
            ("TasksMax", 50),
        ];
        wanted.extend(numbers.map(number));
        assert_eq!(back(true, &files, UPDATE), wanted);
        assert_eq!(
            back(true, &files, r#"{"pids":{"limit":7}}"#),
            [number(("TasksMax", 50))]
        );
    }

    #[test]
    fn what_a_change_of_v1_would_replace() {
        let files = [
            ("memory.limit_in_bytes", "9223372036854771712"),
            ("cpu.cfs_quota_us", "-1"),
            ("cpu.cfs_period_us", "100000"),
            ("cpuset.cpus", ""),
            ("pids.max", "max"),
        ];
        let mut wanted = vec![("AllowedCPUs".to_owned(), Value::Bytes(Vec::new()))];
        let numbers = [
            ("CPUQuotaPerSecUSec", INFINITY),
            ("CPUQuotaPeriodUSec", 100_000),
            ("MemoryLimit", INFINITY),
            ("TasksMax", INFINITY),
        ];
        wanted.extend(numbers.map(number));
        assert_eq!(back(false, &files, UPDATE), wanted);
    }
}
