//! Hearing of the kernel's OOM killer.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify;

use crate::group::write;
use crate::{Cgroup, CgroupError, Layout};

/// Says when a group has run out of memory: its descriptor becomes readable.
#[derive(Debug)]
pub struct OomWatch {
    descriptor: OwnedFd,
    /// v2: the file that has changed, and how many kills it counted when we last looked.
    events: Option<(PathBuf, u64)>,
    /// v1: the file that is gone when the group is.
    control: PathBuf,
}

impl Cgroup {
    /// How often the kernel has killed a process of the group for lack of memory.
    pub fn oom_kills(&self) -> u64 {
        let file = match self.layout() {
            Layout::V2 { .. } => "memory.events",
            Layout::V1 { .. } => "memory.oom_control",
        };
        let folder = self.controller("memory");
        folder.map_or(0, |folder| kills(&folder.join(file)))
    }

    /// Watches the group from now on.
    ///
    /// # Errors
    /// If the host has no memory controller, or the kernel no room for another watch.
    pub fn watch_oom(&self) -> Result<OomWatch, CgroupError> {
        let none = CgroupError::NoController("memory");
        let folder = self.controller("memory").ok_or(none)?;
        match self.layout() {
            Layout::V2 { .. } => {
                let file = folder.join("memory.events");
                let watch = || -> io::Result<OwnedFd> {
                    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
                    let inotify = inotify::init(flags)?;
                    inotify::add_watch(&inotify, &file, inotify::WatchFlags::MODIFY)?;
                    Ok(inotify)
                };
                let descriptor = watch().map_err(CgroupError::file("watch", &file))?;
                let events = Some((file.clone(), kills(&file)));
                let control = file;
                Ok(OomWatch {
                    descriptor,
                    events,
                    control,
                })
            }
            Layout::V1 { .. } => {
                let control = folder.join("memory.oom_control");
                let file = File::open(&control).map_err(CgroupError::file("open", &control))?;
                let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
                let descriptor = descriptor
                    .map_err(|error| CgroupError::file("watch", &control)(error.into()))?;
                let numbers = format!("{} {}", descriptor.as_raw_fd(), file.as_raw_fd());
                write(&folder.join("cgroup.event_control"), &numbers)?;
                let events = None;
                Ok(OomWatch {
                    descriptor,
                    events,
                    control,
                })
            }
        }
    }
}

impl OomWatch {
    /// Takes what has been told, and answers how many times memory has run out since the last call.
    pub fn take(&mut self) -> u64 {
        let mut buffer = [0; 4096];
        let mut told = 0;
        while let Ok(length @ 1..) = rustix::io::read(&self.descriptor, &mut buffer) {
            if let Some(counter) = buffer[..length].first_chunk() {
                told += u64::from_ne_bytes(*counter);
            }
            if self.events.is_none() {
                break;
            }
        }
        match &mut self.events {
            Some((file, before)) => {
                let now = kills(file);
                let new = now.saturating_sub(*before);
                *before = now.max(*before);
                new
            }
            // The end of the group is told the same way.
            None if !self.control.exists() => 0,
            None => told,
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn kills(file: &std::path::Path) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
