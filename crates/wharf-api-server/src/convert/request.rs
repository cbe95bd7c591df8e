//! Wire to engine: what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wharf_api_types as wire;
use wharf_engine::{
    Bind, Config, DeviceLists, DeviceMapping, DeviceRequest, EndpointSettings, Health, HostConfig,
    IdMapping, IdRange, IpcMode, LogConfig, MountKind, MountRequest, NamespaceMode, NetworkMode,
    NewContainer, NewExec, Port, PortBinding, Propagation, Resources, RestartPolicy, Throttle,
    TmpfsRequest, Ulimit, WeightDevice, parse_bind,
};

use crate::error::ApiError;

type Result<T> = std::result::Result<T, ApiError>;

/// The body of `POST /containers/create`.
pub(crate) fn new_container(
    name: Option<String>,
    platform: &str,
    request: wire::ContainerCreateRequest,
) -> Result<NewContainer> {
    let wire::ContainerCreateRequest {
        config,
        host_config,
        networking_config,
    } = request;
    let host = host_config.unwrap_or_default();
    Ok(NewContainer {
        name: name.map(|name| match name.strip_prefix('/') {
            Some(bare) if !bare.is_empty() => bare.to_owned(),
            _ => name,
        }),
        platform: crate::routes::platform(platform)?,
        endpoints: endpoints(networking_config)?,
        config: self::config(config)?,
        host: host_config_of(host)?,
        points: Vec::new(),
        binds_top_read_only: false,
    })
}

fn strings(list: Option<wire::StrSlice>) -> Option<Vec<String>> {
    list.map(|list| list.0)
}

pub(crate) fn config(config: wire::ContainerConfig) -> Result<Config> {
    let wire::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck,
        args_escaped: _,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        mac_address,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    Ok(Config {
        image,
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        tty,
        open_stdin,
        stdin_once,
        env: env.unwrap_or_default(),
        cmd: strings(cmd),
        // An empty entrypoint takes the image's away, as `[""]` does.
        entrypoint: strings(entrypoint),
        working_dir,
        labels: labels.unwrap_or_default(),
        exposed_ports: {
            let mut exposed = BTreeSet::new();
            for text in exposed_ports.into_keys() {
                expose(&text, &mut exposed)?;
            }
            exposed
        },
        volumes: volumes.unwrap_or_default().into_keys().collect(),
        stop_signal: Some(stop_signal).filter(|signal| !signal.is_empty()),
        stop_timeout,
        healthcheck: healthcheck.map(health),
        shell,
        on_build: on_build.flatten(),
        network_disabled,
        mac_address,
    })
}

fn health(health: wire::HealthConfig) -> Health {
    let wire::HealthConfig {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    } = health;
    Health {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    }
}

fn port(text: &str) -> Result<Port> {
    // It is the number that is called invalid, without the protocol behind it.
    let number = text.split('/').next().unwrap_or_default();
    Port::parse(text)
        .ok_or_else(|| ApiError::bad(format!("invalid port specification: {number:?}")))
}

/// A port, or a range of them: `100-102/udp`, as Compose passes on what its `expose` says.
fn expose(text: &str, exposed: &mut BTreeSet<Port>) -> Result<()> {
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let numbers = range
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?)));
    match numbers {
        Some((first @ 1.., last)) if first <= last => {
            for number in first..=last {
                exposed.insert(port(&format!("{number}/{protocol}"))?);
            }
        }
        _ => drop(exposed.insert(port(text)?)),
    }
    Ok(())
}

/// Which lists and maps are there and hold nothing: `Dns`, `Mounts[0].BindOptions`.
fn given_empty(host: &wire::HostConfig) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let document = serde_json::to_value(host).unwrap_or_default();
    find_empty(&document, "", &mut found);
    found
}

fn find_empty(value: &serde_json::Value, at: &str, found: &mut BTreeSet<String>) {
    use serde_json::Value;
    match value {
        Value::Array(list) if !list.is_empty() => {
            for (index, one) in list.iter().enumerate() {
                find_empty(one, &format!("{at}[{index}]"), found);
            }
        }
        Value::Object(fields) if !fields.is_empty() => {
            let dot = if at.is_empty() { "" } else { "." };
            for (name, one) in fields {
                find_empty(one, &format!("{at}{dot}{name}"), found);
            }
        }
        Value::Array(_) | Value::Object(_) => {
            found.insert(at.to_owned());
        }
        _ => {}
    }
}

fn host_config_of(host: wire::HostConfig) -> Result<HostConfig> {
    let given_empty = given_empty(&host);
    let wire::HostConfig {
        binds,
        container_id_file,
        log_config,
        network_mode,
        port_bindings,
        restart_policy,
        auto_remove,
        volume_driver,
        volumes_from,
        console_size,
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode,
        cgroup,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        umask,
        isolation,
        resources,
        mounts,
        masked_paths,
        readonly_paths,
        init,
    } = host;
    for target in tmpfs.keys() {
        tmpfs_target(target)?;
    }
    if !cgroup.is_empty() {
        return Err(ApiError::bad(format!("invalid cgroup mode: {cgroup}")));
    }
    if !matches!(isolation.as_str(), "" | "default") {
        return Err(ApiError::bad(format!(
            "Invalid isolation: {isolation:?} - linux only supports 'default'"
        )));
    }
    Ok(HostConfig {
        binds: binds
            .unwrap_or_default()
            .iter()
            .map(|text| bind(text))
            .collect::<Result<_>>()?,
        mounts: mounts.into_iter().map(mount).collect::<Result<_>>()?,
        volumes_from: volumes_from.unwrap_or_default(),
        tmpfs,
        volume_driver,
        container_id_file,
        log: LogConfig {
            driver: log_config.kind,
            options: log_config.config,
        },
        network_mode: NetworkMode::parse(&network_mode),
        port_bindings: self::port_bindings(port_bindings)?,
        publish_all_ports,
        restart_policy: self::restart_policy(restart_policy)?,
        auto_remove,
        console_size: console_size.into(),
        annotations: self::annotations(annotations)?,
        cap_add: strings(cap_add).unwrap_or_default(),
        cap_drop: strings(cap_drop).unwrap_or_default(),
        cgroupns_mode,
        dns: dns.unwrap_or_default(),
        dns_options: dns_options.unwrap_or_default(),
        dns_search: dns_search.unwrap_or_default(),
        extra_hosts: extra_hosts
            .unwrap_or_default()
            .into_iter()
            .map(extra_host)
            .collect::<Result<_>>()?,
        group_add: group_add.unwrap_or_default(),
        ipc_mode: IpcMode::parse(&ipc_mode)
            .ok_or_else(|| ApiError::bad(format!("invalid IPC mode: {ipc_mode}")))?,
        pid_mode: mode("PID", &pid_mode)?,
        uts_mode: mode("UTS", &uts_mode)?,
        userns_mode,
        links: links.unwrap_or_default(),
        oom_score_adj,
        privileged,
        readonly_rootfs,
        security_opt: security_opt.unwrap_or_default(),
        storage_opt,
        shm_size: u64::try_from(shm_size)
            .map_err(|_| ApiError::bad("SHM size can not be less than 0"))?,
        sysctls,
        runtime,
        umask,
        masked_paths,
        readonly_paths,
        init,
        resources: self::resources(resources)?,
        given_empty,
    })
}

fn mode(name: &str, text: &str) -> Result<NamespaceMode> {
    NamespaceMode::parse(text).ok_or_else(|| ApiError::bad(format!("invalid {name} mode: {text}")))
}

/// `NAME:ADDRESS`, as dockerd's API takes it; the command line's `NAME=ADDRESS` does not come this far.
pub(crate) fn extra_host(text: String) -> Result<String> {
    let (_, address) = text
        .split_once(':')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| ApiError::bad(format!("bad format for add-host: {text:?}")))?;
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        let text = format!("invalid IP address in add-host: {address:?}");
        return Err(ApiError::bad(text));
    }
    Ok(text)
}

/// Where a file system of `HostConfig.Tmpfs` is to be.
fn tmpfs_target(target: &str) -> Result<()> {
    let root = || target.split('/').all(|part| matches!(part, "" | "."));
    let text = match target {
        path if !path.starts_with('/') => {
            format!("invalid mount path: '{path}' mount path must be absolute")
        }
        _ if root() => "invalid specification: destination can't be '/'".to_owned(),
        _ => return Ok(()),
    };
    Err(ApiError::bad(text))
}

fn bind(text: &str) -> Result<Bind> {
    Ok(parse_bind(text)?)
}

fn port_bindings(
    bindings: Option<BTreeMap<String, Option<Vec<wire::PortBinding>>>>,
) -> Result<BTreeMap<Port, Vec<PortBinding>>> {
    let mut ports = BTreeMap::new();
    for (text, list) in bindings.unwrap_or_default() {
        let list: Vec<_> = list
            .unwrap_or_default()
            .into_iter()
            .map(port_binding)
            .collect::<Result<_>>()?;
        ports
            .entry(port(&text)?)
            .or_insert_with(Vec::new)
            .extend(list);
    }
    Ok(ports)
}

fn port_binding(binding: wire::PortBinding) -> Result<PortBinding> {
    let wire::PortBinding { host_ip, host_port } = binding;
    let invalid = || ApiError::bad(format!("invalid port specification: {host_port:?}"));
    let number = |text: &str| text.parse::<u16>().map_err(|_| invalid());
    let (first, last) = match host_port.split_once('-') {
        _ if host_port.is_empty() => (0, 0),
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(&host_port)?, number(&host_port)?),
    };
    if first > last {
        return Err(invalid());
    }
    let ip: Option<IpAddr> = match host_ip.as_str() {
        "" => None,
        ip => Some(
            ip.parse()
                .map_err(|_| ApiError::bad(format!("invalid IP address: {ip}")))?,
        ),
    };
    Ok(PortBinding {
        host_ip: ip,
        host_port: first,
        host_port_end: last,
    })
}

fn annotations(named: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    match named.contains_key("") {
        true => Err(ApiError::bad(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        )),
        false => Ok(named),
    }
}

/// A restart policy, in moby's words where it is none.
pub(crate) fn restart_policy(policy: wire::RestartPolicy) -> Result<RestartPolicy> {
    let wire::RestartPolicy {
        name,
        maximum_retry_count,
    } = policy;
    let retries = u32::try_from(maximum_retry_count);
    let unlimited = |policy| match (maximum_retry_count, name.as_str()) {
        (0, _) => Ok(policy),
        (count, _) => {
            let more = if count < 0 {
                " and cannot be negative"
            } else {
                ""
            };
            Err(ApiError::bad(format!(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'{more}"
            )))
        }
    };
    match name.as_str() {
        "" | "no" => unlimited(RestartPolicy::No),
        "always" => unlimited(RestartPolicy::Always),
        "unless-stopped" => unlimited(RestartPolicy::UnlessStopped),
        "on-failure" | "on-unhealthy" => {
            let text = "invalid restart policy: maximum retry count cannot be negative";
            let max_retries = retries.map_err(|_| ApiError::bad(text))?;
            Ok(match name.as_str() {
                "on-failure" => RestartPolicy::OnFailure { max_retries },
                _ => RestartPolicy::OnUnhealthy { max_retries },
            })
        }
        _ => Err(ApiError::bad(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
    }
}

/// Limits and devices.
pub(crate) fn resources(resources: wire::Resources) -> Result<Resources> {
    let wire::Resources {
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices,
        device_cgroup_rules,
        device_requests,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits,
        cpu_count,
        cpu_percent,
        io_maximum_iops,
        io_maximum_bandwidth,
        kernel_memory,
    } = resources;
    // Windows' number of processors means nothing here, in dockerd as well.
    let _ = cpu_count;
    let weight = |one: wire::WeightDevice| WeightDevice {
        path: one.path,
        weight: one.weight,
    };
    Ok(Resources {
        cpu_shares,
        nano_cpus,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        memory,
        memory_reservation,
        memory_swap,
        // -1 is how old clients say that they say nothing.
        memory_swappiness: memory_swappiness.filter(|value| *value != -1),
        oom_kill_disable,
        pids_limit,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device: blkio_weight_device
            .unwrap_or_default()
            .into_iter()
            .map(weight)
            .collect(),
        blkio_device_read_bps: throttles(blkio_device_read_bps),
        blkio_device_write_bps: throttles(blkio_device_write_bps),
        blkio_device_read_iops: throttles(blkio_device_read_iops),
        blkio_device_write_iops: throttles(blkio_device_write_iops),
        devices: devices
            .unwrap_or_default()
            .into_iter()
            .map(device)
            .collect(),
        device_cgroup_rules: device_cgroup_rules.unwrap_or_default(),
        device_requests: device_requests
            .unwrap_or_default()
            .into_iter()
            .map(device_request)
            .collect(),
        ulimits: ulimits
            .unwrap_or_default()
            .into_iter()
            .map(ulimit)
            .collect(),
        kernel_memory,
        cpu_percent,
        io_maximum_bandwidth,
        io_maximum_iops,
    })
}

/// Which lists of block I/O limits of single devices are given; one that is empty is.
pub(crate) fn device_lists(asked: &wire::Resources) -> DeviceLists {
    DeviceLists {
        weights: asked.blkio_weight_device.is_some(),
        read_bps: asked.blkio_device_read_bps.is_some(),
        write_bps: asked.blkio_device_write_bps.is_some(),
        read_iops: asked.blkio_device_read_iops.is_some(),
        write_iops: asked.blkio_device_write_iops.is_some(),
    }
}

fn throttles(list: Option<Vec<wire::ThrottleDevice>>) -> Vec<Throttle> {
    let list = list.unwrap_or_default().into_iter();
    list.map(|wire::ThrottleDevice { path, rate }| Throttle { path, rate })
        .collect()
}

fn device(device: wire::DeviceMapping) -> DeviceMapping {
    let wire::DeviceMapping {
        path_on_host,
        path_in_container,
        cgroup_permissions,
    } = device;
    DeviceMapping {
        host: path_on_host,
        container: path_in_container,
        permissions: cgroup_permissions,
    }
}

fn device_request(request: wire::DeviceRequest) -> DeviceRequest {
    let wire::DeviceRequest {
        driver,
        count,
        device_ids,
        capabilities,
        options,
    } = request;
    DeviceRequest {
        driver,
        count,
        device_ids: device_ids.unwrap_or_default(),
        capabilities: capabilities.unwrap_or_default(),
        options: options.unwrap_or_default(),
    }
}

pub(crate) fn ulimit(ulimit: wire::Ulimit) -> Ulimit {
    let wire::Ulimit { name, hard, soft } = ulimit;
    Ulimit { name, soft, hard }
}

fn mount(mount: wire::Mount) -> Result<MountRequest> {
    let wire::Mount {
        kind,
        source,
        target,
        read_only,
        consistency,
        bind_options,
        volume_options,
        image_options,
        tmpfs_options,
        cluster_options,
    } = mount;
    let given = [
        ("bind", "BindOptions", bind_options.is_some()),
        ("volume", "VolumeOptions", volume_options.is_some()),
        ("image", "ImageOptions", image_options.is_some()),
        ("tmpfs", "TmpfsOptions", tmpfs_options.is_some()),
        ("cluster", "ClusterOptions", cluster_options.is_some()),
    ];
    let known = given.iter().any(|(one, ..)| *one == kind);
    let foreign = given
        .iter()
        .find(|(one, _, is_given)| *is_given && *one != kind);
    if let Some((_, field, _)) = foreign.filter(|_| known) {
        return Err(ApiError::bad(format!(
            "{field} must not be specified on mount type {kind:?}"
        )));
    }
    let kind = match kind.as_str() {
        "bind" => bind_mount(source, bind_options.unwrap_or_default())?,
        "volume" => volume_mount(source, volume_options.unwrap_or_default()),
        "tmpfs" if !source.is_empty() => {
            return Err(ApiError::bad(
                "invalid mount config for type \"tmpfs\": field Source must not be specified",
            ));
        }
        "tmpfs" => MountKind::Tmpfs(tmpfs(tmpfs_options.unwrap_or_default())?),
        "image" => MountKind::Image {
            source,
            subpath: image_options.unwrap_or_default().subpath,
        },
        _ => {
            return Err(ApiError::bad(format!(
                "invalid mount config for type \"{kind}\": mount type unknown"
            )));
        }
    };
    Ok(MountRequest {
        target,
        read_only,
        consistency,
        kind,
    })
}

fn bind_mount(source: String, options: wire::BindOptions) -> Result<MountKind> {
    let wire::BindOptions {
        propagation,
        non_recursive,
        create_mountpoint,
        read_only_non_recursive,
        read_only_force_recursive,
        id_mapping,
    } = options;
    let propagation = match propagation.as_str() {
        "" => None,
        text => Some(Propagation::parse(text).ok_or_else(|| {
            ApiError::bad(format!(
                "invalid mount config for type \"bind\": invalid propagation mode: {text}"
            ))
        })?),
    };
    Ok(MountKind::Bind {
        source: source.into(),
        propagation,
        non_recursive,
        create_source: create_mountpoint,
        read_only_non_recursive,
        read_only_force_recursive,
        id_mapping: id_mapping.map(self::id_mapping).transpose()?,
    })
}

fn id_mapping(mapping: wire::IdMapping) -> Result<IdMapping> {
    let wire::IdMapping {
        source,
        user,
        uid_mappings,
        gid_mappings,
    } = mapping;
    let bad = |reason: String| {
        ApiError::bad(format!(
            "invalid mount config for type \"bind\": invalid IDMapping: {reason}"
        ))
    };
    let rows = !uid_mappings.is_empty() || !gid_mappings.is_empty();
    match source.as_str() {
        "match-user" if rows => Err(bad("match-user has no rows".to_owned())),
        "match-user" => Ok(IdMapping::MatchUser(user)),
        "" if uid_mappings.is_empty() || gid_mappings.is_empty() => {
            Err(bad("rows for users and for groups are needed".to_owned()))
        }
        "" => {
            let row = |row: wire::IdRange| IdRange {
                on_disk: row.host_id,
                shown: row.container_id,
                size: row.size,
            };
            let rows = |rows: Vec<wire::IdRange>| rows.into_iter().map(row).collect();
            Ok(IdMapping::Ranges(rows(uid_mappings), rows(gid_mappings)))
        }
        "userns" => Err(bad(
            "the container has no user namespace of its own".to_owned()
        )),
        source => Err(bad(format!("unknown source: {source}"))),
    }
}

fn volume_mount(source: String, options: wire::VolumeOptions) -> MountKind {
    let wire::VolumeOptions {
        no_copy,
        labels,
        subpath,
        driver_config,
    } = options;
    let wire::Driver { name, options } = driver_config.unwrap_or_default();
    MountKind::Volume {
        source,
        no_copy,
        labels,
        driver: name,
        options,
        subpath,
    }
}

fn tmpfs(options: wire::TmpfsOptions) -> Result<TmpfsRequest> {
    let wire::TmpfsOptions {
        size_bytes,
        mode,
        options,
    } = options;
    let size = u64::try_from(size_bytes).map_err(|_| ApiError::bad("invalid tmpfs size"))?;
    let option = |mut words: Vec<String>| match words.len() {
        1 => Ok((words.remove(0), None)),
        2 => Ok((words.remove(0), Some(words.remove(0)))),
        _ => Err(ApiError::bad("invalid option array length")),
    };
    let options = options.into_iter().map(option).collect::<Result<_>>()?;
    Ok(TmpfsRequest {
        size,
        mode,
        options,
    })
}

fn endpoints(config: Option<wire::NetworkingConfig>) -> Result<BTreeMap<String, EndpointSettings>> {
    let endpoints = config
        .and_then(|config| config.endpoints_config)
        .unwrap_or_default();
    let endpoint = |(name, settings): (String, Option<wire::EndpointSettings>)| match settings {
        Some(settings) => Ok((name, endpoint(settings)?)),
        None => Err(ApiError::bad(format!(
            "invalid config for network {name}: EndpointsConfig is nil"
        ))),
    };
    endpoints.into_iter().map(endpoint).collect()
}

/// What is asked of one network.
pub(crate) fn endpoint(settings: wire::EndpointSettings) -> Result<EndpointSettings> {
    let ipam = settings.ipam_config.unwrap_or_default();
    let ipv4_address = match ipam.ipv4_address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| ApiError::bad(format!("invalid IPv4 address: {text}")))?,
        ),
    };
    let ipv6_address = match ipam.ipv6_address.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|_| ApiError::bad(format!("invalid IPv6 address: {text}")))?,
        ),
    };
    let link_local = |text: &String| {
        let invalid = |_| ApiError::bad(format!("invalid link-local IP address: {text}"));
        text.parse().map_err(invalid)
    };
    Ok(EndpointSettings {
        ipv4_address,
        ipv6_address,
        link_local: ipam
            .link_local_ips
            .iter()
            .map(link_local)
            .collect::<Result<_>>()?,
        gateway_priority: settings.gw_priority.unwrap_or_default(),
        mac_address: settings.mac_address,
        aliases: settings.aliases.unwrap_or_default(),
        links: settings.links.unwrap_or_default(),
        driver_opts: settings.driver_opts.unwrap_or_default(),
    })
}

/// The body of `POST /containers/{id}/exec`.
pub(crate) fn new_exec(request: wire::ExecCreateRequest) -> NewExec {
    let wire::ExecCreateRequest {
        user,
        privileged,
        tty,
        console_size,
        attach_stdin,
        attach_stderr,
        attach_stdout,
        detach: _,
        detach_keys,
        env,
        working_dir,
        cmd,
    } = request;
    NewExec {
        cmd: cmd.unwrap_or_default(),
        env: env.unwrap_or_default(),
        user,
        working_dir,
        tty,
        privileged,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        detach_keys: Some(detach_keys).filter(|keys| !keys.is_empty()),
        console_size: self::console_size(console_size),
    }
}

/// Rows and columns.
pub(crate) fn console_size(size: Option<[u32; 2]>) -> Option<(u16, u16)> {
    let [rows, columns] = size?;
    Some((rows.try_into().ok()?, columns.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn create(json: serde_json::Value) -> Result<NewContainer> {
        new_container(None, "", serde_json::from_value(json).expect("request"))
    }

    #[test]
    fn ports_ranges_and_policies_are_read() {
        let new = create(serde_json::json!({
            "Image": "x",
            "ExposedPorts": { "80": {}, "53/udp": {} },
            "HostConfig": {
                "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8000-8010" }, {}] },
                "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
                "NetworkMode": "container:abc"
            }
        }))
        .expect("container");
        let port = Port::parse("80/tcp").expect("port");
        let range = &new.host.port_bindings[&port][0];
        assert_eq!((range.host_port, range.host_port_end), (8000, 8010));
        assert_eq!(
            new.host.restart_policy,
            RestartPolicy::OnFailure { max_retries: 3 }
        );
        assert_eq!(new.host.network_mode, NetworkMode::Container("abc".into()));
        assert_eq!(
            new.config.exposed_ports,
            BTreeSet::from([port, Port::parse("53/udp").expect("port")])
        );
    }

    #[test]
    fn a_range_is_its_ports() {
        let exposed = |text: &str| {
            let ports = serde_json::json!({ text: {} });
            let new = create(serde_json::json!({ "Image": "x", "ExposedPorts": ports }));
            let ports = new.map(|new| new.config.exposed_ports.into_iter());
            ports.map(|ports| ports.map(|port| port.to_string()).collect::<Vec<_>>())
        };
        let range = exposed("100-102/udp").expect("a range");
        assert_eq!(range, ["100/udp", "101/udp", "102/udp"]);
        assert_eq!(exposed("7-7").expect("one"), ["7/tcp"]);
        for wrong in ["102-100", "0-3", "1-70000", "1-2/nope", "a-b", "1-", "-"] {
            let refused = exposed(wrong).expect_err(wrong).message;
            assert!(
                refused.starts_with("invalid port specification"),
                "{refused}"
            );
        }
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (host, words) in [
            (
                r#"{"RestartPolicy":{"Name":"maybe"}}"#,
                "unknown policy 'maybe'",
            ),
            (
                r#"{"RestartPolicy":{"Name":"always","MaximumRetryCount":1}}"#,
                "can only be used with 'on-failure'",
            ),
            (r#"{"PidMode":"x"}"#, "invalid PID mode: x"),
            (
                r#"{"Mounts":[{"Type":"odd","Target":"/x"}]}"#,
                "mount type unknown",
            ),
            (
                r#"{"PortBindings":{"80/tcp":[{"HostPort":"x"}]}}"#,
                "invalid port specification",
            ),
        ] {
            let host: serde_json::Value = serde_json::from_str(host).expect("json");
            let error =
                create(serde_json::json!({ "Image": "x", "HostConfig": host })).expect_err(words);
            assert!(error.message.contains(words), "{}", error.message);
        }
    }
}
