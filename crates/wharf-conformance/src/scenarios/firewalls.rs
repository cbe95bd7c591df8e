//! Other people's firewalls on the same host: ufw, firewalld, a dockerd's, and whoever flushes everything.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use wharf_testkit::fixtures;

use super::containers::until;
use super::lan::{answers, is_silent, lan, serve, there};
use super::talk;
use crate::Case;
use crate::case::skip;

/// Mounts a Debian tree with the firewalls of a host, and returns the command that enters it.
fn debian(case: &Case) -> Result<String> {
    let tree = fixtures::clients()?;
    let folder = case.engine.world.path().join("debian");
    let (tree, folder) = (tree.display(), folder.display());
    let lines = [
        format!("mkdir {folder} && mount -t tmpfs tmpfs {folder}"),
        format!("mkdir {folder}/upper {folder}/work {folder}/root"),
        format!(
            "mount -t overlay -o lowerdir={tree},upperdir={folder}/upper,workdir={folder}/work overlay {folder}/root"
        ),
        format!("mount -t proc proc {folder}/root/proc && mount -t tmpfs tmpfs {folder}/root/run"),
        format!("mount --rbind /sys {folder}/root/sys && mount --rbind /dev {folder}/root/dev"),
        format!("mkdir {folder}/root/run/dbus"),
    ];
    case.engine.world.sh(&lines.join(" && "))?;
    Ok(format!("chroot {folder}/root"))
}

/// Two servers, on the default bridge and on one of the user's.
fn servers(case: &Case) -> Result<()> {
    case.ok(&["network", "create", "n1"])?;
    serve(case, "s1", &["-p", "8080:80", "-p", "127.0.0.1:8081:80"])?;
    serve(case, "s2", &["--network", "n1", "-p", "8082:80"])
}

/// Whether containers reach a server on the LAN within so many seconds.
fn reach_out(case: &Case, seconds: &str) -> Result<bool> {
    let mut all = true;
    for name in ["s1", "s2"] {
        let ask = ["wget", "-qO-", "http://192.0.2.2:7000/"];
        let line = [&["exec", name, "timeout", seconds], &ask[..]].concat();
        all &= case.run(&line)?.stdout == "outside";
    }
    Ok(all)
}

/// A server on the LAN.
fn outside(case: &Case) -> Result<()> {
    let folder = case.engine.world.path().join("outside");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("index.html"), "outside")?;
    there(
        case,
        &format!("busybox httpd -p 7000 -h {}", folder.display()),
    )
    .map(drop)
}

/// What holds beside every firewall: names, and the host's own way in.
fn at_home(case: &Case) -> Result<()> {
    for address in [
        "127.0.0.1:8080",
        "127.0.0.1:8081",
        "127.0.0.1:8082",
        "192.0.2.1:8082",
    ] {
        let line = format!("timeout 20 busybox wget -qO- http://{address}/cgi-bin/ip");
        let seen = case.engine.world.sh(&line)?;
        ensure!(seen.starts_with("from"), "{address}: {seen}");
    }
    let named = case.ok(&["exec", "s2", "nslookup", "-type=a", "s2", "127.0.0.11"])?;
    ensure!(named.contains("s2"), "{named}");
    Ok(())
}

/// Whether containers of one bridge reach each other: with `br_netfilter` they do so by way of the chains for what is forwarded.
fn neighbours(case: &Case) -> Result<()> {
    let ping = ["ping", "-c1", "-W20", "s2"];
    let neighbour = ["run", "--rm", "--network", "n1", "busybox"];
    case.ok(&[&neighbour[..], &ping].concat()).map(drop)
}

fn table(case: &Case, table: &str) -> Result<String> {
    case.engine.world.sh(&format!("nft -s list table {table}"))
}

fn warned_of(case: &Case, words: &str) -> Result<bool> {
    let warnings = case.ok(&["info", "-f", "{{json .Warnings}}"])?;
    Ok(warnings.contains(words))
}

pub(crate) fn beside_ufw(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It writes its rules before ufw's");
    }
    lan(case)?;
    outside(case)?;
    servers(case)?;
    let ufw = format!("{} ufw", debian(case)?);
    let ours = table(case, "inet wharf")?;
    let world = &case.engine.world;
    world.sh(&format!("{ufw} --force enable"))?;
    let theirs = table(case, "ip filter")?;
    // It drops what is forwarded, and we say so; what does not leave the host or the bridge works.
    at_home(case)?;
    ensure!(warned_of(case, "chain FORWARD of table ip filter drops")?);
    ensure!(is_silent(case, "192.0.2.1:8080")?, "ufw decides");
    // As docs/networks.md says.
    for bridge in ["wharf0", "br-+"] {
        world.sh(&format!(
            "{ufw} route allow in on {bridge} && {ufw} route allow out on {bridge}"
        ))?;
    }
    for state in ["allowed", "reloaded"] {
        ensure!(
            answers(case, "192.0.2.1:8080")? && answers(case, "192.0.2.1:8082")?,
            "{state}"
        );
        ensure!(reach_out(case, "20")?, "{state}");
        at_home(case)?;
        neighbours(case)?;
        case.engine.world.sh(&format!("{ufw} reload"))?;
    }
    for bridge in ["wharf0", "br-+"] {
        let delete = format!("{ufw} route delete allow");
        case.engine.world.sh(&format!(
            "{delete} in on {bridge} && {delete} out on {bridge}"
        ))?;
    }
    ensure!(
        table(case, "ip filter")? == theirs,
        "its rules are as it made them"
    );
    case.engine.world.sh(&format!("{ufw} --force disable"))?;
    ensure!(
        reach_out(case, "20")? && answers(case, "192.0.2.1:8080")?,
        "disabled"
    );
    ensure!(
        table(case, "inet wharf")? == ours,
        "our rules are as we made them"
    );
    Ok(())
}

/// Starts a bus that the daemon finds, and returns the command that asks firewalld.
fn bus(case: &mut Case, enter: &str) -> Result<String> {
    // Whoever looks for it does so as it starts.
    case.engine.stop()?;
    let run = case.engine.world.path().join("debian/root/run/dbus");
    let world = &case.engine.world;
    world.sh(&format!(
        "mkdir /run/dbus && mount --bind {} /run/dbus",
        run.display()
    ))?;
    world.sh(&format!("{enter} dbus-daemon --system --fork --nopidfile"))?;
    case.engine.launch()?;
    Ok(format!("{enter} firewall-cmd -q"))
}

fn start_firewalld(case: &Case, enter: &str) -> Result<()> {
    let world = &case.engine.world;
    world.sh(&format!("{enter} firewalld --nopid >/dev/null 2>&1"))?;
    let state = format!("{enter} firewall-cmd -q --state; echo $?");
    until(|| Ok(world.sh(&state)? == "0\n"))
}

/// What containers reach, and what reaches them, whatever firewalld does.
fn all_goes_on(case: &Case, when: &str) -> Result<()> {
    until(|| reach_out(case, "20")).with_context(|| format!("out, {when}"))?;
    let published = || Ok(answers(case, "192.0.2.1:8080")? && answers(case, "192.0.2.1:8082")?);
    until(published).with_context(|| format!("in, {when}"))?;
    at_home(case)?;
    neighbours(case)
}

pub(crate) fn beside_firewalld(case: &mut Case) -> Result<()> {
    let enter = debian(case)?;
    let ask = bus(case, &enter)?;
    lan(case)?;
    outside(case)?;
    servers(case)?;
    // It comes while containers run: they lose nothing, and nobody had to be told.
    start_firewalld(case, &enter)?;
    let listed = |zone: &str| {
        let list = format!("{enter} firewall-cmd --zone={zone} --list-interfaces || true");
        case.engine.world.sh(&list)
    };
    let bridge = case.ok(&["network", "inspect", "-f", "br-{{slice .Id 0 12}}", "n1"])?;
    let default = match case.engine.kind.is_dockerd() {
        true => "docker0",
        false => "wharf0",
    };
    let both = || {
        let zone = listed("docker")?;
        Ok([default, &bridge].iter().all(|name| zone.contains(name)))
    };
    if case.engine.kind.is_dockerd() {
        return Ok(()); // It asks when it starts; what it finds there is the same, with its own rules beside it.
    }
    until(both)?;
    all_goes_on(case, "when it has come")?;
    ensure!(!warned_of(case, "firewalld rejects")?);
    for again in ["--reload", "--complete-reload"] {
        case.engine.world.sh(&format!("{ask} {again}"))?;
        until(both)?;
        all_goes_on(case, again)?;
    }
    // Bridges come and go.
    case.ok(&["network", "create", "n2"])?;
    let third = case.ok(&["network", "inspect", "-f", "br-{{slice .Id 0 12}}", "n2"])?;
    ensure!(listed("docker")?.contains(&third));
    case.ok(&["network", "rm", "n2"])?;
    ensure!(!listed("docker")?.contains(&third));
    // One that comes again, and a daemon that does.
    case.engine.world.sh("pkill -f '[f]irewalld --nopid'")?;
    until(|| Ok(table(case, "inet firewalld").is_err()))?;
    all_goes_on(case, "without it")?;
    start_firewalld(case, &enter)?;
    until(both)?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    all_goes_on(case, "with another daemon")
}

/// Without a bus, or with a bridge that its owner has put elsewhere, firewalld has to be told by its owner, as
/// docs/networks.md says; the daemon says so.
pub(crate) fn beside_a_firewalld_that_is_not_asked(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    lan(case)?;
    outside(case)?;
    servers(case)?;
    let enter = debian(case)?;
    let ours = table(case, "inet wharf")?;
    let world = &case.engine.world;
    world.sh(&format!("{enter} dbus-daemon --system --fork --nopidfile"))?;
    start_firewalld(case, &enter)?;
    let ask = format!("{enter} firewall-cmd -q");
    let theirs = table(case, "inet firewalld")?;
    at_home(case)?;
    ensure!(warned_of(
        case,
        "firewalld rejects what this host forwards"
    )?);
    ensure!(!reach_out(case, "2")?, "firewalld decides");
    // As docs/networks.md says.
    let permanent = format!("{ask} --permanent");
    world.sh(&format!(
        "{permanent} --new-zone=wharf && {permanent} --zone=wharf --set-target=ACCEPT"
    ))?;
    for bridge in ["wharf0", "br-+"] {
        world.sh(&format!(
            "{permanent} --zone=wharf --add-interface={bridge}"
        ))?;
    }
    for again in ["--reload", "--complete-reload"] {
        case.engine.world.sh(&format!("{ask} {again}"))?;
        all_goes_on(case, again)?;
    }
    case.engine.world.sh(&format!(
        "{permanent} --delete-zone=wharf && {ask} --reload"
    ))?;
    ensure!(
        table(case, "inet firewalld")? == theirs,
        "its rules are as it made them"
    );
    ensure!(
        table(case, "inet wharf")? == ours,
        "our rules are as we made them"
    );
    Ok(())
}

/// A real dockerd on the same host, with a container of its own.
fn dockerd(case: &Case) -> Result<impl Fn(&[&str]) -> Result<String> + use<>> {
    let folder = fixtures::dockerd_26()?;
    let path = |name: &str| {
        case.engine
            .world
            .path()
            .join(name)
            .to_string_lossy()
            .into_owned()
    };
    let socket = format!("unix://{}", path("docker.sock"));
    let mut daemon = case.engine.world.command("sh");
    daemon.args([
        "-c",
        "exec dockerd \"$@\" > \"$0\" 2>&1",
        &path("docker.log"),
        "-H",
        &socket,
    ]);
    daemon.args([
        "--data-root",
        &path("docker"),
        "--exec-root",
        &path("docker-exec"),
    ]);
    daemon.args(["--pidfile", &path("docker.pid")]);
    let search = std::env::var("PATH").unwrap_or_default();
    daemon.env("PATH", format!("{}:{search}", folder.display()));
    daemon
        .stdin(Stdio::null())
        .spawn()
        .context("start dockerd")?;
    let docker = move |args: &[&str]| {
        let output = std::process::Command::new("docker")
            .env("DOCKER_HOST", &socket)
            .args(args)
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "dockerd: {args:?}: {stderr}");
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    until(|| Ok(docker(&["version"]).is_ok()))?;
    let archive = fixtures::folder()?.join("busybox.tar");
    docker(&["load", "-q", "-i", &archive.to_string_lossy()])?;
    Ok(docker)
}

pub(crate) fn beside_a_dockerd(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Two of them fight over the same chains");
    }
    // It drops what it does not forward itself where it has switched forwarding on.
    case.engine.stop()?;
    case.engine.world.sh("sysctl -qw net.ipv4.ip_forward=0")?;
    let docker = dockerd(case)?;
    case.engine.launch()?;
    lan(case)?;
    outside(case)?;
    servers(case)?;
    let serving = "mkdir -p /www/cgi-bin; printf '#!/bin/sh\\necho; echo from dockerd\\n' > /www/cgi-bin/ip; \
        chmod +x /www/cgi-bin/ip; exec httpd -f -p 80 -h /www";
    docker(&[
        "run", "-d", "--name", "d1", "-p", "9090:80", "busybox", "sh", "-c", serving,
    ])?;
    until(|| answers(case, "192.0.2.1:9090"))?;
    let theirs = || case.engine.world.sh("iptables-save | grep -v '^[#:]'");
    let before = theirs()?;
    at_home(case)?;
    ensure!(warned_of(case, "chain FORWARD of table ip filter drops")?);
    // As docs/networks.md says.
    let lines = ["wharf0", "br-+"].map(|bridge| {
        format!("iptables -I DOCKER-USER -i {bridge} -j ACCEPT && iptables -I DOCKER-USER -o {bridge} -j ACCEPT")
    });
    case.engine.world.sh(&lines.join(" && "))?;
    ensure!(answers(case, "192.0.2.1:8080")? && answers(case, "192.0.2.1:8082")?);
    ensure!(reach_out(case, "20")?);
    neighbours(case)?;
    let with_ours = theirs()?;
    // What we do touches nothing of its; nor does our end.
    case.ok(&["rm", "-f", "s2"])?;
    serve(case, "s2", &["--network", "n1", "-p", "8082:80"])?;
    case.engine
        .world
        .sh("nft delete table inet wharf || true")?;
    until(|| Ok(table(case, "inet wharf").is_ok() && answers(case, "192.0.2.1:8082")?))?;
    ensure!(theirs()? == with_ours, "its rules are as it made them");
    ensure!(answers(case, "192.0.2.1:9090")?);
    // Nor its comings and goings anything of ours.
    let ours = table(case, "inet wharf")?;
    docker(&["rm", "-f", "d1"])?;
    docker(&[
        "run", "-d", "--name", "d1", "-p", "9090:80", "busybox", "sh", "-c", serving,
    ])?;
    ensure!(
        table(case, "inet wharf")? == ours,
        "our rules are as we made them"
    );
    case.fails(
        &["run", "--rm", "-p", "9090:80", "busybox", "true"],
        125,
        "address already in use",
    )?;
    ensure!(
        docker(&["run", "--rm", "-p", "8080:80", "busybox", "true"]).is_err(),
        "ours is taken"
    );
    ensure!(!before.contains("wharf"), "{before}");
    Ok(())
}

/// How many connections the kernel knows at most, of all namespaces; restored when this goes.
struct Most(String);

impl Most {
    const PATH: &str = "/proc/sys/net/netfilter/nf_conntrack_max";

    fn set(number: &str) -> Result<Self> {
        let before = std::fs::read_to_string(Self::PATH)?;
        std::fs::write(Self::PATH, number)?;
        Ok(Self(before))
    }
}

impl Drop for Most {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::PATH, &self.0);
    }
}

/// The size of that table is the machine's: on the emulated one alone, which is nobody's.
pub(crate) fn a_full_table_of_connections(case: &mut Case) -> Result<()> {
    if std::env::var_os("WHARF_TEST_OWN_MACHINE").is_none() {
        return Ok(());
    }
    lan(case)?;
    talk::echo(case, 7777)?;
    serve(case, "s1", &["-p", "8080:80"])?;
    talk::connect(case, "ip netns exec lan", "192.0.2.1", 7777)?;
    talk::say(case, "one")?;
    ensure!(answers(case, "192.0.2.1:8080")?);
    let known = "cat /proc/sys/net/netfilter/nf_conntrack_count";
    let most = Most::set(case.engine.world.sh(known)?.trim())?;
    ensure!(
        is_silent(case, "192.0.2.1:8080")?,
        "there is no room for a new one"
    );
    talk::say(case, "two")?;
    drop(most);
    ensure!(answers(case, "192.0.2.1:8080")?, "there is room again");
    talk::say(case, "three")
}
