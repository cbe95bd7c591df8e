//! A shim that was started ahead, for the task that comes next, which then does not wait for an exec.
//!
//! It lives in a folder beside those of tasks; a task that takes it renames the folder. It knows no container yet, so it
//! ends by itself as soon as its daemon has gone.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::{ShimProgram, TaskError, folder};

/// Where it waits, below the exec root. As long as `tasks` with an id of Docker's, so that the shim can write the one over
/// the other in its command line.
const FOLDER: &str = "spare/----------------------------------------------------------------";

/// A shim without a task: its first connection.
#[derive(Debug)]
struct Spare(OwnedFd);

/// Room for one of them.
#[derive(Debug)]
pub(crate) struct Spares {
    folder: PathBuf,
    room: Mutex<Option<Spare>>,
}

impl Spares {
    /// Nobody waits below `exec_root`, and what a shim of an earlier daemon has left there is gone.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub(crate) fn new(exec_root: &Path) -> Result<Self, TaskError> {
        let folder = exec_root.join(FOLDER);
        folder::remove(&folder)?;
        Ok(Self {
            folder,
            room: Mutex::default(),
        })
    }

    /// The shim that waits, if one does, with `folder` as its folder now; its first connection.
    pub(crate) fn take(&self, folder: &Path) -> Option<OwnedFd> {
        // Who is just starting one need not be waited for.
        let spare = self.room.try_lock().ok()?.take().filter(Spare::lives)?;
        match std::fs::rename(&self.folder, folder) {
            Ok(()) => Some(spare.0),
            // It ends with its connection.
            Err(_) => None,
        }
    }

    /// Starts one, unless one waits.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn fill(&self, program: &ShimProgram) -> Result<(), TaskError> {
        // Held until it is there: two of them would share the folder.
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if room.as_ref().is_some_and(Spare::lives) {
            return Ok(());
        }
        folder::remove(&self.folder)?;
        folder::make(&self.folder, 0o700)?;
        *room = Some(Spare(program.start(&self.folder)?));
        Ok(())
    }

    /// Lets the one that waits end, and removes its folder.
    ///
    /// # Errors
    /// If that cannot be removed.
    pub(crate) fn clear(&self) -> Result<(), TaskError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.take();
        folder::remove(&self.folder)
    }
}

impl Spare {
    /// Whether nobody has killed it: it says nothing before it is asked, and closes only when it ends.
    fn lives(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let said = rustix::net::recv(&self.0, &mut [0u8; 1], flags);
        matches!(said, Err(Errno::AGAIN))
    }
}
