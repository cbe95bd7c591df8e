//! Starts a shim for a bundle; a handle to wait, kill, exec, resize, attach.
//!
//! ```text
//!  Tasks::create ── exec of the sealed shim ──▶ shim ── clone3 ──▶ init (waits)
//!  Task::attach, Task::start … ── seqpacket ──▶ shim
//!                      Exited  ◀─────────────── shim   (after exit.json is in the task's folder)
//! ```
//!
//! A task lives in its folder `tasks/<id>` below the exec root, and in its shim. The handle here is only a
//! connection: when the daemon dies, nothing happens to the task, and [`Tasks::load`] finds it again. What a
//! shim that was killed leaves behind is killed too, as nobody would know of its end.
//!
//! Architecture invariant: no fork here. The only thing that is ever executed is the shim, from sealed memory.

mod connection;
mod create;
mod delete;
mod error;
mod exec;
mod folder;
mod load;
mod lost_end;
mod owned_network;
mod shim;
mod spare;
mod task;
mod types;

pub use error::TaskError;
pub use exec::ExecTask;
pub use load::Found;
pub use owned_network::{IdMapText, NetworkOwner};
pub use shim::ShimProgram;
pub use task::Task;
pub use types::{AttachOptions, ExecConfig, ExitStatus, RootfsSource, Stdio, TaskConfig};
pub use wharf_shim_api::{Log as LogConfig, Runtime};

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spare::Spares;
use wharf_cgroups::Cgroup;

/// All tasks below one exec root.
#[derive(Clone, Debug)]
pub struct Tasks {
    folder: Arc<PathBuf>,
    shim: Arc<ShimProgram>,
    spares: Arc<Spares>,
    owner: Arc<str>,
}

impl Tasks {
    /// Tasks of `owner` (a data root's id) below `exec_root`; makes the folder `tasks` (mode 0711) there if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(exec_root: &Path, shim: ShimProgram, owner: &str) -> Result<Self, TaskError> {
        let folder = exec_root.join("tasks");
        folder::make(&folder, 0o711)?;
        Ok(Self {
            folder: Arc::new(folder),
            shim: Arc::new(shim),
            spares: Arc::new(Spares::new(exec_root)?),
            owner: owner.into(),
        })
    }

    /// The control group of the task `id`, as its spec names it; `None` if there is no task, or it has none.
    pub fn cgroup(&self, id: &str) -> Option<String> {
        let record = folder::TaskRecord::read(&self.folder.join(id)).ok()??;
        Some(record.cgroup).filter(|name| !name.is_empty())
    }

    /// The processes of the task `id`, as its control group lists them, in the order of their numbers; none if there is no
    /// task, or it has no group.
    pub fn processes(&self, id: &str) -> Vec<u32> {
        let group = self.cgroup(id).and_then(|name| Cgroup::open(&name).ok());
        let pids = group.and_then(|group| group.processes().ok());
        pids.into_iter().flatten().map(i32::unsigned_abs).collect()
    }

    /// Whether the task `id` has ended, and its shim has still to do with that: lines go to a logger, and hooks are run.
    pub fn drains(&self, id: &str) -> bool {
        self.has_shim(id) && folder::exit_status(&self.folder.join(id)).is_some()
    }

    /// Whether there is a shim of the task `id`, though it may not answer.
    pub fn has_shim(&self, id: &str) -> bool {
        folder::is_id(id) && shim::lives(&self.folder.join(id))
    }

    /// The ids of this owner's tasks that have a folder, running or not, and of those that were never begun, which are
    /// nobody's; but for those that are `known`.
    ///
    /// Another owner's are left out: a daemon that is started on another data root (its disk is not there, its setting has
    /// changed) knows none of them, and must not take that for their end.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self, known: &HashSet<&str>) -> Result<Vec<String>, TaskError> {
        let failed = |source| TaskError::io("read", &self.folder, source);
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&*self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if known.contains(id.as_str()) {
                continue;
            }
            match folder::TaskRecord::read(&entry.path()) {
                // One that says none is of a daemon that did not ask.
                Ok(Some(record)) if !record.owner.is_empty() && *record.owner != *self.owner => {
                    tracing::warn!(
                        task = id,
                        owner = record.owner,
                        "of another data root: left alone"
                    );
                }
                Ok(_) => ids.push(id),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(task = id, error, "whose it is cannot be read: left alone");
                }
            }
        }
        Ok(ids)
    }

    /// Keeps nothing ready any more. Tasks go on.
    ///
    /// # Errors
    /// If what was ready cannot be removed.
    pub fn shutdown(&self) -> Result<(), TaskError> {
        self.spares.clear()
    }
}
