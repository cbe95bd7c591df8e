//! What can go wrong with a volume.

use std::path::{Path, PathBuf};

use wharf_records::RecordError;

use crate::VolumeName;

/// An error of the volume store. Texts are dockerd's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The name has characters that no volume name has.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    InvalidName(String),
    /// The name has one character only.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    ShortName(String),
    /// There is no such volume.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// A volume of this name exists with another driver.
    #[error(
        "create {name}: driver '{driver}' already has volume '{name}': volume name must be unique"
    )]
    Exists {
        /// The name.
        name: VolumeName,
        /// The driver that has it.
        driver: String,
    },
    /// Its plugin says that it has no such volume (any more), and somebody counts on it.
    #[error(
        "create {name}: found references to volume '{name}' in driver '{driver}' but the volume was not found in the driver -- you may need to remove containers referencing this volume or force remove the volume to re-create it: volume name must be unique"
    )]
    Lost {
        /// The name.
        name: VolumeName,
        /// The driver that had it.
        driver: String,
    },
    /// A driver that is not there.
    #[error(
        "{operation} {name}: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
    )]
    UnknownDriver {
        /// `create`, `get`.
        operation: &'static str,
        /// The volume's name.
        name: String,
        /// The driver asked for.
        driver: String,
    },
    /// An option of the local driver that it does not have or cannot honour.
    #[error("create {name}: {reason}")]
    Option {
        /// The volume's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A plugin refuses, or does not answer.
    #[error("{operation} {name}: {reason}")]
    Plugin {
        /// `create`, `get`, `remove`.
        operation: &'static str,
        /// The volume's name.
        name: String,
        /// The plugin's words, or those about it.
        reason: String,
    },
    /// It could not be mounted for who wants to use it.
    #[error("error while mounting volume '{path}': {reason}")]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It is mounted, and cannot be unmounted: nothing is deleted below a mount.
    #[error("remove {name}: unmount {path}")]
    Mounted {
        /// The volume.
        name: VolumeName,
        /// Where.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Somebody uses it.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    InUse {
        /// The volume.
        name: VolumeName,
        /// The ids of the containers that use it.
        users: Vec<String>,
    },
    /// Its folder could not be made, moved or measured.
    #[error("{operation} volume folder {path}")]
    Folder {
        /// `make`, `remove`, `list`.
        operation: &'static str,
        /// The folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Its record could not be read or written.
    #[error("volume record")]
    Record(#[from] RecordError),
}

impl VolumeError {
    pub(crate) fn folder(
        operation: &'static str,
        path: &Path,
    ) -> impl Fn(std::io::Error) -> VolumeError + use<> {
        let path = path.to_owned();
        move |source| VolumeError::Folder {
            operation,
            path: path.clone(),
            source,
        }
    }
}
