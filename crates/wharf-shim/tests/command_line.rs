//! The shim as an OCI runtime: a bundle, and runc's verbs.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

struct Bundle(tempfile::TempDir);

impl Bundle {
    fn new(arguments: &[&str]) -> Self {
        let bundle = Self(tempfile::tempdir().unwrap());
        let root = bundle.0.path().join("rootfs");
        for name in ["bin", "proc", "dev", "sys"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in ["sh", "echo", "cat", "sleep", "true", "mount", "id"] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let spec = json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": arguments, "env": ["PATH=/bin"], "cwd": "/"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            ],
            "linux": {
                "cgroupsPath": format!("/wharf-test-cli-{}", std::process::id()),
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        std::fs::write(bundle.0.path().join("config.json"), spec.to_string()).unwrap();
        bundle
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.0.path().join("config.json");
        let mut spec = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        std::fs::write(path, spec.to_string()).unwrap();
    }

    fn rootfs(&self) -> PathBuf {
        self.0.path().join("rootfs")
    }

    fn shim(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-shim"));
        command
            .arg("--root")
            .arg(self.0.path().join("state"))
            .args(words);
        command.current_dir(self.0.path()).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.shim(words);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8(text).unwrap()
    }
}

#[test]
fn run_gives_output_and_code_and_leaves_nothing() {
    let bundle = Bundle::new(&["sh", "-c", "echo hello; exit 7"]);
    let output = bundle.shim(&["run", "one"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    assert_eq!(output.status.code(), Some(7));
    assert!(!bundle.0.path().join("state/one").exists());
    bundle.change(|spec| spec["process"]["args"] = json!(["nope"]));
    let text = bundle.text(&["run", "one"]);
    let expected =
        "unable to start container process: exec: \"nope\": executable file not found in $PATH\n";
    assert_eq!(text, expected);
}

#[test]
fn the_verbs_of_a_life() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    // `create` leaves its process behind, which must not hold a pipe of ours.
    let create = Command::new(env!("CARGO_BIN_EXE_wharf-shim"))
        .arg("--root")
        .arg(bundle.0.path().join("state"))
        .args(["create", "--pid-file", "pid", "life"])
        .current_dir(bundle.0.path())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    assert!(create.unwrap().success());
    let status = || {
        let state: Value = serde_json::from_str(&bundle.text(&["state", "life"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    };
    assert_eq!(status(), "created");
    assert_eq!(bundle.text(&["start", "life"]), "");
    assert_eq!(status(), "running");
    assert_eq!(
        bundle.text(&["start", "life"]),
        "cannot start an already running container\n"
    );
    assert!(
        bundle
            .text(&["delete", "life"])
            .contains("that is not stopped")
    );
    let pid = std::fs::read_to_string(bundle.0.path().join("pid")).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    assert_eq!(bundle.text(&["kill", "life", "SIGKILL"]), "");
    let mut ended = [rustix::event::PollFd::new(
        &pidfd,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut ended, None).unwrap();
    assert_eq!(status(), "stopped");
    assert_eq!(bundle.text(&["delete", "life"]), "");
    assert_eq!(
        bundle.text(&["state", "life"]),
        "container does not exist\n"
    );
}

/// CVE-2024-21626: a working folder through a descriptor of the runtime's.
#[test]
fn a_descriptor_is_no_working_folder() {
    let bundle = Bundle::new(&["true"]);
    for number in 3..20 {
        bundle.change(|spec| spec["process"]["cwd"] = format!("/proc/self/fd/{number}").into());
        let output = bundle.shim(&["run", "cwd"]);
        assert!(!output.status.success(), "fd {number}");
    }
}

/// CVE-2025-31133: a masked path is covered by the null device, and by nothing that an image calls so.
#[test]
fn a_link_in_place_of_the_null_device_masks_nothing_else() {
    let bundle = Bundle::new(&["cat", "/secret"]);
    std::fs::write(bundle.rootfs().join("secret"), "text").unwrap();
    bundle.change(|spec| spec["linux"]["maskedPaths"] = json!(["/secret"]));
    let output = bundle.shim(&["run", "mask"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
    symlink("/etc/passwd", bundle.rootfs().join("dev/null")).unwrap();
    bundle.change(|spec| spec["mounts"].as_array_mut().unwrap().truncate(1));
    assert!(
        bundle
            .text(&["run", "mask"])
            .contains("it is not the null device")
    );
}

/// CVE-2019-19921, CVE-2023-27561: procfs behind a link. CVE-2026-41579: `/dev` that leads out.
#[test]
fn links_in_an_image_lead_nowhere_else() {
    let bundle = Bundle::new(&["true"]);
    let root = bundle.rootfs();
    std::fs::remove_dir(root.join("proc")).unwrap();
    symlink("/bin", root.join("proc")).unwrap();
    assert!(
        bundle
            .text(&["run", "proc"])
            .contains("the target is no folder")
    );
    std::fs::remove_file(root.join("proc")).unwrap();
    std::fs::create_dir(root.join("proc")).unwrap();
    std::fs::remove_dir(root.join("dev")).unwrap();
    let outside = bundle.0.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    symlink("/../../outside", root.join("dev")).unwrap();
    assert_eq!(bundle.shim(&["run", "dev"]).status.code(), Some(0));
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}

/// CVE-2022-29162, CVE-2022-24769: nothing inheritable, nothing ambient, unless asked for.
#[test]
fn capabilities_are_what_the_spec_says() {
    let bundle = Bundle::new(&[
        "sh",
        "-c",
        "while read line; do echo \"$line\"; done < /proc/self/status",
    ]);
    let caps = json!(["CAP_CHOWN", "CAP_KILL"]);
    bundle.change(|spec| {
        spec["process"]["capabilities"] =
            json!({"bounding": caps, "effective": caps, "permitted": caps});
        spec["process"]["noNewPrivileges"] = true.into();
    });
    let text = bundle.text(&["run", "caps"]);
    for line in [
        "CapInh:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "CapEff:\t0000000000000021",
        "CapBnd:\t0000000000000021",
        "NoNewPrivs:\t1",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// CVE-2019-5736: the program behind the first process is the container's own when it could be reached.
#[test]
fn nothing_of_the_host_is_open_inside() {
    let bundle = Bundle::new(&["sh", "-c", "cd /proc/self/fd; echo *"]);
    let text = bundle.text(&["run", "fds"]);
    assert!(["0 1 2\n", "0 1 2 3\n"].contains(&&*text), "{text}");
}
