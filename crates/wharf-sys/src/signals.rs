//! Signals as descriptors, and a clean slate for what is executed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};

/// A descriptor that is readable when one of its signals is pending.
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks `signals` in this thread and takes them by descriptor instead.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        let set = set_of(signals);
        change_mask(libc::SIG_BLOCK, &set)?;
        // SAFETY: a new descriptor is asked for (-1), `set` lives through the call.
        let fd =
            unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The number of the next pending signal; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(&self) -> io::Result<Option<i32>> {
        // The signal's number is the first field of `struct signalfd_siginfo`.
        let mut info = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info) {
            Ok(_) => Ok(Some(i32::from_ne_bytes([
                info[0], info[1], info[2], info[3],
            ]))),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Every signal unblocked and at its default: what a program expects to start with.
///
/// # Errors
/// The kernel's.
pub fn reset() -> io::Result<()> {
    for number in 1..=64 {
        // KILL and STOP cannot be set; 32 and 33 are the C library's: their errors do not matter.
        // SAFETY: SIG_DFL is a valid disposition for any signal.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    change_mask(libc::SIG_SETMASK, &set_of(&[]))
}

/// Blocks every signal that can be blocked: what comes waits until somebody asks for it, also over an exec, and also for the
/// first process of a PID namespace, which the kernel else keeps signals from that it has no handler for (signal(7),
/// pid_namespaces(7)).
///
/// # Errors
/// The kernel's.
pub fn block_all() -> io::Result<()> {
    let every: Vec<i32> = (1..=64).collect();
    change_mask(libc::SIG_SETMASK, &set_of(&every))
}

/// Starts the program of `command` with every signal unblocked, though this process has blocked some: the standard library
/// passes its mask on.
pub fn unblocked(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt as _;
    let none = set_of(&[]);
    // SAFETY: between fork and exec only the signal mask is set, which is async-signal-safe and allocates nothing.
    unsafe { command.pre_exec(move || change_mask(libc::SIG_SETMASK, &none)) }
}

/// Starts the program of `command` in a session of its own (setsid(2)): what is typed at this process's terminal to end it is
/// not for that one.
pub fn in_a_session(command: &mut std::process::Command) -> &mut std::process::Command {
    use std::os::unix::process::CommandExt as _;
    let leave = || match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(errno) => Err(errno.into()),
    };
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe and allocates nothing.
    unsafe { command.pre_exec(leave) }
}

fn set_of(signals: &[i32]) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set.
    let mut set: libc::sigset_t = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        set.assume_init()
    };
    for &signal in signals {
        // SAFETY: `set` is initialised; a number out of range is refused, not written.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: `set` lives through the call, and no old mask is asked for.
    match unsafe { libc::sigprocmask(how, set, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_have_a_session_of_its_own() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "cut -d' ' -f6 /proc/$$/stat; echo $$"]);
        let output = in_a_session(&mut command).output().expect("sh");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut numbers = said.lines();
        assert_eq!(numbers.next(), numbers.next(), "{said}");
    }

    #[test]
    fn a_program_can_start_with_all_signals_unblocked() {
        let _blocked = SignalFd::new(&[15]).expect("block");
        let mask = |command: &mut std::process::Command| {
            let output = command.arg("SigBlk").arg("/proc/self/status").output();
            String::from_utf8_lossy(&output.expect("grep").stdout).into_owned()
        };
        let grep = || std::process::Command::new("grep");
        assert!(!mask(&mut grep()).contains("0000000000000000"));
        assert!(mask(unblocked(&mut grep())).contains("0000000000000000"));
    }
}
