//! Which kernel settings are a container's own, in runc's words (runc, `libcontainer/configs/validate`).

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

/// Which namespaces with settings are the container's own: not the host's.
#[derive(Clone, Copy, Debug)]
pub struct OwnNamespaces {
    /// `net.*`
    pub network: bool,
    /// System V IPC and POSIX message queues
    pub ipc: bool,
    /// The domain's name
    pub uts: bool,
}

/// Refuses a setting that is the host's.
///
/// # Errors
/// What runc says.
pub fn check_sysctl(key: &str, own: OwnNamespaces) -> Result<(), String> {
    let key = wharf_sys::setting::dotted(key);
    let refused = |why: &str| Err(format!("sysctl {key:?} {why}"));
    match &*key {
        name if IPC.contains(&name) || name.starts_with("fs.mqueue.") => match own.ipc {
            true => Ok(()),
            false => refused("is not allowed in the hosts ipc namespace"),
        },
        name if name.starts_with("net.") => match own.network {
            true => Ok(()),
            false => refused("not allowed in host network namespace"),
        },
        "kernel.domainname" if own.uts => Ok(()),
        "kernel.hostname" if own.uts => {
            refused("is not allowed as it conflicts with the OCI \"hostname\" field")
        }
        _ => refused("is not in a separate kernel namespace"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_host_are_refused() {
        let all = |is_own| OwnNamespaces {
            network: is_own,
            ipc: is_own,
            uts: is_own,
        };
        let (own, host) = (all(true), all(false));
        for key in [
            "kernel.shmmax",
            "fs.mqueue.msg_max",
            "net.ipv4.ip_forward",
            "net/ipv4/conf/eth0.1/forwarding",
            "kernel.domainname",
        ] {
            assert_eq!(check_sysctl(key, own), Ok(()), "{key}");
            assert!(check_sysctl(key, host).is_err(), "{key}");
        }
        for key in ["vm.swappiness", "kernel.hostname", "kernel/panic"] {
            assert!(check_sysctl(key, own).is_err(), "{key}");
        }
    }
}
