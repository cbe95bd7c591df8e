//! Engine to wire: a container's configuration, as it was asked for.

use std::collections::{BTreeMap, BTreeSet};

use wharf_api_types as wire;
use wharf_engine::{
    Config, DeviceMapping, Health, HostConfig, IdMapping, IdRange, LogConfig, MountKind,
    MountRequest, PortBinding, Resources, Throttle, TmpfsRequest,
};

use super::nil;

/// Lists as Go shows them: null, unless they hold something or were given as empty ones.
struct Lists<'a>(&'a BTreeSet<String>);

impl Lists<'_> {
    fn show<T>(&self, name: &str, list: Vec<T>) -> Option<Vec<T>> {
        (!list.is_empty() || self.0.contains(name)).then_some(list)
    }

    fn words(&self, name: &str, list: Vec<String>) -> Option<wire::StrSlice> {
        self.show(name, list).map(wire::StrSlice)
    }

    /// Options of the mount `at`, which are left out if they say nothing and were not given.
    fn options<T: Default + PartialEq>(&self, options: T, at: &str, name: &str) -> Option<T> {
        let given = || self.0.contains(&format!("{at}.{name}"));
        (options != T::default() || given()).then_some(options)
    }

    fn throttles(&self, name: &str, list: Vec<Throttle>) -> Option<Vec<wire::ThrottleDevice>> {
        let rule = |Throttle { path, rate }| wire::ThrottleDevice { path, rate };
        self.show(name, list.into_iter().map(rule).collect())
    }
}

/// The portable half.
pub(super) fn config(config: &Config) -> wire::ContainerConfig {
    let Config {
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
        env,
        cmd,
        entrypoint,
        working_dir,
        labels,
        exposed_ports,
        volumes,
        stop_signal,
        stop_timeout,
        healthcheck,
        shell,
        on_build,
        network_disabled,
        mac_address,
    } = config.clone();
    let set = |keys: Vec<String>| {
        keys.into_iter()
            .map(|key| (key, wire::Empty {}))
            .collect::<wire::Set>()
    };
    wire::ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports: set(exposed_ports.into_iter().map(String::from).collect()),
        tty,
        open_stdin,
        stdin_once,
        env: nil(env),
        cmd: cmd.map(wire::StrSlice),
        healthcheck: healthcheck.map(health),
        args_escaped: false,
        image,
        volumes: Some(set(volumes.into_iter().collect())).filter(|volumes| !volumes.is_empty()),
        working_dir,
        entrypoint: entrypoint.map(wire::StrSlice),
        network_disabled,
        mac_address,
        on_build: on_build.map(Some),
        labels: Some(labels),
        stop_signal: stop_signal.unwrap_or_default(),
        stop_timeout,
        shell: shell.filter(|words| !words.is_empty()),
    }
}

fn health(health: Health) -> wire::HealthConfig {
    let Health {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    } = health;
    wire::HealthConfig {
        test,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    }
}

/// The host's half.
pub(super) fn host_config(host: &HostConfig) -> wire::HostConfig {
    let HostConfig {
        binds,
        mounts,
        volumes_from,
        tmpfs,
        volume_driver,
        container_id_file,
        log,
        network_mode,
        port_bindings,
        publish_all_ports,
        restart_policy,
        auto_remove,
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
        pid_mode,
        uts_mode,
        userns_mode,
        links,
        oom_score_adj,
        privileged,
        readonly_rootfs,
        security_opt,
        storage_opt,
        shm_size,
        sysctls,
        runtime,
        umask,
        masked_paths,
        readonly_paths,
        init,
        resources,
        given_empty,
    } = host.clone();
    let lists = Lists(&given_empty);
    let LogConfig { driver, options } = log;
    let ports = port_bindings
        .into_iter()
        .map(|(port, list)| (port.to_string(), Some(list.iter().map(binding).collect())));
    wire::HostConfig {
        binds: lists.show("Binds", binds.into_iter().map(|bind| bind.text).collect()),
        container_id_file,
        log_config: wire::LogConfig {
            kind: driver,
            config: options,
        },
        network_mode: network_mode.to_string(),
        port_bindings: Some(ports.collect::<BTreeMap<_, _>>())
            .filter(|ports| !ports.is_empty() || given_empty.contains("PortBindings")),
        restart_policy: wire::RestartPolicy {
            name: restart_policy.name().to_owned(),
            maximum_retry_count: restart_policy.max_retries().into(),
        },
        auto_remove,
        volume_driver,
        volumes_from: lists.show("VolumesFrom", volumes_from),
        console_size: console_size.into(),
        annotations,
        cap_add: lists.words("CapAdd", cap_add),
        cap_drop: lists.words("CapDrop", cap_drop),
        cgroupns_mode,
        dns: lists.show("Dns", dns),
        dns_options: lists.show("DnsOptions", dns_options),
        dns_search: lists.show("DnsSearch", dns_search),
        extra_hosts: lists.show("ExtraHosts", extra_hosts),
        group_add: lists.show("GroupAdd", group_add),
        ipc_mode: ipc_mode.to_string(),
        cgroup: String::new(),
        links: lists.show("Links", links),
        oom_score_adj,
        pid_mode: pid_mode.to_string(),
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt: lists.show("SecurityOpt", security_opt),
        storage_opt,
        tmpfs,
        uts_mode: uts_mode.to_string(),
        userns_mode,
        shm_size: shm_size.try_into().unwrap_or(i64::MAX),
        sysctls,
        runtime,
        umask,
        isolation: String::new(),
        resources: self::resources(resources, &lists),
        mounts: mounts
            .into_iter()
            .enumerate()
            .map(|(index, one)| mount(one, &format!("Mounts[{index}]"), &lists))
            .collect(),
        masked_paths,
        readonly_paths,
        init,
    }
}

/// A binding as it was asked for; a range with its dash.
pub(super) fn binding(binding: &PortBinding) -> wire::PortBinding {
    let PortBinding {
        host_ip,
        host_port,
        host_port_end,
    } = binding;
    wire::PortBinding {
        host_ip: host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        host_port: match (*host_port, *host_port_end) {
            (0, _) => String::new(),
            (first, last) if last > first => format!("{first}-{last}"),
            (first, _) => first.to_string(),
        },
    }
}

fn resources(resources: Resources, lists: &Lists<'_>) -> wire::Resources {
    let Resources {
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
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        devices,
        device_cgroup_rules,
        device_requests,
        ulimits,
        kernel_memory,
        cpu_percent,
        io_maximum_bandwidth,
        io_maximum_iops,
    } = resources;
    let weights = blkio_weight_device
        .into_iter()
        .map(|one| wire::WeightDevice {
            path: one.path,
            weight: one.weight,
        });
    wire::Resources {
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent,
        blkio_weight,
        blkio_weight_device: lists.show("BlkioWeightDevice", weights.collect()),
        blkio_device_read_bps: lists.throttles("BlkioDeviceReadBps", blkio_device_read_bps),
        blkio_device_write_bps: lists.throttles("BlkioDeviceWriteBps", blkio_device_write_bps),
        blkio_device_read_iops: lists.throttles("BlkioDeviceReadIOps", blkio_device_read_iops),
        blkio_device_write_iops: lists.throttles("BlkioDeviceWriteIOps", blkio_device_write_iops),
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices: lists.show("Devices", devices.into_iter().map(device).collect()),
        device_cgroup_rules: lists.show("DeviceCgroupRules", device_cgroup_rules),
        device_requests: lists.show(
            "DeviceRequests",
            device_requests.into_iter().map(device_request).collect(),
        ),
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits: lists.show("Ulimits", ulimits.into_iter().map(ulimit).collect()),
        cpu_count: 0,
        cpu_percent,
        io_maximum_iops,
        io_maximum_bandwidth,
        kernel_memory,
    }
}

fn device(device: DeviceMapping) -> wire::DeviceMapping {
    let DeviceMapping {
        host,
        container,
        permissions,
    } = device;
    wire::DeviceMapping {
        path_on_host: host,
        path_in_container: container,
        cgroup_permissions: permissions,
    }
}

fn device_request(request: wharf_engine::DeviceRequest) -> wire::DeviceRequest {
    let wharf_engine::DeviceRequest {
        driver,
        count,
        device_ids,
        capabilities,
        options,
    } = request;
    wire::DeviceRequest {
        driver,
        count,
        device_ids: Some(device_ids),
        capabilities: Some(capabilities),
        options: Some(options),
    }
}

fn ulimit(ulimit: wharf_engine::Ulimit) -> wire::Ulimit {
    let wharf_engine::Ulimit { name, soft, hard } = ulimit;
    wire::Ulimit { name, hard, soft }
}

fn mount(mount: MountRequest, at: &str, lists: &Lists<'_>) -> wire::Mount {
    let MountRequest {
        target,
        read_only,
        consistency,
        kind,
    } = mount;
    let mut made = wire::Mount {
        target,
        read_only,
        consistency,
        ..wire::Mount::default()
    };
    match kind {
        MountKind::Bind {
            source,
            propagation,
            non_recursive,
            create_source,
            read_only_non_recursive,
            read_only_force_recursive,
            id_mapping,
        } => {
            made.kind = "bind".to_owned();
            made.source = source.to_string_lossy().into_owned();
            let options = wire::BindOptions {
                propagation: propagation
                    .map_or(String::new(), |propagation| propagation.as_str().to_owned()),
                non_recursive,
                create_mountpoint: create_source,
                read_only_non_recursive,
                read_only_force_recursive,
                id_mapping: id_mapping.map(self::id_mapping),
            };
            made.bind_options = lists.options(options, at, "BindOptions");
        }
        MountKind::Volume {
            source,
            no_copy,
            labels,
            driver,
            options,
            subpath,
        } => {
            made.kind = "volume".to_owned();
            made.source = source;
            let driver = wire::Driver {
                name: driver,
                options,
            };
            let options = wire::VolumeOptions {
                no_copy,
                labels,
                subpath,
                driver_config: lists.options(driver, at, "VolumeOptions.DriverConfig"),
            };
            made.volume_options = lists.options(options, at, "VolumeOptions");
        }
        MountKind::Image { source, subpath } => {
            made.kind = "image".to_owned();
            made.source = source;
            let options = wire::ImageOptions { subpath };
            made.image_options = lists.options(options, at, "ImageOptions");
        }
        MountKind::Tmpfs(TmpfsRequest {
            size,
            mode,
            options,
        }) => {
            made.kind = "tmpfs".to_owned();
            let options = wire::TmpfsOptions {
                size_bytes: size.try_into().unwrap_or(i64::MAX),
                mode,
                options: options
                    .into_iter()
                    .map(|(key, value)| [Some(key), value].into_iter().flatten().collect())
                    .collect(),
            };
            made.tmpfs_options = lists.options(options, at, "TmpfsOptions");
        }
    }
    made
}

fn id_mapping(mapping: IdMapping) -> wire::IdMapping {
    let row = |row: IdRange| wire::IdRange {
        host_id: row.on_disk,
        container_id: row.shown,
        size: row.size,
    };
    match mapping {
        IdMapping::MatchUser(user) => wire::IdMapping {
            source: "match-user".to_owned(),
            user,
            ..wire::IdMapping::default()
        },
        IdMapping::Ranges(users, groups) => wire::IdMapping {
            uid_mappings: users.into_iter().map(row).collect(),
            gid_mappings: groups.into_iter().map(row).collect(),
            ..wire::IdMapping::default()
        },
    }
}
