//! The way to a published port that address translation does not reach: from the host's loopback, and from IPv6
//! to an IPv4 container. One task per port within the daemon, on the sockets that hold the ports, where Docker
//! runs one process per port.

mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::ports::{Held, HostSocket};

/// The container's address, which changes when its ports move to another of its networks.
#[derive(Clone, Debug)]
pub(crate) struct Target(Arc<AtomicU32>);

impl Target {
    pub(crate) fn new(ip: Ipv4Addr) -> Self {
        Self(Arc::new(AtomicU32::new(ip.into())))
    }

    /// From now on for new connections.
    pub(crate) fn set(&self, ip: Ipv4Addr) {
        self.0.store(ip.into(), Ordering::Relaxed);
    }

    fn with_port(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::from(self.0.load(Ordering::Relaxed)), port).into()
    }
}

/// A port being served; dropping it closes its socket and all that came through it.
#[derive(Debug)]
pub(crate) struct Served {
    task: Option<AbortHandle>,
    /// Holds the port without serving it.
    _socket: Option<HostSocket>,
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Serves a held port for the container at `target`; without `serve` the port is only held.
pub(crate) fn start(
    runtime: &Handle,
    held: Held,
    target: Target,
    serve: bool,
) -> io::Result<Served> {
    let port = held.port.container_port;
    // Sockets register with the runtime that is current.
    let _guard = runtime.enter();
    let task = match held.socket {
        HostSocket::Tcp(listener) if serve => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime
                .spawn(tcp::serve(listener, target, port))
                .abort_handle()
        }
        HostSocket::Udp(socket) if serve => {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            runtime
                .spawn(udp::serve(socket, target, port))
                .abort_handle()
        }
        socket => {
            return Ok(Served {
                task: None,
                _socket: Some(socket),
            });
        }
    };
    Ok(Served {
        task: Some(task),
        _socket: None,
    })
}
