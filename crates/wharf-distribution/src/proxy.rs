//! Which proxy a request goes by, by Go's rules (golang.org/x/net/http/httpproxy), as dockerd has them.

use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use crate::RegistryError;

/// The settings `http-proxy`, `https-proxy` and `no-proxy`; empty texts for none.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For requests without TLS: `[http://][USER:PASSWORD@]HOST[:PORT]`.
    pub http: String,
    /// For requests with TLS, which go through it by `CONNECT`.
    pub https: String,
    /// Who is spoken to directly: names (with all below them), `.name` (only those), addresses, blocks, each with or without
    /// a port, with commas between them; `*` for all.
    pub no: String,
}

// The user's password is no part of a log.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [http, https, no] = self.masked();
        write!(f, "Proxies({http:?}, {https:?}, {no:?})")
    }
}

/// A proxy for one request.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// `http://HOST:PORT/`.
    pub(crate) uri: Uri,
    /// `Proxy-Authorization`.
    pub(crate) auth: Option<HeaderValue>,
}

impl Proxies {
    /// What is set, and for the rest what the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, or the same in
    /// small letters.
    #[must_use]
    pub fn or_environment(self) -> Proxies {
        let given = |own: String, name: &str| match own.is_empty() {
            false => own,
            true => std::env::var(name)
                .or_else(|_| std::env::var(name.to_lowercase()))
                .unwrap_or_default(),
        };
        Proxies {
            http: given(self.http, "HTTP_PROXY"),
            https: given(self.https, "HTTPS_PROXY"),
            no: given(self.no, "NO_PROXY"),
        }
    }

    /// The settings as they are shown, without the names and passwords that are in them (Docker's form).
    pub fn masked(&self) -> [String; 3] {
        let masked = |text: &String| match text.rsplit_once('@') {
            None => text.clone(),
            Some((before, host)) => {
                let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
                match scheme {
                    "" => format!("xxxxx:xxxxx@{host}"),
                    scheme => format!("{scheme}://xxxxx:xxxxx@{host}"),
                }
            }
        };
        [masked(&self.http), masked(&self.https), self.no.clone()]
    }

    pub(crate) fn validate(&self) -> Result<(), RegistryError> {
        for address in [&self.http, &self.https] {
            if !address.is_empty() && parse(address).is_none() {
                // Not the whole of it: a password may be in it.
                let host = address.rsplit('@').next().unwrap_or_default();
                return Err(RegistryError::Config(format!(
                    "invalid proxy address {host:?}: must be http://HOST[:PORT]"
                )));
            }
        }
        Ok(())
    }

    /// The proxy for `uri`; `None` if it is spoken to directly, as loopback always is.
    pub(crate) fn of(&self, uri: &Uri) -> Option<Proxy> {
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let address = if secure { &self.https } else { &self.http };
        let host = uri.host()?.trim_matches(['[', ']']).to_lowercase();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        match address.is_empty() || self.is_direct(host.trim_end_matches('.'), port) {
            true => None,
            false => parse(address),
        }
    }

    fn is_direct(&self, host: &str, port: u16) -> bool {
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let rules = self.no.split(',').map(str::trim);
        rules
            .filter(|rule| !rule.is_empty())
            .any(|rule| matches(&rule.to_lowercase(), host, address, port))
    }
}

/// Whether one entry of `no-proxy` means this host.
fn matches(rule: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if rule == "*" {
        return true;
    }
    if let Ok(block) = rule.parse::<IpNet>() {
        return address.is_some_and(|address| block.contains(&address));
    }
    let (name, wanted) = match rule.rsplit_once(':') {
        Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => {
            match wanted.parse::<u16>() {
                Ok(wanted) => (name, Some(wanted)),
                Err(_) => return false,
            }
        }
        _ => (rule, None),
    };
    if wanted.is_some_and(|wanted| wanted != port) {
        return false;
    }
    let name = name.trim_matches(['[', ']']);
    if let Ok(own) = name.parse::<IpAddr>() {
        return address == Some(own);
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn parse(address: &str) -> Option<Proxy> {
    let bare = match address.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return None,
        None => address,
    };
    let bare = bare.split('/').next().unwrap_or_default();
    let (user, host) = match bare.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, bare),
    };
    let authority: Authority = host.parse().ok()?;
    let authority = match authority.port() {
        Some(_) => authority,
        None => format!("{host}:80").parse().ok()?,
    };
    let auth = match user {
        None => None,
        Some(user) => {
            let user = percent_decode_str(user).collect::<Vec<u8>>();
            let user = if user.contains(&b':') {
                user
            } else {
                [user.as_slice(), b":"].concat()
            };
            let value = format!("Basic {}", STANDARD.encode(user));
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some(value)
        }
    };
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority)
        .path_and_query(PathAndQuery::from_static("/"));
    Some(Proxy {
        uri: uri.build().ok()?,
        auth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_by_proxy(no: &str, uri: &str) -> bool {
        let proxies = Proxies {
            http: "proxy.lan:3128".into(),
            https: "http://me:a%40b@proxy.lan".into(),
            no: no.into(),
        };
        proxies.of(&uri.parse().unwrap()).is_some()
    }

    #[test]
    fn who_is_spoken_to_directly() {
        for (no, uri) in [
            ("", "http://localhost:5000/"),
            ("", "https://127.3.2.1/"),
            ("", "http://[::1]:5000/"),
            ("*", "https://a.org/"),
            ("a.org", "https://a.org/"),
            ("x, A.org ", "https://b.a.ORG./"),
            (".a.org", "https://b.a.org/"),
            ("*.a.org", "https://b.a.org/"),
            ("a.org:5000", "http://a.org:5000/"),
            ("10.0.0.0/8", "http://10.9.9.9/"),
            ("10.1.1.1", "http://10.1.1.1:5000/"),
            ("[fd00::1]:5000", "http://[fd00::1]:5000/"),
            ("fd00::/8", "http://[fd00::1]/"),
        ] {
            assert!(!goes_by_proxy(no, uri), "{no} {uri}");
        }
    }

    #[test]
    fn who_goes_by_a_proxy() {
        for (no, uri) in [
            ("", "https://a.org/"),
            ("a.org", "https://ba.org/"),
            (".a.org", "https://a.org/"),
            ("a.org:5000", "https://a.org/"),
            ("10.0.0.0/8", "http://11.9.9.9/"),
            ("10.0.0.0/8", "http://a.org/"),
            ("a.org:x", "http://a.org/"),
        ] {
            assert!(goes_by_proxy(no, uri), "{no} {uri}");
        }
    }

    #[test]
    fn addresses_of_proxies() {
        let proxy = parse("http://me:a%40b@proxy.lan/x").unwrap();
        assert_eq!(proxy.uri, "http://proxy.lan:80/");
        assert_eq!(proxy.auth.unwrap(), "Basic bWU6YUBi");
        assert_eq!(
            parse("proxy.lan:3128").unwrap().uri,
            "http://proxy.lan:3128/"
        );
        for wrong in ["socks5://x", "https://x", "http://", "a b"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
        let proxies = Proxies {
            http: "http://me:secret@proxy.lan".into(),
            ..Proxies::default()
        };
        assert!(!format!("{proxies:?}").contains("secret"));
        assert_eq!(proxies.masked()[0], "http://xxxxx:xxxxx@proxy.lan");
    }
}
