//! Whether settings make sense, in dockerd's words (moby `daemon/container.go`, `daemon_unix.go`).

mod resources;

pub(super) use resources::resources;

use std::path::Path;
use std::sync::LazyLock;

use crate::sysinfo::SysInfo;
use crate::{
    Config, EngineConfig, EngineError, Health, HostConfig, IpcMode, NamespaceMode, NetworkMode,
    Port, PortBinding, RestartPolicy, signal,
};

/// What is hidden of containers by default, on this machine.
static MASKED: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut masked = owned(wharf_bundle::MASKED);
    masked.extend(throttles(Path::new("/sys/devices/system/cpu")));
    masked
});

/// Where processors count how often they were too hot: a container could tell from it what others do (moby GHSA-6fw5-f8r9-fgfm).
fn throttles(processors: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(processors)
        .into_iter()
        .flatten()
        .flatten();
    let numbers = entries.filter_map(|entry| {
        let name = entry.file_name();
        name.to_str()?.strip_prefix("cpu")?.parse::<u32>().ok()
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    let paths = numbers
        .into_iter()
        .map(|number| processors.join(format!("cpu{number}/thermal_throttle")));
    let there = paths.filter(|path| path.exists());
    there
        .map(|path| path.to_string_lossy().into_owned())
        .collect()
}

fn owned(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn invalid<T>(text: impl Into<String>) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text.into()))
}

/// Checks what is asked for, before the image's defaults are merged in.
pub(super) fn config(config: &Config) -> Result<(), EngineError> {
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        let dir = &config.working_dir;
        return invalid(format!(
            "the working directory '{dir}' is invalid, it needs to be an absolute path"
        ));
    }
    if let Some(text) = config
        .stop_signal
        .as_deref()
        .filter(|text| !text.is_empty())
    {
        signal::parse(text)?;
    }
    // An empty variable name is nothing that the kernel's environment could carry.
    if let Some(variable) = config
        .env
        .iter()
        .find(|variable| variable.is_empty() || variable.starts_with('='))
    {
        return invalid(format!("invalid environment variable: {variable}"));
    }
    config.healthcheck.as_ref().map_or(Ok(()), health)
}

/// What cannot be had in another's namespace (moby `runconfig/hostconfig_unix.go`, `validateNetMode`).
pub(super) fn shared_namespaces(config: &Config, host: &HostConfig) -> Result<(), EngineError> {
    let named = !config.hostname.is_empty();
    if named && host.uts_mode == NamespaceMode::Host {
        return invalid("conflicting options: hostname and the UTS mode");
    }
    let NetworkMode::Container(other) = &host.network_mode else {
        return Ok(());
    };
    if other.is_empty() {
        return invalid("Invalid network mode: invalid container format container:<name|id>");
    }
    let published = !host.port_bindings.is_empty() || host.publish_all_ports;
    let conflicts = [
        (named, "hostname and the network mode"),
        (
            !host.links.is_empty(),
            "container type network can't be used with links. This would result in undefined behavior",
        ),
        (!host.dns.is_empty(), "dns and the network mode"),
        (
            !host.extra_hosts.is_empty(),
            "custom host-to-IP mapping and the network mode",
        ),
        (
            !config.mac_address.is_empty(),
            "mac-address and the network mode",
        ),
        (
            published,
            "port publishing and the container type network mode",
        ),
        (
            !config.exposed_ports.is_empty(),
            "port exposing and the container type network mode",
        ),
    ];
    match conflicts.iter().find(|(conflict, _)| *conflict) {
        Some((_, what)) => invalid(format!("conflicting options: {what}")),
        None => Ok(()),
    }
}

/// moby `daemon/container.go`, `validateHealthCheck`.
fn health(health: &Health) -> Result<(), EngineError> {
    const MINIMUM: i64 = 1_000_000;
    let times = [
        ("Interval", health.interval),
        ("Timeout", health.timeout),
        ("StartPeriod", health.start_period),
        ("StartInterval", health.start_interval),
    ];
    if let Some((name, _)) = times.iter().find(|(_, time)| *time != 0 && *time < MINIMUM) {
        return invalid(format!("{name} in Healthcheck cannot be less than 1ms"));
    }
    match health.retries < 0 {
        true => invalid("Retries in Healthcheck cannot be negative"),
        false => Ok(()),
    }
}

/// Checks the settings of the host, and fills in the daemon's defaults; Docker's warnings.
pub(super) fn host(
    host: &mut HostConfig,
    daemon: &EngineConfig,
) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    if host.auto_remove && host.restart_policy != RestartPolicy::No {
        return invalid("can't create 'AutoRemove' container with restart policy");
    }
    let info = SysInfo::now();
    warnings.extend(resources(&mut host.resources, &info, false)?);
    // The cgroup's limit is none with 0 and below.
    if host.resources.pids_limit.is_some_and(|limit| limit <= 0) {
        host.resources.pids_limit = None;
    }
    let parent = &host.resources.cgroup_parent;
    if let Err(text) = daemon.cgroup_driver.check_parent(parent) {
        return invalid(text);
    }
    ports(host)?;
    network(host, &mut warnings)?;
    if let Some(umask) = host.umask.filter(|umask| *umask > 0o777) {
        return invalid(format!(
            "Invalid value {umask}, range for umask is from 0 (0000) to 511 (0777)"
        ));
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let value = host.oom_score_adj;
        return invalid(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        ));
    }
    let known = host.runtime.is_empty()
        || crate::launch::OWN_RUNTIMES.contains(&host.runtime.as_str())
        || daemon.runtimes.contains_key(&host.runtime);
    if !known {
        return invalid(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return invalid(format!(
            "invalid cgroup namespace mode: {}",
            host.cgroupns_mode
        ));
    }
    if host.cgroupns_mode == "private" && !info.cgroup_namespaces {
        let text =
            "Your kernel does not support cgroup namespaces.  Cgroup namespace setting discarded.";
        warnings.push(text.to_owned());
    }
    if !info.ipv4_forwarding
        && !daemon.bridge.ip_forward
        && !matches!(host.network_mode, NetworkMode::Host | NetworkMode::None)
    {
        warnings.push("IPv4 forwarding is disabled. Networking will not work.".to_owned());
    }
    crate::userns::check(daemon, host)?;
    crate::spec::capabilities(host)?;
    for option in &host.security_opt {
        security(option)?;
    }
    delegation(host, daemon, &info)?;
    if !host.storage_opt.is_empty() {
        return invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        );
    }
    crate::logging::complete(host, daemon)?;
    defaults(host, daemon);
    Ok(warnings)
}

fn defaults(host: &mut HostConfig, daemon: &EngineConfig) {
    if host.shm_size == 0 {
        host.shm_size = daemon.default_shm_size;
    }
    if host.ipc_mode == IpcMode::Unset {
        host.ipc_mode = match daemon.default_ipc_mode.as_str() {
            "shareable" => IpcMode::Shareable,
            _ => IpcMode::Private,
        };
    }
    if host.runtime.is_empty() {
        host.runtime.clone_from(&daemon.default_runtime);
    }
    if host.cgroupns_mode.is_empty() {
        // moby: with cgroup v1 a privileged container sees the host's.
        let v2 = wharf_cgroups_unified();
        let host_sees = host.privileged && !v2;
        host.cgroupns_mode = if host_sees {
            "host".to_owned()
        } else {
            daemon.default_cgroupns_mode.clone()
        };
    }
    if !host.privileged {
        host.masked_paths.get_or_insert_with(|| MASKED.clone());
        host.readonly_paths
            .get_or_insert_with(|| owned(wharf_bundle::READONLY));
    }
    let resources = &mut host.resources;
    if resources.memory > 0 && resources.memory_swap == 0 {
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
    for ulimit in daemon.default_ulimits.values() {
        if resources
            .ulimits
            .iter()
            .all(|known| known.name != ulimit.name)
        {
            resources.ulimits.push(ulimit.clone());
        }
    }
    // What has the host's processes or memory could not live under labels of its own (moby `generateSecurityOpt`).
    let of_the_host =
        host.privileged || host.pid_mode == NamespaceMode::Host || host.ipc_mode == IpcMode::Host;
    let mut options = host.security_opt.iter();
    let labelled = options.any(|option| option.split('=').next() == Some("label"));
    if of_the_host && !labelled {
        host.security_opt.push("label=disable".to_owned());
    }
    if daemon.no_new_privileges
        && !host
            .security_opt
            .iter()
            .any(|option| option.starts_with("no-new-privileges"))
    {
        host.security_opt.push("no-new-privileges".to_owned());
    }
}

/// Whether the machine has cgroup v2 alone.
pub(crate) fn wharf_cgroups_unified() -> bool {
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn ports(host: &HostConfig) -> Result<(), EngineError> {
    let bad = |(port, bindings): (&Port, &Vec<PortBinding>)| {
        bindings
            .iter()
            .any(|binding| binding.host_port_end < binding.host_port)
            .then_some(*port)
    };
    match host.port_bindings.iter().find_map(bad) {
        Some(port) => invalid(format!("invalid port specification: \"{port}\"")),
        None => Ok(()),
    }
}

fn network(host: &HostConfig, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let published = !host.port_bindings.is_empty() || host.publish_all_ports;
    match &host.network_mode {
        NetworkMode::Host if published => {
            warnings.push("Published ports are discarded when using host network mode".to_owned());
            Ok(())
        }
        _ => {
            if host.ipc_mode == IpcMode::None && host.shm_size > 0 {
                warnings.push("--shm-size has no effect with --ipc none".to_owned());
            }
            Ok(())
        }
    }
}

/// Groups of one's own to write: the kernel keeps a container within its limits only where it knows that groups are
/// delegated with their namespace.
fn delegation(host: &HostConfig, daemon: &EngineConfig, info: &SysInfo) -> Result<(), EngineError> {
    if host.privileged || crate::spec::writable_cgroups(host) != Some(true) {
        return Ok(());
    }
    if !info.delegates {
        return invalid(
            "--security-opt writable-cgroups=true needs cgroup v2, mounted with nsdelegate",
        );
    }
    let mode = match host.cgroupns_mode.as_str() {
        "" => daemon.default_cgroupns_mode.as_str(),
        mode => mode,
    };
    if mode == "host" {
        return invalid("--security-opt writable-cgroups=true needs a private cgroup namespace");
    }
    Ok(())
}

fn security(option: &str) -> Result<(), EngineError> {
    if matches!(option, "no-new-privileges" | "disable") {
        return Ok(());
    }
    let Some((key, value)) = option.split_once(['=', ':']) else {
        return invalid(format!("invalid --security-opt 1: {option:?}"));
    };
    let known = match key {
        "label" | "apparmor" | "seccomp" | "systempaths" => true,
        "writable-cgroups" => wharf_go::parse_bool(value).is_ok(),
        "no-new-privileges" => matches!(value, "true" | "false" | "1" | "0"),
        _ => false,
    };
    if known {
        Ok(())
    } else {
        invalid(format!("invalid --security-opt 2: {option:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_processors_tell_of_heat_is_hidden() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "cpu10/thermal_throttle",
            "cpu2/thermal_throttle",
            "cpu3",
            "cpufreq/thermal_throttle",
        ] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let expected = ["cpu2", "cpu10"].map(|name| {
            let path = folder.path().join(name).join("thermal_throttle");
            path.to_string_lossy().into_owned()
        });
        assert_eq!(throttles(folder.path()), expected);
        assert!(throttles(&folder.path().join("none")).is_empty());
        assert!(MASKED.starts_with(&owned(wharf_bundle::MASKED)));
    }
}
