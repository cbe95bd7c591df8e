//! Log drivers: json-file writing, rotation and reading back.
//!
//! The writer ([`JsonFile`]) runs inside the shim, so that a container's output reaches its log whatever
//! happens to the daemon; the [`Reader`] runs inside the daemon. They meet only on disk, in Docker's
//! json-file format, one JSON object a line:
//!
//! ```json
//! {"log":"hello\n","stream":"stdout","time":"2026-11-23T21:47:18.123456789Z"}
//! ```
//!
//! Rotation renames, it never truncates: `x-json.log` becomes `x-json.log.1`, `.1` becomes `.2`, and the
//! oldest beyond `max-file` is unlinked. A reader keeps its file by descriptor and finds the successor by
//! inode number, so it neither loses nor repeats a line however often the writer rotates.
//!
//! Architecture invariant: no async runtime, no threads, and no knowledge of containers.

mod encode;
mod error;
mod files;
mod follow;
mod json_file;
mod lines;
mod reader;
mod tail;

pub use error::LogError;
pub use follow::Watch;
pub use json_file::{JsonFile, Rotation};
pub use lines::MAX_LINE;
pub use reader::{Entry, ReadOptions, Reader, Tail};

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
