//! `run`: what a newcomer types first.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use crate::{Case, Client};

pub(crate) fn prints_output_and_streams(case: &mut Case) -> Result<()> {
    case.prints(&["run", "--rm", "busybox", "echo", "hello"], "hello")?;
    let both = case.run(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "echo out; echo err >&2",
    ])?;
    ensure!(both.stdout == "out" && both.stderr == "err", "{both:?}");
    let large = case.ok(&["run", "--rm", "busybox", "seq", "100000"])?;
    ensure!(
        large.lines().count() == 100_000,
        "{} lines",
        large.lines().count()
    );
    Ok(())
}

pub(crate) fn exit_codes(case: &mut Case) -> Result<()> {
    for code in [0, 1, 42, 255] {
        let run = case.run(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            &format!("exit {code}"),
        ])?;
        ensure!(run.code == code, "exit {code} is {}", run.code);
    }
    let killed = case.run(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "kill -TERM $$; kill -KILL $$; exit 3",
    ])?;
    // The first process of a pid namespace cannot kill itself by a signal without a handler.
    ensure!(killed.code == 3, "{killed:?}");
    Ok(())
}

pub(crate) fn failing_commands(case: &mut Case) -> Result<()> {
    let not_found = "exec: \"nosuchprogram\": executable file not found in $PATH";
    case.fails(&["run", "--rm", "busybox", "nosuchprogram"], 127, not_found)?;
    case.fails(
        &["run", "--rm", "busybox", "/no/such/file"],
        127,
        "no such file or directory",
    )?;
    case.fails(
        &["run", "--rm", "busybox", "/etc/passwd"],
        126,
        "permission denied",
    )?;
    case.fails(
        &["run", "--rm", "-w", "relative", "busybox", "true"],
        125,
        "invalid",
    )?;
    case.fails(
        &["run", "--rm", "--no-such-flag", "busybox"],
        125,
        "unknown flag: --no-such-flag",
    )?;
    case.fails(
        &["run", "--rm", "-u", "nobodyknows", "busybox", "true"],
        125,
        "unable to find user nobodyknows",
    )?;
    let left = case.ok(&["ps", "-aq"])?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}

pub(crate) fn env_and_workdir(case: &mut Case) -> Result<()> {
    let file = case.engine.world.path().join("env");
    std::fs::write(&file, "# comment\nFROM_FILE=1 2\nFROM_CLIENT\n")?;
    let mut command = case.command(&[
        "run",
        "--rm",
        "-e",
        "A=b c",
        "-e",
        "FROM_CLIENT2",
        "--env-file",
    ]);
    command
        .arg(&file)
        .args(["-w", "/made/here", "busybox", "sh", "-c"]);
    command.arg("echo $A/$FROM_FILE/$FROM_CLIENT/$FROM_CLIENT2; pwd; echo $PATH $HOME");
    command.env("FROM_CLIENT", "x").env("FROM_CLIENT2", "y");
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    ensure!(
        printed == format!("b c/1 2/x/y\n/made/here\n{path} /root\n"),
        "{output:?}"
    );
    Ok(())
}

pub(crate) fn users(case: &mut Case) -> Result<()> {
    let id = |user: &str| case.ok(&["run", "--rm", "-u", user, "busybox", "id"]);
    ensure!(
        id("nobody")?.starts_with("uid=65534(nobody) gid=65534(nogroup)"),
        "{}",
        id("nobody")?
    );
    ensure!(
        id("1234:567")?.starts_with("uid=1234 gid=567"),
        "{}",
        id("1234:567")?
    );
    let groups = case.ok(&["run", "--rm", "busybox", "id"])?;
    ensure!(
        groups == "uid=0(root) gid=0(root) groups=0(root),10(wheel)",
        "{groups}"
    );
    Ok(())
}

pub(crate) fn stdin_is_passed(case: &mut Case) -> Result<()> {
    let mut child = case
        .command(&["run", "--rm", "-i", "busybox", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let text = "line\n".repeat(50_000);
    let mut stdin = child.stdin.take().context("stdin")?;
    let writer = std::thread::spawn({
        let text = text.clone();
        move || stdin.write_all(text.as_bytes())
    });
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| anyhow::anyhow!("writer"))??;
    ensure!(
        output.stdout == text.as_bytes(),
        "{} bytes came back",
        output.stdout.len()
    );
    ensure!(output.status.success());
    Ok(())
}

pub(crate) fn detached_and_logs(case: &mut Case) -> Result<()> {
    let id = case.ok(&["run", "-d", "busybox", "sh", "-c", "echo one; echo two >&2"])?;
    ensure!(
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    case.prints(&["wait", &id], "0")?;
    let logs = case.run(&["logs", &id])?;
    ensure!(logs.stdout == "one" && logs.stderr == "two", "{logs:?}");
    Ok(())
}

pub(crate) fn entrypoint_and_args(case: &mut Case) -> Result<()> {
    case.prints(
        &["run", "--rm", "--entrypoint", "echo", "busybox", "aa", "bb"],
        "aa bb",
    )?;
    case.fails(
        &["run", "--rm", "--entrypoint", "", "busybox"],
        125,
        "o command specified",
    )?;
    Ok(())
}

pub(crate) fn tmpfs_and_read_only(case: &mut Case) -> Result<()> {
    let line = "touch /x 2>/dev/null || echo no; touch /scratch/y && echo yes; grep ' /scratch ' /proc/mounts | cut -d' ' -f3";
    let args = [
        "run",
        "--rm",
        "--read-only",
        "--tmpfs",
        "/scratch:size=1m",
        "busybox",
        "sh",
        "-c",
        line,
    ];
    case.prints(&args, "no\nyes\ntmpfs")
}

pub(crate) fn names_and_conflicts(case: &mut Case) -> Result<()> {
    let id = case.ok(&["create", "--name", "taken", "busybox"])?;
    let words = format!(
        "Conflict. The container name \"/taken\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    );
    case.fails(&["run", "--name", "taken", "busybox"], 125, &words)?;
    case.fails(
        &["create", "--name", "a/b", "busybox"],
        1,
        "Invalid container name (a/b)",
    )?;
    let made_up = case.ok(&[
        "inspect",
        "-f",
        "{{.Name}}",
        &case.ok(&["create", "busybox"])?,
    ])?;
    ensure!(
        made_up.starts_with('/') && made_up.contains('_'),
        "{made_up}"
    );
    Ok(())
}

pub(crate) fn cidfile(case: &mut Case) -> Result<()> {
    let file = case.engine.world.path().join("cid");
    let file = file.to_string_lossy();
    let id = case.ok(&["run", "-d", "--cidfile", &file, "busybox", "true"])?;
    ensure!(std::fs::read_to_string(&*file)? == id);
    case.fails(
        &["run", "--cidfile", &file, "busybox", "true"],
        125,
        "container ID file found",
    )
}

pub(crate) fn hostname_and_files(case: &mut Case) -> Result<()> {
    let line =
        "hostname; cat /etc/hostname; grep -c harbour /etc/hosts; grep -c localhost /etc/hosts";
    case.prints(
        &["run", "--rm", "-h", "harbour", "busybox", "sh", "-c", line],
        "harbour\nharbour\n1\n2",
    )?;
    let id = case.ok(&["run", "-d", "busybox", "hostname"])?;
    case.ok(&["wait", &id])?;
    case.prints(&["logs", &id], &id[..12])
}

pub(crate) fn auto_remove(case: &mut Case) -> Result<()> {
    case.ok(&[
        "run", "--rm", "--name", "gone", "-v", "/data", "busybox", "true",
    ])?;
    case.prints(&["ps", "-aq"], "")?;
    case.prints(&["volume", "ls", "-q"], "")?;
    case.ok(&["run", "--rm", "--name", "gone", "busybox", "true"])?;
    Ok(())
}

pub(crate) fn init_reaps(case: &mut Case) -> Result<()> {
    let args = ["run", "--rm", "--init", "busybox", "cat", "/proc/1/comm"];
    case.prints(&args, "docker-init")?;
    let code = case
        .run(&["run", "--rm", "--init", "busybox", "sh", "-c", "exit 7"])?
        .code;
    ensure!(code == 7, "{code}");
    Ok(())
}

pub(crate) fn limits_reach_the_kernel(case: &mut Case) -> Result<()> {
    let line = "ulimit -n; cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max;
        cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max";
    let args = [
        "run",
        "--rm",
        "-m",
        "64m",
        "--pids-limit",
        "50",
        "--ulimit",
        "nofile=77:99",
        "busybox",
        "sh",
        "-c",
        line,
    ];
    case.prints(&args, "77\n67108864\n50")?;
    if case.client == Client::Docker {
        case.fails(
            &["run", "--rm", "-m", "1m", "busybox", "true"],
            125,
            "Minimum memory limit allowed is 6MB",
        )?;
    }
    Ok(())
}
