//! Published ports on the host's loopback: who reaches them, and what goes on without the daemon.

use anyhow::{Result, ensure};

use super::lan::{lan, serve};
use super::talk;
use crate::Case;
use crate::case::skip;

/// What a web server says to who asks from the namespace that the command `inside` enters; nothing if it is not reached
/// within so many seconds.
fn ask(case: &Case, inside: &str, address: &str, seconds: u32) -> Result<String> {
    let line =
        format!("{inside} timeout {seconds} busybox wget -qO- http://{address} 2>&1 || true");
    Ok(case.engine.world.sh(&line)?.trim().to_owned())
}

/// What it says. It may take its time on a machine that is busy.
fn fetch(case: &Case, inside: &str, address: &str) -> Result<String> {
    ask(case, inside, address, 20)
}

/// Makes 127.0.0.1 an address that is reached by way of another host, in the namespace that a command enters.
fn aim_at_the_loopback(case: &Case, inside: &str, gateway: &str) -> Result<()> {
    for line in [
        "sysctl -qw net.ipv4.conf.all.route_localnet=1".to_owned(),
        "ip addr del 127.0.0.1/8 dev lo".to_owned(),
        format!("ip route add 127.0.0.1/32 via {gateway}"),
    ] {
        case.engine.world.sh(&format!("{inside} {line}"))?;
    }
    Ok(())
}

/// CVE-2020-8558, CVE-2020-15127 and what Docker closed in 28.0: neighbours and containers that send to 127.0.0.1.
pub(crate) fn the_loopback_is_nobody_elses(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Since 28.0");
    }
    lan(case)?;
    let folder = case.engine.world.path().to_string_lossy().into_owned();
    case.engine.world.sh(&format!(
        "mkdir {folder}/own && echo secret > {folder}/own/index.html && busybox httpd -p 127.0.0.1:9999 -h {folder}/own"
    ))?;
    serve(case, "s1", &["-p", "127.0.0.1:8081:81", "-p", "8080:80"])?;
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", "s1"])?;
    let container = format!("nsenter --net=/proc/{pid}/ns/net");
    let neighbour = "ip netns exec lan".to_owned();
    aim_at_the_loopback(case, &neighbour, "192.0.2.1")?;
    aim_at_the_loopback(case, &container, "172.17.0.1")?;
    let own = fetch(case, "", "127.0.0.1:9999")?;
    ensure!(own == "secret", "the host itself: {own}");
    for (who, link) in [(&neighbour, "lan0"), (&container, "wharf0")] {
        let seen = ask(case, who, "127.0.0.1:9999", 2)?;
        ensure!(seen != "secret", "{who} reaches the host's loopback");
        // An owner who opens the loopback opens nothing of ours.
        let open = format!("sysctl -qw net.ipv4.conf.{link}.route_localnet=1");
        case.engine.world.sh(&open)?;
        let seen = fetch(case, who, "127.0.0.1:9999")?;
        ensure!(seen == "secret", "{who} cannot try: {seen}");
        let seen = ask(case, who, "127.0.0.1:8081/cgi-bin/ip", 2)?;
        ensure!(!seen.starts_with("from"), "{who}: {seen}");
        let close = format!("sysctl -qw net.ipv4.conf.{link}.route_localnet=0");
        case.engine.world.sh(&close)?;
    }
    // Nor does anything depend on rules being there.
    case.engine.kill_9()?;
    case.engine.world.sh("nft flush ruleset")?;
    for who in [&neighbour, &container] {
        let seen = ask(case, who, "127.0.0.1:9999", 2)?;
        ensure!(seen != "secret", "{who} without rules: {seen}");
    }
    case.engine.launch()
}

/// Connections from the loopback are the kernel's.
pub(crate) fn connections_from_the_host_outlive_the_daemon(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("They are its proxy's");
    }
    talk::echo(case, 7777)?;
    serve(case, "s1", &["-p", "127.0.0.1:8080:80"])?;
    talk::connect(case, "", "127.0.0.1", 7777)?;
    talk::say(case, "one")?;
    case.engine.kill_9()?;
    talk::say(case, "two")?;
    let seen = fetch(case, "", "127.0.0.1:8080/cgi-bin/ip")?;
    ensure!(seen.contains("172.17.0.1"), "a new one: {seen}");
    case.engine.launch()?;
    talk::say(case, "three")
}

/// The owner of a host may have the kernel not track what stays on it.
pub(crate) fn a_loopback_that_is_not_tracked(case: &mut Case) -> Result<()> {
    serve(case, "s1", &["-p", "8080:80", "-p", "127.0.0.1:8081:81"])?;
    let rules = "table ip own { chain output { type filter hook output priority raw; oifname lo notrack; }; \
        chain prerouting { type filter hook prerouting priority raw; iifname lo notrack; }; }";
    case.engine
        .world
        .sh(&format!("echo '{rules}' | nft -f -"))?;
    for address in ["127.0.0.1:8080", "127.0.0.1:8081", "127.0.0.2:8080"] {
        let seen = fetch(case, "", &format!("{address}/cgi-bin/ip"))?;
        ensure!(seen.starts_with("from"), "{address}: {seen}");
    }
    case.engine.world.sh("nft delete table ip own").map(drop)
}
