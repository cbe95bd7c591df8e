//! A connection that is waited for until a moment, whatever is done on it: a plugin that says a letter now and then, or
//! takes one, or says them in TLS, does not hold anybody up any longer than one that says nothing.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// What there is until a moment.
#[derive(Debug)]
pub(super) struct Until<S> {
    stream: S,
    end: Instant,
}

impl Until<UnixStream> {
    /// Connects to a socket; who listens there may have no room for one more.
    pub(super) fn unix(path: &Path, end: Instant) -> io::Result<Self> {
        let kind = SocketType::STREAM;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        let address = SocketAddrUnix::new(path)?;
        set_socket_timeout(&socket, Timeout::Send, Some(left(end)?))?;
        let connected = rustix::net::connect(&socket, &address);
        connected.map_err(|error| late(error.into()))?;
        let stream = UnixStream::from(socket);
        Ok(Self { stream, end })
    }
}

impl Until<TcpStream> {
    /// Connects to the first address of `host:port` that takes it.
    pub(super) fn tcp(address: &str, end: Instant) -> io::Result<Self> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(end)?) {
                Ok(stream) => return Ok(Self { stream, end }),
                Err(error) => last = late(error),
            }
        }
        Err(last)
    }
}

impl<S: AsFd> Until<S> {
    /// Does one step, which waits no longer than there is time.
    fn step<T>(
        &mut self,
        which: Timeout,
        step: impl FnOnce(&mut S) -> io::Result<T>,
    ) -> io::Result<T> {
        set_socket_timeout(&self.stream, which, Some(left(self.end)?))?;
        step(&mut self.stream).map_err(late)
    }
}

impl<S: AsFd + Read> Read for Until<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.step(Timeout::Recv, |stream| stream.read(buffer))
    }
}

impl<S: AsFd + Write> Write for Until<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.step(Timeout::Send, |stream| stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// How much time there is; none is an error, as the kernel takes none for any amount of it.
fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    match left.as_micros() {
        0 => Err(over()),
        _ => Ok(left),
    }
}

/// The kernel says of a socket that has waited long enough that it would block.
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => over(),
        _ => error,
    }
}

/// Go's words.
fn over() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "context deadline exceeded")
}
