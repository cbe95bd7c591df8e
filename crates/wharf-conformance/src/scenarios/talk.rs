//! A connection that stays open, to a container that sends back what it gets.

use anyhow::Result;

use super::containers::until;
use crate::Case;

/// Starts the container `e1`, which takes one connection at this port of the host's.
pub(super) fn echo(case: &Case, port: u16) -> Result<()> {
    let line = "mkfifo /f && exec 3<>/f && exec nc -l -p 7 </f >/f";
    let publish = format!("{port}:7");
    case.ok(&[
        "run", "-d", "--name", "e1", "-p", &publish, "busybox", "sh", "-c", line,
    ])?;
    until(|| Ok(case.ok(&["exec", "e1", "netstat", "-ltn"])?.contains(":7 ")))
}

/// Connects from the namespace that the command `inside` enters.
pub(super) fn connect(case: &Case, inside: &str, address: &str, port: u16) -> Result<()> {
    let folder = case.engine.world.path().display().to_string();
    let client = format!("exec 3<>to; exec busybox nc {address} {port} <to >from");
    let line =
        format!("cd {folder} && mkfifo to && {{ ({inside} sh -c '{client}') >/dev/null 2>&1 & }}");
    case.engine.world.sh(&line).map(drop)
}

/// Says a word by that connection, and waits until it comes back.
pub(super) fn say(case: &Case, word: &str) -> Result<()> {
    let folder = case.engine.world.path().display().to_string();
    case.engine
        .world
        .sh(&format!("echo {word} > {folder}/to"))?;
    let heard = format!("cat {folder}/from");
    until(|| Ok(case.engine.world.sh(&heard)?.contains(word)))
}
