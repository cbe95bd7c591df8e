//! What can go wrong with a task.

use std::io;
use std::path::{Path, PathBuf};

use wharf_shim_api::FailureKind;

/// An error of a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// The process could not be made or started; the text is runc's where runc has one.
    #[error("{message}")]
    Runtime {
        /// The text.
        message: String,
        /// What kind of failure.
        kind: FailureKind,
    },
    /// The task or its process has ended.
    #[error("no such process")]
    Gone,
    /// Its shim does not answer as it should.
    #[error("the shim of the container: {0}")]
    Shim(&'static str),
    /// Its shim lives, and does not answer.
    #[error("the shim of the container does not answer")]
    Silent,
    /// Its shim could not be started.
    #[error("start the shim of the container")]
    Spawn(#[source] io::Error),
    /// The connection to its shim failed.
    #[error("{0} the shim of the container")]
    Connection(&'static str, #[source] io::Error),
    /// Its control group could not be worked on.
    #[error("the control group of the container")]
    Cgroup(#[from] wharf_cgroups::CgroupError),
    /// A file or folder could not be made, read or removed.
    #[error("{operation} {path}")]
    Io {
        /// `make`, `read`, `write`, `remove`.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl TaskError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Io {
            operation,
            path,
            source,
        }
    }
}
