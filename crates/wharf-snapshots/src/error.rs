//! What can go wrong with snapshots.

use std::io;
use std::path::{Path, PathBuf};

use wharf_oci::ChainId;

/// Why an operation on the snapshots failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system refused.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A layer is not here. After a power cut its image must be unpacked or pulled again.
    #[error("layer {0} not found")]
    NoLayer(ChainId),
    /// A container has no writable layer.
    #[error("no writable layer for container {0}")]
    NoRw(String),
    /// A container has a writable layer already.
    #[error("container {0} has a writable layer already")]
    RwExists(String),
    /// The id cannot be the name of a folder.
    #[error("{0:?} is no container id")]
    BadId(String),
    /// Two chain ids begin with the same 64 bits: somebody made them so.
    #[error("layer {wanted} collides with layer {there}")]
    Collision {
        /// The layer that is to be made.
        wanted: ChainId,
        /// The one that is there, as text to keep the error small.
        there: String,
    },
    /// A file of ours has a content that is not ours.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
}

impl SnapshotError {
    /// Whether a file of ours is gone or not what we wrote: no later attempt reads it.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Damaged(_) => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidData
            ),
            _ => false,
        }
    }
}

/// Adds what was done to which path.
pub(crate) fn io_at<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::Io {
        operation,
        path,
        source: source.into(),
    }
}
