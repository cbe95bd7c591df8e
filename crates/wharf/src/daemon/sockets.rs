//! The sockets that the API is served on.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use listenfd::ListenFd;
use rustix::fs::{Gid, chown};
use tokio::net::{TcpListener, UnixListener};
use wharf_api_server::{Clients, Listener, TlsAcceptor};

use super::accounts;
use super::settings::Settings;
use super::tls::Tls;

/// The default socket.
const DEFAULT: &str = "/run/wharf.sock";
/// The first descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_PASSED: usize = 3;

/// Where the API is served, as `-H` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// `unix://PATH`.
    Unix(PathBuf),
    /// `tcp://NAME:PORT`.
    Tcp {
        /// A name or an address, an IPv6 one in brackets.
        name: String,
        port: u16,
    },
    /// `fd://`: sockets that systemd has bound for us.
    Inherited(Passed),
}

/// Which of systemd's sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// `fd://` and `fd://*`.
    All,
    /// `fd://3`: a descriptor.
    Descriptor(usize),
    /// `fd://NAME`: `FileDescriptorName=`, or the name of the socket's unit.
    Named(String),
}

impl Default for Host {
    fn default() -> Self {
        Self::Unix(DEFAULT.into())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { name, port } => write!(f, "tcp://{name}:{port}"),
            Self::Inherited(Passed::All) => f.write_str("fd://"),
            Self::Inherited(Passed::Descriptor(number)) => write!(f, "fd://{number}"),
            Self::Inherited(Passed::Named(name)) => write!(f, "fd://{name}"),
        }
    }
}

impl Host {
    /// With all that dockerd adds: `tcp://` where nothing is said, `localhost`, the port of Docker, the default socket.
    pub(super) fn of(text: &str, has_tls: bool) -> Result<Self> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match (scheme, rest) {
            _ if text.is_empty() => Ok(Self::default()),
            ("unix", "") => Ok(Self::default()),
            ("unix", path) => Ok(Self::Unix(path.into())),
            ("fd", which) => Ok(Self::Inherited(Passed::of(which))),
            ("tcp", address) => Self::tcp(address, if has_tls { 2376 } else { 2375 })
                .with_context(|| format!("invalid bind address ({text})")),
            _ => bail!("invalid bind address ({text}): use unix://PATH, tcp://HOST:PORT or fd://"),
        }
    }

    fn tcp(address: &str, default_port: u16) -> Result<Self> {
        let (name, port) = match address.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().context("port")?),
            _ => (address, default_port),
        };
        let name = if name.is_empty() { "localhost" } else { name };
        let name = name.to_owned();
        Ok(Self::Tcp { name, port })
    }
}

impl Passed {
    fn of(which: &str) -> Self {
        match (which, which.parse()) {
            ("" | "*", _) => Self::All,
            (_, Ok(number)) => Self::Descriptor(number),
            (name, Err(_)) => Self::Named(name.to_owned()),
        }
    }

    /// Whether it is the socket at `index`, which has this name.
    fn is(&self, index: usize, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Descriptor(number) => *number == index + FIRST_PASSED,
            Self::Named(wanted) => wanted == name,
        }
    }
}

/// What of the settings would keep [`bind`] from its work, without binding anything.
pub(super) fn check(settings: &Settings) -> Result<()> {
    settings.tls.as_ref().map(Tls::server).transpose()?;
    if let Some(group) = &settings.group {
        group_id(group)?;
    }
    for host in &settings.hosts {
        // What a name stands for may be another thing when it is bound.
        if let Host::Tcp { name, .. } = host
            && let Ok(address) = name.trim_matches(['[', ']']).parse()
        {
            allowed(address, host, settings.tls.as_ref())?;
        }
    }
    Ok(())
}

/// Names of hosts that clients may call these sockets by.
pub(super) fn names(hosts: &[Host]) -> Vec<String> {
    let names = hosts.iter().filter_map(|host| match host {
        Host::Tcp { name, .. } => Some(name.trim_end_matches('.').to_owned()),
        Host::Unix(_) | Host::Inherited(_) => None,
    });
    names.collect()
}

/// Binds all of them.
pub(super) fn bind(settings: &Settings) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    // Once: what has been taken is not there any more.
    let mut passed = ListenFd::from_env();
    let tls = settings.tls.as_ref();
    for host in &settings.hosts {
        match host {
            Host::Unix(path) => listeners.push(unix(path, settings.group.as_deref())?),
            Host::Tcp { name, port } => {
                let listener = std::net::TcpListener::bind(format!("{name}:{port}"));
                let listener = listener.with_context(|| format!("listen on {host}"))?;
                listeners.push(guarded(listener, tls)?);
            }
            Host::Inherited(which) => listeners.extend(inherited(&mut passed, which, tls)?),
        }
    }
    Ok(listeners)
}

/// A socket file without a listener is a dead daemon's: the data root's lock says that no other lives.
fn unix(path: &Path, group: Option<&str>) -> Result<Listener> {
    // Before anything is there that would be served with another group.
    let gid = match group {
        Some(name) => Some(group_id(name)?),
        None => ["wharf", "docker"].into_iter().find_map(accounts::group),
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("another daemon listens on {}", path.display());
    }
    let _ = std::fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    if let Some(gid) = gid {
        chown(path, None, Some(Gid::from_raw(gid))).context("set the socket's group")?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(Listener::Unix(listener))
}

/// The number of a group that is named or numbered.
fn group_id(group: &str) -> Result<u32> {
    let number = group.parse().ok();
    let found = number.or_else(|| accounts::group_of_any_source(group));
    found.with_context(|| format!("group {group} not found"))
}

/// Without certificates of clients everybody who reaches the port is root: loopback only.
fn allowed(address: IpAddr, shown: &dyn fmt::Display, tls: Option<&Tls>) -> Result<()> {
    let verified = tls.is_some_and(|tls| tls.verify);
    ensure!(
        verified || address.is_loopback(),
        "{shown}: who reaches this address would be root here: use --tlsverify, or a loopback address"
    );
    Ok(())
}

fn guarded(listener: std::net::TcpListener, tls: Option<&Tls>) -> Result<Listener> {
    let config = tls.map(Tls::server).transpose()?;
    let clients = match tls.is_some_and(|tls| tls.verify) {
        true => Clients::Certified,
        false => Clients::Anybody,
    };
    let address = listener.local_addr()?;
    allowed(address.ip(), &format_args!("tcp://{address}"), tls)?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    Ok(match config {
        Some(config) => Listener::Tls(listener, TlsAcceptor::from(config), clients),
        None => Listener::Tcp(listener),
    })
}

/// Sockets that systemd has bound for us; in dockerd's words.
fn inherited(passed: &mut ListenFd, which: &Passed, tls: Option<&Tls>) -> Result<Vec<Listener>> {
    ensure!(
        passed.len() > 0,
        "no sockets found via socket activation: make sure the service was started by systemd"
    );
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<_> = names.split(':').collect();
    let name = |index: usize| names.get(index).copied().unwrap_or_default();
    let wanted: Vec<_> = (0..passed.len())
        .filter(|index| which.is(*index, name(*index)))
        .collect();
    match which {
        Passed::Descriptor(_) if wanted.is_empty() => {
            bail!("too few socket activated files passed in by systemd")
        }
        Passed::Named(name) if wanted.is_empty() => {
            bail!("no socket of the name {name} found via socket activation")
        }
        _ => {}
    }
    let listeners = wanted.into_iter().map(|index| take(passed, index, tls));
    listeners.collect()
}

fn take(passed: &mut ListenFd, index: usize, tls: Option<&Tls>) -> Result<Listener> {
    if let Ok(Some(socket)) = passed.take_unix_listener(index) {
        socket.set_nonblocking(true)?;
        return Ok(Listener::Unix(UnixListener::from_std(socket)?));
    }
    match passed.take_tcp_listener(index) {
        Ok(Some(socket)) => guarded(socket, tls),
        _ => bail!(
            "failed to listen on systemd activated file: fd {}",
            index + FIRST_PASSED
        ),
    }
}

/// Takes the socket files away.
pub(super) fn remove(settings: &Settings) {
    for host in &settings.hosts {
        if let Host::Unix(path) = host {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_leaves_out_is_dockerds() {
        let check = |host: &str, has_tls: bool| {
            let host = Host::of(host, has_tls).ok()?;
            Some(host.to_string())
        };
        for (host, expected) in [
            ("", "unix:///run/wharf.sock"),
            ("unix://", "unix:///run/wharf.sock"),
            ("unix:///a", "unix:///a"),
            ("fd://", "fd://"),
            ("fd://*", "fd://"),
            ("fd://3", "fd://3"),
            ("fd://api.socket", "fd://api.socket"),
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

    #[test]
    fn a_passed_socket_is_known_by_number_or_name() {
        let taken = |which: &str| {
            let which = Passed::of(which);
            let passed = ["wharf.socket", "tcp", "tcp"].into_iter().enumerate();
            let taken = passed.filter(|(index, name)| which.is(*index, name));
            taken.map(|(index, _)| index).collect::<Vec<_>>()
        };
        assert_eq!(taken(""), [0, 1, 2]);
        assert_eq!(taken("4"), [1]);
        assert_eq!(taken("tcp"), [1, 2]);
        assert!(taken("0").is_empty() && taken("other").is_empty());
    }
}
