//! Network namespaces held by descriptor: nothing appears on the mount table.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{namespace, on_a_thread, unshare, until_alone};

/// Makes a new network namespace. It lives as long as the descriptor, or a process in it.
///
/// # Errors
/// The kernel's.
pub fn create() -> io::Result<OwnedFd> {
    on_a_thread(|| {
        unshare(namespace::NETWORK)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    })
}

/// Makes a new network namespace with its loopback device up, on a thread of its own while `body` runs on this one: the
/// kernel takes most of a millisecond for it. The thread has ended when this returns.
///
/// # Errors
/// The kernel's, beside what `body` returned.
pub fn create_beside<T>(body: impl FnOnce() -> T) -> (T, io::Result<OwnedFd>) {
    until_alone(|| {
        std::thread::scope(|scope| {
            let made = || {
                unshare(namespace::NETWORK)?;
                loopback_up()?;
                Ok(File::open("/proc/thread-self/ns/net")?.into())
            };
            let small = std::thread::Builder::new().stack_size(64 << 10);
            let thread = small.spawn_scoped(scope, made);
            let result = body();
            let made = thread.and_then(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            (result, made)
        })
    })
}

/// Brings the loopback device of this process's network namespace up.
///
/// # Errors
/// The kernel's.
pub fn loopback_up() -> io::Result<()> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
    // SAFETY: a new descriptor is asked for.
    let socket = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request is whole and lives through the call, which only reads it.
    match unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `body` inside the network namespace `netns`, on a thread of its own that ends with it. Sockets that
/// `body` makes stay in that namespace.
///
/// # Errors
/// Those of `body`, and of entering.
pub fn within<T: Send, E: From<io::Error> + Send>(
    netns: BorrowedFd<'_>,
    body: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    let netns = netns.as_fd();
    on_a_thread(move || {
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(netns, kind).map_err(|error| E::from(error.into()))?;
        body()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{exit_now, is_single_threaded};
    use std::os::unix::fs::MetadataExt as _;

    fn own() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net")
            .expect("netns")
            .ino()
    }

    #[test]
    fn a_namespace_is_made_while_the_caller_goes_on_in_its_own() {
        let (seen, made) = create_beside(own);
        let made = made.expect("create");
        assert_eq!(seen, own());
        let up = within(made.as_fd(), || -> io::Result<String> {
            assert_ne!(own(), seen);
            std::fs::read_to_string("/proc/thread-self/net/if_inet6")
        });
        assert!(up.expect("addresses").contains(" lo\n"), "lo is up");
    }

    #[test]
    fn no_thread_is_left_of_it() {
        use rustix::process::{Pid, WaitOptions, waitpid};
        // SAFETY: glibc readies its allocator for the child, which uses nothing else of its parent's and ends by itself.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // A child has no thread but the one that made it.
            let alone = || is_single_threaded().is_ok_and(|alone| alone);
            let stays = (0..200).all(|_| {
                let beside = create_beside(|| ()).1.is_ok() && alone();
                beside && create().is_ok() && alone()
            });
            exit_now((!stays).into());
        }
        let child = Pid::from_raw(child).expect("a child");
        let (_, status) = waitpid(Some(child), WaitOptions::empty())
            .expect("wait")
            .expect("its end");
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn a_body_runs_inside_and_the_caller_stays_outside() {
        let before = own();
        let netns = create().expect("create");
        let inside: io::Result<u64> = within(netns.as_fd(), || Ok(own()));
        assert_eq!(
            inside.expect("within"),
            rustix::fs::fstat(&netns).expect("stat").st_ino
        );
        assert_eq!(own(), before);
    }
}
