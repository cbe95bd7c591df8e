//! The networks of one daemon: what is there, and how it is found.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use wharf_netlink::{Nftables, Route};
use wharf_records::{Db, RecordError};

use crate::error::kernel;
use crate::firewall::Ruleset;
use crate::pool::Pool;
use crate::ports::Allocator;
use crate::proxy::Served;
use crate::reaper::{self, Job};
use crate::record::{ENDPOINTS, NETWORKS, random_id};
use crate::{Bridge, Config, Driver, EndpointInfo, Network, NetworkError, bridge, ipam};

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
    state: Mutex<State>,
}

/// What is known in memory; networks and endpoints are as in the records.
pub(crate) struct State {
    pub(crate) networks: BTreeMap<String, Network>,
    /// By container id.
    pub(crate) endpoints: BTreeMap<String, EndpointInfo>,
    /// Addresses by network id.
    pub(crate) addresses: HashMap<String, ipam::Pool>,
    /// Index of the Linux bridge by network id.
    pub(crate) bridges: HashMap<String, u32>,
    pub(crate) ports: Allocator,
    /// Sockets by container id.
    pub(crate) served: HashMap<String, Vec<Served>>,
}

impl State {
    /// Gives an address back.
    pub(crate) fn release_address(&mut self, network: &str, ip: Ipv4Addr) {
        if let Some(pool) = self.addresses.get_mut(network) {
            pool.release(ip);
        }
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
        for network in built_in(&networks, &config, &mut route)? {
            networks.insert(network.id.clone(), network);
        }
        db.write(|tx| {
            networks
                .iter()
                .try_for_each(|(id, network)| NETWORKS.put(tx, id, network))
        })?;
        let addresses = networks.values().filter_map(|network| {
            let bridge = network.bridge.as_ref()?;
            Some((
                network.id.clone(),
                ipam::Pool::new(bridge.subnet, bridge.gateway),
            ))
        });
        let state = State {
            addresses: addresses.collect(),
            networks,
            endpoints: endpoints.into_iter().collect(),
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
            state: Mutex::new(state),
        });
        reaper::run(jobs, &inner).map_err(NetworkError::Namespace)?;
        Ok(Self { inner })
    }

    /// All networks, by name.
    pub fn list(&self) -> Vec<Network> {
        let mut networks: Vec<_> = self.inner.lock().networks.values().cloned().collect();
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
        let exact = state
            .networks
            .values()
            .find(|n| n.name == name || n.id == name);
        if let Some(network) = exact {
            return Ok(network.clone());
        }
        let found: Vec<_> = state
            .networks
            .values()
            .filter(|n| n.id.starts_with(name))
            .collect();
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

    /// The endpoint of a container, while it is connected.
    pub fn endpoint(&self, container: &str) -> Option<EndpointInfo> {
        self.inner.lock().endpoints.get(container).cloned()
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
        if old.is_none_or(|network| network.bridge != bridge) {
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
                bridge,
            });
        }
    }
    Ok(changed)
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
