//! Waiting for logs to grow.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::inotify;

use crate::LogError;

/// An inotify descriptor that becomes readable when one of the logs is written or rotated. Poll it, then call
/// [`Watches::take`], then read on. One is enough for all logs: a user may have few (`fs.inotify.max_user_instances`).
pub struct Watches {
    descriptor: OwnedFd,
}

/// Which log of a [`Watches`]. All logs in one folder are one.
pub type Watched = i32;

impl Watches {
    /// None yet.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn new() -> std::io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self {
            descriptor: inotify::init(flags)?,
        })
    }

    /// Watches the folder of the log at `path`: the file itself changes its name under rotation.
    ///
    /// # Errors
    /// If the system has no watches left (`fs.inotify.max_user_watches`) or the folder is gone.
    pub fn add(&self, path: &Path) -> Result<Watched, LogError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        // The container may not have been started yet: the writer would make it.
        let _ = std::fs::create_dir_all(folder);
        let events = inotify::WatchFlags::MODIFY
            | inotify::WatchFlags::CREATE
            | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&self.descriptor, folder, events)
            .map_err(|error| LogError::file("watch", path)(error.into()))
    }

    /// Watches it no more.
    pub fn remove(&self, watched: Watched) {
        // With the folder the watch has gone.
        let _ = inotify::remove_watch(&self.descriptor, watched);
    }

    /// Takes the events that are there, so that the descriptor is readable only for what comes after; calls `changed`
    /// for each, with `None` if some were lost: then any may have changed.
    pub fn take(&self, mut changed: impl FnMut(Option<Watched>)) {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.descriptor, &mut buffer);
        // EAGAIN ends it; any other error leaves the descriptor readable, which costs a turn, no line.
        while let Ok(event) = events.next() {
            let lost = event.events().contains(inotify::ReadFlags::QUEUE_OVERFLOW);
            changed((!lost).then(|| event.wd()));
        }
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Watches {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}
