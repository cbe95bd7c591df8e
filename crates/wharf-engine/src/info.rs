//! Facts for `docker info` and `docker version`.

use std::collections::BTreeMap;

use crate::sysinfo::SysInfo;
use crate::{Engine, EngineError, RuntimeConfig, Status};

/// Facts about the daemon and its machine; names are Docker's.
#[derive(Clone, Debug, Default)]
pub struct InfoFacts {
    /// A UUID that stays with the data root.
    pub id: String,
    /// Containers in any state.
    pub containers: usize,
    /// Of these running.
    pub running: usize,
    /// Of these paused.
    pub paused: usize,
    /// All others.
    pub stopped: usize,
    /// Images.
    pub images: usize,
    /// `overlay2`.
    pub storage_driver: String,
    /// Pairs that describe it.
    pub storage_status: Vec<(String, String)>,
    /// `json-file`.
    pub log_driver: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// PRETTY_NAME of os-release.
    pub operating_system: String,
    /// VERSION_ID of os-release.
    pub os_version: String,
    /// `linux`.
    pub os_type: String,
    /// `uname -m`.
    pub architecture: String,
    /// CPUs that the daemon may use.
    pub cpus: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The data root.
    pub data_root: String,
    /// Host name.
    pub name: String,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// `name=seccomp,profile=builtin` and so on.
    pub security_options: Vec<String>,
    /// What the machine cannot do.
    pub warnings: Vec<String>,
    /// Names of volume drivers.
    pub volume_plugins: Vec<String>,
    /// Names of network drivers.
    pub network_plugins: Vec<String>,
    /// Names of log drivers.
    pub log_plugins: Vec<String>,
    /// Support of the kernel.
    pub memory_limit: bool,
    /// Support of the kernel.
    pub swap_limit: bool,
    /// Support of the kernel.
    pub cpu_cfs_quota: bool,
    /// Support of the kernel.
    pub cpu_shares: bool,
    /// Support of the kernel.
    pub cpuset: bool,
    /// Support of the kernel.
    pub pids_limit: bool,
    /// Support of the kernel.
    pub oom_kill_disable: bool,
    /// Whether IPv4 is forwarded.
    pub ipv4_forwarding: bool,
    /// Open files of the daemon.
    pub fds: usize,
    /// Tasks of the daemon's runtime (Docker: goroutines).
    pub tasks: usize,
    /// Event listeners.
    pub event_listeners: usize,
    /// OCI runtimes by name.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// The one of containers that ask for none.
    pub default_runtime: String,
    /// Experimental features are wanted.
    pub experimental: bool,
    /// Folders of CDI files.
    pub cdi_folders: Vec<String>,
    /// The init's name.
    pub init_binary: String,
    /// HTTP proxy, HTTPS proxy, no proxy.
    pub proxies: [String; 3],
    /// Whether containers survive a stop of the daemon.
    pub live_restore: bool,
    /// Whether debug messages are on.
    pub debug: bool,
    /// Mirrors of the registry.
    pub mirrors: Vec<String>,
    /// Insecure registries.
    pub insecure_registries: Vec<String>,
    /// Address pools: base, size.
    pub address_pools: Vec<(String, u8)>,
    /// How published ports meet the host's own firewall (`publish-policy`); empty if no rules are written.
    pub publish_policy: String,
}

/// Facts for `docker version`.
#[derive(Clone, Debug, Default)]
pub struct VersionFacts {
    /// Ours.
    pub version: String,
    /// The commit that it was built from; empty if unknown.
    pub git_commit: String,
    /// When it was built, RFC 3339; empty if unknown.
    pub build_time: String,
    /// `linux`.
    pub os: String,
    /// In Go's spelling.
    pub arch: String,
    /// `uname -r`.
    pub kernel_version: String,
    /// Experimental features are wanted.
    pub experimental: bool,
}

impl Engine {
    /// Facts for `docker info`.
    ///
    /// # Errors
    /// If records cannot be read.
    pub async fn info(&self) -> Result<InfoFacts, EngineError> {
        let mut facts = InfoFacts {
            id: self.id.clone(),
            images: self.images.store.count(),
            event_listeners: self.events.listeners(),
            tasks: tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks(),
            ..InfoFacts::default()
        };
        for view in self.containers.views() {
            facts.containers += 1;
            match view.state.status {
                Status::Paused => facts.paused += 1,
                _ if view.state.running => facts.running += 1,
                _ => facts.stopped += 1,
            }
        }
        self.drivers(&mut facts);
        self.add_settings(&mut facts);
        machine(&mut facts);
        facts.cgroup_driver = self.config.cgroup_driver.name().to_owned();
        cgroups(&mut facts);
        warnings(&mut facts);
        let obstacles = self.networks.store.obstacles();
        let warned = obstacles.iter().map(|one| format!("WARNING: {one}"));
        facts.warnings.extend(warned);
        Ok(facts)
    }

    fn drivers(&self, facts: &mut InfoFacts) {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        facts.storage_driver = "overlay2".to_owned();
        facts.storage_status = vec![
            (
                "Backing Filesystem".to_owned(),
                file_system(&self.config.data_root),
            ),
            ("Supports d_type".to_owned(), "true".to_owned()),
            ("Using metacopy".to_owned(), "false".to_owned()),
            ("Native Overlay Diff".to_owned(), "true".to_owned()),
            ("userxattr".to_owned(), "false".to_owned()),
        ];
        facts.log_driver.clone_from(&self.settings().log.driver);
        facts.volume_plugins = self.volumes.store.drivers();
        facts.network_plugins = list(&["bridge", "host", "ipvlan", "macvlan", "null"]);
        let drivers = crate::logging::DRIVERS.iter();
        facts.log_plugins = drivers
            .filter(|name| **name != "none")
            .map(|name| (*name).to_owned())
            .collect();
        let settings = self.settings();
        facts.runtimes = settings.runtimes.clone();
        for name in crate::launch::OWN_RUNTIMES {
            let own = RuntimeConfig {
                path: "wharf-shim".into(),
                ..RuntimeConfig::default()
            };
            facts.runtimes.insert((*name).to_owned(), own);
        }
        facts.default_runtime.clone_from(&settings.default_runtime);
        facts.init_binary = "wharf-shim".to_owned();
    }

    fn add_settings(&self, facts: &mut InfoFacts) {
        let config = &self.settings();
        facts.data_root = config.data_root.to_string_lossy().into_owned();
        facts.labels.clone_from(&config.labels);
        facts.proxies.clone_from(&config.proxies);
        facts.live_restore = config.live_restore;
        facts.debug = config.debug;
        facts.experimental = config.experimental;
        let folders = config.cdi_folders.iter();
        facts.cdi_folders = folders
            .map(|folder| folder.to_string_lossy().into_owned())
            .collect();
        facts.mirrors.clone_from(&config.registry.mirrors);
        facts
            .insecure_registries
            .clone_from(&config.registry.insecure);
        facts.address_pools.clone_from(&config.bridge.address_pools);
        if config.bridge.firewall {
            facts
                .publish_policy
                .clone_from(&config.bridge.publish_policy);
        }
        let profile = match config.seccomp_profile.as_str() {
            "" => "builtin",
            profile => profile,
        };
        if crate::apparmor::is_enabled() {
            facts.security_options.push("name=apparmor".to_owned());
        }
        facts
            .security_options
            .push(format!("name=seccomp,profile={profile}"));
        if config.userns_remap.is_some() {
            facts.security_options.push("name=userns".to_owned());
        }
        if config.default_cgroupns_mode == "private" {
            facts.security_options.push("name=cgroupns".to_owned());
        }
        if config.no_new_privileges {
            facts
                .security_options
                .push("name=no-new-privileges".to_owned());
        }
    }

    /// Facts for `docker version`.
    pub fn version(&self) -> VersionFacts {
        VersionFacts {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: self.config.revision.commit.to_owned(),
            build_time: self.config.revision.time.to_owned(),
            os: "linux".to_owned(),
            arch: wharf_oci::Platform::host().architecture,
            kernel_version: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            experimental: self.config.experimental,
        }
    }
}

/// What the machine is.
fn machine(facts: &mut InfoFacts) {
    let uname = rustix::system::uname();
    facts.kernel_version = uname.release().to_string_lossy().into_owned();
    facts.architecture = uname.machine().to_string_lossy().into_owned();
    facts.name = uname.nodename().to_string_lossy().into_owned();
    facts.os_type = "linux".to_owned();
    let release = std::fs::read_to_string("/etc/os-release")
        .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let field = |name: &str| {
        let value = release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    facts.operating_system = field("PRETTY_NAME").unwrap_or_else(|| "Linux".to_owned());
    facts.os_version = field("VERSION_ID").unwrap_or_default();
    facts.cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let info = rustix::system::sysinfo();
    facts.memory = info.totalram * u64::from(info.mem_unit);
    facts.fds = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
}

/// What its control groups can do.
fn cgroups(facts: &mut InfoFacts) {
    let info = SysInfo::now();
    facts.cgroup_version = if info.unified { "2" } else { "1" }.to_owned();
    facts.memory_limit = info.memory_limit;
    facts.swap_limit = info.swap_limit;
    facts.oom_kill_disable = info.oom_kill_disable;
    facts.cpu_shares = info.cpu_shares;
    facts.cpu_cfs_quota = info.cpu_cfs;
    facts.cpuset = info.cpuset;
    facts.pids_limit = info.pids_limit;
    facts.ipv4_forwarding = info.ipv4_forwarding;
    let throttle = |v1: &str, v2: &str| match info.unified {
        true => format!("WARNING: No io.max ({v2}) support"),
        false => format!("WARNING: No blkio.throttle.{v1} support"),
    };
    let missing = [
        (info.read_bps, throttle("read_bps_device", "rbps")),
        (info.write_bps, throttle("write_bps_device", "wbps")),
        (info.read_iops, throttle("read_iops_device", "riops")),
        (info.write_iops, throttle("write_iops_device", "wiops")),
    ];
    let missing = missing.into_iter().filter(|(there, _)| !there);
    facts.warnings = missing.map(|(_, text)| text).collect();
}

/// dockerd's words for what is missing (moby `daemon/info_unix.go`).
fn warnings(facts: &mut InfoFacts) {
    let missing = [
        (facts.memory_limit, "No memory limit support"),
        (facts.swap_limit, "No swap limit support"),
        (facts.cpu_cfs_quota, "No cpu cfs quota support"),
        (facts.cpu_shares, "No cpu shares support"),
        (facts.cpuset, "No cpuset support"),
        (facts.pids_limit, "No pids limit support"),
    ];
    let missing = missing.into_iter().filter(|(there, _)| !there);
    let general = missing.map(|(_, text)| format!("WARNING: {text}"));
    facts.warnings = general.chain(std::mem::take(&mut facts.warnings)).collect();
    if !facts.ipv4_forwarding {
        facts
            .warnings
            .push("WARNING: IPv4 forwarding is disabled".to_owned());
    }
}

/// The name of the file system that holds `path`, as Docker names the usual ones.
fn file_system(path: &std::path::Path) -> String {
    let magic = rustix::fs::statfs(path).map_or(0, |fs| fs.f_type as u64 & 0xffff_ffff);
    match magic {
        0xef53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlayfs",
        0x2fc1_2fc1 => "zfs",
        _ => "<unknown>",
    }
    .to_owned()
}
