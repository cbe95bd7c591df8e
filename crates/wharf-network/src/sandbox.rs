//! The network namespaces of containers, and work inside them.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::NetworkError;

/// The namespace of a container that starts or runs.
#[derive(Clone, Debug)]
pub(crate) struct Sandbox {
    /// 64 hexadecimal digits, Docker's `SandboxID`.
    pub(crate) id: String,
    /// `None` on the network `host`.
    pub(crate) netns: Option<Arc<OwnedFd>>,
}

impl Sandbox {
    /// That of a running process.
    pub(crate) fn of_process(id: String, pid: u32) -> Result<Self, NetworkError> {
        let path = format!("/proc/{pid}/ns/net").into();
        match File::open(&path) {
            Ok(file) => Ok(Self {
                id,
                netns: Some(Arc::new(file.into())),
            }),
            Err(source) => Err(NetworkError::OpenNamespace { path, source }),
        }
    }
}

/// Moves the calling thread into a network namespace.
pub(crate) fn enter(netns: &OwnedFd) -> Result<(), NetworkError> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| NetworkError::Namespace(error.into()))
}

/// Runs `body` on a thread of its own inside a namespace. Sockets that it opens belong to that namespace.
pub(crate) fn inside<T: Send>(
    netns: &OwnedFd,
    body: impl FnOnce() -> Result<T, NetworkError> + Send,
) -> Result<T, NetworkError> {
    thread::scope(|scope| {
        let work = || {
            enter(netns)?;
            body()
        };
        let worker = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn_scoped(scope, work);
        let panicked = || NetworkError::Namespace(io::Error::other("the thread panicked"));
        worker
            .map_err(NetworkError::Namespace)?
            .join()
            .map_err(|_| panicked())?
    })
}
