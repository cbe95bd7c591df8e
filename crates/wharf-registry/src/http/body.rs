//! Bodies: of answers, with blobs read piece by piece; of requests, with an end to patience.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::sendfile::{self, Parts};
use crate::Error;

/// Bytes of a blob that are read at a time.
const PIECE: usize = 256 * 1024;
/// Bytes between two looks at what the kernel has in memory: no more than it reads ahead.
const LOOK: usize = 128 * 1024;
/// Buffers that are kept for the next blob.
const SPARE: usize = 16;
/// A client that sends nothing for so long is gone.
const STALL: Duration = Duration::from_secs(60);
/// What a refused client may still send, and how long.
const DRAIN: usize = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// The body of an answer.
pub(crate) struct Body(Kind);

enum Kind {
    Bytes(Bytes),
    File(FileBody),
    /// Pieces that another task makes; an error breaks the connection off.
    Pieces(mpsc::Receiver<Result<Bytes, io::Error>>),
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body(Kind::Bytes(Bytes::new()))
    }

    /// `length` bytes of a file from `start` on; by way of `parts` if the connection can send them by itself.
    pub(super) fn file(file: File, start: u64, length: u64, parts: Option<Parts>) -> Body {
        Body(Kind::File(FileBody {
            file: Arc::new(file),
            at: start,
            left: length,
            reading: None,
            parts,
        }))
    }

    pub(crate) fn pieces(receiver: mpsc::Receiver<Result<Bytes, io::Error>>) -> Body {
        Body(Kind::Pieces(receiver))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body(Kind::Bytes(bytes))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match &mut self.0 {
            Kind::Bytes(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Bytes(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::File(file) => file
                .poll(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
            Kind::Pieces(receiver) => receiver
                .poll_recv(context)
                .map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Bytes(bytes) => bytes.is_empty(),
            Kind::File(file) => file.left == 0,
            Kind::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::File(file) => SizeHint::with_exact(file.left),
            Kind::Pieces(_) => SizeHint::default(),
        }
    }
}

/// A part of a file. What the kernel has in memory goes out at once; for the rest, a thread waits for the disk.
struct FileBody {
    file: Arc<File>,
    at: u64,
    left: u64,
    /// The thread, and what it read; with `parts`, it read for the kernel's memory alone.
    reading: Option<JoinHandle<io::Result<Bytes>>>,
    parts: Option<Parts>,
}

impl FileBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match self.parts.clone() {
            Some(parts) => ready!(self.part(&parts, context)),
            None => ready!(self.piece(context)),
        };
        let piece = piece.and_then(|piece| match piece.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(piece),
        });
        match &piece {
            Ok(piece) => {
                self.at += piece.len() as u64;
                self.left -= piece.len() as u64;
            }
            // The connection breaks off, and the client sees that something is missing.
            Err(error) => tracing::error!(%error, "read a blob"),
        }
        Poll::Ready(Some(piece))
    }

    /// What stands for the next bytes, when they are in the kernel's memory: `sendfile` would wait for the disk.
    fn part(&mut self, parts: &Parts, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = self.left.min(sendfile::PART as u64) as usize;
        if self.reading.is_none() && !is_in_memory(&self.file, self.at, length) {
            let (file, at) = (self.file.clone(), self.at);
            let reading = tokio::task::spawn_blocking(move || fetch(&file, at, length));
            self.reading = Some(reading);
        }
        if self.reading.is_some() {
            ready!(self.settle(context))?;
        }
        Poll::Ready(Ok(parts.push(self.file.clone(), self.at, length)))
    }

    /// The next bytes.
    fn piece(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        if self.reading.is_none() {
            match read(&self.file, self.at, self.left, ReadWriteFlags::NOWAIT) {
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported
                    ) => {}
                done => return Poll::Ready(done),
            }
            let (file, at, left) = (self.file.clone(), self.at, self.left);
            let reading =
                tokio::task::spawn_blocking(move || read(&file, at, left, ReadWriteFlags::empty()));
            self.reading = Some(reading);
        }
        self.settle(context)
    }

    /// Waits for the thread.
    fn settle(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(Bytes::new()));
        };
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        Poll::Ready(read.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

/// Whether these bytes can be sent without the disk, as far as a look here and there can tell.
fn is_in_memory(file: &File, at: u64, length: usize) -> bool {
    let looks = (0..length).step_by(LOOK).chain([length.saturating_sub(1)]);
    looks.map(|offset| at + offset as u64).all(|at| {
        let mut byte = [0];
        let piece = &mut [io::IoSliceMut::new(&mut byte)];
        !matches!(
            rustix::io::preadv2(file, piece, at, ReadWriteFlags::NOWAIT),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP)
        )
    })
}

/// Has the kernel fetch these bytes from the disk.
fn fetch(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let end = at + length as u64;
    let mut at = at;
    while at < end {
        match read(file, at, end - at, ReadWriteFlags::empty())?.len() {
            0 => break,
            count => at += count as u64,
        }
    }
    Ok(Bytes::new())
}

fn read(file: &File, at: u64, left: u64, flags: ReadWriteFlags) -> io::Result<Bytes> {
    let mut buffer = Buffer::take();
    let want = left.min(PIECE as u64) as usize;
    loop {
        let piece = &mut [io::IoSliceMut::new(&mut buffer.memory[..want])];
        match rustix::io::preadv2(file, piece, at, flags) {
            Ok(count) => {
                buffer.length = count;
                return Ok(Bytes::from_owner(buffer));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => return Err(io::ErrorKind::Unsupported.into()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Memory for a piece; given back for the next one when the socket has it.
struct Buffer {
    memory: Vec<u8>,
    length: usize,
}

static BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

impl Buffer {
    fn take() -> Buffer {
        let spare = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer {
            memory: spare.unwrap_or_else(|| vec![0; PIECE]),
            length: 0,
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = BUFFERS.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.memory));
        }
    }
}

/// The body of a request.
pub(super) struct RequestBody {
    incoming: Incoming,
    /// The client waits for a word before it sends (`Expect: 100-continue`); the first look at the body is that word.
    waits: bool,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, headers: &http::HeaderMap) -> RequestBody {
        RequestBody {
            incoming,
            waits: headers.contains_key(http::header::EXPECT),
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Body`] if it breaks off or does not come.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.waits = false;
        loop {
            let frame = tokio::time::timeout(STALL, self.incoming.frame()).await;
            match frame.map_err(|_| Error::Body("nothing came for a minute".to_owned()))? {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    // Trailers say nothing to us.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Some(Err(error)) => return Err(Error::Body(error.to_string())),
            }
        }
    }

    /// The whole of a small body.
    ///
    /// # Errors
    /// `too_large` above `limit` bytes; [`Error::Body`].
    pub(super) async fn whole(
        &mut self,
        limit: u64,
        too_large: fn(u64) -> Error,
    ) -> Result<Vec<u8>, Error> {
        let announced = hyper::body::Body::size_hint(&self.incoming).lower();
        if announced > limit {
            return Err(too_large(limit));
        }
        let mut bytes = Vec::with_capacity(announced as usize);
        while let Some(piece) = self.next().await? {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_large(limit));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    /// Reads what is left of a refused request, within bounds, so that its sender comes to read why.
    pub(super) async fn drain(&mut self) {
        if self.waits {
            return;
        }
        let read = async {
            let mut left = DRAIN;
            while let Some(Ok(frame)) = self.incoming.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                left = match left.checked_sub(length) {
                    Some(left) => left,
                    None => return,
                };
            }
        };
        let _ = tokio::time::timeout(DRAIN_TIME, read).await;
    }
}
