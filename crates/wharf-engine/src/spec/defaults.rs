//! What every container gets: Docker's default capabilities, masked and read-only paths (moby `oci/defaults.go`).

use crate::{EngineError, HostConfig};

/// Paths that a container cannot see.
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

const DEFAULT: &[&str] = &[
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

/// All of `linux/capability.h`, by number.
const ALL: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The full name of a capability as it is typed (`net_admin`, `CAP_NET_ADMIN`, `ALL`).
pub(crate) fn capability(typed: &str, option: &str) -> Result<&'static str, EngineError> {
    let upper = typed.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok("ALL");
    }
    let name = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    let known = ALL.iter().find(|known| **known == name);
    known.copied().ok_or_else(|| {
        EngineError::Invalid(format!("invalid {option}: unknown capability: {name:?}"))
    })
}

/// moby `oci/caps.TweakCapabilities`: `ALL` first, then what is added, then what is dropped.
pub(super) fn capabilities(host: &HostConfig) -> Result<Vec<&'static str>, EngineError> {
    if host.privileged {
        return Ok(ALL.to_vec());
    }
    let names = |list: &[String], option| {
        list.iter()
            .map(|typed| capability(typed, option))
            .collect::<Result<Vec<_>, _>>()
    };
    let (add, drop) = (
        names(&host.cap_add, "CapAdd")?,
        names(&host.cap_drop, "CapDrop")?,
    );
    let base = match (add.contains(&"ALL"), drop.contains(&"ALL")) {
        (true, _) => ALL,
        (_, true) => &[],
        _ => DEFAULT,
    };
    let mut capabilities = base.to_vec();
    if !add.contains(&"ALL") {
        capabilities.extend(add.into_iter().filter(|name| !base.contains(name)));
    }
    // `--cap-drop ALL --cap-add X` keeps X; a single drop wins over an add.
    capabilities.retain(|name| !drop.contains(name));
    Ok(capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let host = HostConfig {
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostConfig::default()
        };
        capabilities(&host).unwrap()
    }

    #[test]
    fn tweaks_as_docker() {
        assert_eq!(of(&[], &[]).len(), 14);
        assert_eq!(of(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(of(&["ALL"], &["CAP_SYS_ADMIN"]).len(), ALL.len() - 1);
        assert!(!of(&[], &["MKNOD"]).contains(&"CAP_MKNOD"));
        let error = capability("foo", "CapAdd").unwrap_err().to_string();
        assert_eq!(error, "invalid CapAdd: unknown capability: \"CAP_FOO\"");
    }
}
