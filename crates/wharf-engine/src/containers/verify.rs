//! Whether settings make sense, in dockerd's words (moby `daemon/container.go`, `daemon_unix.go`).

use crate::{
    Config, EngineConfig, EngineError, HostConfig, IpcMode, NetworkMode, Port, PortBinding,
    Resources, RestartPolicy, signal,
};

const MIN_MEMORY: i64 = 6 << 20;

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
    Ok(())
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
    resources(&mut host.resources, &mut warnings)?;
    ports(host)?;
    network(host, &mut warnings)?;
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        let value = host.oom_score_adj;
        return invalid(format!(
            "Invalid value {value}, range for oom score adj is [-1000, 1000]"
        ));
    }
    if !matches!(
        host.runtime.as_str(),
        "" | "wharf" | "runc" | "io.containerd.runc.v2"
    ) {
        return invalid(format!("unknown or invalid runtime name: {}", host.runtime));
    }
    if !matches!(host.cgroupns_mode.as_str(), "" | "host" | "private") {
        return invalid(format!(
            "invalid cgroup namespace mode: {}",
            host.cgroupns_mode
        ));
    }
    crate::spec::capabilities(host)?;
    for option in &host.security_opt {
        security(option)?;
    }
    if !host.storage_opt.is_empty() {
        return invalid(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        );
    }
    if let Some(request) = host.resources.device_requests.first() {
        let (driver, capabilities) = (&request.driver, &request.capabilities);
        return invalid(format!(
            "could not select device driver {driver:?} with capabilities: {capabilities:?}"
        ));
    }
    log(host, daemon)?;
    defaults(host, daemon);
    Ok(warnings)
}

fn defaults(host: &mut HostConfig, daemon: &EngineConfig) {
    if host.shm_size == 0 {
        host.shm_size = daemon.default_shm_size;
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
    let resources = &mut host.resources;
    if resources.memory > 0 && resources.memory_swap == 0 {
        resources.memory_swap = resources.memory.saturating_mul(2);
    }
    if resources.cpu_shares > 0 {
        resources.cpu_shares = resources.cpu_shares.clamp(2, 262_144);
    }
    if resources.memory_swappiness == Some(-1) {
        resources.memory_swappiness = None;
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

fn resources(resources: &mut Resources, warnings: &mut Vec<String>) -> Result<(), EngineError> {
    let r = resources;
    if r.memory != 0 && r.memory < MIN_MEMORY {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if r.memory > 0 && r.memory_swap > 0 && r.memory_swap < r.memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if r.memory == 0 && r.memory_swap > 0 {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        );
    }
    if let Some(value) = r
        .memory_swappiness
        .filter(|value| !(-1..=100).contains(value))
    {
        return invalid(format!(
            "Invalid value: {value}, valid memory swappiness range is 0-100"
        ));
    }
    if r.memory_reservation > 0 && r.memory_reservation < MIN_MEMORY {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if r.memory > 0 && r.memory_reservation > 0 && r.memory < r.memory_reservation {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    if r.oom_kill_disable == Some(true) && r.memory == 0 {
        warnings.push("OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned());
    }
    cpu(r)?;
    if r.blkio_weight > 0 && !(10..=1000).contains(&r.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000");
    }
    // The cgroup's limit is none with 0 and below.
    if r.pids_limit.is_some_and(|limit| limit <= 0) {
        r.pids_limit = None;
    }
    Ok(())
}

fn cpu(r: &Resources) -> Result<(), EngineError> {
    if r.nano_cpus > 0 && r.cpu_period > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if r.nano_cpus > 0 && r.cpu_quota > 0 {
        return invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let most = i64::try_from(cpus)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    if r.nano_cpus < 0 || r.nano_cpus > most {
        return invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if r.cpu_period != 0 && !(1_000..=1_000_000).contains(&r.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    if r.cpu_quota > 0 && r.cpu_quota < 1_000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
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
        NetworkMode::Container(_) if published => {
            invalid("conflicting options: port publishing and the container type network mode")
        }
        NetworkMode::Container(_) if !host.dns.is_empty() => {
            invalid("conflicting options: dns and the network mode")
        }
        NetworkMode::Container(_) if !host.extra_hosts.is_empty() => {
            invalid("conflicting options: custom host-to-IP mapping and the network mode")
        }
        NetworkMode::Container(name) if name.is_empty() => {
            invalid("invalid container format container:<name|id>")
        }
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

fn security(option: &str) -> Result<(), EngineError> {
    if matches!(option, "no-new-privileges" | "disable") {
        return Ok(());
    }
    let Some((key, value)) = option.split_once(['=', ':']) else {
        return invalid(format!("invalid --security-opt 1: {option:?}"));
    };
    let known = match key {
        "label" | "apparmor" | "seccomp" | "systempaths" | "writable-cgroups" => true,
        "no-new-privileges" => matches!(value, "true" | "false" | "1" | "0"),
        _ => false,
    };
    if known {
        Ok(())
    } else {
        invalid(format!("invalid --security-opt 2: {option:?}"))
    }
}

fn log(host: &mut HostConfig, daemon: &EngineConfig) -> Result<(), EngineError> {
    let log = &mut host.log;
    if log.driver.is_empty() {
        log.driver.clone_from(&daemon.log.driver);
    }
    if log.driver == daemon.log.driver {
        for (key, value) in &daemon.log.options {
            log.options
                .entry(key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    match log.driver.as_str() {
        "json-file" => crate::launch::rotation(&log.options).map(|_| ()),
        "none" => Ok(()),
        driver => invalid(format!(
            "logger: no log driver named '{driver}' is registered"
        )),
    }
}

/// Limits after an update: what is 0, empty or `None` in `new` stays.
pub(super) fn merged(old: &Resources, new: Resources) -> Result<Resources, EngineError> {
    let number = |new: i64, old: i64| if new == 0 { old } else { new };
    let text = |new: String, old: &String| if new.is_empty() { old.clone() } else { new };
    let mut merged = Resources {
        cpu_shares: number(new.cpu_shares, old.cpu_shares),
        nano_cpus: number(new.nano_cpus, old.nano_cpus),
        cpu_period: number(new.cpu_period, old.cpu_period),
        cpu_quota: number(new.cpu_quota, old.cpu_quota),
        cpu_realtime_period: number(new.cpu_realtime_period, old.cpu_realtime_period),
        cpu_realtime_runtime: number(new.cpu_realtime_runtime, old.cpu_realtime_runtime),
        cpuset_cpus: text(new.cpuset_cpus, &old.cpuset_cpus),
        cpuset_mems: text(new.cpuset_mems, &old.cpuset_mems),
        memory: number(new.memory, old.memory),
        memory_reservation: number(new.memory_reservation, old.memory_reservation),
        memory_swap: number(new.memory_swap, old.memory_swap),
        pids_limit: new.pids_limit.or(old.pids_limit),
        blkio_weight: if new.blkio_weight == 0 {
            old.blkio_weight
        } else {
            new.blkio_weight
        },
        ..old.clone()
    };
    if merged.memory_swap > 0 && merged.memory > merged.memory_swap {
        let text = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time";
        return invalid(text);
    }
    resources(&mut merged, &mut Vec::new())?;
    Ok(merged)
}
