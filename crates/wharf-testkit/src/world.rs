//! A private set of namespaces that a test runs its daemons in.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Fresh mount, network, pid, ipc, uts and cgroup namespaces, and a scratch folder. All of it goes with the
/// value.
pub struct World {
    name: String,
    unshare: Child,
    init: Pid,
    folder: tempfile::TempDir,
}

/// The first process of a world, as a shell script.
const INSIDE: &str = concat!(
    include_str!("world/mounts.sh"),
    include_str!("world/inside.sh")
);

static COUNT: AtomicU32 = AtomicU32::new(0);

impl World {
    /// Makes a world. Needs root.
    ///
    /// # Errors
    /// If a namespace, cgroup or mount cannot be made.
    pub fn new() -> Result<Self> {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wharf-test-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new().prefix("wharf-").tempdir()?;
        let mut unshare = Command::new("bash")
            .args(["-c", include_str!("world/enter.sh"), "enter"])
            .args([name.as_str(), INSIDE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start bash")?;
        let stdout = unshare.stdout.take().context("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "ready\n", "the world did not come up: see stderr");
        let init = only_child(unshare.id())?;
        Ok(Self {
            name,
            unshare,
            init,
            folder,
        })
    }

    /// A folder of this world's own, on the machine's disk, seen under the same path inside and outside.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A command that will run inside the world.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = match self.unified() {
            // A process outside of the world's cgroup could not make another one in it (`nsdelegate`).
            Some(cgroup) => {
                let mut command = Command::new("sh");
                command
                    .args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec nsenter \"$@\""])
                    .arg(cgroup);
                command
            }
            None => Command::new("nsenter"),
        };
        command
            .arg(format!("--target={}", self.init.as_raw_nonzero()))
            .args([
                "--mount", "--net", "--cgroup", "--pid", "--ipc", "--uts", "--",
            ])
            .arg(program);
        command
    }

    /// Runs a shell line inside the world and returns what it printed on stdout.
    ///
    /// # Errors
    /// If it exits with another status than 0; its stderr is in the error.
    pub fn sh(&self, line: &str) -> Result<String> {
        let output = self.command("sh").args(["-c", line]).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "`{line}`: {}: {stderr}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Everything in the world that was not there when it was new: processes, mounts, interfaces, nftables
    /// tables, cgroups. Empty if whoever ran here cleaned up.
    ///
    /// # Errors
    /// If the world cannot be looked at.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        let script = r#"
            for p in /proc/[0-9]*; do
                case "$(cut -d' ' -f3 $p/stat 2>/dev/null)" in Z|'') continue;; esac
                name=$(cat $p/comm 2>/dev/null) || continue
                case "$name" in bash|sleep) [ "$(cut -d' ' -f4 $p/stat)" -le 1 ] && continue;; esac
                case "${p#/proc/}" in 1|$$) continue;; esac
                [ "$(cut -d' ' -f4 $p/stat)" = $$ ] || echo "process $name (${p#/proc/})"
            done
            awk '$5 ~ /^\/(run|var\/lib)\/(wharf|docker)/ || $5 ~ "'"$1"'" { print "mount " $5 }' /proc/self/mountinfo
            ls /proc/sys/net/ipv4/conf | grep -vxE 'all|default|lo|ifb[0-9]+|tunl0|gre0|gretap0|erspan0|sit0|ip_vti0' | sed 's/^/interface /'
            nft list tables 2>/dev/null | sed 's/^/nft /'
            depth=2
            [ ! -e /sys/fs/cgroup/cgroup.controllers ] || depth=1
            find /sys/fs/cgroup -mindepth $depth -type d ! -path /sys/fs/cgroup/world 2>/dev/null | sed 's/^/cgroup /'
        "#;
        let scratch = self.path().to_string_lossy().into_owned();
        let output = self
            .command("bash")
            .args(["-c", script, "leftovers", &scratch])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().map(str::to_owned).collect())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let cgroups = self.cgroups();
        let pidfd = pidfd_open(self.init, PidfdFlags::empty());
        // Before its child, whose end by SIGKILL it complains of: it tries to end in the same way, and cannot
        // (unshare(1): "sigprocmask unblock failed").
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        // The kernel reaps every process of a pid namespace before its first one is seen to be dead.
        if let Ok(pidfd) = pidfd {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
        }
        for cgroup in cgroups {
            remove_cgroup(&cgroup);
        }
    }
}

impl World {
    /// On a host with cgroup v2 alone, the cgroup of the world's processes.
    fn unified(&self) -> Option<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        if !root.join("cgroup.controllers").exists() {
            return None;
        }
        let init = self.init.as_raw_nonzero();
        let text = std::fs::read_to_string(format!("/proc/{init}/cgroup")).ok()?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        Some(root.join(path))
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        if let Some(leaf) = self.unified() {
            return leaf.parent().map(Path::to_owned).into_iter().collect();
        }
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let root = Path::new("/sys/fs/cgroup");
        let folders = own.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let key = controllers.strip_prefix("name=").unwrap_or(controllers);
            let unified = if root.join("unified").is_dir() {
                "unified"
            } else {
                ""
            };
            let key = if key.is_empty() { unified } else { key };
            Some(
                root.join(key)
                    .join(path.trim_start_matches('/'))
                    .join(&self.name),
            )
        });
        folders.collect()
    }
}

fn remove_cgroup(cgroup: &Path) {
    let children = std::fs::read_dir(cgroup).into_iter().flatten().flatten();
    for child in children.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroup(&child.path());
    }
    let _ = std::fs::remove_dir(cgroup);
}

fn only_child(parent: u32) -> Result<Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = std::fs::read_to_string(&path).context(path)?;
    let first = children.split_whitespace().next().context("no child")?;
    Pid::from_raw(first.parse()?).context("pid 0")
}
