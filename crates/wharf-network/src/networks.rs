//! The networks of one daemon: what is there, and how it is found.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wharf_netlink::Route;
use wharf_records::{Db, RecordError};

use crate::dns::Resolver;
use crate::error::kernel;
use crate::firewall::{Ruleset, Table};
use crate::ipam::AddressPool;
use crate::ipam6::Pool6;
use crate::pool::{NamespaceMaker, Pool};
use crate::ports::Allocator;
use crate::proxy::{Served, Target};
use crate::reaper::{self, Job, LinkTeardown};
use crate::record::{ENDPOINTS, NETWORKS, endpoint_key};
use crate::sandbox::Sandbox;
use crate::{Config, EndpointInfo, Network, NetworkError, built_in, ipam};

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
    pub(crate) table: Mutex<Table>,
    /// Held over making and removing a network. Never taken while another of these locks is held.
    pub(crate) changes: Mutex<()>,
    /// What name servers of others answered.
    pub(crate) names: crate::dns::Cache,
    /// firewalld, if it runs.
    pub(crate) firewalld: crate::firewalld::Known,
    /// What others change is watched.
    pub(crate) watched: AtomicBool,
    state: Mutex<State>,
}

/// What is known in memory; networks and endpoints are as in the records.
pub(crate) struct State {
    pub(crate) networks: BTreeMap<String, Network>,
    /// By container id and network id; one that is being connected is here already.
    pub(crate) endpoints: BTreeMap<(String, String), EndpointInfo>,
    /// Namespaces by container id.
    pub(crate) sandboxes: HashMap<String, Sandbox>,
    /// Links that are being taken down, by container id and network id.
    pub(crate) going: HashMap<(String, String), Arc<Mutex<Option<LinkTeardown>>>>,
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
    pub(crate) sockets: Vec<Served>,
}

/// Addresses of one network, by subnet.
pub(crate) struct Addresses {
    pub(crate) v4: Vec<Subnet<ipam::Pool, Ipv4Addr>>,
    pub(crate) v6: Vec<Subnet<Pool6, Ipv6Addr>>,
}

/// The addresses of one subnet.
pub(crate) struct Subnet<P, A> {
    pub(crate) pool: P,
    /// The host, or whoever leads outside.
    pub(crate) gateway: Option<A>,
}

impl Addresses {
    /// The addresses of a network in which only what is reserved is taken; `None` if it has none.
    pub(crate) fn of(network: &Network) -> Option<Self> {
        if !network.has_addresses() {
            return None;
        }
        let mut addresses = Self {
            v4: Vec::new(),
            v6: Vec::new(),
        };
        for pool in &network.ipam.pools {
            let reserved = pool.auxiliary.values().copied().chain(pool.gateway);
            match pool.subnet {
                IpNet::V4(subnet) => addresses.v4.push(Subnet {
                    pool: ipam::Pool::with_range(
                        subnet,
                        pool.range.and_then(four_net),
                        reserved.filter_map(four),
                    ),
                    gateway: pool.gateway.and_then(four),
                }),
                IpNet::V6(subnet) => addresses.v6.push(Subnet {
                    pool: Pool6::new(
                        subnet,
                        pool.range.and_then(six_net),
                        reserved.filter_map(six),
                    ),
                    gateway: pool.gateway.and_then(six),
                }),
            }
        }
        Some(addresses)
    }
}

pub(crate) fn four(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

pub(crate) fn six(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

fn four_net(net: IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(net),
        IpNet::V6(_) => None,
    }
}

fn six_net(net: IpNet) -> Option<Ipv6Net> {
    match net {
        IpNet::V6(net) => Some(net),
        IpNet::V4(_) => None,
    }
}

fn release_one<P: AddressPool>(subnets: &mut [Subnet<P, P::Ip>], ip: Option<P::Ip>) {
    let Some(ip) = ip else { return };
    if let Some(one) = subnets.iter_mut().find(|one| one.pool.contains(ip)) {
        one.pool.release(ip);
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
        release_one(&mut pools.v4, ip);
        release_one(&mut pools.v6, ip6);
    }

    /// The endpoints of one container.
    pub(crate) fn endpoints_of<'a>(
        &'a self,
        container: &str,
    ) -> impl Iterator<Item = &'a EndpointInfo> + Clone + use<'a> {
        let container = container.to_owned();
        self.endpoints
            .range((container.clone(), String::new())..)
            .take_while(move |((id, _), _)| *id == container)
            .map(|(_, info)| info)
    }

    /// The endpoint that leads outside: of the highest priority, then the first by its network's name (moby
    /// `libnetwork`, `(*Endpoint).Less`). IPv4 counts; where no network has a way out by IPv4, IPv6.
    pub(crate) fn way_out(&self, container: &str) -> Option<&EndpointInfo> {
        self.best_way(self.endpoints_of(container))
    }

    /// As [`State::way_out`], of these endpoints.
    pub(crate) fn best_way<'a>(
        &self,
        endpoints: impl Iterator<Item = &'a EndpointInfo> + Clone,
    ) -> Option<&'a EndpointInfo> {
        let best = |family: Family| {
            let candidates = endpoints.clone().filter(|one| family.leads_out(one));
            candidates.min_by_key(|one| rank(one))
        };
        best(Family::V4).or_else(|| best(Family::V6))
    }

    /// The endpoint that leads outside by one family.
    pub(crate) fn way_of(&self, container: &str, family: Family) -> Option<&EndpointInfo> {
        let candidates = self
            .endpoints_of(container)
            .filter(|one| family.leads_out(one));
        candidates.min_by_key(|one| rank(one))
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Whether an endpoint has a way to the outside by this family.
    pub(crate) fn leads_out(self, info: &EndpointInfo) -> bool {
        let has = match self {
            Self::V4 => info
                .address
                .is_some_and(|one| one.gateway.is_some() || info.routerless),
            Self::V6 => info
                .address6
                .is_some_and(|one| one.gateway.is_some() || info.routerless),
        };
        has && !info.internal
    }
}

/// The order in which a container's endpoints are its way outside.
pub(crate) fn rank(info: &EndpointInfo) -> (std::cmp::Reverse<i64>, String) {
    let name = info.network_name.clone();
    (std::cmp::Reverse(info.gateway_priority), name)
}

impl Networks {
    /// Opens the networks of the records in `db`, and makes `bridge`, `host` and `none` on the first start.
    /// Touches no link, rule or socket until [`Networks::restore`]. Must run within a tokio runtime.
    ///
    /// # Errors
    /// If the records cannot be read or written, or `--bip` is no host address.
    pub fn open(db: Db, config: Config) -> Result<Self, NetworkError> {
        Self::open_with(db, config, None)
    }

    /// As [`Networks::open`]; `maker` makes the namespaces of containers that are in user namespaces of their own.
    ///
    /// # Errors
    /// As [`Networks::open`].
    pub fn open_with(
        db: Db,
        config: Config,
        maker: Option<NamespaceMaker>,
    ) -> Result<Self, NetworkError> {
        let mut route = Route::open().map_err(kernel("open a route socket"))?;
        let table = Table::open().map_err(kernel("open an nftables socket"))?;
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
        for network in built_in::changed(&networks, &config, &mut route)? {
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
            going: HashMap::new(),
            resolvers: HashMap::new(),
            bridges: HashMap::new(),
            ports: Allocator::default(),
            served: HashMap::new(),
        };
        let (reaper, jobs) = reaper::start();
        let inner = Arc::new(Inner {
            pool: Pool::new(config.ready_namespaces, config.mtu, maker),
            config,
            db,
            runtime: Handle::current(),
            reaper,
            route: Mutex::new(route),
            table: Mutex::new(table),
            changes: Mutex::new(()),
            names: crate::dns::Cache::default(),
            firewalld: crate::firewalld::Known::default(),
            watched: AtomicBool::new(false),
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
        let four = addresses.v4.iter().map(|one| one.pool.usage());
        let six = addresses.v6.iter().map(|one| one.pool.usage());
        four.chain(six).collect()
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
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let ruleset = {
            let state = self.lock();
            Ruleset::of(
                state.networks.values(),
                state.endpoints.values(),
                &self.config.publishing(),
            )
        };
        table
            .replace(ruleset)
            .map_err(kernel("replace the firewall table"))
    }
}
