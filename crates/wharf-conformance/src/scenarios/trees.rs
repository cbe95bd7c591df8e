//! What is unpacked of an image that has everything that is hard, attribute by attribute. What must come out was taken
//! down from dockerd 26.1 (`golden.txt`), and is held against every dockerd that the suite runs on.

use anyhow::{Result, ensure};
use wharf_testkit::fixtures;

use crate::Case;

const GOLDEN: &str = include_str!("trees/golden.txt");

/// Every thing in the root of the container, with all that is known of it.
fn census(case: &Case, container: &str) -> Result<String> {
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", container])?;
    let output = case
        .engine
        .world
        .command("python3")
        .args(["-c", include_str!("trees/census.py")])
        .arg(format!("/proc/{pid}/root"))
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(String::from_utf8(output.stdout)?)
}

fn nasty(case: &Case) -> Result<String> {
    let archive = case.engine.world.path().join("nasty.tar");
    let busybox = fixtures::folder()?.join("rootfs/bin/busybox");
    let output = std::process::Command::new("python3")
        .args(["-c", include_str!("trees/nasty.py")])
        .args([&archive, &busybox])
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{stderr}");
    Ok(archive.display().to_string())
}

/// The lines that differ, ours with `+`.
fn difference(found: &str) -> Vec<String> {
    let (golden, found): (Vec<_>, Vec<_>) = (GOLDEN.lines().collect(), found.lines().collect());
    let missing = golden.iter().filter(|line| !found.contains(line));
    let more = found.iter().filter(|line| !golden.contains(line));
    missing
        .map(|line| format!("- {line}"))
        .chain(more.map(|line| format!("+ {line}")))
        .collect()
}

pub(crate) fn everything_is_unpacked_as_dockerd_does(case: &mut Case) -> Result<()> {
    let archive = nasty(case)?;
    case.ok(&["load", "-q", "-i", &archive])?;
    case.ok(&["run", "-d", "--name", "c1", "nasty"])?;
    let found = census(case, "c1")?;
    let difference = difference(&found);
    ensure!(difference.is_empty(), "{difference:#?}");
    // Saved and loaded again it is the same.
    let again = case
        .engine
        .world
        .path()
        .join("again.tar")
        .display()
        .to_string();
    case.ok(&["save", "-o", &again, "nasty"])?;
    case.ok(&["rm", "-f", "c1"])?;
    case.ok(&["rmi", "nasty"])?;
    case.ok(&["load", "-q", "-i", &again])?;
    case.ok(&["run", "-d", "--name", "c2", "nasty"])?;
    ensure!(census(case, "c2")? == found, "not the same after a save");
    Ok(())
}
