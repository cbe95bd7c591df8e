//! `wharf port audit` against what another host on the LAN reaches.

use anyhow::{Context as _, Result, ensure};

use super::lan::{address, answers, is_silent, lan, serve};
use crate::Case;
use crate::case::skip;

/// A line: container, port, address, from where it is reached.
type Line = [String; 4];

fn audit(case: &Case) -> Result<Vec<Line>> {
    let text = case.engine.wharf_ok(&["port", "audit"])?;
    let columns = |line: &str| {
        let columns = line
            .split("  ")
            .map(str::trim)
            .filter(|one| !one.is_empty());
        let mut columns = columns.map(str::to_owned);
        let mut next = || {
            columns
                .next()
                .with_context(|| format!("a short line: {line}"))
        };
        Ok([next()?, next()?, next()?, next()?])
    };
    text.lines().skip(1).map(columns).collect()
}

/// Where the other host has to go, to be where a line says.
fn target([_, port, address, _]: &Line) -> String {
    if let Some(port) = address.strip_prefix("[::]:") {
        return format!("[2001:db8::1]:{port}");
    }
    match address.rsplit_once(':') {
        // The host's own, whatever address that stands for.
        Some((_, port)) => format!("192.0.2.1:{port}"),
        None => format!("{address}:{}", port.split('/').next().unwrap_or_default()),
    }
}

pub(crate) fn what_it_says_is_so(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("A command of ours");
    }
    lan(case)?;
    for (name, mode) in [("routed", "routed"), ("open", "nat-unprotected")] {
        let option = format!("com.docker.network.bridge.gateway_mode_ipv4={mode}");
        case.ok(&["network", "create", "-o", &option, name])?;
    }
    case.ok(&["network", "create", "--internal", "inner"])?;
    let expose = ["--expose", "80", "--expose", "81"];
    for (name, network, published) in [
        (
            "usual",
            "bridge",
            &["-p", "8080:80", "-p", "127.0.0.1:8081:81"][..],
        ),
        ("one", "bridge", &["-p", "192.0.2.1:8082:80"]),
        ("routed", "routed", &["-p", "8083:80"]),
        ("open", "open", &[]),
        ("inner", "inner", &["-p", "8084:80"]),
    ] {
        let options = [&["--network", network][..], &expose, published].concat();
        serve(case, name, &options)?;
    }
    let lines = audit(case)?;
    for line in lines.iter().filter(|[_, port, ..]| port != "any other") {
        let (target, [_, _, _, from]) = (target(line), line);
        let holds = match from.starts_with("everywhere") {
            true => answers(case, &target)?,
            false => is_silent(case, &target)?,
        };
        ensure!(holds, "{line:?} of {lines:?}");
    }
    // Nothing is left out: each container's own address, and what is published.
    for name in ["usual", "one", "routed", "open", "inner"] {
        let own = address(case, name)?;
        for port in ["80/tcp", "81/tcp"] {
            let is_own = |line: &&Line| line[0] == name && line[1] == port && line[2] == own;
            ensure!(
                lines.iter().any(|line| is_own(&line)),
                "{name} {port}: {lines:?}"
            );
        }
    }
    for published in ["0.0.0.0:8080", "127.0.0.1:8081", "192.0.2.1:8082"] {
        ensure!(
            lines.iter().any(|line| line[2] == published),
            "{published}: {lines:?}"
        );
    }
    Ok(())
}
