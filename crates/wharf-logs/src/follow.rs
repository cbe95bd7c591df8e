//! Waiting for a log to grow.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify;

use crate::LogError;

/// An inotify descriptor that becomes readable when the log is written or rotated. Poll it, then call
/// [`Watch::drain`], then read on.
pub struct Watch {
    descriptor: OwnedFd,
}

impl Watch {
    /// Watches the folder of the log at `path`: the file itself changes its name under rotation.
    ///
    /// # Errors
    /// If the system has no watches left (`fs.inotify.max_user_watches`) or the folder is gone.
    pub fn new(path: &Path) -> Result<Self, LogError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let watch = || -> rustix::io::Result<OwnedFd> {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            // The container may not have been started yet: the writer would make it.
            let _ = std::fs::create_dir_all(folder);
            let descriptor = inotify::init(flags)?;
            let events = inotify::WatchFlags::MODIFY
                | inotify::WatchFlags::CREATE
                | inotify::WatchFlags::MOVED_TO;
            inotify::add_watch(&descriptor, folder, events)?;
            Ok(descriptor)
        };
        let descriptor = watch().map_err(|error| LogError::file("watch", path)(error.into()))?;
        Ok(Self { descriptor })
    }

    /// Takes the events that are there, so that the descriptor is readable only for what comes after.
    pub fn drain(&self) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.descriptor, &mut buffer);
        // EAGAIN ends it; any other error leaves the descriptor readable, which costs a turn, no line.
        while events.next().is_ok() {}
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watch {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.descriptor.as_raw_fd()
    }
}
