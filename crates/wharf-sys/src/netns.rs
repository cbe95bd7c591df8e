//! Network namespaces held by descriptor: nothing appears on the mount table.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::{namespace, unshare};

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

fn on_a_thread<T: Send, E: From<io::Error> + Send>(
    body: impl FnOnce() -> Result<T, E> + Send,
) -> Result<T, E> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .spawn_scoped(scope, body)
            .map_err(E::from)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    fn own() -> u64 {
        std::fs::metadata("/proc/thread-self/ns/net")
            .expect("netns")
            .ino()
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
