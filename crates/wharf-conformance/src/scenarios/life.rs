//! The daemon's death, and what it leaves.

use anyhow::{Result, ensure};
use wharf_testkit::EngineKind;

use super::containers::until;
use crate::Case;

pub(crate) fn daemon_killed_container_lives(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // It kills them when it starts again, unless told to leave them alive.
    }
    let count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done";
    let id = case.ok(&["run", "-d", "--name", "c", "busybox", "sh", "-c", count])?;
    until(|| Ok(case.ok(&["logs", "c"])?.lines().count() > 3))?;
    let pid = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c"])?;
    case.engine.kill_9()?;
    case.engine.launch()?;
    case.prints(
        &["inspect", "-f", "{{.State.Status}} {{.State.Pid}}", "c"],
        &format!("running {pid}"),
    )?;
    let so_far = case.ok(&["logs", "c"])?.lines().count();
    until(|| Ok(case.ok(&["logs", "c"])?.lines().count() > so_far + 3))?;
    let logs = case.ok(&["logs", "c"])?;
    for (number, line) in logs.lines().enumerate() {
        ensure!(
            line == number.to_string(),
            "line {number} of the log is {line}"
        );
    }
    case.prints(&["exec", "c", "echo", "still there"], "still there")?;
    case.ok(&["stop", "-t", "0", &id])?;
    case.prints(
        &[
            "inspect",
            "-f",
            "{{.State.Status}} {{.State.ExitCode}}",
            "c",
        ],
        "exited 137",
    )
}

pub(crate) fn exit_code_while_daemon_is_dead(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // As above.
    }
    let gate = case.engine.world.path().join("gate");
    std::fs::create_dir(&gate)?;
    let bind = format!("{}:/gate", gate.display());
    let waits = "until [ -e /gate/open ]; do sleep 0.02; done; echo last words; exit 23";
    case.ok(&[
        "run", "-d", "--name", "c", "-v", &bind, "busybox", "sh", "-c", waits,
    ])?;
    case.ok(&[
        "run", "-d", "--rm", "--name", "r", "-v", &bind, "busybox", "sh", "-c", waits,
    ])?;
    let pids = case.ok(&["inspect", "-f", "{{.State.Pid}}", "c", "r"])?;
    case.engine.kill_9()?;
    std::fs::write(gate.join("open"), "")?;
    for pid in pids.lines() {
        until(|| {
            Ok(case.engine.world.sh(&format!("kill -0 {pid} 2>/dev/null && grep -q State:.Z /proc/{pid}/status || ! kill -0 {pid} 2>/dev/null")).is_ok())
        })?;
    }
    case.engine.launch()?;
    case.prints(&["wait", "c"], "23")?;
    case.prints(&["logs", "c"], "last words")?;
    until(|| Ok(case.ok(&["ps", "-a", "--format", "{{.Names}}"])? == "c"))
}

pub(crate) fn nothing_is_left_behind(case: &mut Case) -> Result<()> {
    if case.engine.kind == EngineKind::Dockerd {
        return Ok(()); // It leaves its bridge and rules on purpose.
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
    case.ok(&["run", "-d", "--name", "c", "busybox", "sleep", "1000"])?;
    case.ok(&["exec", "-d", "c", "sleep", "1000"])?;
    case.ok(&["rm", "-f", "c"])?;
    case.engine.stop()?;
    let left = case.engine.world.leftovers()?;
    let left: Vec<_> = left
        .iter()
        .filter(|one| !one.starts_with("interface wharf0"))
        .collect();
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}
