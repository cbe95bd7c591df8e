//! Linux bridges of networks: choice of a subnet, and the link itself.

use ipnet::{IpNet, Ipv4Net};
use wharf_netlink::{LinkChange, LinkName, NetlinkError, Route, add_address, add_bridge, set_link};

use crate::error::kernel;
use crate::{Bridge, Config, Mac, NetworkError, sysctl};

/// The default bridge as the settings and the host's own routes allow it.
pub(crate) fn plan(config: &Config, route: &mut Route) -> Result<Bridge, NetworkError> {
    let with = |host: Ipv4Net| Bridge {
        interface: config.bridge_name.clone(),
        subnet: host.trunc(),
        gateway: host.addr(),
        mtu: config.mtu,
        icc: config.icc,
        masquerade: config.ip_masq,
        v6: None,
        internal: false,
        host_binding: None,
        link_prefix: None,
        foreign: false,
    };
    if let Some(bip) = config.bip {
        let usable = bip.addr() != bip.network()
            && (bip.prefix_len() >= 31 || bip.addr() != bip.broadcast());
        return if usable {
            Ok(with(bip))
        } else {
            Err(NetworkError::BadBip(bip))
        };
    }
    let used =
        used_subnets(&config.bridge_name, route).map_err(kernel("list the host's networks"))?;
    let subnet = free_subnet(config, &used)?;
    let gateway = subnet.hosts().next().ok_or(NetworkError::PoolsExhausted)?;
    Ok(with(Ipv4Net::new_assert(gateway, subnet.prefix_len())))
}

/// The first subnet of the pools that overlaps none of these.
pub(crate) fn free_subnet(config: &Config, used: &[Ipv4Net]) -> Result<Ipv4Net, NetworkError> {
    let mut candidates = config
        .pools()
        .into_iter()
        .flat_map(|(pool, size)| pool.subnets(size).into_iter().flatten());
    let free = candidates.find(|subnet| !used.iter().any(|other| overlap(subnet, other)));
    free.ok_or(NetworkError::PoolsExhausted)
}

/// Makes the bridge if it is not there, and sets it up with its address. Returns its index.
pub(crate) fn ensure(bridge: &Bridge, route: &mut Route) -> Result<u32, NetworkError> {
    let index = ensure_link(bridge, route).map_err(kernel("set up the bridge"))?;
    // Docker leaves the bridge without IPv6 address of its own, too, where the network has none.
    sysctl::set(
        &format!("net/ipv6/conf/{}/accept_ra", bridge.interface),
        "0",
    )?;
    Ok(index)
}

fn ensure_link(bridge: &Bridge, route: &mut Route) -> Result<u32, NetlinkError> {
    let name = &bridge.interface;
    let link = match route.link(name)? {
        Some(link) => link,
        None => {
            // Without an address of its own it takes those of its ports in turn; one made anew (after somebody
            // deleted it) is known to the containers by the old one.
            let change = LinkChange {
                mac: Some(Mac::of_address(bridge.gateway).0),
                ..LinkChange::default()
            };
            route.apply(&[
                add_bridge(name, Some(bridge.mtu)),
                set_link(LinkName::Name(name), &change),
            ])?;
            route.link(name)?.ok_or(NetlinkError::Malformed)?
        }
    };
    let host = IpNet::V4(Ipv4Net::new_assert(
        bridge.gateway,
        bridge.subnet.prefix_len(),
    ));
    let host6 = bridge.v6.map(|v6| {
        let net = ipnet::Ipv6Net::new_assert(v6.gateway, v6.subnet.prefix_len());
        IpNet::V6(net)
    });
    let present = route.addresses()?;
    let missing = |host: &IpNet| {
        !present
            .iter()
            .any(|a| a.link == link.index && a.network == *host)
    };
    let up = LinkChange {
        up: true,
        mtu: Some(bridge.mtu),
        ..LinkChange::default()
    };
    let mut requests = vec![set_link(LinkName::Index(link.index), &up)];
    let hosts = [Some(host), host6].into_iter().flatten();
    requests.extend(
        hosts
            .filter(missing)
            .map(|host| add_address(link.index, host)),
    );
    route.apply(&requests)?;
    Ok(link.index)
}

/// Subnets of the host's links and routes, but for those of a bridge of ours that an earlier daemon left.
pub(crate) fn used_subnets(own: &str, route: &mut Route) -> Result<Vec<Ipv4Net>, NetlinkError> {
    let own = route.link(own)?.map(|link| link.index);
    let mut used = Vec::new();
    for address in route.addresses()? {
        if let IpNet::V4(net) = address.network
            && Some(address.link) != own
        {
            used.push(net.trunc());
        }
    }
    for entry in route.routes()? {
        // The default route leads everywhere and takes no subnet.
        if entry.destination.prefix_len() > 0 && (entry.link.is_none() || entry.link != own) {
            used.push(entry.destination);
        }
    }
    Ok(used)
}

fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
