//! The way to a published port that address translation does not reach: from the host's loopback, and from IPv6
//! to an IPv4 container. One task per port within the daemon, on the sockets that hold the ports, where Docker
//! runs one process per port.

mod tcp;
mod udp;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::ports::{Held, HostSocket};

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

/// Serves a held port for the container at `container`; without `serve` the port is only held.
pub(crate) fn start(
    runtime: &Handle,
    held: Held,
    container: Ipv4Addr,
    serve: bool,
) -> io::Result<Served> {
    let target = SocketAddr::from((container, held.port.container_port));
    // Sockets register with the runtime that is current.
    let _guard = runtime.enter();
    let task = match held.socket {
        HostSocket::Tcp(listener) if serve => {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            runtime.spawn(tcp::serve(listener, target)).abort_handle()
        }
        HostSocket::Udp(socket) if serve => {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            runtime.spawn(udp::serve(socket, target)).abort_handle()
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
