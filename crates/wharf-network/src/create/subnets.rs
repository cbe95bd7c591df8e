//! Which subnets a new network has: those that are asked for, or free ones of the pools.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use wharf_netlink::Route;

use crate::error::kernel;
use crate::record::random_bytes;
use crate::{Config, Network, NetworkError, NewNetwork, NewPool, bridge};

/// The subnets of one network.
pub(super) struct Subnets {
    pub(super) v4: Subnet<Ipv4Net, Ipv4Addr>,
    pub(super) v6: Option<Subnet<Ipv6Net, Ipv6Addr>>,
    pub(super) chosen: bool,
    pub(super) chosen6: bool,
}

/// One subnet with what is reserved in it.
pub(super) struct Subnet<N, A> {
    pub(super) subnet: N,
    pub(super) range: Option<N>,
    pub(super) gateway: A,
    pub(super) auxiliary: BTreeMap<String, A>,
}

/// Checks what was typed; all faults at once (moby `api/types/network`, `ValidateIPAM`).
pub(super) fn check(pools: &[NewPool], ipv6: bool) -> Result<(), NetworkError> {
    let mut faults = Vec::new();
    for pool in pools.iter().filter(|pool| !pool.subnet.is_empty()) {
        check_pool(pool, ipv6, &mut faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(NetworkError::Invalid(format!(
        "invalid network config:\n{}",
        faults.join("\n")
    )))
}

fn check_pool(pool: &NewPool, ipv6: bool, faults: &mut Vec<String>) {
    let text = &pool.subnet;
    let Ok(subnet) = text.parse::<IpNet>() else {
        faults.push(format!(
            "invalid subnet {text}: invalid CIDR block notation"
        ));
        return;
    };
    let v6 = subnet.addr().is_ipv6();
    if v6 && !ipv6 {
        return;
    }
    let family = if v6 { 6 } else { 4 };
    if subnet != subnet.trunc() {
        let right = subnet.trunc();
        faults.push(format!("invalid subnet {subnet}: it should be {right}"));
    }
    let range = &pool.range;
    if !range.is_empty() {
        let fault = |why: String| format!("invalid ip-range {range}: {why}");
        match range.parse::<IpNet>() {
            Err(_) => faults.push(fault("invalid CIDR block notation".to_owned())),
            Ok(net) if net.addr().is_ipv6() != v6 => {
                faults.push(fault(format!("parent subnet is an IPv{family} block")));
            }
            Ok(net) => {
                if net.prefix_len() < subnet.prefix_len() {
                    faults.push(fault(format!(
                        "CIDR block is bigger than its parent subnet {subnet}"
                    )));
                }
                if net != net.trunc() {
                    faults.push(fault(format!("it should be {}", net.trunc())));
                }
                if !subnet.contains(&net.addr()) && !net.contains(&subnet.addr()) {
                    faults.push(fault(format!(
                        "parent subnet {subnet} doesn't contain ip-range"
                    )));
                }
            }
        }
    }
    let mut address = |what: &str, shown: &str, text: &str| {
        let why = match text.parse::<IpAddr>() {
            Err(_) => "invalid address".to_owned(),
            Ok(ip) if ip.is_ipv6() != v6 => format!("parent subnet is an IPv{family} block"),
            Ok(ip) if !subnet.contains(&ip) => {
                format!("parent subnet {subnet} doesn't contain this address")
            }
            Ok(_) => return,
        };
        faults.push(format!("invalid {what} {shown}: {why}"));
    };
    if !pool.gateway.is_empty() {
        address("gateway", &pool.gateway, &pool.gateway);
    }
    for (name, ip) in &pool.auxiliary {
        address("auxiliary address", name, ip);
    }
}

impl Subnets {
    /// The subnets of a request that was checked.
    pub(super) fn choose(
        new: &NewNetwork,
        config: &Config,
        known: &[Network],
        interface: &str,
        route: &mut Route,
    ) -> Result<Self, NetworkError> {
        let is6 = |pool: &&NewPool| pool.subnet.contains(':');
        let (six, four): (Vec<_>, Vec<_>) = new.pools.iter().partition(is6);
        if four.len() > 1 || six.len() > 1 && new.ipv6 {
            let text = "bridge driver doesn't support multiple subnets";
            return Err(NetworkError::Forbidden(text.to_owned()));
        }
        let asked = four.first().filter(|pool| !pool.subnet.is_empty());
        if asked.is_none() && four.iter().any(|pool| has_more(pool)) {
            let text = "user specified IP address or ip-range is supported only with a user configured subnet";
            return Err(NetworkError::Invalid(text.to_owned()));
        }
        let ours = |net: IpNet| {
            let mut pools = known.iter().flat_map(|one| &one.ipam.pools);
            pools.any(|pool| overlap(&pool.subnet, &net))
        };
        let v4 = match asked {
            Some(pool) => given(pool, ours)?,
            None => free(config, route, interface, known)?,
        };
        let v6 = match (new.ipv6, six.first()) {
            (false, _) => None,
            (true, Some(pool)) => Some(given(pool, ours)?),
            (true, None) => Some(unique_local()?),
        };
        Ok(Self {
            chosen: asked.is_some(),
            chosen6: new.ipv6 && !six.is_empty(),
            v4,
            v6,
        })
    }
}

fn has_more(pool: &NewPool) -> bool {
    !(pool.range.is_empty() && pool.gateway.is_empty() && pool.auxiliary.is_empty())
}

/// A subnet that was asked for.
fn given<N, A>(pool: &NewPool, ours: impl Fn(IpNet) -> bool) -> Result<Subnet<N, A>, NetworkError>
where
    N: std::str::FromStr + Copy + Into<IpNet>,
    A: std::str::FromStr + Copy + Display,
{
    // Everything was parsed once already.
    let bad =
        |what: &str| NetworkError::Invalid(format!("invalid network config:\ninvalid {what}"));
    let subnet: N = pool.subnet.parse().map_err(|_| bad("subnet"))?;
    if ours(subnet.into()) {
        return Err(NetworkError::Forbidden(
            "invalid pool request: Pool overlaps with other one on this address space".to_owned(),
        ));
    }
    let range: Option<N> = match pool.range.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|_| bad("ip-range"))?),
    };
    let mut auxiliary = BTreeMap::new();
    for (name, text) in &pool.auxiliary {
        let ip: A = text.parse().map_err(|_| bad("auxiliary address"))?;
        auxiliary.insert(name.clone(), ip);
    }
    let gateway = match pool.gateway.as_str() {
        "" => {
            let within: IpNet = range.map_or(subnet.into(), Into::into);
            // As dockerd: the lowest address of the range; that of the subnet itself is none.
            let first = within.trunc().addr();
            let first = if first == subnet.into().trunc().addr() {
                next(first)
            } else {
                first
            };
            let taken = |ip: IpAddr| {
                auxiliary
                    .values()
                    .any(|one| one.to_string() == ip.to_string())
            };
            let free =
                std::iter::successors(Some(first), |ip| Some(next(*ip))).find(|ip| !taken(*ip));
            let ip = free.filter(|ip| subnet.into().contains(ip));
            ip.and_then(|ip| ip.to_string().parse().ok())
                .ok_or_else(|| bad("gateway"))?
        }
        text => text.parse().map_err(|_| bad("gateway"))?,
    };
    Ok(Subnet {
        subnet,
        range,
        gateway,
        auxiliary,
    })
}

fn next(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add(1)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add(1)).into(),
    }
}

/// The first subnet of the pools that neither the host nor another network uses.
fn free(
    config: &Config,
    route: &mut Route,
    interface: &str,
    known: &[Network],
) -> Result<Subnet<Ipv4Net, Ipv4Addr>, NetworkError> {
    let mut used =
        bridge::used_subnets(interface, route).map_err(kernel("list the host's networks"))?;
    used.extend(
        known
            .iter()
            .filter_map(|one| Some(one.bridge.as_ref()?.subnet)),
    );
    let subnet = bridge::free_subnet(config, &used)?;
    let gateway = subnet.hosts().next().ok_or(NetworkError::PoolsExhausted)?;
    Ok(Subnet {
        subnet,
        range: None,
        gateway,
        auxiliary: BTreeMap::new(),
    })
}

/// A random subnet of the unique local addresses (RFC 4193), which meets no other by chance.
fn unique_local() -> Result<Subnet<Ipv6Net, Ipv6Addr>, NetworkError> {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[1..8].copy_from_slice(&random_bytes::<7>());
    let subnet = Ipv6Net::new(octets.into(), 64).map_err(|_| NetworkError::PoolsExhausted)?;
    octets[15] = 1;
    Ok(Subnet {
        subnet,
        range: None,
        gateway: octets.into(),
        auxiliary: BTreeMap::new(),
    })
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(&b.network()) || b.contains(&a.network())
}
