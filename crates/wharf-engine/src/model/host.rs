//! The half of a container's settings that belongs to the host (Docker's `HostConfig`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Bind, MountRequest, Port, PortBinding, Resources};

/// Settings that belong to this host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostConfig {
    /// `-v`: binds and named volumes, in order.
    pub binds: Vec<Bind>,
    /// `--mount`, in order.
    pub mounts: Vec<MountRequest>,
    /// `--volumes-from`, as `container[:ro]`.
    pub volumes_from: Vec<String>,
    /// `--tmpfs`: path to options.
    pub tmpfs: BTreeMap<String, String>,
    /// Default volume driver.
    pub volume_driver: String,
    /// File the client wrote the id to; kept for `inspect`.
    pub container_id_file: String,
    /// Log driver; the daemon's if its name is empty.
    pub log: LogConfig,
    /// Network.
    pub network_mode: NetworkMode,
    /// Published ports; an empty list publishes on a port of the daemon's choice.
    pub port_bindings: BTreeMap<Port, Vec<PortBinding>>,
    /// `-P`: publish all exposed ports.
    pub publish_all_ports: bool,
    /// What happens after an exit.
    pub restart_policy: RestartPolicy,
    /// `--rm`.
    pub auto_remove: bool,
    /// Terminal size at the start: rows, columns.
    pub console_size: (u32, u32),
    /// Annotations of the OCI bundle.
    pub annotations: BTreeMap<String, String>,
    /// Capabilities added, as typed.
    pub cap_add: Vec<String>,
    /// Capabilities dropped, as typed.
    pub cap_drop: Vec<String>,
    /// `host` or `private`; the daemon's default if empty.
    pub cgroupns_mode: String,
    /// DNS servers.
    pub dns: Vec<String>,
    /// resolv.conf options.
    pub dns_options: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// `host:address`.
    pub extra_hosts: Vec<String>,
    /// Additional groups.
    pub group_add: Vec<String>,
    /// IPC namespace.
    pub ipc_mode: IpcMode,
    /// PID namespace.
    pub pid_mode: NamespaceMode,
    /// UTS namespace (`host` or private).
    pub uts_mode: NamespaceMode,
    /// User namespace mode; empty or `host`.
    pub userns_mode: String,
    /// Old links, `container:alias`.
    pub links: Vec<String>,
    /// OOM killer preference, −1000 to 1000.
    pub oom_score_adj: i64,
    /// `--privileged`.
    pub privileged: bool,
    /// `--read-only`.
    pub readonly_rootfs: bool,
    /// `--security-opt`, as typed.
    pub security_opt: Vec<String>,
    /// Storage driver options.
    pub storage_opt: BTreeMap<String, String>,
    /// Size of /dev/shm in bytes; 0 is the daemon's default.
    pub shm_size: u64,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// OCI runtime; empty is our own.
    pub runtime: String,
    /// The processes' file mode creation mask; the runtime's own if `None`.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Masked paths instead of the default's.
    pub masked_paths: Option<Vec<String>>,
    /// Read-only paths instead of the default's.
    pub readonly_paths: Option<Vec<String>>,
    /// `--init`; the daemon's default if `None`.
    pub init: Option<bool>,
    /// Limits and devices.
    pub resources: Resources,
    /// Which lists and maps the client gave without a member, as `Dns` or `Mounts[0].BindOptions`: `inspect` shows those
    /// empty, and as null or not at all what was not given.
    #[serde(default)]
    pub given_empty: BTreeSet<String>,
}

/// A log driver and its options.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `json-file`, `none` …; empty is the daemon's default.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Which network a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// The default network, `bridge`; `docker inspect` says `default` or `bridge` as it was asked for.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id as typed.
    Container(String),
    /// A network by name or id, `bridge` among them.
    Named(String),
}

impl NetworkMode {
    /// Parses Docker's text.
    pub fn parse(text: &str) -> NetworkMode {
        match text {
            "" | "default" => NetworkMode::Default,
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            _ => match text.strip_prefix("container:") {
                Some(container) => NetworkMode::Container(container.to_owned()),
                None => NetworkMode::Named(text.to_owned()),
            },
        }
    }

    /// The name under which the network appears in the settings: `bridge` for the default one.
    pub fn network_name(&self) -> Option<&str> {
        match self {
            NetworkMode::Default => Some("bridge"),
            NetworkMode::None => Some("none"),
            NetworkMode::Host => Some("host"),
            NetworkMode::Container(_) => None,
            NetworkMode::Named(name) => Some(name),
        }
    }
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkMode::Default => f.write_str("bridge"),
            NetworkMode::None => f.write_str("none"),
            NetworkMode::Host => f.write_str("host"),
            NetworkMode::Container(container) => write!(f, "container:{container}"),
            NetworkMode::Named(name) => f.write_str(name),
        }
    }
}

/// A namespace that may be the container's own, the host's or another container's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

impl NamespaceMode {
    /// Parses Docker's text (empty, `private`, `host`, `container:x`); `None` if it is none of these.
    pub fn parse(text: &str) -> Option<NamespaceMode> {
        match text {
            "" | "private" => Some(NamespaceMode::Private),
            "host" => Some(NamespaceMode::Host),
            _ => {
                let container = text.strip_prefix("container:")?;
                (!container.is_empty()).then(|| NamespaceMode::Container(container.to_owned()))
            }
        }
    }
}

impl fmt::Display for NamespaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceMode::Private => Ok(()),
            NamespaceMode::Host => f.write_str("host"),
            NamespaceMode::Container(container) => write!(f, "container:{container}"),
        }
    }
}

/// The IPC namespace, which has two kinds of privacy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IpcMode {
    /// Not said; the daemon's default, `private` or `shareable`, once the container is made.
    #[default]
    Unset,
    /// Its own, not to be shared (Docker's default since API 1.40).
    Private,
    /// Its own, and others may join.
    Shareable,
    /// Its own, and no /dev/shm.
    None,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

impl IpcMode {
    /// Parses Docker's text; `None` if it is no mode.
    pub fn parse(text: &str) -> Option<IpcMode> {
        match text {
            "" => Some(IpcMode::Unset),
            "private" => Some(IpcMode::Private),
            "shareable" => Some(IpcMode::Shareable),
            "none" => Some(IpcMode::None),
            "host" => Some(IpcMode::Host),
            _ => text
                .strip_prefix("container:")
                .filter(|container| !container.is_empty())
                .map(|container| IpcMode::Container(container.to_owned())),
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpcMode::Unset => Ok(()),
            IpcMode::Private => f.write_str("private"),
            IpcMode::Shareable => f.write_str("shareable"),
            IpcMode::None => f.write_str("none"),
            IpcMode::Host => f.write_str("host"),
            IpcMode::Container(container) => write!(f, "container:{container}"),
        }
    }
}

/// A namespace of another container, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedNamespace {
    /// Full id of the other container.
    pub container: String,
    /// Its first process.
    pub pid: u32,
}

/// What happens after a container's process has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    No,
    /// It is started again.
    Always,
    /// It is started again unless somebody stopped it.
    UnlessStopped,
    /// It is started again after a failure, at most so many times (0: without limit).
    OnFailure {
        /// The limit.
        max_retries: u32,
    },
    /// As `OnFailure`; and a container that becomes unhealthy is stopped and started again. Not Docker's, where users ask
    /// for it (moby#28400).
    OnUnhealthy {
        /// The limit.
        max_retries: u32,
    },
}

impl RestartPolicy {
    /// Docker's name.
    pub fn name(&self) -> &'static str {
        match self {
            RestartPolicy::No => "no",
            RestartPolicy::Always => "always",
            RestartPolicy::UnlessStopped => "unless-stopped",
            RestartPolicy::OnFailure { .. } => "on-failure",
            RestartPolicy::OnUnhealthy { .. } => "on-unhealthy",
        }
    }

    /// The limit of `on-failure` and `on-unhealthy`, else 0.
    pub fn max_retries(&self) -> u32 {
        match self {
            RestartPolicy::OnFailure { max_retries }
            | RestartPolicy::OnUnhealthy { max_retries } => *max_retries,
            _ => 0,
        }
    }
}
