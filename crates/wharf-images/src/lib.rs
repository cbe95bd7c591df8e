//! Images: names to manifests, and the verbs on them: pull, load, list, tag, remove, history, search.
//!
//! An image is a configuration (its digest is the image's id), its layers as directories in `wharf-snapshots`, and
//! its blobs in `wharf-content`, all found through records. A pull fetches and unpacks all layers at once, each as
//! one stream that is never written down and read back, and records the image only when everything is there: a
//! failure, a full disk or a kill at any point leaves no image half-made, and what was fetched is not fetched again.
//!
//! What is absent: containers. Who uses an image is told to [`Images::remove`] by the engine. Nothing in an image is
//! executed, and nothing of it becomes configuration of the engine.

mod archive;
mod assembled;
mod attestations;
mod built;
mod catalogue;
mod check;
mod commit;
mod elsewhere;
mod error;
mod flight;
pub mod glob;
mod history;
mod list;
mod load;
mod lookup;
mod progress;
mod pull;
mod push;
mod push_referrers;
mod records;
mod remove;
mod save;
mod served;
mod spool;
mod store;
mod types;
mod unpack;
mod variants;
mod work;

pub use assembled::{Assembled, BlobHold, Document};
pub use attestations::Attestation;
pub use built::{BuiltLayer, LayerHold, PACKED};
pub use check::{Checked, Fault};
pub use commit::NewLayer;
pub use elsewhere::BlobPlace;
pub use error::{ErrorKind, ImageError};
pub use progress::{LayerState, Line, Progress, ProgressSender};
pub use pull::Fetched;
pub use store::{ImagePin, Images};
pub use types::{
    DiskUsage, HistoryEntry, Image, ImageUsage, ImageUse, ListOptions, Pruned, PullOptions, Pulled,
    PushOptions, RemoveOptions, Removed, SearchResults,
};
pub use variants::{ManifestKind, ManifestView};
pub use work::{at_clients_pace, at_clients_pace_or_in_turn};
