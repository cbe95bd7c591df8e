//! Namespaces: leaving, joining and making them.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Result;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags};

pub use rustix::thread::{
    LinkNameSpaceType as Kind, ThreadNameSpaceType as Kinds, UnshareFlags as Unshare,
};

/// Moves the calling thread into new namespaces (unshare(2)).
///
/// # Errors
/// `EINVAL` for a flag that is no namespace; else as unshare(2).
pub fn unshare(namespaces: UnshareFlags) -> Result<()> {
    if namespaces.intersects(UnshareFlags::FILES | UnshareFlags::FS | UnshareFlags::SYSVSEM) {
        return Err(rustix::io::Errno::INVAL);
    }
    // SAFETY: what makes unshare unsafe is CLONE_FILES (descriptors of other threads), which is refused above.
    unsafe { rustix::thread::unshare_unsafe(namespaces) }
}

/// Moves the calling thread into the namespace that `namespace` (an open `/proc/…/ns/*`) stands for.
///
/// # Errors
/// As setns(2).
pub fn enter(namespace: impl AsFd, kind: LinkNameSpaceType) -> Result<()> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
}

/// Moves the calling thread into namespaces of the process behind `pidfd`.
///
/// # Errors
/// As setns(2); `ESRCH` if the process has ended.
pub fn enter_of_process(pidfd: impl AsFd, kinds: ThreadNameSpaceType) -> Result<()> {
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), kinds)
}

/// Makes a network namespace that lives as long as the descriptor. Nothing is up in it, not even `lo`.
///
/// # Errors
/// If the caller may not, or the limit of namespaces is reached.
pub fn new_netns() -> std::io::Result<OwnedFd> {
    on_thread(|| {
        unshare(UnshareFlags::NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })?
}

/// Runs `body` on a fresh thread inside the network namespace `netns` and gives its result.
///
/// Sockets opened in there stay in there for good, whoever uses them later.
///
/// # Errors
/// If the thread cannot be started or may not enter.
pub fn within_netns<T: Send>(
    netns: impl AsFd,
    body: impl FnOnce() -> T + Send,
) -> std::io::Result<T> {
    let netns = netns.as_fd();
    on_thread(move || {
        enter(netns, LinkNameSpaceType::Network)?;
        Ok(body())
    })?
}

/// Runs `body` on a thread of its own, which ends with it: what it has done to its namespaces ends too.
fn on_thread<T: Send>(body: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("wharf-ns".to_owned())
            .spawn_scoped(scope, body)?;
        match thread.join() {
            Ok(value) => Ok(value),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
