//! The way to a published port that address translation does not reach: from IPv6 to an IPv4 container, from a container
//! to itself, and what of the host's loopback [`crate::firewall`] leaves alone. One task per port within the daemon, on
//! the sockets that hold the ports, where Docker runs one process per port.

mod sctp;
mod tcp;
mod udp;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ports::{Held, HostSocket};

/// The container's addresses, which change when its ports move to another of its networks.
#[derive(Clone, Debug)]
pub(crate) struct Target(Arc<RwLock<Addresses>>);

type Addresses = (Option<Ipv4Addr>, Option<Ipv6Addr>);

impl Target {
    pub(crate) fn new(addresses: Addresses) -> Self {
        Self(Arc::new(RwLock::new(addresses)))
    }

    /// From now on for new connections.
    pub(crate) fn set(&self, addresses: Addresses) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// The container's address for a client of that family, else its other one.
    fn with_port(&self, six: bool, port: u16) -> Option<SocketAddr> {
        let (v4, v6) = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (v4, v6) = (v4.map(IpAddr::V4), v6.map(IpAddr::V6));
        let ip = if six { v6.or(v4) } else { v4.or(v6) };
        ip.map(|ip| SocketAddr::new(ip, port))
    }
}

/// Where what comes to one host port goes.
#[derive(Clone, Debug)]
struct Destination {
    target: Target,
    /// The host port is one of IPv6.
    six: bool,
    port: u16,
}

impl Destination {
    fn now(&self) -> Option<SocketAddr> {
        self.target.with_port(self.six, self.port)
    }
}

/// Sockets close within microseconds; nobody is kept for ever by a runtime that has ended.
const PATIENCE: Duration = Duration::from_secs(1);

/// A port being served; dropping it closes its socket, a moment later, and all that came through it.
#[derive(Debug)]
pub(crate) enum Served {
    /// By a task.
    Task {
        /// Its end ends the task.
        stop: oneshot::Sender<()>,
        /// Ends when the sockets are closed.
        closed: mpsc::Receiver<()>,
    },
    /// By nobody: the port is only held.
    Held(HostSocket),
}

/// Closes sockets, and returns when they are closed: their ports can be had at once. Blocks.
pub(crate) fn close(served: Vec<Served>) {
    let waits: Vec<_> = served
        .into_iter()
        .filter_map(|served| match served {
            Served::Task { stop, closed } => {
                drop(stop);
                Some(closed)
            }
            Served::Held(socket) => {
                drop(socket);
                None
            }
        })
        .collect();
    for closed in waits {
        let _ = closed.recv_timeout(PATIENCE);
    }
}

/// Serves a held port for the container at `target`; without `serve` the port is only held.
pub(crate) fn start(
    runtime: &Handle,
    held: Held,
    target: Target,
    serve: bool,
) -> io::Result<Served> {
    let to = Destination {
        target,
        six: held.port.host_ip.is_ipv6(),
        port: held.port.container_port,
    };
    // Sockets register with the runtime that is current.
    let _guard = runtime.enter();
    let (stop, stopped) = oneshot::channel();
    let (open, closed) = mpsc::channel::<()>();
    match held.socket {
        HostSocket::Tcp(listener) if serve => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(async move {
                tcp::serve(listener, to, stopped).await;
                drop(open);
            });
        }
        HostSocket::Udp(socket) if serve => {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            runtime.spawn(async move {
                udp::serve(socket, to, stopped).await;
                drop(open);
            });
        }
        HostSocket::Sctp(Some(listener)) if serve => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(async move {
                sctp::serve(listener, to, stopped).await;
                drop(open);
            });
        }
        socket => return Ok(Served::Held(socket)),
    }
    Ok(Served::Task { stop, closed })
}
