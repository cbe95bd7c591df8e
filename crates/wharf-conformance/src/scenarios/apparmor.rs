//! AppArmor, where the kernel has it; and what is said about it where it does not.

use anyhow::{Result, ensure};

use crate::Case;

const CURRENT: &str =
    "cat /proc/self/attr/apparmor/current 2>/dev/null || cat /proc/self/attr/current";

pub(crate) fn profiles_confine(case: &mut Case) -> Result<()> {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    if !enabled.is_ok_and(|text| text.starts_with('Y')) {
        // As dockerd has it: nothing to enforce, so nothing is refused.
        case.ok(&[
            "run",
            "--name",
            "c1",
            "--security-opt",
            "apparmor=nosuchprofile",
            "busybox",
            "true",
        ])?;
        return case.prints(&["inspect", "-f", "{{.AppArmorProfile}}", "c1"], "");
    }
    let start = [
        "run",
        "-d",
        "--name",
        "c1",
        "--cap-add",
        "SYS_ADMIN",
        "busybox",
        "sleep",
        "1000",
    ];
    case.ok(&start)?;
    case.prints(
        &["inspect", "-f", "{{.AppArmorProfile}}", "c1"],
        "docker-default",
    )?;
    case.prints(
        &["exec", "c1", "sh", "-c", CURRENT],
        "docker-default (enforce)",
    )?;
    // A capability is not enough.
    let mount = ["exec", "c1", "mount", "-t", "tmpfs", "none", "/tmp"];
    let denied = case.run(&mount)?;
    ensure!(
        denied.code != 0 && denied.stderr.contains("ermission denied"),
        "{denied:?}"
    );
    // Signals come through.
    case.ok(&["stop", "-t", "1", "c1"])?;
    let free = ["--security-opt", "apparmor=unconfined"];
    let args = [
        &["run", "--rm"],
        &free[..],
        &["busybox", "sh", "-c", CURRENT],
    ]
    .concat();
    case.prints(&args, "unconfined")?;
    case.prints(
        &[
            "run",
            "--rm",
            "--privileged",
            "busybox",
            "sh",
            "-c",
            CURRENT,
        ],
        "unconfined",
    )?;
    let unknown = [
        "run",
        "--rm",
        "--security-opt",
        "apparmor=nosuchprofile",
        "busybox",
        "true",
    ];
    let run = case.run(&unknown)?;
    let words = "unable to apply apparmor profile: apparmor failed to apply profile: write";
    ensure!(run.code != 0 && run.stderr.contains(words), "{run:?}");
    ensure!(
        run.stderr
            .contains("attr/apparmor/exec: no such file or directory"),
        "{run:?}"
    );
    let info = case.ok(&["info", "-f", "{{.SecurityOptions}}"])?;
    ensure!(info.contains("name=apparmor"), "{info}");
    Ok(())
}
