//! Making a network: what is asked for is checked whole before anything is made.

mod options;
mod parent;
mod subnets;

use std::borrow::Cow;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use wharf_netlink::Route;

use crate::error::kernel;
use crate::networks::{Addresses, Inner, four, six};
use crate::record::{NETWORKS, random_id};
use crate::{
    Bridge, Driver, Ipam, Network, NetworkError, Networks, NewNetwork, NewPool, bridge, sysctl,
};
use options::Options;
use subnets::Choice;

pub(crate) use subnets::free6;

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// In dockerd's words: what is asked for makes no sense, the name is in use, no addresses are left.
    pub async fn create(&self, new: NewNetwork) -> Result<Network, NetworkError> {
        let inner = Arc::clone(&self.inner);
        let work = tokio::task::spawn_blocking(move || {
            let network = inner.create(&new)?;
            // Whoever makes or removes another network does not wait for firewalld.
            inner.admit(&network);
            Ok(network)
        });
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Inner {
    fn create(&self, new: &NewNetwork) -> Result<Network, NetworkError> {
        // One at a time: which subnet is free depends on the one before.
        let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        check_name(&new.name)?;
        subnets::check(&new.pools, new.ipv6.unwrap_or(false))?;
        if matches!(new.name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(NetworkError::Forbidden(format!(
                "operation is not permitted on predefined {} network",
                new.name
            )));
        }
        let known = self.lock().networks.values().cloned().collect::<Vec<_>>();
        if known.iter().any(|one| one.name == new.name) {
            return Err(NetworkError::NameInUse(new.name.clone()));
        }
        check_driver(new)?;
        let new = self.described(new, &known)?;
        let network = match (new.config_only, new.driver.as_str()) {
            (true, _) => config_only(&new)?,
            (false, "macvlan" | "ipvlan") => self.shared_link(&new, &known)?,
            (false, _) => self.own_bridge(&new, &known)?,
        };
        self.make(&network)?;
        Ok(network)
    }

    /// What is asked for, with what the network that describes it and the daemon's settings say.
    fn described<'a>(
        &self,
        new: &'a NewNetwork,
        known: &[Network],
    ) -> Result<Cow<'a, NewNetwork>, NetworkError> {
        check_config(new)?;
        let mut described = Cow::Borrowed(new);
        if !new.config_from.is_empty() {
            let from = known
                .iter()
                .find(|one| one.config_only && one.name == new.config_from)
                .ok_or_else(|| NetworkError::NoConfig(new.config_from.clone()))?;
            let described = described.to_mut();
            described.ipv4 = Some(from.ipv4);
            described.ipv6 = Some(from.ipv6);
            described.options.clone_from(&from.options);
            described.labels.clone_from(&from.labels);
            described.ipam_options.clone_from(&from.ipam.options);
            described.pools = from.ipam.pools.iter().map(as_asked).collect();
        }
        let driver = match new.driver.as_str() {
            "" | "default" => "bridge",
            other => other,
        };
        let defaults = self.config.network_options.get(driver);
        if let Some(defaults) = defaults.filter(|_| !new.config_only) {
            let described = described.to_mut();
            for (key, value) in defaults {
                let option = described.options.entry(key.clone());
                option.or_insert_with(|| value.clone());
            }
        }
        Ok(described)
    }

    /// A network on a bridge of its own.
    fn own_bridge(&self, new: &NewNetwork, known: &[Network]) -> Result<Network, NetworkError> {
        let options = Options::read(new)?;
        let families = options::families(new)?;
        let id = random_id();
        let interface = match options.bridge_name.clone() {
            Some(name) => name,
            None => format!("br-{}", &id[..12]),
        };
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let choice = Choice {
            config: &self.config,
            known,
            interface: &interface,
            families,
            gateways: options.hosts(),
            bridge: true,
        };
        let ipam = subnets::choose(new, &choice, &mut route)?;
        let foreign = bridge::is_there(&interface, &mut route)?;
        drop(route);
        let is_on = |one: &&Network| {
            one.bridge
                .as_ref()
                .is_some_and(|on| on.interface == interface)
        };
        if let Some(Network { id: other, .. }) = known.iter().find(is_on) {
            return Err(NetworkError::Forbidden(format!(
                "cannot create network {id} ({interface}): conflicts with network {other} ({interface}): networks have same bridge name"
            )));
        }
        let mut ways = options.ways;
        ways.v4.next_hop = subnets::next_hop(&ipam, "DefaultGatewayIPv4", four);
        ways.v6.next_hop = subnets::next_hop(&ipam, "DefaultGatewayIPv6", six);
        let bridge = Bridge {
            interface,
            mtu: options.mtu.unwrap_or(self.config.mtu),
            icc: options.icc.unwrap_or(true),
            masquerade: options.masquerade.unwrap_or(true) && !new.internal,
            internal: new.internal,
            host_binding: options.host_binding,
            foreign,
            ways,
            inhibit_ipv4: options.inhibit_ipv4,
            trusted: options.trusted,
        };
        Ok(Network {
            bridge: Some(bridge),
            link_prefix: options.link_prefix,
            ..blank(new, id, Driver::Bridge, families, ipam)
        })
    }

    /// A network on a link of the host that others share.
    fn shared_link(&self, new: &NewNetwork, known: &[Network]) -> Result<Network, NetworkError> {
        let families = options::families(new)?;
        let id = random_id();
        let mut wanted = parent::read(new, &id[..12])?;
        parent::check_shared(&wanted.parent, &new.driver, known)?;
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let name = wanted.parent.interface.clone();
        if wanted.parent.made.is_none() && !has_link(&mut route, &name)? {
            let made = parent::tagged(&name)?;
            if let crate::MadeParent::Vlan { of, .. } = &made
                && !has_link(&mut route, of)?
            {
                return Err(NetworkError::NoParent(of.clone()));
            }
            wanted.parent.made = Some(made);
        }
        let routerless = wanted.parent.is_routerless();
        let gateway = !wanted.internal && !routerless;
        let choice = Choice {
            config: &self.config,
            known,
            interface: &name,
            families,
            gateways: (gateway, gateway),
            bridge: false,
        };
        let ipam = subnets::choose(new, &choice, &mut route)?;
        let driver = match new.driver.as_str() {
            "macvlan" => Driver::Macvlan,
            _ => Driver::Ipvlan,
        };
        Ok(Network {
            parent: Some(wanted.parent),
            link_prefix: wanted.link_prefix,
            internal: wanted.internal,
            ..blank(new, id, driver, families, ipam)
        })
    }

    /// Record, link, rules; and all taken back if one fails.
    fn make(&self, network: &Network) -> Result<(), NetworkError> {
        self.db.write(|tx| NETWORKS.put(tx, &network.id, network))?;
        {
            let mut state = self.lock();
            if let Some(addresses) = Addresses::of(network) {
                state.addresses.insert(network.id.clone(), addresses);
            }
            state.networks.insert(network.id.clone(), network.clone());
        }
        let made = self
            .ensure_link(network)
            .and_then(|index| self.probe(network, index))
            .and_then(|()| self.apply_firewall());
        if made.is_err()
            && let Err(error) = self.remove_network(network)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "take a network back"
            );
        }
        made
    }
}

impl Inner {
    /// Makes what a network's links hang on, and remembers its index.
    pub(crate) fn ensure_link(&self, network: &Network) -> Result<Option<u32>, NetworkError> {
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match (&network.bridge, &network.parent) {
            (Some(bridge), _) => Some(bridge::ensure(network, bridge, &mut route)?),
            (None, Some(parent)) => Some(parent.ensure(&mut route)?),
            (None, None) => None,
        };
        drop(route);
        if network.bridge.is_some() && network.ipv6 && self.config.ip_forward {
            sysctl::forward_ipv6()?;
        }
        if let Some(index) = index {
            self.lock().bridges.insert(network.id.clone(), index);
        }
        Ok(index)
    }

    fn probe(&self, network: &Network, index: Option<u32>) -> Result<(), NetworkError> {
        let Some((parent, index)) = network.parent.as_ref().zip(index) else {
            return Ok(());
        };
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        parent.probe(index, &mut route)
    }
}

/// As dockerd, any text that says something; but no orders to the terminals that it is shown on.
fn check_name(name: &str) -> Result<(), NetworkError> {
    if name.trim().is_empty() {
        return Err(NetworkError::Invalid(
            "invalid name: name is empty".to_owned(),
        ));
    }
    match name.chars().any(char::is_control) {
        true => Err(NetworkError::Invalid(format!(
            "invalid network name {name:?}: it has control characters"
        ))),
        false => Ok(()),
    }
}

fn has_link(route: &mut Route, name: &str) -> Result<bool, NetworkError> {
    let link = route.link(name);
    Ok(link.map_err(kernel("look for the parent link"))?.is_some())
}

/// A network that only describes others.
fn config_only(new: &NewNetwork) -> Result<Network, NetworkError> {
    let families = options::families(new)?;
    let mut pools = Vec::new();
    for pool in &new.pools {
        pools.push(subnets::described(pool)?);
    }
    let ipam = Ipam {
        options: new.ipam_options.clone(),
        pools,
        ..Ipam::default()
    };
    Ok(Network {
        config_only: true,
        ..blank(new, random_id(), Driver::None, families, ipam)
    })
}

/// A pool as it would be typed.
fn as_asked(pool: &crate::IpamPool) -> NewPool {
    let text = |net: Option<ipnet::IpNet>| net.map(|net| net.to_string()).unwrap_or_default();
    let auxiliary = pool.auxiliary.iter();
    NewPool {
        subnet: pool.subnet.to_string(),
        range: text(pool.range),
        gateway: pool.gateway.map(|ip| ip.to_string()).unwrap_or_default(),
        auxiliary: auxiliary
            .map(|(name, ip)| (name.clone(), ip.to_string()))
            .collect(),
    }
}

/// What may not be said of a network that describes others, and of one that is described (moby
/// `validateConfiguration`).
fn check_config(new: &NewNetwork) -> Result<(), NetworkError> {
    let refuse = |text: &str| Err(NetworkError::Forbidden(text.to_owned()));
    if new.config_only && (new.internal || new.attachable) {
        return refuse(
            "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
        );
    }
    if new.config_from.is_empty() {
        return Ok(());
    }
    if new.config_only {
        return refuse("a configuration network cannot depend on another configuration network");
    }
    let ipam = !matches!(new.ipam_driver.as_str(), "" | "default")
        || new.ipam_options.iter().any(|options| !options.is_empty())
        || !new.pools.is_empty();
    let families = new.ipv4 == Some(false) || new.ipv6 == Some(true);
    if ipam || families || !new.labels.is_empty() {
        return refuse(
            "user specified configurations are not supported if the network depends on a configuration network",
        );
    }
    if !new.options.is_empty() {
        return refuse(
            "network driver options are not supported if the network depends on a configuration network",
        );
    }
    Ok(())
}

fn check_driver(new: &NewNetwork) -> Result<(), NetworkError> {
    let single = |name: &str| {
        let text = format!("only one instance of \"{name}\" network is allowed");
        Err(NetworkError::Forbidden(text))
    };
    match new.driver.as_str() {
        "" | "bridge" | "default" | "macvlan" | "ipvlan" => {}
        "host" => return single("host"),
        "null" if new.config_only => {}
        "null" => return single("null"),
        other => return Err(NetworkError::UnknownDriver(other.to_owned())),
    }
    match new.ipam_driver.as_str() {
        "" | "default" => Ok(()),
        "null" => Err(NetworkError::Invalid("ipv4 pool is empty".to_owned())),
        other => Err(NetworkError::UnknownDriver(other.to_owned())),
    }
}

/// A network with neither bridge nor parent yet.
fn blank(
    new: &NewNetwork,
    id: String,
    driver: Driver,
    (ipv4, ipv6): (bool, bool),
    ipam: Ipam,
) -> Network {
    Network {
        id,
        name: new.name.clone(),
        driver,
        created: Timestamp::now().to_string(),
        bridge: None,
        parent: None,
        link_prefix: None,
        options: new.options.clone(),
        labels: new.labels.clone(),
        internal: new.internal,
        attachable: new.attachable,
        ipv4,
        ipv6,
        config_only: false,
        config_from: new.config_from.clone(),
        ipam,
        removing: false,
    }
}
