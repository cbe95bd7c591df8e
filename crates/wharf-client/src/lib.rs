//! Engine API client: HTTP/1.1 over a Unix socket, TCP or TLS, one connection per call that is open at the same time.
//!
//! Connections are kept and used again, so that the calls of one command share one. Paths are sent with the version
//! that this client was written for, so that answers have the fields that Docker's client knows. A daemon that does not
//! know it says which it knows, and is asked again in that: this saves the `_ping` of Docker's client.
//!
//! Three kinds of answers: a JSON document ([`Client::json`]), a stream ([`Client::stream`]: JSON
//! lines or bytes), and a connection of its own after an upgrade ([`Client::hijack`]: attach and exec).

mod body;
mod connection;
mod endpoint;
mod error;
mod hijack;
mod query;
mod ssh;
mod tls;

pub use body::{Body, BodyStream, upload};
pub use connection::{API_VERSION, Client};
pub use endpoint::{DEFAULT_SOCKET, Endpoint, SshHost};
pub use error::Error;
pub use hijack::Hijacked;
pub use http::Method;
pub use query::Url;
pub use tls::{Authorities, Tls};

/// Result of a call to the daemon.
pub type Result<T> = std::result::Result<T, Error>;
