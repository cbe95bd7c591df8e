//! The sockets that the API is served on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{Gid, chown};
use tokio::net::{TcpListener, UnixListener};
use wharf_api_server::{Listener, TlsAcceptor};

use super::settings::{DEFAULT_HOST, Settings};
use super::tls::Tls;

/// A host as `-H` may say it, with all that dockerd adds: `tcp://` where nothing is said, `localhost`, the port of Docker, the
/// default socket.
pub(super) fn whole(host: &str, has_tls: bool) -> Result<String> {
    let host = host.trim();
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let port = if has_tls { 2376 } else { 2375 };
    match (scheme, rest) {
        _ if host.is_empty() => Ok(DEFAULT_HOST.to_owned()),
        ("unix", "") => Ok(DEFAULT_HOST.to_owned()),
        ("unix" | "fd", _) => Ok(host.to_owned()),
        ("tcp", rest) => {
            let (name, port) = match rest.rsplit_once(':') {
                Some((name, given)) if !given.ends_with(']') => {
                    let given = given.parse::<u16>();
                    (
                        name,
                        given.with_context(|| format!("invalid bind address ({host}): port"))?,
                    )
                }
                _ => (rest, port),
            };
            let name = if name.is_empty() { "localhost" } else { name };
            Ok(format!("tcp://{name}:{port}"))
        }
        _ => bail!("invalid bind address ({host}): use unix://PATH, tcp://HOST:PORT or fd://"),
    }
}

/// Binds all of them.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for host in &settings.hosts {
        match host.split_once("://") {
            Some(("unix", path)) => {
                listeners.push(unix(Path::new(path), settings.group.as_deref())?)
            }
            Some(("tcp", address)) => listeners.push(tcp(address, settings.tls.as_ref())?),
            Some(("fd", _)) => listeners.extend(inherited(settings.tls.as_ref())?),
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
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("listen on tcp://{address}"))?;
    guarded(listener, tls)
}

fn guarded(listener: std::net::TcpListener, tls: Option<&Tls>) -> Result<Listener> {
    let config = tls.map(Tls::server).transpose()?;
    let address = listener.local_addr()?;
    let verified = tls.is_some_and(|tls| tls.verify);
    if !verified && !address.ip().is_loopback() {
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
fn inherited(tls: Option<&Tls>) -> Result<Vec<Listener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Ok(Some(socket)) = passed.take_unix_listener(index) {
            socket.set_nonblocking(true)?;
            listeners.push(Listener::Unix(UnixListener::from_std(socket)?));
        } else if let Ok(Some(socket)) = passed.take_tcp_listener(index) {
            listeners.push(guarded(socket, tls)?);
        } else {
            bail!("socket activation: number {index} is no socket that the API can be served on");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_leaves_out_is_dockerds() {
        let check = |host: &str, has_tls: bool| whole(host, has_tls).ok();
        for (host, expected) in [
            ("", DEFAULT_HOST),
            ("unix://", DEFAULT_HOST),
            ("unix:///a", "unix:///a"),
            ("fd://", "fd://"),
            (":5000", "tcp://localhost:5000"),
            ("tcp://", "tcp://localhost:2375"),
            ("tcp://:2376", "tcp://localhost:2376"),
            ("tcp://127.0.0.1", "tcp://127.0.0.1:2375"),
            ("tcp://[::1]", "tcp://[::1]:2375"),
            ("tcp://[::1]:80", "tcp://[::1]:80"),
        ] {
            assert_eq!(check(host, false).as_deref(), Some(expected), "{host}");
        }
        assert_eq!(
            check("tcp://", true).as_deref(),
            Some("tcp://localhost:2376")
        );
        for wrong in ["tcp://a:port", "ftp://a", "tcp://a:70000"] {
            assert_eq!(check(wrong, false), None, "{wrong}");
        }
    }
}
