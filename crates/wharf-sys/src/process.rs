//! `clone3(2)` for processes with a single thread.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::fs::{Gid, Uid};
use rustix::process::Pid;

/// Which namespaces a child gets of its own, and where it starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneOptions<'a> {
    /// `CLONE_NEW*` flags, or'ed.
    pub namespaces: u64,
    /// A cgroup v2 folder that the child is born in (`CLONE_INTO_CGROUP`, Linux 5.7).
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child is one of the caller's parent's (`CLONE_PARENT`), who reaps it.
    pub sibling: bool,
}

/// `CLONE_NEW*` flags (`linux/sched.h`).
pub mod namespace {
    /// Mounts.
    pub const MOUNT: u64 = 0x0002_0000;
    /// Control groups (Linux 4.6).
    pub const CGROUP: u64 = 0x0200_0000;
    /// Host and domain name.
    pub const UTS: u64 = 0x0400_0000;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = 0x0800_0000;
    /// Users.
    pub const USER: u64 = 0x1000_0000;
    /// Process ids.
    pub const PID: u64 = 0x2000_0000;
    /// Network.
    pub const NETWORK: u64 = 0x4000_0000;
    /// Clocks (Linux 5.6).
    pub const TIME: u64 = 0x0000_0080;
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which side of a [`clone`] one is on.
#[derive(Debug)]
pub enum Cloned {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The child, as the parent's pid namespace counts.
        pid: Pid,
        /// The child, whatever becomes of its number.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args`, version 2 (88 bytes; Linux 5.7).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks this process into new namespaces. The child runs on with a copy of everything.
///
/// # Errors
/// The kernel's, and `EBUSY` if this process has more than one thread: a lock that another thread held would
/// stay locked in the child for ever.
pub fn clone(options: CloneOptions<'_>) -> io::Result<Cloned> {
    if !is_single_threaded()? {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: options.namespaces | CLONE_PIDFD,
        pidfd: (&raw mut pidfd).expose_provenance() as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if options.sibling {
        // It ends with the signal that the caller itself would end with; the kernel wants none named.
        args.flags |= CLONE_PARENT;
        args.exit_signal = 0;
    }
    if let Some(cgroup) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a whole clone_args and lives through the call; without CLONE_VM and CLONE_SETTLS the
    // child has its own copy of this only thread's memory and stack, as after fork(2). There is no other
    // thread, so no lock (the allocator's among them) is held by one that the child does not have.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            std::mem::size_of::<CloneArgs>(),
        )
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has put a new descriptor there, which nobody else owns (CLONE_PIDFD).
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(libc::EOVERFLOW))?;
            Ok(Cloned::Parent { pid, pidfd })
        }
    }
}

/// Asks the kernel itself: what is at `/proc` may be a container's by now. Only who has no other thread may leave its thread
/// group, in which case nothing happens (`check_unshare_flags`, kernel/fork.c).
pub(crate) fn is_single_threaded() -> io::Result<bool> {
    // SAFETY: nothing changes, whatever the answer.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        return Ok(false);
    }
    // Somebody keeps us from that call. One link for itself, one for `..`, one for each thread.
    let tasks = rustix::fs::stat("/proc/self/task")?;
    Ok(tasks.st_nlink == 3)
}

/// `unshare(2)` of namespaces (not of descriptor tables).
///
/// # Errors
/// The kernel's.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    let flags = libc::c_int::try_from(namespaces)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: only namespaces change, and only this thread's; no memory or descriptor is touched.
    match unsafe { libc::unshare(flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `body` on a thread of its own that ends with it: what it does to its own namespaces, folder and ids ends, too.
pub(crate) fn on_a_thread<T: Send, E: From<io::Error> + Send>(
    body: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    until_alone(|| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .spawn_scoped(scope, body)
                .map_err(E::from)?;
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

/// Runs `body`, whose threads have ended when it returns, and waits until they do not count any more.
///
/// A thread is joined when it has given up its memory, and counts until the kernel has done with it: a caller who had no other
/// may want to fork, which a process with threads must not.
pub(crate) fn until_alone<T>(body: impl FnOnce() -> T) -> T {
    let was_alone = is_single_threaded().unwrap_or(false);
    let result = body();
    while was_alone && !is_single_threaded().unwrap_or(true) {
        std::thread::yield_now();
    }
    result
}

/// Ends this process at once, without running anything on the way: for a child that shares its parent's
/// buffers and handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) has no preconditions.
    unsafe { libc::_exit(code) }
}

/// `close_range(2)`: marks every descriptor from `first` on as close-on-exec.
///
/// # Errors
/// The kernel's (`ENOSYS` before Linux 5.11).
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOEXEC: libc::c_uint = 4;
    // SAFETY: flags change; no descriptor is closed before an exec, so no owner is left without its own.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOEXEC) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes all descriptors but those of `keep`, in a child that [`clone`] has just made.
///
/// What the copied memory still names is closed behind its owners' backs. The child must go on with `keep` alone
/// and end by an exec or [`exit_now`], so that no destructor of the others runs on a number that has become
/// something else.
///
/// # Errors
/// The kernel's (`ENOSYS` before Linux 5.9).
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = keep
        .iter()
        .map(|fd| fd.as_raw_fd().unsigned_abs())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut from = 0;
    for number in numbers {
        if number > from {
            close_range(from, number - 1)?;
        }
        from = number + 1;
    }
    close_range(from, libc::c_uint::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: by contract of `close_all_but`: the owners of what is closed are never used or dropped again.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes a descriptor that the process was started with, by number.
///
/// # Errors
/// `EBADF` if there is none of that number.
pub fn inherited_fd(number: i32) -> io::Result<OwnedFd> {
    if number < 3 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: F_GETFD only asks.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and by the convention of who calls this (once a number, at the start of the
    // program) no value owns it yet.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The bits of `KEYCTL_JOIN_SESSION_KEYRING`: the session keyring named `name` of this process's user, which is made if there is none.
///
/// # Errors
/// The kernel's; `ENOSYS` without keyrings.
pub fn join_session_keyring(name: &std::ffi::CStr) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_ulong = 1;
    // SAFETY: `name` is a C string that lives through the call.
    let done = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) };
    let ring = match done {
        -1 => return Err(io::Error::last_os_error()),
        ring => ring,
    };
    // What a ring has at first, and that its user finds it by name: else who joins later would get another.
    const SET_PERMISSIONS: libc::c_ulong = 5;
    const POSSESSOR_ALL: libc::c_ulong = 0x3f00_0000;
    const USER_VIEW_READ_SEARCH_LINK: libc::c_ulong = 0x001b_0000;
    let permissions = POSSESSOR_ALL | USER_VIEW_READ_SEARCH_LINK;
    // SAFETY: three numbers. Who has joined another's ring may not change it, and need not.
    unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, ring, permissions) };
    Ok(())
}

/// Sends the signal number `signal` to the process behind `pidfd`. A plain number, as real-time signals have no
/// names.
///
/// # Errors
/// The kernel's: `ESRCH` if it has ended, `EINVAL` for a number that is no signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no `siginfo` is given, which makes it the same as kill(2).
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `setdomainname(2)`.
///
/// # Errors
/// The kernel's.
pub fn set_domain_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length are those of a live string.
    match unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The pid of the process behind `pidfd`, as the caller's procfs counts.
///
/// # Errors
/// `ESRCH` if it has ended.
pub fn pid_of(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let mut lines = info.lines();
    let pid = lines.find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    pid.filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// What the kernel calls the thing behind a descriptor: a path, or `pid:[4026531836]`.
///
/// # Errors
/// The kernel's.
pub fn name_of(descriptor: BorrowedFd<'_>) -> io::Result<String> {
    let name = std::fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Makes files from now on as `uid` and `gid`, on this thread alone, with the rights of before. Real and saved ids stay.
///
/// # Errors
/// `EPERM` without the right to.
pub fn act_as(uid: u32, gid: u32) -> io::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    let (own_user, own_group) = (rustix::process::getuid(), rustix::process::getgid());
    rustix::thread::set_thread_res_gid(own_group, Gid::from_raw(gid), own_group)?;
    rustix::thread::set_thread_res_uid(own_user, Uid::from_raw(uid), own_user)?;
    // The change has taken the effective rights away, not the permitted ones.
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// Runs `body` as by [`act_as`], and goes back.
///
/// # Errors
/// Those of both.
pub fn acting_as<T>(uid: u32, gid: u32, body: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    struct Back(u32, u32);
    impl Drop for Back {
        fn drop(&mut self) {
            // To go back to one's real ids needs no right.
            let _ = act_as(self.0, self.1);
        }
    }
    let own = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let _back = Back(own.0, own.1);
    act_as(uid, gid)?;
    body()
}

/// The user namespace that a namespace belongs to (`NS_GET_USERNS`, ioctl_nsfs(2)).
///
/// # Errors
/// `EPERM` if it is none of ours nor below it; `ENOTTY` if the descriptor is no namespace.
pub fn owner_of(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: takes no argument; the result is a new descriptor or negative.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    match owner {
        0.. => {
            // SAFETY: the kernel has just given it to us, and nobody else knows its number.
            Ok(unsafe { OwnedFd::from_raw_fd(owner) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the process has a descriptor of this number.
pub fn is_open(number: u32) -> bool {
    let Ok(number) = libc::c_int::try_from(number) else {
        return false;
    };
    // SAFETY: F_GETFD only asks.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_thread_belong_to_somebody_else_for_a_while() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().expect("folder");
        let owner = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").expect("write");
            let found = std::fs::metadata(&path).expect("stat");
            (found.uid(), found.gid())
        };
        let own = owner("a");
        // The folder is root's alone: the rights are those of before.
        let made = acting_as(100_000, 100_001, || Ok(owner("b"))).expect("act");
        assert_eq!((made, owner("c")), ((100_000, 100_001), own));
    }

    #[test]
    fn our_network_belongs_to_the_user_namespace_that_is_the_first() {
        let open = |name: &str| std::fs::File::open(format!("/proc/self/ns/{name}")).expect("open");
        let owner = owner_of(open("net").as_fd()).expect("owner");
        assert!(name_of(owner.as_fd()).expect("name").starts_with("user:["));
        let none = owner_of(std::fs::File::open("/dev/null").expect("open").as_fd());
        assert_eq!(
            none.expect_err("no namespace").raw_os_error(),
            Some(libc::ENOTTY)
        );
    }
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    use std::os::fd::AsFd as _;

    // Under nextest each test is a process, but the harness has two threads: the child of the test that
    // needs one re-executes itself with a filter is not worth it; the refusal is what is tested here.
    #[test]
    fn a_process_with_threads_is_refused() {
        let error = clone(CloneOptions::default()).expect_err("two threads");
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn pidfds_can_be_waited_for() {
        let mut child = std::process::Command::new("true").spawn().expect("spawn");
        let pid = Pid::from_child(&child);
        let pidfd =
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("pidfd");
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::PidFd(pidfd.as_fd()), options).expect("wait");
        assert!(child.wait().expect("wait").success());
    }
}
