//! The networks of one daemon: what is there, and how it is found.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wharf_netlink::{Nftables, Route};
use wharf_records::{Db, RecordError};

use crate::dns::Resolver;
use crate::error::kernel;
use crate::firewall::Ruleset;
use crate::ipam6::Pool6;
use crate::pool::Pool;
use crate::ports::Allocator;
use crate::proxy::{Served, Target};
use crate::reaper::{self, Job};
use crate::record::{ENDPOINTS, NETWORKS, endpoint_key, random_id};
use crate::sandbox::Sandbox;
use crate::{
    Bridge, Config, Driver, EndpointInfo, Ipam, IpamPool, Network, NetworkError, bridge, ipam,
};

/// All networks. Clones share them.
#[derive(Clone)]
pub struct Networks {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) db: Db,
    /// Where the proxies run.
    pub(crate) runtime: Handle,
    pub(crate) pool: Pool,
    pub(crate) reaper: Sender<Job>,
    /// Socket to the host's links.
    pub(crate) route: Mutex<Route>,
    /// Held over making a ruleset from the state and committing it, so that a newer one is never overtaken.
    pub(crate) nftables: Mutex<Nftables>,
    /// Held over making and removing a network. Never taken while another of these locks is held.
    pub(crate) changes: Mutex<()>,
    state: Mutex<State>,
}

/// What is known in memory; networks and endpoints are as in the records.
pub(crate) struct State {
    pub(crate) networks: BTreeMap<String, Network>,
    /// By container id and network id; one that is being connected is here already.
    pub(crate) endpoints: BTreeMap<(String, String), EndpointInfo>,
    /// Namespaces by container id.
    pub(crate) sandboxes: HashMap<String, Sandbox>,
    /// Resolvers by container id.
    pub(crate) resolvers: HashMap<String, Resolver>,
    /// Addresses by network id.
    pub(crate) addresses: HashMap<String, Addresses>,
    /// Index of the Linux bridge by network id.
    pub(crate) bridges: HashMap<String, u32>,
    pub(crate) ports: Allocator,
    /// Sockets by container id.
    pub(crate) served: HashMap<String, ServedPorts>,
}

/// The published ports of one container.
pub(crate) struct ServedPorts {
    /// Where they lead.
    pub(crate) target: Target,
    /// The sockets; they close with this.
    pub(crate) _sockets: Vec<Served>,
}

/// Addresses of one network.
pub(crate) struct Addresses {
    pub(crate) v4: ipam::Pool,
    pub(crate) v6: Option<Pool6>,
}

impl Addresses {
    /// The addresses of a network in which only what is reserved is taken; `None` if it has none.
    pub(crate) fn of(network: &Network) -> Option<Self> {
        let bridge = network.bridge.as_ref()?;
        let pools = || network.ipam.pools.iter();
        let reserved = || pools().flat_map(|pool| pool.auxiliary.values().copied());
        let four = |ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        };
        let six = |ip| match ip {
            IpAddr::V6(ip) => Some(ip),
            IpAddr::V4(_) => None,
        };
        let range = pools().find_map(|pool| match pool.range {
            Some(IpNet::V4(net)) => Some(net),
            _ => None,
        });
        let range6 = pools().find_map(|pool| match pool.range {
            Some(IpNet::V6(net)) => Some(net),
            _ => None,
        });
        let v4 = ipam::Pool::with_range(
            bridge.subnet,
            range,
            reserved().filter_map(four).chain([bridge.gateway]),
        );
        let v6 = bridge.v6.map(|v6| {
            let reserved = reserved().filter_map(six).chain([v6.gateway]);
            Pool6::new(v6.subnet, range6, reserved)
        });
        Some(Self { v4, v6 })
    }
}

impl State {
    /// Gives the addresses of an endpoint back.
    pub(crate) fn release_addresses(
        &mut self,
        network: &str,
        ip: Option<Ipv4Addr>,
        ip6: Option<Ipv6Addr>,
    ) {
        let Some(pools) = self.addresses.get_mut(network) else {
            return;
        };
        if let Some(ip) = ip {
            pools.v4.release(ip);
        }
        if let (Some(pool), Some(ip)) = (&mut pools.v6, ip6) {
            pool.release(ip);
        }
    }

    /// The endpoints of one container.
    pub(crate) fn endpoints_of<'a>(
        &'a self,
        container: &str,
    ) -> impl Iterator<Item = &'a EndpointInfo> + use<'a> {
        let container = container.to_owned();
        self.endpoints
            .range((container.clone(), String::new())..)
            .take_while(move |((id, _), _)| *id == container)
            .map(|(_, info)| info)
    }

    /// The endpoint that leads outside: of the highest priority, then not internal, then the first by its
    /// network's name (moby `libnetwork`, `(*Endpoint).Less`).
    pub(crate) fn way_out(&self, container: &str) -> Option<&EndpointInfo> {
        let candidates = self
            .endpoints_of(container)
            .filter(|one| one.address.is_some() && !one.internal);
        candidates.min_by_key(|one| {
            (
                std::cmp::Reverse(one.gateway_priority),
                one.network_name.clone(),
            )
        })
    }
}

impl Networks {
    /// Opens the networks of the records in `db`, and makes `bridge`, `host` and `none` on the first start.
    /// Touches no link, rule or socket until [`Networks::restore`]. Must run within a tokio runtime.
    ///
    /// # Errors
    /// If the records cannot be read or written, or `--bip` is no host address.
    pub fn open(db: Db, config: Config) -> Result<Self, NetworkError> {
        let mut route = Route::open().map_err(kernel("open a route socket"))?;
        let nftables = Nftables::open().map_err(kernel("open an nftables socket"))?;
        let (networks, endpoints) = db
            .read(|tx| -> Result<_, RecordError> { Ok((NETWORKS.all(tx)?, ENDPOINTS.all(tx)?)) })?;
        let mut networks: BTreeMap<_, _> = networks.into_iter().collect();
        // Records of an early version have another key.
        db.write(|tx| -> Result<(), RecordError> {
            for (key, info) in endpoints.iter().filter(|(key, _)| !key.contains('/')) {
                ENDPOINTS.delete(tx, key)?;
                ENDPOINTS.put(tx, &endpoint_key(info), info)?;
            }
            Ok(())
        })?;
        for network in built_in(&networks, &config, &mut route)? {
            networks.insert(network.id.clone(), network);
        }
        db.write(|tx| {
            networks
                .iter()
                .try_for_each(|(id, network)| NETWORKS.put(tx, id, network))
        })?;
        let addresses = networks
            .values()
            .filter_map(|network| Some((network.id.clone(), Addresses::of(network)?)));
        let of = |info: EndpointInfo| ((info.container.clone(), info.network_id.clone()), info);
        let state = State {
            addresses: addresses.collect(),
            networks,
            endpoints: endpoints.into_iter().map(|(_, info)| of(info)).collect(),
            sandboxes: HashMap::new(),
            resolvers: HashMap::new(),
            bridges: HashMap::new(),
            ports: Allocator::default(),
            served: HashMap::new(),
        };
        let (reaper, jobs) = reaper::start();
        let inner = Arc::new(Inner {
            pool: Pool::new(config.ready_namespaces, config.mtu),
            config,
            db,
            runtime: Handle::current(),
            reaper,
            route: Mutex::new(route),
            nftables: Mutex::new(nftables),
            changes: Mutex::new(()),
            state: Mutex::new(state),
        });
        reaper::run(jobs, &inner).map_err(NetworkError::Namespace)?;
        Ok(Self { inner })
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Network> {
        let state = self.inner.lock();
        let there = state.networks.values().filter(|one| !one.removing);
        let mut networks: Vec<_> = there.cloned().collect();
        drop(state);
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        networks
    }

    /// The network with that name, id, or unique beginning of an id. `default` is another name of `bridge`.
    ///
    /// # Errors
    /// [`NetworkError::NotFound`], [`NetworkError::Ambiguous`].
    pub fn get(&self, name_or_id: &str) -> Result<Network, NetworkError> {
        let name = if name_or_id == "default" {
            "bridge"
        } else {
            name_or_id
        };
        let state = self.inner.lock();
        let there = || state.networks.values().filter(|one| !one.removing);
        // A full id, a name, a beginning of an id, in this order.
        let exact = there()
            .find(|n| n.id == name)
            .or_else(|| there().find(|n| n.name == name));
        if let Some(network) = exact {
            return Ok(network.clone());
        }
        let found: Vec<_> = there().filter(|n| n.id.starts_with(name)).collect();
        match found.as_slice() {
            [network] if !name.is_empty() => Ok((*network).clone()),
            [_, _, ..] if !name.is_empty() => {
                Err(NetworkError::Ambiguous(name.to_owned(), found.len()))
            }
            _ => Err(NetworkError::NotFound(name.to_owned())),
        }
    }

    /// The connected endpoints of the network with id `network_id`.
    pub fn endpoints(&self, network_id: &str) -> Vec<EndpointInfo> {
        let state = self.inner.lock();
        let of_network = state
            .endpoints
            .values()
            .filter(|e| e.network_id == network_id);
        of_network.cloned().collect()
    }

    /// The endpoints of a container, while it is connected.
    pub fn endpoints_of(&self, container: &str) -> Vec<EndpointInfo> {
        self.inner.lock().endpoints_of(container).cloned().collect()
    }

    /// Addresses of a network by subnet: how many are in use or reserved, and how many are left to be given out.
    pub fn usage(&self, network: &Network) -> Vec<(String, u64, u64)> {
        let state = self.inner.lock();
        let Some(addresses) = state.addresses.get(&network.id) else {
            return Vec::new();
        };
        let (used, left) = addresses.v4.usage();
        let mut all = vec![(addresses.v4.subnet().to_string(), used, left)];
        if let Some(six) = &addresses.v6 {
            let (used, left) = six.usage();
            all.push((six.subnet().to_string(), used, left));
        }
        all
    }

    /// Waits for the part of disconnects that goes on behind, and drops the ready namespaces; before the daemon
    /// ends or in tests. Running containers keep their network.
    pub async fn shutdown(&self) {
        self.inner.pool.stop();
        let (done, finished) = oneshot::channel();
        if self.inner.reaper.send(Job::Flush(done)).is_ok() {
            let _ = finished.await;
        }
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the firewall anew from what is known now.
    pub(crate) fn apply_firewall(&self) -> Result<(), NetworkError> {
        if !self.config.firewall {
            return Ok(());
        }
        let mut nftables = self.nftables.lock().unwrap_or_else(PoisonError::into_inner);
        let ruleset = {
            let state = self.lock();
            Ruleset::of(
                state.networks.values(),
                state.endpoints.values(),
                self.config.userland_proxy,
            )
        };
        nftables
            .commit(&ruleset.batch())
            .map_err(kernel("replace the firewall table"))
    }
}

/// The three networks that are always there: new ones, and the bridge if the settings changed it.
fn built_in(
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
        let bridge = match (driver, old.and_then(|network| network.bridge.clone())) {
            (Driver::Bridge, Some(old)) if config.bip.is_none() => Some(Bridge {
                interface: config.bridge_name.clone(),
                mtu: config.mtu,
                icc: config.icc,
                masquerade: config.ip_masq,
                ..old
            }),
            (Driver::Bridge, _) => Some(bridge::plan(config, route)?),
            _ => None,
        };
        let pools = bridge.iter().count();
        if old.is_none_or(|network| network.bridge != bridge || network.ipam.pools.len() != pools) {
            changed.push(Network {
                id: old.map_or_else(random_id, |network| network.id.clone()),
                name: name.to_owned(),
                driver,
                created: old.map_or_else(
                    || Timestamp::now().to_string(),
                    |network| network.created.clone(),
                ),
                options: bridge
                    .as_ref()
                    .map(|bridge| options(bridge, config))
                    .unwrap_or_default(),
                labels: BTreeMap::new(),
                internal: false,
                attachable: false,
                ipv6: false,
                ipam: Ipam {
                    pools: bridge.iter().map(pool).collect(),
                    ..Ipam::default()
                },
                removing: false,
                bridge,
            });
        }
    }
    Ok(changed)
}

fn pool(bridge: &Bridge) -> IpamPool {
    IpamPool {
        subnet: bridge.subnet.into(),
        range: None,
        gateway: Some(bridge.gateway.into()),
        auxiliary: BTreeMap::new(),
    }
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
