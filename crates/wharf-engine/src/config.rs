//! The daemon's settings, as far as the engine knows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use crate::sysinfo::SysInfo;
use crate::{BuildConfig, EngineError, LogConfig, Remap, Ulimit};

/// Settings of an engine, resolved: `daemon.json` and flags have been merged and checked by the daemon.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Everything that must not be lost; `/var/lib/wharf`.
    pub data_root: PathBuf,
    /// Everything that does not outlive the machine's run; `/run/wharf`.
    pub exec_root: PathBuf,
    /// The shim's program file; copied into a sealed memfd at the start.
    pub shim: PathBuf,
    /// Settings of the default bridge.
    pub bridge: BridgeConfig,
    /// Settings of the registry client.
    pub registry: wharf_distribution::Config,
    /// Log driver and options of containers that name none.
    pub log: LogConfig,
    /// Ulimits of every container, by name.
    pub default_ulimits: BTreeMap<String, Ulimit>,
    /// Size of /dev/shm, bytes.
    pub default_shm_size: u64,
    /// `host` or `private`; by default private on cgroup v2, the host's on v1.
    pub default_cgroupns_mode: String,
    /// `private` or `shareable`: IPC namespace of containers that name none.
    pub default_ipc_mode: String,
    /// OCI runtimes beside our own, by name.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// Name of the runtime of containers that ask for none.
    pub default_runtime: String,
    /// Folders of CDI files, those of later ones winning; none, if there is to be no CDI.
    pub cdi_folders: Vec<PathBuf>,
    /// Who makes control groups.
    pub cgroup_driver: CgroupDriver,
    /// Parent control group, or with systemd a slice; empty is `/wharf` or `system.slice`.
    pub cgroup_parent: String,
    /// Whether containers get an init unless they say no.
    pub init: bool,
    /// Whether containers get `no-new-privileges` unless they say no.
    pub no_new_privileges: bool,
    /// Default seccomp profile: `builtin`, `unconfined` or a file.
    pub seccomp_profile: String,
    /// What the ids of containers are on the host, but for those with `--userns=host`; the same if `None`.
    pub userns_remap: Option<Remap>,
    /// DNS servers of containers that name none.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// resolv.conf options.
    pub dns_options: Vec<String>,
    /// What `host-gateway` in `--add-host` means; the bridge's gateway if `None`.
    pub host_gateway_ip: Option<IpAddr>,
    /// The daemon's labels.
    pub labels: Vec<String>,
    /// Whether containers survive a clean stop of the daemon.
    pub live_restore: bool,
    /// Seconds for containers to stop at a clean shutdown.
    pub shutdown_timeout: u64,
    /// Debug messages are on (a fact of `info`).
    pub debug: bool,
    /// Experimental features are wanted (a fact of `info` and `version`).
    pub experimental: bool,
    /// The features that were switched, as `reload` events tell; [`EngineConfig::builds_by_buildkit`] goes by one.
    pub features: BTreeMap<String, bool>,
    /// `http-proxy`, `https-proxy`, `no-proxy` (facts of `info`).
    pub proxies: [String; 3],
    /// What builds may do.
    pub build: BuildConfig,
    /// The sources that the daemon was built from (facts of `version`).
    pub revision: Revision,
}

/// A state of the sources.
#[derive(Clone, Copy, Debug, Default)]
pub struct Revision {
    /// The commit's short name; empty if the build was not told.
    pub commit: &'static str,
    /// When it was committed, by RFC 3339; empty if the build was not told.
    pub time: &'static str,
}

impl EngineConfig {
    /// Whether clients are told to build by BuildKit's protocol, else by the classic builder's: unless the feature is switched off.
    pub fn builds_by_buildkit(&self) -> bool {
        self.features.get("buildkit") != Some(&false)
    }

    /// Whether a daemon could start with these settings, as far as they can be judged without it.
    ///
    /// # Errors
    /// Those of [`Engine::open`](crate::Engine::open) for settings that are malformed or contradict each other.
    pub fn check(&self) -> Result<(), EngineError> {
        crate::logging::verify(&self.log).map_err(|error| {
            EngineError::Invalid(format!("failed to set log opts: {}", error.message()))
        })?;
        crate::engine::network_config(self)?.check()?;
        self.registry
            .validate()
            .map_err(|error| EngineError::failed(&error))
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            data_root: PathBuf::from("/var/lib/wharf"),
            exec_root: PathBuf::from("/run/wharf"),
            shim: PathBuf::from("/usr/libexec/wharf/wharf-shim"),
            bridge: BridgeConfig::default(),
            registry: wharf_distribution::Config::default(),
            log: LogConfig {
                driver: "json-file".to_owned(),
                options: BTreeMap::new(),
            },
            default_ulimits: BTreeMap::new(),
            default_shm_size: 64 << 20,
            // As dockerd has it: programs of v1's time look for their container's id in /proc/self/cgroup.
            default_cgroupns_mode: match SysInfo::now().unified {
                true => "private".to_owned(),
                false => "host".to_owned(),
            },
            default_ipc_mode: "private".to_owned(),
            runtimes: BTreeMap::new(),
            default_runtime: "wharf".to_owned(),
            cdi_folders: crate::cdi::FOLDERS.iter().map(PathBuf::from).collect(),
            cgroup_driver: CgroupDriver::of_host(),
            cgroup_parent: String::new(),
            init: false,
            no_new_privileges: false,
            seccomp_profile: "builtin".to_owned(),
            userns_remap: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
            host_gateway_ip: None,
            labels: Vec::new(),
            live_restore: false,
            shutdown_timeout: 15,
            debug: false,
            experimental: false,
            features: BTreeMap::new(),
            proxies: Default::default(),
            build: BuildConfig::default(),
            revision: Revision::default(),
        }
    }
}

/// Who makes control groups (`native.cgroupdriver`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupDriver {
    /// We, by the kernel's files.
    Cgroupfs,
    /// systemd: every container is a scope of its.
    Systemd,
}

impl CgroupDriver {
    /// dockerd's choice where none is said: systemd, if it runs the host and cgroup v2 is all there is.
    pub fn of_host() -> Self {
        match SysInfo::now().unified && wharf_cgroups::systemd_is_running() {
            true => Self::Systemd,
            false => Self::Cgroupfs,
        }
    }

    /// Docker's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroupfs => "cgroupfs",
            Self::Systemd => "systemd",
        }
    }

    /// Whether `parent`, unless it is empty, is one that groups can be made below.
    ///
    /// # Errors
    /// dockerd's sentence.
    pub fn check_parent(self, parent: &str) -> Result<(), &'static str> {
        let is_slice = parent.len() > ".slice".len() && parent.ends_with(".slice");
        match self {
            Self::Systemd if !parent.is_empty() && !is_slice => Err(
                "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"",
            ),
            _ => Ok(()),
        }
    }
}

/// Another OCI runtime: its command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The program; looked up in PATH if it is a bare name.
    pub path: PathBuf,
    /// Arguments before each command.
    pub arguments: Vec<String>,
    /// Whether it is to leave control groups to systemd.
    pub systemd_cgroup: bool,
}

/// Settings of the default bridge, with dockerd's meanings.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// Whether there is a default bridge (`bridge: none` says no).
    pub enabled: bool,
    /// Its interface name; `wharf0`.
    pub name: String,
    /// Its address with prefix (`bip`).
    pub bip: Option<String>,
    /// Addresses for containers (`fixed-cidr`).
    pub fixed_cidr: Option<String>,
    /// Default gateway of containers.
    pub default_gateway: Option<Ipv4Addr>,
    /// Whether it has IPv6, too.
    pub ipv6: bool,
    /// Its IPv6 address with prefix (`bip6`).
    pub bip6: Option<String>,
    /// IPv6 addresses for containers (`fixed-cidr-v6`).
    pub fixed_cidr6: Option<String>,
    /// IPv6 default gateway of containers.
    pub default_gateway6: Option<Ipv6Addr>,
    /// Options of new networks, by driver (`default-network-opts`).
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// Whether published ports are reached at the containers' own addresses, too (`allow-direct-routing`).
    pub direct_routing: bool,
    /// How published ports meet the host's own firewall: `translate` or `respect-host-firewall`.
    pub publish_policy: String,
    /// Address pools for networks: base, size of each.
    pub address_pools: Vec<(String, u8)>,
    /// MTU; 0 is the default.
    pub mtu: u32,
    /// Whether containers may talk to each other.
    pub icc: bool,
    /// Whether the daemon may set `net.ipv4.ip_forward`.
    pub ip_forward: bool,
    /// Whether containers' traffic to the outside is masqueraded.
    pub ip_masq: bool,
    /// Whether the daemon writes firewall rules.
    pub firewall: bool,
    /// Socket of the system's D-Bus, by which firewalld is asked to let the bridges through; `None`: it is not asked.
    pub bus: Option<PathBuf>,
    /// Whether published ports are served on loopback by a proxy.
    pub userland_proxy: bool,
    /// Host address of published ports that name none.
    pub default_binding: IpAddr,
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            name: "wharf0".to_owned(),
            bip: None,
            fixed_cidr: None,
            default_gateway: None,
            ipv6: false,
            bip6: None,
            fixed_cidr6: None,
            default_gateway6: None,
            network_options: BTreeMap::new(),
            direct_routing: false,
            publish_policy: "translate".to_owned(),
            address_pools: Vec::new(),
            mtu: 0,
            icc: true,
            ip_forward: true,
            ip_masq: true,
            firewall: true,
            bus: None,
            userland_proxy: true,
            default_binding: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_of_buildkit_unless_it_is_switched_off() {
        let with = |features: &[(&str, bool)]| {
            let features = features.iter().map(|(name, on)| ((*name).to_owned(), *on));
            let config = EngineConfig {
                features: features.collect(),
                ..EngineConfig::default()
            };
            config.builds_by_buildkit()
        };
        assert!(with(&[]) && with(&[("buildkit", true)]) && with(&[("cdi", false)]));
        assert!(!with(&[("buildkit", false)]));
    }
}
