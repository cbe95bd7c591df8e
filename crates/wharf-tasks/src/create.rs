//! A new task: a shim is executed, and makes the container's process.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use wharf_shim_api::{Create, Reply, Request, Rootfs, VERSION};

use crate::connection::Connection;
use crate::folder::{self, TaskRecord};
use crate::{RootfsSource, Task, TaskConfig, TaskError, Tasks};

/// How long a shim that could not make its process may take to end.
const ENDING: std::time::Duration = std::time::Duration::from_secs(10);

impl Tasks {
    /// Makes the container's process, which waits for [`Task::start`]. A folder that an ended task of the same
    /// id left is taken over.
    ///
    /// # Errors
    /// [`TaskError::Runtime`] if it cannot be made; nothing is left of it then.
    pub async fn create(&self, id: &str, config: TaskConfig) -> Result<Task, TaskError> {
        if !folder::is_id(id) {
            return Err(TaskError::Shim("the id is no file name"));
        }
        let folder = self.folder.join(id);
        folder::remove(&folder)?;
        let control = match self.spares.take(&folder) {
            Some(control) => Ok(control),
            None => folder::make(&folder, 0o700).and_then(|()| self.shim.start(&folder)),
        };
        let made = match control {
            Ok(control) => self.make(id, &folder, &config, control).await,
            Err(error) => Err(error),
        };
        self.prepare();
        if made.is_err() {
            // The shim ends by itself; what it still writes there it may lose.
            let _ = folder::remove(&folder);
        }
        made
    }

    /// Starts the shim of the next task, behind: nobody waits for it, and a start without it only takes longer.
    fn prepare(&self) {
        let tasks = self.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = tasks.spares.fill(&tasks.shim) {
                tracing::debug!(%error, "start a shim ahead");
            }
        });
    }

    async fn make(
        &self,
        id: &str,
        folder: &Path,
        config: &TaskConfig,
        control: OwnedFd,
    ) -> Result<Task, TaskError> {
        let record = TaskRecord {
            version: VERSION,
            cgroup: cgroup_of(config),
            owner: self.owner.to_string(),
        };
        record.write(folder)?;
        let connection = Connection::new(control, folder, Some(record))?;
        let exit = connection.watch(None);
        let spec = spec_in_memory(&config.spec)?;
        let seccomp = config.seccomp.as_deref().map(in_memory).transpose()?;
        let descriptors = [Some(&spec), config.netns.as_ref(), seccomp.as_ref()];
        let descriptors: Vec<BorrowedFd<'_>> = descriptors
            .into_iter()
            .flatten()
            .map(|descriptor| descriptor.as_fd())
            .collect();
        let request = Request::Create(Box::new(create_of(id, folder, config)));
        let failure = match connection.ask(&request, &descriptors).await {
            Ok(Reply::Process { pid }) => return Ok(Task::new(id, folder, pid, connection, exit)),
            Ok(_) => TaskError::Shim("another answer than a process"),
            Err(error) => error,
        };
        // Its shim ends now, and what is left in the group is killed: that must be over before somebody tries
        // again in the same group. If only the answer was lost there is a process that waits, and goes.
        let ending = async {
            let (exec, signal) = (None, 9);
            let _ = connection.ask(&Request::Kill { exec, signal }, &[]).await;
            connection.closed().await;
        };
        let _ = tokio::time::timeout(ENDING, ending).await;
        Err(failure)
    }
}

fn cgroup_of(config: &TaskConfig) -> String {
    let linux = config.spec.linux().as_ref();
    let path = linux.and_then(|linux| linux.cgroups_path().as_ref());
    path.map(|path| path.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn create_of(id: &str, folder: &Path, config: &TaskConfig) -> Create {
    Create {
        version: VERSION,
        id: id.to_owned(),
        folder: Some(folder.to_owned()),
        rootfs: match config.rootfs.clone() {
            RootfsSource::Overlay {
                lowers,
                upper,
                work,
            } => Rootfs::Overlay {
                lowers,
                upper,
                work,
            },
            RootfsSource::Path(path) => Rootfs::Folder(path),
        },
        stdin: config.stdio.open_stdin,
        stdin_once: config.stdio.stdin_once,
        log: config.log.clone(),
        user: config.user.clone(),
        groups: config.groups.clone(),
        init: config.init,
        netns_fd: config.netns.is_some(),
        seccomp_fd: config.seccomp.is_some(),
        terminal: config.stdio.terminal,
        runtime: config.runtime.clone(),
    }
}

fn spec_in_memory(spec: &oci_spec::runtime::Spec) -> Result<OwnedFd, TaskError> {
    let text =
        serde_json::to_vec(spec).map_err(|error| TaskError::Connection("ask", error.into()))?;
    in_memory(&text)
}

fn in_memory(bytes: &[u8]) -> Result<OwnedFd, TaskError> {
    let made = wharf_sys::memfd::holding("wharf-task", bytes);
    made.map_err(|error| TaskError::Connection("ask", error))
}
