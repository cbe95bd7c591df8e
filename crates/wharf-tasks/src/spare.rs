//! A shim that was started ahead, for the task that comes next, which then does not wait for an exec.
//!
//! It lives in a folder beside those of tasks; a task that takes it renames the folder. It knows no container yet, so it
//! ends by itself as soon as its daemon has gone.

use std::io;
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
        self.give(|own| std::fs::rename(own, folder))
    }

    /// The shim that waits, once `rename` has given its folder away.
    fn give(&self, rename: impl FnOnce(&Path) -> io::Result<()>) -> Option<OwnedFd> {
        // Who is just starting one need not be waited for. Held until the folder has its new name: whoever finds the room
        // empty takes what is there for nobody's.
        let mut room = self.room.try_lock().ok()?;
        let spare = room.take().filter(Spare::lives)?;
        match rename(&self.folder) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Another task's start, which fills the room again, would remove the folder before it is renamed.
    #[test]
    fn nobody_fills_the_room_before_the_folder_is_renamed() {
        let root = tempfile::tempdir().unwrap();
        let spares = Spares::new(root.path()).unwrap();
        folder::make(&spares.folder, 0o700).unwrap();
        let (near, _far) = wharf_sys::socket::pair().unwrap();
        *spares.room.lock().unwrap() = Some(Spare(near));
        let task = root.path().join("task");
        let given = spares.give(|own| {
            assert!(spares.room.try_lock().is_err(), "the room is open");
            std::fs::rename(own, &task)
        });
        assert!(given.is_some() && task.exists());
        assert!(spares.room.lock().unwrap().is_none());
    }
}
