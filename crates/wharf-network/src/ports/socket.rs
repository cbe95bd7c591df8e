//! Sockets that hold host ports.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::Protocol;

/// As deep as the kernel allows.
const BACKLOG: i32 = 4096;

/// A bound socket.
#[derive(Debug)]
pub(crate) enum HostSocket {
    /// Listening.
    Tcp(TcpListener),
    /// Bound.
    Udp(UdpSocket),
    /// Listening; `None` where the kernel has no SCTP. Its calls are those of TCP.
    Sctp(Option<TcpListener>),
}

/// Whether the kernel has SCTP.
pub(crate) fn has_sctp() -> bool {
    let number = Some(ipproto::SCTP);
    net::socket(AddressFamily::INET, SocketType::STREAM, number).is_ok()
}

/// Binds a host port. IPv6 sockets take IPv6 only: all IPv4 addresses have a socket of their own.
pub(crate) fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<HostSocket> {
    let family = match address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = match net::socket_with(family, kind, flags, Some(number)) {
        Err(Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) if protocol == Protocol::Sctp => {
            return Ok(HostSocket::Sctp(None));
        }
        other => other?,
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if protocol != Protocol::Udp {
        // Connections of the last daemon that are still closing do not hold the port.
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    Ok(match protocol {
        Protocol::Tcp => {
            net::listen(&socket, BACKLOG)?;
            HostSocket::Tcp(socket.into())
        }
        Protocol::Udp => HostSocket::Udp(socket.into()),
        Protocol::Sctp => {
            net::listen(&socket, BACKLOG)?;
            HostSocket::Sctp(Some(socket.into()))
        }
    })
}
