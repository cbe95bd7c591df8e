//! Freezing and thawing all processes of a group.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::group::write;
use crate::{Cgroup, CgroupError, Layout};

/// How long a process may take to freeze: one in an uninterruptible wait of the kernel's cannot.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often v1's freezer is told again at most, and how far apart.
const ATTEMPTS: u32 = 2000;
const PAUSE: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Freezes every process, and returns when they are.
    ///
    /// # Errors
    /// If the host has no freezer, or a process cannot be frozen: then all go on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let frozen = self.set_frozen(true);
        if frozen.is_err() {
            let _ = self.set_frozen(false);
        }
        frozen
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the host has no freezer.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    /// Whether its processes are frozen, or on the way there.
    pub fn is_frozen(&self) -> bool {
        let Some(folder) = self.controller("freezer") else {
            return false;
        };
        let (file, running) = match self.layout() {
            Layout::V2 { .. } => ("cgroup.freeze", "0"),
            Layout::V1 { .. } => ("freezer.state", "THAWED"),
        };
        let text = std::fs::read_to_string(folder.join(file));
        text.is_ok_and(|text| text.trim() != running)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let folder = self
            .controller("freezer")
            .ok_or(CgroupError::NoController("freezer"))?;
        match self.layout() {
            Layout::V2 { .. } => v2(&folder, frozen),
            Layout::V1 { .. } => v1(&folder.join("freezer.state"), frozen),
        }
    }
}

/// The kernel says when all have stopped: `cgroup.events` becomes readable out of turn (cgroup-v2 documentation).
fn v2(folder: &Path, frozen: bool) -> Result<(), CgroupError> {
    let path = folder.join("cgroup.events");
    let events = File::open(&path).map_err(CgroupError::file("open", &path))?;
    let (value, done) = if frozen {
        ("1", "frozen 1")
    } else {
        ("0", "frozen 0")
    };
    write(&folder.join("cgroup.freeze"), value)?;
    wait_for(&events, done, PATIENCE).map_err(CgroupError::file("wait for", &path))
}

/// Waits until `events` (a `cgroup.events`) has the line.
pub(crate) fn wait_for(mut events: &File, line: &str, patience: Duration) -> io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        let mut text = String::new();
        events.rewind()?;
        events.read_to_string(&mut text)?;
        if text.lines().any(|one| one == line) {
            return Ok(());
        }
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(events, PollFlags::PRI)], Some(&timeout)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// v1 tells nobody, and only looks whether it is done when it is read: `FREEZING` it stays as long as a process
/// forks or traces another at this moment. So it is told again, as runc does, and given time in between.
fn v1(state: &Path, frozen: bool) -> Result<(), CgroupError> {
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    for attempt in 0..ATTEMPTS {
        write(state, wanted)?;
        // Read twice first: the first look often is what finishes it.
        for _ in 0..2 {
            let text = std::fs::read_to_string(state).map_err(CgroupError::file("read", state))?;
            if text.trim() == wanted {
                return Ok(());
            }
        }
        if frozen && attempt % 50 == 49 {
            // runc's remedy for a process that holds up the others (runc `fs/freezer.go`).
            write(state, "THAWED")?;
        }
        std::thread::sleep(PAUSE);
    }
    let timeout = io::Error::from(io::ErrorKind::TimedOut);
    Err(CgroupError::file("wait for", state)(timeout))
}
