//! What is said to firewalld, and what does not wait for it.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use common::bus::{Bus, State};
use common::{World, named, run, within};
use wharf_network::{Config, DnsConfig, LiveContainer, Networks, NewNetwork};

/// A host with this firewalld, and networks that have not been restored yet.
fn beside(world: &World, firewalld: State) -> (Bus, Networks) {
    let socket = world.folder.path().join("bus");
    let bus = Bus::start(&socket, firewalld);
    let networks = world.open(Config {
        ready_namespaces: 0,
        bus: Some(socket),
        ..Config::default()
    });
    (bus, networks)
}

fn new(name: &str) -> NewNetwork {
    NewNetwork {
        name: name.to_owned(),
        ..NewNetwork::default()
    }
}

#[test]
fn bridges_are_in_the_zone_while_they_are_there() {
    let world = World::enter();
    run(async {
        let (bus, networks) = beside(&world, State::default());
        networks.restore(&[]).await.unwrap();
        let network = networks.create(new("n1")).await.unwrap();
        let bridge = network.bridge.unwrap().interface;
        assert!(bus.asked("Hello", 0).zone.contains(&bridge));
        networks.remove("n1").await.unwrap();
        assert_eq!(bus.asked("Hello", 0).zone.len(), 1, "the default bridge");
    });
}

/// Policies came with firewalld 0.9: dockerd's zone does without.
#[test]
fn a_firewalld_without_policies_lets_bridges_through() {
    let world = World::enter();
    run(async {
        let old = State {
            old: true,
            ..State::default()
        };
        let (bus, networks) = beside(&world, old);
        networks.restore(&[]).await.unwrap();
        assert_eq!(bus.asked("Hello", 0).zone.len(), 1);
    });
}

/// It says that it has read its settings anew, and has not: asked again, it would go on for ever.
#[test]
fn a_firewalld_that_reads_nothing_is_asked_to_once() {
    let world = World::enter();
    run(async {
        let stubborn = State {
            stubborn: true,
            ..State::default()
        };
        let (bus, networks) = beside(&world, stubborn);
        networks.restore(&[]).await.unwrap();
        // The bridge is asked for after a reload: at the start, and when it has said that it has done so.
        assert_eq!(bus.asked("queryInterface", 2).count("reload"), 1);
    });
}

#[test]
fn names_of_live_containers_do_not_wait_for_firewalld() {
    let world = World::enter();
    let netns = run(async {
        let networks = world.open(Config::default());
        networks.restore(&[]).await.unwrap();
        networks.create(new("n1")).await.unwrap();
        let mut config = named("web", &[]);
        config.aliases = vec!["web".to_owned()];
        let made = networks.connect("c1", "n1", config).await.unwrap();
        networks.shutdown().await;
        made.netns.unwrap()
    });
    let mut process = within(&netns, || Command::new("sleep").arg("600").spawn().unwrap());
    let live = LiveContainer {
        id: "c1".to_owned(),
        pid: process.id(),
        shared: false,
        dns: DnsConfig::default(),
    };
    run(async {
        let slow = State {
            held: Some("getZones"),
            ..State::default()
        };
        let (bus, networks) = beside(&world, slow);
        let restored = tokio::spawn({
            let networks = networks.clone();
            async move { networks.restore(&[live]).await }
        });
        drop(bus.asked("getZones", 1));
        let answer = within(&netns, || {
            let client = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            client
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            // The IPv4 address of `web`.
            let query =
                b"\x07\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01";
            client.send_to(query, "127.0.0.11:53").unwrap();
            let mut answer = [0; 512];
            client
                .recv(&mut answer)
                .map(|length| answer[..length].to_vec())
        });
        let answer = answer.unwrap();
        assert_eq!(
            (answer[3] & 15, answer[7]),
            (0, 1),
            "found, and one address"
        );
        bus.release();
        restored.await.unwrap().unwrap();
        networks.shutdown().await;
    });
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn nobody_waits_for_a_bridge_to_be_dismissed() {
    let world = World::enter();
    run(async {
        let slow = State {
            held: Some("removeInterface"),
            ..State::default()
        };
        let (bus, networks) = beside(&world, slow);
        networks.restore(&[]).await.unwrap();
        networks.create(new("n1")).await.unwrap();
        let removed = tokio::spawn({
            let networks = networks.clone();
            async move { networks.remove("n1").await }
        });
        drop(bus.asked("removeInterface", 1));
        // A daemon that dies now leaves no more than a name in the zone, and a network without a bridge is made.
        let db = rusqlite::Connection::open(world.folder.path().join("wharf.db")).unwrap();
        let count = "SELECT count(*) FROM record WHERE kind = 'networks'";
        let networks_left: i64 = db.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(networks_left, 3);
        let settings = NewNetwork {
            config_only: true,
            ..new("settings")
        };
        networks.create(settings).await.unwrap();
        bus.release();
        removed.await.unwrap().unwrap();
    });
}
