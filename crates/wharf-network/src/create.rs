//! Making a network: what is asked for is checked whole before anything is made.

mod options;
mod subnets;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use ipnet::IpNet;
use jiff::Timestamp;

use crate::networks::{Addresses, Inner};
use crate::record::{NETWORKS, random_id};
use crate::{
    Bridge, Bridge6, Driver, Ipam, IpamPool, Network, NetworkError, Networks, NewNetwork, bridge,
};
use options::Options;
use subnets::Subnets;

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// In dockerd's words: what is asked for makes no sense, the name is in use, no addresses are left.
    pub async fn create(&self, new: NewNetwork) -> Result<Network, NetworkError> {
        let inner = Arc::clone(&self.inner);
        let work = tokio::task::spawn_blocking(move || inner.create(&new));
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Inner {
    fn create(&self, new: &NewNetwork) -> Result<Network, NetworkError> {
        // One at a time: which subnet is free depends on the one before.
        let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        check_name(&new.name)?;
        subnets::check(&new.pools, new.ipv6)?;
        if matches!(new.name.as_str(), "bridge" | "host" | "none" | "default") {
            return Err(NetworkError::Forbidden(format!(
                "operation is not permitted on predefined {} network",
                new.name
            )));
        }
        if self
            .lock()
            .networks
            .values()
            .any(|one| one.name == new.name)
        {
            return Err(NetworkError::NameInUse(new.name.clone()));
        }
        check_driver(new)?;
        let options = Options::read(&new.options)?;
        let id = random_id();
        let interface = match options.bridge_name.clone() {
            Some(name) => name,
            None => format!("br-{}", &id[..12]),
        };
        let known = self.lock().networks.values().cloned().collect::<Vec<_>>();
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let subnets = Subnets::choose(new, &self.config, &known, &interface, &mut route)?;
        let foreign = match route.link(&interface) {
            Ok(link) => link.is_some(),
            Err(source) => {
                let operation = "look for the bridge";
                return Err(NetworkError::Kernel { operation, source });
            }
        };
        drop(route);
        if known
            .iter()
            .filter_map(|one| one.bridge.as_ref())
            .any(|bridge| bridge.interface == interface)
        {
            let text = format!(
                "conflicts with network bridge {interface}: networks have same bridge name"
            );
            return Err(NetworkError::Forbidden(text));
        }
        let network = network(
            new,
            id,
            interface,
            foreign,
            options,
            subnets,
            self.config.mtu,
        );
        self.make(&network)?;
        Ok(network)
    }

    /// Record, link, rules; and all taken back if one fails.
    fn make(&self, network: &Network) -> Result<(), NetworkError> {
        let Some(wanted) = &network.bridge else {
            return Ok(());
        };
        self.db.write(|tx| NETWORKS.put(tx, &network.id, network))?;
        {
            let mut state = self.lock();
            if let Some(addresses) = Addresses::of(network) {
                state.addresses.insert(network.id.clone(), addresses);
            }
            state.networks.insert(network.id.clone(), network.clone());
        }
        let made = {
            let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
            bridge::ensure(wanted, &mut route)
        };
        let made = made.and_then(|index| {
            self.lock().bridges.insert(network.id.clone(), index);
            self.apply_firewall()
        });
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

fn check_name(name: &str) -> Result<(), NetworkError> {
    let mut characters = name.chars();
    let first = characters.next().is_some_and(|c| c.is_ascii_alphanumeric());
    let rest = characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
    if name.trim().is_empty() {
        return Err(NetworkError::Invalid(
            "invalid name: name is empty".to_owned(),
        ));
    }
    // Docker takes any text; one that no command line and no DNS name can hold helps nobody.
    if first && rest {
        return Ok(());
    }
    Err(NetworkError::Invalid(format!(
        "invalid network name {name:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
    )))
}

fn check_driver(new: &NewNetwork) -> Result<(), NetworkError> {
    let single = |name: &str| {
        let text = format!("only one instance of \"{name}\" network is allowed");
        Err(NetworkError::Forbidden(text))
    };
    match new.driver.as_str() {
        "" | "bridge" | "default" => {}
        "host" => return single("host"),
        "null" => return single("null"),
        "macvlan" | "ipvlan" => {
            let text = format!("the network driver {:?}", new.driver);
            return Err(NetworkError::NotSupported(text));
        }
        other => return Err(NetworkError::UnknownDriver(other.to_owned())),
    }
    match new.ipam_driver.as_str() {
        "" | "default" => Ok(()),
        other => Err(NetworkError::UnknownDriver(other.to_owned())),
    }
}

fn network(
    new: &NewNetwork,
    id: String,
    interface: String,
    foreign: bool,
    options: Options,
    subnets: Subnets,
    mtu: u32,
) -> Network {
    let Subnets {
        v4,
        v6,
        chosen,
        chosen6,
    } = subnets;
    let bridge = Bridge {
        interface,
        subnet: v4.subnet,
        gateway: v4.gateway,
        mtu: options.mtu.unwrap_or(mtu),
        icc: options.icc.unwrap_or(true),
        masquerade: options.masquerade.unwrap_or(true) && !new.internal,
        v6: v6.as_ref().map(|v6| Bridge6 {
            subnet: v6.subnet,
            gateway: v6.gateway,
        }),
        internal: new.internal,
        host_binding: options.host_binding,
        link_prefix: options.link_prefix,
        foreign,
    };
    let mut pools = vec![IpamPool {
        subnet: v4.subnet.into(),
        range: v4.range.map(IpNet::V4),
        gateway: Some(v4.gateway.into()),
        auxiliary: addresses(v4.auxiliary),
    }];
    pools.extend(v6.map(|v6| IpamPool {
        subnet: v6.subnet.into(),
        range: v6.range.map(IpNet::V6),
        gateway: Some(v6.gateway.into()),
        auxiliary: addresses(v6.auxiliary),
    }));
    Network {
        id,
        name: new.name.clone(),
        driver: Driver::Bridge,
        created: Timestamp::now().to_string(),
        bridge: Some(bridge),
        options: new.options.clone(),
        labels: new.labels.clone(),
        internal: new.internal,
        attachable: new.attachable,
        ipv6: new.ipv6,
        ipam: Ipam {
            options: new.ipam_options.clone(),
            pools,
            chosen,
            chosen6,
        },
        removing: false,
    }
}

fn addresses<T: Into<IpAddr>>(named: BTreeMap<String, T>) -> BTreeMap<String, IpAddr> {
    let pairs = named.into_iter();
    pairs.map(|(name, ip)| (name, ip.into())).collect()
}
