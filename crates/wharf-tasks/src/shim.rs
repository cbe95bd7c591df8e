//! The program that every task runs in.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::process::{Child, Command};
use wharf_sys::process::send_signal;
use wharf_sys::{memfd, socket};

use crate::{TaskError, delete, load};

/// How long one that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);
/// Between two looks at it.
const AGAIN: Duration = Duration::from_millis(2);

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

/// Kills the shim of the task in `folder`, which does not answer, and waits until it is gone; none there is fine. The kernel
/// does not keep it waiting as it does: not even one that is stopped.
///
/// # Errors
/// If it cannot be told who it is; if it hangs in the kernel.
pub(crate) async fn end(folder: &Path) -> Result<(), TaskError> {
    if !lives(folder) {
        return Ok(());
    }
    let shim = match process(folder) {
        Ok(shim) => shim,
        // It has gone by itself.
        Err(_) if !lives(folder) => return Ok(()),
        Err(error) => return Err(TaskError::Connection("find the process of", error)),
    };
    tracing::warn!(folder = %folder.display(), "a shim that does not answer is killed");
    match send_signal(shim.as_fd(), delete::KILL) {
        Err(error) if error.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
            return Err(TaskError::Connection("kill", error));
        }
        Ok(()) | Err(_) => {}
    }
    let limit = Instant::now() + DYING;
    while lives(folder) {
        if Instant::now() > limit {
            return Err(TaskError::Shim("it was killed, and lives on"));
        }
        tokio::time::sleep(AGAIN).await;
    }
    Ok(())
}

/// Who listens in `folder`: the kernel has noted it.
fn process(folder: &Path) -> io::Result<OwnedFd> {
    let socket = load::dial(folder)?;
    let pid = socket_peercred(&socket)?.pid;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    // Asked after it was opened: the number may have been another process's by then, but that one does not write here.
    let own = std::fs::metadata(folder.join(LOG))?;
    let its = std::fs::metadata(format!("/proc/{}/fd/2", pid.as_raw_nonzero()))?;
    match (own.dev(), own.ino()) == (its.dev(), its.ino()) {
        true => Ok(process),
        false => Err(io::ErrorKind::NotFound.into()),
    }
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
