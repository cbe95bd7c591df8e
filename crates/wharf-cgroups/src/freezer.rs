//! Freezing and thawing all processes of a group.

use std::time::Duration;

use crate::group::write;
use crate::{Cgroup, CgroupError, Layout};

impl Cgroup {
    /// Freezes every process, and returns when they are.
    ///
    /// # Errors
    /// If the host has no freezer, or a process cannot be frozen.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the host has no freezer.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> Result<(), CgroupError> {
        let folder = self
            .controller("freezer")
            .ok_or(CgroupError::NoController("freezer"))?;
        let (file, value, state, done) = match (self.layout(), frozen) {
            (Layout::V2 { .. }, true) => ("cgroup.freeze", "1", "cgroup.events", "frozen 1"),
            (Layout::V2 { .. }, false) => ("cgroup.freeze", "0", "cgroup.events", "frozen 0"),
            (Layout::V1 { .. }, true) => ("freezer.state", "FROZEN", "freezer.state", "FROZEN"),
            (Layout::V1 { .. }, false) => ("freezer.state", "THAWED", "freezer.state", "THAWED"),
        };
        let state = folder.join(state);
        // A process that forks at this moment can slip through v1's freezer: it is told again, as runc does.
        for _ in 0..1000 {
            write(&folder.join(file), value)?;
            let text =
                std::fs::read_to_string(&state).map_err(CgroupError::file("read", &state))?;
            if text.lines().any(|line| line == done) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let timeout = std::io::Error::from(std::io::ErrorKind::TimedOut);
        Err(CgroupError::file("wait for", &state)(timeout))
    }
}
