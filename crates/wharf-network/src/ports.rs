//! Host ports of containers: which are allocated, and the host sockets that hold them.
//!
//! A port is held by a bound socket before the container starts, so that a clash is an error of the start, and
//! no process of the host can take it later. The same socket serves the host's loopback ([`crate::proxy`]).

mod allocate;
mod socket;

pub(crate) use allocate::{Allocator, Reach, Request};
pub(crate) use socket::{HostSocket, bind, has_sctp};

use crate::PublishedPort;

/// A published port with the socket that holds it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) port: PublishedPort,
    pub(crate) socket: HostSocket,
}
