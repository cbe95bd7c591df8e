//! The trash: where things go by a rename, to be deleted when nobody waits.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::error::io_at;
use crate::{SnapshotError, Snapshots};

/// A container can nest folders deeper than we may have descriptors. Below this depth they are moved to the top of
/// the trash and deleted in a next round.
const MAX_DEPTH: usize = 100;

impl Snapshots {
    /// Moves a folder of ours to the trash. One that is not there is no error.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), SnapshotError> {
        match fs::rename(path, self.fresh_in_trash()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(io_at("discard", path)),
        }
    }

    /// A name in the trash that no earlier process left there.
    fn fresh_in_trash(&self) -> std::path::PathBuf {
        loop {
            let path = self.fresh("trash");
            if !path.exists() {
                return path;
            }
        }
    }

    /// Deletes everything in the trash now.
    ///
    /// # Errors
    /// The system's; what could not be deleted stays in the trash.
    pub fn sweep_trash(&self) -> Result<(), SnapshotError> {
        let trash = self.path("trash");
        let top = fs::File::open(&trash).map_err(io_at("open", &trash))?;
        loop {
            let names = self.names("trash")?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                let path = trash.join(&name);
                let sweep = Sweep {
                    snapshots: self,
                    top: top.as_fd(),
                };
                match sweep.remove(top.as_fd(), Path::new(&name), 0) {
                    // Somebody else sweeps, too.
                    Err(Errno::NOENT) | Ok(()) => {}
                    Err(error) => return Err(io_at("delete", &path)(error)),
                }
            }
        }
    }

    /// Sees to it that the trash gets emptied.
    pub(crate) fn sweep_in_background(&self) {
        if self.shared.sweeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let snapshots = self.clone();
        let spawned = std::thread::Builder::new()
            .name("sweep".into())
            .spawn(move || {
                // What cannot be deleted is tried again with the next thing that is thrown away.
                let _ = snapshots.sweep_trash();
                snapshots.shared.sweeping.store(false, Ordering::Release);
                // Something may have come between the last look and the line above.
                if snapshots
                    .names("trash")
                    .is_ok_and(|names| !names.is_empty())
                    && !snapshots.shared.sweeping.swap(true, Ordering::AcqRel)
                {
                    let _ = snapshots.sweep_trash();
                    snapshots.shared.sweeping.store(false, Ordering::Release);
                }
            });
        if spawned.is_err() {
            self.shared.sweeping.store(false, Ordering::Release);
        }
    }
}

struct Sweep<'a> {
    snapshots: &'a Snapshots,
    top: BorrowedFd<'a>,
}

impl Sweep<'_> {
    /// Deletes `name` in `parent`, whatever it is. Links are deleted, not followed.
    fn remove(&self, parent: BorrowedFd<'_>, name: &Path, depth: usize) -> Result<(), Errno> {
        match unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => return other,
        }
        if depth > MAX_DEPTH {
            let fresh = self.snapshots.fresh_in_trash();
            return renameat(
                parent,
                name,
                self.top,
                fresh.file_name().unwrap_or_default(),
            );
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = openat(parent, name, flags, Mode::empty())?;
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let child = entry.file_name();
            if child.to_bytes() == b"." || child.to_bytes() == b".." {
                continue;
            }
            let child = std::ffi::OsStr::from_bytes(child.to_bytes());
            if entry.file_type() == FileType::Directory {
                self.remove(dir.as_fd(), Path::new(child), depth + 1)?;
            } else {
                unlinkat(&dir, child, AtFlags::empty())?;
            }
        }
        unlinkat(parent, name, AtFlags::REMOVEDIR)
    }
}
