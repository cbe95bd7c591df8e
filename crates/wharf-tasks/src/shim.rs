//! The program that every task runs in.

use std::fs::Metadata;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::process::{Child, Command};
use wharf_sys::process::send_signal;
use wharf_sys::stat::Stat;
use wharf_sys::{memfd, socket};

use crate::folder::TaskRecord;
use crate::{TaskError, delete, load, lost_end};

/// How long one that was killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);
/// `SIGCONT`
const CONT: i32 = 18;
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
/// If the container's `first` process has ended, and the shim has not come to see it, its end is written down in its place.
///
/// # Errors
/// If it cannot be told who it is; if it hangs in the kernel.
pub(crate) async fn end(folder: &Path, first: Option<i32>) -> Result<(), TaskError> {
    let Some(shim) = found(folder)? else {
        return Ok(());
    };
    tracing::warn!(folder = %folder.display(), "a shim that does not answer is killed");
    let written = match first {
        Some(first) => lost_end::write(folder, shim.pid, first),
        None => Ok(false),
    };
    if let Err(error) = &written {
        tracing::warn!(folder = %folder.display(), %error, "write down how its process has ended");
    }
    shim.send(delete::KILL)?;
    if !is_gone_within(folder, DYING).await {
        return Err(TaskError::Shim("it was killed, and lives on"));
    }
    // Who finds that it has ended leaves the rest to its shim.
    if written.unwrap_or(false)
        && let Ok(Some(record)) = TaskRecord::read(folder)
    {
        load::kill_leftovers(record).await;
    }
    Ok(())
}

/// Lets the shim of the task in `folder` go on, if it was stopped. Whether it was.
///
/// # Errors
/// If it cannot be told who it is.
pub(crate) fn wake(folder: &Path) -> Result<bool, TaskError> {
    let Some(shim) = found(folder)? else {
        return Ok(false);
    };
    let stat = Stat::of(shim.pid);
    // One that is traced goes on when its tracer lets it.
    if stat.is_none_or(|stat| stat.state() != "T") {
        return Ok(false);
    }
    tracing::warn!(folder = %folder.display(), "a shim was stopped: it goes on");
    shim.send(CONT).map(|()| true)
}

/// Whether it is gone within that time.
pub(crate) async fn is_gone_within(folder: &Path, time: Duration) -> bool {
    let limit = Instant::now() + time;
    while lives(folder) {
        if Instant::now() > limit {
            return false;
        }
        tokio::time::sleep(AGAIN).await;
    }
    true
}

/// The process of a shim.
struct Shim {
    pid: i32,
    descriptor: OwnedFd,
}

impl Shim {
    /// One that is gone needs no signal.
    fn send(&self, signal: i32) -> Result<(), TaskError> {
        match send_signal(self.descriptor.as_fd(), signal) {
            Err(error) if error.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                Err(TaskError::Connection("signal", error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The shim of the task in `folder`; `None` if there is none.
fn found(folder: &Path) -> Result<Option<Shim>, TaskError> {
    if !lives(folder) {
        return Ok(None);
    }
    match process(folder) {
        Ok(shim) => Ok(Some(shim)),
        // It has gone by itself.
        Err(_) if !lives(folder) => Ok(None),
        Err(error) => Err(TaskError::Connection("find the process of", error)),
    }
}

/// Who listens in `folder`: the kernel has noted it. One that takes no connections any more, as so many daemons have tried
/// in vain, is known by where it writes.
fn process(folder: &Path) -> io::Result<Shim> {
    let own = std::fs::metadata(folder.join(LOG))?;
    let pid = match load::dial(folder) {
        Ok(socket) => socket_peercred(&socket)?.pid,
        Err(_) => writer(folder, &own).ok_or(io::ErrorKind::NotFound)?,
    };
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    let pid = pid.as_raw_nonzero().get();
    // Asked after it was opened: the number may have been another process's by then, but that one does not write here.
    match writes_to(pid, &own) {
        true => Ok(Shim { pid, descriptor }),
        false => Err(io::ErrorKind::NotFound.into()),
    }
}

fn writes_to(pid: i32, file: &Metadata) -> bool {
    let its = std::fs::metadata(format!("/proc/{pid}/fd/2"));
    its.is_ok_and(|its| (its.dev(), its.ino()) == (file.dev(), file.ino()))
}

/// The process whose standard error is the log in `folder`; of several, the one that has made the others. By the link's name
/// first: what a container's processes write to may be of a file system that does not answer.
fn writer(folder: &Path, log: &Metadata) -> Option<Pid> {
    let path = folder.canonicalize().ok()?.join(LOG);
    let is_named = |pid: &i32| {
        let link = std::fs::read_link(format!("/proc/{pid}/fd/2"));
        link.is_ok_and(|link| link == path)
    };
    let names = std::fs::read_dir("/proc").ok()?.flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let writers = pids.filter(is_named).filter(|pid| writes_to(*pid, log));
    let writers: Vec<i32> = writers.collect();
    let is_made = |pid: i32| Stat::of(pid).is_some_and(|stat| writers.contains(&stat.parent()));
    let pid = writers.iter().find(|pid| !is_made(**pid))?;
    Pid::from_raw(*pid)
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
