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
    /// `tcp://host:port`, plain HTTP.
    Tcp(String),
}

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint::Unix(PathBuf::from(DEFAULT_SOCKET))
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    /// Parses `unix://PATH`, `tcp://HOST[:PORT]`, `http://HOST:PORT`, or a bare `HOST:PORT` / `:PORT`,
    /// with Docker's default port 2375.
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
        let address = match text.split_once("://") {
            Some(("tcp" | "http", rest)) => rest.trim_end_matches('/'),
            Some(_) => return Err(Error::BadHost(text.to_owned())),
            None => text,
        };
        if address.is_empty() && text.contains("://") {
            return Ok(Endpoint::Tcp("localhost:2375".to_owned()));
        }
        match address.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() => {
                let host = if host.is_empty() { "localhost" } else { host };
                Ok(Endpoint::Tcp(format!("{host}:{port}")))
            }
            None if text.contains("://") => Ok(Endpoint::Tcp(format!("{address}:2375"))),
            _ => Err(Error::BadHost(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
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
        assert!("ftp://x".parse::<Endpoint>().is_err());
        assert!("nonsense".parse::<Endpoint>().is_err());
    }
}
