//! SCTP by published ports, where the kernel has it.

use anyhow::{Result, ensure};

use super::containers::until;
use super::lan::{address, lan};
use crate::Case;
use crate::case::skip;

/// `perl ask.pl PROTOCOL SERVER PORT OWN-ADDRESS`: what a server says. With an address of its own a client names no others.
const ASK: &str = r"use Socket;
alarm 20;
my ($protocol, $server, $port, $own) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, $protocol) || die $!;
bind($s, sockaddr_in(0, inet_aton($own))) || die $! if $own;
connect($s, sockaddr_in($port, inet_aton($server))) || die $!;
sysread($s, my $said, 100);
print $said;
";

/// `perl serve.pl PROTOCOL PORT`: tells clients the address that they come from.
const SERVE: &str = r#"use Socket;
my ($protocol, $port) = @ARGV;
socket(my $s, PF_INET, SOCK_STREAM, $protocol) || die $!;
bind($s, sockaddr_in($port, INADDR_ANY)) || die $!;
listen($s, 9) || die $!;
while (my $from = accept(my $client, $s)) {
    my ($port, $address) = sockaddr_in($from);
    syswrite($client, "from " . inet_ntoa($address));
    close $client;
}
"#;

const NUMBER: u8 = 132;

/// The command that runs a program among a container's links.
fn inside(case: &Case, name: &str) -> Result<String> {
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", name])?;
    Ok(format!("nsenter --net=/proc/{pid}/ns/net"))
}

/// What the server at `to` says to whoever asks from the address `own`; nothing if it does not answer.
fn ask(case: &Case, who: &str, own: &str, to: (&str, u16)) -> Result<String> {
    let folder = case.engine.world.path().display().to_string();
    let (server, port) = to;
    let line =
        format!("{who} perl {folder}/ask.pl {NUMBER} {server} {port} {own} 2>/dev/null || true");
    case.engine.world.sh(&line)
}

pub(crate) fn published_ports_are_translated(case: &mut Case) -> Result<()> {
    let has = format!("perl -MSocket -e 'exit !socket(S, PF_INET, SOCK_STREAM, {NUMBER})'");
    if case.engine.world.sh(&has).is_err() {
        return skip("This kernel has no SCTP; that of `make test-vm` has");
    }
    let folder = case.engine.world.path().to_owned();
    std::fs::write(folder.join("ask.pl"), ASK)?;
    std::fs::write(folder.join("serve.pl"), SERVE)?;
    lan(case)?;
    let sleep = ["busybox", "sleep", "1000"];
    let mut servers = Vec::new();
    for (name, network, ports) in [
        ("s1", "n1", &["-p", "7000:7/sctp"][..]),
        ("c1", "n1", &[]),
        ("c2", "n2", &[]),
    ] {
        if name != "c1" {
            case.ok(&["network", "create", network])?;
        }
        let run = ["run", "-d", "--name", name, "--network", network];
        case.ok(&[&run[..], ports, &sleep].concat())?;
    }
    let server = inside(case, "s1")?;
    for port in [7, 8] {
        let line = format!(
            "{server} perl {}/serve.pl {NUMBER} {port} >/dev/null 2>&1 & echo $!",
            folder.display()
        );
        servers.push(case.engine.world.sh(&line)?);
    }
    let ip = address(case, "s1")?;
    // Those beside it reach it without any rule.
    let (own, beside) = (address(case, "c1")?, inside(case, "c1")?);
    for port in [7, 8] {
        until(|| Ok(ask(case, &beside, &own, (&ip, port))? == format!("from {own}")))?;
    }
    let there = "ip netns exec lan";
    let published = ("192.0.2.1", 7000);
    let seen = ask(case, there, "192.0.2.2", published)?;
    ensure!(
        seen == "from 192.0.2.2",
        "the client's own address: {seen:?}"
    );
    let (other, of_other) = (inside(case, "c2")?, address(case, "c2")?);
    for (name, who, own) in [
        ("the host", "", "192.0.2.1"),
        ("its network", &*beside, &*own),
        ("another network", &*other, &*of_other),
        ("the server itself", &*server, &*ip),
    ] {
        let seen = ask(case, who, own, published)?;
        ensure!(seen.starts_with("from "), "{name} by the host: {seen:?}");
    }
    for (name, own, to) in [
        ("one address", "127.0.0.1", "127.0.0.1"),
        ("any", "", "127.0.0.1"),
    ] {
        let seen = ask(case, "", own, (to, 7000))?;
        ensure!(
            seen.starts_with("from "),
            "the loopback, from {name}: {seen:?}"
        );
    }
    if !case.engine.kind.is_dockerd() {
        // Since 28.0.
        let seen = ask(case, there, "192.0.2.2", (&ip, 8))?;
        ensure!(seen.is_empty(), "a port that is not published: {seen:?}");
    }
    for pid in servers {
        case.engine.world.sh(&format!("kill {pid}"))?;
    }
    Ok(())
}
