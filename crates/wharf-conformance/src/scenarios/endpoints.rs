//! What an endpoint may be told: its link's name and settings, and whether it leads outside.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use super::lan::inspect;
use crate::Case;
use crate::case::skip;

pub(crate) fn options_of_an_endpoint(case: &mut Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--network",
        "n1",
        "--link-local-ip",
        "169.254.8.8",
        "busybox",
        "sleep",
        "1000",
    ])?;
    let addresses = case.ok(&["exec", "c1", "ip", "-o", "addr", "show", "eth0"])?;
    ensure!(addresses.contains("169.254.8.8/16"), "{addresses}");
    let asked = inspect(
        case,
        "c1",
        "{{json .NetworkSettings.Networks.n1.IPAMConfig}}",
    )?;
    ensure!(
        asked.contains(r#""LinkLocalIPs":["169.254.8.8"]"#),
        "{asked}"
    );
    if case.engine.kind.is_dockerd() {
        return Ok(()); // The rest is of 27.2 and 28.0.
    }
    case.ok(&["network", "create", "n2"])?;
    case.ok(&[
        "network", "connect", "--driver-opt", "com.docker.network.endpoint.ifname=data0", "--driver-opt",
        "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1,net.ipv4.conf.IFNAME.forwarding=0",
        "n2", "c1",
    ])?;
    let line =
        "cat /proc/sys/net/ipv4/conf/data0/log_martians /proc/sys/net/ipv4/conf/data0/forwarding";
    case.prints(&["exec", "c1", "sh", "-c", line], "1\n0")?;
    for (option, words) in [
        (
            "com.docker.network.endpoint.sysctls=net.ipv4.ip_forward=0",
            "invalid per-interface sysctl",
        ),
        (
            "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.../../x=0",
            "invalid per-interface sysctl",
        ),
        (
            "com.docker.network.endpoint.ifname=eth0",
            "the container already has an interface eth0",
        ),
        (
            "com.docker.network.endpoint.ifname=a/b",
            "invalid interface name",
        ),
    ] {
        case.run(&["network", "disconnect", "n2", "c1"])?;
        case.fails(
            &["network", "connect", "--driver-opt", option, "n2", "c1"],
            1,
            words,
        )?;
    }
    Ok(())
}

/// The network that a container's default route leads to.
fn way_out(case: &Case) -> Result<String> {
    let route = case.ok(&["exec", "c1", "ip", "route", "show", "default"])?;
    let gateway = route.split_whitespace().nth(2).unwrap_or_default();
    let networks = [
        ("10.81.0.1", "a1"),
        ("10.82.0.1", "b1"),
        ("10.83.0.1", "c1"),
    ];
    let found = networks.iter().find(|(ip, _)| *ip == gateway);
    Ok(found.map_or(route.clone(), |(_, name)| (*name).to_owned()))
}

/// What the command line has no word for, and what it leaves to the daemon.
pub(crate) fn whatever_the_api_takes(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // Hardware addresses of endpoints, since 25.0.
    }
    let body = json!({
        "Name": "n1", "EnableIPv4": true, "EnableIPv6": true,
        "IPAM": {
            "Driver": "default", "Options": { "a": "b" },
            "Config": [{ "Subnet": "10.44.0.0/24" }, { "Subnet": "fd00:44::/64" }],
        },
    });
    case.expect("POST", "/networks/create", Some(&body), 201)?;
    for (of_swarm, said) in [
        (
            json!({ "Ingress": true }),
            "Ingress network can only be global scope network",
        ),
        (
            json!({ "Scope": "swarm" }),
            "cannot create a swarm scoped network when swarm is not active",
        ),
    ] {
        let mut body = of_swarm;
        body["Name"] = json!("n2");
        let answer = case.expect("POST", "/networks/create", Some(&body), 403)?;
        ensure!(answer["message"] == said, "{answer}");
    }
    let shown = case.expect("GET", "/networks/n1?verbose=true&scope=local", None, 200)?;
    ensure!(shown["IPAM"]["Options"]["a"] == "b", "{shown}");
    for name in ["c1", "c2"] {
        case.ok(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])?;
    }
    case.ok(&["network", "connect", "n1", "c2"])?;
    let body = json!({
        "Container": "c1",
        "EndpointConfig": {
            "Aliases": ["first"], "Links": ["c2:second"], "MacAddress": "02:42:0a:2c:00:63",
            "IPAMConfig": {
                "IPv4Address": "10.44.0.99", "IPv6Address": "fd00:44::99", "LinkLocalIPs": ["169.254.44.4"],
            },
        },
    });
    case.expect("POST", "/networks/n1/connect", Some(&body), 200)?;
    let shown = case.expect("GET", "/containers/c1/json", None, 200)?;
    let endpoint = &shown["NetworkSettings"]["Networks"]["n1"];
    for (key, value) in [
        ("IPAddress", "10.44.0.99"),
        ("GlobalIPv6Address", "fd00:44::99"),
        ("MacAddress", "02:42:0a:2c:00:63"),
    ] {
        ensure!(endpoint[key] == value, "{key}: {endpoint}");
    }
    ensure!(
        endpoint["IPAMConfig"]["LinkLocalIPs"][0] == "169.254.44.4",
        "{endpoint}"
    );
    let listed = case.expect("GET", "/containers/json", None, 200)?;
    let rows = listed.to_string();
    ensure!(rows.contains("\"IPv6Address\":\"fd00:44::99\""), "{rows}");
    let look = "ip addr show; ping -c1 -W5 second; ping -c1 -W5 first";
    let seen = case.ok(&["exec", "c1", "sh", "-c", look])?;
    ensure!(seen.contains("169.254.44.4/16"), "{seen}");
    // A volume of Swarm's is all that can be changed.
    let answer = case.expect("PUT", "/volumes/v1?version=1", Some(&json!({})), 503)?;
    let said = "volume update only valid for cluster volumes, but swarm is unavailable";
    ensure!(answer["message"] == said, "{answer}");
    Ok(())
}

pub(crate) fn priorities_choose_the_way_out(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Since 28.0");
    }
    for (name, subnet) in [
        ("a1", "10.81.0.0/24"),
        ("b1", "10.82.0.0/24"),
        ("c1", "10.83.0.0/24"),
    ] {
        case.ok(&["network", "create", "--subnet", subnet, name])?;
    }
    let connect = |network: &str, priority: i64| {
        let body = json!({"Container": "c1", "EndpointConfig": {"GwPriority": priority}});
        let path = format!("/v1.48/networks/{network}/connect");
        case.expect("POST", &path, Some(&body), 200).map(drop)
    };
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "--network",
        "b1",
        "busybox",
        "sleep",
        "1000",
    ])?;
    ensure!(way_out(case)? == "b1");
    // The same priority: the first name.
    connect("a1", 0)?;
    ensure!(way_out(case)? == "a1", "by its name");
    connect("c1", 5)?;
    ensure!(way_out(case)? == "c1", "by its priority");
    let endpoint = case.expect("GET", "/v1.48/containers/c1/json", None, 200)?;
    let priority = &endpoint["NetworkSettings"]["Networks"]["c1"]["GwPriority"];
    ensure!(*priority == 5, "{priority}");
    // Those that are left come next; one below all others comes last; a new start chooses alike.
    case.ok(&["network", "disconnect", "c1", "c1"])?;
    ensure!(way_out(case)? == "a1", "without it");
    connect("c1", -1)?;
    ensure!(way_out(case)? == "a1", "by a low priority");
    case.ok(&["network", "disconnect", "a1", "c1"])?;
    ensure!(way_out(case)? == "b1", "without that either");
    case.ok(&["restart", "-t", "0", "c1"])?;
    ensure!(way_out(case)? == "b1", "after a new start");
    case.ok(&["network", "disconnect", "b1", "c1"])?;
    ensure!(way_out(case)? == "c1", "what is left");
    Ok(())
}
