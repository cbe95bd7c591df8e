//! Networks, both ways.

use wharf_api_types as wire;
use wharf_network::{EndpointInfo, Ipam, IpamPool, Network, NewNetwork, NewPool};

use super::nil;
use crate::error::ApiError;

/// The body of `POST /networks/create`.
pub(crate) fn new_network(request: wire::NetworkCreateRequest) -> Result<NewNetwork, ApiError> {
    let wire::NetworkCreateRequest {
        name,
        // Names are unique since 1.44, whatever this says.
        check_duplicate: _,
        driver,
        scope,
        enable_ipv4,
        enable_ipv6,
        ipam,
        internal,
        attachable,
        ingress,
        config_only,
        config_from,
        options,
        labels,
    } = request;
    let without_swarm = match (driver.as_str(), ingress, scope.as_str()) {
        ("overlay", _, _) => Some(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ),
        (_, true, _) => Some("Ingress network can only be global scope network"),
        (_, _, "swarm") => Some("cannot create a swarm scoped network when swarm is not active"),
        _ => None,
    };
    if let Some(text) = without_swarm {
        return Err(ApiError::new(http::StatusCode::FORBIDDEN, text));
    }
    if !matches!(scope.as_str(), "" | "local") {
        return Err(ApiError::not_implemented(&format!(
            "a network of the scope {scope:?}"
        )));
    }
    let wire::IpamRequest {
        driver: ipam_driver,
        options: ipam_options,
        config,
    } = ipam.unwrap_or_default();
    Ok(NewNetwork {
        name,
        driver,
        internal,
        attachable,
        ipv4: enable_ipv4,
        ipv6: enable_ipv6,
        config_only,
        config_from: config_from.unwrap_or_default().network,
        ipam_driver,
        ipam_options,
        pools: config.into_iter().map(new_pool).collect(),
        options,
        labels,
    })
}

fn new_pool(config: wire::IpamConfig) -> NewPool {
    let wire::IpamConfig {
        subnet,
        ip_range,
        gateway,
        auxiliary_addresses,
    } = config;
    NewPool {
        subnet,
        range: ip_range,
        gateway,
        auxiliary: auxiliary_addresses,
    }
}

/// A network; its containers and the use of its addresses if it is inspected.
pub(crate) fn network(
    network: &Network,
    endpoints: Option<Vec<EndpointInfo>>,
    usage: Option<Vec<(String, u64, u64)>>,
) -> wire::Network {
    let Network {
        id,
        name,
        driver,
        created,
        bridge: _,
        parent: _,
        link_prefix: _,
        options,
        labels,
        internal,
        attachable,
        ipv4,
        ipv6,
        config_only,
        config_from,
        ipam,
        removing: _,
    } = network.clone();
    let containers = endpoints.map(|list| list.into_iter().map(network_container).collect());
    let built_in = network.is_built_in();
    let Ipam {
        options: ipam_options,
        mut pools,
        chosen,
        chosen6,
    } = ipam;
    // As dockerd: those that were asked for come first.
    if !chosen && chosen6 {
        pools.sort_by_key(|pool| !pool.subnet.addr().is_ipv6());
    }
    wire::Network {
        name,
        id,
        created,
        scope: "local".to_owned(),
        driver: driver.to_string(),
        enable_ipv4: ipv4,
        enable_ipv6: ipv6,
        ipam: wire::Ipam {
            driver: "default".to_owned(),
            options: ipam_options.filter(|_| !built_in),
            config: nil(pools.into_iter().map(pool).collect()),
        },
        internal,
        attachable,
        ingress: false,
        config_from: wire::ConfigReference {
            network: config_from,
        },
        config_only,
        containers,
        status: usage.map(status),
        options,
        labels,
    }
}

fn status(usage: Vec<(String, u64, u64)>) -> wire::NetworkStatus {
    let subnet = |(subnet, used, left)| {
        let status = wire::SubnetStatus {
            ips_in_use: used,
            dynamic_ips_available: left,
        };
        (subnet, status)
    };
    wire::NetworkStatus {
        ipam: wire::IpamStatus {
            subnets: usage.into_iter().map(subnet).collect(),
        },
    }
}

fn pool(pool: IpamPool) -> wire::IpamConfig {
    let IpamPool {
        subnet,
        range,
        gateway,
        gateway_chosen,
        auxiliary,
    } = pool;
    let addresses = auxiliary.into_iter();
    let gateway = gateway.filter(|_| !gateway_chosen);
    wire::IpamConfig {
        subnet: subnet.to_string(),
        ip_range: range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        auxiliary_addresses: addresses.map(|(name, ip)| (name, ip.to_string())).collect(),
    }
}

fn network_container(endpoint: EndpointInfo) -> (String, wire::NetworkContainer) {
    let four = endpoint.address;
    let text = |ip: String, prefix: u8| format!("{ip}/{prefix}");
    let container = wire::NetworkContainer {
        name: endpoint.name,
        endpoint_id: endpoint.id,
        mac_address: endpoint.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        ipv4_address: four
            .map(|one| text(one.ip.to_string(), one.prefix))
            .unwrap_or_default(),
        ipv6_address: endpoint
            .address6
            .map(|one| text(one.ip.to_string(), one.prefix))
            .unwrap_or_default(),
    };
    (endpoint.container, container)
}
