//! Under Debian's Podman and containerd, in runc's place.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::process::{Command, Stdio};

use common::Bundle;

/// Runs a script of `under/` in namespaces of its own; all that it leaves dies with it.
fn run(script: &str) -> String {
    let bundle = Bundle::new(&["true"]);
    let script = format!(
        "{}/crates/wharf-shim/tests/under/{script}",
        env!("WHARF_ROOT")
    );
    let mut command = Command::new("unshare");
    command
        .args([
            "--mount",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ])
        .args(["--net", "sh", &script, env!("CARGO_BIN_EXE_wharf-shim")])
        .arg(bundle.0.path())
        .arg(bundle.rootfs());
    // A file, as nobody is to wait for the end of what is left behind.
    let output = std::fs::File::create(bundle.path("output")).unwrap();
    let errors = std::fs::File::create(bundle.path("errors")).unwrap();
    let status = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .status()
        .unwrap();
    let read = |name| std::fs::read_to_string(bundle.path(name)).unwrap();
    let (output, errors) = (read("output"), read("errors"));
    assert!(status.success(), "{output}\n{errors}");
    output
}

#[test]
fn podman() {
    let expected = "run\ncode 4\nterminal\r\nname\n5\nreadonly\nexec\ncode 3\n/dev/pts/0\r\nnone\ncode 127\none Paused\n\
                    sleep\n137\nstarted\ncode 9\n";
    assert_eq!(run("podman.sh"), expected);
}

#[test]
fn containerd() {
    let memory = match std::path::Path::new("/sys/fs/cgroup/memory").exists() {
        true => "1",
        false => "0",
    };
    let expected = format!(
        "run\ncode 5\nrunc create failed: unable to start container process: exec: \"/bin/nope\": stat /bin/nope: no \
         such file or directory\nexec\ncode 6\ntwo RUNNING\ntwo PAUSED\n{memory}\n"
    );
    assert_eq!(run("containerd.sh"), expected);
}
