//! A handle to a task.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::watch;
use wharf_shim_api::{Reply, Request};

use crate::connection::Connection;
use crate::{AttachOptions, ExitStatus, TaskError, delete};

/// How long the news of an end may take to us.
const ENDING: Duration = Duration::from_millis(500);

/// A container's first process and all that runs beside it. Clones are the same task.
///
/// What is asked of its shim, but for [`Task::start`], has its time: then it is [`TaskError::Silent`].
#[derive(Clone, Debug)]
pub struct Task {
    id: Arc<str>,
    folder: Arc<PathBuf>,
    pid: i32,
    connection: Arc<Connection>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Task {
    pub(crate) fn new(
        id: &str,
        folder: &Path,
        pid: i32,
        connection: Arc<Connection>,
        exit: watch::Receiver<Option<ExitStatus>>,
    ) -> Self {
        let (id, folder) = (id.into(), Arc::new(folder.to_owned()));
        Self {
            id,
            folder,
            pid,
            connection,
            exit,
        }
    }

    /// The task's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The first process, in the daemon's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Lets the process execute its program. Legal once.
    ///
    /// # Errors
    /// [`TaskError::Runtime`] if the program cannot be executed: the process has ended then.
    pub async fn start(&self) -> Result<(), TaskError> {
        // Hooks may take their time.
        self.connection.ask(&Request::Start, &[]).await.map(drop)
    }

    /// Waits for the end; any number of callers may. A task whose shim was killed has ended with it, with 137.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let told = exit.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|status| *status)
            .unwrap_or_else(ExitStatus::lost)
    }

    /// Changes whenever the container has run out of memory: the number of times so far.
    pub fn out_of_memory(&self) -> watch::Receiver<u64> {
        self.connection.watch_memory()
    }

    /// Whether it has ended, or is just about to: what was asked of it failed, and that may be why.
    pub async fn ends_soon(&self) -> bool {
        tokio::time::timeout(ENDING, self.wait()).await.is_ok()
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Sends the signal to the first process.
    ///
    /// # Errors
    /// [`TaskError::Gone`] if it has ended.
    pub async fn kill(&self, signal: i32) -> Result<(), TaskError> {
        if signal == delete::KILL {
            // Who gets no answer to this ends the shim: one that is merely slow has all of its time.
            self.connection.forget_silence();
        }
        self.ask(&Request::Kill { exec: None, signal })
            .await
            .map(drop)
    }

    /// Connects to the first process's streams: Docker's frames (raw for a terminal) come out, raw input goes
    /// in. Output from before is in the log only. The stream ends when the process's output has.
    ///
    /// # Errors
    /// [`TaskError::Gone`] if it has ended.
    pub async fn attach(&self, options: AttachOptions) -> Result<UnixStream, TaskError> {
        let pair = std::os::unix::net::UnixStream::pair();
        let failed = |error| TaskError::Connection("attach to", error);
        let (near, far) = pair.map_err(failed)?;
        let request = Request::Attach(options.into());
        self.connection.ask_soon(&request, &[far.as_fd()]).await?;
        near.set_nonblocking(true).map_err(failed)?;
        UnixStream::from_std(near).map_err(failed)
    }

    /// Sets the size of its terminal, in characters.
    ///
    /// # Errors
    /// If it has none, or has ended.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), TaskError> {
        let exec = None;
        self.ask(&Request::Resize {
            exec,
            rows,
            columns,
        })
        .await
        .map(drop)
    }

    /// Freezes all its processes, and returns when they are.
    ///
    /// # Errors
    /// If it has no control group, or the kernel refuses.
    pub async fn pause(&self) -> Result<(), TaskError> {
        self.ask(&Request::Pause).await.map(drop)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// As [`Task::pause`].
    pub async fn resume(&self) -> Result<(), TaskError> {
        self.ask(&Request::Resume).await.map(drop)
    }

    /// All its processes, in the daemon's pid namespace.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub async fn pids(&self) -> Result<Vec<u32>, TaskError> {
        match self.ask(&Request::Pids).await? {
            Reply::Pids(pids) => Ok(pids.into_iter().map(i32::unsigned_abs).collect()),
            _ => Err(TaskError::Shim("another answer than processes")),
        }
    }

    /// Kills what still runs, waits until its shim has ended and removes its folder.
    ///
    /// # Errors
    /// If the folder cannot be removed.
    pub async fn delete(&self) -> Result<(), TaskError> {
        if self.exited().is_none()
            && matches!(self.kill(delete::KILL).await, Err(TaskError::Silent))
        {
            // Otherwise it has ended, or does so at this moment.
            self.end().await?;
        }
        let closed = tokio::time::timeout(delete::OVER, self.connection.closed()).await;
        if closed.is_err() {
            self.end().await?;
            self.connection.closed().await;
        }
        delete::folder(&self.folder)
    }

    /// Ends it though its shim does not answer, by killing that: it has ended with 137 then, or with what its process had ended
    /// with before. A shim that was stopped goes on instead, if it comes to its end with what it was asked before.
    ///
    /// # Errors
    /// If the shim cannot be killed.
    pub async fn end(&self) -> Result<(), TaskError> {
        self.connection.end(self.pid).await
    }

    /// Throws away what its log holds.
    ///
    /// # Errors
    /// If the shim cannot, or has gone.
    pub async fn clear_log(&self) -> Result<(), TaskError> {
        self.ask(&Request::ClearLog).await.map(drop)
    }

    /// Ends its standard input when it has what clients have sent; if that ends with a client's (`stdin_once`), and is no terminal.
    ///
    /// # Errors
    /// [`TaskError::Gone`] if it has ended.
    pub async fn close_stdin(&self) -> Result<(), TaskError> {
        self.ask(&Request::CloseStdin).await.map(drop)
    }

    async fn ask(&self, request: &Request) -> Result<Reply, TaskError> {
        self.connection.ask_soon(request, &[]).await
    }
}
