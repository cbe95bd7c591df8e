//! What is kept of a volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_records::Table;

use crate::VolumeName;

pub(crate) const VOLUMES: Table<Record> = Table::new("volumes", 1);

/// A volume on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: VolumeName,
    pub(crate) created: Timestamp,
    pub(crate) labels: BTreeMap<String, String>,
    /// Nobody named it: `rm -v` and `volume prune` may take it.
    pub(crate) anonymous: bool,
    pub(crate) phase: Phase,
}

/// Where a volume stands between its creation and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It exists.
    Kept,
    /// It is being removed; nobody can find it any more.
    Removing,
}

/// A volume as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made, or adopted.
    pub created: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether nobody gave it a name.
    pub anonymous: bool,
    /// The folder with its data, on the host.
    pub mountpoint: PathBuf,
}
