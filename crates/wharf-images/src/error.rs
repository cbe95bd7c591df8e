//! What can go wrong with images, in Docker's words.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use wharf_distribution::RegistryError;
use wharf_oci::ReferenceError;
use wharf_records::RecordError;
use wharf_sys::words::chain;

/// The class of an error; the API's face makes an HTTP status of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400.
    InvalidParameter,
    /// 401. Not used by pulls: dockerd answers 500 to wrong credentials, as 401 would be about its own API.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 500.
    System,
    /// 503: a registry cannot be reached. Docker answers 500.
    Unavailable,
}

/// An error of the image store.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// No image has this name or id.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// The text is not a name.
    #[error("{0}")]
    Reference(ReferenceError),
    /// A tag operation that the rules forbid.
    #[error("{0}")]
    InvalidTag(String),
    /// A push of a repository of which there is nothing here.
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchRepository(String),
    /// A push of a tag that is not here.
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    /// A push of all tags of a repository that has none.
    #[error("no tags to push for {0}")]
    NoTags(String),
    /// The image is for another platform than the one that was asked for.
    #[error(
        "image with reference {reference} was found but does not match the specified platform: wanted {wanted}, actual: {found}"
    )]
    OtherPlatform {
        /// Familiar name.
        reference: String,
        /// The image's platform.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// An image of several platforms is not here for the one that was asked for.
    #[error(
        "image with reference {reference} was found but does not provide the specified platform ({wanted})"
    )]
    NoPlatform {
        /// Familiar name.
        reference: String,
        /// What was asked for.
        wanted: String,
    },
    /// A registry refused a push.
    #[error("{0}")]
    Push(String),
    /// A name cannot be removed: it is the last one of an image that a container uses.
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - container {container} is using its referenced image {image}"
    )]
    ReferenceInUse {
        /// As it was typed.
        reference: String,
        /// Twelve digits of the container's id.
        container: String,
        /// Twelve digits of the image's id.
        image: String,
    },
    /// An image cannot be deleted.
    #[error("conflict: unable to delete {image} ({}) - {reason}", if *.hard { "cannot be forced" } else { "must be forced" })]
    DeleteConflict {
        /// Twelve digits of the image's id.
        image: String,
        /// Whether force would not help either.
        hard: bool,
        /// Whether a container is the reason.
        used: bool,
        /// Docker's reason.
        reason: String,
    },
    /// A registry said no, said nonsense, or said nothing.
    #[error("{0}")]
    Registry(#[from] RegistryError),
    /// The image is not for an operating system that we run.
    #[error("image operating system \"{0}\" cannot be used on this platform")]
    OperatingSystem(String),
    /// The configuration's list of layers does not fit the manifest.
    #[error("layers from manifest don't match image configuration")]
    RootFsMismatch,
    /// The configuration cannot be read.
    #[error(transparent)]
    Config(#[from] wharf_oci::ImageConfigError),
    /// The content of a layer is not what the configuration promises.
    #[error(
        "layers from manifest don't match image configuration: layer {blob} has diff id {found}, expected {expected}"
    )]
    DiffId {
        /// The layer's blob, or its name in an archive.
        blob: String,
        /// From the configuration.
        expected: String,
        /// From the content.
        found: String,
    },
    /// An archive given to `load` is not one.
    #[error("invalid archive: {0}")]
    Archive(String),
    /// An archive's list, or one of its images, cannot be: in Docker's words.
    #[error("{0}")]
    Unloadable(String),
    /// A layer could not be unpacked.
    #[error("failed to register layer: {message}")]
    Unpack {
        /// The whole chain of causes.
        message: String,
        /// Whether the reason is a full disk.
        disk_full: bool,
    },
    /// Blobs could not be read or written.
    #[error("{operation} content: {message}")]
    Content {
        /// What was tried.
        operation: &'static str,
        /// The whole chain of causes.
        message: String,
    },
    /// The disk or another local service failed.
    #[error("{operation} {path}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Records could not be read or written.
    #[error("image records")]
    Records(#[from] RecordError),
    /// The work was given up because nobody wants it any more.
    #[error("context canceled")]
    Cancelled,
    /// A part of the work ended in a panic, which is a fault of ours.
    #[error("internal error: {0}")]
    Panicked(String),
    /// Work that several callers may be waiting for failed.
    #[error("{0}")]
    Shared(Arc<ImageError>),
    /// A filter's value cannot be used.
    #[error("{0}")]
    InvalidFilter(String),
    /// The configuration's history names more layers than there are.
    #[error("too many non-empty layers in History section")]
    HistoryMismatch,
    /// The type of the configuration, or of a layer, is that of an artifact, not of an image.
    #[error("unsupported media type {0}")]
    NotAnImage(String),
    /// The same in a manifest of Docker's type: what dockerd says before it begins.
    #[error("Encountered remote {media_type:?}({class}) when fetching")]
    OtherClass {
        /// Type of the configuration.
        media_type: String,
        /// What dockerd knows of it.
        class: &'static str,
    },
}

impl ImageError {
    /// The class of the error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ImageError::NoSuchImage(_)
            | ImageError::OtherPlatform { .. }
            | ImageError::NoPlatform { .. } => ErrorKind::NotFound,
            ImageError::NoSuchRepository(_)
            | ImageError::NoSuchTag(_)
            | ImageError::NoTags(_)
            | ImageError::Push(_) => ErrorKind::System,
            ImageError::Reference(_)
            | ImageError::InvalidTag(_)
            | ImageError::InvalidFilter(_)
            | ImageError::NotAnImage(_)
            | ImageError::OtherClass { .. }
            | ImageError::Archive(_)
            | ImageError::Unloadable(_) => ErrorKind::InvalidParameter,
            ImageError::ReferenceInUse { .. } | ImageError::DeleteConflict { .. } => {
                ErrorKind::Conflict
            }
            ImageError::Registry(error) => registry_kind(error),
            ImageError::Shared(error) => error.kind(),
            ImageError::OperatingSystem(_)
            | ImageError::RootFsMismatch
            | ImageError::HistoryMismatch
            | ImageError::Config(_)
            | ImageError::DiffId { .. }
            | ImageError::Unpack { .. }
            | ImageError::Content { .. }
            | ImageError::Io { .. }
            | ImageError::Records(_)
            | ImageError::Cancelled
            | ImageError::Panicked(_) => ErrorKind::System,
        }
    }
}

impl ImageError {
    /// A failure of the content store.
    pub(crate) fn content(operation: &'static str, error: &dyn Error) -> ImageError {
        ImageError::Content {
            operation,
            message: chain(error),
        }
    }

    pub(crate) fn io(operation: &'static str, path: &Path, source: std::io::Error) -> ImageError {
        ImageError::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// A failure while a layer was unpacked.
    pub(crate) fn unpack(error: &(dyn Error + 'static)) -> ImageError {
        ImageError::Unpack {
            message: chain(error),
            disk_full: is_disk_full(error),
        }
    }
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        {
            return true;
        }
        current = error.source();
    }
    false
}

fn registry_kind(error: &RegistryError) -> ErrorKind {
    use wharf_distribution::RegistryErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => ErrorKind::NotFound,
        // dockerd answers 500 to a pull without the right credentials; 401 would be about its own API.
        Kind::Unauthorized => ErrorKind::System,
        Kind::InvalidParameter => ErrorKind::InvalidParameter,
        Kind::Protocol => ErrorKind::System,
        Kind::Unreachable => ErrorKind::Unavailable,
    }
}
