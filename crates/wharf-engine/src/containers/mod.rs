//! Containers: the registry and the verbs, one file each.
//!
//! A verb finds its container in the registry, reads the published view, or sends one command to the
//! container's supervisor and waits for the view to show what it wants. No lock is held across an `await`, and a
//! verb never changes a container itself.

mod archive;
mod attach;
mod changes;
pub(crate) mod commit;
mod create;
mod exec;
mod export;
mod frames;
mod inspect;
mod kill;
mod list;
mod logs;
mod lost;
mod merge;
pub(crate) mod mounts;
mod pause;
mod prune;
mod registry;
mod remove;
mod rename;
pub(crate) mod scaffold;
mod start;
mod stats;
pub(crate) mod stop;
mod top;
mod types;
pub(crate) mod update;
mod verify;
mod wait;

pub use archive::{ExtractOptions, PathStat};
pub use attach::Attachment;
pub use changes::{ChangeKind, FileChange};
pub use commit::CommitOptions;
pub use logs::LogStream;
pub use stats::{InterfaceStats, StatsSample, StatsStream};
pub use types::{
    AttachEnd, AttachOptions, Created, DeviceLists, ExecStartOptions, ExecView, ListOptions,
    Listed, LogOptions, NewExec, PruneReport, PruneWatcher, Pruned, RemoveOptions, Size,
    StopOptions, Top, Update, WaitCondition, WaitResult,
};
pub use wait::Waiter;

pub(crate) use attach::Pending;
pub(crate) use changes::{Layers, is_opaque};
pub(crate) use merge::environment;
pub use mounts::parse_bind;
pub(crate) use prune::until;
pub(crate) use registry::{Entry, Input, NameHold, Renamed, Shared, container_of};

use std::sync::Arc;

use crate::{EngineError, View};

/// All containers. Clones share them. A container is meant by its name, its id or a unique beginning of its id.
#[derive(Clone)]
pub struct Containers {
    pub(crate) shared: Arc<Shared>,
}

impl Containers {
    pub(crate) fn find(&self, container: &str) -> Result<Arc<Entry>, EngineError> {
        self.shared.find(container)
    }

    /// The views of all containers, in no order.
    pub(crate) fn views(&self) -> Vec<Arc<View>> {
        self.shared.views()
    }
}
