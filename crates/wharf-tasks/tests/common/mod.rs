//! A world of its own for a test: a mount namespace, an exec root, a busybox root file system, a spec.

#![allow(
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "test helpers"
)]

use std::collections::HashSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use oci_spec::runtime::Spec;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use wharf_tasks::{
    AttachOptions, ExitStatus, LogConfig, RootfsSource, ShimProgram, Stdio, Task, TaskConfig, Tasks,
};

/// Both outputs.
pub const OUTPUT: AttachOptions = AttachOptions {
    stdin: false,
    stdout: true,
    stderr: true,
};

/// Whose the tasks are.
pub const OWNER: &str = "here";

static NUMBER: AtomicU32 = AtomicU32::new(0);

pub struct World {
    pub folder: tempfile::TempDir,
    pub tasks: Tasks,
    cgroup: String,
}

/// The shim: what `make dist` has built, or built now.
pub fn shim() -> PathBuf {
    if let Some(folder) = std::env::var_os("WHARF_BIN_DIR") {
        return Path::new(&folder).join("wharf-shim");
    }
    let mut build = Command::new(env!("CARGO"));
    // Static, as it is executed inside containers too (`--init`).
    build.args([
        "rustc",
        "--quiet",
        "--package",
        "wharf-shim",
        "--bin",
        "wharf-shim",
    ]);
    build.args(["--", "-C", "target-feature=+crt-static"]);
    assert!(build.status().unwrap().success());
    // …/deps/life-0123 → …/wharf-shim
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("wharf-shim")
}

/// Runs `test` on one thread, which is in a mount namespace of its own.
pub fn in_a_world<T>(test: impl AsyncFnOnce(&World) -> T) -> T {
    let shim = shim();
    wharf_sys::process::unshare(wharf_sys::process::namespace::MOUNT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let folder = tempfile::Builder::new()
            .prefix("wharf-tasks")
            .tempdir()
            .unwrap();
        let program = ShimProgram::open(&shim).unwrap();
        let tasks = Tasks::new(&folder.path().join("run"), program, OWNER).unwrap();
        let cgroup = format!("/wharf-test-{}", std::process::id());
        let world = World {
            folder,
            tasks,
            cgroup,
        };
        world.make_rootfs();
        let result = test(&world).await;
        world.clean_up().await;
        result
    })
}

impl World {
    pub fn rootfs(&self) -> PathBuf {
        self.folder.path().join("rootfs")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log.json")
    }

    /// The log's text without its dressing.
    pub fn logged(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| line["log"].as_str().unwrap().to_owned())
            .collect()
    }

    fn make_rootfs(&self) {
        let root = self.rootfs();
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        let applets = "sh cat echo true false sleep id ls pwd hostname kill stty head dd mkdir \
                       ln env wc touch yes readlink mount umount grep sync seq tr printf stat";
        for name in applets.split_whitespace() {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
        std::fs::write(
            root.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/tmp:/bin/sh\n",
        )
        .unwrap();
        std::fs::write(
            root.join("etc/group"),
            "root:x:0:\nwww:x:34:\naudio:x:29:web\n",
        )
        .unwrap();
    }

    /// Docker's usual spec for a command.
    pub fn spec(&self, arguments: &[&str]) -> Value {
        let capabilities = json!([
            "CAP_CHOWN",
            "CAP_DAC_OVERRIDE",
            "CAP_KILL",
            "CAP_SETGID",
            "CAP_SETUID",
            "CAP_NET_RAW"
        ]);
        json!({
            "ociVersion": "1.2.0",
            "root": {"path": "rootfs"},
            "hostname": "wharf",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": arguments,
                "env": ["PATH=/bin:/sbin"],
                "cwd": "/",
                "capabilities": {
                    "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
                },
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
                {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro", "nosuid", "noexec", "nodev"]},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid", "noexec", "nodev"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]},
            ],
            "linux": {
                "cgroupsPath": format!("{}/{}", self.cgroup, NUMBER.fetch_add(1, Ordering::Relaxed)),
                "namespaces": [
                    {"type": "mount"}, {"type": "network"}, {"type": "uts"}, {"type": "pid"}, {"type": "ipc"}, {"type": "cgroup"},
                ],
                "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware", "/proc/nothing"],
                "readonlyPaths": ["/proc/sys", "/proc/bus"],
                "resources": {"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rwm"}, {"allow": true, "type": "c", "major": 5, "access": "rwm"}, {"allow": true, "type": "c", "major": 136, "access": "rwm"}]},
            },
        })
    }

    pub fn config(&self, spec: Value) -> TaskConfig {
        let terminal = spec["process"]["terminal"].as_bool().unwrap_or(false);
        let upper = self
            .folder
            .path()
            .join(format!("upper-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let work = upper.with_extension("work");
        std::fs::create_dir(&upper).unwrap();
        std::fs::create_dir(&work).unwrap();
        TaskConfig {
            spec: serde_json::from_value::<Spec>(spec).unwrap(),
            rootfs: RootfsSource::Overlay {
                lowers: vec![self.rootfs()],
                upper,
                work,
            },
            stdio: Stdio {
                terminal,
                open_stdin: false,
                stdin_once: false,
            },
            log: LogConfig::JsonFile {
                path: self.log(),
                max_size: None,
                max_files: 1,
                attrs: String::new(),
                attributes: Default::default(),
                compress: false,
                buffer: None,
            },
            netns: None,
            seccomp: None,
            user: String::new(),
            groups: Vec::new(),
            init: false,
            runtime: None,
        }
    }

    /// Creates, starts and attaches.
    pub async fn start(&self, id: &str, config: TaskConfig) -> (Task, UnixStream) {
        let task = self.tasks.create(id, config).await.unwrap();
        let stream = task
            .attach(AttachOptions {
                stdin: true,
                ..OUTPUT
            })
            .await
            .unwrap();
        task.start().await.unwrap();
        (task, stream)
    }

    /// Runs a command to its end: status and both outputs.
    pub async fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        self.run_config(self.config(self.spec(arguments))).await
    }

    pub async fn run_config(&self, config: TaskConfig) -> (ExitStatus, String) {
        let id = format!("run-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let raw = config.stdio.terminal;
        let (task, stream) = self.start(&id, config).await;
        let output = read_all(stream, raw).await;
        let status = task.wait().await;
        task.delete().await.unwrap();
        (status, output)
    }

    /// Nothing may be left: no cgroup, no folder.
    async fn clean_up(&self) {
        for id in self.tasks.list(&HashSet::new()).unwrap() {
            self.tasks.delete(&id).await.unwrap();
        }
        let mut left = Vec::new();
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = std::fs::read_dir(top).unwrap();
        let hierarchies = hierarchies.map(|hierarchy| hierarchy.unwrap().path());
        for hierarchy in hierarchies.chain([top.to_owned()]) {
            let folder = hierarchy.join(self.cgroup.trim_matches('/'));
            let groups = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            left.extend(
                groups
                    .filter(|group| group.path().is_dir())
                    .map(|group| group.path()),
            );
            let _ = std::fs::remove_dir(&folder);
        }
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// A test that fails leaves no container behind: they would outlive it, as is their duty.
impl Drop for World {
    fn drop(&mut self) {
        let groups = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
            .map(|top| Path::new(top).join(self.cgroup.trim_matches('/')));
        let groups = groups.iter().flat_map(std::fs::read_dir).flatten();
        for group in groups.flatten() {
            let pids =
                std::fs::read_to_string(group.path().join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// All output of an attached stream, without Docker's frames.
pub async fn read_all(mut stream: UnixStream, raw: bool) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    if raw {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let (mut text, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((head, tail)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (payload, tail) = tail.split_at(length);
        text.extend_from_slice(payload);
        rest = tail;
    }
    String::from_utf8_lossy(&text).into_owned()
}
