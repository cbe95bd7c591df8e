//! What can go wrong with a log.

use std::path::{Path, PathBuf};

/// An error of a log writer or reader.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file operation failed.
    #[error("{operation} log file {path}")]
    File {
        /// `open`, `read`, `write`, `rotate`, `watch`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// No connection to who takes the lines; in Go's words.
    #[error("dial {address}: {reason}")]
    Dial {
        /// Kind and address.
        address: String,
        /// What the system says.
        reason: String,
    },
    /// A line did not get away.
    #[error("{driver}: {reason}")]
    Send {
        /// The driver's name.
        driver: &'static str,
        /// Why.
        reason: String,
    },
    /// There is nobody of this kind; in Docker's words.
    #[error("{0}")]
    Unavailable(String),
}

impl LogError {
    pub(crate) fn file(
        operation: &'static str,
        path: &Path,
    ) -> impl Fn(std::io::Error) -> LogError + use<> {
        let path = path.to_owned();
        move |source| LogError::File {
            operation,
            path: path.clone(),
            source,
        }
    }
}
