//! The rules of each kind of network, as text that is kept in `firewall.md`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharf_network::firewall::Ruleset;
use wharf_network::{Address, Bridge, Driver, EndpointInfo, Mac, Network, Protocol, PublishedPort};

/// Write the file anew with `WHARF_BLESS=1`.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/firewall.md");

fn bridge(icc: bool, masquerade: bool) -> Network {
    Network {
        id: "b".repeat(64),
        name: "bridge".to_owned(),
        driver: Driver::Bridge,
        created: String::new(),
        bridge: Some(Bridge {
            interface: "wharf0".to_owned(),
            subnet: "172.17.0.0/16".parse().unwrap(),
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            mtu: 1500,
            icc,
            masquerade,
            v6: None,
            internal: false,
            host_binding: None,
            link_prefix: None,
            foreign: false,
        }),
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv6: false,
        ipam: wharf_network::Ipam::default(),
        removing: false,
    }
}

fn second() -> Network {
    let mut network = bridge(true, true);
    if let Some(bridge) = &mut network.bridge {
        bridge.interface = "wharf1".to_owned();
        bridge.subnet = "172.18.0.0/16".parse().unwrap();
    }
    network
}

fn dual() -> Network {
    let mut network = bridge(true, true);
    if let Some(bridge) = &mut network.bridge {
        bridge.v6 = Some(wharf_network::Bridge6 {
            subnet: "fd00:1::/64".parse().unwrap(),
            gateway: "fd00:1::1".parse().unwrap(),
        });
    }
    network
}

fn internal() -> Network {
    let mut network = second();
    if let Some(bridge) = &mut network.bridge {
        bridge.internal = true;
        bridge.masquerade = false;
    }
    network
}

fn web() -> EndpointInfo {
    let ip = Ipv4Addr::new(172, 17, 0, 2);
    let port = |protocol, host_ip: IpAddr, host_port, container_port| PublishedPort {
        protocol,
        container_port,
        host_ip,
        host_port,
    };
    EndpointInfo {
        id: "e".repeat(64),
        container: "c".repeat(64),
        name: "web".to_owned(),
        network_id: "b".repeat(64),
        network_name: "bridge".to_owned(),
        sandbox: "5".repeat(64),
        address: Some(Address {
            ip,
            prefix: 16,
            gateway: Ipv4Addr::new(172, 17, 0, 1),
            mac: Mac::of_address(ip),
        }),
        address6: None,
        internal: false,
        gateway_priority: 0,
        interface: "eth0".to_owned(),
        host_interface: Some("veth0000001".to_owned()),
        hostname: String::new(),
        aliases: Vec::new(),
        links: Vec::new(),
        ports: vec![
            port(Protocol::Tcp, Ipv4Addr::UNSPECIFIED.into(), 8080, 80),
            port(Protocol::Tcp, Ipv6Addr::UNSPECIFIED.into(), 8080, 80),
            port(Protocol::Udp, Ipv4Addr::new(192, 0, 2, 1).into(), 5353, 53),
            port(Protocol::Tcp, Ipv4Addr::LOCALHOST.into(), 9090, 90),
        ],
    }
}

#[test]
fn rules_are_as_written_down() {
    let kinds = [
        (
            "The default bridge, nothing published",
            vec![bridge(true, true)],
            vec![],
            true,
        ),
        (
            "Ports on all addresses, on one, and on the loopback (served by the proxy alone)",
            vec![bridge(true, true)],
            vec![web()],
            true,
        ),
        (
            "The same without the proxy (`--userland-proxy=false`)",
            vec![bridge(true, true)],
            vec![web()],
            false,
        ),
        (
            "Containers apart (`--icc=false`)",
            vec![bridge(false, true)],
            vec![],
            true,
        ),
        (
            "Without address translation (`--ip-masq=false`)",
            vec![bridge(true, false)],
            vec![],
            true,
        ),
        (
            "Two bridges",
            vec![bridge(true, true), second()],
            vec![],
            true,
        ),
        (
            "A network with IPv6, and an internal one",
            vec![dual(), internal()],
            vec![],
            true,
        ),
        ("Neither bridge nor containers", vec![], vec![], true),
    ];
    let mut text = String::from(
        "# Firewall rules of each kind of network\n\nWritten by the test `rules_are_as_written_down`; the whole \
         table is replaced in one transaction.\n",
    );
    for (title, networks, endpoints, proxy) in &kinds {
        let rules = Ruleset::of(networks, endpoints, *proxy);
        write!(text, "\n## {title}\n\n```nft\n{rules}```\n").unwrap();
    }
    if std::env::var_os("WHARF_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(GOLDEN).unwrap(), text);
}
