//! Further processes in a container.

use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UnixStream;
use tokio::sync::watch;
use wharf_shim_api::{Exec, Request};

use crate::connection::Connection;
use crate::{ExecConfig, ExitStatus, Task, TaskError};

/// A handle to an exec. Clones are the same one.
#[derive(Clone, Debug)]
pub struct ExecTask {
    id: Arc<str>,
    pid: i32,
    stream: Arc<Mutex<Option<UnixStream>>>,
    connection: Arc<Connection>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Task {
    /// Runs another process in the container. When this returns, its program has been executed.
    ///
    /// # Errors
    /// [`TaskError::Runtime`] if it cannot be; [`TaskError::Gone`] if the container has ended.
    pub async fn exec(&self, config: ExecConfig) -> Result<ExecTask, TaskError> {
        let failed = |error| TaskError::Connection("attach to", error);
        let (near, far) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        near.set_nonblocking(true).map_err(failed)?;
        let (id, attach) = (config.id, config.attach);
        let exec = Exec {
            id: id.clone(),
            process: config.process,
            user: config.user,
            streams: attach.unwrap_or_default().into(),
            behind: true,
        };
        let connection = self.connection().clone();
        let descriptors = [far.as_fd()];
        let descriptors = if attach.is_some() {
            &descriptors[..]
        } else {
            &[]
        };
        let (pid, exit) = connection.exec(exec, descriptors).await?;
        drop(far);
        let stream = attach
            .map(|_| UnixStream::from_std(near))
            .transpose()
            .map_err(failed)?;
        let stream = Arc::new(Mutex::new(stream));
        Ok(ExecTask {
            id: id.into(),
            pid,
            stream,
            connection,
            exit,
        })
    }
}

impl ExecTask {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The process, in the daemon's pid namespace.
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// The stream of [`ExecConfig::attach`], as of [`Task::attach`]; the first caller gets it.
    pub fn take_stream(&self) -> Option<UnixStream> {
        self.stream
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Waits for its end; any number of callers may.
    pub async fn wait(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        let told = exit.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|status| *status)
            .unwrap_or_else(ExitStatus::lost)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// [`TaskError::Gone`] if it has ended.
    pub async fn kill(&self, signal: i32) -> Result<(), TaskError> {
        let exec = Some(self.id.to_string());
        self.connection
            .ask_soon(&Request::Kill { exec, signal }, &[])
            .await
            .map(drop)
    }

    /// Sets the size of its terminal, in characters.
    ///
    /// # Errors
    /// If it has none, or has ended.
    pub async fn resize(&self, rows: u16, columns: u16) -> Result<(), TaskError> {
        let exec = Some(self.id.to_string());
        let request = Request::Resize {
            exec,
            rows,
            columns,
        };
        self.connection.ask_soon(&request, &[]).await.map(drop)
    }
}
