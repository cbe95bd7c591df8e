//! Linux bridges of networks: choice of a subnet, and the link itself.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use wharf_netlink::{LinkChange, LinkName, NetlinkError, Route, add_address, add_bridge, set_link};

use crate::error::kernel;
use crate::{Bridge, Config, GatewayMode, Mac, Network, NetworkError, sysctl};

/// The first host address of a free subnet, for the default bridge beside these networks.
pub(crate) fn free_host<'a>(
    config: &Config,
    others: impl Iterator<Item = &'a Network>,
    route: &mut Route,
) -> Result<Ipv4Net, NetworkError> {
    let used = used_beside(config, others, route)?;
    let subnet = free_subnet(config, &used)?;
    let gateway = subnet.hosts().next().ok_or(NetworkError::PoolsExhausted)?;
    Ok(Ipv4Net::new_assert(gateway, subnet.prefix_len()))
}

/// What the default bridge's subnets must not meet: those of the host, and of other networks.
pub(crate) fn used_beside<'a>(
    config: &Config,
    others: impl Iterator<Item = &'a Network>,
    route: &mut Route,
) -> Result<Vec<IpNet>, NetworkError> {
    let host = used_subnets(&config.bridge_name, route);
    let mut used = host.map_err(kernel("list the host's networks"))?;
    let others = others.filter(|one| !one.config_only && !one.is_built_in());
    let pools = others.flat_map(|one| &one.ipam.pools);
    used.extend(pools.map(|pool| pool.subnet));
    Ok(used)
}

/// Whether there is a Linux bridge of this name already.
///
/// # Errors
/// [`NetworkError::NotABridge`], if it is a link of another kind.
pub(crate) fn is_there(name: &str, route: &mut Route) -> Result<bool, NetworkError> {
    match route.link(name).map_err(kernel("look for the bridge"))? {
        Some(link) if link.kind != "bridge" => Err(NetworkError::NotABridge(name.to_owned())),
        found => Ok(found.is_some()),
    }
}

/// The first subnet of the pools that overlaps none of these.
pub(crate) fn free_subnet(config: &Config, used: &[IpNet]) -> Result<Ipv4Net, NetworkError> {
    let mut candidates = config
        .pools()
        .into_iter()
        .flat_map(|(pool, size)| pool.subnets(size).into_iter().flatten());
    let free = candidates.find(|subnet| {
        let subnet = IpNet::V4(*subnet);
        !used.iter().any(|other| overlap(&subnet, other))
    });
    free.ok_or(NetworkError::PoolsExhausted)
}

/// Makes the network's bridge if it is not there, and sets it up with the host's addresses. Returns its index.
pub(crate) fn ensure(
    network: &Network,
    bridge: &Bridge,
    route: &mut Route,
) -> Result<u32, NetworkError> {
    is_there(&bridge.interface, route)?;
    let link = ensure_link(network, bridge, route).map_err(kernel("make the bridge"))?;
    // Docker leaves the bridge without IPv6 address of its own, too, where the network has none. Nobody else can have
    // the host's: no waiting for duplicates of it.
    for setting in ["accept_ra", "accept_dad"] {
        let path = format!("net/ipv6/conf/{}/{setting}", bridge.interface);
        sysctl::set(&path, "0")?;
    }
    set_up(network, bridge, link, route).map_err(kernel("set up the bridge"))?;
    Ok(link)
}

fn ensure_link(network: &Network, bridge: &Bridge, route: &mut Route) -> Result<u32, NetlinkError> {
    let name = &bridge.interface;
    let link = match route.link(name)? {
        Some(link) => link,
        None => {
            // Without an address of its own it takes those of its ports in turn; one made anew (after somebody
            // deleted it) is known to the containers by the old one.
            let mut hosts = hosts(network, bridge);
            let mac = hosts.next().map(|host| Mac::of_ip(host.addr()).0);
            let change = LinkChange {
                mac,
                ..LinkChange::default()
            };
            route.apply(&[
                add_bridge(name, Some(bridge.mtu)),
                set_link(LinkName::Name(name), &change),
            ])?;
            route.link(name)?.ok_or(NetlinkError::Malformed)?
        }
    };
    Ok(link.index)
}

fn set_up(
    network: &Network,
    bridge: &Bridge,
    link: u32,
    route: &mut Route,
) -> Result<(), NetlinkError> {
    let present = route.addresses()?;
    let missing = |host: &IpNet| !present.iter().any(|a| a.link == link && a.network == *host);
    let up = LinkChange {
        up: true,
        mtu: Some(bridge.mtu),
        ..LinkChange::default()
    };
    let mut requests = vec![set_link(LinkName::Index(link), &up)];
    requests.extend(
        hosts(network, bridge)
            .filter(missing)
            .map(|host| add_address(link, host)),
    );
    route.apply(&requests)
}

/// The addresses that the host has on the bridge.
pub(crate) fn hosts<'a>(
    network: &'a Network,
    bridge: &'a Bridge,
) -> impl Iterator<Item = IpNet> + use<'a> {
    network.hosts().filter(|host| has_host(bridge, host.addr()))
}

/// Whether the host has its address of that family on the bridge.
fn has_host(bridge: &Bridge, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => !bridge.inhibit_ipv4 && bridge.ways.v4.mode != GatewayMode::Isolated,
        IpAddr::V6(_) => bridge.ways.v6.mode != GatewayMode::Isolated,
    }
}

/// Subnets of the host's links and routes, but for those of a bridge of ours that an earlier daemon left.
pub(crate) fn used_subnets(own: &str, route: &mut Route) -> Result<Vec<IpNet>, NetlinkError> {
    let own = route.link(own)?.map(|link| link.index);
    let mut used = Vec::new();
    for address in route.addresses()? {
        if Some(address.link) != own {
            used.push(address.network.trunc());
        }
    }
    for entry in route.routes()? {
        // The default route leads everywhere and takes no subnet.
        if entry.destination.prefix_len() > 0 && (entry.link.is_none() || entry.link != own) {
            used.push(entry.destination);
        }
    }
    // Every link has one of those.
    used.retain(|net| !matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local()));
    Ok(used)
}

/// Whether two subnets share addresses.
pub(crate) fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
