//! The default bridge, published ports, none.

use std::io::{BufReader, Write as _};
use std::os::unix::net::UnixStream;

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::api;

use super::containers::until;
use super::networks::start;
use crate::Case;

fn address(case: &Case, name: &str) -> Result<String> {
    case.ok(&[
        "inspect",
        "-f",
        "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        name,
    ])
}

pub(crate) fn bridge_gives_an_address(case: &mut Case) -> Result<()> {
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    let address = address(case, "c1")?;
    ensure!(address == "172.17.0.2", "{address}");
    let seen = case.ok(&[
        "exec",
        "c1",
        "sh",
        "-c",
        "ip -4 -o addr show eth0 | awk '{print $4}'; ip route | head -n1",
    ])?;
    ensure!(
        seen.starts_with("172.17.0.2/16\ndefault via 172.17.0.1 dev eth0"),
        "{seen}"
    );
    case.ok(&["exec", "c1", "ping", "-c1", "-W5", "172.17.0.1"])?;
    case.ok(&["exec", "c1", "grep", "172.17.0.2", "/etc/hosts"])?;
    Ok(())
}

pub(crate) fn published_port_answers(case: &mut Case) -> Result<()> {
    let serve = "while :; do echo served | nc -l -p 80; done";
    case.ok(&[
        "run",
        "-d",
        "--name",
        "c1",
        "-p",
        "8080:80",
        "-p",
        "127.0.0.1::81",
        "busybox",
        "sh",
        "-c",
        serve,
    ])?;
    case.prints(&["port", "c1", "80"], "0.0.0.0:8080")
        .or_else(|_| case.prints(&["port", "c1", "80"], "0.0.0.0:8080\n[::]:8080"))?;
    let random = case.ok(&["port", "c1", "81/tcp"])?;
    ensure!(random.starts_with("127.0.0.1:"), "{random}");
    for target in ["127.0.0.1", "172.17.0.1"] {
        until(|| {
            let line = format!("timeout 2 busybox nc {target} 8080 < /dev/null || true");
            Ok(case.engine.world.sh(&line)? == "served\n")
        })?;
    }
    let ports = case.ok(&["ps", "--format", "{{.Ports}}"])?;
    ensure!(ports.contains("0.0.0.0:8080->80/tcp"), "{ports}");
    Ok(())
}

pub(crate) fn port_conflict_is_refused(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "-d", "--name", "a1", "-p", "8080:80", "busybox", "sleep", "1000",
    ])?;
    case.fails(
        &[
            "run", "-d", "--name", "b1", "-p", "8080:80", "busybox", "sleep", "1000",
        ],
        125,
        "port is already allocated",
    )?;
    case.prints(&["inspect", "-f", "{{.State.Status}}", "b1"], "created")?;
    // The first free one of a range, and none.
    let of_two = ["-p", "8080-8081:80", "busybox", "sleep", "1000"];
    case.ok(&[&["run", "-d", "--name", "r1"], &of_two[..]].concat())?;
    let port = case.ok(&["port", "r1", "80"])?;
    ensure!(port.starts_with("0.0.0.0:8081"), "{port}");
    let second = [&["run", "-d"], &of_two[..]].concat();
    case.fails(&second, 125, "all ports are allocated")?;
    case.ok(&["rm", "-f", "a1"])?;
    case.ok(&["start", "b1"])?;
    Ok(())
}

/// By the API; the command line exposes what it publishes.
pub(crate) fn bindings_are_of_exposed_ports(case: &mut Case) -> Result<()> {
    let bound = |port: u16| json!([{ "HostPort": port.to_string() }]);
    let bindings = json!({ "80/tcp": bound(8700), "81/tcp": bound(8701), "82/tcp": [] });
    for (name, all, published) in [("c1", false, &["80"][..]), ("c2", true, &["80", "83"])] {
        let body = json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": { "80/tcp": {}, "83/tcp": {} },
            "HostConfig": { "PortBindings": bindings, "PublishAllPorts": all },
        });
        case.expect(
            "POST",
            &format!("/containers/create?name={name}"),
            Some(&body),
            201,
        )?;
        case.ok(&["start", name])?;
        for port in ["80", "81", "82", "83"] {
            let found = case.run(&["port", name, port])?;
            let wanted = published.contains(&port);
            ensure!(
                (found.code == 0) == wanted,
                "{name} {port}: {}",
                found.stdout
            );
        }
        let listening = case.engine.world.sh("ss -Hltn | grep -c :8701 || true")?;
        ensure!(listening.trim() == "0", "{listening}");
        let shown = case.ok(&["inspect", "-f", "{{len .NetworkSettings.Ports}}", name])?;
        ensure!(shown == "2", "{shown}");
        case.ok(&["rm", "-f", name])?;
    }
    Ok(())
}

pub(crate) fn none_has_only_loopback(case: &mut Case) -> Result<()> {
    let links = case.ok(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "ip -o link | grep -c LOOPBACK; ip -o link | grep -c eth0",
    ]);
    ensure!(links.is_err(), "grep finds no eth0");
    case.prints(
        &[
            "run",
            "--rm",
            "--network",
            "none",
            "busybox",
            "sh",
            "-c",
            "ip -o -4 addr | awk '{print $2, $4}'",
        ],
        "lo 127.0.0.1/8",
    )
}

pub(crate) fn containers_reach_each_other(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run",
        "-d",
        "--name",
        "a1",
        "busybox",
        "sh",
        "-c",
        "while :; do echo from-a | nc -l -p 9000; done",
    ])?;
    let peer = address(case, "a1")?;
    let line = format!("until nc -w2 {peer} 9000 < /dev/null; do :; done");
    case.prints(
        &["run", "--rm", "busybox", "timeout", "30", "sh", "-c", &line],
        "from-a",
    )?;
    case.prints(
        &[
            "run",
            "--rm",
            "--network",
            "container:a1",
            "busybox",
            "sh",
            "-c",
            "ip -4 -o addr show eth0 | awk '{print $4}'",
        ],
        &format!("{peer}/16"),
    )
}

/// In one breath: who removes a container may remove its network next.
pub(crate) fn a_network_goes_right_after_its_containers(case: &mut Case) -> Result<()> {
    let remove = |path: &str| format!("DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    for round in 0..20 {
        let network = format!("n{round}");
        case.ok(&["network", "create", &network])?;
        start(case, "c1", &["--network", &network])?;
        let mut stream = UnixStream::connect(case.engine.socket())?;
        let asked = remove("/containers/c1?force=1") + &remove(&format!("/networks/{network}"));
        stream.write_all(asked.as_bytes())?;
        let mut answers = BufReader::new(stream);
        for _ in 0..2 {
            let answer = api::read_answer(&mut answers, false)?;
            ensure!(answer.status == 204, "{round}: {}", answer.text());
        }
    }
    Ok(())
}
