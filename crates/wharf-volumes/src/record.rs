//! What is kept of a volume.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_records::Table;

use crate::VolumeName;

/// Version 2 knows [`Phase::Promised`]; what version 1 knew means the same.
pub(crate) const VOLUMES: Table<Record> =
    Table::new("volumes", 2).upgraded_by(|_, document| document);

/// For whom a plugin has mounted a volume; at the volume's name, a slash and the holder. So it can be unmounted after a kill.
pub(crate) const MOUNTED: Table<Mounted> = Table::new("volume_mounted", 1);

/// That somebody holds a volume of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mounted {
    pub(crate) name: VolumeName,
    pub(crate) holder: String,
    /// The plugin that mounted it, whatever becomes of the volume's record; older notes do not say.
    #[serde(default)]
    pub(crate) driver: Option<String>,
}

impl Mounted {
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.name, self.holder)
    }
}

/// The name of the driver that keeps volumes as folders of the data root.
pub const LOCAL: &str = "local";

/// Labels or options; `None` where nobody gave any, which Docker tells from an empty map.
pub type Pairs = Option<BTreeMap<String, String>>;

/// A volume on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: VolumeName,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) labels: Pairs,
    /// Nobody named it: `rm -v` and `volume prune` may take it.
    pub(crate) anonymous: bool,
    pub(crate) phase: Phase,
    #[serde(default = "local")]
    pub(crate) driver: String,
    #[serde(default)]
    pub(crate) options: Pairs,
}

fn local() -> String {
    LOCAL.to_owned()
}

impl Phase {
    /// Whether the volume can be found.
    pub(crate) fn is_there(self) -> bool {
        matches!(self, Self::Kept | Self::Promised)
    }
}

impl Record {
    pub(crate) fn is_local(&self) -> bool {
        self.driver == LOCAL
    }
}

/// Where a volume stands between its creation and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It exists.
    Kept,
    /// It exists, for a container that does not yet: see [`crate::Volumes::keep`]. It goes with the daemon.
    Promised,
    /// It is being removed; nobody can find it any more.
    Removing,
}

/// A volume as others see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: VolumeName,
    /// When it was made, or adopted; a plugin does not always say.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: Pairs,
    /// Whether nobody gave it a name.
    pub anonymous: bool,
    /// The folder with its data, on the host; of a plugin's volume that is not mounted it can be empty.
    pub mountpoint: PathBuf,
    /// `local`, or the plugin's name.
    pub driver: String,
    /// The driver's options.
    pub options: Pairs,
    /// Where it can be had: `local` or `global`.
    pub scope: String,
    /// What a plugin says of it.
    pub status: Option<serde_json::Map<String, serde_json::Value>>,
}

impl Volume {
    /// Whether it is a plain folder below the data root: one whose files `df` and `prune` count as ours.
    pub fn is_plain(&self) -> bool {
        self.driver == LOCAL && self.options.as_ref().is_none_or(BTreeMap::is_empty)
    }
}
