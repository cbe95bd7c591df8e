//! A connection of any kind.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use wharf_shim_api::Socket;
use wharf_sys::words;

use crate::LogError;

/// Who does not take a line for so long is gone.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) enum Connection {
    Tcp(TcpStream),
    Udp(UdpSocket),
    Unix(UnixStream),
    Unixgram(UnixDatagram),
}

impl Connection {
    pub(super) fn dial(socket: &Socket) -> Result<Self, LogError> {
        let (address, connected) = match socket {
            Socket::Tcp(address) => (format!("tcp {address}"), tcp(address)),
            Socket::Udp(address) => (format!("udp {address}"), udp(address)),
            Socket::Unix(path) => {
                let connected = UnixStream::connect(path).and_then(|stream| {
                    stream.set_write_timeout(Some(PATIENCE))?;
                    Ok(Self::Unix(stream))
                });
                (format!("unix {}", path.display()), connected)
            }
            Socket::Unixgram(path) => {
                let connected = UnixDatagram::unbound().and_then(|datagram| {
                    datagram.connect(path)?;
                    datagram.set_write_timeout(Some(PATIENCE))?;
                    Ok(Self::Unixgram(datagram))
                });
                (format!("unixgram {}", path.display()), connected)
            }
        };
        connected.map_err(|error| LogError::Dial {
            address,
            reason: match error.raw_os_error() {
                Some(_) => format!("connect: {}", words::of(&error)),
                None => words::of(&error),
            },
        })
    }

    /// Writes all of it, or one datagram.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Udp(socket) => socket.send(bytes).map(drop),
            Self::Unixgram(socket) => socket.send(bytes).map(drop),
        }
    }

    /// Reads what has come.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Udp(socket) => socket.recv(buffer),
            Self::Unixgram(socket) => socket.recv(buffer),
        }
    }

    /// Whether the other end has closed it. A line that is written then would seem to get away, and be lost.
    pub(super) fn is_closed(&self) -> bool {
        let peek = |stream: std::os::fd::BorrowedFd<'_>| {
            let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(stream, &mut [0u8; 1], flags) {
                Ok((_, length)) => length == 0,
                Err(error) => error != rustix::io::Errno::AGAIN,
            }
        };
        match self {
            Self::Tcp(stream) => peek(std::os::fd::AsFd::as_fd(stream)),
            Self::Unix(stream) => peek(std::os::fd::AsFd::as_fd(stream)),
            Self::Udp(_) | Self::Unixgram(_) => false,
        }
    }
}

fn tcp(address: &str) -> std::io::Result<Connection> {
    let mut last = std::io::Error::other("no such host");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(Connection::Tcp(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn udp(address: &str) -> std::io::Result<Connection> {
    let first = address.to_socket_addrs()?.next();
    let first = first.ok_or_else(|| std::io::Error::other("no such host"))?;
    let any: &str = if first.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(first)?;
    Ok(Connection::Udp(socket))
}
