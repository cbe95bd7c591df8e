//! The addresses of a new endpoint: those that are asked for, else the next free ones.

use crate::ipam::AddressPool;
use crate::networks::{State, Subnet};
use crate::{Address, EndpointConfig, EndpointInfo, Mac, Network, NetworkError};

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
    let ways = network.bridge.as_ref().map(|bridge| bridge.ways);
    let ways = ways.unwrap_or_default();
    // One that is asked for of a family that the network does not have lies outside of all its subnets.
    if network.ipv4 || config.ip.is_some() {
        info.address = Some(take_one(
            &mut pools.v4,
            network,
            config.ip,
            ways.v4.next_hop,
        )?);
    }
    if network.ipv6 || config.ip6.is_some() {
        match take_one(&mut pools.v6, network, config.ip6, ways.v6.next_hop) {
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
        info.mac = config.mac.or_else(|| {
            let mac = Mac::of_ip(four.or(six)?);
            Some(if is_taken(state, info, mac) {
                Mac::random()
            } else {
                mac
            })
        });
    }
    Ok(())
}

/// Whether somebody else of the network has that hardware address: somebody asked for it, or two IPv6 addresses end alike.
fn is_taken(state: &State, info: &EndpointInfo, mac: Mac) -> bool {
    let mut others = state.endpoints.values();
    others.any(|one| one.mac == Some(mac) && one.network_id == info.network_id)
}

/// Takes the address of one family that is asked for, else the lowest free one.
fn take_one<P: AddressPool>(
    subnets: &mut [Subnet<P, P::Ip>],
    network: &Network,
    wanted: Option<P::Ip>,
    next_hop: Option<P::Ip>,
) -> Result<Address<P::Ip>, NetworkError> {
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
    let (ip, one) = taken.ok_or_else(|| full::<P>(network))?;
    Ok(Address {
        ip,
        prefix: one.pool.prefix(),
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

fn full<P: AddressPool>(network: &Network) -> NetworkError {
    NetworkError::NoAddress {
        family: P::FAMILY,
        name: network.name.clone(),
        id: network.id.clone(),
    }
}
