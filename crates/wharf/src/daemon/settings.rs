//! Flags and file, resolved into one set of settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use wharf_engine::{BridgeConfig, EngineConfig, LogConfig, Ulimit};

use super::DaemonArgs;
use super::config::ConfigFile;
use super::tls::Tls;

/// The default socket.
const DEFAULT_HOST: &str = "unix:///run/wharf.sock";

/// Everything that the daemon runs by.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) hosts: Vec<String>,
    pub(super) pid_file: PathBuf,
    pub(super) group: Option<String>,
    pub(super) log_level: String,
    pub(super) tls: Option<Tls>,
    pub(super) engine: EngineConfig,
}

impl Settings {
    /// Reads the file, and merges it with the flags.
    pub(super) fn resolve(args: &DaemonArgs) -> Result<Self> {
        let file = ConfigFile::read(&args.config_file)?;
        refuse_both(args, &file)?;
        cgroup_driver(&[args.exec_opts.as_slice(), &file.exec_opts].concat())?;
        let defaults = EngineConfig::default();
        let exec_root = args
            .exec_root
            .clone()
            .or(file.exec_root.clone())
            .unwrap_or(defaults.exec_root.clone());
        let debug = args.debug || file.debug == Some(true);
        let level = args
            .log_level
            .clone()
            .or(file.log_level.clone())
            .unwrap_or_else(|| "info".to_owned());
        let mut hosts = [args.hosts.clone(), file.hosts.clone()].concat();
        if hosts.is_empty() {
            hosts.push(DEFAULT_HOST.to_owned());
        }
        Ok(Self {
            hosts,
            pid_file: args
                .pidfile
                .clone()
                .or(file.pidfile.clone())
                .unwrap_or_else(|| exec_root.join("wharf.pid")),
            group: args.group.clone().or(file.group.clone()),
            log_level: if debug {
                "debug".to_owned()
            } else {
                log_level(&level)?
            },
            tls: Tls::resolve(args, &file),
            engine: EngineConfig {
                data_root: args
                    .data_root
                    .clone()
                    .or(file.data_root.clone())
                    .unwrap_or(defaults.data_root.clone()),
                exec_root,
                shim: shim()?,
                bridge: bridge(args, &file),
                registry: registry(args, &file)?,
                log: log(args, &file)?,
                default_ulimits: ulimits(args, &file)?,
                default_shm_size: shm_size(args, &file)?.unwrap_or(defaults.default_shm_size),
                cgroup_parent: args
                    .cgroup_parent
                    .clone()
                    .or(file.cgroup_parent.clone())
                    .unwrap_or_default(),
                default_cgroupns_mode: cgroupns_mode(args, &file)?
                    .unwrap_or(defaults.default_cgroupns_mode.clone()),
                init: args.init || file.init == Some(true),
                no_new_privileges: args.no_new_privileges || file.no_new_privileges == Some(true),
                dns: [args.dns.clone(), file.dns.clone()].concat(),
                dns_search: [args.dns_search.clone(), file.dns_search.clone()].concat(),
                dns_options: [args.dns_opts.clone(), file.dns_opts.clone()].concat(),
                labels: [args.labels.clone(), file.labels.clone()].concat(),
                live_restore: args.live_restore || file.live_restore == Some(true),
                shutdown_timeout: args
                    .shutdown_timeout
                    .or(file.shutdown_timeout)
                    .unwrap_or(defaults.shutdown_timeout),
                debug,
                ..defaults
            },
        })
    }
}

/// What stands in both places is an error, as dockerd has it: nobody could say which holds.
fn refuse_both(args: &DaemonArgs, file: &ConfigFile) -> Result<()> {
    let both = [
        ("hosts", !args.hosts.is_empty() && !file.hosts.is_empty()),
        (
            "data-root",
            args.data_root.is_some() && file.data_root.is_some(),
        ),
        (
            "exec-root",
            args.exec_root.is_some() && file.exec_root.is_some(),
        ),
        ("pidfile", args.pidfile.is_some() && file.pidfile.is_some()),
        ("debug", args.debug && file.debug.is_some()),
        (
            "log-level",
            args.log_level.is_some() && file.log_level.is_some(),
        ),
        ("group", args.group.is_some() && file.group.is_some()),
        ("bip", args.bip.is_some() && file.bip.is_some()),
        ("bridge", args.bridge.is_some() && file.bridge.is_some()),
        ("mtu", args.mtu.is_some() && file.mtu.is_some()),
        ("icc", args.icc.is_some() && file.icc.is_some()),
        (
            "iptables",
            args.iptables.is_some() && file.iptables.is_some(),
        ),
        (
            "registry-mirrors",
            !args.registry_mirrors.is_empty() && !file.registry_mirrors.is_empty(),
        ),
        (
            "insecure-registries",
            !args.insecure_registries.is_empty() && !file.insecure_registries.is_empty(),
        ),
        (
            "log-driver",
            args.log_driver.is_some() && file.log_driver.is_some(),
        ),
        (
            "log-opts",
            !args.log_opts.is_empty() && !file.log_opts.is_empty(),
        ),
        (
            "live-restore",
            args.live_restore && file.live_restore.is_some(),
        ),
    ];
    let both: Vec<_> = both
        .iter()
        .filter(|(_, both)| *both)
        .map(|(name, _)| *name)
        .collect();
    if both.is_empty() {
        return Ok(());
    }
    bail!(
        "unable to configure the daemon with file {}: the following directives are specified both as a flag and in the configuration file: {}",
        args.config_file.display(),
        both.join(", ")
    )
}

/// dockerd's words for a driver that does not exist; ours for the one that we have not.
fn cgroup_driver(options: &[String]) -> Result<()> {
    for option in options {
        let (key, value) = option
            .split_once('=')
            .with_context(|| format!("unable to parse key/value option: {option}"))?;
        if !key.trim().eq_ignore_ascii_case("native.cgroupdriver") {
            bail!("unknown option: exec-opt {key:?}");
        }
        match value.trim() {
            "" | "cgroupfs" => {}
            "systemd" => bail!(
                "native.cgroupdriver option systemd not supported: wharf makes control groups through the kernel's files (cgroupfs), beside systemd's"
            ),
            "none" => bail!(
                "native.cgroupdriver option none is internally used and cannot be specified manually"
            ),
            other => bail!("native.cgroupdriver option {other} not supported"),
        }
    }
    Ok(())
}

fn cgroupns_mode(args: &DaemonArgs, file: &ConfigFile) -> Result<Option<String>> {
    let mode = args
        .default_cgroupns_mode
        .clone()
        .or(file.default_cgroupns_mode.clone());
    match mode.as_deref() {
        None | Some("host" | "private") => Ok(mode),
        Some(other) => {
            bail!("default cgroup namespace mode ({other}) is invalid; use \"host\" or \"private\"")
        }
    }
}

fn log_level(level: &str) -> Result<String> {
    match level {
        "debug" | "info" | "warn" | "error" => Ok(level.to_owned()),
        "fatal" | "panic" => Ok("error".to_owned()),
        _ => bail!("unable to parse logging level: {level}"),
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

fn bridge(args: &DaemonArgs, file: &ConfigFile) -> BridgeConfig {
    let defaults = BridgeConfig::default();
    let name = args.bridge.clone().or(file.bridge.clone());
    let pools = file
        .default_address_pools
        .iter()
        .map(|pool| (pool.base.clone(), pool.size));
    BridgeConfig {
        enabled: name.as_deref() != Some("none"),
        name: name.filter(|name| name != "none").unwrap_or(defaults.name),
        bip: args.bip.clone().or(file.bip.clone()),
        address_pools: pools.collect(),
        mtu: args.mtu.or(file.mtu).unwrap_or(defaults.mtu),
        icc: args.icc.or(file.icc).unwrap_or(defaults.icc),
        ip_forward: args
            .ip_forward
            .or(file.ip_forward)
            .unwrap_or(defaults.ip_forward),
        ip_masq: args.ip_masq.or(file.ip_masq).unwrap_or(defaults.ip_masq),
        firewall: args.iptables.or(file.iptables).unwrap_or(defaults.firewall),
        userland_proxy: args
            .userland_proxy
            .or(file.userland_proxy)
            .unwrap_or(defaults.userland_proxy),
        default_binding: args.ip.or(file.ip).unwrap_or(defaults.default_binding),
        fixed_cidr: defaults.fixed_cidr,
        default_gateway: defaults.default_gateway,
    }
}

fn registry(args: &DaemonArgs, file: &ConfigFile) -> Result<wharf_distribution::Config> {
    let defaults = wharf_distribution::Config::default();
    let config = wharf_distribution::Config {
        mirrors: [args.registry_mirrors.clone(), file.registry_mirrors.clone()].concat(),
        insecure: [
            args.insecure_registries.clone(),
            file.insecure_registries.clone(),
        ]
        .concat(),
        max_concurrent_downloads: args
            .max_concurrent_downloads
            .or(file.max_concurrent_downloads)
            .unwrap_or(defaults.max_concurrent_downloads),
        ..defaults
    };
    config.validate()?;
    Ok(config)
}

fn log(args: &DaemonArgs, file: &ConfigFile) -> Result<LogConfig> {
    let mut options = file.log_opts.clone();
    for option in &args.log_opts {
        let (key, value) = option
            .split_once('=')
            .with_context(|| format!("invalid logging option: {option}"))?;
        options.insert(key.to_owned(), value.to_owned());
    }
    let driver = args.log_driver.clone().or(file.log_driver.clone());
    Ok(LogConfig {
        driver: driver.unwrap_or_else(|| "json-file".to_owned()),
        options,
    })
}

fn ulimits(args: &DaemonArgs, file: &ConfigFile) -> Result<BTreeMap<String, Ulimit>> {
    let mut ulimits = BTreeMap::new();
    for (name, limit) in &file.default_ulimits {
        if !limit.name.is_empty() && limit.name != *name {
            bail!("default-ulimits: {name}: the name inside is {}", limit.name);
        }
        ulimits.insert(
            name.clone(),
            Ulimit {
                name: name.clone(),
                soft: limit.soft,
                hard: limit.hard,
            },
        );
    }
    for text in &args.default_ulimits {
        let parsed = text.split_once('=').and_then(|(name, limits)| {
            let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
            Some(Ulimit {
                name: name.to_owned(),
                soft: soft.parse().ok()?,
                hard: hard.parse().ok()?,
            })
        });
        let ulimit = parsed.with_context(|| format!("invalid ulimit argument: {text}"))?;
        ulimits.insert(ulimit.name.clone(), ulimit);
    }
    Ok(ulimits)
}

fn shm_size(args: &DaemonArgs, file: &ConfigFile) -> Result<Option<u64>> {
    let Some(text) = args
        .default_shm_size
        .clone()
        .or(file.default_shm_size.clone())
    else {
        return Ok(None);
    };
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..]
        .to_ascii_lowercase()
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => bail!("invalid size: '{text}'"),
    };
    let number: u64 = digits
        .parse()
        .with_context(|| format!("invalid size: '{text}'"))?;
    Ok(Some(number << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_driver_is_ours_or_refused() {
        let check = |option: &str| cgroup_driver(&[option.to_owned()]);
        assert!(check("native.cgroupdriver=cgroupfs").is_ok());
        for wrong in [
            "native.cgroupdriver=systemd",
            "native.cgroupdriver=x",
            "other=1",
            "x",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
