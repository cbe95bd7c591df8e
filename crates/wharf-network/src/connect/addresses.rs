//! The addresses of a new endpoint: those that are asked for, else the next free ones.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::networks::{Addresses, State};
use crate::{Address, Address6, EndpointConfig, EndpointInfo, Mac, Network, NetworkError};

/// Takes all addresses of an endpoint, or none.
pub(super) fn take(
    state: &mut State,
    info: &mut EndpointInfo,
    network: &Network,
    config: &EndpointConfig,
) -> Result<(), NetworkError> {
    if info.network_name == "bridge" && (config.ip.is_some() || config.ip6.is_some()) {
        return Err(NetworkError::StaticAddress);
    }
    let Some(pools) = state.addresses.get_mut(&info.network_id) else {
        return Err(NetworkError::NotFound(info.network_name.clone()));
    };
    if !network.ipv4
        && let Some(ip) = config.ip
    {
        return Err(NetworkError::AddressOutside(ip.into()));
    }
    if !network.ipv6
        && let Some(ip) = config.ip6
    {
        return Err(NetworkError::AddressOutside(ip.into()));
    }
    if network.ipv4 {
        info.address = Some(take4(pools, network, config.ip)?);
    }
    if network.ipv6 {
        match take6(pools, network, config.ip6) {
            Ok(address) => info.address6 = Some(address),
            Err(error) => {
                let ip = info.address.take().map(|address| address.ip);
                state.release_addresses(&info.network_id, ip, None);
                return Err(error);
            }
        }
    }
    if network.parent.as_ref().is_none_or(crate::Parent::has_macs) {
        let four = info.address.map(|address| address.ip.into());
        let six = info.address6.map(|address| address.ip.into());
        info.mac = config.mac.or(four.or(six).map(Mac::of_ip));
    }
    Ok(())
}

fn take4(
    pools: &mut Addresses,
    network: &Network,
    wanted: Option<Ipv4Addr>,
) -> Result<Address, NetworkError> {
    let subnets = &mut pools.v4;
    let taken = match wanted {
        Some(ip) => {
            let within = subnets.iter_mut().find(|one| one.pool.contains(ip));
            let one = within.ok_or(NetworkError::AddressOutside(ip.into()))?;
            if !one.pool.take(ip) {
                return Err(NetworkError::AddressInUse(ip.into()));
            }
            Some((ip, one))
        }
        // The next subnet when one is full.
        None => subnets
            .iter_mut()
            .find_map(|one| one.pool.allocate().map(|ip| (ip, one))),
    };
    let (ip, one) = taken.ok_or_else(|| full(network, "IPv4"))?;
    let next_hop = network
        .bridge
        .as_ref()
        .and_then(|bridge| bridge.ways.v4.next_hop);
    Ok(Address {
        ip,
        prefix: one.pool.subnet().prefix_len(),
        gateway: next_hop
            .or(one.gateway)
            .filter(|_| leads_somewhere(network)),
    })
}

fn take6(
    pools: &mut Addresses,
    network: &Network,
    wanted: Option<Ipv6Addr>,
) -> Result<Address6, NetworkError> {
    let subnets = &mut pools.v6;
    let taken = match wanted {
        Some(ip) => {
            let within = subnets.iter_mut().find(|one| one.pool.contains(ip));
            let one = within.ok_or(NetworkError::AddressOutside(ip.into()))?;
            if !one.pool.take(ip) {
                return Err(NetworkError::AddressInUse(ip.into()));
            }
            Some((ip, one))
        }
        None => subnets
            .iter_mut()
            .find_map(|one| one.pool.allocate().map(|ip| (ip, one))),
    };
    let (ip, one) = taken.ok_or_else(|| full(network, "IPv6"))?;
    let next_hop = network
        .bridge
        .as_ref()
        .and_then(|bridge| bridge.ways.v6.next_hop);
    Ok(Address6 {
        ip,
        prefix: one.pool.subnet().prefix_len(),
        gateway: next_hop
            .or(one.gateway)
            .filter(|_| leads_somewhere(network)),
    })
}

/// Whether a gateway would be of use.
fn leads_somewhere(network: &Network) -> bool {
    let routerless = network
        .parent
        .as_ref()
        .is_some_and(crate::Parent::is_routerless);
    !network.internal && !routerless
}

fn full(network: &Network, family: &'static str) -> NetworkError {
    NetworkError::NoAddress {
        family,
        name: network.name.clone(),
        id: network.id.clone(),
    }
}
