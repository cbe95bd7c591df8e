//! Who is asked about names that are not containers'.

use std::net::{IpAddr, Ipv4Addr};

/// Docker's choice for hosts without a server.
const FALLBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8)),
    IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4)),
];
/// As the C library does.
const MOST: usize = 3;

/// The host's servers as they are now: a change of the host's file counts from the next question on.
pub(super) fn of_host() -> Vec<IpAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers = parse(&text);
    if servers.is_empty() {
        servers = FALLBACK.to_vec();
    }
    servers
}

fn parse(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => words.next()?.parse().ok(),
            _ => None,
        }
    };
    text.lines().filter_map(server).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_servers_at_most() {
        let text = "# nameserver 9.9.9.9\nsearch a\nnameserver 127.0.0.53\nnameserver ::1\nnameserver x\n\
                    nameserver 10.0.0.1\nnameserver 10.0.0.2\n";
        let found: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.53", "::1", "10.0.0.1"]);
    }
}
