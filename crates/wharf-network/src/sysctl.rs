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
