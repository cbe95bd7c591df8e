//! Engine API client: HTTP/1.1 over a Unix socket, TCP or TLS, one connection per call that is open at the same time.
//!
//! Connections are kept and used again, so that the calls of one command share one. Paths are sent without
//! a version: the daemon then answers in its newest, which saves the `_ping` of Docker's client.
//!
//! Three kinds of answers: a JSON document ([`Client::json`]), a stream ([`Client::stream`]: JSON
//! lines or bytes), and a connection of its own after an upgrade ([`Client::hijack`]: attach and exec).

mod body;
mod connection;
mod endpoint;
mod error;
mod hijack;
mod query;
mod tls;

pub use body::{Body, BodyStream, upload};
pub use connection::Client;
pub use endpoint::{DEFAULT_SOCKET, Endpoint};
pub use error::Error;
pub use hijack::Hijacked;
pub use http::Method;
pub use query::Url;
pub use tls::Tls;

/// Result of a call to the daemon.
pub type Result<T> = std::result::Result<T, Error>;
