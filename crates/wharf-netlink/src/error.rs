//! What the kernel says about a request.

use std::io;

/// A netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// The socket could not be made, written or read.
    #[error("netlink: {operation}")]
    Socket {
        /// What was being done.
        operation: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused the request.
    #[error("{operation}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// Which message of the batch, such as `add link veth0`.
        operation: String,
        /// The kernel's extended acknowledgement; empty if it said nothing.
        message: String,
        /// The error number.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer was cut short or had no sense.
    #[error("netlink: malformed answer")]
    Malformed,
}

impl NetlinkError {
    /// Whether the kernel refused with this error number.
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        matches!(self, Self::Refused { source, .. } if source.raw_os_error() == Some(errno.raw_os_error()))
    }
}
