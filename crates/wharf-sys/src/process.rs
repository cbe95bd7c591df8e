//! `clone3(2)` for a process with one thread, and pidfds.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// `CLONE_INTO_CGROUP`; libc has it in too small a type.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// New namespaces and other traits of a clone (`CLONE_*`, clone(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloneFlags(u64);

impl CloneFlags {
    /// `CLONE_NEWNS`
    pub const NEWNS: Self = Self(libc::CLONE_NEWNS as u64);
    /// `CLONE_NEWCGROUP`
    pub const NEWCGROUP: Self = Self(libc::CLONE_NEWCGROUP as u64);
    /// `CLONE_NEWUTS`
    pub const NEWUTS: Self = Self(libc::CLONE_NEWUTS as u64);
    /// `CLONE_NEWIPC`
    pub const NEWIPC: Self = Self(libc::CLONE_NEWIPC as u64);
    /// `CLONE_NEWUSER`
    pub const NEWUSER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// `CLONE_NEWPID`
    pub const NEWPID: Self = Self(libc::CLONE_NEWPID as u64);
    /// `CLONE_NEWNET`
    pub const NEWNET: Self = Self(libc::CLONE_NEWNET as u64);
    /// `CLONE_PARENT`: the new process is a child of the caller's parent.
    pub const PARENT: Self = Self(libc::CLONE_PARENT as u64);

    /// The set with `other` added.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The set without `other`.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Which of the two processes the caller is after [`fork`].
#[derive(Debug)]
pub enum Fork {
    /// The one that called.
    Parent {
        /// The new process, in the caller's pid namespace.
        pid: Pid,
        /// A handle to it that no reuse of the number can turn to another process.
        pidfd: OwnedFd,
    },
    /// The new one.
    Child,
}

/// Splits the process in two by `clone3(2)` with `flags`, into the v2 cgroup `cgroup` if one is given
/// (`CLONE_INTO_CGROUP`).
///
/// # Errors
/// `EDEADLK` when the process has more than one thread: the copy would hold locks that nobody releases. Else as
/// clone(2).
pub fn fork(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    if threads()? != 1 {
        return Err(Errno::DEADLK);
    }
    let mut pidfd: libc::c_int = -1;
    // SAFETY: `clone_args` is plain data, for which all-zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags.0 | libc::CLONE_PIDFD as u64;
    args.pidfd = std::ptr::from_mut(&mut pidfd) as u64;
    // clone3 refuses an exit signal beside CLONE_PARENT, as it takes the caller's own.
    if !flags.contains(CloneFlags::PARENT) {
        args.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: without CLONE_VM the child has a copy of the memory and goes on after the call on the same stack,
    // as after fork(2). The process has one thread (tested above, and only that thread could start another), so
    // no lock is held by a thread that the copy lacks, and the child may run any code. `args` and `pidfd` live
    // through the call.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            std::ptr::from_mut(&mut args),
            size_of::<libc::clone_args>(),
        )
    };
    match i32::try_from(pid).map_err(|_| Errno::OVERFLOW)? {
        -1 => Err(last_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent {
            pid: Pid::from_raw(pid).ok_or(Errno::SRCH)?,
            // SAFETY: the kernel has put a new descriptor there, which nobody else knows.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
    }
}

/// How many threads the process has: the number of folders in `/proc/self/task`.
fn threads() -> Result<u64> {
    let task = rustix::fs::stat("/proc/self/task")?;
    Ok(u64::from(task.st_nlink as u32).saturating_sub(2))
}

/// Closes every descriptor from `first` on; what other code of this process holds of them is dangling after it.
///
/// It is meant for a child that has not long to live as itself, between [`fork`] and `execve`.
///
/// # Errors
/// As close_range(2).
pub fn set_cloexec_from(first: u32) -> Result<()> {
    // SAFETY: CLOSE_RANGE_CLOEXEC closes nothing now, it only marks descriptors.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    check(done)
}

/// Closes all descriptors but those of `keep`, in a process that [`fork`] has just made.
///
/// The descriptors that the copied memory still names are closed behind its back: the caller must go on with
/// `keep` only, and end by `execve` or [`exit_now`], so that no destructor runs on the rest. A descriptor opened
/// later may get a number that a forgotten owner still believes to be its own; as no destructor of these runs,
/// nothing is closed by mistake.
///
/// # Errors
/// As close_range(2).
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut numbers: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut from = 0u32;
    for number in numbers {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = number + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the process was made by `fork` to become another program; see `close_all_but` for why the owners
    // that its memory still holds never use the numbers again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Ends the process at once, without destructors and exit handlers: the end of a forked child.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Moves `fd` to the number `target` (0, 1, 2 …) and leaves it open over `execve`. What stood there is closed.
///
/// # Errors
/// As dup2(2).
pub fn place(fd: BorrowedFd<'_>, target: i32) -> Result<()> {
    if fd.as_raw_fd() == target {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: the caller gives up what it had under `target`; only the standard streams and the descriptors that
    // are handed over to a program are placed, in a child that is about to exec.
    check(unsafe { libc::dup2(fd.as_raw_fd(), target) }.into())
}

/// Takes over the descriptor `number` that the process was started with (`--preserve-fds`, `LISTEN_FDS`), or
/// `None` if nothing is open there. It is marked close-on-exec.
///
/// The first call for a number gets it; a second one gets a duplicate, so that no two owners close one descriptor.
pub fn inherited(number: i32) -> Option<OwnedFd> {
    // SAFETY: the number is borrowed only for the duplication; if nothing is open there the call says EBADF.
    let borrowed = (number >= 0).then(|| unsafe { BorrowedFd::borrow_raw(number) })?;
    rustix::io::fcntl_dupfd_cloexec(borrowed, 3).ok()
}

/// Sends signal number `signal` (0 tests whether it lives) to the process behind `pidfd`. Takes plain numbers as
/// real-time signals have no names.
///
/// # Errors
/// `ESRCH` if it has ended; `EINVAL` for a number that is no signal.
pub fn pidfd_send_signal(pidfd: impl AsFd, signal: i32) -> Result<()> {
    // SAFETY: a null `siginfo` is allowed and means the same as kill(2).
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
}

/// Sends signal number `signal` to process `pid`; negative: to its group.
///
/// # Errors
/// As kill(2).
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }.into())
}

pub(crate) fn last_error() -> Errno {
    std::io::Error::last_os_error()
        .raw_os_error()
        .map_or(Errno::IO, Errno::from_raw_os_error)
}

pub(crate) fn check(result: libc::c_long) -> Result<()> {
    if result == -1 {
        Err(last_error())
    } else {
        Ok(())
    }
}
