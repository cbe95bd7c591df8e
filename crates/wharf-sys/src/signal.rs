//! Signals: blocking, receiving by descriptor, default dispositions.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};

use crate::process::{check, last_error};

/// `SIGCHLD`
pub const CHLD: i32 = libc::SIGCHLD;

/// Blocks all signals of the calling thread and gives a non-blocking, close-on-exec descriptor that becomes
/// readable when one of `signals` arrives; see [`take`].
///
/// # Errors
/// As signalfd(2).
pub fn block_all_and_watch(signals: &[i32]) -> Result<OwnedFd> {
    let all = set_of(None);
    set_mask(&all)?;
    let watched = set_of(Some(signals));
    // SAFETY: -1 asks for a new descriptor; the set lives through the call.
    let fd = unsafe { libc::signalfd(-1, &watched, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd == -1 {
        return Err(last_error());
    }
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the next signal number from a descriptor of [`block_all_and_watch`]; `None` if there is none now.
///
/// # Errors
/// As read(2).
pub fn take(signalfd: impl AsFd) -> Result<Option<i32>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer has the size that is given.
    let read = unsafe { libc::read(signalfd.as_fd().as_raw_fd(), info.as_mut_ptr().cast(), size) };
    if read == -1 {
        return match last_error() {
            Errno::AGAIN => Ok(None),
            error => Err(error),
        };
    }
    if read as usize != size {
        return Err(Errno::IO);
    }
    // SAFETY: the kernel has filled the whole structure.
    let info = unsafe { info.assume_init() };
    i32::try_from(info.ssi_signo)
        .map(Some)
        .map_err(|_| Errno::RANGE)
}

/// Gives every signal its default action and unblocks all: what a new program must begin with.
///
/// # Errors
/// As sigprocmask(2).
pub fn reset() -> Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL is a valid disposition. SIGKILL, SIGSTOP and libc's own two refuse it, which is right.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    set_mask(&set_of(Some(&[])))
}

/// Ignores `signal`; over `execve` too.
///
/// # Errors
/// `EINVAL` if it cannot be ignored.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN is a valid disposition.
    if unsafe { libc::signal(signal, libc::SIG_IGN) } == libc::SIG_ERR {
        return Err(last_error());
    }
    Ok(())
}

fn set_mask(set: &libc::sigset_t) -> Result<()> {
    // SAFETY: the set lives through the call; the old one is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, set, std::ptr::null_mut()) }.into())
}

/// The set of `signals`, or of all.
fn set_of(signals: Option<&[i32]>) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: either call fills the whole set.
    unsafe {
        match signals {
            None => libc::sigfillset(set.as_mut_ptr()),
            Some(_) => libc::sigemptyset(set.as_mut_ptr()),
        };
    }
    // SAFETY: filled above.
    let mut set = unsafe { set.assume_init() };
    for &signal in signals.unwrap_or_default() {
        // SAFETY: a set that is valid; a number that is no signal is refused and changes nothing.
        unsafe { libc::sigaddset(&mut set, signal) };
    }
    set
}
