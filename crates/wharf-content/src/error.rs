//! What can go wrong with blobs.

use std::io;
use std::path::{Path, PathBuf};

use wharf_oci::Digest;

/// Why an operation on a store failed.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The system refused.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is no such blob.
    #[error("content {0} not found")]
    NotFound(Digest),
    /// The blob is there already: nothing to ingest.
    #[error("content {0} is there already")]
    Exists(Digest),
    /// Somebody else is ingesting the same blob.
    #[error("content {0} is being written by another transfer")]
    Busy(Digest),
    /// The bytes are not those that the digest names.
    #[error("content {expected} has digest {found}")]
    DigestMismatch {
        /// The digest that was asked for.
        expected: Digest,
        /// The digest of the bytes, as text to keep the error small.
        found: String,
    },
    /// More or fewer bytes than announced.
    #[error("content {digest} has {found} bytes instead of {expected}")]
    SizeMismatch {
        /// Which blob.
        digest: Digest,
        /// Size that was announced, in bytes.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// A blob is larger than the caller wants to hold in memory.
    #[error("content {digest} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// Which blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The caller's limit in bytes.
        limit: u64,
    },
}

impl ContentError {
    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, ContentError::Io { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

/// Adds what was done to which path.
pub(crate) fn io_at<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> ContentError {
    let path = path.to_owned();
    move |source| ContentError::Io {
        operation,
        path,
        source: source.into(),
    }
}
