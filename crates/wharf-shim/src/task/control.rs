//! Connections of daemons.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use wharf_shim_api::{MAX_PACKET, Message, Request, SOCKET};
use wharf_sys::socket;

/// One daemon; there is another only while a new one takes over.
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) dead: bool,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            dead: false,
        })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next request, with its descriptors; `None` if there is none now.
    pub(crate) fn receive(&mut self) -> Option<(Request, Vec<OwnedFd>)> {
        let peek = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::TRUNC;
        let mut nothing = [0u8; 1];
        let length = match rustix::net::recv(&self.socket, &mut nothing, peek) {
            Ok((_, length @ 1..=MAX_PACKET)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Ok(_) | Err(_) => {
                self.dead = true;
                return None;
            }
        };
        let mut bytes = vec![0; length];
        let received = socket::receive(&self.socket, &mut bytes);
        let request = received
            .map_err(|error| error.to_string())
            .and_then(|(length, fds)| {
                let request = serde_json::from_slice(&bytes[..length]);
                request
                    .map(|request| (request, fds))
                    .map_err(|error| error.to_string())
            });
        match request {
            Ok(request) => Some(request),
            Err(error) => {
                // The order of replies is lost with it.
                eprintln!("wharf-shim: a request: {error}");
                self.dead = true;
                None
            }
        }
    }

    pub(crate) fn send(&mut self, message: &Message) {
        let Ok(text) = serde_json::to_vec(message) else {
            return;
        };
        if socket::send(self.socket.as_fd(), &text, &[]).is_err() {
            // Gone, or so stuck that it has not read for hundreds of messages: it finds all out when it
            // connects again.
            self.dead = true;
        }
    }
}

/// Listens in the task's folder. By its descriptor: it may be renamed already, and a socket's address has room for 107
/// bytes only.
pub(crate) fn listen_in(folder: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(path.as_str())?)?;
    listen(&listener, 16)?;
    Ok(listener)
}

/// The next daemon that has come, if one has. The folder is closed to all but root, and the caller is asked
/// nevertheless (CVE-2020-15257).
pub(crate) fn accept(listener: &OwnedFd) -> Option<Connection> {
    let socket = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()?;
    let peer = rustix::net::sockopt::socket_peercred(&socket).ok()?;
    let own = rustix::process::geteuid();
    (peer.uid == own || peer.uid.is_root())
        .then(|| Connection::new(socket).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rustix::fs::{Mode, OFlags};
    use rustix::net::connect;
    use rustix::process::Uid;

    use super::*;

    /// CVE-2020-15257: whoever gets through to the socket is asked who he is.
    #[test]
    fn another_user_is_no_daemon() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), open.clone()).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(folder.path(), flags, Mode::empty()).unwrap();
        let listener = listen_in(fd.as_fd()).unwrap();
        let path = folder.path().join(SOCKET);
        std::fs::set_permissions(&path, open).unwrap();
        let come = |uid: Option<u32>| {
            let path = path.clone();
            // The ids are the thread's.
            let thread = std::thread::spawn(move || {
                if let Some(uid) = uid.map(Uid::from_raw) {
                    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
                }
                let kind = SocketType::SEQPACKET;
                let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
                let socket = socket.unwrap();
                connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
                socket
            });
            let client = thread.join().unwrap();
            let accepted = accept(&listener);
            drop(client);
            accepted
        };
        assert!(come(Some(65_534)).is_none());
        assert!(come(None).is_some());
    }
}
