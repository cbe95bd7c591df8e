//! Those who take log lines: small servers that keep what they get, and parsers of what that is.

use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

/// How long a line may take that must come.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Received {
    /// Datagrams, or what came over each connection.
    pieces: Vec<Vec<u8>>,
}

#[derive(Default)]
struct Shared {
    received: Mutex<Received>,
    changed: Condvar,
}

impl Shared {
    fn update(&self, update: impl FnOnce(&mut Received)) {
        update(&mut self.received.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// A server that keeps what it gets. Its threads live as long as the test.
pub struct Receiver {
    /// Where it listens, without a scheme.
    pub address: String,
    shared: Arc<Shared>,
}

/// Runs `make` in the network namespace of the process `pid`: sockets made there stay there.
pub(crate) fn inside<T: Send + 'static>(
    pid: u32,
    make: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let enter = move || -> std::io::Result<T> {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), kind)?;
        make()
    };
    let made = std::thread::spawn(enter).join();
    match made {
        Ok(made) => made.context("a receiver"),
        Err(_) => bail!("a receiver's thread panicked"),
    }
}

impl Receiver {
    fn keep(address: String, serve: impl FnOnce(&Shared) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let kept = shared.clone();
        std::thread::spawn(move || serve(&kept));
        Self { address, shared }
    }

    /// Datagrams to a port on the loopback of the process `pid`'s network.
    ///
    /// # Errors
    /// If that is not there.
    pub fn udp(pid: u32) -> Result<Self> {
        let socket = inside(pid, || UdpSocket::bind("127.0.0.1:0"))?;
        let address = socket.local_addr()?.to_string();
        Ok(Self::keep(address, move |shared| {
            let mut buffer = vec![0; 65536];
            while let Ok(length) = socket.recv(&mut buffer) {
                shared.update(|received| received.pieces.push(buffer[..length].to_vec()));
            }
        }))
    }

    /// Connections to a port on the loopback of the process `pid`'s network; `port` 0 is any. What `answer` makes of all
    /// that has come over one is sent back.
    ///
    /// # Errors
    /// If that is not there.
    pub fn tcp(pid: u32, port: u16, answer: fn(&[u8]) -> Vec<u8>) -> Result<Self> {
        let listener = inside(pid, move || TcpListener::bind(("127.0.0.1", port)))?;
        let address = listener.local_addr()?.to_string();
        Ok(Self::keep(address, move |shared| {
            for connection in listener.incoming().map_while(Result::ok) {
                pump(shared, connection, answer);
            }
        }))
    }

    /// Connections to the socket `path`.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn unix(path: &Path) -> Result<Self> {
        let listener = UnixListener::bind(path)?;
        let address = path.display().to_string();
        Ok(Self::keep(address, move |shared| {
            for connection in listener.incoming().map_while(Result::ok) {
                pump(shared, connection, |_| Vec::new());
            }
        }))
    }

    /// Datagrams to the socket `path`. The bytes of a file that comes instead are taken for its datagram.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn unixgram(path: &Path) -> Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        let address = path.display().to_string();
        Ok(Self::keep(address, move |shared| {
            while let Ok(piece) = datagram(&socket) {
                shared.update(|received| received.pieces.push(piece));
            }
        }))
    }

    /// Waits until what came suffices for `parse`; what it makes of it.
    ///
    /// # Errors
    /// If it does not come.
    pub fn wait<T>(&self, parse: impl Fn(&[Vec<u8>]) -> Option<T>) -> Result<T> {
        let received = &self.shared.received;
        let mut state = received.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(parsed) = parse(&state.pieces) {
                return Ok(parsed);
            }
            let waited = self.shared.changed.wait_timeout(state, PATIENCE);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                let pieces: Vec<_> = now.pieces.iter().map(text).collect();
                bail!("what came does not suffice: {pieces:#?}");
            }
            state = now;
        }
    }

    /// Waits for `count` lines, over whatever connections or datagrams.
    ///
    /// # Errors
    /// As [`Receiver::wait`].
    pub fn lines(&self, count: usize) -> Result<Vec<String>> {
        self.wait(|pieces| {
            let all = pieces.iter().flat_map(|piece| {
                let lines = piece.split_inclusive(|byte| *byte == b'\n');
                lines.filter(|line| line.ends_with(b"\n")).map(text)
            });
            let all: Vec<String> = all.map(|line| line.trim_end().to_owned()).collect();
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits for `count` events of Fluentd's forward protocol: `[tag, time, record, option]`.
    ///
    /// # Errors
    /// As [`Receiver::wait`].
    pub fn events(&self, count: usize) -> Result<Vec<Value>> {
        self.wait(|pieces| {
            let all: Vec<Value> = pieces
                .iter()
                .flat_map(|piece| message_pack(piece))
                .collect();
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits for `count` messages of Graylog's, over datagrams or a connection.
    ///
    /// # Errors
    /// As [`Receiver::wait`].
    pub fn graylog(&self, count: usize) -> Result<Vec<Value>> {
        self.wait(|pieces| {
            let all = graylog(pieces);
            (all.len() >= count).then_some(all)
        })
    }

    /// Waits for `count` entries of a journal.
    ///
    /// # Errors
    /// As [`Receiver::wait`].
    pub fn journal(&self, count: usize) -> Result<Vec<Map<String, Value>>> {
        self.wait(|pieces| {
            let all: Vec<_> = pieces.iter().map(|piece| journal(piece)).collect();
            (all.len() >= count).then_some(all)
        })
    }
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}

fn pump(
    shared: &Shared,
    mut connection: impl std::io::Read + std::io::Write,
    answer: fn(&[u8]) -> Vec<u8>,
) {
    let mut index = 0;
    shared.update(|received| {
        index = received.pieces.len();
        received.pieces.push(Vec::new());
    });
    let mut buffer = vec![0; 65536];
    let mut answered = 0;
    while let Ok(length @ 1..) = connection.read(&mut buffer) {
        let mut back = Vec::new();
        shared.update(|received| {
            received.pieces[index].extend_from_slice(&buffer[..length]);
            back = answer(&received.pieces[index]);
        });
        if connection.write_all(&back[answered..]).is_err() {
            return;
        }
        answered = back.len();
    }
}

fn datagram(socket: &UnixDatagram) -> std::io::Result<Vec<u8>> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{IoSliceMut, Seek as _};
    let mut buffer = vec![0; 1 << 20];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let into = &mut [IoSliceMut::new(&mut buffer)];
    let length = recvmsg(socket, into, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?.bytes;
    buffer.truncate(length);
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            for file in files {
                let mut file = std::fs::File::from(file);
                file.rewind()?;
                file.read_to_end(&mut buffer)?;
            }
        }
    }
    Ok(buffer)
}

/// A Fluentd's confirmations of the events in `bytes`.
pub fn acknowledge(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in message_pack(bytes) {
        if let Some(chunk) = event[3]["chunk"].as_str() {
            out.extend(b"\x81\xa3ack");
            match u8::try_from(chunk.len()) {
                Ok(length @ ..32) => out.push(0xa0 | length),
                _ => out.extend([0xd9, chunk.len() as u8]),
            }
            out.extend(chunk.as_bytes());
        }
    }
    out
}

/// The whole values at the start of `bytes`.
pub fn message_pack(bytes: &[u8]) -> Vec<Value> {
    let mut rest = bytes;
    let mut values = Vec::new();
    while let Some(value) = unpack(&mut rest) {
        values.push(value);
    }
    values
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8], length: usize) -> Option<u64> {
    let bytes = take(rest, length)?;
    Some(
        bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
    )
}

fn unpack(rest: &mut &[u8]) -> Option<Value> {
    let string = |rest: &mut &[u8], length: u64| Some(json!(text(take(rest, length as usize)?)));
    let list = |rest: &mut &[u8], length: u64| {
        let items: Option<Vec<_>> = (0..length).map(|_| unpack(rest)).collect();
        items.map(Value::Array)
    };
    let map = |rest: &mut &[u8], length: u64| {
        let mut fields = Map::new();
        for _ in 0..length {
            let key = unpack(rest)?;
            fields.insert(key.as_str()?.to_owned(), unpack(rest)?);
        }
        Some(Value::Object(fields))
    };
    match *take(rest, 1)?.first()? {
        byte @ ..0x80 => Some(json!(byte)),
        byte @ 0x80..0x90 => map(rest, u64::from(byte & 0xf)),
        byte @ 0x90..0xa0 => list(rest, u64::from(byte & 0xf)),
        byte @ 0xa0..0xc0 => string(rest, u64::from(byte & 0x1f)),
        0xc0 => Some(Value::Null),
        0xc2 => Some(json!(false)),
        0xc3 => Some(json!(true)),
        0xc4 | 0xd9 => {
            let length = number(rest, 1)?;
            string(rest, length)
        }
        0xc5 | 0xda => {
            let length = number(rest, 2)?;
            string(rest, length)
        }
        0xc6 | 0xdb => {
            let length = number(rest, 4)?;
            string(rest, length)
        }
        0xcc => number(rest, 1).map(Value::from),
        0xcd => number(rest, 2).map(Value::from),
        0xce => number(rest, 4).map(Value::from),
        0xcf => number(rest, 8).map(Value::from),
        0xd1 => number(rest, 2).map(|value| json!(value as i16)),
        0xd2 => number(rest, 4).map(|value| json!(value as i32)),
        0xd3 => number(rest, 8).map(|value| json!(value as i64)),
        // Fluentd's time.
        0xd7 => {
            let kind = number(rest, 1)?;
            let (seconds, nanos) = (number(rest, 4)?, number(rest, 4)?);
            Some(json!({"ext": kind, "seconds": seconds, "nanos": nanos}))
        }
        0xde => {
            let length = number(rest, 2)?;
            map(rest, length)
        }
        0xdc => {
            let length = number(rest, 2)?;
            list(rest, length)
        }
        _ => None,
    }
}

/// Id of a message in pieces, how many there are, those that came with their numbers.
type Parts<'a> = (&'a [u8], usize, Vec<(u8, &'a [u8])>);

fn graylog(pieces: &[Vec<u8>]) -> Vec<Value> {
    use flate2::read::{GzDecoder, ZlibDecoder};
    let mut whole: Vec<Vec<u8>> = Vec::new();
    let mut parts: Vec<Parts<'_>> = Vec::new();
    for piece in pieces {
        let [0x1e, 0x0f, rest @ ..] = piece.as_slice() else {
            // Compressed, zeros are its own; over a connection they end a message.
            match piece.first() {
                Some(b'{') => whole.extend(piece.split(|byte| *byte == 0).map(<[u8]>::to_vec)),
                _ => whole.push(piece.clone()),
            }
            continue;
        };
        let Some((id, [number, count, data @ ..])) = rest.split_at_checked(8) else {
            continue;
        };
        match parts.iter_mut().find(|(other, ..)| *other == id) {
            Some((_, _, pieces)) => pieces.push((*number, data)),
            None => parts.push((id, usize::from(*count), vec![(*number, data)])),
        }
    }
    for (_, count, mut pieces) in parts {
        pieces.sort();
        if pieces.len() == count {
            whole.push(pieces.iter().flat_map(|(_, data)| data.to_vec()).collect());
        }
    }
    let messages = whole.iter().filter_map(|bytes| {
        let mut plain = Vec::new();
        match bytes.as_slice() {
            [0x1f, 0x8b, ..] => drop(GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)),
            [0x78, ..] => drop(ZlibDecoder::new(bytes.as_slice()).read_to_end(&mut plain)),
            other => plain = other.to_vec(),
        }
        serde_json::from_slice(&plain).ok()
    });
    messages.collect()
}

fn journal(entry: &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'=' | b'\n')) {
        let name = text(&rest[..end]);
        let length = rest[end] == b'\n';
        rest = &rest[end + 1..];
        let value = if length {
            let Some((size, after)) = rest.split_first_chunk::<8>() else {
                break;
            };
            let size = u64::from_le_bytes(*size) as usize;
            let value = text(after.get(..size).unwrap_or_default());
            rest = after.get(size + 1..).unwrap_or_default();
            value
        } else {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let end = end.unwrap_or(rest.len());
            let value = text(&rest[..end]);
            rest = rest.get(end + 1..).unwrap_or_default();
            value
        };
        fields.insert(name, json!(value));
    }
    fields
}
