//! Capabilities in Docker's words.

use crate::defaults::CAPABILITIES;

/// All capabilities, each at its number (`linux/capability.h`, Linux 5.9).
const ALL: [&str; 41] = [
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

/// A word that names no capability.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid {list}: unknown capability: \"{name}\"")]
pub struct CapabilityError {
    /// `CapAdd` or `CapDrop`.
    pub list: &'static str,
    /// The word, normalised.
    pub name: String,
}

/// The set that `add` and `drop` make of the default one, as moby's `oci/caps` does: `ALL` may stand in either;
/// what is added by name stays although `ALL` is dropped. `available` is the host's bounding set.
///
/// # Errors
/// If a word names no capability.
pub fn capabilities(
    privileged: bool,
    add: &[String],
    drop: &[String],
    available: u64,
) -> Result<Vec<&'static str>, CapabilityError> {
    let add = named("CapAdd", add)?;
    let drop = named("CapDrop", drop)?;
    let has = |list: &[&str], name: &str| list.contains(&name);
    let offered = ALL
        .iter()
        .enumerate()
        .filter(|(bit, _)| available & (1 << bit) != 0);
    let kept = offered.map(|(_, name)| *name).filter(|name| {
        if privileged {
            return true;
        }
        let dropped = has(&drop, name);
        let default = CAPABILITIES.contains(name);
        match (has(&add, "ALL"), has(&drop, "ALL")) {
            (true, _) => !dropped,
            (false, true) => has(&add, name),
            (false, false) => (default && !dropped) || has(&add, name),
        }
    });
    Ok(kept.collect())
}

fn named(list: &'static str, words: &[String]) -> Result<Vec<&'static str>, CapabilityError> {
    let find = |word: &String| {
        let upper = word.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok("ALL");
        }
        let name = if upper.starts_with("CAP_") {
            upper
        } else {
            format!("CAP_{upper}")
        };
        let known = ALL.iter().find(|known| **known == name).copied();
        known.ok_or(CapabilityError { list, name })
    };
    words.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(add: &[&str], drop: &[&str]) -> Result<Vec<&'static str>, CapabilityError> {
        let own = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        capabilities(false, &own(add), &own(drop), u64::MAX)
    }

    #[test]
    fn words_are_read_as_docker_reads_them() {
        assert_eq!(set(&[], &[]).expect("set").len(), 14);
        assert_eq!(
            set(&["net_admin"], &["ALL"]).expect("set"),
            ["CAP_NET_ADMIN"]
        );
        assert_eq!(set(&["ALL"], &["CAP_SYS_ADMIN"]).expect("set").len(), 40);
        assert!(!set(&[], &["chown"]).expect("set").contains(&"CAP_CHOWN"));
        let error = set(&["nonsense"], &[]).expect_err("unknown").to_string();
        assert_eq!(
            error,
            "invalid CapAdd: unknown capability: \"CAP_NONSENSE\""
        );
    }

    #[test]
    fn a_privileged_one_gets_what_there_is() {
        assert_eq!(
            capabilities(true, &[], &[], 0b101).expect("set"),
            ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"]
        );
    }
}
