//! Runs the scenarios and says how many pass on each engine.
//!
//!     wharf-conformance [--engine wharf|dockerd|dockerd-26]... [--client docker|wharf]... [--only TEXT]

use anyhow::{Result, bail};
use wharf_conformance::{Client, SCENARIOS};
use wharf_testkit::EngineKind;

fn main() -> Result<()> {
    let mut engines = Vec::new();
    let mut clients = Vec::new();
    let mut only = String::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.next()) {
            ("--engine", Some(name)) if name == "wharf" => engines.push(EngineKind::Wharf),
            ("--engine", Some(name)) if name == "dockerd" => engines.push(EngineKind::Dockerd),
            ("--engine", Some(name)) if name == "dockerd-26" => engines.push(EngineKind::Dockerd26),
            ("--client", Some(name)) if name == "docker" => clients.push(Client::Docker),
            ("--client", Some(name)) if name == "wharf" => clients.push(Client::Wharf),
            ("--only", Some(text)) => only = text,
            _ => bail!(
                "usage: wharf-conformance [--engine wharf|dockerd|dockerd-26]... [--client docker|wharf]... [--only TEXT]"
            ),
        }
    }
    if clients.is_empty() {
        clients = vec![Client::Docker, Client::Wharf];
    }
    let mut totals = Vec::new();
    for &kind in &engines {
        let (mut passed, mut failed) = (0, 0);
        for scenario in SCENARIOS.iter().filter(|one| one.name.contains(&only)) {
            for &client in &clients {
                match scenario.run(kind, client) {
                    Ok(()) => passed += 1,
                    Err(error) => {
                        failed += 1;
                        println!("FAIL {kind:?} {client:?} {}: {error:#}", scenario.name);
                    }
                }
            }
        }
        totals.push((kind, passed, failed));
    }
    for (kind, passed, failed) in totals {
        println!("{kind:?}: {passed} passed, {failed} failed");
    }
    Ok(())
}
