//! Kernel settings of the calling thread's network namespace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::NetworkError;

/// Writes `value` to a setting below `/proc/sys` if it has another one. One that the kernel does not have is
/// left alone: then the feature is not there either.
pub(crate) fn set(name: &str, value: &str) -> Result<(), NetworkError> {
    let path: PathBuf = Path::new("/proc/sys").join(name);
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    match fs::write(&path, value) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NetworkError::Sysctl { path, source }),
        Ok(()) => Ok(()),
    }
}

/// Switches the forwarding of IPv6 on. The kernel takes a router's own advertisements for others' unless told: links
/// that listen to them go on doing so.
pub(crate) fn forward_ipv6() -> Result<(), NetworkError> {
    const FORWARDING: &str = "net/ipv6/conf/all/forwarding";
    let path = Path::new("/proc/sys").join(FORWARDING);
    if fs::read_to_string(&path).is_ok_and(|current| current.trim() == "1") {
        return Ok(());
    }
    // A kernel without IPv6 has none of these.
    for link in fs::read_dir("/proc/sys/net/ipv6/conf")
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = link.file_name();
        let listens = fs::read_to_string(link.path().join("accept_ra"));
        if listens.is_ok_and(|value| value.trim() == "1")
            && let Some(name) = name
                .to_str()
                .filter(|name| !matches!(*name, "all" | "default"))
        {
            set(&format!("net/ipv6/conf/{name}/accept_ra"), "2")?;
        }
    }
    set("net/ipv6/conf/default/forwarding", "1")?;
    set(FORWARDING, "1")
}

/// Writes `value` to a setting below `/proc/sys` that a user named: it must be there.
pub(crate) fn set_known(name: &str, value: &str) -> Result<(), NetworkError> {
    let path: PathBuf = Path::new("/proc/sys").join(name);
    fs::write(&path, value).map_err(|source| NetworkError::Sysctl { path, source })
}

/// The range that the kernel takes ephemeral ports from, else Docker's own fallback.
pub(crate) fn ephemeral_ports() -> (u16, u16) {
    let parse = || {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
        let mut words = text.split_whitespace();
        let range = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (range.0 <= range.1).then_some(range)
    };
    parse().unwrap_or((49153, 65535))
}
