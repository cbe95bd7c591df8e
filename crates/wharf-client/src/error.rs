//! What can go wrong between a client and its daemon.

use crate::Endpoint;

/// An error of a call to the daemon. `Display` is what the command line prints.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text of `-H` or `WHARF_HOST` is no address.
    #[error("unable to parse wharf host `{0}`")]
    BadHost(String),
    /// Nothing listens at the address.
    #[error("Cannot connect to the Wharf daemon at {endpoint}. Is the wharf daemon running?")]
    Connect {
        /// The address that was tried.
        endpoint: Endpoint,
        /// What the system call said.
        #[source]
        source: std::io::Error,
    },
    /// The socket is there, but this user may not open it.
    #[error(
        "permission denied while trying to connect to the Wharf daemon socket at {endpoint}: connect: permission denied"
    )]
    Forbidden {
        /// The address that was tried.
        endpoint: Endpoint,
    },
    /// The daemon refused the request: an HTTP status of 400 or more.
    #[error("Error response from daemon: {message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// The daemon's own words.
        message: String,
    },
    /// The files of `--tlscacert`, `--tlscert` and `--tlskey`, or who is at the other end, will not do.
    #[error("{0}")]
    Tls(String),
    /// The connection broke in the middle of an exchange.
    #[error("error during connect: {0}")]
    Http(#[from] hyper::Error),
    /// A request could not be put together (a bad character in a path).
    #[error("building a request: {0}")]
    Request(#[from] http::Error),
    /// The daemon's answer is not the JSON that was expected.
    #[error("unexpected answer from the daemon: {source}")]
    Decode {
        /// What the parser said.
        source: serde_json::Error,
    },
    /// Reading or writing a stream.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The HTTP status when the daemon answered with an error.
    pub fn status(&self) -> Option<u16> {
        match self {
            Error::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// True when the daemon says that the object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// True when no daemon could be reached at all.
    pub fn is_connection(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Forbidden { .. })
    }
}
