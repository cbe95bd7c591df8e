//! What is kept of a container on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use wharf_oci::{ChainId, Digest, Platform};
use wharf_records::Table;

use crate::lifecycle::{Phase, State};
use crate::{
    Config, HealthStatus, HealthView, HostConfig, MountPoint, NetworkView, StateView, Status, View,
};

pub(crate) const CONTAINERS: Table<Record> = Table::new("containers", 1);

/// A container on disk, as of its last change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    pub(crate) path: String,
    pub(crate) args: Vec<String>,
    pub(crate) image: Digest,
    #[serde(serialize_with = "shared", deserialize_with = "to_shared")]
    pub(crate) chain: Arc<Vec<ChainId>>,
    pub(crate) platform: Platform,
    #[serde(serialize_with = "shared", deserialize_with = "to_shared")]
    pub(crate) config: Arc<Config>,
    #[serde(serialize_with = "shared", deserialize_with = "to_shared")]
    pub(crate) host: Arc<HostConfig>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) network: NetworkView,
    pub(crate) app_armor_profile: String,
    pub(crate) state: State,
    pub(crate) last: LastRun,
    /// Of a container with a health check that has run.
    #[serde(default)]
    pub(crate) health: Option<HealthView>,
    /// With the container go its anonymous volumes; decided by whoever removes it.
    pub(crate) remove_volumes: bool,
}

/// What is known of the last run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LastRun {
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) exit_code: i32,
    pub(crate) oom_killed: bool,
    pub(crate) error: String,
    /// Whether that is why the last start failed, and not of a record or a removal.
    #[serde(default)]
    pub(crate) start_failed: bool,
    /// How many runs have ended.
    pub(crate) exits: u64,
}

/// Where the files of containers are.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    pub(crate) containers: PathBuf,
}

impl Folders {
    pub(crate) fn of(&self, id: &str) -> PathBuf {
        self.containers.join(id)
    }

    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.of(id).join(format!("{id}-json.log"))
    }
}

impl Record {
    /// Docker's state, computed here and nowhere else.
    pub(crate) fn state_view(&self) -> StateView {
        let ran = self.last.started_at.is_some();
        let resting = if ran { Status::Exited } else { Status::Created };
        let (status, pid) = match self.state.phase {
            Phase::Created | Phase::Exited | Phase::Held | Phase::Starting => (resting, 0),
            Phase::Running { pid } | Phase::Stopping { pid, .. } => (Status::Running, pid),
            Phase::Paused { pid, .. } => (Status::Paused, pid),
            Phase::Waiting => (Status::Restarting, 0),
            Phase::Removing => (Status::Removing, 0),
            Phase::Dead => (Status::Dead, 0),
        };
        // While the policy starts it again it is restarting still.
        let again = self.state.phase == Phase::Starting && self.state.restarts > 0;
        let status = if again { Status::Restarting } else { status };
        let mut health = self.health.clone();
        if let Some(health) = health.as_mut().filter(|_| status == Status::Paused) {
            // It is not watched, which is written down only once it is frozen.
            health.status = HealthStatus::Unhealthy;
        }
        StateView {
            status,
            running: matches!(
                status,
                Status::Running | Status::Paused | Status::Restarting
            ),
            paused: status == Status::Paused,
            restarting: status == Status::Restarting,
            dead: status == Status::Dead,
            oom_killed: self.last.oom_killed,
            pid,
            exit_code: self.last.exit_code,
            error: self.last.error.clone(),
            started_at: self.last.started_at,
            finished_at: self.last.finished_at,
            health,
        }
    }

    /// The view of this record.
    pub(crate) fn view(&self, folders: &Folders, removed: bool) -> View {
        let folder = folders.of(&self.id);
        let log_path = match self.host.log.driver.as_str() {
            "json-file" => folders.log(&self.id),
            _ => PathBuf::new(),
        };
        View {
            id: self.id.clone(),
            name: self.name.clone(),
            created: self.created,
            path: self.path.clone(),
            args: self.args.clone(),
            image: self.image,
            chain: self.chain.clone(),
            platform: self.platform.clone(),
            config: self.config.clone(),
            host: self.host.clone(),
            mounts: self.mounts.clone(),
            state: self.state_view(),
            restart_count: self.state.restarts,
            network: self.network.clone(),
            hostname_path: file(&folder, "hostname"),
            hosts_path: file(&folder, "hosts"),
            resolv_conf_path: file(&folder, "resolv.conf"),
            log_path,
            log_store: crate::logging::store(folders, &self.id, &self.host.log),
            exec_ids: Vec::new(),
            layers: None,
            app_armor_profile: self.app_armor_profile.clone(),
            start_failed: self.last.start_failed,
            exits: self.last.exits,
            unkilled: 0,
            removed,
        }
    }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}

fn shared<T: Serialize, S: Serializer>(value: &Arc<T>, to: S) -> Result<S::Ok, S::Error> {
    value.as_ref().serialize(to)
}

fn to_shared<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Arc<T>, D::Error> {
    T::deserialize(from).map(Arc::new)
}
