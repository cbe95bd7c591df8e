//! What is asked of the kernel is what it then shows, in a fresh network namespace.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;
use wharf_netlink::nft::{
    BaseChain, Batch, ChainKind, Expression, Family, Field, Hook, Map, Verdict,
};
use wharf_netlink::{
    LinkChange, LinkName, Nftables, Peer, Route, Veth, add_address, add_bridge, add_neighbour,
    add_route, add_veth, delete_link, set_link,
};

#[expect(
    deprecated,
    reason = "its replacement is unsafe for flags that are not used here"
)]
fn enter() -> OwnedFd {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

#[test]
fn links_addresses_and_routes() {
    let netns = enter();
    let mut route = Route::open().unwrap();
    let veth = Veth {
        name: "first",
        mtu: 1450,
        peer: Peer {
            name: "other",
            netns: netns.as_fd(),
        },
    };
    route
        .apply(&[add_bridge("br0", Some(1400)), add_veth(&veth)])
        .unwrap();
    let bridge = route.link("br0").unwrap().unwrap();
    assert_eq!(
        (bridge.kind.as_str(), bridge.mtu, bridge.up),
        ("bridge", 1400, false)
    );
    let first = route.link("first").unwrap().unwrap().index;
    let change = LinkChange {
        up: true,
        name: Some("port0"),
        mac: Some([2, 0, 0, 0, 0, 9]),
        mtu: Some(1300),
        master: Some(bridge.index),
        no_link_local: true,
    };
    route
        .apply(&[set_link(LinkName::Index(first), &change)])
        .unwrap();
    let port = route.link("port0").unwrap().unwrap();
    assert_eq!(
        (port.mac.as_slice(), port.mtu, port.up),
        (&[2, 0, 0, 0, 0, 9][..], 1300, true)
    );
    assert_eq!(port.master, Some(bridge.index));
    assert_eq!(route.link("first").unwrap(), None);
    let up = LinkChange {
        up: true,
        ..LinkChange::default()
    };
    route
        .apply(&[
            set_link(LinkName::Index(bridge.index), &up),
            add_address(bridge.index, "10.1.2.3/24".parse().unwrap()),
            add_route(
                "0.0.0.0/0".parse().unwrap(),
                Some("10.1.2.1".parse().unwrap()),
                None,
            ),
            add_neighbour(
                bridge.index,
                "10.1.2.1".parse().unwrap(),
                [2, 0, 0, 0, 0, 1],
            ),
        ])
        .unwrap();
    let addresses = route.addresses().unwrap();
    assert!(
        addresses
            .iter()
            .any(|a| a.link == bridge.index && a.network.to_string() == "10.1.2.3/24")
    );
    let routes = route.routes().unwrap();
    let default = routes
        .iter()
        .find(|r| r.destination.prefix_len() == 0)
        .unwrap();
    assert_eq!(
        (default.gateway, default.link),
        (Some("10.1.2.1".parse().unwrap()), Some(bridge.index))
    );
    assert!(
        routes
            .iter()
            .any(|r| r.destination.to_string() == "10.1.2.0/24" && r.gateway.is_none())
    );
    route
        .apply(&[delete_link(LinkName::Index(bridge.index))])
        .unwrap();
    assert_eq!(route.link("br0").unwrap(), None);
}

#[test]
fn many_links_go_at_once() {
    let _netns = enter();
    let mut route = Route::open().unwrap();
    // As many as do not go with one write.
    let names: Vec<String> = (0..300).map(|number| format!("d{number}")).collect();
    let made: Vec<_> = names.iter().map(|name| add_bridge(name, None)).collect();
    for made in made.chunks(100) {
        route.apply(made).unwrap();
    }
    let kept = ["lo", "d0", "d299"];
    let gone = names.iter().map(String::as_str);
    let gone: Vec<_> = gone
        .filter(|name| !kept.contains(name))
        .chain(["missing"])
        .collect();
    let mut left = |names: &[&str]| {
        route.delete_all(names).unwrap();
        let links = route.links().unwrap();
        links.into_iter().map(|link| (link.name, link.group))
    };
    let stay = kept.map(|name| (name.to_owned(), 0));
    assert_eq!(left(&gone).collect::<Vec<_>>(), stay);
    assert_eq!(left(&["d0"]).len(), 2);
    assert_eq!(left(&["d0", "missing"]).len(), 2);
}

#[test]
fn a_pair_reaches_into_another_namespace() {
    let inside = std::thread::spawn(|| (enter(), Route::open().unwrap()));
    let (netns, mut inside) = inside.join().unwrap();
    enter();
    let mut route = Route::open().unwrap();
    let veth = Veth {
        name: "outer",
        mtu: 1450,
        peer: Peer {
            name: "eth0",
            netns: netns.as_fd(),
        },
    };
    route.apply(&[add_veth(&veth)]).unwrap();
    assert_eq!(inside.link("eth0").unwrap().unwrap().mtu, 1450);
    assert_eq!(inside.link("outer").unwrap(), None);
    route
        .apply(&[delete_link(LinkName::Name("outer"))])
        .unwrap();
    assert_eq!(inside.link("eth0").unwrap(), None);
}

#[test]
fn the_first_refusal_of_a_batch_is_named_and_the_rest_is_done() {
    enter();
    let mut route = Route::open().unwrap();
    let gateway = Some("10.9.9.9".parse().unwrap());
    let error = route
        .apply(&[
            add_bridge("a0", None),
            add_route("10.0.0.0/8".parse().unwrap(), gateway, None),
            add_bridge("a0", None),
            add_bridge("b0", None),
        ])
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "add route 10.0.0.0/8: Nexthop has invalid gateway"
    );
    assert!(error.is(Errno::NETUNREACH));
    assert!(route.link("b0").unwrap().is_some());
    let error = route
        .apply(&[delete_link(LinkName::Name("none"))])
        .unwrap_err();
    assert!(error.is(Errno::NODEV));
    // The socket is in step after an error.
    assert_eq!(
        route
            .links()
            .unwrap()
            .iter()
            .filter(|l| l.kind == "bridge")
            .count(),
        2
    );
}

fn table_with(rules: usize, elements: u16) -> Batch<'static> {
    let mut batch = Batch::new(Family::Inet, "test");
    batch.add_table();
    batch.delete_table();
    batch.add_table();
    batch.add_map(&Map {
        name: "ports",
        key: &[Field::Port],
        value: &[],
        elements: (0..elements)
            .map(|n| ([&n.to_be_bytes()[..], &[0, 0]].concat(), Vec::new()))
            .collect(),
    });
    let forward = BaseChain {
        kind: ChainKind::Filter,
        hook: Hook::Forward,
        priority: 0,
    };
    batch.add_chain("forward", Some(forward));
    for _ in 0..rules {
        batch.add_rule(
            "forward",
            &[Expression::Counter, Expression::Verdict(Verdict::Accept)],
        );
    }
    batch
}

#[test]
fn a_transaction_is_done_as_a_whole_or_not_at_all() {
    enter();
    let mut nftables = Nftables::open().unwrap();
    assert!(nftables.tables(Family::Inet).unwrap().is_empty());
    nftables.commit(&table_with(1, 3)).unwrap();
    assert_eq!(nftables.tables(Family::Inet).unwrap(), ["test"]);
    let mut bad = Batch::new(Family::Inet, "test");
    bad.delete_table();
    bad.add_rule("nowhere", &[Expression::Verdict(Verdict::Accept)]);
    let error = nftables.commit(&bad).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("nftables: add rule to nowhere"),
        "{error}"
    );
    assert!(error.is(Errno::NOENT));
    assert_eq!(nftables.tables(Family::Inet).unwrap(), ["test"]);
}

#[test]
fn a_large_ruleset_fits() {
    enter();
    let mut nftables = Nftables::open().unwrap();
    nftables.commit(&table_with(3000, 20_000)).unwrap();
    nftables.commit(&table_with(1, 1)).unwrap();
}
