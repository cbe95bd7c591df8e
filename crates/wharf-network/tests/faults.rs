//! What stays when a step fails halfway, or the daemon dies in the middle of one.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use common::{
    HOST, NEIGHBOUR, World, ask_tcp, ask_udp, binding, link_names, named, reaches_tcp, run,
    serve_tcp, serve_udp, within,
};
use rusqlite::Connection;
use wharf_netlink::{
    Conntrack, Flow, LinkName, Route, add_address, add_bridge, add_dummy, delete_link,
};
use wharf_network::{
    Config, DnsConfig, EndpointConfig, LiveContainer, Networks, NewNetwork, PortBinding, Protocol,
};

/// A second look at the records.
fn records(world: &World) -> Connection {
    Connection::open(world.folder.path().join("wharf.db")).unwrap()
}

/// From now on no record of this kind can be written, as on a full disk.
fn refuse(world: &World, kind: &str) {
    let trigger = format!(
        "CREATE TRIGGER refuse BEFORE INSERT ON record WHEN NEW.kind = '{kind}'
         BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    );
    records(world).execute_batch(&trigger).unwrap();
}

fn allow(world: &World) {
    records(world).execute_batch("DROP TRIGGER refuse").unwrap();
}

fn count(world: &World, kind: &str) -> i64 {
    let count = "SELECT count(*) FROM record WHERE kind = ?1";
    records(world)
        .query_row(count, [kind], |row| row.get(0))
        .unwrap()
}

/// Networks without namespaces in reserve, whose links would come and go among those that are counted.
async fn bare(world: &World) -> Networks {
    let networks = world.open(Config {
        ready_namespaces: 0,
        ..Config::default()
    });
    networks.restore(&[]).await.unwrap();
    networks
}

async fn second_network(networks: &Networks, name: &str) -> String {
    let new = NewNetwork {
        name: name.to_owned(),
        ..NewNetwork::default()
    };
    networks.create(new).await.unwrap().id
}

fn live(id: &str) -> LiveContainer {
    LiveContainer {
        id: id.to_owned(),
        pid: std::process::id(),
        shared: true,
        dns: DnsConfig::default(),
    }
}

/// The container's ports and its way outside are those of its first network.
fn is_unharmed(world: &World, web: &OwnedFd) {
    let seen = within(&world.neighbour, || ask_tcp((HOST, 8080))).unwrap();
    assert_eq!(seen, format!("{NEIGHBOUR} ping"));
    assert!(ask_tcp((Ipv4Addr::LOCALHOST, 8080)).is_ok());
    assert!(within(web, || reaches_tcp((NEIGHBOUR, 7))));
}

#[test]
fn a_failed_connect_leaves_a_running_container_as_it_was() {
    let world = World::enter();
    serve_tcp(&world.neighbour, 7);
    run(async {
        let networks = bare(&world).await;
        let ports = [binding(8080, 80, Protocol::Tcp)];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        let web = web.netns.unwrap();
        serve_tcp(&web, 80);
        let before = (link_names(), within(&web, link_names));
        // First by its name: it would be the container's way outside.
        second_network(&networks, "a").await;
        let bridge = link_names().len();
        let no_such_setting = EndpointConfig {
            sysctls: vec![("net/ipv4/conf/IFNAME/nothing".to_owned(), "1".to_owned())],
            ..named("web", &ports)
        };
        networks
            .connect("c1", "a", no_such_setting)
            .await
            .unwrap_err();
        is_unharmed(&world, &web);
        refuse(&world, "endpoints");
        networks
            .connect("c1", "a", named("web", &ports))
            .await
            .unwrap_err();
        is_unharmed(&world, &web);
        let endpoints = networks.endpoints_of("c1");
        assert_eq!(endpoints.len(), 1);
        // IPv4 and IPv6.
        assert_eq!(endpoints[0].ports.len(), 2);
        assert_eq!(link_names().len(), bridge);
        assert_eq!(within(&web, link_names), before.1);
        assert_eq!(count(&world, "endpoints-half-made"), 0);
        // A leave that cannot be written changes nothing either.
        allow(&world);
        networks
            .connect("c1", "a", named("web", &ports))
            .await
            .unwrap();
        refuse(&world, "endpoints-half-made");
        let id = networks.get("a").unwrap().id;
        networks.leave("c1", &id).await.unwrap_err();
        assert_eq!(networks.endpoints_of("c1").len(), 2);
        is_unharmed(&world, &web);
        allow(&world);
        networks.leave("c1", &id).await.unwrap();
        is_unharmed(&world, &web);
        assert_eq!(link_names().len(), bridge);
        networks.shutdown().await;
    });
}

#[test]
fn a_removal_that_cannot_be_written_changes_nothing() {
    let world = World::enter();
    run(async {
        let networks = bare(&world).await;
        second_network(&networks, "kept").await;
        refuse(&world, "networks");
        networks.remove("kept").await.unwrap_err();
        let links = link_names();
        networks
            .connect("c1", "kept", named("one", &[]))
            .await
            .unwrap();
        networks.disconnect("c1").await.unwrap();
        networks.shutdown().await;
        assert_eq!(link_names(), links);
        allow(&world);
        networks.remove("kept").await.unwrap();
        assert!(networks.get("kept").is_err());
        assert_eq!(link_names().len(), links.len() - 1);
    });
}

#[test]
fn a_link_that_a_killed_daemon_was_making_is_taken_down() {
    let world = World::enter();
    let ports = [binding(8080, 80, Protocol::Tcp)];
    let (links, web) = run(async {
        let networks = bare(&world).await;
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        second_network(&networks, "a").await;
        let links = link_names();
        networks
            .connect("c1", "a", named("web", &[]))
            .await
            .unwrap();
        (links, web.netns.unwrap())
    });
    serve_tcp(&web, 80);
    // As the record stands between the announcement of the link and its being there for good.
    let half = "UPDATE record SET kind = 'endpoints-half-made', version = 1
                WHERE kind = 'endpoints' AND body LIKE '%\"network_name\":\"a\"%'";
    assert_eq!(records(&world).execute(half, []).unwrap(), 1);
    run(async {
        let config = Config {
            ready_namespaces: 0,
            ..Config::default()
        };
        let networks = world.open(config);
        networks.restore(&[live("c1")]).await.unwrap();
        let ours = |names: Vec<String>| {
            let mut names: Vec<_> = names
                .into_iter()
                .filter(|name| links.contains(name))
                .collect();
            names.sort();
            names
        };
        assert_eq!(networks.endpoints_of("c1").len(), 1);
        assert_eq!(count(&world, "endpoints-half-made"), 0);
        assert_eq!(link_names().len(), ours(link_names()).len());
        assert!(!within(&web, link_names).contains(&"eth1".to_owned()));
        // Its address is the next one's.
        let next = networks
            .connect("c2", "a", named("two", &[]))
            .await
            .unwrap();
        let address = next.info.address.unwrap();
        assert_eq!(address.ip.octets()[3], 2);
        networks.shutdown().await;
    });
}

#[test]
fn datagrams_of_a_client_that_goes_on_are_led_to_the_next_container() {
    let world = World::enter();
    run(async {
        let networks = bare(&world).await;
        let ports = [binding(5353, 53, Protocol::Udp)];
        let client = within(&world.neighbour, || {
            let socket = UdpSocket::bind((NEIGHBOUR, 40000)).unwrap();
            socket.connect((HOST, 5353)).unwrap();
            let patience = Duration::from_millis(300);
            socket.set_read_timeout(Some(patience)).unwrap();
            socket
        });
        // Asks until somebody answers: a container that is just being connected may miss one.
        let ask = || {
            let mut buffer = [0; 64];
            (0..20).find_map(|_| {
                client.send(b"ping").ok()?;
                let length = client.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
            })
        };
        // Remembered by the kernel before there is anybody.
        let _ = client.send(b"ping");
        for container in ["c1", "c2"] {
            let made = networks
                .connect(container, "bridge", named(container, &ports))
                .await
                .unwrap();
            serve_udp(made.netns.as_ref().unwrap(), 53);
            // What must be forgotten is forgotten behind.
            networks.shutdown().await;
            assert_eq!(ask(), Some(format!("{NEIGHBOUR} ping")), "{container}");
            // The next one gets another address.
            let other = format!("{container}-other");
            networks
                .connect(&other, "bridge", named(&other, &[]))
                .await
                .unwrap();
            networks.disconnect(container).await.unwrap();
        }
        networks.shutdown().await;
    });
}

/// Whoever is connected by a published port is told, instead of waiting for somebody who is gone.
#[test]
fn connections_to_a_container_that_leaves_its_network_end() {
    let world = World::enter();
    run(async {
        let networks = bare(&world).await;
        let ports = [binding(8080, 80, Protocol::Tcp)];
        let made = networks.connect("c1", "bridge", named("web", &ports)).await;
        let made = made.unwrap();
        serve_tcp(made.netns.as_ref().unwrap(), 80);
        let mut client = within(&world.neighbour, || {
            let client = TcpStream::connect((HOST, 8080)).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            client
        });
        networks.leave("c1", &made.info.network_id).await.unwrap();
        // What must be forgotten is forgotten behind.
        networks.shutdown().await;
        let said = client
            .write_all(b"ping")
            .and_then(|()| client.read(&mut [0; 64]));
        let error = said.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    });
}

/// The same port of another address, or of another protocol, is somebody else's.
#[test]
fn connections_to_others_outlive_who_leaves() {
    let world = World::enter();
    let other = Ipv4Addr::new(192, 0, 2, 9);
    let mut route = Route::open().unwrap();
    let lan = route.link("lan0").unwrap().unwrap().index;
    let address = add_address(lan, format!("{other}/24").parse().unwrap());
    route.apply(&[address]).unwrap();
    let at = |ip: Ipv4Addr, protocol| PortBinding {
        host_ip: Some(ip.into()),
        ..binding(8080, 80, protocol)
    };
    run(async {
        let networks = bare(&world).await;
        let ports = [at(HOST, Protocol::Udp), at(other, Protocol::Tcp)];
        let gone = networks
            .connect("c1", "bridge", named("gone", &ports))
            .await;
        let ports = [at(HOST, Protocol::Tcp)];
        let stays = networks
            .connect("c2", "bridge", named("stays", &ports))
            .await;
        serve_tcp(stays.unwrap().netns.as_ref().unwrap(), 80);
        let mut client = within(&world.neighbour, || TcpStream::connect((HOST, 8080))).unwrap();
        let network = gone.unwrap().info.network_id;
        networks.leave("c1", &network).await.unwrap();
        // What must be forgotten is forgotten behind.
        networks.shutdown().await;
        // Whose server speaks first would be taken for one that begins a connection of its own.
        let known = std::cell::Cell::new(0);
        let look = |flow: &Flow| {
            let of_client = flow.source == client.local_addr().unwrap();
            known.set(known.get() + u32::from(of_client));
            false
        };
        Conntrack::open().unwrap().forget(look).unwrap();
        assert_eq!(known.get(), 1, "the kernel knows it still");
        client.write_all(b"ping").unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).unwrap();
        assert_eq!(said, format!("{NEIGHBOUR} ping"));
    });
}

#[test]
fn a_link_that_is_no_bridge_is_not_taken_for_one() {
    let world = World::enter();
    let mut route = Route::open().unwrap();
    let dummy = route.apply(&[add_dummy("taken")]).is_ok();
    let name = if dummy { "taken" } else { "lan0" };
    route.apply(&[add_bridge("mine", None)]).unwrap();
    run(async {
        let networks = bare(&world).await;
        let on = |bridge: &str, name: &str| NewNetwork {
            name: name.to_owned(),
            options: [(
                "com.docker.network.bridge.name".to_owned(),
                bridge.to_owned(),
            )]
            .into(),
            ..NewNetwork::default()
        };
        let error = networks.create(on(name, "bad")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("existing interface {name} is not a bridge")
        );
        assert!(networks.get("bad").is_err());
        networks.create(on("mine", "good")).await.unwrap();
        networks.remove("good").await.unwrap();
        assert!(
            link_names().contains(&"mine".to_owned()),
            "it is the owner's"
        );
        networks.shutdown().await;
    });
    route.apply(&[delete_link(LinkName::Name("mine"))]).unwrap();
}

#[test]
fn the_default_bridge_makes_way_for_networks_that_are_not_up() {
    let world = World::enter();
    let pools = vec![
        ("10.40.0.0/16".parse().unwrap(), 24),
        ("fd40::/48".parse().unwrap(), 64),
    ];
    let without = Config {
        default_bridge: false,
        address_pools: pools.clone(),
        ..Config::default()
    };
    let interface = run(async {
        let networks = world.open(without);
        networks.restore(&[]).await.unwrap();
        let new = NewNetwork {
            name: "first".to_owned(),
            ipv6: Some(true),
            ..NewNetwork::default()
        };
        let network = networks.create(new).await.unwrap();
        networks.shutdown().await;
        network.bridge.unwrap().interface
    });
    // As after the machine's own restart.
    Route::open()
        .unwrap()
        .apply(&[delete_link(LinkName::Name(&interface))])
        .unwrap();
    run(async {
        let networks = world.open(Config {
            ipv6: true,
            address_pools: pools,
            ..Config::default()
        });
        let of = |name: &str| {
            let pools = networks.get(name).unwrap().ipam.pools;
            pools
                .into_iter()
                .map(|pool| pool.subnet.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(of("first"), ["10.40.0.0/24", "fd40::/64"]);
        assert_eq!(of("bridge"), ["10.40.1.0/24", "fd40:0:0:1::/64"]);
    });
}

#[test]
fn the_hosts_link_is_pulled_out_and_comes_back_under_another_address() {
    let world = World::enter();
    serve_tcp(&world.neighbour, 7);
    run(async {
        let networks = bare(&world).await;
        let ports = [
            binding(8080, 80, Protocol::Tcp),
            binding(5353, 53, Protocol::Udp),
        ];
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        let web = web.netns.unwrap();
        serve_tcp(&web, 80);
        serve_udp(&web, 53);
        is_unharmed(&world, &web);
        world.pull_out();
        assert!(!within(&web, || reaches_tcp((NEIGHBOUR, 7))));
        // The host reaches its containers, and starts others, as before.
        assert!(ask_tcp((Ipv4Addr::LOCALHOST, 8080)).is_ok());
        networks
            .connect("c2", "bridge", named("two", &[]))
            .await
            .unwrap();
        let moved = Ipv4Addr::new(192, 0, 2, 9);
        world.plug_in(moved);
        let seen = within(&world.neighbour, || ask_tcp((moved, 8080))).unwrap();
        assert_eq!(seen, format!("{NEIGHBOUR} ping"));
        let seen = within(&world.neighbour, || ask_udp((moved, 5353))).unwrap();
        assert_eq!(seen, format!("{NEIGHBOUR} ping"));
        let seen = within(&web, || ask_tcp((NEIGHBOUR, 7))).unwrap();
        assert_eq!(seen, format!("{moved} ping"));
        networks.shutdown().await;
    });
}
