//! Datagrams with descriptors over a `SOCK_SEQPACKET` Unix socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Most descriptors that one message carries.
pub const MAX_FDS: usize = 8;

/// A connected pair of sequenced-packet sockets.
///
/// # Errors
/// The kernel's.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// A connected pair of stream sockets.
///
/// # Errors
/// The kernel's.
pub fn stream_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// How many bytes of `socket` (a Unix stream) its peer has not read yet, with what the kernel needs to keep them; of TCP, how many
/// are not acknowledged.
///
/// # Errors
/// The kernel's.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: SIOCOUTQ (unix(7), tcp(7)) writes one int, and nothing else.
    let count = unsafe {
        let getter = rustix::ioctl::Getter::<SIOCOUTQ, std::ffi::c_int>::new();
        rustix::ioctl::ioctl(socket, getter)
    };
    Ok(u32::try_from(count?).unwrap_or(0))
}

/// Sends `bytes` with `fds` as one packet.
///
/// # Errors
/// The kernel's: `EPIPE` if the peer is gone, `EAGAIN` on a full non-blocking socket.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    loop {
        match sendmsg(
            socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map(drop).map_err(Into::into),
        }
    }
}

/// Receives one packet into `buffer`: its length (0: the peer has closed) and its descriptors.
///
/// # Errors
/// The kernel's; `InvalidData` if the packet is longer than `buffer`.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match recvmsg(&socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = part {
            fds.extend(received);
        }
    }
    if message.flags.contains(rustix::net::ReturnFlags::TRUNC) {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok((message.bytes, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_keep_their_borders_and_descriptors() {
        let (left, right) = pair().expect("pair");
        let (reader, _writer) = std::io::pipe().expect("pipe");
        send(left.as_fd(), b"one", &[reader.as_fd()]).expect("send");
        send(left.as_fd(), b"two", &[]).expect("send");
        let mut buffer = [0; 16];
        let (length, fds) = receive(&right, &mut buffer).expect("receive");
        assert_eq!((&buffer[..length], fds.len()), (&b"one"[..], 1));
        let (length, fds) = receive(&right, &mut buffer).expect("receive");
        assert_eq!((&buffer[..length], fds.len()), (&b"two"[..], 0));
        drop(left);
        assert_eq!(receive(&right, &mut buffer).expect("receive").0, 0);
    }
}
