//! Programs that people run over networks, as Debian has them, in containers: nginx and curl, redis, dig, nc, iperf3.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wharf_testkit::fixtures;

use super::containers::until;
use crate::Case;

/// Imports the Debian tree as the image `clients`.
fn import(case: &Case) -> Result<()> {
    let tree = fixtures::clients()?;
    let mut archive = Command::new("tar")
        .arg("-C")
        .arg(tree)
        .args(["-c", "."])
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = archive.stdout.take().context("tar has no output")?;
    let mut import = case.engine.docker(["import", "-", "clients"]);
    let done = import.stdin(stream).output()?;
    ensure!(archive.wait()?.success(), "tar");
    let stderr = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "import: {stderr}");
    Ok(())
}

fn run(case: &Case, name: &str, options: &[&str], command: &[&str]) -> Result<()> {
    let mut args = vec!["run", "-d", "--name", name, "--network", "n1"];
    args.extend(options);
    args.push("clients");
    args.extend(command);
    case.ok(&args).map(drop)
}

/// Runs a command in the container `client`.
fn client(case: &Case, line: &str) -> Result<String> {
    case.ok(&["exec", "client", "sh", "-c", line])
}

pub(crate) fn clients_and_servers_of_debian(case: &mut Case) -> Result<()> {
    import(case)?;
    case.ok(&["network", "create", "n1"])?;
    let nginx = ["nginx", "-g", "daemon off;"];
    run(
        case,
        "web",
        &["-p", "8080:80", "--network-alias", "www"],
        &nginx,
    )?;
    let redis = [
        "redis-server",
        "--bind",
        "0.0.0.0",
        "--protected-mode",
        "no",
    ];
    run(case, "redis", &["-p", "127.0.0.1:6379:6379"], &redis)?;
    let ports = ["-p", "5201:5201", "-p", "5201:5201/udp"];
    run(case, "perf", &ports, &["iperf3", "-s"])?;
    run(case, "client", &[], &["sleep", "1000"])?;
    for server in ["web 80", "redis 6379", "perf 5201"] {
        let line = [
            "exec",
            "client",
            "sh",
            "-c",
            &format!("nc -z -w 5 {server}"),
        ];
        until(|| Ok(case.run(&line)?.code == 0))?;
    }
    names_are_looked_up(case)?;
    answers_may_be_large(case)?;
    let page = client(case, "curl -sS --max-time 20 http://www/")?;
    ensure!(page.contains("Welcome to nginx"), "{page}");
    let stored = client(
        case,
        "redis-cli -h redis set a b && redis-cli -h redis get a && redis-benchmark -h redis -q -n 2000 -t get",
    )?;
    ensure!(stored.starts_with("OK\nb"), "{stored}");
    from_the_host(case)?;
    for way in ["", "-R", "-u -b 50M"] {
        measured(&client(case, &format!("iperf3 -J -n 4M -c perf {way}"))?).context(way)?;
    }
    Ok(())
}

fn names_are_looked_up(case: &Case) -> Result<()> {
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let web = case.ok(&["inspect", "-f", template, "web"])?;
    for question in [
        "web",
        "+tcp web",
        "www",
        "+noedns web",
        "+bufsize=4096 web",
        "@127.0.0.11 web.n1",
    ] {
        let answer = client(case, &format!("dig +short {question}"))?;
        ensure!(answer == web, "{question}: {answer}, not {web}");
    }
    let reverse = client(case, &format!("dig +short -x {web}"))?;
    ensure!(reverse.lines().any(|line| line == "web.n1."), "{reverse}");
    // It is there, and has no IPv6.
    let six = client(case, "dig web AAAA")?;
    ensure!(
        six.contains("status: NOERROR") && six.contains("ANSWER: 0"),
        "{six}"
    );
    if case.engine.kind.is_dockerd() {
        return Ok(()); // It asks others for the rest.
    }
    for kind in ["MX", "TXT", "TYPE65"] {
        let other = client(case, &format!("dig web {kind}"))?;
        ensure!(
            other.contains("status: NOERROR") && other.contains("ANSWER: 0"),
            "{other}"
        );
    }
    Ok(())
}

/// What does not fit into a datagram is said to be so, and asked for again by TCP.
fn answers_may_be_large(case: &Case) -> Result<()> {
    const MANY: usize = 40;
    let names: Vec<String> = (0..MANY).map(|number| format!("m{number}")).collect();
    for name in &names {
        run(case, name, &["--network-alias", "many"], &["sleep", "1000"])?;
    }
    let cut = client(case, "dig +noedns +ignore many")?;
    let flags = cut.lines().find(|line| line.contains("flags:"));
    ensure!(flags.is_some_and(|line| line.contains(" tc")), "{cut}");
    for options in ["+noedns", "+tcp", "+bufsize=4096"] {
        let all = client(case, &format!("dig +short {options} many"))?;
        ensure!(all.lines().count() == MANY, "{options}: {all}");
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    case.ok(&[&["rm", "-f"], &names[..]].concat()).map(drop)
}

/// The same programs without a network of their own.
fn from_the_host(case: &Case) -> Result<()> {
    let host = |line: &str| {
        case.ok(&[
            "run",
            "--rm",
            "--network",
            "host",
            "clients",
            "sh",
            "-c",
            line,
        ])
    };
    for address in ["127.0.0.1:8080", "[::1]:8080", "localhost:8080"] {
        let page = host(&format!("curl -sS --max-time 20 http://{address}/"))?;
        ensure!(page.contains("Welcome to nginx"), "{address}: {page}");
    }
    ensure!(host("redis-cli -h 127.0.0.1 get a")? == "b");
    for address in ["127.0.0.1", "::1"] {
        for way in ["", "-R", "-u -b 50M"] {
            let report = host(&format!("iperf3 -J -n 4M -c {address} {way}"))?;
            measured(&report).with_context(|| format!("{address} {way}"))?;
        }
    }
    Ok(())
}

/// What iperf3 was asked to carry has been sent, and came: it stops without waiting for the last of it.
fn measured(report: &str) -> Result<()> {
    let report: Value = serde_json::from_str(report)?;
    ensure!(report["error"].is_null(), "{report}");
    let end = &report["end"];
    let bytes = |key: &str| end[key]["bytes"].as_u64().unwrap_or_default();
    ensure!(bytes("sum_sent").max(bytes("sum")) >= 4 << 20, "{end}");
    ensure!(bytes("sum_received") > 0, "{end}");
    Ok(())
}
