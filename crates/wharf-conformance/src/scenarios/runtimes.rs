//! Other OCI runtimes: their command lines make the processes, everything else is as ever.

use anyhow::{Result, ensure};
use serde_json::json;
use wharf_testkit::EngineKind;

use super::containers::until;
use crate::case::skip;
use crate::{Case, Client};

/// A daemon that knows Debian's runc and crun.
fn with_runtimes(kind: EngineKind, client: Client) -> Result<Case> {
    // crun 1.8 does not know the hybrid hierarchies of some machines, so it leaves groups alone.
    let config = json!({"runtimes": {
        "other": {"path": "/usr/sbin/runc"},
        "crun": {"path": "/usr/bin/crun", "runtimeArgs": ["--cgroup-manager=disabled"]},
    }});
    Case::with(kind, client, Some(config.to_string()))
}

pub(crate) fn runc_makes_the_processes(case: &mut Case) -> Result<()> {
    let case = with_runtimes(case.engine.kind, case.client)?;
    let run = |more: &[&str]| case.run(&[&["run", "--rm", "--runtime", "other"], more].concat());
    let said = run(&["busybox", "sh", "-c", "echo out; echo err >&2; exit 7"])?;
    ensure!(
        (said.code, said.stdout.as_str(), said.stderr.as_str()) == (7, "out", "err"),
        "{said:?}"
    );
    // Names of users, limits, the filter, mounts, the network and the init are what they are without it.
    let look = "id -un; pwd; cat /x/f; grep Seccomp: /proc/self/status | tr -d '\\t'; ls /sys/class/net | sort | xargs; cat /proc/1/comm; cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    let folder = case.engine.world.path().join("bound");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("f"), "bound\n")?;
    let bind = format!("{}:/x:ro", folder.display());
    let options = [
        "--init", "-u", "nobody", "-w", "/tmp", "-m", "16m", "-v", &bind, "busybox", "sh", "-c",
        look,
    ];
    let seen = run(&options)?;
    let lines: Vec<_> = seen.stdout.lines().collect();
    ensure!(
        lines
            == [
                "nobody",
                "/tmp",
                "bound",
                "Seccomp:2",
                "eth0 lo",
                "docker-init",
                "16777216"
            ],
        "{seen:?}"
    );
    // Whatever the shim keeps away from itself.
    let blocked = run(&["busybox", "grep", "SigBlk", "/proc/self/status"])?;
    ensure!(blocked.stdout == "SigBlk:\t0000000000000000", "{blocked:?}");
    let missing = run(&["busybox", "nosuchprogram"])?;
    ensure!(
        missing.code == 127
            && missing
                .stderr
                .contains("exec: \"nosuchprogram\": executable file not found in $PATH"),
        "{missing:?}"
    );
    case.fails(
        &["create", "--runtime", "nope", "busybox"],
        1,
        "unknown or invalid runtime name: nope",
    )?;
    let info = case.expect("GET", "/info", None, 200)?;
    ensure!(
        info["Runtimes"]["other"]["path"] == "/usr/sbin/runc",
        "{info}"
    );
    Ok(())
}

pub(crate) fn runc_containers_live(case: &mut Case) -> Result<()> {
    let mut case = with_runtimes(case.engine.kind, case.client)?;
    case.ok(&[
        "run",
        "-dit",
        "--runtime",
        "other",
        "--name",
        "c1",
        "busybox",
        "sh",
        "-c",
        "stty size; exec sleep 1000",
    ])?;
    case.prints(&["inspect", "-f", "{{.HostConfig.Runtime}}", "c1"], "other")?;
    case.prints(
        &["exec", "c1", "sh", "-c", "echo $HOME; tty; exit 0"],
        "/root\nnot a tty",
    )?;
    let code = case
        .run(&["exec", "-u", "nobody", "c1", "sh", "-c", "exit 4"])?
        .code;
    ensure!(code == 4, "{code}");
    let top = case.ok(&["top", "c1"])?;
    ensure!(top.contains("sleep 1000"), "{top}");
    case.ok(&["pause", "c1"])?;
    case.prints(&["inspect", "-f", "{{.State.Status}}", "c1"], "paused")?;
    case.ok(&["unpause", "c1"])?;
    case.ok(&["update", "--pids-limit", "50", "c1"])?;
    if !case.engine.kind.is_dockerd() {
        case.engine.kill_9()?;
        case.engine.launch()?;
        case.prints(&["exec", "c1", "echo", "still"], "still")?;
    }
    case.ok(&["stop", "-t", "0", "c1"])?;
    case.prints(&["inspect", "-f", "{{.State.ExitCode}}", "c1"], "137")?;
    case.ok(&["start", "c1"])?;
    case.ok(&["rm", "-f", "c1"])?;
    orphans_are_buried(&case)?;
    let left = "grep -c runc /proc/[0-9]*/comm | grep -v ':0' || true";
    until(|| Ok(case.engine.world.sh(left)?.is_empty()))
}

/// Those of a container without a pid namespace of its own become children of who has started its runtime.
fn orphans_are_buried(case: &Case) -> Result<()> {
    let script = "(sleep 1000 & echo $!); exec sleep 1000";
    let words = [
        "run",
        "-d",
        "--pid",
        "host",
        "--runtime",
        "other",
        "--name",
        "c2",
    ];
    case.ok(&[&words[..], &["busybox", "sh", "-c", script]].concat())?;
    until(|| Ok(!case.ok(&["logs", "c2"])?.is_empty()))?;
    let orphan = case.ok(&["logs", "c2"])?;
    case.engine.world.sh(&format!("kill -KILL {orphan}"))?;
    let there = format!("[ ! -e /proc/{orphan} ] || echo there");
    until(|| Ok(case.engine.world.sh(&there)?.is_empty()))?;
    case.ok(&["rm", "-f", "c2"]).map(drop)
}

pub(crate) fn crun_makes_the_processes(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip(
            "containerd's shim asks it for statistics that it cannot have on a hybrid machine",
        );
    }
    let controllers = "cat /sys/fs/cgroup/unified/cgroup.controllers 2>/dev/null || true";
    if !case.engine.world.sh(controllers)?.trim().is_empty() {
        return skip("crun refuses a hybrid machine whose cgroup v2 hierarchy has controllers");
    }
    let case = with_runtimes(case.engine.kind, case.client)?;
    let run = [
        "run",
        "--rm",
        "--runtime",
        "crun",
        "-u",
        "1:2",
        "busybox",
        "sh",
        "-c",
        "id -u; id -g; exit 3",
    ];
    let said = case.run(&run)?;
    ensure!((said.code, said.stdout.as_str()) == (3, "1\n2"), "{said:?}");
    case.ok(&[
        "run",
        "-d",
        "--runtime",
        "crun",
        "--name",
        "c1",
        "busybox",
        "sleep",
        "1000",
    ])?;
    case.prints(&["exec", "c1", "echo", "in it"], "in it")?;
    case.ok(&["kill", "c1"])?;
    case.prints(&["wait", "c1"], "137")
}
