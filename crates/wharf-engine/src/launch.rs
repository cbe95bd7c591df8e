//! One start of a container: network, files, bundle, process; and each undone when a later one fails.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use wharf_logs::Rotation;
use wharf_network::files::{self, Dns, Hosts};
use wharf_network::{Endpoint, EndpointConfig, HostPort};
use wharf_tasks::{Task, TaskConfig, TaskError};

use crate::containers::{Entry, Shared, mounts};
use crate::error::chain;
use crate::record::Record;
use crate::{
    EndpointView, EngineError, ErrorKind, HostConfig, NetworkMode, NetworkView, Port, PortBinding,
    Protocol, spec,
};

/// A container that runs.
pub(crate) struct Launched {
    pub(crate) task: Task,
    pub(crate) pid: u32,
    pub(crate) network: NetworkView,
}

/// Why one does not.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Docker's whole sentence.
    pub(crate) message: String,
    /// The runtime's own part of it.
    pub(crate) reason: String,
    /// The exit code of the container.
    pub(crate) code: i32,
    pub(crate) kind: ErrorKind,
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.message();
        // dockerd's exitUnknown: something of ours failed, not the program.
        Self {
            reason: message.clone(),
            message,
            code: 128,
            kind: error.kind(),
        }
    }
}

/// Starts the container of `record`.
pub(crate) async fn launch(
    shared: &Shared,
    entry: &Entry,
    record: &Record,
) -> Result<Launched, Failure> {
    mounts::make_sources(&record.mounts)?;
    confine(&record.app_armor_profile).await?;
    let joined = spec::Joined::find(shared, record)?;
    let endpoint = connect(shared, record).await?;
    let launched = with_network(shared, entry, record, &joined, endpoint).await;
    if launched.is_err()
        && let Err(error) = shared.networks.disconnect(&record.id).await
    {
        tracing::warn!(container = %record.id, error = chain(&error), "disconnect");
    }
    launched
}

/// Loads the default profile, should the kernel not have it: that runs a program, so not on this thread.
async fn confine(profile: &str) -> Result<(), EngineError> {
    if profile.is_empty() {
        return Ok(());
    }
    let profile = profile.to_owned();
    let ensured = tokio::task::spawn_blocking(move || crate::apparmor::ensure(&profile)).await;
    ensured.map_err(|error| EngineError::failed(&error))?
}

async fn with_network(
    shared: &Shared,
    entry: &Entry,
    record: &Record,
    joined: &spec::Joined,
    endpoint: Option<Endpoint>,
) -> Result<Launched, Failure> {
    let (info, netns) = match endpoint {
        Some(endpoint) => (Some(endpoint.info), endpoint.netns),
        None => (None, None),
    };
    write_files(shared, record, info.as_ref(), joined)?;
    let config = task_config(shared, record, joined, netns)?;
    let task = shared
        .tasks
        .create(&record.id, config)
        .await
        .map_err(|error| explain(&error))?;
    match begin(entry, &task).await {
        Ok(()) => {
            let network = network_view(record, info.as_ref(), task.pid());
            Ok(Launched {
                pid: task.pid(),
                task,
                network,
            })
        }
        Err(error) => {
            entry.io().drop_pending();
            if let Err(error) = task.delete().await {
                tracing::warn!(container = %record.id, error = chain(&error), "delete the task");
            }
            Err(explain(&error))
        }
    }
}

/// Connects those who wait, then lets the process go.
async fn begin(entry: &Entry, task: &Task) -> Result<(), TaskError> {
    let pending = {
        let mut io = entry.io();
        io.task = Some(task.clone());
        std::mem::take(&mut io.pending)
    };
    for client in pending {
        // A client that has gone is none.
        if !client.connect.is_closed() {
            let stream = task.attach(client.options).await?;
            let _ = client.connect.send(stream);
        }
    }
    task.start().await
}

fn task_config(
    shared: &Shared,
    record: &Record,
    joined: &spec::Joined,
    netns: Option<std::os::fd::OwnedFd>,
) -> Result<TaskConfig, EngineError> {
    let rootfs = shared
        .snapshots
        .rootfs(&record.id)
        .map_err(|error| EngineError::failed(&error))?;
    let (spec, seccomp) = spec::bundle(shared, record, joined)?;
    let mut groups = record.host.group_add.clone();
    // Those of devices stand in the specification only.
    let more = spec.process().as_ref().map(|process| process.user());
    let more = more.and_then(|user| user.additional_gids().as_ref());
    groups.extend(more.into_iter().flatten().map(u32::to_string));
    let log = match record.host.log.driver.as_str() {
        "json-file" => wharf_tasks::LogConfig::JsonFile {
            path: shared.folders.log(&record.id),
            rotation: rotation(&record.host.log.options)?,
            attrs: String::new(),
        },
        _ => wharf_tasks::LogConfig::None,
    };
    Ok(TaskConfig {
        spec,
        rootfs: wharf_tasks::RootfsSource::Overlay {
            lowers: rootfs.lowers,
            upper: rootfs.upper,
            work: rootfs.work,
        },
        stdio: wharf_tasks::Stdio {
            terminal: record.config.tty,
            open_stdin: record.config.open_stdin,
            stdin_once: record.config.stdin_once,
        },
        log,
        netns,
        seccomp,
        user: spec::user(&record.config.user),
        groups,
        init: record.host.init.unwrap_or(shared.config.init),
    })
}

/// `max-size` and `max-file` of the json-file driver; Docker's words for what is wrong with them.
pub(crate) fn rotation(options: &BTreeMap<String, String>) -> Result<Rotation, EngineError> {
    const KNOWN: &[&str] = &[
        "max-file",
        "max-size",
        "compress",
        "labels",
        "labels-regex",
        "env",
        "env-regex",
        "tag",
        "mode",
        "max-buffer-size",
    ];
    let invalid = |text: String| EngineError::Invalid(text);
    if let Some(key) = options.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(invalid(format!(
            "unknown log opt '{key}' for json-file log driver"
        )));
    }
    let max_size = match options.get("max-size").map(String::as_str) {
        None | Some("" | "-1") => None,
        Some(text) => {
            Some(size(text).ok_or_else(|| invalid(format!("invalid value for max-size: {text}")))?)
        }
    };
    let max_files = match options.get("max-file") {
        None => 1,
        Some(text) => text
            .parse()
            .map_err(|_| invalid(format!("invalid value for max-file: {text}")))?,
    };
    if max_files > 1 && max_size.is_none() {
        return Err(invalid(
            "max-size must be set if max-file is greater than 1".to_owned(),
        ));
    }
    if max_files < 1 {
        return Err(invalid("max-file cannot be less than 1".to_owned()));
    }
    Ok(Rotation {
        max_size,
        max_files,
    })
}

/// go-units `RAMInBytes`: a number with `b k m g t p`, with or without `b` or `ib` behind.
pub(crate) fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let end = lower
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let shift = match unit.trim().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    Some((number * (1u64 << shift) as f64) as u64)
}

/// Takes the container into its network, unless it shares one.
async fn connect(shared: &Shared, record: &Record) -> Result<Option<Endpoint>, EngineError> {
    let Some((name, endpoint)) = record.network.endpoints.iter().next() else {
        // Without any network, the container still wants a namespace of its own.
        return match (&record.host.network_mode, record.config.network_disabled) {
            (NetworkMode::Container(_), false) => Ok(None),
            _ => join(shared, record, "none", &EndpointView::default()).await,
        };
    };
    join(shared, record, name, endpoint).await
}

async fn join(
    shared: &Shared,
    record: &Record,
    network: &str,
    endpoint: &EndpointView,
) -> Result<Option<Endpoint>, EngineError> {
    let fail = |error: wharf_network::NetworkError| {
        let (id, name, text) = (&record.id, &record.name, chain(&error));
        tracing::debug!(container = %id, name, error = text, "connect");
        EngineError::Failed(text)
    };
    let settings = &endpoint.settings;
    let mac = match settings.mac_address.as_str() {
        "" => None,
        text => Some(text.parse().map_err(fail)?),
    };
    let config = EndpointConfig {
        name: record.name.clone(),
        ip: settings.ipv4_address,
        mac,
        hostname: record.config.hostname.clone(),
        aliases: settings.aliases.clone(),
        ports: wishes(&record.config.exposed_ports, &record.host),
    };
    shared
        .networks
        .connect(&record.id, network, config)
        .await
        .map(Some)
        .map_err(fail)
}

/// The ports to publish: those asked for, and with `-P` all exposed ones.
fn wishes(
    exposed: &std::collections::BTreeSet<Port>,
    host: &HostConfig,
) -> Vec<wharf_network::PortBinding> {
    if host.network_mode == NetworkMode::Host {
        return Vec::new();
    }
    let mut wishes = Vec::new();
    let any = [PortBinding {
        host_ip: None,
        host_port: 0,
        host_port_end: 0,
    }];
    for (port, bindings) in &host.port_bindings {
        let bindings = if bindings.is_empty() {
            &any[..]
        } else {
            &bindings[..]
        };
        wishes.extend(bindings.iter().map(|binding| wish(*port, binding)));
    }
    if host.publish_all_ports {
        let others = exposed
            .iter()
            .filter(|port| !host.port_bindings.contains_key(port));
        wishes.extend(others.map(|port| wish(*port, &any[0])));
    }
    wishes
}

fn wish(port: Port, binding: &PortBinding) -> wharf_network::PortBinding {
    let host_port = match (binding.host_port, binding.host_port_end) {
        (0, _) => HostPort::Any,
        (first, last) if last > first => HostPort::Range(first, last),
        (exact, _) => HostPort::Exact(exact),
    };
    wharf_network::PortBinding {
        protocol: match port.protocol {
            Protocol::Tcp => wharf_network::Protocol::Tcp,
            Protocol::Udp => wharf_network::Protocol::Udp,
            Protocol::Sctp => wharf_network::Protocol::Sctp,
        },
        container_port: port.number,
        host_ip: binding.host_ip,
        host_port,
    }
}

/// `hostname`, `hosts` and `resolv.conf` of this start.
fn write_files(
    shared: &Shared,
    record: &Record,
    info: Option<&wharf_network::EndpointInfo>,
    joined: &spec::Joined,
) -> Result<(), EngineError> {
    // A container in another's network has the other's files.
    if joined.network.is_some() {
        return Ok(());
    }
    let folder = shared.folders.of(&record.id);
    std::fs::create_dir_all(&folder).map_err(EngineError::io("make", &folder))?;
    let (config, host) = (&record.config, &record.host);
    let on_host = host.network_mode == NetworkMode::Host;
    let fqdn = match config.domainname.as_str() {
        "" => config.hostname.clone(),
        domain => format!("{}.{domain}", config.hostname),
    };
    write(&folder.join("hostname"), &files::hostname(&fqdn))?;
    let addresses: Vec<IpAddr> = info
        .and_then(|info| info.address)
        .map(|address| address.ip.into())
        .into_iter()
        .collect();
    let extra: Vec<_> = host
        .extra_hosts
        .iter()
        .filter_map(|text| extra_host(text))
        .collect();
    let hosts = match on_host && extra.is_empty() {
        true => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
        false => files::hosts(&Hosts {
            hostname: &config.hostname,
            domainname: &config.domainname,
            addresses: &addresses,
            extra: &extra,
            host_gateway: shared
                .config
                .host_gateway_ip
                .or_else(|| bridge_gateway(shared)),
        }),
    };
    write(&folder.join("hosts"), &hosts)?;
    let own = |own: &Vec<String>, daemon: &Vec<String>| {
        if own.is_empty() {
            daemon.clone()
        } else {
            own.clone()
        }
    };
    let servers = own(&host.dns, &shared.config.dns);
    let dns = Dns {
        servers: servers
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect(),
        search: own(&host.dns_search, &shared.config.dns_search),
        options: own(&host.dns_options, &shared.config.dns_options),
    };
    let resolv = files::resolv_conf(&files::host_resolv_conf(on_host), &dns, on_host);
    write(&folder.join("resolv.conf"), &resolv)
}

fn extra_host(text: &str) -> Option<(String, String)> {
    let (name, address) = text.split_once([':', '='])?;
    Some((name.to_owned(), address.trim_matches(['[', ']']).to_owned()))
}

fn bridge_gateway(shared: &Shared) -> Option<IpAddr> {
    let bridge = shared.networks.get("bridge").ok()?.bridge?;
    Some(bridge.gateway.into())
}

/// In place, as a container that still holds the file bound must see it too.
fn write(path: &Path, text: &str) -> Result<(), EngineError> {
    std::fs::write(path, text).map_err(EngineError::io("write", path))
}

pub(crate) fn network_view(
    record: &Record,
    info: Option<&wharf_network::EndpointInfo>,
    pid: u32,
) -> NetworkView {
    let mut view = record.network.clone();
    view.ports = exposed(record);
    let Some(info) = info else { return view };
    view.sandbox_id.clone_from(&info.sandbox);
    if record.host.network_mode != NetworkMode::Host {
        view.sandbox_key = format!("/proc/{pid}/ns/net");
    }
    if let Some(endpoint) = view.endpoints.get_mut(&info.network_name) {
        endpoint.network_id.clone_from(&info.network_id);
        endpoint.endpoint_id.clone_from(&info.id);
        if let Some(address) = info.address {
            endpoint.ip = Some(address.ip.into());
            endpoint.prefix = address.prefix;
            endpoint.gateway = Some(address.gateway.into());
            endpoint.mac = address.mac.to_string();
        }
        endpoint.dns_names.clone_from(&info.aliases);
    }
    for port in &info.ports {
        let protocol = match port.protocol {
            wharf_network::Protocol::Tcp => Protocol::Tcp,
            wharf_network::Protocol::Udp => Protocol::Udp,
            wharf_network::Protocol::Sctp => Protocol::Sctp,
        };
        let key = Port {
            number: port.container_port,
            protocol,
        };
        view.ports.entry(key).or_default().push(PortBinding {
            host_ip: Some(port.host_ip),
            host_port: port.host_port,
            host_port_end: port.host_port,
        });
    }
    view
}

fn exposed(record: &Record) -> BTreeMap<Port, Vec<PortBinding>> {
    if record.host.network_mode == NetworkMode::Host {
        return BTreeMap::new();
    }
    let ports = record
        .config
        .exposed_ports
        .iter()
        .chain(record.host.port_bindings.keys());
    ports.map(|port| (*port, Vec::new())).collect()
}

/// After a run nothing of its addresses is left to see.
pub(crate) fn forget_endpoints(network: &mut NetworkView) {
    for endpoint in network.endpoints.values_mut() {
        let settings = std::mem::take(&mut endpoint.settings);
        let network_id = std::mem::take(&mut endpoint.network_id);
        *endpoint = EndpointView {
            settings,
            network_id,
            ..EndpointView::default()
        };
    }
    network.ports.clear();
    network.sandbox_key.clear();
    network.sandbox_id.clear();
}

/// Docker's sentence, exit code and class for a process that could not be started (moby
/// `daemon/errors.go`, `setExitCodeFromError`).
pub(crate) fn explain(error: &TaskError) -> Failure {
    let reason = chain(error);
    let lower = reason.to_ascii_lowercase();
    let code = if lower.contains("permission denied") || lower.contains("is a directory") {
        126
    } else if lower.contains("executable file not found")
        || lower.contains("no such file or directory")
        || lower.contains("not a directory")
    {
        127
    } else {
        128
    };
    let kind = if code == 128 {
        ErrorKind::System
    } else {
        ErrorKind::InvalidParameter
    };
    let message = format!(
        "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: {reason}"
    );
    Failure {
        message,
        reason,
        code,
        kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_log_options() {
        let options = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let read = |pairs: &[(&str, &str)]| rotation(&options(pairs));
        let full = read(&[("max-size", "10m"), ("max-file", "3")]).unwrap();
        assert_eq!(
            full,
            Rotation {
                max_size: Some(10 << 20),
                max_files: 3
            }
        );
        assert_eq!(read(&[]).unwrap(), Rotation::default());
        let error = read(&[("max-file", "2")]).unwrap_err().to_string();
        assert_eq!(error, "max-size must be set if max-file is greater than 1");
        let error = read(&[("nonsense", "2")]).unwrap_err().to_string();
        assert_eq!(error, "unknown log opt 'nonsense' for json-file log driver");
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(
            ["10", "1k", "1.5m", "2gb", "1KiB", "x"].map(size),
            [
                Some(10),
                Some(1024),
                Some(1_572_864),
                Some(2 << 30),
                Some(1024),
                None
            ]
        );
    }
}
