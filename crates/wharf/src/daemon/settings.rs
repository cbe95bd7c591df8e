//! Flags and file, resolved into one set of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use wharf_engine::{BridgeConfig, CgroupDriver, EngineConfig, LogConfig, Revision, Ulimit};

use super::directives::{Directives, Named};
use super::sockets::Host;
use super::tls::Tls;
use super::{DaemonArgs, config, remap, runtimes, sockets, validate};

/// Everything that the daemon runs by.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) hosts: Vec<Host>,
    pub(super) pid_file: PathBuf,
    pub(super) group: Option<String>,
    pub(super) log_level: String,
    /// Messages are logged as JSON.
    pub(super) log_json: bool,
    /// Where metrics are served.
    pub(super) metrics: Option<String>,
    pub(super) tls: Option<Tls>,
    pub(super) engine: EngineConfig,
}

impl Settings {
    /// Reads the file, and merges it with the flags.
    pub(super) fn resolve(args: &DaemonArgs) -> Result<Self> {
        let said = config::merged(args)?;
        let said = &said;
        let named = |error: anyhow::Error| {
            // dockerd's words, whichever of the two it came from.
            error.context(format!(
                "unable to configure the Docker daemon with file {}: merged configuration validation from file and command line flags failed",
                args.config_file.display()
            ))
        };
        validate::check(said).map_err(named)?;
        let mut engine = engine(said)?;
        engine.userns_remap = remap::resolve(said.userns_remap.as_deref(), !args.validate)?;
        let debug = engine.debug;
        let level = said.log_level.as_deref().unwrap_or("info");
        let tls = Tls::resolve(said);
        let hosts = said.hosts.iter();
        let hosts = hosts.map(|host| Host::of(host, tls.is_some()));
        let mut hosts = hosts.collect::<Result<Vec<_>>>()?;
        if hosts.is_empty() {
            hosts.push(Host::default());
        }
        let pid_file = said.pidfile.clone();
        Ok(Self {
            hosts,
            pid_file: pid_file.unwrap_or_else(|| engine.exec_root.join("wharf.pid")),
            group: said.group.clone(),
            log_level: if debug { "debug" } else { log_level(level) }.to_owned(),
            log_json: said.log_format.as_deref() == Some("json"),
            metrics: said
                .metrics_addr
                .clone()
                .filter(|address| !address.is_empty()),
            tls,
            engine,
        })
    }

    /// What else a start would find: for `--validate`, which is one without effects.
    pub(super) fn check(&self) -> Result<()> {
        sockets::check(self)?;
        let engine = self.engine.check();
        engine.map_err(|error| anyhow::anyhow!(error.message()))
    }
}

fn engine(said: &Directives) -> Result<EngineConfig> {
    let defaults = EngineConfig::default();
    let cgroup_driver = cgroup_driver(&said.exec_opts)?;
    let cgroup_parent = said.cgroup_parent.clone().unwrap_or_default();
    cgroup_driver
        .check_parent(&cgroup_parent)
        .map_err(anyhow::Error::msg)?;
    seccomp(said)?;
    let text = |given: &Option<String>, default: &str| given.clone().unwrap_or(default.to_owned());
    let folder =
        |given: &Option<PathBuf>, default: &PathBuf| given.clone().unwrap_or(default.clone());
    let timeout = said
        .shutdown_timeout
        .map(|seconds| u64::try_from(seconds).unwrap_or(u64::MAX));
    Ok(EngineConfig {
        data_root: folder(&said.data_root, &defaults.data_root),
        exec_root: folder(&said.exec_root, &defaults.exec_root),
        shim: shim()?,
        bridge: bridge(said)?,
        registry: registry(said)?,
        log: log(said),
        default_ulimits: ulimits(said)?,
        default_shm_size: shm_size(said)?.unwrap_or(defaults.default_shm_size),
        cgroup_driver,
        cgroup_parent,
        default_cgroupns_mode: text(&said.default_cgroupns_mode, &defaults.default_cgroupns_mode),
        default_ipc_mode: text(&said.default_ipc_mode, &defaults.default_ipc_mode),
        runtimes: runtimes::resolve(said)?,
        default_runtime: runtimes::default(said)?,
        init: said.init == Some(true),
        no_new_privileges: said.no_new_privileges == Some(true),
        seccomp_profile: text(&said.seccomp_profile, &defaults.seccomp_profile),
        cdi_folders: cdi_folders(said, defaults.cdi_folders),
        dns: said.dns.iter().map(ToString::to_string).collect(),
        dns_search: said.dns_search.clone(),
        dns_options: said.dns_opts.clone(),
        host_gateway_ip: said.host_gateway_ip,
        labels: said.labels.clone(),
        live_restore: said.live_restore == Some(true),
        shutdown_timeout: timeout.unwrap_or(defaults.shutdown_timeout),
        debug: said.debug == Some(true),
        experimental: said.experimental == Some(true),
        features: said
            .features
            .iter()
            .map(|one| (one.name.clone(), one.value))
            .collect(),
        userns_remap: None,
        proxies: proxies(said).masked(),
        build: match &said.builder {
            Some(value) => super::builder::read(value)?,
            None => defaults.build,
        },
        revision: Revision {
            commit: crate::COMMIT,
            time: crate::COMMIT_TIME,
        },
    })
}

/// A profile that is a file has to be there.
fn seccomp(said: &Directives) -> Result<()> {
    match said.seccomp_profile.as_deref() {
        None | Some("" | "builtin" | "unconfined") => Ok(()),
        Some(path) => std::fs::File::open(path)
            .map(drop)
            .with_context(|| format!("opening seccomp profile ({path}) failed")),
    }
}

/// Whether a feature is switched off.
fn is_off(said: &Directives, feature: &str) -> bool {
    let mut features = said.features.iter();
    features.any(|one| one.name == feature && !one.value)
}

/// The folders of the setting, if the feature is not switched off.
fn cdi_folders(said: &Directives, default: Vec<PathBuf>) -> Vec<PathBuf> {
    let given = said
        .cdi_spec_dirs
        .iter()
        .filter(|path| !path.as_os_str().is_empty());
    match (is_off(said, "cdi"), said.cdi_spec_dirs.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => default,
        (false, false) => given.cloned().collect(),
    }
}

/// Who makes control groups; dockerd's words for a driver that does not exist.
fn cgroup_driver(options: &[String]) -> Result<CgroupDriver> {
    let mut driver = None;
    for option in options {
        let (key, value) = option
            .split_once('=')
            .with_context(|| format!("unable to parse key/value option: {option}"))?;
        if !key.trim().eq_ignore_ascii_case("native.cgroupdriver") {
            bail!("unknown option: exec-opt {key:?}");
        }
        match value.trim() {
            "" => driver = None,
            "cgroupfs" => driver = Some(CgroupDriver::Cgroupfs),
            "systemd" => driver = Some(CgroupDriver::Systemd),
            "none" => bail!(
                "native.cgroupdriver option none is internally used and cannot be specified manually"
            ),
            other => bail!("native.cgroupdriver option {other} not supported"),
        }
    }
    Ok(driver.unwrap_or_else(CgroupDriver::of_host))
}

/// As `tracing` names it; [`validate`] has seen it.
fn log_level(level: &str) -> &str {
    match level {
        "warning" => "warn",
        "fatal" | "panic" => "error",
        level => level,
    }
}

/// The shim stands beside this program, or where packages put it.
fn shim() -> Result<PathBuf> {
    let own = std::env::current_exe().context("find this program")?;
    let beside = own.with_file_name("wharf-shim");
    let installed = PathBuf::from("/usr/libexec/wharf/wharf-shim");
    match [beside, installed].into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "wharf-shim stands neither beside {} nor in /usr/libexec/wharf",
            own.display()
        ),
    }
}

/// Where the system's D-Bus listens (D-Bus specification, "Well-known Message Bus Instances"), with the `/run` of today.
const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

fn bridge(said: &Directives) -> Result<BridgeConfig> {
    let defaults = BridgeConfig::default();
    let name = said.bridge.clone();
    let pools = said.default_address_pools.iter();
    match said.firewall_backend.as_deref() {
        None | Some("" | "nftables") => {}
        Some(other) => {
            bail!("firewall-backend {other:?} is not supported: the rules are nftables'")
        }
    }
    let mut network_options = BTreeMap::<_, BTreeMap<_, _>>::new();
    for Named { name, value } in &said.default_network_opts {
        let of_driver = network_options.entry(name.clone()).or_default();
        of_driver.extend(value.clone());
    }
    Ok(BridgeConfig {
        enabled: name.as_deref() != Some("none"),
        name: name.filter(|name| name != "none").unwrap_or(defaults.name),
        bip: said.bip.clone(),
        address_pools: pools.map(|pool| (pool.base.clone(), pool.size)).collect(),
        mtu: u32::try_from(said.mtu.unwrap_or(defaults.mtu.into())).context("mtu")?,
        icc: said.icc.unwrap_or(defaults.icc),
        ip_forward: said.ip_forward.unwrap_or(defaults.ip_forward),
        ip_masq: said.ip_masq.unwrap_or(defaults.ip_masq),
        firewall: said.iptables.unwrap_or(defaults.firewall),
        bus: Some(SYSTEM_BUS.into()),
        userland_proxy: said.userland_proxy.unwrap_or(defaults.userland_proxy),
        default_binding: said.ip.unwrap_or(defaults.default_binding),
        bip6: said.bip6.clone(),
        fixed_cidr: said.fixed_cidr.clone(),
        fixed_cidr6: said.fixed_cidr_v6.clone(),
        default_gateway: said.default_gateway,
        default_gateway6: said.default_gateway_v6,
        ipv6: said.ipv6.unwrap_or(defaults.ipv6),
        network_options,
        direct_routing: said.allow_direct_routing.unwrap_or(defaults.direct_routing),
        publish_policy: said
            .publish_policy
            .clone()
            .unwrap_or(defaults.publish_policy),
    })
}

fn registry(said: &Directives) -> Result<wharf_distribution::Config> {
    let defaults = wharf_distribution::Config::default();
    let positive = |given: Option<i64>| given.and_then(|number| usize::try_from(number).ok());
    let attempts = positive(said.max_download_attempts).filter(|attempts| *attempts > 0);
    let downloads = positive(said.max_concurrent_downloads).filter(|downloads| *downloads > 0);
    let uploads = positive(said.max_concurrent_uploads).filter(|uploads| *uploads > 0);
    let config = wharf_distribution::Config {
        mirrors: said.registry_mirrors.clone(),
        registries: said
            .registries
            .iter()
            .map(|(prefix, mirrors)| wharf_distribution::MirrorRule {
                prefix: prefix.clone(),
                mirrors: mirrors.clone(),
            })
            .collect(),
        insecure: said.insecure_registries.clone(),
        proxies: proxies(said),
        max_concurrent_downloads: downloads.unwrap_or(defaults.max_concurrent_downloads),
        max_concurrent_uploads: uploads.unwrap_or(defaults.max_concurrent_uploads),
        retries: attempts.map_or(defaults.retries, |attempts| {
            u32::try_from(attempts).unwrap_or(u32::MAX)
        }),
        ..defaults
    };
    config.validate()?;
    Ok(config)
}

fn proxies(said: &Directives) -> wharf_distribution::Proxies {
    let text = |given: &Option<String>| given.clone().unwrap_or_default();
    wharf_distribution::Proxies {
        http: text(&said.http_proxy),
        https: text(&said.https_proxy),
        no: text(&said.no_proxy),
    }
    .or_environment()
}

fn log(said: &Directives) -> LogConfig {
    let options = said.log_opts.iter();
    LogConfig {
        driver: said
            .log_driver
            .clone()
            .unwrap_or_else(|| "json-file".to_owned()),
        options: options
            .map(|one| (one.name.clone(), one.value.clone()))
            .collect(),
    }
}

fn ulimits(said: &Directives) -> Result<BTreeMap<String, Ulimit>> {
    let mut ulimits = BTreeMap::new();
    for Named { name, value } in &said.default_ulimits {
        if !value.name.is_empty() && value.name != *name {
            bail!("default-ulimits: {name}: the name inside is {}", value.name);
        }
        let ulimit = Ulimit {
            name: name.clone(),
            soft: value.soft,
            hard: value.hard,
        };
        ulimits.insert(name.clone(), ulimit);
    }
    Ok(ulimits)
}

fn shm_size(said: &Directives) -> Result<Option<u64>> {
    let Some(text) = &said.default_shm_size else {
        return Ok(None);
    };
    let size = wharf_go::ram_in_bytes(text).map_err(|error| anyhow::anyhow!(error))?;
    Ok(Some(u64::try_from(size)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_driver_is_known_or_refused() {
        let check = |option: &str| cgroup_driver(&[option.to_owned()]).ok();
        let (files, systemd) = (CgroupDriver::Cgroupfs, CgroupDriver::Systemd);
        assert_eq!(check("native.cgroupdriver=cgroupfs"), Some(files));
        assert_eq!(check("native.cgroupdriver=systemd"), Some(systemd));
        for wrong in ["native.cgroupdriver=x", "other=1", "x"] {
            assert_eq!(check(wrong), None, "{wrong}");
        }
    }
}
