//! A netlink socket: batches out, one answer in.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use crate::NetlinkError;
use crate::message::{self, HEADER, Received, Request};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
const FLAG_DUMP: u16 = 0x300;
/// The answer carries an extended acknowledgement.
const FLAG_ACK_TLVS: u16 = 0x200;
const ATTRIBUTE_MESSAGE: u16 = 1;
/// The kernel fills one page per read at most, but for dumps up to 32 KiB.
const BUFFER: usize = 32 * 1024;

/// A socket of one netlink family in the network namespace of the thread that opened it.
pub(crate) struct Channel {
    socket: Socket,
    /// The kernel's name of this socket: it stands in what is told of changes that were made by way of it.
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn open(family: isize) -> Result<Self, NetlinkError> {
        let open = || -> io::Result<(Socket, u32)> {
            let mut socket = Socket::new(family)?;
            let port = socket.bind_auto()?.port_number();
            socket.connect(&SocketAddr::new(0, 0))?;
            // Answers name the failed request, without repeating it, and say in words what was wrong.
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            Ok((socket, port))
        };
        let (socket, port) = open().map_err(socket_error("open a socket"))?;
        Ok(Self {
            socket,
            port,
            sequence: 1,
            buffer: Vec::new(),
        })
    }

    /// A socket that hears of changes, of these groups of the family.
    pub(crate) fn listen(family: isize, groups: &[u32]) -> Result<Self, NetlinkError> {
        let channel = Self::open(family)?;
        for group in groups {
            let joined = channel.socket.add_membership(*group);
            joined.map_err(socket_error("listen for changes"))?;
        }
        Ok(channel)
    }

    /// The kernel's name of this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Waits for news, and hands each to `each`. `false` if some were lost because there were too many.
    pub(crate) fn hear(
        &mut self,
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<bool, NetlinkError> {
        let buffer = match self.read() {
            Ok(buffer) => buffer,
            Err(NetlinkError::Socket { source, .. })
                if source.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        message::messages(&buffer)?.iter().for_each(&mut each);
        self.buffer = buffer;
        Ok(true)
    }

    /// Forgets what is waiting to be heard.
    pub(crate) fn skip(&mut self) -> Result<(), NetlinkError> {
        let mut buffer = Vec::with_capacity(BUFFER);
        loop {
            buffer.clear();
            match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Too many: some were forgotten for us.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(socket_error("receive")(error)),
            }
        }
    }

    /// Sends all requests in one write. The kernel handles them in order and acknowledges the last; errors come
    /// for each, and the first one is returned.
    pub(crate) fn transact(&mut self, requests: &[Request]) -> Result<(), NetlinkError> {
        if requests.is_empty() {
            return Ok(());
        }
        let first = self.sequence;
        let mut bytes = Vec::with_capacity(requests.iter().map(|r| r.buffer.len()).sum());
        for (index, request) in requests.iter().enumerate() {
            let acknowledge = if index + 1 == requests.len() {
                FLAG_ACK
            } else {
                0
            };
            request.seal(&mut bytes, first + index as u32, FLAG_REQUEST | acknowledge);
        }
        self.write(&bytes, requests.len())?;
        self.answer(first, requests, first + requests.len() as u32 - 1)
    }

    /// Sends an nftables transaction: `requests` between begin and end. It is done as a whole or not at all.
    pub(crate) fn transaction(
        &mut self,
        begin: &Request,
        requests: &[Request],
        end: &Request,
    ) -> Result<(), NetlinkError> {
        if requests.is_empty() {
            return Ok(());
        }
        let first = self.sequence;
        let mut bytes =
            Vec::with_capacity(64 + requests.iter().map(|r| r.buffer.len()).sum::<usize>());
        begin.seal(&mut bytes, first, FLAG_REQUEST);
        for (index, request) in requests.iter().enumerate() {
            let acknowledge = if index + 1 == requests.len() {
                FLAG_ACK
            } else {
                0
            };
            request.seal(
                &mut bytes,
                first + 1 + index as u32,
                FLAG_REQUEST | acknowledge,
            );
        }
        let last = first + requests.len() as u32;
        end.seal(&mut bytes, last + 1, FLAG_REQUEST);
        // A large ruleset is larger than the usual send buffer.
        if bytes.len() > 128 * 1024 {
            let size = bytes.len() * 2;
            rustix::net::sockopt::set_socket_send_buffer_size_force(&self.socket, size)
                .map_err(|errno| socket_error("enlarge the send buffer")(errno.into()))?;
        }
        self.write(&bytes, requests.len() + 2)?;
        let mut named = Vec::with_capacity(requests.len() + 1);
        named.push(begin.clone());
        named.extend_from_slice(requests);
        self.answer(first, &named, last)
    }

    /// Asks for all objects that `request` describes, and hands each to `each`.
    pub(crate) fn dump(
        &mut self,
        request: &Request,
        mut each: impl FnMut(&Received<'_>) -> Result<(), NetlinkError>,
    ) -> Result<(), NetlinkError> {
        let sequence = self.sequence;
        let mut bytes = Vec::new();
        request.seal(&mut bytes, sequence, FLAG_REQUEST | FLAG_DUMP);
        self.write(&bytes, 1)?;
        loop {
            let buffer = self.read()?;
            for received in message::messages(&buffer)? {
                if received.sequence != sequence {
                    continue;
                }
                match received.kind {
                    DONE => {
                        self.buffer = buffer;
                        return Ok(());
                    }
                    ERROR => check(&received, request)?,
                    _ => each(&received)?,
                }
            }
            self.buffer = buffer;
        }
    }

    /// Asks for one object; `None` if the kernel answers with an error in `absent`.
    pub(crate) fn get<T>(
        &mut self,
        request: &Request,
        read: impl Fn(&Received<'_>) -> Result<T, NetlinkError>,
    ) -> Result<Option<T>, NetlinkError> {
        let sequence = self.sequence;
        let mut bytes = Vec::new();
        request.seal(&mut bytes, sequence, FLAG_REQUEST);
        self.write(&bytes, 1)?;
        loop {
            let buffer = self.read()?;
            for received in message::messages(&buffer)? {
                if received.sequence != sequence {
                    continue;
                }
                if received.kind != ERROR {
                    return read(&received).map(Some);
                }
                return match check(&received, request) {
                    Err(error) if error.is(rustix::io::Errno::NODEV) => Ok(None),
                    Err(error) => Err(error),
                    Ok(()) => Ok(None),
                };
            }
        }
    }

    fn answer(&mut self, first: u32, requests: &[Request], last: u32) -> Result<(), NetlinkError> {
        let mut outcome = Ok(());
        loop {
            let buffer = self.read()?;
            for received in message::messages(&buffer)? {
                // Answers to an earlier transaction that ended early are none of ours.
                if received.kind != ERROR || received.sequence < first {
                    continue;
                }
                let index = (received.sequence - first) as usize;
                let Some(request) = requests.get(index) else {
                    continue;
                };
                if let Err(error) = check(&received, request) {
                    // A refused beginning (or commit) of a transaction is the only answer that comes.
                    let whole = index == 0 && received.sequence != last;
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                    if whole && request.is_begin() {
                        return outcome;
                    }
                }
                if received.sequence == last {
                    self.buffer = buffer;
                    return outcome;
                }
            }
            self.buffer = buffer;
        }
    }

    fn write(&mut self, bytes: &[u8], sequences: usize) -> Result<(), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(sequences as u32).max(1);
        let sent = self.socket.send(bytes, 0).map_err(socket_error("send"))?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(NetlinkError::Malformed)
        }
    }

    fn read(&mut self) -> Result<Vec<u8>, NetlinkError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(BUFFER);
        loop {
            match self.socket.recv(&mut buffer, 0) {
                Ok(0) => return Err(NetlinkError::Malformed),
                Ok(_) => return Ok(buffer),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(socket_error("receive")(error)),
            }
        }
    }
}

/// The outcome in an error message (0 is an acknowledgement).
fn check(received: &Received<'_>, request: &Request) -> Result<(), NetlinkError> {
    let code = message::u32_at(received.payload, 0)? as i32;
    if code == 0 {
        return Ok(());
    }
    let explained = received.flags & FLAG_ACK_TLVS != 0;
    let rest = received
        .payload
        .get(4 + HEADER..)
        .filter(|_| explained)
        .unwrap_or_default();
    let message = message::attributes(rest)
        .find(|(kind, _)| *kind == ATTRIBUTE_MESSAGE)
        .map(|(_, text)| message::text_of(text));
    Err(NetlinkError::Refused {
        operation: request.operation.clone(),
        message: message.unwrap_or_default(),
        source: io::Error::from_raw_os_error(-code),
    })
}

fn socket_error(operation: &'static str) -> impl Fn(io::Error) -> NetlinkError {
    move |source| NetlinkError::Socket { operation, source }
}
