//! `/etc/hosts`.

use std::fmt::Write as _;
use std::net::IpAddr;

/// Lines of every container, as dockerd 26 writes them (moby `libnetwork/etchosts`).
const COMMON: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    ff00::0\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// What `/etc/hosts` is made of.
#[derive(Clone, Debug, Default)]
pub struct Hosts<'a> {
    /// The container's hostname, without domain.
    pub hostname: &'a str,
    /// `--domainname`, empty if there is none.
    pub domainname: &'a str,
    /// The container's addresses, one line each; none with the networks `none` and `host`.
    pub addresses: &'a [IpAddr],
    /// `--add-host` in the order given: name and address, or `host-gateway`.
    pub extra: &'a [(String, String)],
    /// What `host-gateway` stands for: the default bridge's gateway.
    pub host_gateway: Option<IpAddr>,
}

/// Renders `/etc/hosts`. A container on the network `host` without extra hosts gets a copy of the host's file
/// instead, as with dockerd.
pub fn hosts(hosts: &Hosts<'_>) -> String {
    let mut text = COMMON.to_owned();
    // Writing to a String cannot fail.
    for (name, address) in hosts.extra {
        let _ = match (address.as_str(), hosts.host_gateway) {
            ("host-gateway", Some(gateway)) => writeln!(text, "{gateway}\t{name}"),
            _ => writeln!(text, "{address}\t{name}"),
        };
    }
    text.push_str(&host_lines(
        hosts.hostname,
        hosts.domainname,
        hosts.addresses,
    ));
    text
}

/// The lines of a container's own name: one for each of its addresses.
pub fn host_lines(hostname: &str, domainname: &str, addresses: &[IpAddr]) -> String {
    let mut text = String::new();
    for address in addresses {
        let _ = if domainname.is_empty() {
            writeln!(text, "{address}\t{hostname}")
        } else {
            writeln!(text, "{address}\t{hostname}.{domainname} {hostname}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_on_the_bridge() {
        let text = hosts(&Hosts {
            hostname: "0123456789ab",
            addresses: &["172.17.0.2".parse().unwrap()],
            ..Hosts::default()
        });
        assert_eq!(
            text,
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
             ff00::0\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n172.17.0.2\t0123456789ab\n"
        );
    }

    #[test]
    fn extra_hosts_and_a_domain() {
        let extra = [
            ("db".to_owned(), "10.0.0.7".to_owned()),
            ("host.docker.internal".to_owned(), "host-gateway".to_owned()),
        ];
        let text = hosts(&Hosts {
            hostname: "web",
            domainname: "example.org",
            addresses: &["172.17.0.2".parse().unwrap()],
            extra: &extra,
            host_gateway: Some("172.17.0.1".parse().unwrap()),
        });
        let own = text.strip_prefix(COMMON).unwrap();
        assert_eq!(
            own,
            "10.0.0.7\tdb\n172.17.0.1\thost.docker.internal\n172.17.0.2\tweb.example.org web\n"
        );
    }

    #[test]
    fn without_network_only_the_common_lines() {
        let text = hosts(&Hosts {
            hostname: "web",
            ..Hosts::default()
        });
        assert_eq!(text, COMMON);
    }
}
