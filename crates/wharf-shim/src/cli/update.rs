//! `update`.

use std::io::Read as _;

use oci_spec::runtime::LinuxResources;
use serde_json::{Value, json};
use wharf_sys::words::chain;

use super::Outcome;
use super::container::Container;
use super::flags::{Command, Said, Takes};
use super::global::Global;

pub(crate) const UPDATE: Command = Command {
    name: "update",
    about: "update container resource constraints",
    usage: "[command options] <container-id>",
    words: (1, Some(1)),
    flags: &[
        (
            "resources",
            "r",
            Takes::Value,
            "path to the file containing the resources to update or '-' to read from the standard input",
        ),
        (
            "blkio-weight",
            "",
            Takes::Number,
            "Specifies per cgroup weight, range is from 10 to 1000",
        ),
        (
            "cpu-period",
            "",
            Takes::Value,
            "CPU CFS period to be used for hardcapping (in usecs)",
        ),
        (
            "cpu-quota",
            "",
            Takes::Value,
            "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period",
        ),
        (
            "cpu-burst",
            "",
            Takes::Value,
            "CPU CFS hardcap burst limit (in usecs)",
        ),
        (
            "cpu-share",
            "",
            Takes::Value,
            "CPU shares (relative weight vs. other containers)",
        ),
        (
            "cpu-rt-period",
            "",
            Takes::Value,
            "CPU realtime period to be used for hardcapping (in usecs)",
        ),
        (
            "cpu-rt-runtime",
            "",
            Takes::Value,
            "CPU realtime hardcap limit (in usecs)",
        ),
        ("cpuset-cpus", "", Takes::Value, "CPU(s) to use"),
        ("cpuset-mems", "", Takes::Value, "Memory node(s) to use"),
        (
            "cpu-idle",
            "",
            Takes::Value,
            "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE",
        ),
        ("memory", "", Takes::Value, "Memory limit (in bytes)"),
        (
            "memory-reservation",
            "",
            Takes::Value,
            "Memory reservation or soft_limit (in bytes)",
        ),
        (
            "memory-swap",
            "",
            Takes::Value,
            "Total memory usage (memory + swap); set '-1' to enable unlimited swap",
        ),
        (
            "pids-limit",
            "",
            Takes::Number,
            "Maximum number of pids allowed in the container",
        ),
        ("kernel-memory", "", Takes::Value, "(obsoleted; do not use)"),
        (
            "kernel-memory-tcp",
            "",
            Takes::Value,
            "(obsoleted; do not use)",
        ),
        (
            "l3-cache-schema",
            "",
            Takes::Value,
            "refused: The string of Intel RDT/CAT L3 cache schema",
        ),
        (
            "mem-bw-schema",
            "",
            Takes::Value,
            "refused: The string of Intel RDT/MBA memory bandwidth schema",
        ),
    ],
    stops: false,
};

/// Flag, and where its number stands in OCI's resources.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("blkio-weight", "blockIO", "weight"),
    ("cpu-period", "cpu", "period"),
    ("cpu-quota", "cpu", "quota"),
    ("cpu-burst", "cpu", "burst"),
    ("cpu-share", "cpu", "shares"),
    ("cpu-rt-period", "cpu", "realtimePeriod"),
    ("cpu-rt-runtime", "cpu", "realtimeRuntime"),
    ("cpu-idle", "cpu", "idle"),
    ("pids-limit", "pids", "limit"),
];

const SIZES: &[(&str, &str)] = &[
    ("memory", "limit"),
    ("memory-reservation", "reservation"),
    ("memory-swap", "swap"),
];

/// Changes a container's limits.
pub(crate) fn update(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    let mut resources = match said.value("resources").filter(|path| !path.is_empty()) {
        Some(path) => read(path)?,
        None => resources(said)?,
    };
    // As runc (`SkipDevices`): whoever sends all limits again has the container's own rules not among them.
    resources.set_devices(None);
    if !container.status().lives() {
        return Err("container not running".to_owned());
    }
    let obsolete = ["kernel-memory", "kernel-memory-tcp"];
    if obsolete.iter().any(|flag| said.value(flag).is_some()) {
        let text = "Kernel memory settings are ignored and will be removed";
        super::log::warning(global, text);
    }
    let applied = container.needs_cgroup()?.update(&resources);
    applied.map(|()| 0).map_err(|error| chain(&error))
}

fn read(path: &str) -> Result<LinuxResources, String> {
    let mut text = Vec::new();
    let read = match path {
        "-" => std::io::stdin().read_to_end(&mut text),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut text)),
    };
    read.map_err(|error| format!("open {path}: {error}"))?;
    if text.trim_ascii().is_empty() {
        return Err("EOF".to_owned());
    }
    serde_json::from_slice(&text).map_err(|error| super::wrong::said(&text, &error))
}

fn resources(said: &Said) -> Result<LinuxResources, String> {
    if said.value("l3-cache-schema").is_some() {
        return Err("Intel RDT/CAT: l3 cache schema is not enabled".to_owned());
    }
    if said.value("mem-bw-schema").is_some() {
        return Err("Intel RDT/MBA: memory bandwidth schema is not enabled".to_owned());
    }
    let mut resources = json!({});
    for (flag, group, field) in NUMBERS {
        let Some(text) = said.value(flag).filter(|text| !text.is_empty()) else {
            continue;
        };
        resources[group][field] = number(flag, text)?;
    }
    for (flag, field) in SIZES {
        let Some(text) = said.value(flag).filter(|text| !text.is_empty()) else {
            continue;
        };
        let bytes = size(text)
            .ok_or_else(|| format!("invalid value for {flag}: invalid size: '{text}'"))?;
        resources["memory"][field] = Value::from(bytes);
    }
    for (flag, field) in [("cpuset-cpus", "cpus"), ("cpuset-mems", "mems")] {
        if let Some(text) = said.value(flag).filter(|text| !text.is_empty()) {
            resources["cpu"][field] = Value::from(text);
        }
    }
    serde_json::from_value(resources).map_err(|error| error.to_string())
}

/// Those that may be negative, as -1 is "without end".
const SIGNED: &[&str] = &["cpu-quota", "cpu-rt-runtime", "cpu-idle", "pids-limit"];

/// A flag's number, or in runc's words why it is none.
fn number(flag: &str, text: &str) -> Result<Value, String> {
    let (read, function) = match SIGNED.contains(&flag) {
        true => (text.parse::<i64>().ok().map(Value::from), "ParseInt"),
        false => (text.parse::<u64>().ok().map(Value::from), "ParseUint"),
    };
    read.ok_or_else(|| {
        format!("invalid value for {flag}: strconv.{function}: parsing \"{text}\": invalid syntax")
    })
}

/// `10m`, `1.5GiB`, `-1`: as Docker's `units.RAMInBytes`.
fn size(text: &str) -> Option<i64> {
    match text {
        "-1" => Some(-1),
        text => wharf_go::ram_in_bytes(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::{number, size};

    #[test]
    fn numbers() {
        assert_eq!(number("cpu-quota", "-1"), Ok((-1).into()));
        assert_eq!(number("cpu-share", "5"), Ok(5.into()));
        let said = number("cpu-share", "-1").expect_err("refused");
        assert_eq!(
            said,
            "invalid value for cpu-share: strconv.ParseUint: parsing \"-1\": invalid syntax"
        );
    }

    #[test]
    fn sizes() {
        assert_eq!(size("32MiB"), Some(32 << 20));
        assert_eq!(size("1.5g"), Some(3 << 29));
        assert_eq!(size("4096"), Some(4096));
        assert_eq!(size("10kb"), Some(10 << 10));
        assert_eq!(size("-1"), Some(-1));
        for bad in ["x", "1x", "", "-2", "kb"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
