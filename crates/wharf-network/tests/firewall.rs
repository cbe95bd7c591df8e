//! The rules of each kind of network, as text that is kept in `docs/firewall.md`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharf_network::firewall::Ruleset;
use wharf_network::{
    Address, Address6, Bridge, Config, Driver, EndpointInfo, GatewayMode, Ipam, IpamPool, Network,
    Protocol, PublishPolicy, PublishedPort, Publishing, Ways,
};

/// Write the file anew with `WHARF_BLESS=1`.
const GOLDEN: &str = concat!(env!("WHARF_ROOT"), "/docs/firewall.md");

fn pool(subnet: &str, gateway: &str) -> IpamPool {
    IpamPool {
        subnet: subnet.parse().unwrap(),
        range: None,
        gateway: gateway.parse().ok(),
        gateway_chosen: false,
        auxiliary: BTreeMap::new(),
    }
}

fn bridge(icc: bool, masquerade: bool) -> Network {
    Network {
        id: "b".repeat(64),
        name: "bridge".to_owned(),
        driver: Driver::Bridge,
        created: String::new(),
        bridge: Some(Bridge {
            interface: "wharf0".to_owned(),
            mtu: 1500,
            icc,
            masquerade,
            internal: false,
            host_binding: None,
            foreign: false,
            ways: Ways::default(),
            inhibit_ipv4: false,
            trusted: Vec::new(),
        }),
        parent: None,
        link_prefix: None,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        config_only: false,
        config_from: String::new(),
        ipam: Ipam {
            pools: vec![pool("172.17.0.0/16", "172.17.0.1")],
            ..Ipam::default()
        },
        removing: false,
    }
}

fn changed(mut network: Network, change: impl FnOnce(&mut Bridge)) -> Network {
    change(network.bridge.as_mut().unwrap());
    network
}

fn second() -> Network {
    let mut network = changed(bridge(true, true), |bridge| {
        bridge.interface = "wharf1".to_owned();
    });
    network.id = "a".repeat(64);
    network.ipam.pools = vec![pool("172.18.0.0/16", "172.18.0.1")];
    network
}

fn dual() -> Network {
    let mut network = bridge(true, true);
    network.ipv6 = true;
    network.ipam.pools.push(pool("fd00:1::/64", "fd00:1::1"));
    network
}

fn mode(v4: GatewayMode, v6: GatewayMode) -> Network {
    changed(dual(), |bridge| {
        bridge.ways.v4.mode = v4;
        bridge.ways.v6.mode = v6;
    })
}

fn internal() -> Network {
    changed(second(), |bridge| {
        bridge.internal = true;
        bridge.masquerade = false;
    })
}

fn six() -> EndpointInfo {
    EndpointInfo {
        address6: Some(Address6 {
            ip: "fd00:1::2".parse().unwrap(),
            prefix: 64,
            gateway: "fd00:1::1".parse().ok(),
        }),
        ..web()
    }
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
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
        }),
        address6: None,
        mac: None,
        link_local: Vec::new(),
        internal: false,
        routerless: false,
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
    let usual = Config::default().publishing();
    let without_proxy = Publishing {
        proxy: false,
        ..usual
    };
    let respectful = Publishing {
        policy: PublishPolicy::RespectHostFirewall,
        ..usual
    };
    let direct = Publishing {
        direct_routing: true,
        ..usual
    };
    let routed = EndpointInfo {
        ports: [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ]
        .map(|host_ip| PublishedPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip,
            host_port: 0,
        })
        .to_vec(),
        ..six()
    };
    let kinds = [
        (
            "The default bridge, nothing published",
            vec![bridge(true, true)],
            vec![],
            usual,
        ),
        (
            "Ports on all addresses, on one, and on the loopback",
            vec![bridge(true, true)],
            vec![web()],
            usual,
        ),
        (
            "The same without the proxy (`--userland-proxy=false`)",
            vec![bridge(true, true)],
            vec![web()],
            without_proxy,
        ),
        (
            "Containers apart (`--icc=false`)",
            vec![bridge(false, true)],
            vec![],
            usual,
        ),
        (
            "Without address translation (`--ip-masq=false`)",
            vec![bridge(true, false)],
            vec![],
            usual,
        ),
        (
            "Two bridges",
            vec![bridge(true, true), second()],
            vec![],
            usual,
        ),
        (
            "A network with IPv6, and an internal one",
            vec![dual(), internal()],
            vec![],
            usual,
        ),
        (
            "Ports of a network with IPv6",
            vec![dual()],
            vec![six()],
            usual,
        ),
        (
            "Gateway mode `routed`",
            vec![mode(GatewayMode::Routed, GatewayMode::Routed)],
            vec![routed],
            usual,
        ),
        (
            "IPv4 in gateway mode `nat-unprotected`, IPv6 `routed`",
            vec![mode(GatewayMode::NatUnprotected, GatewayMode::Routed)],
            vec![],
            usual,
        ),
        (
            "Behind an address of its own (`com.docker.network.host_ipv4`), with a trusted link",
            vec![changed(bridge(true, true), |bridge| {
                bridge.ways.v4.source = Some(Ipv4Addr::new(192, 0, 2, 7));
                bridge.trusted = vec!["eth1".to_owned()];
            })],
            vec![web()],
            usual,
        ),
        (
            "Ports at the containers' own addresses, too (`allow-direct-routing`)",
            vec![bridge(true, true)],
            vec![web()],
            direct,
        ),
        (
            "Ports behind the host's own firewall (`publish-policy: respect-host-firewall`)",
            vec![bridge(true, true)],
            vec![web()],
            respectful,
        ),
        ("Neither bridge nor containers", vec![], vec![], usual),
    ];
    let mut text = String::from(
        "# Firewall rules of each kind of network\n\nWritten by the test `rules_are_as_written_down`. The table is changed in one \
         transaction: by the difference to what stands,\nor all of it where others may have written. Since Linux 6.9 `nft` \
         shows it with `flags owner,persist` as well, which older\nversions of it do not know.\n",
    );
    for (title, networks, endpoints, publishing) in &kinds {
        let rules = Ruleset::of(networks, endpoints, publishing);
        write!(text, "\n## {title}\n\n```nft\n{rules}```\n").unwrap();
    }
    if std::env::var_os("WHARF_BLESS").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(GOLDEN).unwrap(), text);
}
