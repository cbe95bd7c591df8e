//! Finding a task again after the daemon was restarted.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use wharf_cgroups::Cgroup;
use wharf_shim_api::{Reply, Request, SOCKET};

use crate::connection::Connection;
use crate::folder::{self, TaskRecord, exit_status};
use crate::shim;
use crate::{ExitStatus, Task, TaskError, Tasks};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long one that was stopped has to say that it goes on.
pub(crate) const WAKING: Duration = Duration::from_secs(5);

/// Between two looks at a shim that begins.
const AGAIN: Duration = Duration::from_millis(2);

/// What has become of a task.
#[derive(Debug)]
pub enum Found {
    /// It runs.
    Running(Task),
    /// It has ended.
    Exited(ExitStatus),
    /// There is none, or it was never started (it is removed then), or its shim was killed, and nobody knows how it ended; nothing of it runs any more.
    Gone,
}

impl Tasks {
    /// Finds the task `id`.
    ///
    /// # Errors
    /// If its shim is of a version that cannot be understood, or lives and does not listen: then nothing is known yet.
    pub async fn load(&self, id: &str) -> Result<Found, TaskError> {
        let folder = self.folder.join(id);
        if !folder::is_id(id) || !folder.exists() {
            return Ok(Found::Gone);
        }
        if let Some(task) = self.reconnect(id, &folder).await? {
            return Ok(Found::Running(task));
        }
        if let Some(status) = exit_status(&folder) {
            return Ok(Found::Exited((&status).into()));
        }
        let record = TaskRecord::read(&folder);
        let failed = |source| TaskError::io("read", &folder.join(folder::RECORD), source);
        if let Some(record) = record.map_err(failed)? {
            kill_leftovers(record).await;
        }
        Ok(Found::Gone)
    }

    /// What has become of the task `id`, whose shim does not answer: one that was stopped goes on, and any other is killed,
    /// and the task ended with it. None of that id is fine. `first` is its first process, if that is known.
    ///
    /// # Errors
    /// If the shim cannot be killed; as [`Tasks::load`].
    pub async fn end(&self, id: &str, first: Option<i32>) -> Result<Found, TaskError> {
        if folder::is_id(id) {
            let folder = self.folder.join(id);
            if shim::wake(&folder)?
                && let Ok(found) = tokio::time::timeout(WAKING, self.load(id)).await
            {
                return found;
            }
            shim::end(&folder, first).await?;
        }
        self.load(id).await
    }

    /// As [`Tasks::end`], of what is not to go on, as nobody has heard yet that it has begun.
    ///
    /// # Errors
    /// As there.
    pub async fn abort(&self, id: &str) -> Result<Found, TaskError> {
        if folder::is_id(id) {
            shim::end(&self.folder.join(id), None).await?;
        }
        self.load(id).await
    }

    /// `None`: no shim answers.
    async fn reconnect(&self, id: &str, folder: &Path) -> Result<Option<Task>, TaskError> {
        let Some(socket) = dial_when_ready(folder).await? else {
            return Ok(None);
        };
        let record = TaskRecord::read(folder).ok().flatten();
        let trial = Trial::new(Connection::new(socket, folder, record)?);
        let connection = &trial.connection;
        let exit = connection.watch(None);
        match connection.ask(&Request::State, &[]).await {
            Ok(Reply::State {
                pid,
                started,
                out_of_memory,
                ..
            }) if exit_status(folder).is_none() => {
                connection.out_of_memory(out_of_memory);
                let task = Task::new(id, folder, pid, connection.clone(), exit);
                if started {
                    trial.keep();
                    return Ok(Some(task));
                }
                // The daemon that made it died before it let it go: nobody else will.
                task.delete().await.map(|()| None)
            }
            // It has just ended, or is about to.
            Ok(Reply::State { .. }) | Err(TaskError::Gone) => {
                connection.closed().await;
                Ok(None)
            }
            Ok(_) => Err(TaskError::Shim("another answer than a state")),
            Err(error) => Err(error),
        }
    }
}

/// A connection that is given up, unless it is kept, with whatever it was made for: nobody else would ever close it, and the
/// next attempt makes another.
struct Trial {
    connection: Arc<Connection>,
    kept: bool,
}

impl Trial {
    fn new(connection: Arc<Connection>) -> Self {
        let kept = false;
        Self { connection, kept }
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.kept {
            self.connection.give_up();
        }
    }
}

/// A shim whose daemon was killed a moment ago may be about to listen, with that one's requests still before it. `None` if there
/// is none.
///
/// # Errors
/// If it lives and does not come to listen: it must not pass for dead, which would be the end of its container.
pub(crate) async fn dial_when_ready(folder: &Path) -> Result<Option<OwnedFd>, TaskError> {
    let limit = Instant::now() + PATIENCE;
    loop {
        // In this order: one that goes between the two was there for the first.
        let lives = shim::lives(folder);
        if let Ok(socket) = dial(folder) {
            return Ok(Some(socket));
        }
        if !lives {
            return Ok(None);
        }
        if Instant::now() > limit {
            return Err(TaskError::Shim("it lives, and does not listen"));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// A path longer than a socket's address may be (107 bytes) is taken through the folder's descriptor.
///
/// It does not wait for one that takes no connections: nobody may be waited for here.
pub(crate) fn dial(folder: &Path) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, rustix::fs::Mode::empty())?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path.as_str())?)?;
    Ok(socket)
}

/// A container without a shim is nobody's: its output goes nowhere and its end would never be known.
pub(crate) async fn kill_leftovers(record: TaskRecord) {
    // Waiting for the kernel to bury what was killed is nothing for a thread of the runtime.
    let killed = tokio::task::spawn_blocking(move || kill_group(&record));
    if let Err(error) = killed.await {
        tracing::debug!(%error, "kill what a shim left");
    }
}

fn kill_group(record: &TaskRecord) {
    if record.cgroup.is_empty() {
        return;
    }
    let kill = || {
        let cgroup = Cgroup::open(&record.cgroup)?;
        cgroup.kill_all()?;
        cgroup.remove_when_empty(PATIENCE)
    };
    if let Err(error) = kill() {
        tracing::warn!(cgroup = record.cgroup, %error, "kill what a shim left");
    }
}
