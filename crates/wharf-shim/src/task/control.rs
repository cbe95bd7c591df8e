//! Connections of daemons.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use wharf_shim_api::{MAX_FILE, MAX_PACKET, Message, Request, SOCKET};
use wharf_sys::{memfd, socket};

/// One daemon; there is another only while a new one takes over.
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) dead: bool,
    /// Whether it knows where all execs stand: it was there from the beginning, or has asked. What is told of them before would
    /// have no beginning for one who was connected before.
    pub(crate) knows_execs: bool,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self {
            socket,
            dead: false,
            knows_execs: false,
        })
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The next request, with its descriptors, or why it cannot be understood; `None` if there is none now.
    pub(crate) fn receive(&mut self) -> Option<Result<(Request, Vec<OwnedFd>), String>> {
        let peek = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::TRUNC;
        let mut nothing = [0u8; 1];
        let length = match rustix::net::recv(&self.socket, &mut nothing, peek) {
            Ok((_, length @ 1..)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Ok(_) | Err(_) => {
                self.dead = true;
                return None;
            }
        };
        // Of a longer one the rest is thrown away.
        let mut bytes = vec![0; length.min(MAX_PACKET)];
        match socket::receive(&self.socket, &mut bytes) {
            Ok((length, fds)) => Some(understand(&bytes[..length], fds)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Some(Err(format!("it is longer than {MAX_PACKET} bytes")))
            }
            Err(_) => {
                self.dead = true;
                None
            }
        }
    }

    /// Whether it is on its way; else this connection has come to its end.
    pub(crate) fn send(&mut self, message: &Message) -> bool {
        if self.dead {
            return false;
        }
        let Ok(text) = serde_json::to_vec(message) else {
            return false;
        };
        let sent = match text.len() > MAX_PACKET {
            true => send_long(self.socket.as_fd(), &text),
            false => socket::send(self.socket.as_fd(), &text, &[]),
        };
        if sent.is_err() {
            // Gone, or so stuck that it has not read for hundreds of messages: it finds all out when it
            // connects again.
            self.dead = true;
        }
        !self.dead
    }
}

fn send_long(socket: BorrowedFd<'_>, text: &[u8]) -> io::Result<()> {
    let file = memfd::holding("wharf-shim", text)?;
    let text = serde_json::to_vec(&Message::Long)?;
    socket::send(socket, &text, &[file.as_fd()])
}

/// A request from its packet, and from its file if it is longer than one.
fn understand(packet: &[u8], mut fds: Vec<OwnedFd>) -> Result<(Request, Vec<OwnedFd>), String> {
    let parse = |text: &[u8]| serde_json::from_slice(text).map_err(|error| error.to_string());
    match parse(packet)? {
        Request::Long if fds.is_empty() => Err("a descriptor is missing".to_owned()),
        Request::Long => {
            let text = memfd::read(fds.remove(0), MAX_FILE).map_err(|error| error.to_string())?;
            Ok((parse(&text)?, fds))
        }
        request => Ok((request, fds)),
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
    use wharf_shim_api::Reply;

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

    #[test]
    fn a_long_list_of_processes_goes_out_in_a_file() {
        let (near, far) = socket::pair().expect("pair");
        let pids: Vec<i32> = (1_000_000..1_030_000).collect();
        let mut connection = Connection::new(near).expect("connect");
        connection.send(&Message::Reply(Reply::Pids(pids.clone())));
        assert!(!connection.dead);
        let mut packet = [0; 64];
        let (length, mut fds) = socket::receive(&far, &mut packet).expect("receive");
        assert_eq!(&packet[..length], br#""long""#);
        let text = memfd::read(fds.remove(0), MAX_FILE).expect("read");
        let message = serde_json::from_slice(&text).expect("parse");
        assert!(matches!(message, Message::Reply(Reply::Pids(told)) if told == pids));
    }

    /// Who closed the connection instead would have the daemon think that the container has gone.
    #[test]
    fn what_cannot_be_understood_is_answered() {
        let (near, far) = socket::pair().expect("pair");
        let mut connection = Connection::new(near).expect("connect");
        for packet in [br#"{"of":"tomorrow"}"#.to_vec(), vec![b' '; MAX_PACKET + 1]] {
            socket::send(far.as_fd(), &packet, &[]).expect("send");
            assert!(matches!(connection.receive(), Some(Err(_))));
        }
        let file =
            memfd::holding("request", br#"{"kill":{"exec":null,"signal":9}}"#).expect("make");
        socket::send(far.as_fd(), br#""long""#, &[file.as_fd(), far.as_fd()]).expect("send");
        let received = connection
            .receive()
            .and_then(Result::ok)
            .expect("a request");
        assert!(matches!(received, (Request::Kill { signal: 9, .. }, fds) if fds.len() == 1));
        assert!(connection.receive().is_none() && !connection.dead);
        drop(far);
        assert!(connection.receive().is_none() && connection.dead);
    }
}
