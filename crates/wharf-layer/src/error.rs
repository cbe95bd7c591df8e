//! What can go wrong with a layer archive.

use std::io;
use std::path::PathBuf;

/// Why an archive could not be unpacked or written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The source failed, or its compression is damaged.
    #[error("read the layer archive")]
    Read(#[source] io::Error),
    /// The archive ends in the middle.
    #[error("unexpected EOF")]
    Truncated,
    /// The bytes are no tar archive.
    #[error("invalid tar header at byte {offset}: {reason}")]
    Header {
        /// Where in the uncompressed archive.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// A member would be, or points by a hard link, outside of the layer.
    #[error("archive member {} is outside of the layer", .0.display())]
    Outside(PathBuf),
    /// A member is of a type that cannot be in a layer.
    #[error("archive member {} has unknown type {kind:#04x}", path.display())]
    UnknownType {
        /// Name of the member.
        path: PathBuf,
        /// Its type flag.
        kind: u8,
    },
    /// A member's metadata cannot be.
    #[error("archive member {} has an invalid {what}", path.display())]
    Invalid {
        /// Name of the member.
        path: PathBuf,
        /// Which part of it.
        what: &'static str,
    },
    /// A folder would replace something else, or the reverse (Docker's words).
    #[error("cannot overwrite {} {path:?} with {} {folder:?}",
        if *.was_folder { "directory" } else { "non-directory" },
        if *.was_folder { "non-directory" } else { "directory" })]
    Overwrite {
        /// Whether what is there is a folder.
        was_folder: bool,
        /// Where.
        path: PathBuf,
        /// The folder that is unpacked into.
        folder: PathBuf,
    },
    /// The archive has more of something than the limits allow.
    #[error("layer archive has too many {0}")]
    Limit(&'static str),
    /// A member could not be made.
    #[error("{operation} {}", path.display())]
    Member {
        /// What was tried.
        operation: &'static str,
        /// Name of the member.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The archive could not be written.
    #[error("write the archive")]
    Write(#[source] io::Error),
}

impl LayerError {
    /// Whether something that a member needs is not there, as the target of a hard link.
    pub fn is_not_found(&self) -> bool {
        matches!(self, LayerError::Member { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, LayerError::Member { source, .. }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// An error of the source. One that ended too early is a truncated archive, whoever noticed it.
    pub(crate) fn read(source: io::Error) -> LayerError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => LayerError::Truncated,
            _ => LayerError::Read(source),
        }
    }
}

/// A path for messages, of bytes that need not be UTF-8.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// Adds what was tried with which member.
pub(crate) fn at<E: Into<io::Error>>(
    operation: &'static str,
    path: &[u8],
) -> impl FnOnce(E) -> LayerError {
    let path = path_of(path);
    move |source| LayerError::Member {
        operation,
        path,
        source: source.into(),
    }
}
