//! A container's networks: connecting it at its start, and what `inspect` shows of them.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use wharf_network::{EndpointConfig, EndpointInfo, HostPort, Owner};

use crate::containers::Shared;
use crate::record::Record;
use crate::spec::Joined;
use crate::{
    EndpointView, EngineError, HostConfig, NetworkMode, NetworkView, Port, PortBinding, Protocol,
    userns,
};

/// Takes the container into its networks, unless it shares another's. Returns its namespace.
pub(crate) async fn connect(
    shared: &Shared,
    record: &Record,
    joined: &Joined,
) -> Result<Option<OwnedFd>, EngineError> {
    let owner = match (userns::of(&shared.config, &record.host), joined.user) {
        (None, _) => Owner::Daemon,
        (Some(_), None) => Owner::New,
        (Some(_), Some(pid)) => Owner::Of(pid),
    };
    let mut endpoints = record.network.endpoints.clone();
    // `bridge: none`: whoever asks for the default gets nothing.
    if !shared.config.bridge.enabled {
        endpoints.remove("bridge");
    }
    if endpoints.is_empty() {
        // Without any network, the container still wants a namespace of its own.
        return match (&record.host.network_mode, record.config.network_disabled) {
            (NetworkMode::Container(_), false) => Ok(None),
            _ => join(shared, record, ("none", &EndpointView::default()), owner).await,
        };
    }
    // The network that it was made for gives it its first link.
    let first = record.host.network_mode.network_name().unwrap_or_default();
    let mut ordered: Vec<_> = endpoints.iter().collect();
    ordered.sort_by_key(|(name, endpoint)| *name != first && endpoint.network_id != first);
    let mut netns = None;
    for (name, endpoint) in ordered {
        let made = join(shared, record, (name, endpoint), owner).await?;
        netns = netns.or(made);
    }
    Ok(netns)
}

/// Connects a container to one network, by name. If it has no namespace yet, that is to belong to `owner`.
pub(crate) async fn join(
    shared: &Shared,
    record: &Record,
    (network, endpoint): (&str, &EndpointView),
    owner: Owner,
) -> Result<Option<OwnedFd>, EngineError> {
    let settings = &endpoint.settings;
    let mac = match settings.mac_address.as_str() {
        "" => None,
        text => Some(text.parse()?),
    };
    let options = EndpointOptions::read(&settings.driver_opts)?;
    let config = EndpointConfig {
        link_local: settings.link_local.clone(),
        interface: options.interface,
        sysctls: options.sysctls,
        name: record.name.clone(),
        ip: settings.ipv4_address,
        ip6: settings.ipv6_address,
        mac,
        hostname: record.config.hostname.clone(),
        aliases: dns_names(
            &record.id,
            &record.name,
            &record.config.hostname,
            &settings.aliases,
        ),
        links: settings
            .links
            .iter()
            .filter_map(|link| link_of(link))
            .collect(),
        ports: wishes(&record.config.exposed_ports, &record.host),
        gateway_priority: settings.gateway_priority,
        owner,
    };
    let made = shared.networks.connect(&record.id, network, config).await;
    Ok(made
        .inspect_err(|error| {
            let (id, text) = (&record.id, wharf_sys::words::chain(error));
            tracing::debug!(container = %id, error = text, "connect");
        })?
        .netns)
}

/// What the driver options of an endpoint say, by Docker's names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct EndpointOptions {
    interface: Option<String>,
    sysctls: Vec<(String, String)>,
}

impl EndpointOptions {
    /// Reads the options. Those outside of Docker's names are somebody else's, and kept; one with such a name that
    /// does nothing here is refused.
    pub(crate) fn read(options: &BTreeMap<String, String>) -> Result<Self, EngineError> {
        let mut read = Self::default();
        for (key, value) in options {
            match key.as_str() {
                "com.docker.network.endpoint.ifname" => {
                    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
                    let bad = value.is_empty() || value.len() > 15 || !value.chars().all(good);
                    if bad || matches!(value.as_str(), "lo" | "." | ".." | "all" | "default") {
                        return Err(EngineError::Invalid(format!(
                            "invalid interface name {value:?} in {key}"
                        )));
                    }
                    read.interface = Some(value.clone());
                }
                "com.docker.network.endpoint.sysctls" => {
                    let settings = value.split(',').map(sysctl);
                    read.sysctls = settings.collect::<Result<_, _>>()?;
                }
                _ if key.starts_with("com.docker.network.") => {
                    return Err(EngineError::NotImplemented(format!(
                        "the driver option {key} of an endpoint"
                    )));
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// `net.ipv4.conf.IFNAME.forwarding=1` as a path and a value: only settings of the endpoint's own link.
fn sysctl(text: &str) -> Result<(String, String), EngineError> {
    let bad = || {
        EngineError::Invalid(format!(
            "invalid per-interface sysctl {text:?}: must be net.X.Y.IFNAME.Z=VALUE, with X one of ipv4, ipv6, mpls"
        ))
    };
    let (name, value) = text.trim().split_once('=').ok_or_else(bad)?;
    let parts: Vec<&str> = name.split('.').collect();
    let plain = |part: &&str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    match parts.as_slice() {
        // The stock command line makes small letters of all options.
        [
            "net",
            family @ ("ipv4" | "ipv6" | "mpls"),
            kind,
            "IFNAME" | "ifname",
            name,
        ] if parts.iter().all(plain) => {
            let path = format!("net/{family}/{kind}/IFNAME/{name}");
            Ok((path, value.to_owned()))
        }
        _ => Err(bad()),
    }
}

/// `container:alias`; the alias is the name if there is none.
fn link_of(text: &str) -> Option<(String, String)> {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    let container = container.trim_start_matches('/');
    (!container.is_empty()).then(|| (alias.to_owned(), container.to_owned()))
}

/// The names that others on a user-defined network find a container by (moby `buildEndpointDNSNames`).
pub(crate) fn dns_names(id: &str, name: &str, hostname: &str, aliases: &[String]) -> Vec<String> {
    let mut names = vec![name.to_owned()];
    let short = id.get(..12).unwrap_or(id).to_owned();
    let rest = aliases.iter().cloned().chain([short, hostname.to_owned()]);
    for one in rest.filter(|one| !one.is_empty()) {
        if !names.contains(&one) {
            names.push(one);
        }
    }
    names
}

/// What is told of the networks of a container that could not be started, and seen of them afterwards.
pub(crate) fn tell_of_failure(shared: &Shared, record: &mut Record, connected: &[String]) {
    let (id, name, hostname) = (&record.id, &record.name, &record.config.hostname);
    for (network, endpoint) in &mut record.network.endpoints {
        let Ok(network) = shared.networks.get(network) else {
            continue;
        };
        if !network.is_built_in() {
            let aliases = &endpoint.settings.aliases;
            endpoint.dns_names = dns_names(id, name, hostname, aliases);
        }
        endpoint.network_id = network.id;
    }
    let mut told = record.network.clone();
    told.endpoints.retain(|name, _| connected.contains(name));
    for action in ["connect", "disconnect"] {
        shared.emit_networks(action, &record.id, &told);
    }
}

/// The ports to publish: of those that are exposed, the ones that have a binding, and with `-P` the others too. As dockerd, which leaves
/// bindings of other ports alone.
pub(crate) fn wishes(
    exposed: &std::collections::BTreeSet<Port>,
    host: &HostConfig,
) -> Vec<wharf_network::PortBinding> {
    if host.network_mode == NetworkMode::Host {
        return Vec::new();
    }
    let mut wishes = Vec::new();
    let any = PortBinding {
        host_ip: None,
        host_port: 0,
        host_port_end: 0,
    };
    for port in exposed {
        match host.port_bindings.get(port) {
            Some(bindings) if !bindings.is_empty() => {
                wishes.extend(bindings.iter().map(|binding| wish(*port, binding)));
            }
            // Since 28 an empty list is a wish; see the warning of 1.52.
            Some(_) => wishes.push(wish(*port, &any)),
            None if host.publish_all_ports => wishes.push(wish(*port, &any)),
            None => {}
        }
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

/// What is to be seen of a running container's networks.
pub(crate) fn view(record: &Record, endpoints: &[EndpointInfo], pid: u32) -> NetworkView {
    let mut view = record.network.clone();
    view.ports = exposed(record);
    view.sandbox_id.clear();
    view.sandbox_key.clear();
    if let Some(info) = endpoints.first() {
        view.sandbox_id.clone_from(&info.sandbox);
    }
    if !endpoints.is_empty() && record.host.network_mode != NetworkMode::Host {
        view.sandbox_key = format!("/proc/{pid}/ns/net");
    }
    for (name, endpoint) in &mut view.endpoints {
        match endpoints.iter().find(|info| info.network_name == *name) {
            Some(info) => show(endpoint, info),
            None => forget(endpoint),
        }
    }
    for port in endpoints.iter().flat_map(|info| &info.ports) {
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

fn show(endpoint: &mut EndpointView, info: &EndpointInfo) {
    forget(endpoint);
    endpoint.dns_names.clear();
    endpoint.network_id.clone_from(&info.network_id);
    endpoint.endpoint_id.clone_from(&info.id);
    if let Some(address) = info.address {
        endpoint.ip = Some(address.ip.into());
        endpoint.prefix = address.prefix;
        endpoint.gateway = address.gateway.map(Into::into);
    }
    if let Some(mac) = info.mac {
        endpoint.mac = mac.to_string();
    }
    if let Some(address) = info.address6 {
        endpoint.ip6 = Some(address.ip);
        endpoint.prefix6 = address.prefix;
        endpoint.gateway6 = address.gateway;
    }
    // The built-in networks resolve no names.
    if !matches!(info.network_name.as_str(), "bridge" | "host" | "none") {
        endpoint.dns_names.clone_from(&info.aliases);
    }
}

fn exposed(record: &Record) -> BTreeMap<Port, Vec<PortBinding>> {
    if matches!(
        record.host.network_mode,
        NetworkMode::Host | NetworkMode::None
    ) {
        return BTreeMap::new();
    }
    let ports = record.config.exposed_ports.iter();
    ports.map(|port| (*port, Vec::new())).collect()
}

/// After a run nothing of its addresses is left to see.
pub(crate) fn forget_all(network: &mut NetworkView) {
    network.endpoints.values_mut().for_each(forget);
    network.ports.clear();
    network.sandbox_key.clear();
    network.sandbox_id.clear();
}

fn forget(endpoint: &mut EndpointView) {
    let settings = std::mem::take(&mut endpoint.settings);
    let network_id = std::mem::take(&mut endpoint.network_id);
    // It will have them again, and dockerd goes on to show them.
    let dns_names = std::mem::take(&mut endpoint.dns_names);
    *endpoint = EndpointView {
        settings,
        network_id,
        dns_names,
        ..EndpointView::default()
    };
}
