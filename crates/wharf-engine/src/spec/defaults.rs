//! What every container gets: Docker's masked and read-only paths, and the capabilities that its words come to.

use crate::{EngineError, HostConfig};

/// Paths that a container cannot see (moby `oci/defaults.go`).
pub(super) const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that a container cannot write.
pub(super) const READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The capabilities of a container; no more than the daemon itself may give.
pub(crate) fn capabilities(host: &HostConfig) -> Result<Vec<&'static str>, EngineError> {
    let (add, drop) = (&host.cap_add, &host.cap_drop);
    let set = wharf_bundle::capabilities(host.privileged, add, drop, available());
    set.map_err(|error| EngineError::Invalid(error.to_string()))
}

/// The daemon's own bounding set; all, if the kernel does not say.
fn available() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.unwrap_or(u64::MAX)
}
