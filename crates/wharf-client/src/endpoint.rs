//! Where the daemon listens, as written in `-H`, `WHARF_HOST` and `DOCKER_HOST`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::Error;

/// The socket a daemon listens on when nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/wharf.sock";

/// Address of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path/of/socket`
    Unix(PathBuf),
    /// `tcp://host:port`, HTTP or HTTPS.
    Tcp {
        /// `host:port`
        address: String,
        /// What paths begin with, without a slash at its end; empty for most.
        base: String,
    },
    /// `ssh://[user@]host[:port]`
    Ssh(SshHost),
}

/// A machine that is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    /// Who to be there; ssh's own settings decide if nobody is named.
    pub user: Option<String>,
    /// Its name for ssh.
    pub name: String,
    /// Port of its ssh.
    pub port: Option<u16>,
    /// The daemon's socket there, if it is not the usual one.
    pub socket: Option<String>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint::Unix(PathBuf::from(DEFAULT_SOCKET))
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Parses `unix://PATH`, `ssh://[USER@]HOST[:PORT][/SOCKET]`, `tcp://HOST[:PORT][/PREFIX]`, `http://HOST:PORT`, or a
    /// bare `HOST:PORT` / `:PORT`, with Docker's default port 2375.
    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix://") {
            let path = if path.is_empty() {
                DEFAULT_SOCKET
            } else {
                path
            };
            return Ok(Endpoint::Unix(PathBuf::from(path)));
        }
        let bad = || Error::BadHost(text.to_owned());
        match text.split_once("://") {
            Some(("ssh", rest)) => ssh(rest).map(Endpoint::Ssh).ok_or_else(bad),
            Some(("tcp" | "http", rest)) => {
                let (host, base) = match rest.find('/') {
                    Some(at) => (&rest[..at], rest[at..].trim_end_matches('/')),
                    None => (rest, ""),
                };
                tcp(host, base).ok_or_else(bad)
            }
            // Without a scheme there is nothing but a port to know an address by.
            None if text.contains(':') => tcp(text, "").ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

/// `HOST[:PORT]`; an address of IPv6 is in brackets.
fn tcp(host: &str, base: &str) -> Option<Endpoint> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()?),
        _ => (host, 2375),
    };
    let name = if name.is_empty() { "localhost" } else { name };
    Some(Endpoint::Tcp {
        address: format!("{name}:{port}"),
        base: base.to_owned(),
    })
}

fn ssh(text: &str) -> Option<SshHost> {
    let (host, socket) = match text.find('/') {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, host),
    };
    // A password, which ssh does not take, is refused as Docker's client does.
    if user.is_some_and(|user| user.is_empty() || user.contains(':')) {
        return None;
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port.parse::<u16>().ok()?)),
        _ => (host, None),
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    // ssh would take it for an option.
    if name.is_empty() || name.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
        return None;
    }
    Some(SshHost {
        user: user.map(str::to_owned),
        name: name.to_owned(),
        port,
        socket: socket.filter(|path| *path != "/").map(str::to_owned),
    })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp { address, base } => write!(f, "tcp://{address}{base}"),
            Endpoint::Ssh(host) => {
                f.write_str("ssh://")?;
                if let Some(user) = &host.user {
                    write!(f, "{user}@")?;
                }
                match host.name.contains(':') {
                    true => write!(f, "[{}]", host.name)?,
                    false => f.write_str(&host.name)?,
                }
                if let Some(port) = host.port {
                    write!(f, ":{port}")?;
                }
                f.write_str(host.socket.as_deref().unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, shown: &str) {
        assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
    }

    #[test]
    fn forms_of_a_host() {
        check("unix:///run/x.sock", "unix:///run/x.sock");
        check("unix://", "unix:///run/wharf.sock");
        check("tcp://1.2.3.4:99", "tcp://1.2.3.4:99");
        check("tcp://1.2.3.4", "tcp://1.2.3.4:2375");
        check("tcp://:2375", "tcp://localhost:2375");
        check("host:99", "tcp://host:99");
        check("tcp://[::1]", "tcp://[::1]:2375");
        check("tcp://[::1]:99", "tcp://[::1]:99");
        check("tcp://1.2.3.4:99/prefix/", "tcp://1.2.3.4:99/prefix");
        check("ssh://me@host:22/run/x.sock", "ssh://me@host:22/run/x.sock");
        check("ssh://[::1]:22", "ssh://[::1]:22");
        for bad in ["ssh://", "ssh://a:b@host", "ssh://-oX=y", "ssh://host:x"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
        assert!("ftp://x".parse::<Endpoint>().is_err());
        assert!("nonsense".parse::<Endpoint>().is_err());
    }
}
