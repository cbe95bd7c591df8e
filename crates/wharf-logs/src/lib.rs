//! Log drivers: writing to files or to somebody, rotation and reading back.
//!
//! The writer ([`FileLog`]) runs inside the shim, so that a container's output reaches its log whatever
//! happens to the daemon; the [`Reader`] runs inside the daemon. They meet only on disk, in the format of Docker's
//! local driver, or of its json-file driver, one JSON object a line:
//!
//! ```json
//! {"log":"hello\n","stream":"stdout","time":"2026-11-23T21:47:18.123456789Z"}
//! ```
//!
//! Rotation renames, it never truncates: `x-json.log` becomes `x-json.log.1`, `.1` becomes `.2`, and the
//! oldest beyond `max-file` is unlinked. A reader keeps its file by descriptor and finds the successor by
//! inode number and time of birth, so it neither loses nor repeats a line however often the writer rotates. A compressed
//! file (`.1.gz`) has these of the file it was in its header.
//!
//! What is sent away ([`Sender`]) can block, so it is not the shim that sends, but a logger process of its own.
//!
//! Architecture invariant: no async runtime, no threads, and no knowledge of containers.

mod compress;
mod encode;
mod error;
mod file_log;
mod files;
mod follow;
mod lines;
mod local;
mod reader;
mod remote;
mod tail;

pub use compress::compress;
pub use error::LogError;
pub use file_log::{Compress, FileLog, Format, Rotation, clear};
pub use follow::{Watched, Watches};
pub use lines::{Lines, MAX_LINE, Message, Part};
pub use reader::{Entry, ReadOptions, Reader, Tail};
pub use remote::{Ending, Sender};

/// Which of a process's two output streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// File descriptor 1, and everything that a terminal shows.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl Stream {
    /// The word that Docker's log format uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}
