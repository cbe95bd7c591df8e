//! Which kernel settings are a container's own, in runc's words (runc, `libcontainer/configs/validate`).

use crate::spec::{Namespace, Namespaces};

/// Settings of the namespace of System V IPC.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Refuses a setting that is the host's.
///
/// # Errors
/// What runc says.
pub(crate) fn check(key: &str, namespaces: &Namespaces) -> Result<(), String> {
    let key = normal(key);
    if IPC.contains(&&*key) || key.starts_with("fs.mqueue.") {
        return match namespaces.ipc {
            Namespace::Host => Err(format!(
                "sysctl {key:?} is not allowed in the hosts ipc namespace"
            )),
            Namespace::Private | Namespace::Path(_) => Ok(()),
        };
    }
    if key.starts_with("net.") {
        return match namespaces.network {
            Namespace::Host => Err(format!(
                "sysctl {key:?} not allowed in host network namespace"
            )),
            Namespace::Private | Namespace::Path(_) => Ok(()),
        };
    }
    match (&*key, &namespaces.uts) {
        ("kernel.domainname", Namespace::Private | Namespace::Path(_)) => Ok(()),
        ("kernel.hostname", Namespace::Private | Namespace::Path(_)) => Err(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )),
        _ => Err(format!(
            "sysctl {key:?} is not in a separate kernel namespace"
        )),
    }
}

/// With dots between the names (`sysctl(8)`: whichever of dot and slash comes first, parts them).
fn normal(key: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    match key.find(['.', '/']).map(|at| key.as_bytes()[at]) {
        Some(b'/') => key.chars().map(swap).collect(),
        _ => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_host_are_refused() {
        let own = Namespaces::default();
        let host = Namespaces {
            network: Namespace::Host,
            ipc: Namespace::Host,
            uts: Namespace::Host,
            ..Namespaces::default()
        };
        for key in [
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.1/forwarding",
            "kernel.domainname",
        ] {
            assert_eq!(check(key, &own), Ok(()), "{key}");
            assert!(check(key, &host).is_err(), "{key}");
        }
        for key in ["vm.swappiness", "kernel.hostname", "kernel/panic"] {
            assert!(check(key, &own).is_err(), "{key}");
        }
    }
}
