//! The daemon's death, and what it leaves.

use anyhow::{Result, ensure};

use super::containers::until;
use crate::Case;
use crate::case::skip;

pub(crate) fn daemon_killed_container_lives(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It kills them when it starts again, unless told to leave them alive");
    }
    let count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done";
    let id = case.ok(&["run", "-d", "--name", "c1", "busybox", "sh", "-c", count])?;
    until(|| Ok(case.ok(&["logs", "c1"])?.lines().count() > 3))?;
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c1"])?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    case.prints(
        &["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "c1"],
        &format!("running {pid}"),
    )?;
    let so_far = case.ok(&["logs", "c1"])?.lines().count();
    until(|| Ok(case.ok(&["logs", "c1"])?.lines().count() > so_far + 3))?;
    let logs = case.ok(&["logs", "c1"])?;
    for (number, line) in logs.lines().enumerate() {
        ensure!(
            line == number.to_string(),
            "line {number} of the log is {line}"
        );
    }
    case.prints(&["exec", "c1", "echo", "still there"], "still there")?;
    case.ok(&["stop", "-t", "0", &id])?;
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            "c1",
        ],
        "exited 137",
    )
}

pub(crate) fn exit_code_while_daemon_is_dead(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It kills them when it starts again, unless told to leave them alive");
    }
    let gate = case.engine.world.path().join("gate");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/gate", gate.display());
    let waits = "until [ -e /gate/open ]; do sleep 0.02; done; echo last words; exit 23";
    case.ok(&[
        "run", "-d", "--name", "c1", "-v", &bind, "busybox", "sh", "-c", waits,
    ])?;
    case.ok(&[
        "run", "-d", "--rm", "--name", "r1", "-v", &bind, "busybox", "sh", "-c", waits,
    ])?;
    let pids = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c1", "r1"])?;
    case.engine.kill_9()?;
    std::fs::write(gate.join("open"), "")?;
    for pid in pids.lines() {
        until(|| {
            Ok(case.engine.world.sh(&format!("kill -0 {pid} 2>/dev/null && grep -q State:.Z /proc/{pid}/status || ! kill -0 {pid} 2>/dev/null")).is_ok())
        })?;
    }
    case.engine.launch()?;
    case.prints(&["wait", "c1"], "23")?;
    case.prints(&["logs", "c1"], "last words")?;
    until(|| Ok(case.ok(&["ps", "-a", "--format", "{{.Names}}"])? == "c1"))
}

pub(crate) fn nothing_is_left_behind(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It leaves its bridge and rules on purpose");
    }
    case.ok(&[
        "run",
        "--rm",
        "-p",
        "8080:80",
        "-v",
        "/anonymous",
        "busybox",
        "true",
    ])?;
    case.ok(&["run", "-d", "--name", "c1", "busybox", "sleep", "1000"])?;
    case.ok(&["exec", "-d", "c1", "sleep", "1000"])?;
    case.ok(&["rm", "-f", "c1"])?;
    case.engine.stop()?;
    // The default network and the folder of all groups stay, as dockerd's do: containers of a daemon that only
    // restarts would lose their connections.
    let kept = |one: &&String| {
        one.starts_with("interface wharf0")
            || *one == "nft table inet wharf"
            || one.ends_with("/wharf")
    };
    // The kernel takes a network namespace down a moment after its last user.
    let mut left = Vec::new();
    let gone = until(|| {
        left = case.engine.world.leftovers()?;
        left.retain(|one| !kept(&one));
        Ok(left.is_empty())
    });
    ensure!(gone.is_ok(), "{left:#?}");
    Ok(())
}
