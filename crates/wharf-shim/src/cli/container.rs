//! A container's folder below `--root`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use wharf_cgroups::Cgroup;
use wharf_runtime::Failure;
use wharf_sys::stat::Stat;

use super::flags::Said;
use super::global::Global;

/// The FIFO that a created container waits at.
pub(crate) const FIFO: &str = "exec.fifo";

/// What is known of it, a line of JSON each: how it was begun, the spec as it was then (what becomes of the bundle's does not matter:
/// OCI, `create`), and once there is one, the container with its process. One file and no second that replaces it: on ext4 each costs
/// more than most of what makes the process, and replacing one waits for the disk.
const RECORD: &str = "record";

/// What is known of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) oci_version: String,
    /// 0 until it has a process.
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: a number that was used again is another process.
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// When it was made, as RFC 3339.
    pub(crate) created: String,
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its control group; none if it may not have one.
    pub(crate) cgroup: Option<String>,
    /// Its processes have numbers of their own, and die with the first.
    pub(crate) own_pids: bool,
    /// It joins a session keyring of its own.
    pub(crate) keyring: bool,
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// OCI's words for what a container does, and runc's for one that is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is being made, or who made it was killed.
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl Status {
    /// Whether it has a process.
    pub(crate) fn lives(self) -> bool {
        matches!(self, Self::Created | Self::Running | Self::Paused)
    }
}

impl Container {
    /// The one that is named first.
    pub(crate) fn load(global: &Global, said: &Said) -> Result<Self, String> {
        Self::open(&global.root.join(said.id()?))
    }

    /// The one in `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let record = std::fs::read(folder.join(RECORD));
        let record = record.map_err(|_| "container does not exist".to_owned())?;
        let mut lines = whole_lines(&record);
        let begun = lines.next().unwrap_or_default();
        let last = lines.nth(1).unwrap_or(begun);
        let container = serde_json::from_slice(last).map_err(|error| error.to_string())?;
        Ok(Self {
            folder: folder.to_owned(),
            ..container
        })
    }

    /// Keeps that it has begun, and of which spec, whole or not at all.
    pub(crate) fn begin(&self, spec: &[u8]) -> Result<(), String> {
        let mut record = self.line()?;
        // Between JSON's tokens any space is as good; inside of them there are no ends of lines.
        record.extend(spec.iter().map(|byte| match byte {
            b'\n' | b'\r' => b' ',
            other => *other,
        }));
        record.push(b'\n');
        let new = self.folder.join("record.new");
        std::fs::write(&new, record)
            .and_then(|()| std::fs::rename(&new, self.folder.join(RECORD)))
            .map_err(|error| format!("save the state: {error}"))
    }

    /// Keeps what its process is. A line that a full disk has cut off is none.
    pub(crate) fn save(&self) -> Result<(), String> {
        let line = self.line()?;
        let mut record = std::fs::File::options();
        let record = record.append(true).open(self.folder.join(RECORD));
        record
            .and_then(|mut record| record.write_all(&line))
            .map_err(|error| format!("save the state: {error}"))
    }

    fn line(&self) -> Result<Vec<u8>, String> {
        let mut line = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        line.push(b'\n');
        Ok(line)
    }

    /// The spec that it was made of.
    pub(crate) fn spec(&self) -> Result<Spec, String> {
        let record = std::fs::read(self.folder.join(RECORD))
            .map_err(|error| format!("read the container's spec: {error}"))?;
        let spec = whole_lines(&record).nth(1).unwrap_or_default();
        serde_json::from_slice(spec).map_err(|error| error.to_string())
    }

    pub(crate) fn status(&self) -> Status {
        if self.pid == 0 {
            Status::Creating
        } else if start_time(self.pid) != Some(self.start_time) {
            Status::Stopped
        } else if self.cgroup().is_some_and(|cgroup| cgroup.is_frozen()) {
            Status::Paused
        } else if self.folder.join(FIFO).exists() {
            Status::Created
        } else {
            Status::Running
        }
    }

    pub(crate) fn cgroup(&self) -> Option<Cgroup> {
        Cgroup::open(self.cgroup.as_deref()?).ok()
    }

    /// Its group, for a command that is nothing without.
    pub(crate) fn needs_cgroup(&self) -> Result<Cgroup, String> {
        self.cgroup()
            .ok_or_else(|| "the container has no control group".to_owned())
    }

    /// OCI's state, as hooks get it on standard input.
    pub(crate) fn oci_state(&self, status: &str, pid: i32) -> serde_json::Value {
        let mut state = serde_json::json!({
            "ociVersion": self.oci_version,
            "id": self.id,
            "status": status,
            "pid": pid,
            "bundle": self.bundle,
        });
        if !self.annotations.is_empty() {
            state["annotations"] = serde_json::json!(self.annotations);
        }
        state
    }

    /// Kills what is left, removes the control group and the folder, and runs the hooks of the end.
    pub(crate) fn remove(&self, global: &Global) -> Result<(), String> {
        // One that never was whole has no spec, and ran nothing.
        self.remove_of(global, self.spec().ok().as_ref())
    }

    /// [`Container::remove`] for who knows the spec that it was made of.
    pub(crate) fn remove_of(&self, global: &Global, spec: Option<&Spec>) -> Result<(), String> {
        self.remove_cgroup()?;
        match std::fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("unable to remove container state dir: {error}"));
            }
            _ => {}
        }
        let hooks = spec.and_then(|spec| spec.hooks().as_ref());
        let hooks = hooks.and_then(|hooks| hooks.poststop().as_deref());
        let state = self.oci_state("stopped", 0);
        let warn = |failure: Failure| super::log::warning(global, &failure.to_string());
        wharf_runtime::hooks::run_poststop(hooks, state, warn);
        Ok(())
    }

    fn remove_cgroup(&self) -> Result<(), String> {
        let Some(cgroup) = self.cgroup() else {
            return Ok(());
        };
        let killed = cgroup.kill_all();
        if cgroup.is_frozen() {
            let _ = cgroup.thaw();
        }
        let last = killed.and_then(|()| cgroup.remove_when_empty(Duration::from_secs(5)));
        last.map_err(|error| format!("unable to remove container's cgroup: {error}"))
    }
}

/// Each line that has an end.
fn whole_lines(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = record.split_inclusive(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_suffix(b"\n"))
}

/// When the process began, in clock ticks; `None` if there is none, or a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = Stat::of(pid)?;
    match stat.state() {
        "Z" | "X" => None,
        _ => stat.field(22)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::start_time;

    /// A process that hides behind its name would count as ended, and be removed as that.
    #[test]
    fn a_process_is_there_whatever_it_calls_itself() {
        let own = i32::try_from(std::process::id()).unwrap();
        let began = start_time(own);
        assert!(began.is_some());
        let name = std::fs::read("/proc/self/comm").unwrap();
        for other in [&b"\xff\xfe"[..], b") Z 1 (", b"a)\xc3"] {
            std::fs::write("/proc/self/comm", other).unwrap();
            assert_eq!(start_time(own), began, "{other:?}");
        }
        std::fs::write("/proc/self/comm", name.trim_ascii_end()).unwrap();
        assert_eq!(start_time(i32::MAX), None);
    }
}
