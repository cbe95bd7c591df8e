//! The safe default: what a container may not do unless asked.

use anyhow::{Result, ensure};

use crate::Case;
use crate::case::skip;

fn capabilities(case: &Case, flags: &[&str], field: &str) -> Result<String> {
    let line = format!("grep {field} /proc/self/status | cut -f2");
    let mut args = vec!["run", "--rm", "--network", "none"];
    args.extend(flags);
    args.extend(["busybox", "sh", "-c", &line]);
    case.ok(&args)
}

pub(crate) fn default_capabilities(case: &mut Case) -> Result<()> {
    // The fourteen of Docker.
    for field in ["CapEff", "CapPrm", "CapBnd"] {
        ensure!(
            capabilities(case, &[], field)? == "00000000a80425fb",
            "{field}"
        );
    }
    ensure!(capabilities(case, &[], "CapInh")? == "0000000000000000");
    ensure!(capabilities(case, &[], "CapAmb")? == "0000000000000000");
    ensure!(
        capabilities(
            case,
            &["--cap-drop", "ALL", "--cap-add", "NET_ADMIN"],
            "CapEff"
        )? == "0000000000001000"
    );
    ensure!(capabilities(case, &["-u", "nobody"], "CapEff")? == "0000000000000000");
    case.fails(
        &["run", "--rm", "--cap-add", "NONSENSE", "busybox", "true"],
        125,
        "invalid CapAdd: unknown capability: \"CAP_NONSENSE\"",
    )
}

pub(crate) fn masked_and_read_only_paths(case: &mut Case) -> Result<()> {
    // Which of the masked ones exist depends on the kernel: what does must be empty.
    let line = "cat /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug 2>/dev/null | wc -c; \
        ls /proc/acpi /proc/scsi /sys/firmware 2>/dev/null | grep -v : | grep -c .; echo 1 > /proc/sys/vm/swappiness || echo ro; \
        echo c > /proc/sysrq-trigger || echo ro; touch /sys/x 2>/dev/null || echo ro";
    let run = case.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        line,
    ])?;
    ensure!(run.stdout == "0\n0\nro\nro\nro", "{run:?}");
    Ok(())
}

pub(crate) fn seccomp_denies(case: &mut Case) -> Result<()> {
    ensure!(
        case.ok(&[
            "run",
            "--rm",
            "busybox",
            "sh",
            "-c",
            "grep Seccomp: /proc/self/status | cut -f2"
        ])? == "2"
    );
    ensure!(
        case.ok(&[
            "run",
            "--rm",
            "--security-opt",
            "seccomp=unconfined",
            "busybox",
            "sh",
            "-c",
            "grep Seccomp: /proc/self/status | cut -f2"
        ])? == "0"
    );
    case.fails(
        &["run", "--rm", "busybox", "unshare", "-U", "true"],
        1,
        "Operation not permitted",
    )
}

pub(crate) fn no_new_privileges(case: &mut Case) -> Result<()> {
    let read = "grep NoNewPrivs /proc/self/status | cut -f2";
    case.prints(&["run", "--rm", "busybox", "sh", "-c", read], "0")?;
    case.prints(
        &[
            "run",
            "--rm",
            "--security-opt",
            "no-new-privileges",
            "busybox",
            "sh",
            "-c",
            read,
        ],
        "1",
    )
}

pub(crate) fn privileged_has_all(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip(
            "Debian's runc fails where the host itself lacks a capability, as in a sandbox",
        );
    }
    let own = std::fs::read_to_string("/proc/self/status")?;
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("CapBnd:\t"))
        .unwrap_or_default()
        .to_owned();
    ensure!(capabilities(case, &["--privileged"], "CapEff")? == own);
    case.ok(&[
        "run",
        "--rm",
        "--privileged",
        "busybox",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/tmp",
    ])?;
    case.fails(
        &[
            "run", "--rm", "busybox", "mount", "-t", "tmpfs", "none", "/tmp",
        ],
        1,
        "",
    )
}

pub(crate) fn workdir_through_proc_is_refused(case: &mut Case) -> Result<()> {
    for fd in 3..12 {
        let folder = format!("/proc/self/fd/{fd}");
        let run = case.run(&[
            "run",
            "--rm",
            "-w",
            &folder,
            "busybox",
            "sh",
            "-c",
            "ls ../../../../../../etc/debian_version",
        ])?;
        ensure!(
            run.code != 0,
            "the host's files are seen through {folder}: {run:?}"
        );
    }
    Ok(())
}
