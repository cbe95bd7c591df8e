//! dockerd's defaults (moby `oci/defaults.go`, `oci/caps/defaults.go`).

/// The capabilities of a container that asks for none.
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// What is hidden of a container that is not privileged, unless its settings say otherwise.
pub const MASKED: &[&str] = &[
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

/// What such a container can only read.
pub const READONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Device rules: kind, numbers (-1: any), access. All else is denied.
pub(crate) const DEVICES: &[(char, i64, i64, &str)] = &[
    ('c', -1, -1, "m"),
    ('b', -1, -1, "m"),
    ('c', 1, 3, "rwm"),
    ('c', 1, 5, "rwm"),
    ('c', 1, 7, "rwm"),
    ('c', 1, 8, "rwm"),
    ('c', 1, 9, "rwm"),
    ('c', 5, 0, "rwm"),
    ('c', 5, 1, "rwm"),
    ('c', 5, 2, "rwm"),
    ('c', 136, -1, "rwm"),
];
