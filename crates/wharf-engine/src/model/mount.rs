//! What is mounted into a container: as asked for, and as resolved.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How mounts below a bind spread between host and container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// `rprivate`, Docker's default.
    #[default]
    RPrivate,
    /// `private`.
    Private,
    /// `rshared`.
    RShared,
    /// `shared`.
    Shared,
    /// `rslave`.
    RSlave,
    /// `slave`.
    Slave,
}

impl Propagation {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Propagation::RPrivate => "rprivate",
            Propagation::Private => "private",
            Propagation::RShared => "rshared",
            Propagation::Shared => "shared",
            Propagation::RSlave => "rslave",
            Propagation::Slave => "slave",
        }
    }

    /// Parses Docker's word.
    pub fn parse(text: &str) -> Option<Propagation> {
        let all = [
            Propagation::RPrivate,
            Propagation::Private,
            Propagation::RShared,
            Propagation::Shared,
            Propagation::RSlave,
            Propagation::Slave,
        ];
        all.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// One `-v source:target[:options]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bind {
    /// The whole text, for `inspect`.
    pub text: String,
    /// What is mounted.
    pub source: BindSource,
    /// Where, absolute and clean.
    pub target: String,
    /// The options as typed (`ro`, `z`, `nocopy`, …).
    pub mode: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Whether a new volume is not filled from the image.
    pub no_copy: bool,
    /// Propagation, for host paths; `None` if nobody asked.
    pub propagation: Option<Propagation>,
}

/// The left side of a `-v`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BindSource {
    /// A path of the host; a folder is made if there is nothing.
    Path(PathBuf),
    /// A named volume.
    Volume(String),
    /// None: a volume without a name.
    Anonymous,
}

/// One `--mount`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MountRequest {
    /// Where in the container.
    pub target: String,
    /// Whether it is read-only.
    pub read_only: bool,
    /// Docker's `Consistency`; kept, without meaning on Linux.
    pub consistency: String,
    /// What is mounted.
    pub kind: MountKind,
}

/// What a `--mount` mounts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host, which must exist unless `create_source`.
    Bind {
        /// The path.
        source: PathBuf,
        /// Propagation; `None` if nobody asked.
        propagation: Option<Propagation>,
        /// Mounts below it are not mounted.
        non_recursive: bool,
        /// A missing folder is made.
        create_source: bool,
        /// Mounts below a read-only one stay writable.
        read_only_non_recursive: bool,
        /// Mounts below must become read-only, or it is an error.
        read_only_force_recursive: bool,
        /// Whose the files appear to be.
        #[serde(default)]
        id_mapping: Option<IdMapping>,
    },
    /// A volume; anonymous if `source` is empty.
    Volume {
        /// Its name.
        source: String,
        /// It is not filled from the image.
        no_copy: bool,
        /// Labels of a new one.
        labels: std::collections::BTreeMap<String, String>,
        /// Driver of a new one.
        driver: String,
        /// Options of a new one.
        options: std::collections::BTreeMap<String, String>,
        /// A folder inside the volume.
        subpath: String,
    },
    /// The files of an image, read-only.
    Image {
        /// Its name or id.
        source: String,
        /// A folder or file inside the image.
        subpath: String,
    },
    /// A file system in memory.
    Tmpfs(TmpfsRequest),
}

/// Whose the files of a bind appear to be (moby pull request 53368, `IDMapping`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdMapping {
    /// The owner of the source appears as this user of the container's, as `--user` names one; its own if empty.
    MatchUser(String),
    /// By these rows, the first for users, the second for groups.
    Ranges(Vec<IdRange>, Vec<IdRange>),
}

/// Ids on the file system, and those that they appear as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first on the file system.
    pub on_disk: u32,
    /// The first in the container.
    pub shown: u32,
    /// How many.
    pub size: u32,
}

impl MountKind {
    /// Docker's word for it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bind { .. } => "bind",
            Self::Volume { .. } => "volume",
            Self::Image { .. } => "image",
            Self::Tmpfs(_) => "tmpfs",
        }
    }
}

/// Settings of a tmpfs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TmpfsRequest {
    /// Bytes; 0 is the kernel's default.
    pub size: u64,
    /// Mode bits; 0 is 1777.
    pub mode: u32,
    /// Further options, `key` or `key=value`.
    pub options: Vec<(String, Option<String>)>,
}

/// A mount as it is resolved at the creation (Docker's `Mounts`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: String,
    /// The volume's name; empty for others.
    pub name: String,
    /// Path on the host; empty for a tmpfs.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: String,
    /// `local` for volumes.
    pub driver: String,
    /// The mode text of `-v`.
    pub mode: String,
    /// Whether it is writable.
    pub rw: bool,
    /// Propagation; empty for volumes and tmpfs, as Docker has it.
    pub propagation: String,
    /// Whether a fresh volume is filled from the image.
    pub copy_up: bool,
    /// Whether a missing source folder is made at the start.
    pub create_source: bool,
    /// Whether mounts below are not taken along.
    pub non_recursive: bool,
    /// Read-only is only the mount itself: what is mounted below it stays writable.
    #[serde(default)]
    pub top_read_only: bool,
    /// A folder inside the volume.
    pub subpath: String,
    /// Mount options of a tmpfs.
    pub tmpfs: Option<String>,
    /// Whether nobody named the volume: `rm -v` takes it.
    pub anonymous: bool,
    /// The snapshot that holds the layers of an image.
    #[serde(default)]
    pub snapshot: String,
    /// Whose the files of a bind appear to be.
    #[serde(default)]
    pub id_mapping: Option<IdMapping>,
    /// Layers that are mounted instead of `source`; only a build's step has such.
    #[serde(skip)]
    pub layers: Option<LayerMount>,
}

/// Folders on top of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerMount {
    /// The read-only ones, the topmost first.
    pub lowers: Vec<PathBuf>,
    /// The writable one and overlay's own; none for a read-only mount.
    pub upper: Option<(PathBuf, PathBuf)>,
}
