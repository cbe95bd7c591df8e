//! Settings of the registry client, with Docker's defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use crate::RegistryError;

/// Settings of the client, as `daemon.json` has them.
#[derive(Debug, Clone)]
pub struct Config {
    /// `registry-mirrors`: base addresses that are tried, in order, before Docker Hub (and only for Docker Hub).
    pub mirrors: Vec<String>,
    /// `registries`: mirrors of any registry, by prefix; they are tried before those above and the registry itself.
    pub registries: Vec<crate::MirrorRule>,
    /// `insecure-registries`: `host`, `host:port` or a CIDR block. These may speak HTTP, or HTTPS with any certificate.
    pub insecure: Vec<String>,
    /// Whether those may be spoken to by HTTP; else by TLS alone, with any certificate.
    pub plain_http: bool,
    /// Proxies on the way to registries.
    pub proxies: crate::Proxies,
    /// Folder with `HOST[:PORT]/{*.crt,*.cert,*.key}`; Docker's is `/etc/docker/certs.d`.
    pub certs_dir: PathBuf,
    /// `max-concurrent-downloads`: blobs that are fetched at the same time, over all pulls.
    pub max_concurrent_downloads: usize,
    /// `max-concurrent-uploads`: layers that are sent at the same time, over all pushes.
    pub max_concurrent_uploads: usize,
    /// `User-Agent` of every request.
    pub user_agent: String,
    /// Time for a name lookup and a connection with its handshake.
    pub connect_timeout: Duration,
    /// Time without a single byte after which a connection counts as broken.
    pub stall_timeout: Duration,
    /// How often a request or a transfer that makes no progress is tried again.
    pub retries: u32,
    /// Wait before the first retry; each further one waits longer by this much, as Docker does.
    pub retry_delay: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            mirrors: Vec::new(),
            registries: Vec::new(),
            insecure: Vec::new(),
            plain_http: true,
            proxies: crate::Proxies::default(),
            certs_dir: PathBuf::from("/etc/docker/certs.d"),
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 5,
            user_agent: format!("wharf/{}", env!("CARGO_PKG_VERSION")),
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            retries: 5,
            retry_delay: Duration::from_secs(5),
        }
    }
}

impl Config {
    /// Checks the settings that have a form: mirrors and insecure registries.
    ///
    /// # Errors
    /// [`RegistryError::Config`] with Docker's text.
    pub fn validate(&self) -> Result<(), RegistryError> {
        for mirror in &self.mirrors {
            mirror_uri(mirror)?;
        }
        for rule in &self.registries {
            rule.validate()?;
        }
        self.proxies.validate()?;
        for entry in &self.insecure {
            if entry.contains("://") {
                return Err(RegistryError::Config(format!(
                    "insecure registry {entry} should not contain '://'"
                )));
            }
            if let Some((address, prefix)) = entry.split_once('/')
                && (address.parse::<IpAddr>().is_err() || prefix.parse::<u8>().is_err())
            {
                return Err(RegistryError::Config(format!(
                    "insecure registry {entry} is not valid: invalid CIDR address: {entry}"
                )));
            }
        }
        Ok(())
    }

    /// Whether `authority` (`host` or `host:port`) may be spoken to without TLS or with any certificate:
    /// loopback always, and what `insecure-registries` says.
    pub(crate) fn is_insecure(&self, authority: &str) -> bool {
        let host = host_of(authority);
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        if host == "localhost" || address.is_some_and(is_loopback) {
            return true;
        }
        self.insecure.iter().any(|entry| {
            entry == authority
                || entry == host
                || address.is_some_and(|address| in_block(entry, address))
        })
    }
}

/// The host part of `host[:port]`; an IPv6 address keeps its brackets.
pub(crate) fn host_of(authority: &str) -> &str {
    if let Some(end) = authority.find(']') {
        return &authority[..=end];
    }
    authority.split(':').next().unwrap_or(authority)
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.octets()[0] == 127,
        IpAddr::V6(v6) => v6 == Ipv6Addr::LOCALHOST,
    }
}

fn in_block(block: &str, address: IpAddr) -> bool {
    let Some((network, prefix)) = block.split_once('/') else {
        return false;
    };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let bits = |ip: Ipv4Addr| u32::from(ip).checked_shr(32u32.saturating_sub(prefix));
            prefix <= 32 && bits(a) == bits(b)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let bits = |ip: Ipv6Addr| u128::from(ip).checked_shr(128u32.saturating_sub(prefix));
            prefix <= 128 && bits(a) == bits(b)
        }
        _ => false,
    }
}

/// Parses a mirror's base address, without a slash at the end.
pub(crate) fn mirror_uri(mirror: &str) -> Result<Uri, RegistryError> {
    let invalid = |why: &str| RegistryError::Config(format!("invalid mirror: {why}"));
    let uri: Uri = mirror
        .trim_end_matches('/')
        .parse()
        .map_err(|_| invalid(&format!("{mirror:?} is not a valid URI")))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        scheme => {
            return Err(invalid(&format!(
                "unsupported scheme {:?} in {mirror:?}",
                scheme.unwrap_or_default()
            )));
        }
    }
    if uri.query().is_some() || mirror.contains('#') {
        return Err(invalid(&format!(
            "query or fragment at end of the URI {mirror:?}"
        )));
    }
    if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
        return Err(invalid(&format!(
            "username/password not allowed in URI {mirror:?}"
        )));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_may_be_insecure() {
        let config = Config {
            insecure: vec!["reg.lan".into(), "reg2:5000".into(), "10.1.0.0/16".into()],
            ..Config::default()
        };
        for yes in [
            "localhost:5000",
            "localhost",
            "127.3.2.1:80",
            "[::1]:5000",
            "reg.lan:99",
            "reg2:5000",
            "10.1.9.9:5000",
        ] {
            assert!(config.is_insecure(yes), "{yes}");
        }
        for no in ["reg2", "reg2:5001", "10.2.0.1:5000", "example.org", "[::2]"] {
            assert!(!config.is_insecure(no), "{no}");
        }
    }

    #[test]
    fn refuses_malformed_settings() {
        let check = |mirror: &str, insecure: &str| {
            Config {
                mirrors: vec![mirror.into()],
                insecure: vec![insecure.into()],
                ..Config::default()
            }
            .validate()
        };
        assert!(check("https://m.lan/", "a.lan").is_ok());
        assert!(check("ftp://m.lan", "a.lan").is_err());
        assert!(check("m.lan", "a.lan").is_err());
        assert!(check("https://u:p@m.lan", "a.lan").is_err());
        assert!(check("https://m.lan?x=1", "a.lan").is_err());
        assert!(check("https://m.lan", "http://a.lan").is_err());
        assert!(check("https://m.lan", "10.0.0.0/x").is_err());
    }
}
