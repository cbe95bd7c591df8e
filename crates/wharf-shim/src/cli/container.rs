//! A container's folder below `--root`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use wharf_cgroups::Cgroup;

use super::arguments::Arguments;

/// The FIFO that a created container waits at.
pub(crate) const FIFO: &str = "exec.fifo";

/// What is known of a container.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`: a number that was used again is another process.
    pub(crate) start_time: u64,
    pub(crate) bundle: PathBuf,
    pub(crate) cgroup: String,
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// OCI's words for what a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Created,
    Running,
    Stopped,
}

impl Container {
    pub(crate) fn load(arguments: &Arguments) -> Result<Self, String> {
        let folder = arguments.root.join(arguments.id()?);
        let text = std::fs::read(folder.join("state.json"))
            .map_err(|_| "container does not exist".to_owned())?;
        let container = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        Ok(Self {
            folder,
            ..container
        })
    }

    pub(crate) fn save(&self) -> Result<(), String> {
        let text = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        let new = self.folder.join("state.json.new");
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, self.folder.join("state.json")))
            .map_err(|error| format!("save the state: {error}"))
    }

    pub(crate) fn status(&self) -> Status {
        if start_time(self.pid) != Some(self.start_time) {
            Status::Stopped
        } else if self.folder.join(FIFO).exists() {
            Status::Created
        } else {
            Status::Running
        }
    }

    pub(crate) fn cgroup(&self) -> Option<Cgroup> {
        Cgroup::open(&self.cgroup).ok()
    }

    /// Removes the folder and the control group.
    pub(crate) fn remove(&self) {
        if let Some(cgroup) = self.cgroup() {
            let _ = cgroup.kill_all();
            let _ = cgroup.remove_when_empty(std::time::Duration::from_secs(2));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// When the process began, in clock ticks; `None` if there is none, or a zombie.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything, brackets too.
    let mut fields = stat.get(stat.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
