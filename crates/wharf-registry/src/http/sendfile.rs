//! Files to a plain TCP connection without a copy through this process.
//!
//! hyper writes the bytes that a body hands it, and knows no "these bytes of that file". So a body hands it a *stand-in*: as
//! many bytes, at an address that nothing else has. [`Stream`], below hyper, knows the address, and sends the file's bytes in their
//! place (`sendfile(2)`). hyper is told to write from where the bytes lie (`writev`), and an HTTP/1 connection writes frames in the
//! order in which they were made, which is the order of [`Parts`]. Behind TLS, and in HTTP/2, there are no parts, and bodies
//! read.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The longest part, in bytes.
pub(super) const PART: usize = 4 << 20;

/// What stand-ins are made of. Nobody writes to it and nobody reads it, so the kernel never gives it memory.
static STAND_IN: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; PART]);

/// Whether these bytes stand for a file's.
fn is_stand_in(bytes: &[u8]) -> bool {
    STAND_IN.as_ptr_range().contains(&bytes.as_ptr())
}

/// Parts of files that a connection is to send, in order.
#[derive(Clone, Default)]
pub(crate) struct Parts(Arc<Mutex<VecDeque<Part>>>);

struct Part {
    file: Arc<File>,
    at: u64,
    left: usize,
}

impl Parts {
    fn queue(&self) -> MutexGuard<'_, VecDeque<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame that stands for `length` bytes of a file, at most [`PART`]. It must be the connection's next one.
    pub(super) fn push(&self, file: Arc<File>, at: u64, length: usize) -> Bytes {
        let left = length.min(PART);
        self.queue().push_back(Part { file, at, left });
        Bytes::from_static(&STAND_IN[..left])
    }

    /// Sends what the socket takes of the next part, `length` bytes at most.
    fn send(&self, socket: &TcpStream, length: usize) -> io::Result<usize> {
        let mut queue = self.queue();
        let part = queue
            .front_mut()
            .ok_or_else(|| io::Error::other("nothing stands behind a stand-in"))?;
        let wanted = length.min(part.left);
        let sent = rustix::fs::sendfile(socket, &part.file, Some(&mut part.at), wanted)?;
        // The file is shorter than it was: the connection breaks off, and the client sees that something is missing.
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        part.left -= sent;
        if part.left == 0 {
            queue.pop_front();
        }
        Ok(sent)
    }
}

/// A connection, and what it sends out of files.
pub(super) struct Stream {
    socket: TcpStream,
    parts: Parts,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, parts: Parts) -> Stream {
        Stream { socket, parts }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let filled = pieces.iter().position(|piece| !piece.is_empty());
        let pieces = &pieces[filled.unwrap_or(0)..];
        let before = pieces
            .iter()
            .take_while(|piece| !is_stand_in(piece))
            .count();
        if before > 0 || pieces.is_empty() {
            return Pin::new(&mut self.socket).poll_write_vectored(context, &pieces[..before]);
        }
        loop {
            ready!(self.socket.poll_write_ready(context))?;
            let send = || self.parts.send(&self.socket, pieces[0].len());
            match self.socket.try_io(Interest::WRITABLE, send) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
