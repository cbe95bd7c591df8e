//! What crosses the wire: drivers, gateway modes, published ports and the firewall, seen from another host on the LAN
//! (a namespace behind a link).

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use super::containers::until;
use super::talk;
use crate::Case;
use crate::case::skip;

/// Answers with the address that a client comes from, on ports 80 and 81.
const SERVE: &str = "mkdir -p /www/cgi-bin; \
    printf '#!/bin/sh\\nprintf \"\\\\r\\\\n\"; echo \"from $REMOTE_ADDR\"\\n' > /www/cgi-bin/ip; \
    chmod +x /www/cgi-bin/ip; httpd -p 81 -h /www; exec httpd -f -p 80 -h /www";

/// Puts another host on the LAN: 192.0.2.2, beside this one's 192.0.2.1, with the same in IPv6; this host is its
/// router.
pub(super) fn lan(case: &Case) -> Result<()> {
    let lines = [
        "mkdir -p /run/netns && ip netns add lan",
        "ip link add lan0 type veth peer name eth0 netns lan && ip link set lan0 up",
        "ip addr add 192.0.2.1/24 dev lan0 && ip -6 addr add 2001:db8::1/64 dev lan0 nodad",
        "ip -n lan link set lo up && ip -n lan link set eth0 up",
        "ip -n lan addr add 192.0.2.2/24 dev eth0 && ip -n lan -6 addr add 2001:db8::2/64 dev eth0 nodad",
        "ip -n lan route add default via 192.0.2.1 && ip -n lan -6 route add default via 2001:db8::1",
    ];
    case.engine.world.sh(&lines.join(" && ")).map(drop)
}

/// Runs a shell line on the other host.
pub(super) fn there(case: &Case, line: &str) -> Result<String> {
    let line = line.replace('\'', "'\\''");
    case.engine
        .world
        .sh(&format!("ip netns exec lan sh -c '{line}'"))
}

/// Whom a server says that the other host is; nothing if it does not answer within so many seconds.
pub(super) fn ask(case: &Case, server: &str, seconds: u32) -> Result<String> {
    let line =
        format!("timeout {seconds} busybox wget -qO- http://{server}/cgi-bin/ip 2>&1 || true");
    let seen = there(case, &line)?;
    // The server has one socket for both families.
    let bare = seen.trim().replace(['[', ']'], "");
    Ok(bare.replace("::ffff:", ""))
}

/// Whom a server says that the other host is. It may take its time on a machine that is busy.
fn seen_from_there(case: &Case, server: &str) -> Result<String> {
    ask(case, server, 20)
}

/// Whether a server answers the other host.
pub(super) fn answers(case: &Case, server: &str) -> Result<bool> {
    Ok(seen_from_there(case, server)?.starts_with("from "))
}

/// Whether a server does not.
pub(super) fn is_silent(case: &Case, server: &str) -> Result<bool> {
    Ok(!ask(case, server, 2)?.starts_with("from "))
}

pub(super) fn serve(case: &Case, name: &str, options: &[&str]) -> Result<()> {
    let mut args = vec!["run", "-d", "--name", name];
    args.extend(options);
    args.extend(["busybox", "sh", "-c", SERVE]);
    case.ok(&args)?;
    until(|| {
        let line =
            "wget -qO- http://localhost:80/cgi-bin/ip && wget -qO- http://localhost:81/cgi-bin/ip";
        Ok(case.run(&["exec", name, "sh", "-c", line])?.code == 0)
    })
}

pub(super) fn inspect(case: &Case, name: &str, template: &str) -> Result<String> {
    case.ok(&["inspect", "-f", template, name])
}

pub(super) fn address(case: &Case, name: &str) -> Result<String> {
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    inspect(case, name, template)
}

/// A daemon with this daemon.json instead of the case's own.
pub(super) fn restart_with(case: &mut Case, config: &serde_json::Value) -> Result<()> {
    *case = Case::with(case.engine.kind, case.client, Some(config.to_string()))?;
    Ok(())
}

pub(crate) fn macvlan_is_on_the_lan(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return skip("The client here gives hardware addresses from 1.44 on only");
    }
    lan(case)?;
    case.ok(&[
        "network",
        "create",
        "-d",
        "macvlan",
        "-o",
        "parent=lan0",
        "--subnet",
        "192.0.2.0/24",
        "--ip-range",
        "192.0.2.128/25",
        "--gateway",
        "192.0.2.2",
        "lan",
    ])?;
    serve(
        case,
        "m1",
        &[
            "--network",
            "lan",
            "--ip",
            "192.0.2.77",
            "--mac-address",
            "02:00:00:00:00:77",
        ],
    )?;
    let seen = seen_from_there(case, "192.0.2.77")?;
    ensure!(seen == "from 192.0.2.2", "{seen}");
    let neighbour = there(case, "ip neigh show 192.0.2.77")?;
    ensure!(neighbour.contains("02:00:00:00:00:77"), "{neighbour}");
    let route = case.ok(&["exec", "m1", "ip", "route"])?;
    ensure!(route.contains("default via 192.0.2.2 dev eth0"), "{route}");
    // Names work among them, and addresses come from the range.
    case.ok(&[
        "run",
        "-d",
        "--name",
        "m2",
        "--network",
        "lan",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.ok(&["exec", "m2", "ping", "-c1", "-W5", "m1"])?;
    let ip = address(case, "m2")?;
    ensure!(ip.starts_with("192.0.2.1"), "{ip}");
    // Live, on and off.
    case.ok(&["network", "create", "n1"])?;
    case.ok(&["network", "connect", "n1", "m2"])?;
    case.ok(&["network", "disconnect", "lan", "m2"])?;
    let links = case.ok(&["exec", "m2", "sh", "-c", "ls /sys/class/net"])?;
    ensure!(links.contains("eth1") && !links.contains("eth0"), "{links}");
    case.ok(&["network", "connect", "--ip", "192.0.2.200", "lan", "m2"])?;
    let seen = there(case, "busybox ping -c1 -W5 192.0.2.200")?;
    ensure!(seen.contains("1 packets received"), "{seen}");
    case.fails(&["network", "rm", "lan"], 1, "has active endpoints")?;
    case.ok(&["rm", "-f", "m1", "m2"])?;
    case.ok(&["network", "rm", "lan"])?;
    let links = case.engine.world.sh("ip -o link")?;
    ensure!(
        links.contains("lan0"),
        "a parent that was there stays: {links}"
    );
    Ok(())
}

pub(crate) fn shared_links_are_checked(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Says the same as 500, and the rest only when the first container starts");
    }
    lan(case)?;
    for (options, words) in [
        (
            &["-d", "macvlan", "-o", "parent=lo"][..],
            "loopback interface is not a valid macvlan parent link",
        ),
        (
            &["-d", "macvlan", "-o", "parent=nope"],
            "invalid subinterface vlan name nope, example formatting is eth0.10",
        ),
        (
            &["-d", "macvlan", "-o", "parent=nope.7"],
            "invalid parent interface nope: no such interface",
        ),
        (
            &["-d", "macvlan", "-o", "parent=lan0.5000"],
            "vlan id must be between 1-4094, received: 5000",
        ),
        (
            &[
                "-d",
                "macvlan",
                "-o",
                "parent=lan0",
                "-o",
                "macvlan_mode=odd",
            ],
            "requested macvlan mode 'odd' is not valid",
        ),
        (
            &["-d", "ipvlan", "-o", "parent=lan0", "-o", "ipvlan_mode=l4"],
            "requested ipvlan mode 'l4' is not valid",
        ),
        (
            &[
                "-d",
                "macvlan",
                "-o",
                "parent=lan0",
                "-o",
                "com.docker.network.bridge.name=x",
            ],
            "not supported",
        ),
    ] {
        let mut args = vec!["network", "create"];
        args.extend(options);
        args.push("n1");
        case.fails(&args, 1, words)?;
    }
    case.ok(&[
        "network",
        "create",
        "-d",
        "macvlan",
        "-o",
        "parent=lan0",
        "-o",
        "macvlan_mode=private",
        "m1",
    ])?;
    case.fails(
        &[
            "network",
            "create",
            "-d",
            "ipvlan",
            "-o",
            "parent=lan0",
            "i1",
        ],
        1,
        "network m1 is already using parent interface lan0 with another driver",
    )?;
    case.fails(
        &[
            "network",
            "create",
            "-d",
            "macvlan",
            "-o",
            "parent=lan0",
            "-o",
            "macvlan_mode=passthru",
            "m2",
        ],
        1,
        "already using parent interface lan0",
    )?;
    let names = case.ok(&["network", "ls", "--format", "{{.Name}}"])?;
    ensure!(names == "bridge\nhost\nm1\nnone", "{names}");
    // Nothing of the tries is left.
    let links = case.engine.world.sh("ip -o link")?;
    ensure!(!links.contains("dm-"), "{links}");
    Ok(())
}

/// Where the kernel has ipvlan and tagged links: that of the test machine has not, that of the emulated one has.
pub(crate) fn ipvlan_in_all_its_modes(case: &mut Case) -> Result<()> {
    let has = case.engine.world.sh(
        "ip link add k0 type veth peer name k1 && ip link add k2 link k0 type ipvlan mode l2; echo $?; ip link del k0",
    )?;
    lan(case)?;
    if has.trim() != "0" {
        if case.engine.kind == EngineKind::Wharf {
            let args = [
                "network",
                "create",
                "-d",
                "ipvlan",
                "-o",
                "parent=lan0",
                "i1",
            ];
            case.fails(&args, 1, "this host's kernel has no ipvlan")?;
        }
        return Ok(());
    }
    let create = |name: &str, subnet: &str, more: &[&str]| {
        let create = ["network", "create", "-d", "ipvlan", "-o", "parent=lan0"];
        case.ok(&[&create[..], more, &["--subnet", subnet, name]].concat())
    };
    create("i2", "192.0.2.0/24", &[])?;
    serve(case, "c2", &["--network", "i2", "--ip", "192.0.2.78"])?;
    let seen = seen_from_there(case, "192.0.2.78")?;
    ensure!(seen == "from 192.0.2.2", "l2: {seen}");
    case.ok(&["rm", "-f", "c2"])?;
    case.ok(&["network", "rm", "i2"])?;
    for mode in ["l3", "l3s"] {
        let option = format!("ipvlan_mode={mode}");
        create("i3", "198.51.100.0/24", &["-o", &option])?;
        serve(case, "c3", &["--network", "i3", "--ip", "198.51.100.9"])?;
        // Nobody answers for its address on the wire: others send by way of the parent.
        let seen = seen_from_there(case, "198.51.100.9")?;
        ensure!(seen == "from 192.0.2.2", "{mode}: {seen}");
        let route = case.ok(&["exec", "c3", "ip", "route"])?;
        ensure!(route.contains("default dev eth0"), "{mode}: {route}");
        case.ok(&["rm", "-f", "c3"])?;
        case.ok(&["network", "rm", "i3"])?;
    }
    if case.engine.kind.is_dockerd() {
        return Ok(());
    }
    // Links of our own: one that leads nowhere, and a tagged one; they go with their networks.
    case.ok(&["network", "create", "-d", "macvlan", "alone"])?;
    case.prints(
        &["network", "inspect", "-f", "{{.Internal}}", "alone"],
        "true",
    )?;
    case.ok(&[
        "network",
        "create",
        "-d",
        "macvlan",
        "-o",
        "parent=lan0.7",
        "tagged",
    ])?;
    let links = case.engine.world.sh("ip -o link")?;
    ensure!(links.contains("dm-") && links.contains("lan0.7"), "{links}");
    case.ok(&["network", "rm", "alone", "tagged"])?;
    let links = case.engine.world.sh("ip -o link")?;
    ensure!(
        !links.contains("dm-") && !links.contains("lan0.7"),
        "{links}"
    );
    Ok(())
}

pub(crate) fn only_published_ports_are_reached(case: &mut Case) -> Result<()> {
    lan(case)?;
    case.ok(&["network", "create", "n1"])?;
    let ports = [
        "--network",
        "n1",
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1:8081:81",
    ];
    serve(case, "s1", &ports)?;
    let ip = address(case, "s1")?;
    let seen = seen_from_there(case, "192.0.2.1:8080")?;
    ensure!(seen == "from 192.0.2.2", "the client's own address: {seen}");
    ensure!(is_silent(case, "192.0.2.1:8081")?, "a port of the loopback");
    if !case.engine.kind.is_dockerd() {
        // Since 28.0; those here are older, and let in all where the host forwarded before they came.
        ensure!(
            is_silent(case, &format!("{ip}:81"))?,
            "a port that is not published"
        );
        ensure!(
            is_silent(case, &format!("{ip}:80"))?,
            "published, but not there"
        );
        // A neighbour who sends to the loopback of others.
        there(
            case,
            "ip route add 127.0.0.0/8 via 192.0.2.1 table 7 2>/dev/null; ip addr add 127.0.0.9/32 dev eth0; true",
        )?;
        ensure!(
            is_silent(case, "127.0.0.1:8081")?,
            "the loopback is nobody else's"
        );
    }
    // The host itself, by any of its addresses; the container itself; another network.
    for host in ["127.0.0.1:8080", "192.0.2.1:8080", "127.0.0.1:8081"] {
        let line = format!("timeout 20 busybox wget -qO- http://{host}/cgi-bin/ip");
        ensure!(
            case.engine.world.sh(&line)?.starts_with("from"),
            "{host} from the host"
        );
    }
    for (network, who) in [
        ("container:s1", "itself"),
        ("n1", "a neighbour"),
        ("bridge", "another network"),
    ] {
        let seen = case.ok(&[
            "run",
            "--rm",
            "--network",
            network,
            "busybox",
            "timeout",
            "5",
            "wget",
            "-qO-",
            "http://192.0.2.1:8080/cgi-bin/ip",
        ])?;
        ensure!(
            seen.starts_with("from"),
            "by the host's address from {who}: {seen}"
        );
    }
    Ok(())
}

pub(crate) fn gateway_modes(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Since 27.0");
    }
    lan(case)?;
    let mode = |mode: &str| format!("com.docker.network.bridge.gateway_mode_ipv4={mode}");
    case.ok(&["network", "create", "-o", &mode("routed"), "routed"])?;
    case.ok(&["network", "create", "-o", &mode("nat-unprotected"), "open"])?;
    serve(case, "r1", &["--network", "routed", "-p", "8080:80"])?;
    serve(case, "o1", &["--network", "open"])?;
    let (routed, open) = (address(case, "r1")?, address(case, "o1")?);
    let seen = seen_from_there(case, &format!("{routed}:80"))?;
    ensure!(seen == "from 192.0.2.2", "{seen}");
    ensure!(is_silent(case, &format!("{routed}:81"))?, "not published");
    ensure!(is_silent(case, "192.0.2.1:8080")?, "no port of the host's");
    there(case, &format!("busybox ping -c1 -W5 {routed}"))?;
    let ports = inspect(
        case,
        "r1",
        "{{json (index .NetworkSettings.Ports \"80/tcp\")}}",
    )?;
    ensure!(
        ports.contains(r#"{"HostIp":"0.0.0.0","HostPort":""}"#),
        "{ports}"
    );
    ensure!(answers(case, &format!("{open}:81"))?, "everything is open");
    // Whoever is routed has its own address outside.
    serve(case, "b1", &[])?;
    case.fails(
        &["network", "create", "-o", &mode("isolated"), "n1"],
        1,
        "gateway mode 'isolated' can only be used for an internal network",
    )?;
    case.ok(&[
        "network",
        "create",
        "--internal",
        "-o",
        &mode("isolated"),
        "alone",
    ])?;
    let id = case.ok(&["network", "inspect", "-f", "{{slice .Id 0 12}}", "alone"])?;
    let addresses = case
        .engine
        .world
        .sh(&format!("ip -4 -o addr show br-{id}"))?;
    ensure!(
        addresses.is_empty(),
        "the host has no address there: {addresses}"
    );
    Ok(())
}

pub(crate) fn ipv6_is_published(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Needs ip6tables, and before 27.0 to be told so");
    }
    lan(case)?;
    case.ok(&["network", "create", "--ipv6", "dual"])?;
    case.ok(&["network", "create", "--ipv4=false", "--ipv6", "six"])?;
    serve(case, "d1", &["--network", "dual", "-p", "8080:80"])?;
    serve(case, "s1", &["--network", "six", "-p", "8081:80"])?;
    for (port, name) in [(8080, "d1"), (8081, "s1")] {
        let seen = seen_from_there(case, &format!("[2001:db8::1]:{port}"))?;
        ensure!(seen == "from 2001:db8::2", "{name}: {seen}");
        let own = inspect(
            case,
            name,
            "{{range .NetworkSettings.Networks}}{{.GlobalIPv6Address}}{{end}}",
        )?;
        ensure!(
            is_silent(case, &format!("[{own}]:81"))?,
            "{name}: not published"
        );
    }
    case.prints(&["port", "s1"], "80/tcp -> [::]:8081")?;
    addresses_that_end_alike(case)?;
    let addresses = case.ok(&["exec", "s1", "ip", "-4", "-o", "addr", "show", "eth0"])?;
    ensure!(addresses.is_empty(), "{addresses}");
    let shown = case.ok(&[
        "network",
        "inspect",
        "-f",
        "{{.EnableIPv4}} {{.EnableIPv6}} {{len .IPAM.Config}}",
        "six",
    ])?;
    ensure!(shown == "false true 1", "{shown}");
    case.ok(&[
        "run",
        "--rm",
        "--network",
        "six",
        "busybox",
        "ping",
        "-6",
        "-c1",
        "-W5",
        "s1",
    ])?;
    // By way of the host's address out into the world.
    case.ok(&[
        "run",
        "--rm",
        "--network",
        "six",
        "busybox",
        "ping",
        "-6",
        "-c1",
        "-W5",
        "2001:db8::2",
    ])?;
    case.fails(
        &["network", "create", "--ipv4=false", "n1"],
        1,
        "IPv4 or IPv6 must be enabled",
    )
}

/// A hardware address comes from four bytes of an IP address, and no two are the same.
fn addresses_that_end_alike(case: &Case) -> Result<()> {
    let network = ["--ipv4=false", "--ipv6", "--subnet", "fd00:78::/64"];
    case.ok(&[&["network", "create"], &network[..], &["alike"]].concat())?;
    for (name, ip) in [("e1", "fd00:78::77"), ("e2", "fd00:78::1:0:77")] {
        let run = [
            "run",
            "-d",
            "--name",
            name,
            "--network",
            "alike",
            "--ip6",
            ip,
        ];
        case.ok(&[&run[..], &["busybox", "sleep", "1000"]].concat())?;
    }
    let mac = |name| inspect(case, name, "{{.NetworkSettings.Networks.alike.MacAddress}}");
    ensure!(mac("e1")? != mac("e2")?, "{}", mac("e1")?);
    case.ok(&["exec", "e1", "ping", "-6", "-c1", "-W5", "e2"])
        .map(drop)
}

pub(crate) fn configuration_networks(case: &mut Case) -> Result<()> {
    case.ok(&[
        "network",
        "create",
        "--config-only",
        "--subnet",
        "10.20.0.0/24",
        "--label",
        "a=b",
        "cfg",
    ])?;
    case.ok(&["network", "create", "--config-from", "cfg", "n1"])?;
    let shown = case.ok(&[
        "network", "inspect", "-f",
        "{{.ConfigOnly}} {{.ConfigFrom.Network}} {{.Labels}} {{range .IPAM.Config}}{{.Subnet}}{{end}}", "cfg", "n1",
    ])?;
    ensure!(
        shown == "true  map[a:b] 10.20.0.0/24\nfalse cfg map[a:b] 10.20.0.0/24",
        "{shown}"
    );
    case.ok(&["run", "--rm", "--network", "n1", "busybox", "true"])?;
    case.fails(
        &["network", "create", "--config-from", "cfg", "--subnet", "10.21.0.0/24", "n2"],
        1,
        "user specified configurations are not supported if the network depends on a configuration network",
    )?;
    case.fails(
        &["network", "create", "--config-from", "nope", "n2"],
        1,
        "configuration network \"nope\" does not exist",
    )?;
    case.fails(
        &["network", "create", "--config-only", "--internal", "n2"],
        1,
        "configuration network can only contain network specific fields",
    )?;
    case.fails(
        &["network", "rm", "cfg"],
        1,
        "configuration network \"cfg\" is in use",
    )?;
    case.ok(&["network", "rm", "n1"])?;
    case.ok(&["network", "rm", "cfg"]).map(drop)
}

pub(crate) fn what_others_take_away_comes_back(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its rules stay away until it starts again");
    }
    lan(case)?;
    case.ok(&["network", "create", "n1"])?;
    serve(case, "s1", &["--network", "n1", "-p", "8080:80"])?;
    let id = case.ok(&["network", "inspect", "-f", "{{slice .Id 0 12}}", "n1"])?;
    let world = &case.engine.world;
    talk::echo(case, 7777)?;
    talk::connect(case, "ip netns exec lan", "192.0.2.1", 7777)?;
    talk::say(case, "before")?;
    let rules = world.sh("nft list table inet wharf")?;
    // With their numbers, which others of the same text would not have.
    let the_same = world.sh("nft -a list table inet wharf")?;
    let owned = rules.contains("flags owner");
    for harm in [
        "nft flush ruleset",
        "nft flush chain inet wharf forward",
        "nft delete table inet wharf",
    ] {
        world.sh(&format!("{harm} || true"))?;
        if owned {
            let left = world.sh("nft -a list table inet wharf")?;
            ensure!(left == the_same, "after {harm}: {left}");
        }
        // A kernel before Linux 6.9 lets anybody do it.
        until(|| Ok(world.sh("nft list table inet wharf || true")? == rules))?;
        ensure!(answers(case, "192.0.2.1:8080")?, "after {harm}");
    }
    talk::say(case, "after")?;
    for harm in [
        format!("ip link del br-{id}"),
        format!("ip addr flush dev br-{id}"),
    ] {
        world.sh(&harm)?;
        until(|| answers(case, "192.0.2.1:8080"))?;
        case.ok(&["exec", "s1", "ping", "-c1", "-W5", "192.0.2.2"])?;
    }
    // Another address of the host is served like the first one.
    world.sh("ip addr add 192.0.2.50/24 dev lan0 && ip addr del 192.0.2.1/24 dev lan0; ip addr add 192.0.2.50/24 dev lan0 || true")?;
    there(case, "ip route replace default via 192.0.2.50")?;
    ensure!(answers(case, "192.0.2.50:8080")?, "by the new address");
    Ok(())
}

pub(crate) fn the_hosts_own_firewall_is_respected(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("A wish of its users for ten years (moby#22054)");
    }
    restart_with(case, &json!({"publish-policy": "respect-host-firewall"}))?;
    lan(case)?;
    serve(case, "s1", &["-p", "8080:80", "-p", "8081:81"])?;
    ensure!(answers(case, "192.0.2.1:8080")? && answers(case, "192.0.2.1:8081")?);
    let rules = "table inet own { chain input { type filter hook input priority 0; iifname lan0 tcp dport 8080 drop; }; }";
    case.engine
        .world
        .sh(&format!("echo '{rules}' | nft -f -"))?;
    ensure!(
        is_silent(case, "192.0.2.1:8080")?,
        "what the host's owner drops"
    );
    ensure!(
        answers(case, "192.0.2.1:8081")?,
        "what the host's owner lets in"
    );
    case.engine.world.sh("nft delete table inet own").map(drop)
}

pub(crate) fn settings_of_the_default_bridge(case: &mut Case) -> Result<()> {
    let config = json!({
        "bip": "10.77.0.1/24", "fixed-cidr": "10.77.0.128/25", "default-gateway": "10.77.0.9", "mtu": 1400,
        "dns": ["192.0.2.53"], "dns-search": ["example.org"], "dns-opts": ["ndots:3"],
    });
    restart_with(case, &config)?;
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let ip = address(case, "c1")?;
    ensure!(ip == "10.77.0.128", "{ip}");
    let route = case.ok(&["exec", "c1", "ip", "route"])?;
    ensure!(route.contains("default via 10.77.0.9 dev eth0"), "{route}");
    let mtu = case.ok(&["exec", "c1", "cat", "/sys/class/net/eth0/mtu"])?;
    ensure!(mtu == "1400", "{mtu}");
    let resolv = case.ok(&["exec", "c1", "cat", "/etc/resolv.conf"])?;
    for line in [
        "nameserver 192.0.2.53",
        "search example.org",
        "options ndots:3",
    ] {
        ensure!(resolv.contains(line), "{line}: {resolv}");
    }
    let shown = case.ok(&[
        "network",
        "inspect",
        "-f",
        "{{json .IPAM.Config}}",
        "bridge",
    ])?;
    for part in [
        r#""Subnet":"10.77.0.0/24""#,
        r#""IPRange":"10.77.0.128/25""#,
        r#""Gateway":"10.77.0.1""#,
    ] {
        ensure!(shown.contains(part), "{shown}");
    }
    Ok(())
}

pub(crate) fn five_hundred_ports_are_one_rule(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("A rule and a process for each");
    }
    lan(case)?;
    let count = |case: &Case| -> Result<(String, String)> {
        let world = &case.engine.world;
        let rules = world.sh("nft -a list table inet wharf | grep -c '# handle'")?;
        let processes = world.sh("ls -d /proc/[0-9]* | wc -l")?;
        Ok((rules, processes))
    };
    serve(case, "s0", &["-p", "8080:80"])?;
    let before = count(case)?;
    serve(
        case,
        "s1",
        &["-p", "20000-20499:20000-20499", "-p", "8081:80"],
    )?;
    let after = count(case)?;
    ensure!(before.0 == after.0, "rules: {} and {}", before.0, after.0);
    let (before, after): (u32, u32) = (before.1.trim().parse()?, after.1.trim().parse()?);
    // The container's own, and its shim.
    ensure!(after <= before + 6, "processes: {before} and {after}");
    let last = case.ok(&["port", "s1", "20499"])?;
    ensure!(last.starts_with("0.0.0.0:20499"), "{last}");
    ensure!(answers(case, "192.0.2.1:8081")?);
    Ok(())
}

pub(crate) fn connections_outlive_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It kills containers when it starts again, unless told to leave them alive");
    }
    lan(case)?;
    talk::echo(case, 7777)?;
    talk::connect(case, "ip netns exec lan", "192.0.2.1", 7777)?;
    talk::say(case, "one")?;
    case.engine.kill_9()?;
    talk::say(case, "two")?;
    case.engine.launch()?;
    talk::say(case, "three")
}

/// A name server that has one answer, of 600 seconds, to all questions for an IPv4 address.
const NAME_SERVER: &str = r#"
import socket, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    query, client = server.recvfrom(512)
    end = query.index(0, 12) + 5
    is_a = query[end - 4:end - 2] == b"\x00\x01"
    head = query[:2] + b"\x81\x80\x00\x01" + (b"\x00\x01" if is_a else b"\x00\x00") + b"\x00\x00\x00\x00"
    answer = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x02\x58\x00\x04" + socket.inet_aton(sys.argv[2])
    server.sendto(head + query[12:end] + (answer if is_a else b""), client)
"#;

/// What a container is told of a name; nothing if nobody knows.
fn lookup(case: &Case, container: &str, name: &str) -> Result<String> {
    let line = format!(
        "nslookup -type=a {name} 127.0.0.11 2>&1 | sed -n '/^Name/,$p' | sed -n 's/^Address[^:]*: *//p'"
    );
    case.ok(&["exec", container, "sh", "-c", &line])
}

pub(crate) fn servers_of_the_host_are_asked(case: &mut Case) -> Result<()> {
    lan(case)?;
    let folder = case.engine.world.path().to_string_lossy().into_owned();
    // Two servers on the LAN, which know one name each; the host uses the first one.
    there(case, "ip addr add 192.0.2.3/24 dev eth0")?;
    std::fs::write(case.engine.world.path().join("server.py"), NAME_SERVER)?;
    for (server, answer) in [("192.0.2.2", "192.0.2.33"), ("192.0.2.3", "192.0.2.34")] {
        let line =
            format!("python3 {folder}/server.py {server} {answer} > {folder}/{server} 2>&1 &");
        there(case, &line)?;
        until(|| Ok(there(case, &format!("cat {folder}/{server}"))?.contains("ready")))?;
    }
    let resolver = |server: &str| {
        let line = format!("echo nameserver {server} > {folder}/resolv.conf");
        case.engine.world.sh(&line)
    };
    resolver("192.0.2.2")?;
    let line = format!("mount --bind {folder}/resolv.conf /etc/resolv.conf");
    case.engine.world.sh(&line)?;
    case.ok(&["network", "create", "n1"])?;
    case.ok(&["network", "create", "--internal", "in1"])?;
    for (name, network) in [("c1", "n1"), ("i1", "in1")] {
        case.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--network",
            network,
            "busybox",
            "sleep",
            "1000",
        ])?;
    }
    ensure!(lookup(case, "c1", "printer.example")? == "192.0.2.33");
    // CVE-2024-29018: an internal network asks nobody.
    let leaked = lookup(case, "i1", "printer.example")?;
    ensure!(
        leaked.is_empty() && !lookup(case, "i1", "i1")?.is_empty(),
        "{leaked}"
    );
    let own = address(case, "c1")?;
    let reverse = case.ok(&["exec", "c1", "nslookup", &own, "127.0.0.11"])?;
    ensure!(reverse.contains("c1.n1"), "{reverse}");
    if case.engine.kind.is_dockerd() {
        return Ok(()); // It reads the host's file at the start of a container, and asks each time.
    }
    ensure!(lookup(case, "c1", "host.docker.internal")? == "172.17.0.1");
    // Known for a while, though nobody is there to be asked; another server is another world.
    case.engine.world.sh("pkill -f '[s]erver.py 192.0.2.2 '")?;
    ensure!(
        lookup(case, "c1", "printer.example")? == "192.0.2.33",
        "kept"
    );
    resolver("192.0.2.3")?;
    ensure!(
        lookup(case, "c1", "printer.example")? == "192.0.2.34",
        "followed"
    );
    Ok(())
}
