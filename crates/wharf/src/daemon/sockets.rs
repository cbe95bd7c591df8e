//! The sockets that the API is served on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Gid, chown};
use tokio::net::{TcpListener, UnixListener};
use wharf_api_server::{Listener, TlsAcceptor};

use super::settings::Settings;
use super::tls::Tls;

/// Binds all of them.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for host in &settings.hosts {
        match host.split_once("://") {
            Some(("unix", path)) => {
                listeners.push(unix(Path::new(path), settings.group.as_deref())?)
            }
            Some(("tcp", address)) => listeners.push(tcp(address, settings.tls.as_ref())?),
            Some(("fd", _)) => listeners.extend(inherited()?),
            _ => bail!("invalid bind address ({host}): use unix://PATH, tcp://HOST:PORT or fd://"),
        }
    }
    Ok(listeners)
}

/// A socket file without a listener is a dead daemon's: the data root's lock says that no other lives.
fn unix(path: &Path, group: Option<&str>) -> Result<Listener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another daemon listens on {}", path.display());
    }
    let _ = std::fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    let gid = match group {
        Some(name) => Some(group_id(name).with_context(|| format!("group {name} not found"))?),
        None => ["wharf", "docker"].into_iter().find_map(group_id),
    };
    if let Some(gid) = gid {
        chown(path, None, Some(Gid::from_raw(gid))).context("set the socket's group")?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(Listener::Unix(listener))
}

fn group_id(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    let line = groups
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// Without certificates of clients everybody who reaches the port is root: loopback only.
fn tcp(address: &str, tls: Option<&Tls>) -> Result<Listener> {
    let config = tls.map(Tls::server).transpose()?;
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("listen on tcp://{address}"))?;
    let verified = tls.is_some_and(|tls| tls.verify);
    if !verified && !listener.local_addr()?.ip().is_loopback() {
        bail!(
            "tcp://{address}: who reaches this address would be root here: use --tlsverify, or a loopback address"
        );
    }
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(match config {
        Some(config) => Listener::Tls(listener, TlsAcceptor::from(config)),
        None => Listener::Tcp(listener),
    })
}

/// Sockets that systemd has bound for us.
fn inherited() -> Result<Vec<Listener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            socket.set_nonblocking(true)?;
            listeners.push(Listener::Unix(UnixListener::from_std(socket)?));
        }
    }
    if listeners.is_empty() {
        bail!(
            "no sockets found via socket activation: make sure the service was started by systemd"
        );
    }
    Ok(listeners)
}

/// Takes the socket files away.
pub(super) fn remove(settings: &Settings) {
    let paths = settings
        .hosts
        .iter()
        .filter_map(|host| host.strip_prefix("unix://"));
    for path in paths {
        let _ = std::fs::remove_file(path);
    }
}
