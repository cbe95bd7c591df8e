//! Real packets between containers, their host and a neighbour on the wire.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{
    HOST, NEIGHBOUR, World, ask_tcp, ask_tcp_from, ask_udp, binding, link_names, named,
    reaches_tcp, run, send_udp, serve_tcp, serve_udp, within,
};
use wharf_network::{Config, EndpointConfig, Protocol};

#[test]
fn a_container_reaches_its_host_its_peer_and_the_outside() {
    let world = World::enter();
    serve_tcp(&world.neighbour, 7);
    run(async {
        let networks = world.start().await;
        let one = networks
            .connect("c1", "bridge", named("one", &[]))
            .await
            .unwrap();
        let two = networks
            .connect("c2", "bridge", named("two", &[]))
            .await
            .unwrap();
        let (address, peer) = (one.info.address.unwrap(), two.info.address.unwrap());
        assert_eq!(address.ip, Ipv4Addr::new(172, 17, 0, 2));
        assert_eq!(address.gateway, Some(Ipv4Addr::new(172, 17, 0, 1)));
        assert_eq!(
            (address.prefix, one.info.mac.unwrap().to_string().as_str()),
            (16, "02:42:ac:11:00:02")
        );
        let (one, two) = (one.netns.unwrap(), two.netns.unwrap());
        serve_tcp(&two, 80);
        // Seen under its own address by a peer, under its host's outside.
        let seen = within(&one, || ask_tcp((peer.ip, 80))).unwrap();
        assert_eq!(seen, "172.17.0.2 ping");
        let seen = within(&one, || ask_tcp((NEIGHBOUR, 7))).unwrap();
        assert_eq!(seen, format!("{HOST} ping"));
        networks.shutdown().await;
    });
}

#[test]
fn a_published_port_answers_from_everywhere() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let ports = [
            binding(8080, 80, Protocol::Tcp),
            binding(5353, 53, Protocol::Udp),
        ];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        let other = networks
            .connect("c2", "bridge", named("other", &[]))
            .await
            .unwrap();
        let (web, other) = (web.netns.unwrap(), other.netns.unwrap());
        serve_tcp(&web, 80);
        serve_udp(&web, 53);
        // From outside, with the client's own address kept.
        let seen = within(&world.neighbour, || ask_tcp((HOST, 8080))).unwrap();
        assert_eq!(seen, format!("{NEIGHBOUR} ping"));
        let seen = within(&world.neighbour, || ask_udp((HOST, 5353))).unwrap();
        assert_eq!(seen, format!("{NEIGHBOUR} ping"));
        // From the host: by its address, by the bridge's, by its loopback in both families.
        assert_eq!(ask_tcp((HOST, 8080)).unwrap(), format!("{HOST} ping"));
        assert_eq!(
            ask_tcp((Ipv4Addr::new(172, 17, 0, 1), 8080)).unwrap(),
            "172.17.0.1 ping"
        );
        for loopback in ["127.0.0.1:8080", "[::1]:8080"] {
            let address: std::net::SocketAddr = loopback.parse().unwrap();
            assert_eq!(ask_tcp(address).unwrap(), "172.17.0.1 ping", "{loopback}");
        }
        for loopback in ["127.0.0.1:5353", "[::1]:5353"] {
            let address: std::net::SocketAddr = loopback.parse().unwrap();
            assert_eq!(ask_udp(address).unwrap(), "172.17.0.1 ping", "{loopback}");
        }
        // From another container and from itself, through the host.
        for netns in [&other, &web] {
            let seen = within(netns, || ask_tcp((HOST, 8080))).unwrap();
            assert_eq!(seen, "172.17.0.1 ping");
            assert!(within(netns, || ask_udp((HOST, 5353))).is_ok());
        }
        networks.shutdown().await;
    });
}

#[test]
fn the_first_packet_to_a_new_container_arrives() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        // Whoever loses one question for a hardware address has lost.
        let solicit = "/proc/sys/net/ipv4/neigh/wharf0/mcast_solicit";
        std::fs::write(solicit, "1").unwrap();
        for number in 0..20 {
            let name = format!("c{number}");
            let made = networks
                .connect(&name, "bridge", named(&name, &[]))
                .await
                .unwrap();
            let ip = made.info.address.unwrap().ip;
            serve_tcp(made.netns.as_ref().unwrap(), 80);
            let asked = ask_tcp((ip, 80));
            assert!(asked.is_ok(), "{number}: {asked:?}");
        }
        networks.shutdown().await;
    });
}

#[test]
fn what_is_not_published_is_closed_to_the_neighbour() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let ports = [binding(8080, 80, Protocol::Tcp)];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        let ip = web.info.address.unwrap().ip;
        let web = web.netns.unwrap();
        serve_tcp(&web, 80);
        serve_tcp(&web, 81);
        // The neighbour has a route to the containers through this host.
        for port in [80, 81] {
            assert!(
                !within(&world.neighbour, || reaches_tcp((ip, port))),
                "{port}"
            );
        }
        assert!(reaches_tcp((ip, 81)), "the host itself may");
        networks.shutdown().await;
    });
}

#[test]
fn a_port_bound_to_one_address_answers_there_only() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let at = |ip: Ipv4Addr, host| wharf_network::PortBinding {
            host_ip: Some(ip.into()),
            ..binding(host, 80, Protocol::Tcp)
        };
        let ports = [at(Ipv4Addr::LOCALHOST, 8001), at(HOST, 8002)];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        serve_tcp(web.netns.as_ref().unwrap(), 80);
        let from_outside = |port| within(&world.neighbour, || reaches_tcp((HOST, port)));
        assert!(ask_tcp((Ipv4Addr::LOCALHOST, 8001)).is_ok() && !from_outside(8001));
        assert!(!reaches_tcp((Ipv4Addr::LOCALHOST, 8002)));
        assert!(within(&world.neighbour, || ask_tcp((HOST, 8002))).is_ok());
        assert!(!reaches_tcp((Ipv6Addr::LOCALHOST, 8001)));
        networks.shutdown().await;
    });
}

#[test]
fn without_icc_neighbours_on_the_bridge_are_strangers() {
    let world = World::enter();
    serve_tcp(&world.neighbour, 7);
    run(async {
        let config = Config {
            icc: false,
            ..Config::default()
        };
        let networks = world.open(config);
        networks.restore(&[]).await.unwrap();
        let one = networks
            .connect("c1", "bridge", named("one", &[]))
            .await
            .unwrap();
        let two = networks
            .connect("c2", "bridge", named("two", &[]))
            .await
            .unwrap();
        let ip = one.info.address.unwrap().ip;
        serve_tcp(one.netns.as_ref().unwrap(), 80);
        let two = two.netns.unwrap();
        assert!(!within(&two, || reaches_tcp((ip, 80))));
        assert!(within(&two, || reaches_tcp((NEIGHBOUR, 7))));
        networks.shutdown().await;
    });
}

#[test]
fn none_has_loopback_only_and_host_no_namespace() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let none = networks
            .connect("c1", "none", EndpointConfig::default())
            .await
            .unwrap();
        let names = within(&none.netns.unwrap(), link_names);
        assert!(
            names.contains(&"lo".to_owned()) && !names.contains(&"eth0".to_owned()),
            "{names:?}"
        );
        let host = networks
            .connect("c2", "host", EndpointConfig::default())
            .await
            .unwrap();
        assert!(host.netns.is_none() && host.info.address.is_none());
        assert_eq!(
            networks.endpoints(&networks.get("host").unwrap().id).len(),
            1
        );
        networks.shutdown().await;
    });
}

#[test]
fn the_loopback_is_translated_and_stays_closed_to_others() {
    let world = World::enter();
    run(async {
        // Nobody serves the sockets: what answers came through the rules.
        let config = Config {
            ipv6: true,
            fixed_cidr6: "fd00:7::/64".parse().ok(),
            userland_proxy: false,
            ..Config::default()
        };
        let networks = world.open(config);
        networks.restore(&[]).await.unwrap();
        let ports = [
            binding(8080, 80, Protocol::Tcp),
            binding(5353, 53, Protocol::Udp),
            wharf_network::PortBinding {
                host_ip: Some(Ipv4Addr::LOCALHOST.into()),
                ..binding(8081, 80, Protocol::Tcp)
            },
        ];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        let six = web.info.address6.unwrap().gateway.unwrap();
        let netns = web.netns.unwrap();
        serve_tcp(&netns, 80);
        serve_udp(&netns, 53);
        for address in [(127, 1), (127, 2)].map(|(a, d)| Ipv4Addr::new(a, 0, 0, d)) {
            assert_eq!(ask_tcp((address, 8080)).unwrap(), "172.17.0.1 ping");
            assert_eq!(ask_udp((address, 5353)).unwrap(), "172.17.0.1 ping");
        }
        assert_eq!(
            ask_tcp((Ipv4Addr::LOCALHOST, 8081)).unwrap(),
            "172.17.0.1 ping"
        );
        assert!(!reaches_tcp((Ipv4Addr::new(127, 0, 0, 2), 8081)));
        let seen = ask_tcp((Ipv6Addr::LOCALHOST, 8080)).unwrap();
        assert_eq!(seen, format!("{six} ping"));
        // In pieces: the loopback carries more at a time than the bridge.
        let large = vec![b'x'; 60_000];
        let seen = send_udp((Ipv4Addr::LOCALHOST, 5353).into(), &large).unwrap();
        assert_eq!(seen.len(), "172.17.0.1 ".len() + large.len());
        let setting = "/proc/sys/net/ipv4/conf/wharf0/route_localnet";
        assert_eq!(std::fs::read_to_string(setting).unwrap(), "0\n");
        networks.shutdown().await;
    });
}

#[test]
fn clients_on_the_loopback_may_choose_their_address() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let ports = [binding(8080, 80, Protocol::Tcp)];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        serve_tcp(&web.netns.unwrap(), 80);
        let bridge = Ipv4Addr::new(172, 17, 0, 1);
        let clients = [
            Ipv4Addr::LOCALHOST,
            Ipv4Addr::new(127, 0, 0, 5),
            bridge,
            HOST,
        ];
        for (client, server) in clients
            .into_iter()
            .flat_map(|client| [Ipv4Addr::LOCALHOST, HOST, bridge].map(|server| (client, server)))
        {
            let seen = ask_tcp_from(client, (server, 8080));
            assert!(seen.is_ok(), "{client} to {server}: {seen:?}");
        }
        networks.shutdown().await;
    });
}
