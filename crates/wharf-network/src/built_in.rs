//! The three networks that are always there: `bridge`, `host`, `none`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use wharf_netlink::Route;

use crate::record::random_id;
use crate::{
    Bridge, Config, Driver, Ipam, IpamPool, Network, NetworkError, Way, Ways, bridge, create,
};

/// Those that are new, or other than their record says because the settings changed.
pub(crate) fn changed(
    known: &BTreeMap<String, Network>,
    config: &Config,
    route: &mut Route,
) -> Result<Vec<Network>, NetworkError> {
    let mut changed = Vec::new();
    for (name, driver) in [
        ("bridge", Driver::Bridge),
        ("host", Driver::Host),
        ("none", Driver::None),
    ] {
        let old = known.values().find(|network| network.name == name);
        if driver == Driver::Bridge && !config.default_bridge {
            // What an earlier daemon made of it goes as every network that is removed.
            changed.extend(old.map(|old| Network {
                removing: true,
                ..old.clone()
            }));
            continue;
        }
        let network = match driver {
            Driver::Bridge => default_bridge(old, known, config, route)?,
            _ => named(old, name, driver),
        };
        if old != Some(&network) {
            changed.push(network);
        }
    }
    Ok(changed)
}

fn named(old: Option<&Network>, name: &str, driver: Driver) -> Network {
    Network {
        id: old.map_or_else(random_id, |network| network.id.clone()),
        name: name.to_owned(),
        driver,
        created: old.map_or_else(
            || Timestamp::now().to_string(),
            |network| network.created.clone(),
        ),
        bridge: None,
        parent: None,
        link_prefix: None,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        config_only: false,
        config_from: String::new(),
        ipam: Ipam::default(),
        removing: false,
    }
}

fn default_bridge(
    old: Option<&Network>,
    known: &BTreeMap<String, Network>,
    config: &Config,
    route: &mut Route,
) -> Result<Network, NetworkError> {
    let mut pools = vec![pool4(old, known, config, route)?];
    if config.ipv6 {
        pools.push(pool6(old, known, config, route)?);
    }
    let bridge = Bridge {
        interface: config.bridge_name.clone(),
        mtu: config.mtu,
        icc: config.icc,
        masquerade: config.ip_masq,
        internal: false,
        host_binding: None,
        foreign: false,
        ways: Ways {
            v4: Way {
                next_hop: config.default_gateway,
                ..Way::default()
            },
            v6: Way {
                next_hop: config.default_gateway6,
                ..Way::default()
            },
        },
        inhibit_ipv4: false,
        trusted: Vec::new(),
    };
    Ok(Network {
        options: options(&bridge, config),
        ipv6: config.ipv6,
        ipam: Ipam {
            pools,
            ..Ipam::default()
        },
        bridge: Some(bridge),
        ..named(old, "bridge", Driver::Bridge)
    })
}

/// Whether the settings of the default bridge fit together, as far as that does not depend on what there is.
pub(crate) fn check(config: &Config) -> Result<(), NetworkError> {
    if let Some(bip) = config.bip.filter(|bip| !is_host(*bip)) {
        return Err(NetworkError::BadBip(bip.into()));
    }
    if let Some(bip) = config.bip6.filter(|bip| bip.addr() == bip.network()) {
        return Err(NetworkError::BadBip(bip.into()));
    }
    match (config.bip, config.fixed_cidr) {
        (Some(bip), Some(fixed)) => within(fixed, bip),
        _ => Ok(()),
    }
}

fn within(fixed: Ipv4Net, host: Ipv4Net) -> Result<(), NetworkError> {
    let subnet = host.trunc();
    match subnet.contains(&fixed) {
        true => Ok(()),
        false => Err(NetworkError::Invalid(format!(
            "fixed-cidr {fixed} is not within the bridge's subnet {subnet}"
        ))),
    }
}

/// The subnet that the settings say, else that of the last start, else a free one.
fn pool4(
    old: Option<&Network>,
    known: &BTreeMap<String, Network>,
    config: &Config,
    route: &mut Route,
) -> Result<IpamPool, NetworkError> {
    let recorded = old
        .and_then(|network| network.hosts().find(|host| host.addr().is_ipv4()))
        .and_then(|host| match host {
            IpNet::V4(host) => Some(host),
            IpNet::V6(_) => None,
        });
    let host = match (config.bip, config.fixed_cidr) {
        (Some(bip), _) if is_host(bip) => bip,
        (Some(bip), _) => return Err(NetworkError::BadBip(bip.into())),
        (None, Some(fixed)) if recorded.is_none_or(|net| !net.contains(&fixed)) => {
            let first = fixed.hosts().next().unwrap_or(fixed.addr());
            Ipv4Net::new_assert(first, fixed.prefix_len())
        }
        (None, _) => match recorded {
            Some(host) => host,
            None => bridge::free_host(config, known.values(), route)?,
        },
    };
    if let Some(fixed) = config.fixed_cidr {
        within(fixed, host)?;
    }
    Ok(IpamPool {
        subnet: host.trunc().into(),
        range: config.fixed_cidr.map(|net| net.trunc().into()),
        gateway: Some(host.addr().into()),
        gateway_chosen: false,
        auxiliary: next_hop("DefaultGatewayIPv4", config.default_gateway.map(IpAddr::V4)),
    })
}

fn pool6(
    old: Option<&Network>,
    known: &BTreeMap<String, Network>,
    config: &Config,
    route: &mut Route,
) -> Result<IpamPool, NetworkError> {
    let first = |net: Ipv6Net| {
        let ip = Ipv6Addr::from(u128::from(net.trunc().addr()) + 1);
        Ipv6Net::new_assert(ip, net.prefix_len())
    };
    let recorded = old
        .and_then(|network| network.hosts().find(|host| host.addr().is_ipv6()))
        .and_then(|host| match host {
            IpNet::V6(host) => Some(host),
            IpNet::V4(_) => None,
        });
    let host = match (config.bip6, config.fixed_cidr6, recorded) {
        (Some(bip), ..) if bip.addr() != bip.network() => bip,
        (Some(bip), ..) => return Err(NetworkError::BadBip(bip.into())),
        (None, Some(fixed), Some(host)) if host.contains(&fixed) => host,
        (None, Some(fixed), _) => first(fixed),
        (None, None, Some(host)) => host,
        (None, None, None) => {
            let used = bridge::used_beside(config, known.values(), route)?;
            first(create::free6(config, &used)?)
        }
    };
    Ok(IpamPool {
        subnet: host.trunc().into(),
        range: config.fixed_cidr6.map(|net| net.trunc().into()),
        gateway: Some(host.addr().into()),
        gateway_chosen: false,
        auxiliary: next_hop(
            "DefaultGatewayIPv6",
            config.default_gateway6.map(IpAddr::V6),
        ),
    })
}

/// Docker's name for a gateway that is not the host.
fn next_hop(name: &str, ip: Option<IpAddr>) -> BTreeMap<String, IpAddr> {
    ip.map(|ip| (name.to_owned(), ip)).into_iter().collect()
}

fn is_host(bip: Ipv4Net) -> bool {
    let ip: Ipv4Addr = bip.addr();
    ip != bip.network() && (bip.prefix_len() >= 31 || ip != bip.broadcast())
}

/// What `network inspect bridge` shows.
fn options(bridge: &Bridge, config: &Config) -> BTreeMap<String, String> {
    let option = |name: &str, value: String| (format!("com.docker.network.{name}"), value);
    BTreeMap::from([
        option("bridge.default_bridge", "true".to_owned()),
        option("bridge.enable_icc", bridge.icc.to_string()),
        option("bridge.enable_ip_masquerade", bridge.masquerade.to_string()),
        option(
            "bridge.host_binding_ipv4",
            config.default_binding.to_string(),
        ),
        option("bridge.name", bridge.interface.clone()),
        option("driver.mtu", bridge.mtu.to_string()),
    ])
}
