//! What `inspect` and `ps` read: a container as it was at one moment.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_oci::{ChainId, Digest, Platform};

use super::{Config, HostConfig, MountPoint, Port, PortBinding};
use crate::HealthView;

/// A container at one moment. Published by its supervisor after each change; reading it takes no lock that
/// a change waits for.
#[derive(Clone, Debug)]
pub struct View {
    /// Full id, 64 hexadecimal digits.
    pub id: String,
    /// Name without the slash.
    pub name: String,
    /// When it was created.
    pub created: Timestamp,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Id of its image.
    pub image: Digest,
    /// Chain ids of the image's layers, bottom first.
    pub chain: Arc<Vec<ChainId>>,
    /// What it runs on.
    pub platform: Platform,
    /// Portable settings, merged with the image's.
    pub config: Arc<Config>,
    /// Host settings, defaults filled in.
    pub host: Arc<HostConfig>,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Its state.
    pub state: StateView,
    /// How often the restart policy has started it again.
    pub restart_count: u32,
    /// Its networks.
    pub network: NetworkView,
    /// `/etc/hostname` on the host.
    pub hostname_path: PathBuf,
    /// `/etc/hosts` on the host.
    pub hosts_path: PathBuf,
    /// `/etc/resolv.conf` on the host.
    pub resolv_conf_path: PathBuf,
    /// The log file; empty without a json-file log.
    pub log_path: PathBuf,
    /// Where its log can be read, and how.
    pub log_store: Option<(PathBuf, wharf_logs::Format)>,
    /// Ids of its live exec sessions.
    pub exec_ids: Vec<String>,
    /// The lower directories of its file system, top first; the upper and work directories.
    pub layers: Option<(Vec<PathBuf>, PathBuf, PathBuf)>,
    /// Name of the AppArmor profile; empty without.
    pub app_armor_profile: String,
    /// Whether the last start failed.
    pub start_failed: bool,
    /// How many times a process of it has ended; for waiters.
    pub exits: u64,
    /// How many kills have not ended it; for waiters.
    pub unkilled: u64,
    /// Whether it is gone for good.
    pub removed: bool,
}

impl View {
    /// The first twelve digits of the id.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }
}

/// Docker's word for a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// Never started.
    Created,
    /// A process runs.
    Running,
    /// All its processes are frozen.
    Paused,
    /// It has ended and will be started again.
    Restarting,
    /// It has ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Its removal failed.
    Dead,
}

impl Status {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Restarting => "restarting",
            Status::Exited => "exited",
            Status::Removing => "removing",
            Status::Dead => "dead",
        }
    }
}

/// Docker's `State`, computed in one place from the one state enum.
#[derive(Clone, Debug, PartialEq)]
pub struct StateView {
    /// The word.
    pub status: Status,
    /// Docker's booleans, which overlap: a paused or restarting container is also running.
    pub running: bool,
    /// Whether it is frozen.
    pub paused: bool,
    /// Whether it is between two runs.
    pub restarting: bool,
    /// Whether its removal failed.
    pub dead: bool,
    /// Whether the kernel killed a process of the last run for want of memory.
    pub oom_killed: bool,
    /// First process as the host sees it; 0 if none.
    pub pid: u32,
    /// Exit code of the last run; 0 before.
    pub exit_code: i32,
    /// Why the last start failed; empty if it did not.
    pub error: String,
    /// When the last run began.
    pub started_at: Option<Timestamp>,
    /// When the last run ended.
    pub finished_at: Option<Timestamp>,
    /// Its health, if it has a check and has run.
    pub health: Option<HealthView>,
}

impl StateView {
    /// Docker's word for its health; `none` without a check.
    pub fn health_word(&self) -> &'static str {
        self.health
            .as_ref()
            .map_or("none", |health| health.status.as_str())
    }

    /// `ps`'s status column: `Up 5 minutes`, `Exited (0) 2 hours ago`, in Docker's words.
    pub fn human(&self, now: Timestamp) -> String {
        crate::human::status(self, now)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExitInfo {
    /// Exit code, or 128 and the signal's number.
    pub code: i32,
    /// When.
    pub at: Timestamp,
    /// Whether the kernel killed for want of memory.
    pub oom_killed: bool,
    /// Why it did not even start.
    pub error: Option<String>,
}

/// What was asked for in one network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointSettings {
    /// Static IPv4 address.
    pub ipv4_address: Option<Ipv4Addr>,
    /// Static IPv6 address.
    #[serde(default)]
    pub ipv6_address: Option<Ipv6Addr>,
    /// Further addresses, valid on the link only.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// The network with the highest number leads outside.
    #[serde(default)]
    pub gateway_priority: i64,
    /// MAC address, as typed.
    pub mac_address: String,
    /// Further names in that network.
    pub aliases: Vec<String>,
    /// Old links.
    pub links: Vec<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
}

/// A container's networks at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkView {
    /// By the network's name.
    pub endpoints: BTreeMap<String, EndpointView>,
    /// Exposed and published ports; those not published have an empty list.
    pub ports: BTreeMap<Port, Vec<PortBinding>>,
    /// The namespace's path on the host; empty if it is not its own.
    pub sandbox_key: String,
    /// The namespace's id.
    pub sandbox_id: String,
}

/// A container in one network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// What was asked for.
    pub settings: EndpointSettings,
    /// The network's id; empty before the first start.
    pub network_id: String,
    /// The endpoint's id; empty while it does not run.
    pub endpoint_id: String,
    /// Address.
    pub ip: Option<IpAddr>,
    /// Length of the address's prefix.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
    /// IPv6 address.
    #[serde(default)]
    pub ip6: Option<Ipv6Addr>,
    /// Length of its prefix.
    #[serde(default)]
    pub prefix6: u8,
    /// IPv6 default gateway.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// MAC address.
    pub mac: String,
    /// Names under which it is found.
    pub dns_names: Vec<String>,
}
