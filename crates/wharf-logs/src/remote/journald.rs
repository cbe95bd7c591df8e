//! `journald`: entries in the journal's native protocol, one a datagram.

use std::io::{IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{line, lost};
use crate::{LogError, Message, Stream};

pub(super) struct Journald {
    socket: UnixDatagram,
    /// The fields of every entry, encoded.
    fields: Vec<u8>,
    entry: Vec<u8>,
}

impl Journald {
    pub(super) fn connect(config: &wharf_shim_api::Journald) -> Result<Self, LogError> {
        let connect = || -> std::io::Result<UnixDatagram> {
            let socket = UnixDatagram::unbound()?;
            socket.connect(&config.socket)?;
            Ok(socket)
        };
        let socket = connect().map_err(|_| {
            LogError::Unavailable("journald is not enabled on this host".to_owned())
        })?;
        let mut fields = Vec::new();
        for (name, value) in &config.fields {
            field(&mut fields, name, value.as_bytes());
        }
        Ok(Self {
            socket,
            fields,
            entry: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, message: &Message<'_>, stream: Stream) -> Result<(), LogError> {
        let entry = &mut self.entry;
        entry.clear();
        let priority: &[u8] = match stream {
            Stream::Stdout => b"6",
            Stream::Stderr => b"3",
        };
        field(entry, "PRIORITY", priority);
        field(entry, "MESSAGE", line(message));
        field(
            entry,
            "SYSLOG_TIMESTAMP",
            message.time.to_string().as_bytes(),
        );
        if let Some(part) = message.part {
            field(entry, "CONTAINER_PARTIAL_ID", part.id().as_bytes());
            let ordinal = part.ordinal.to_string();
            field(entry, "CONTAINER_PARTIAL_ORDINAL", ordinal.as_bytes());
            let last = part.last.to_string();
            field(entry, "CONTAINER_PARTIAL_LAST", last.as_bytes());
            if !part.last {
                field(entry, "CONTAINER_PARTIAL_MESSAGE", b"true");
            }
        }
        entry.extend_from_slice(&self.fields);
        let sent = match self.socket.send(entry) {
            Err(error) if is_too_long(&error) => self.send_in_memory(),
            other => other.map(drop),
        };
        sent.map_err(|error| lost("journald", &error))
    }

    /// What is too long for a datagram goes as a sealed memory file.
    fn send_in_memory(&self) -> std::io::Result<()> {
        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = std::fs::File::from(memfd_create("journal-entry", flags)?);
        file.write_all(&self.entry)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, seals)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let files = [file.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        let nothing = [IoSlice::new(&[])];
        sendmsg(&self.socket, &nothing, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

fn is_too_long(error: &std::io::Error) -> bool {
    use rustix::io::Errno;
    let code = error.raw_os_error();
    [Errno::MSGSIZE, Errno::NOBUFS]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

/// `NAME=VALUE`, or with its length in front, if there is a newline in it.
fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}
