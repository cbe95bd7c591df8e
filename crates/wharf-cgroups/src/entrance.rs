//! How a process of one thread moves itself into a group of v1.
//!
//! To move another process takes the kernel's `cgroup_threadgroup_rwsem` for writing, and its first writer after a
//! quiet time waits for an RCU grace period (`rcu_sync_enter`, kernel/rcu/sync.c): 3 to 14 ms, more than all the rest
//! of a container's start. A thread that moves itself alone, by a "0" in `tasks`, does without (`cgroup_procs_write_start`,
//! kernel/cgroup/cgroup.c, since Linux 5.5): 0.03 ms. A process between its clone and its exec has one thread.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::{Cgroup, CgroupError};

/// A group's `tasks` file in each hierarchy of v1, opened by whoever has the right to.
#[derive(Debug)]
pub struct Entrance {
    files: Vec<File>,
}

impl Cgroup {
    /// The way in for a process of one thread; `None` on v2, where processes are born in their group.
    ///
    /// # Errors
    /// If a file cannot be opened.
    pub fn entrance(&self) -> Result<Option<Entrance>, CgroupError> {
        if self.layout().is_v2() {
            return Ok(None);
        }
        let open = |folder: std::path::PathBuf| {
            let path = folder.join("tasks");
            let opened = File::options().write(true).open(&path);
            opened.map_err(CgroupError::file("open", &path))
        };
        let folders = self.folders().into_iter();
        let files = folders.map(|(_, folder)| open(folder));
        Ok(Some(Entrance {
            files: files.collect::<Result<_, _>>()?,
        }))
    }
}

impl Entrance {
    /// Moves the calling thread, which must be its process's only one.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn enter(&self) -> io::Result<()> {
        let mut files = self.files.iter();
        files.try_for_each(|mut tasks| tasks.write_all(b"0"))
    }

    /// What must stay open until then.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().map(|file| file.as_fd())
    }
}
