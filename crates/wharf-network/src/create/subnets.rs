//! Which subnets a new network has: those that are asked for, or free ones of the pools.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use wharf_netlink::Route;

use crate::error::{joined, kernel};
use crate::record::random_bytes;
use crate::{Config, Ipam, IpamPool, Network, NetworkError, NewNetwork, NewPool, bridge};

/// Checks what was typed; all faults at once (moby `api/types/network`, `ValidateIPAM`).
pub(super) fn check(pools: &[NewPool], ipv6: bool) -> Result<(), NetworkError> {
    let mut faults = Vec::new();
    for pool in pools {
        check_pool(pool, ipv6, &mut faults);
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(NetworkError::Invalid(format!(
        "invalid network config:\n{}",
        joined(&faults)
    )))
}

/// A subnet as Go reads one (`netip.ParsePrefix`), where a zero at the beginning of a number may mean another base; but
/// an IPv4 subnet in IPv6's clothes is neither.
fn cidr(text: &str) -> Option<IpNet> {
    let (ip, bits) = text.split_once('/')?;
    let ip: IpAddr = ip.parse().ok()?;
    let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || bits.len() > 1 && bits.starts_with('0') || ip != ip.to_canonical() {
        return None;
    }
    IpNet::new(ip, bits.parse().ok()?).ok()
}

fn check_pool(pool: &NewPool, ipv6: bool, faults: &mut Vec<String>) {
    let text = &pool.subnet;
    let Some(subnet) = cidr(text) else {
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
        match cidr(range) {
            None => faults.push(fault("invalid CIDR block notation".to_owned())),
            Some(net) if net.addr().is_ipv6() != v6 => {
                faults.push(fault(format!("parent subnet is an IPv{family} block")));
            }
            Some(net) => {
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

/// What a choice of subnets depends on.
pub(super) struct Choice<'a> {
    pub(super) config: &'a Config,
    pub(super) known: &'a [Network],
    /// Name of the bridge, whose own subnets are no clash.
    pub(super) interface: &'a str,
    /// Whether the network has IPv4, and IPv6.
    pub(super) families: (bool, bool),
    /// Whether the host, or whoever leads outside, has an address of the two.
    pub(super) gateways: (bool, bool),
    /// A bridge of our own: one subnet of each family, which must not be the host's otherwise.
    pub(super) bridge: bool,
}

impl Choice<'_> {
    /// The subnets of other networks. Those of a network which only describes others are nobody's.
    fn taken(&self) -> impl Iterator<Item = &IpamPool> {
        let real = self.known.iter().filter(|one| !one.config_only);
        real.flat_map(|one| &one.ipam.pools)
    }
}

/// The address management of a request that was checked: the subnets that were asked for, else free ones.
pub(super) fn choose(
    new: &NewNetwork,
    choice: &Choice<'_>,
    route: &mut Route,
) -> Result<Ipam, NetworkError> {
    let is6 = |pool: &&NewPool| pool.subnet.contains(':');
    let (six, four): (Vec<_>, Vec<_>) = new.pools.iter().partition(is6);
    let (v4, v6) = choice.families;
    let (four, six) = (
        if v4 { four } else { Vec::new() },
        if v6 { six } else { Vec::new() },
    );
    if choice.bridge && (four.len() > 1 || six.len() > 1) {
        let text = "bridge driver doesn't support multiple subnets";
        return Err(NetworkError::Forbidden(text.to_owned()));
    }
    let host = bridge::used_subnets(choice.interface, route)
        .map_err(kernel("list the host's networks"))?;
    let mut pools: Vec<IpamPool> = Vec::new();
    for asked in four.iter().chain(&six) {
        let gateway = match asked.subnet.contains(':') {
            true => choice.gateways.1,
            false => choice.gateways.0,
        };
        let pool = given(asked, gateway)?;
        if let Some(other) = choice
            .taken()
            .chain(&pools)
            .find(|one| bridge::overlap(&one.subnet, &pool.subnet))
        {
            return Err(NetworkError::Forbidden(format!(
                "invalid pool request: Pool overlaps with other one on this address space ({})",
                other.subnet
            )));
        }
        if choice.bridge {
            check_host(&pool.subnet, &host)?;
        }
        pools.push(pool);
    }
    let chosen = !four.is_empty();
    if v4 && !chosen {
        let free = free4(choice, &host)?;
        pools.insert(0, free);
    }
    if v6 && six.is_empty() {
        pools.push(free6_pool(choice, &host)?);
    }
    Ok(Ipam {
        options: new.ipam_options.clone(),
        pools,
        chosen,
        chosen6: !six.is_empty(),
    })
}

/// A subnet that holds a network of the host, or equals one, would take it away. One within a wide route of the
/// host's, such as a VPN's, is somebody's plan.
fn check_host(subnet: &IpNet, host: &[IpNet]) -> Result<(), NetworkError> {
    match host.iter().find(|net| subnet.contains(*net)) {
        None => Ok(()),
        Some(net) => Err(NetworkError::Forbidden(format!(
            "invalid pool request: Pool {subnet} overlaps with {net}, which this host reaches otherwise"
        ))),
    }
}

/// A subnet as a network that describes others keeps it.
pub(super) fn described(pool: &NewPool) -> Result<IpamPool, NetworkError> {
    given(pool, false)
}

/// A subnet that was asked for; `gateway`: it has one even if none was asked for.
fn given(pool: &NewPool, gateway: bool) -> Result<IpamPool, NetworkError> {
    // Everything was parsed once already.
    let bad =
        |what: &str| NetworkError::Invalid(format!("invalid network config:\ninvalid {what}"));
    let subnet = cidr(&pool.subnet).ok_or_else(|| bad("subnet"))?;
    let range = match pool.range.as_str() {
        "" => None,
        text => Some(cidr(text).ok_or_else(|| bad("ip-range"))?),
    };
    let mut auxiliary = BTreeMap::new();
    for (name, text) in &pool.auxiliary {
        let ip: IpAddr = text.parse().map_err(|_| bad("auxiliary address"))?;
        auxiliary.insert(name.clone(), ip);
    }
    let gateway_chosen = gateway && pool.gateway.is_empty();
    let gateway = match pool.gateway.as_str() {
        "" if !gateway => None,
        "" => {
            // As dockerd: the lowest address of the range; that of the subnet itself is none.
            let range = range.unwrap_or(subnet).trunc();
            let first = range.addr();
            let lowest = match is_reserved(&subnet, first) {
                true => next(first),
                false => first,
            };
            let single_six = subnet.prefix_len() == 128;
            if single_six || is_reserved(&subnet, lowest) || !range.contains(&lowest) {
                return Err(NetworkError::Forbidden(
                    "failed to allocate gateway (): no available addresses on this pool".to_owned(),
                ));
            }
            Some(lowest)
        }
        text => Some(text.parse().map_err(|_| bad("gateway"))?),
    };
    check_reserved(&subnet, gateway, &auxiliary)?;
    Ok(IpamPool {
        subnet,
        range,
        gateway,
        gateway_chosen,
        auxiliary,
    })
}

/// Whether an address is the subnet's own or, of IPv4, reaches all in it. Very small subnets give both away.
fn is_reserved(subnet: &IpNet, ip: IpAddr) -> bool {
    let large = subnet.prefix_len() < subnet.max_prefix_len() - 1;
    let last = ip.is_ipv4() && ip == subnet.broadcast();
    large && (ip == subnet.network() || last)
}

/// Gateway and auxiliary addresses are taken one after the other; none twice (moby `libnetwork`, `ipamAllocateVersion`).
fn check_reserved(
    subnet: &IpNet,
    gateway: Option<IpAddr>,
    auxiliary: &BTreeMap<String, IpAddr>,
) -> Result<(), NetworkError> {
    let mut taken = Vec::new();
    if let Some(ip) = gateway {
        if is_reserved(subnet, ip) {
            return Err(NetworkError::Forbidden(format!(
                "failed to allocate gateway ({ip}): Address already in use"
            )));
        }
        taken.push(ip);
    }
    for (name, ip) in auxiliary {
        if is_reserved(subnet, *ip) || taken.contains(ip) {
            return Err(NetworkError::Forbidden(format!(
                "failed to allocate secondary ip address ({name}:{ip}): Address already in use"
            )));
        }
        taken.push(*ip);
    }
    Ok(())
}

/// The containers' way outside, if an auxiliary address says so by its name (moby `libnetwork/drivers/bridge`,
/// `DefaultGatewayV4AuxKey`).
pub(super) fn next_hop<A>(
    ipam: &Ipam,
    name: &str,
    family: impl Fn(IpAddr) -> Option<A>,
) -> Option<A> {
    let named = ipam
        .pools
        .iter()
        .filter_map(|pool| pool.auxiliary.get(name));
    named.copied().find_map(family)
}

fn next(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add(1)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add(1)).into(),
    }
}

/// The first subnet of the pools that neither the host nor another network uses.
fn free4(choice: &Choice<'_>, host: &[IpNet]) -> Result<IpamPool, NetworkError> {
    let taken = choice.taken().map(|pool| pool.subnet);
    let used: Vec<IpNet> = host.iter().copied().chain(taken).collect();
    let subnet = bridge::free_subnet(choice.config, &used)?;
    let first = subnet.hosts().next().ok_or(NetworkError::PoolsExhausted)?;
    Ok(IpamPool {
        subnet: subnet.into(),
        range: None,
        gateway_chosen: false,
        gateway: choice.gateways.0.then_some(first.into()),
        auxiliary: BTreeMap::new(),
    })
}

fn free6_pool(choice: &Choice<'_>, host: &[IpNet]) -> Result<IpamPool, NetworkError> {
    let taken = choice.taken().map(|pool| pool.subnet);
    let used: Vec<IpNet> = host.iter().copied().chain(taken).collect();
    let subnet = free6(choice.config, &used)?;
    let first = next(subnet.addr().into());
    Ok(IpamPool {
        subnet: subnet.into(),
        range: None,
        gateway_chosen: false,
        gateway: choice.gateways.1.then_some(first),
        auxiliary: BTreeMap::new(),
    })
}

/// A free IPv6 subnet of the configured pools; without any, a random one of the unique local addresses
/// (RFC 4193), which meets no other by chance.
pub(crate) fn free6(config: &Config, used: &[IpNet]) -> Result<Ipv6Net, NetworkError> {
    let pools = config.pools6();
    if pools.is_empty() {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..8].copy_from_slice(&random_bytes::<7>());
        return Ipv6Net::new(octets.into(), 64).map_err(|_| NetworkError::PoolsExhausted);
    }
    let mut candidates = pools
        .into_iter()
        .flat_map(|(pool, size)| pool.subnets(size).into_iter().flatten());
    let free = candidates.find(|subnet| {
        let subnet = IpNet::V6(*subnet);
        !used.iter().any(|other| bridge::overlap(&subnet, other))
    });
    free.ok_or(NetworkError::PoolsExhausted)
}
