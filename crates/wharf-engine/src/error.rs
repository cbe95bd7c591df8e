//! What can go wrong, in Docker's words, and of which class it is.

use std::path::{Path, PathBuf};

use wharf_images::ImageError;
use wharf_network::NetworkError;
use wharf_records::RecordError;
use wharf_sys::words::chain;
use wharf_volumes::VolumeError;

/// The class of an error; the API's face makes an HTTP status of it, the command line an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 304: nothing to do.
    NotModified,
    /// 400.
    InvalidParameter,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 500.
    System,
    /// 501.
    NotImplemented,
    /// 503.
    Unavailable,
}

/// An error of the engine. Its `Display` is what Docker would say.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No container has this name, id or beginning of an id.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// The beginning of an id fits several.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousPrefix(String),
    /// No exec session has this id.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// A container of this name exists.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name.
        name: String,
        /// The id of the container that has it.
        holder: String,
    },
    /// The text is no container name.
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    InvalidName(String),
    /// There is nothing to do: the container is in the wanted state already.
    #[error("container is already in the wanted state")]
    NotModified,
    /// The request is wrong in itself.
    #[error("{0}")]
    Invalid(String),
    /// What the request speaks of does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The request does not fit the present state.
    #[error("{0}")]
    Conflict(String),
    /// Not permitted.
    #[error("{0}")]
    Forbidden(String),
    /// Somebody's name and password are not taken.
    #[error("{0}")]
    Unauthorized(String),
    /// Known to Docker, not to us (yet).
    #[error("{0}")]
    NotImplemented(String),
    /// A container could not be started. `code` is the exit code that its state has now.
    #[error("{message}")]
    Start {
        /// Docker's whole sentence.
        message: String,
        /// 126, 127 or 128.
        code: i32,
        /// 400 when the program cannot be run, else 500.
        kind: ErrorKind,
    },
    /// Another part of the daemon failed.
    #[error("{0}")]
    Failed(String),
    /// Another daemon holds the data root.
    #[error(
        "another wharf daemon (pid {pid}) is using the data root {path}: stop it, or choose another with --data-root"
    )]
    Locked {
        /// The data root.
        path: PathBuf,
        /// Its process; 0 if that could not be read.
        pid: u32,
    },
    /// An error of the image store.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An error of the volume store.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// An error of the networks.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Records could not be read or written.
    #[error("container records")]
    Record(#[from] RecordError),
    /// A file of the engine's own.
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
    /// The daemon is shutting down.
    #[error("the daemon is shutting down")]
    ShuttingDown,
}

impl EngineError {
    /// The class.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotModified => ErrorKind::NotModified,
            Self::NoSuchContainer(_) | Self::NoSuchExec(_) | Self::NotFound(_) => {
                ErrorKind::NotFound
            }
            Self::AmbiguousPrefix(_) | Self::InvalidName(_) | Self::Invalid(_) => {
                ErrorKind::InvalidParameter
            }
            Self::NameInUse { .. } | Self::Conflict(_) => ErrorKind::Conflict,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Unauthorized(_) => ErrorKind::Unauthorized,
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Start { kind, .. } => *kind,
            Self::Image(error) => image_kind(error.kind()),
            Self::Volume(error) => volume_kind(error),
            Self::Network(error) => network_kind(error),
            Self::Locked { .. } | Self::Failed(_) | Self::Record(_) | Self::Io { .. } => {
                ErrorKind::System
            }
            Self::ShuttingDown => ErrorKind::Unavailable,
        }
    }

    /// The error with all its causes, `: ` between them, those of the kernel in Go's words: what a user is told.
    pub fn message(&self) -> String {
        wharf_sys::words::plain(&chain(self))
    }

    pub(crate) fn io<'a>(
        operation: &'static str,
        path: &'a Path,
    ) -> impl Fn(std::io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source,
        }
    }

    /// Of the container `id`.
    pub(crate) fn restarting(id: &str) -> Self {
        Self::Conflict(format!(
            "Container {id} is restarting, wait until the container is running"
        ))
    }

    pub(crate) fn not_running(id: &str) -> Self {
        Self::Conflict(format!("container {id} is not running"))
    }

    /// Of the container `id`.
    pub(crate) fn silent(id: &str) -> Self {
        Self::Failed(format!(
            "container {id}: {}",
            wharf_tasks::TaskError::Silent
        ))
    }

    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        Self::Failed(chain(error))
    }
}

fn image_kind(kind: wharf_images::ErrorKind) -> ErrorKind {
    use wharf_images::ErrorKind as Kind;
    match kind {
        Kind::InvalidParameter => ErrorKind::InvalidParameter,
        Kind::Unauthorized => ErrorKind::Unauthorized,
        Kind::Forbidden => ErrorKind::Forbidden,
        Kind::NotFound => ErrorKind::NotFound,
        Kind::Conflict => ErrorKind::Conflict,
        Kind::System => ErrorKind::System,
        // Docker answers 500 when a registry cannot be reached.
        Kind::Unavailable => ErrorKind::System,
    }
}

fn network_kind(error: &NetworkError) -> ErrorKind {
    use NetworkError as E;
    match error {
        E::NotFound(_) | E::UnknownDriver(_) | E::NoConfig(_) => ErrorKind::NotFound,
        E::NameInUse(_) => ErrorKind::Conflict,
        E::AlreadyConnected(..) | E::Forbidden(_) | E::InUse { .. } | E::AddressInUse(_) => {
            ErrorKind::Forbidden
        }
        E::NotSupported(_) | E::NoKind(_) => ErrorKind::NotImplemented,
        E::Ambiguous(..)
        | E::NoParent(_)
        | E::Invalid(_)
        | E::AddressOutside(_)
        | E::StaticAddress
        | E::UnknownProtocol(_)
        | E::BadMac(_) => ErrorKind::InvalidParameter,
        _ => ErrorKind::System,
    }
}

fn volume_kind(error: &VolumeError) -> ErrorKind {
    match error {
        // dockerd answers 404 for a driver that is not there, too.
        VolumeError::NotFound(_) | VolumeError::UnknownDriver { .. } => ErrorKind::NotFound,
        VolumeError::InUse { .. } | VolumeError::Exists { .. } | VolumeError::Lost { .. } => {
            ErrorKind::Conflict
        }
        VolumeError::ShortName(_) | VolumeError::InvalidName(_) | VolumeError::Option { .. } => {
            ErrorKind::InvalidParameter
        }
        VolumeError::Plugin { .. } | VolumeError::Mount { .. } | VolumeError::Mounted { .. } => {
            ErrorKind::System
        }
        VolumeError::Folder { .. } | VolumeError::Record(_) => ErrorKind::System,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_gos_words() {
        let full = std::io::Error::from_raw_os_error(28);
        let error = EngineError::io("write", Path::new("/x"))(full);
        assert!(error.message().ends_with("no space left on device"));
    }
}
