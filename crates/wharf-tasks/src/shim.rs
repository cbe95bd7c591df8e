//! The program that every task runs in.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tokio::process::{Child, Command};
use wharf_sys::{memfd, socket};

use crate::TaskError;

/// The shim, in memory that nobody can change any more (CVE-2019-5736): an upgrade of the file on disk does not
/// touch it, and a container that gets hold of it can only read it.
#[derive(Debug)]
pub struct ShimProgram {
    memfd: OwnedFd,
}

/// What a shim says on its standard error. The lock on it is the shim's: it lives as long as that descriptor.
pub(crate) const LOG: &str = "shim.log";

/// Whether there is a shim of the task in `folder`, though it may not listen yet.
pub(crate) fn lives(folder: &Path) -> bool {
    let Ok(log) = std::fs::File::open(folder.join(LOG)) else {
        return false;
    };
    // Ours is gone with the descriptor.
    flock(&log, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

impl ShimProgram {
    /// Reads the program at `path`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn open(path: &Path) -> Result<Self, TaskError> {
        let sealed = memfd::seal_program("wharf-shim", path);
        let memfd = sealed.map_err(|source| TaskError::io("read", path, source))?;
        Ok(Self { memfd })
    }

    /// A call of it, without arguments and environment.
    pub(crate) fn command(&self) -> std::process::Command {
        let path = format!("/proc/self/fd/{}", self.memfd.as_raw_fd());
        let mut command = std::process::Command::new(path);
        command.env_clear();
        command
    }

    /// Executes it for the task in `folder`. Returns its first connection.
    pub(crate) fn start(&self, folder: &Path) -> Result<OwnedFd, TaskError> {
        let pair = socket::pair().map_err(|error| TaskError::Connection("connect to", error))?;
        let (near, far) = pair;
        let shim = self.spawn(folder, far)?;
        reap(shim);
        Ok(near)
    }

    /// Executes it, with `control` as its first connection.
    ///
    /// The standard library does this by `posix_spawn`, which shares our memory until the exec: nothing is
    /// copied, however large the daemon is, as long as nothing has to run in between. So the shim itself makes
    /// its own session.
    fn spawn(&self, folder: &Path, control: OwnedFd) -> Result<Child, TaskError> {
        let path = folder.join(LOG);
        let failed = |source| TaskError::io("make", &path, source);
        let log = std::fs::File::create(&path).map_err(failed)?;
        flock(&log, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        let mut command = Command::from(self.command());
        command.arg("task").arg(folder);
        command
            .stdin(Stdio::from(control))
            .stdout(Stdio::from(std::fs::File::open(folder).map_err(failed)?))
            .stderr(Stdio::from(log));
        command.kill_on_drop(false);
        command.spawn().map_err(TaskError::Spawn)
    }
}

/// The shim is our child, and a zombie when it ends; nothing depends on when.
fn reap(mut shim: Child) {
    tokio::spawn(async move {
        if let Err(error) = shim.wait().await {
            tracing::debug!(%error, "wait for a shim");
        }
    });
}
