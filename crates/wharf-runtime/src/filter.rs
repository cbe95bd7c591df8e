//! The system-call filter, and who is told of calls.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag};
use serde_json::{Value, json};
use wharf_sys::seccomp::{self, flag};

use crate::Failure;

/// A compiled system-call filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The bytes of its `struct sock_filter` array.
    pub program: Vec<u8>,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
    /// Who decides about calls whose verdict is to notify.
    pub listener: Option<Listener>,
}

/// Somebody at a Unix socket who gets the descriptor that tells of calls.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The socket.
    pub path: PathBuf,
    /// Told along.
    pub metadata: String,
    /// The container's state, told along.
    pub state: Value,
}

/// One whose spec says nothing of flags.
impl From<Vec<u8>> for Filter {
    fn from(program: Vec<u8>) -> Self {
        Self {
            program,
            flags: flag::SPEC_ALLOW,
            listener: None,
        }
    }
}

impl Filter {
    /// The spec's flags as the kernel's. All threads are meant anyway: there is one. Who says nothing of flags, not even that
    /// there are none, does without what guards against speculation and costs much (as runc).
    pub fn flags_of(seccomp: &LinuxSeccomp) -> u64 {
        let Some(flags) = seccomp.flags() else {
            return flag::SPEC_ALLOW;
        };
        let flags = flags.iter().map(|one| match one {
            LinuxSeccompFilterFlag::SeccompFilterFlagLog => flag::LOG,
            LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
            LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => flag::SPEC_ALLOW,
            LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => flag::WAIT_KILLABLE_RECV,
        });
        flags.fold(0, |all, one| all | one)
    }

    /// Whether somebody is asked about calls.
    pub fn notifies(seccomp: &LinuxSeccomp) -> bool {
        let mut rules = seccomp.syscalls().iter().flatten();
        rules.any(|rule| rule.action() == LinuxSeccompAction::ScmpActNotify)
    }

    /// Refuses what would leave the process waiting for ever, in runc's words.
    ///
    /// # Errors
    /// The words.
    pub fn check(seccomp: &LinuxSeccomp) -> Result<(), String> {
        let notify = LinuxSeccompAction::ScmpActNotify;
        if seccomp.default_action() == notify {
            return Err("SCMP_ACT_NOTIFY cannot be used as default action".to_owned());
        }
        if Self::notifies(seccomp) && seccomp.listener_path().is_none() {
            return Err("seccomp listenerPath is not set but SCMP_ACT_NOTIFY is used".to_owned());
        }
        let rules = seccomp.syscalls().iter().flatten();
        let mut notified = rules.filter(|rule| rule.action() == notify);
        // The runtime is told of the descriptor by that call.
        if notified.any(|rule| rule.names().iter().any(|name| name == "write")) {
            return Err("SCMP_ACT_NOTIFY cannot be used for the write syscall".to_owned());
        }
        Ok(())
    }

    /// Loads it on this process. With a listener, `announce` gets the descriptor's number, and returns when who
    /// listens has it.
    pub(crate) fn load(
        &self,
        announce: impl FnOnce(i32) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        use std::os::fd::AsRawFd as _;
        let failed =
            || Failure::at("unable to init seccomp: error loading seccomp filter into kernel");
        let instructions = self.program.as_chunks::<8>().0;
        if self.listener.is_none() {
            return seccomp::load(instructions, self.flags).map_err(failed());
        }
        let listener = seccomp::load_with_listener(instructions, self.flags).map_err(failed())?;
        announce(listener.as_raw_fd())
    }
}

impl Listener {
    /// Hands the descriptor over, with OCI's container process state.
    pub(crate) fn hand_over(&self, descriptor: BorrowedFd<'_>, pid: i32) -> io::Result<()> {
        let mut state = self.state.clone();
        if state["pid"] == 0 {
            state["pid"] = pid.into();
        }
        let message = json!({
            "ociVersion": state["ociVersion"],
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": self.metadata,
            "state": state,
        });
        let socket = UnixStream::connect(&self.path)?;
        let text = message.to_string();
        wharf_sys::socket::send(socket.as_fd(), text.as_bytes(), &[descriptor])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_nobody_has_named_are_runc_s() {
        let flags = |text: &str| Filter::flags_of(&serde_json::from_str(text).expect("a filter"));
        let allow = r#""defaultAction":"SCMP_ACT_ALLOW""#;
        assert_eq!(flags(&format!("{{{allow}}}")), flag::SPEC_ALLOW);
        assert_eq!(flags(&format!(r#"{{{allow},"flags":[]}}"#)), 0);
        let log = format!(r#"{{{allow},"flags":["SECCOMP_FILTER_FLAG_LOG"]}}"#);
        assert_eq!(flags(&log), flag::LOG);
        assert_eq!(Filter::from(Vec::new()).flags, flag::SPEC_ALLOW);
    }
}
