//! Connections over their life: refusals, disconnects, restarts of the daemon.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use common::{
    HOST, World, ask_tcp, binding, link_names, named, nft_list, nft_owns, run, serve_tcp, within,
};
use rustix::io::Errno;
use wharf_netlink::nft::{Batch, Family};
use wharf_netlink::{LinkName, Nftables, Route, delete_link};
use wharf_network::firewall::Ruleset;
use wharf_network::{Config, HostPort, LiveContainer, Networks, NewNetwork, PortBinding, Protocol};

#[test]
fn a_port_of_another_container_is_refused_in_dockers_words() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let ports = [binding(8080, 80, Protocol::Tcp)];
        networks
            .connect("c1", "bridge", named("one", &ports))
            .await
            .unwrap();
        let error = networks
            .connect("c2", "bridge", named("two", &ports))
            .await
            .unwrap_err()
            .to_string();
        let (start, end) = error.split_once('(').unwrap();
        assert_eq!(
            start,
            "driver failed programming external connectivity on endpoint two "
        );
        let (id, end) = end.split_once(')').unwrap();
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(
            end,
            ": Bind for 0.0.0.0:8080 failed: port is already allocated"
        );
        // Nothing of it stays: the address is the next container's.
        let other = networks
            .connect("c3", "bridge", named("three", &[]))
            .await
            .unwrap();
        assert_eq!(other.info.address.unwrap().ip, Ipv4Addr::new(172, 17, 0, 3));
        // The same number is another port with another protocol.
        let udp = [binding(8080, 80, Protocol::Udp)];
        networks
            .connect("c4", "bridge", named("four", &udp))
            .await
            .unwrap();
        networks.shutdown().await;
    });
}

#[test]
fn a_port_of_a_host_process_is_refused_and_its_siblings_are_given_back() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let process = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8081)).unwrap();
        let ports = [
            binding(8080, 80, Protocol::Tcp),
            binding(8081, 81, Protocol::Tcp),
        ];
        let error = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap_err()
            .to_string();
        let end = "): failed to bind host port for 0.0.0.0:8081:172.17.0.2:81/tcp: address already in use";
        assert!(error.ends_with(end), "{error}");
        drop(process);
        networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        networks.shutdown().await;
    });
}

#[test]
fn a_host_address_that_is_not_there_is_refused() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let foreign = PortBinding {
            host_ip: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))),
            ..binding(8080, 80, Protocol::Tcp)
        };
        let error = networks
            .connect("c1", "bridge", named("web", &[foreign]))
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("cannot assign requested address"),
            "{error}"
        );
        networks.shutdown().await;
    });
}

#[test]
fn ephemeral_ports_and_ranges_skip_what_is_taken() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let wish = |host_port| PortBinding {
            host_port,
            ..binding(0, 80, Protocol::Tcp)
        };
        let _process = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 9000)).unwrap();
        let range = wish(HostPort::Range(9000, 9002));
        let mut taken = Vec::new();
        for id in ["c1", "c2"] {
            let endpoint = networks
                .connect(id, "bridge", named(id, &[range]))
                .await
                .unwrap();
            // One entry for each family.
            assert_eq!(endpoint.info.ports.len(), 2);
            assert_eq!(
                endpoint.info.ports[0].host_port,
                endpoint.info.ports[1].host_port
            );
            taken.push(endpoint.info.ports[0].host_port);
        }
        assert_eq!(taken, [9001, 9002]);
        assert!(
            networks
                .connect("c3", "bridge", named("c3", &[range]))
                .await
                .is_err()
        );
        let any = [wish(HostPort::Any), wish(HostPort::Any)];
        let endpoint = networks
            .connect("c4", "bridge", named("c4", &any))
            .await
            .unwrap();
        let first = endpoint.info.ports[0].host_port;
        assert!(
            first >= 32768 && endpoint.info.ports[2].host_port > first,
            "{:?}",
            endpoint.info.ports
        );
        networks.shutdown().await;
    });
}

#[test]
fn a_disconnect_gives_everything_back() {
    let world = World::enter();
    run(async {
        let config = Config {
            ready_namespaces: 0,
            ..Config::default()
        };
        let networks = world.open(config);
        networks.restore(&[]).await.unwrap();
        let before = link_names();
        let ports = [binding(8080, 80, Protocol::Tcp)];
        let first = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        assert_eq!(link_names().len(), before.len() + 1);
        assert!(
            networks
                .connect("c1", "bridge", named("web", &[]))
                .await
                .is_err()
        );
        networks.disconnect("c1").await.unwrap();
        networks.disconnect("c1").await.unwrap();
        drop(first);
        networks.shutdown().await;
        assert_eq!(link_names(), before);
        assert!(networks.endpoints_of("c1").is_empty());
        assert!(TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).is_ok());
        let again = networks.connect("c2", "bridge", named("web", &ports)).await;
        assert_eq!(
            again.unwrap().info.address.unwrap().ip,
            Ipv4Addr::new(172, 17, 0, 2)
        );
        networks.shutdown().await;
    });
}

#[test]
fn a_running_container_keeps_its_network_over_a_restart() {
    let world = World::enter();
    let ports = [binding(8080, 80, Protocol::Tcp)];
    // The namespace lives on in a process of the container; here, in this descriptor.
    let (netns, id) = run(async {
        let networks = world.start().await;
        let web = networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        networks
            .connect(
                "c2",
                "bridge",
                named("dead", &[binding(8082, 80, Protocol::Tcp)]),
            )
            .await
            .unwrap();
        (web.netns.unwrap(), networks.get("bridge").unwrap().id)
    });
    serve_tcp(&netns, 80);
    // Translation goes on without a daemon.
    assert!(within(&world.neighbour, || ask_tcp((HOST, 8080))).is_ok());
    run(async {
        let networks = world.open(Config::default());
        assert_eq!(networks.get("bridge").unwrap().id, id);
        let live = LiveContainer {
            id: "c1".to_owned(),
            pid: std::process::id(),
            shared: true,
            dns: wharf_network::DnsConfig::default(),
        };
        networks.restore(&[live]).await.unwrap();
        assert_eq!(
            ask_tcp((Ipv4Addr::LOCALHOST, 8080)).unwrap(),
            "172.17.0.1 ping"
        );
        assert!(within(&world.neighbour, || ask_tcp((HOST, 8080))).is_ok());
        assert!(networks.endpoints_of("c2").is_empty());
        networks.shutdown().await;
        let other = networks
            .connect("c3", "bridge", named("other", &[]))
            .await
            .unwrap();
        assert_eq!(other.info.address.unwrap().ip, Ipv4Addr::new(172, 17, 0, 3));
        let error = networks
            .connect("c4", "bridge", named("two", &ports))
            .await
            .unwrap_err();
        assert!(error.to_string().ends_with("port is already allocated"));
        networks.shutdown().await;
    });
}

#[test]
fn a_lost_table_and_a_lost_bridge_are_repaired() {
    let world = World::enter();
    let ports = [binding(8080, 80, Protocol::Tcp)];
    let web = run(async {
        let networks = world.start().await;
        let web = networks.connect("c1", "bridge", named("web", &ports)).await;
        networks.shutdown().await;
        web.unwrap().netns.unwrap()
    });
    serve_tcp(&web, 80);
    // Without a daemon it is everybody's.
    let mut nftables = Nftables::open().unwrap();
    nftables.commit(&Ruleset::removal()).unwrap();
    assert!(nftables.tables(Family::Inet).unwrap().is_empty());
    run(async {
        let networks = world.open(Config::default());
        let live = LiveContainer {
            id: "c1".to_owned(),
            pid: std::process::id(),
            shared: true,
            dns: wharf_network::DnsConfig::default(),
        };
        networks.restore(std::slice::from_ref(&live)).await.unwrap();
        assert_eq!(nftables.tables(Family::Inet).unwrap(), ["wharf"]);
        assert!(within(&world.neighbour, || ask_tcp((HOST, 8080))).is_ok());
        Route::open()
            .unwrap()
            .apply(&[delete_link(LinkName::Name("wharf0"))])
            .unwrap();
        networks.restore(&[live]).await.unwrap();
        networks
            .connect("c2", "bridge", named("two", &[]))
            .await
            .unwrap();
        assert!(
            within(&world.neighbour, || ask_tcp((HOST, 8080))).is_ok(),
            "its link is a port again"
        );
        networks.shutdown().await;
    });
}

#[test]
fn the_table_is_the_daemons_while_it_lives() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let mut nftables = Nftables::open().unwrap();
        let tables = nftables.tables(Family::Inet).unwrap();
        assert_eq!(tables, ["wharf"]);
        match nftables.commit(&Ruleset::removal()) {
            Err(error) => assert!(error.is(Errno::PERM), "{error}"),
            Ok(()) => assert!(!owns_tables(), "this kernel knows owners of tables"),
        }
        networks.shutdown().await;
    });
}

/// Whether the kernel lets a table outlive the socket that owns it: since Linux 6.9.
fn owns_tables() -> bool {
    let mut batch = Batch::new(Family::Inet, "probe");
    batch.add_own_table();
    match Nftables::open().unwrap().commit(&batch) {
        Ok(()) => true,
        Err(error) => {
            assert!(error.is(Errno::OPNOTSUPP), "{error}");
            false
        }
    }
}

#[test]
fn a_container_that_starts_again_at_once_has_its_address_again() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let connect = async |id: &str| {
            let made = networks.connect(id, "bridge", named(id, &[])).await;
            made.unwrap().info.address.unwrap().ip
        };
        let first = connect("c1").await;
        let others = [connect("c2").await, connect("c3").await];
        for _ in 0..20 {
            networks.disconnect("c1").await.unwrap();
            assert_eq!(connect("c1").await, first);
        }
        // Whoever has ended gives it to whoever comes next, when its link is gone.
        networks.disconnect("c1").await.unwrap();
        networks.shutdown().await;
        assert_eq!(connect("c4").await, first);
        assert!(!others.contains(&connect("c1").await));
        networks.shutdown().await;
    });
}

#[test]
fn the_subnet_makes_way_for_the_hosts_own() {
    let world = World::enter();
    let mut route = Route::open().unwrap();
    let index = route.link("lan0").unwrap().unwrap().index;
    let taken = "172.17.5.1/24".parse().unwrap();
    route
        .apply(&[wharf_netlink::add_address(index, taken)])
        .unwrap();
    run(async {
        let networks = world.open(Config::default());
        let pool = networks.get("bridge").unwrap().ipam.pools.remove(0);
        assert_eq!(pool.subnet.to_string(), "172.18.0.0/16");
        let config = Config {
            bip: Some("10.9.8.1/24".parse().unwrap()),
            ..Config::default()
        };
        let pool = world
            .open(config)
            .get("bridge")
            .unwrap()
            .ipam
            .pools
            .remove(0);
        assert_eq!(
            (pool.subnet.to_string(), pool.gateway.unwrap().to_string()),
            ("10.9.8.0/24".to_owned(), "10.9.8.1".to_owned())
        );
    });
}

#[test]
fn fifty_at_once_get_fifty_addresses() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50 {
            let networks = networks.clone();
            tasks.spawn(async move {
                let id = format!("c{number}");
                networks
                    .connect(&id, "bridge", named(&id, &[]))
                    .await
                    .unwrap()
            });
        }
        let endpoints = tasks.join_all().await;
        let mut addresses: Vec<_> = endpoints
            .iter()
            .map(|e| e.info.address.unwrap().ip)
            .collect();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 50);
        networks.shutdown().await;
    });
}

/// The kernel has what the rules of all that is there are, however it came to that.
fn kernel_has_the_rules(networks: &Networks) {
    let list = networks.list();
    let endpoints: Vec<_> = list
        .iter()
        .flat_map(|network| networks.endpoints(&network.id))
        .collect();
    let publishing = Config::default().publishing();
    let ours = Ruleset::of(&list, &endpoints, &publishing).to_string();
    if let Some(kernels) = nft_list() {
        assert_eq!(in_one_order(&kernels), in_one_order(&ours));
    }
}

/// Which elements of a set come first, and how many are in a line, is up to `nft`.
fn in_one_order(rules: &str) -> String {
    const ELEMENTS: &str = "elements = {";
    let mut parts = rules.split(ELEMENTS);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (elements, rest) = part.split_once('}').unwrap();
        let mut elements: Vec<&str> = elements.split(',').map(str::trim).collect();
        elements.sort_unstable();
        out += &format!("{ELEMENTS} {} }}{rest}", elements.join(", "));
    }
    out
}

#[test]
fn the_kernel_shows_the_rules_as_we_print_them() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        let one = PortBinding {
            host_ip: Some(IpAddr::V4(HOST)),
            ..binding(8081, 81, Protocol::Udp)
        };
        let ports = [binding(8080, 80, Protocol::Tcp), one];
        networks
            .connect("c1", "bridge", named("web", &ports))
            .await
            .unwrap();
        kernel_has_the_rules(&networks);
        // From here on the table is changed, not made: an entry, chains, an entry that leads elsewhere, and what goes.
        networks
            .connect(
                "c2",
                "bridge",
                named("two", &[binding(8082, 80, Protocol::Tcp)]),
            )
            .await
            .unwrap();
        kernel_has_the_rules(&networks);
        let mut nftables = Nftables::open().unwrap();
        let mut handles = || {
            nftables
                .rule_handles(Family::Inet, "wharf", "forward")
                .unwrap()
        };
        let before = handles();
        assert!(!before.is_empty());
        let other = {
            let new = NewNetwork {
                name: "other".to_owned(),
                ..NewNetwork::default()
            };
            networks.create(new).await.unwrap()
        };
        kernel_has_the_rules(&networks);
        // On kernels on which the table is the daemon's own.
        if nft_owns() {
            let after = handles();
            assert!(before.len() < after.len());
            assert!(before.iter().all(|rule| after.contains(rule)), "made anew");
        }
        networks.disconnect("c1").await.unwrap();
        kernel_has_the_rules(&networks);
        networks
            .connect("c3", &other.id, named("web", &ports))
            .await
            .unwrap();
        kernel_has_the_rules(&networks);
        networks.disconnect("c3").await.unwrap();
        networks.remove(&other.id).await.unwrap();
        kernel_has_the_rules(&networks);
        networks.disconnect("c2").await.unwrap();
        kernel_has_the_rules(&networks);
        networks.shutdown().await;
    });
}

#[test]
fn a_full_bridge_says_how_to_go_on() {
    let world = World::enter();
    run(async {
        let networks = world.start().await;
        // All of its 1,023 ports but one; nothing is up, so that nothing goes round.
        let pairs = (0..511).map(|number| {
            let (one, other) = (format!("p{number}a"), format!("p{number}b"));
            let ports = [&one, &other].map(|name| format!("link set {name} master wharf0\n"));
            format!(
                "link add {one} type veth peer name {other}\n{}",
                ports.concat()
            )
        });
        let batch = world.folder.path().join("batch");
        std::fs::write(&batch, pairs.collect::<String>()).unwrap();
        let done = std::process::Command::new("ip")
            .arg("-batch")
            .arg(&batch)
            .status();
        assert!(done.unwrap().success());
        let last = networks.connect("c1", "bridge", named("last", &[])).await;
        let last = last.unwrap();
        let usage = || networks.usage(&networks.get("bridge").unwrap());
        let before = usage();
        let refused = networks.connect("c2", "bridge", named("late", &[])).await;
        assert_eq!(
            refused.unwrap_err().to_string(),
            "network bridge is full: a Linux bridge has 1023 ports, and all of wharf0 are taken; put further containers \
             into another network"
        );
        // Nothing of the try is left, and one that goes makes room.
        networks.shutdown().await;
        assert_eq!(usage(), before);
        drop(last);
        networks.disconnect("c1").await.unwrap();
        networks.shutdown().await;
        networks
            .connect("c2", "bridge", named("late", &[]))
            .await
            .unwrap();
    });
}
