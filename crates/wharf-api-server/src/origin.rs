//! Whether a request on a TCP port that asks for no certificates was meant for it.
//!
//! Such a port is on loopback, and a browser of this machine reaches it: a page of anybody's can send requests there, and by a
//! name of its own that it has pointed to loopback (DNS rebinding) read the answers, too. Neither can hide where it is from: the
//! page's site stands in `Origin`, the name in `Host`.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri, header};

use crate::error::ApiError;

/// Refuses what a foreign page has sent. `own` are names that the daemon was told to listen by.
///
/// # Errors
/// 403, if `Host` or `Origin` is another one's.
pub(crate) fn check(headers: &HeaderMap, uri: &Uri, own: &[String]) -> Result<(), ApiError> {
    let named = headers.get_all(header::HOST).into_iter();
    let named = named.filter(|value| !value.is_empty());
    let named = named.map(|value| authority(value.as_bytes()));
    // HTTP/2, and proxies, write it there.
    let mut names = named.chain(uri.authority().cloned().map(Some));
    if !names.all(|name| name.is_some_and(|name| is_here(&host(&name), own))) {
        return Err(refused("Host"));
    }
    let mut origins = headers.get_all(header::ORIGIN).into_iter();
    match origins.all(|origin| is_local_site(origin.as_bytes())) {
        true => Ok(()),
        false => Err(refused("Origin")),
    }
}

fn refused(header: &str) -> ApiError {
    let text = format!(
        "the request is for, or from, another site (header {header}): use localhost, an address of this machine or a name of -H"
    );
    ApiError::new(StatusCode::FORBIDDEN, text)
}

fn authority(text: &[u8]) -> Option<Authority> {
    Authority::try_from(text).ok()
}

/// Without port, brackets and the root's dot; lower case.
fn host(authority: &Authority) -> String {
    let host = authority.host().trim_end_matches('.');
    let host = host.strip_prefix('[').unwrap_or(host);
    host.strip_suffix(']').unwrap_or(host).to_ascii_lowercase()
}

/// An address cannot be pointed elsewhere. Any name can that is not known to be ours: one without a dot, too, by search domains,
/// LLMNR or NetBIOS.
fn is_here(host: &str, own: &[String]) -> bool {
    let is_own = |name: &str| name.eq_ignore_ascii_case(host);
    let is_nodename = || {
        let system = rustix::system::uname();
        system.nodename().to_str().is_ok_and(is_own)
    };
    let is_known = || own.iter().any(|name| is_own(name)) || is_nodename();
    host.parse::<IpAddr>().is_ok() || is_localhost(host) || is_known()
}

/// The names that /etc/hosts gives to loopback now: nobody but the machine's own administrator can.
pub(crate) fn names_of_this_machine() -> Vec<String> {
    names_of_loopback(&std::fs::read_to_string("/etc/hosts").unwrap_or_default())
}

/// Those of a hosts(5) file.
fn names_of_loopback(hosts: &str) -> Vec<String> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let of_loopback = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        address.is_loopback().then_some(words)
    });
    of_loopback.flatten().map(str::to_owned).collect()
}

/// Names that are loopback's for ever (RFC 6761).
fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether a page is one of this machine. `null`, which is what pages without a site say, is not.
fn is_local_site(origin: &[u8]) -> bool {
    let site = origin.splitn(2, |byte| *byte == b':').nth(1);
    let site = site.and_then(|site| authority(site.strip_prefix(b"//")?));
    site.is_some_and(|site| {
        let host = host(&site);
        let is_loopback = host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        is_loopback || is_localhost(&host)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_taken(uri: &str, pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("value"));
        }
        let own = ["build-box".to_owned()];
        check(&headers, &uri.parse().expect("uri"), &own).is_ok()
    }

    #[test]
    fn what_stands_in_hosts_for_loopback_is_known() {
        let hosts = "127.0.0.1 localhost docker # loopback 127.0.0.1\n\n::1 ip6\n10.0.0.1 lan\n#127.0.0.1 no\nnonsense";
        assert_eq!(names_of_loopback(hosts), ["localhost", "docker", "ip6"]);
    }

    #[test]
    fn a_name_of_another_site_is_refused() {
        for host in [
            "localhost:2375",
            "127.0.0.1:2375",
            "[::1]:2375",
            "LOCALHOST.",
            "build-box:2375",
            "api.moby.localhost",
            "10.0.0.1",
        ] {
            assert!(is_taken("/info", &[("host", host)]), "{host}");
        }
        // Before HTTP/1.1 none was said, and no browser says nothing.
        assert!(is_taken("/info", &[]) && is_taken("/info", &[("host", "")]));
        for host in [
            "evil.example:2375",
            "127.0.0.1.evil.example",
            // Somebody's network may answer for these.
            "wpad",
            "host.docker.internal:2375",
            "build-box.evil.example",
            "a b",
        ] {
            assert!(!is_taken("/info", &[("host", host)]), "{host}");
        }
        assert!(!is_taken("http://evil.example/info", &[]));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(!is_taken("/info", &two));
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let is_taken = |origin: &str| is_taken("/", &[("host", "localhost"), ("origin", origin)]);
        for origin in [
            "http://localhost:3000",
            "http://127.0.0.1:2375",
            "https://[::1]",
            "http://app.localhost",
        ] {
            assert!(is_taken(origin), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "http://192.0.2.7",
            "null",
            "http://localhost.evil.example",
            "",
        ] {
            assert!(!is_taken(origin), "{origin}");
        }
    }
}
