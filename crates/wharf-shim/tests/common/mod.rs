//! A bundle with a busybox in it, and the shim as its runtime.

#![allow(clippy::unwrap_used, dead_code, unreachable_pub, reason = "tests")]

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

pub struct Bundle(pub tempfile::TempDir);

impl Bundle {
    pub fn new(arguments: &[&str]) -> Self {
        let bundle = Self(tempfile::tempdir().unwrap());
        let root = bundle.0.path().join("rootfs");
        for name in ["bin", "proc", "dev", "sys", "tmp"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for name in [
            "sh", "echo", "cat", "sleep", "true", "mount", "id", "ls", "stat", "hostname", "touch",
            "rm", "ln", "mv", "mkdir", "grep", "ip", "uname", "tty", "stty", "kill", "wc", "env",
            "readlink",
        ] {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        let name = bundle.0.path().file_name().unwrap().to_string_lossy();
        let spec = json!({
            "ociVersion": "1.3.0",
            "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "args": arguments, "env": ["PATH=/bin"], "cwd": "/"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            ],
            "linux": {
                "cgroupsPath": format!("/wharf-test-cli{name}"),
                "namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "network"}],
            },
        });
        std::fs::write(bundle.path("config.json"), spec.to_string()).unwrap();
        bundle
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path("config.json");
        let mut spec = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut spec);
        std::fs::write(path, spec.to_string()).unwrap();
    }

    /// What the first process runs.
    pub fn script(&self, text: &str) {
        self.change(|spec| spec["process"]["args"] = json!(["sh", "-c", text]));
    }

    pub fn mount(&self, mount: Value) {
        self.change(|spec| spec["mounts"].as_array_mut().unwrap().push(mount));
    }

    pub fn namespace(&self, namespace: Value) {
        self.change(|spec| {
            let all = spec["linux"]["namespaces"].as_array_mut().unwrap();
            all.retain(|one| one["type"] != namespace["type"]);
            all.push(namespace);
        });
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path("rootfs")
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wharf-shim"));
        command.arg("--root").arg(self.path("state")).args(words);
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    pub fn shim(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Output and errors of a command.
    pub fn text(&self, words: &[&str]) -> String {
        let output = self.shim(words);
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Output of a command that succeeds.
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.shim(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `run` says of a container that is refused.
    pub fn refused(&self) -> String {
        let output = self.shim(&["run", "refused"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(!self.path("state/refused").exists(), "something is left");
        String::from_utf8(output.stderr).unwrap()
    }

    /// A command that leaves a process behind, which must not hold a pipe of ours.
    pub fn leave(&self, words: &[&str]) {
        let errors = std::fs::File::create(self.path("errors")).unwrap();
        let mut command = self.command(words);
        let status = command.stdout(Stdio::null()).stderr(errors).status();
        let errors = std::fs::read_to_string(self.path("errors")).unwrap();
        assert!(status.unwrap().success(), "{words:?}: {errors}");
    }

    pub fn spawn(&self, words: &[&str]) -> Child {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).spawn().unwrap()
    }

    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }

    pub fn status(&self, id: &str) -> String {
        self.state(id)["status"].as_str().unwrap().to_owned()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let state = std::fs::read_dir(self.path("state"));
        for left in state.into_iter().flatten().flatten() {
            self.shim(&["delete", "-f", &left.file_name().to_string_lossy()]);
        }
    }
}

/// Waits for the end of a process that is not ours.
pub fn wait_for_end(pid: i32) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None).unwrap();
}

/// Waits until `done`, and gives up when it cannot come any more.
pub fn until(done: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed().as_secs() < 30, "it does not come");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

pub fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}
