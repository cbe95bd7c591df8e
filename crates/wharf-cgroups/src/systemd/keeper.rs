//! The process that holds a scope until the container's own is in it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, WaitOptions, waitpid};
use wharf_sys::process::{CloneOptions, Cloned, clone, exit_now, send_signal};

const SIGKILL: i32 = 9;

/// A child that waits for its end, which is the end of this.
#[derive(Debug)]
pub(crate) struct Keeper {
    pid: Pid,
    pidfd: OwnedFd,
    /// Closed by our death, whatever its cause.
    _line: OwnedFd,
}

impl Keeper {
    /// # Errors
    /// The kernel's; `EBUSY` in a process of several threads.
    pub(crate) fn new() -> io::Result<Self> {
        let (ours, theirs) = wharf_sys::socket::stream_pair()?;
        match clone(CloneOptions::default())? {
            Cloned::Child => {
                drop(ours);
                // Nobody ever writes.
                while rustix::io::read(&theirs, &mut [0_u8]) == Err(rustix::io::Errno::INTR) {}
                exit_now(0)
            }
            Cloned::Parent { pid, pidfd } => Ok(Self {
                pid,
                pidfd,
                _line: ours,
            }),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        use std::os::fd::AsFd as _;
        let _ = send_signal(self.pidfd.as_fd(), SIGKILL);
        let _ = waitpid(Some(self.pid), WaitOptions::empty());
    }
}
