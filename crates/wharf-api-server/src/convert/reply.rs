//! Engine to wire: containers, execs, volumes, networks.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use wharf_api_types as wire;
use wharf_engine::{
    EndpointView, ExecView, HealthView, Listed, MountPoint, NetworkView, PortBinding, Probe, Size,
    StateView, View, key_bytes,
};
use wharf_volumes::Volume;

use super::{host, nil, time};

/// `GET /containers/{id}/json`.
pub(crate) fn container_inspect(view: &View, size: Option<Size>) -> wire::ContainerInspect {
    let View {
        id,
        name,
        created,
        path,
        args,
        image,
        chain: _,
        platform,
        config,
        host,
        mounts,
        state,
        restart_count,
        network,
        hostname_path,
        hosts_path,
        resolv_conf_path,
        log_path,
        exec_ids,
        layers,
        app_armor_profile,
        start_failed,
        exits: _,
        unkilled: _,
        log_store: _,
        removed: _,
    } = view;
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    // dockerd has no files for a container that nobody has tried to start.
    let was_tried = state.started_at.is_some() || *start_failed;
    let file = |path: &std::path::Path| match was_tried {
        true => text(path),
        false => String::new(),
    };
    let graph = layers.as_ref().map(|(lowers, upper, work)| {
        let lowers: Vec<_> = lowers.iter().map(|lower| text(lower)).collect();
        let merged = upper
            .parent()
            .map(|folder| text(&folder.join("merged")))
            .unwrap_or_default();
        let data = [
            ("LowerDir", lowers.join(":")),
            ("MergedDir", merged),
            ("UpperDir", text(upper)),
            ("WorkDir", text(work)),
        ];
        wire::DriverData {
            data: data.map(|(key, value)| (key.to_owned(), value)).into(),
            name: "overlay2".to_owned(),
        }
    });
    wire::ContainerInspect {
        id: id.clone(),
        created: created.to_string(),
        path: path.clone(),
        args: args.clone(),
        state: self::state(state),
        image: image.to_string(),
        resolv_conf_path: file(resolv_conf_path),
        hostname_path: file(hostname_path),
        hosts_path: file(hosts_path),
        log_path: file(log_path),
        name: format!("/{name}"),
        restart_count: (*restart_count).into(),
        driver: "overlay2".to_owned(),
        platform: platform.os.clone(),
        mount_label: String::new(),
        process_label: String::new(),
        app_armor_profile: app_armor_profile.clone(),
        exec_ids: nil(exec_ids.clone()),
        host_config: host::host_config(host),
        graph_driver: graph,
        size_rw: size.map(|size| bytes(size.rw)),
        size_root_fs: size.map(|size| bytes(size.root)),
        mounts: mounts
            .iter()
            .filter(|mount| mount.tmpfs.is_none() || mount.kind == "tmpfs")
            .map(mount_point)
            .collect(),
        config: wire::ContainerConfig {
            mac_address: mac_address(view),
            ..host::config(config)
        },
        network_settings: network_settings(network),
        image_manifest_descriptor: None,
    }
}

/// The hardware address that was asked for: of the container, or of its endpoint in the network that its mode names.
fn mac_address(view: &View) -> String {
    let own = &view.config.mac_address;
    let mode = view.host.network_mode.network_name();
    let endpoint = mode.and_then(|name| view.network.endpoints.get(name));
    let asked = endpoint.map_or(own, |endpoint| &endpoint.settings.mac_address);
    if own.is_empty() { asked } else { own }.clone()
}

/// Sizes are signed on the wire.
pub(super) fn bytes(size: u64) -> i64 {
    size.try_into().unwrap_or(i64::MAX)
}

fn state(state: &StateView) -> wire::ContainerState {
    let StateView {
        status,
        running,
        paused,
        restarting,
        dead,
        oom_killed,
        pid,
        exit_code,
        error,
        started_at,
        finished_at,
        health,
    } = state.clone();
    wire::ContainerState {
        status: status.as_str().to_owned(),
        running,
        paused,
        restarting,
        oom_killed,
        dead,
        pid: pid.into(),
        exit_code: exit_code.into(),
        error,
        started_at: time(started_at),
        finished_at: time(finished_at),
        health: health.map(self::health),
    }
}

fn health(health: HealthView) -> wire::Health {
    let HealthView {
        status,
        failing_streak,
        log,
    } = health;
    let result = |probe: Probe| wire::HealthcheckResult {
        start: time(Some(probe.start)),
        end: time(Some(probe.end)),
        exit_code: probe.exit_code.into(),
        output: probe.output,
    };
    wire::Health {
        status: status.as_str().to_owned(),
        failing_streak: failing_streak.into(),
        log: log.into_iter().map(result).collect(),
    }
}

fn mount_point(mount: &MountPoint) -> wire::MountPoint {
    let MountPoint {
        kind,
        name,
        source,
        destination,
        driver,
        mode,
        rw,
        propagation,
        copy_up: _,
        create_source: _,
        non_recursive: _,
        top_read_only: _,
        subpath: _,
        tmpfs: _,
        anonymous: _,
        layers: _,
        id_mapping: _,
        snapshot: _,
    } = mount.clone();
    wire::MountPoint {
        kind,
        name,
        source: source.to_string_lossy().into_owned(),
        destination,
        driver,
        mode,
        rw,
        propagation,
    }
}

fn network_settings(network: &NetworkView) -> wire::NetworkSettings {
    let NetworkView {
        endpoints,
        ports,
        sandbox_key,
        sandbox_id,
    } = network.clone();
    wire::NetworkSettings {
        sandbox_id,
        sandbox_key,
        ports: ports
            .into_iter()
            .map(|(port, list)| (port.to_string(), bound(&list)))
            .collect(),
        networks: self::endpoints(&endpoints),
        of_bridge: None,
    }
}

fn bound(list: &[PortBinding]) -> Option<Vec<wire::PortBinding>> {
    nil(list.iter().map(host::binding).collect())
}

fn endpoints(
    endpoints: &BTreeMap<String, EndpointView>,
) -> BTreeMap<String, wire::EndpointSettings> {
    endpoints
        .iter()
        .map(|(name, view)| (name.clone(), endpoint(view)))
        .collect()
}

fn endpoint(view: &EndpointView) -> wire::EndpointSettings {
    let EndpointView {
        settings,
        network_id,
        endpoint_id,
        ip,
        prefix,
        gateway,
        ip6,
        prefix6,
        gateway6,
        mac,
        dns_names,
    } = view.clone();
    let text = |ip: Option<std::net::Ipv6Addr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let asked = settings.ipv4_address.is_some()
        || settings.ipv6_address.is_some()
        || !settings.link_local.is_empty();
    let ipam = asked.then(|| wire::EndpointIpamConfig {
        ipv4_address: settings
            .ipv4_address
            .map(|ip| ip.to_string())
            .unwrap_or_default(),
        ipv6_address: text(settings.ipv6_address),
        link_local_ips: settings
            .link_local
            .iter()
            .map(ToString::to_string)
            .collect(),
    });
    wire::EndpointSettings {
        ipam_config: ipam,
        links: nil(settings.links),
        aliases: nil(settings.aliases),
        mac_address: if mac.is_empty() {
            settings.mac_address
        } else {
            mac
        },
        driver_opts: Some(settings.driver_opts).filter(|options| !options.is_empty()),
        gw_priority: Some(settings.gateway_priority),
        network_id,
        endpoint_id,
        gateway: gateway
            .map(|gateway| gateway.to_string())
            .unwrap_or_default(),
        ip_address: ip.map(|ip| ip.to_string()).unwrap_or_default(),
        ip_prefix_len: prefix.into(),
        ipv6_gateway: text(gateway6),
        global_ipv6_address: text(ip6),
        global_ipv6_prefix_len: prefix6.into(),
        dns_names: nil(dns_names),
    }
}

/// A row of `GET /containers/json`.
pub(crate) fn container_summary(listed: Listed) -> wire::ContainerSummary {
    let Listed {
        view,
        image,
        size,
        link_names,
    } = listed;
    let mut names: Vec<_> = link_names.iter().map(|name| format!("/{name}")).collect();
    names.push(format!("/{}", view.name));
    names.sort();
    let command: Vec<&str> = std::iter::once(&view.path)
        .chain(&view.args)
        .map(String::as_str)
        .collect();
    wire::ContainerSummary {
        id: view.id.clone(),
        names,
        image,
        image_id: view.image.to_string(),
        image_manifest_descriptor: None,
        command: quoted(&command),
        created: view.created.as_second(),
        ports: ports(&view),
        // As Go's omitempty has it in lists.
        size_rw: size.map(|size| bytes(size.rw)).filter(|size| *size != 0),
        size_root_fs: size.map(|size| bytes(size.root)).filter(|size| *size != 0),
        labels: view.config.labels.clone(),
        state: view.state.status.as_str().to_owned(),
        status: view.state.human(Timestamp::now()),
        host_config: wire::ContainerSummaryHostConfig {
            network_mode: view.host.network_mode.to_string(),
            annotations: view.host.annotations.clone(),
        },
        network_settings: wire::ContainerSummaryNetworks {
            networks: addresses(endpoints(&view.network.endpoints)),
        },
        mounts: view
            .mounts
            .iter()
            .filter(|mount| mount.tmpfs.is_none() || mount.kind == "tmpfs")
            .map(mount_point)
            .collect(),
        health: Some(wire::ContainerSummaryHealth {
            status: view.state.health_word().to_owned(),
            failing_streak: view
                .state
                .health
                .as_ref()
                .map_or(0, |health| health.failing_streak.into()),
        }),
    }
}

/// Networks in a row: their addresses alone, as with dockerd.
fn addresses(
    mut networks: BTreeMap<String, wire::EndpointSettings>,
) -> BTreeMap<String, wire::EndpointSettings> {
    for network in networks.values_mut() {
        network.aliases = None;
        network.links = None;
        network.driver_opts = None;
        network.dns_names = None;
    }
    networks
}

/// The command as moby's list shows it: arguments with a blank in them are quoted.
fn quoted(command: &[&str]) -> String {
    let quote = |word: &&str| match word.contains(' ') {
        true => format!("'{word}'"),
        false => (*word).to_owned(),
    };
    let Some((program, args)) = command.split_first() else {
        return String::new();
    };
    let args: Vec<_> = args.iter().map(quote).collect();
    match args.is_empty() {
        true => (*program).to_owned(),
        false => format!("{program} {}", args.join(" ")),
    }
}

fn ports(view: &View) -> Vec<wire::PortSummary> {
    let mut ports = Vec::new();
    if !view.state.running {
        return ports;
    }
    for (port, bindings) in &view.network.ports {
        let bare = wire::PortSummary {
            ip: String::new(),
            private_port: port.number,
            public_port: 0,
            kind: port.protocol.as_str().to_owned(),
        };
        // One that is open at the container's own address has no port of the host.
        let bound: Vec<_> = bindings.iter().filter(|one| one.host_port != 0).collect();
        if bound.is_empty() {
            ports.push(bare.clone());
        }
        ports.extend(bound.iter().map(|binding| wire::PortSummary {
            ip: binding.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            public_port: binding.host_port,
            ..bare.clone()
        }));
    }
    ports
}

/// `GET /exec/{id}/json`.
pub(crate) fn exec_inspect(view: ExecView) -> wire::ExecInspect {
    let ExecView {
        id,
        container,
        spec,
        running,
        exit_code,
        pid,
    } = view;
    let mut words = spec.cmd.into_iter();
    wire::ExecInspect {
        id,
        running,
        exit_code: exit_code.map(i64::from),
        process_config: wire::ExecProcessConfig {
            tty: spec.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(spec.privileged),
            user: spec.user,
        },
        open_stdin: spec.attach_stdin,
        open_stderr: spec.attach_stderr,
        open_stdout: spec.attach_stdout,
        // dockerd forgets a session at the same time as it could be removed.
        can_remove: false,
        container_id: container,
        detach_keys: spec
            .detach_keys
            .map(|keys| BASE64.encode(key_bytes(&keys)))
            .unwrap_or_default(),
        pid: pid.into(),
    }
}

/// A volume.
pub(crate) fn volume(volume: Volume) -> wire::Volume {
    let Volume {
        name,
        created,
        labels,
        anonymous: _,
        mountpoint,
        driver,
        options,
        scope,
        status,
    } = volume;
    // Whole seconds, as dockerd takes it from the folder.
    let seconds = |at: Timestamp| Timestamp::from_second(at.as_second()).unwrap_or(at);
    wire::Volume {
        created_at: created.map_or_else(
            // Go's zero time.
            || "0001-01-01T00:00:00Z".to_owned(),
            |at| seconds(at).to_string(),
        ),
        driver,
        labels,
        mountpoint: mountpoint.to_string_lossy().into_owned(),
        name: name.into(),
        options,
        scope,
        status: status.filter(|status| !status.is_empty()),
        usage_data: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Docker's client for Go reads bytes there.
    #[test]
    fn keys_are_bytes() {
        let shown = |keys: Option<&str>| {
            let spec = wharf_engine::NewExec {
                detach_keys: keys.map(str::to_owned),
                ..Default::default()
            };
            let view = ExecView {
                id: String::new(),
                container: String::new(),
                spec,
                running: false,
                exit_code: None,
                pid: 0,
            };
            exec_inspect(view).detach_keys
        };
        assert_eq!(shown(Some("ctrl-a,x")), "AXg=");
        assert_eq!(shown(None), "");
    }
}
