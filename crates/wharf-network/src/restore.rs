//! The kernel's state from the records: after a start of the daemon, and to repair.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread;

use wharf_records::RecordError;

use crate::ipam::AddressPool as _;
use crate::networks::Inner;
use crate::record::{ENDPOINTS, HALF_MADE, endpoint_key, random_id};
use crate::sandbox::Sandbox;
use crate::{
    EndpointInfo, LiveContainer, Network, NetworkError, Networks, dns, firewalld, repair, sysctl,
};

impl Networks {
    /// Makes the kernel's state from the records: bridges, firewall, host sockets of the containers in `live`;
    /// endpoints of containers that are not in it are dropped. Called once, after `open`; also repairs.
    ///
    /// # Errors
    /// If a bridge or the firewall cannot be made. A port of a running container that cannot be bound again is
    /// logged, not an error.
    pub async fn restore(&self, live: &[LiveContainer]) -> Result<(), NetworkError> {
        let (inner, live) = (Arc::clone(&self.inner), live.to_vec());
        let work = tokio::task::spawn_blocking(move || {
            let removed = inner.restore(&live)?;
            // Once: a later call of this is a repair.
            let first = !inner.watched.swap(true, Ordering::Relaxed);
            if first {
                repair::start(&inner)?;
            }
            serve_names(&inner, &live);
            // Last: firewalld takes its time, and containers that run wait for their names.
            if first {
                firewalld::start(&inner)?;
                removed.iter().for_each(|network| inner.dismiss(network));
            }
            Ok::<(), NetworkError>(())
        });
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?;
        for obstacle in self.obstacles() {
            tracing::warn!(%obstacle, "another firewall stands in the way of containers");
        }
        Ok(())
    }
}

/// Resolves names for running containers, many at once: the kernel takes its time to change a namespace's rules, and none
/// of the processor's.
fn serve_names(inner: &Arc<Inner>, live: &[LiveContainer]) {
    const AT_ONCE: usize = 16;
    let next = AtomicUsize::new(0);
    let serve = || {
        while let Some(container) = live.get(next.fetch_add(1, Ordering::Relaxed)) {
            let served = dns::serve_names(inner, &container.id, container.dns.clone());
            if let Err(error) = served {
                let (error, container) = (&error as &dyn std::error::Error, &container.id);
                tracing::warn!(error, container, "its name resolution is lost");
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(live.len()) {
            // Without another thread this one does it all.
            let small = thread::Builder::new().stack_size(128 * 1024);
            if small.spawn_scoped(scope, serve).is_err() {
                break;
            }
        }
        serve();
    });
}

impl Inner {
    /// The answer are the networks whose removal was interrupted: they are gone now.
    fn restore(&self, live: &[LiveContainer]) -> Result<Vec<Network>, NetworkError> {
        if self.config.ip_forward {
            sysctl::set("net/ipv4/ip_forward", "1")?;
        }
        let removed = self.finish_removals()?;
        self.restore_bridges()?;
        self.take_addresses();
        self.find_sandboxes(live);
        // A repair meets none but those that are being made.
        if !self.watched.load(Ordering::Relaxed) {
            self.drop_half_made()?;
        }
        self.drop_dead(live)?;
        let endpoints: Vec<_> = self.lock().endpoints.values().cloned().collect();
        for endpoint in &endpoints {
            self.restore_endpoint(endpoint);
        }
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.forget();
        drop(table);
        self.apply_firewall()?;
        self.pool.start()?;
        Ok(removed)
    }

    /// Networks whose removal was interrupted.
    fn finish_removals(&self) -> Result<Vec<Network>, NetworkError> {
        let half: Vec<_> = {
            let state = self.lock();
            let half = state.networks.values().filter(|network| network.removing);
            half.cloned().collect()
        };
        half.iter()
            .try_for_each(|network| self.remove_network(network))?;
        Ok(half)
    }

    /// Opens the namespaces of running containers, for what is connected later.
    fn find_sandboxes(&self, live: &[LiveContainer]) {
        for container in live {
            let id = {
                let state = self.lock();
                if state.sandboxes.contains_key(&container.id) {
                    continue;
                }
                let known = state.endpoints_of(&container.id).next();
                known.map_or_else(random_id, |info| info.sandbox.clone())
            };
            let found = match container.shared {
                true => Ok(Sandbox { id, netns: None }),
                false => Sandbox::of_process(id, container.pid),
            };
            match found {
                Ok(sandbox) => {
                    let mut state = self.lock();
                    state.sandboxes.insert(container.id.clone(), sandbox);
                }
                // It ended just now, and we shall hear of it.
                Err(error) => {
                    let (error, container) = (&error as &dyn std::error::Error, &container.id);
                    tracing::warn!(error, container, "a container's namespace is lost");
                }
            }
        }
    }

    fn restore_bridges(&self) -> Result<(), NetworkError> {
        let networks: Vec<_> = self.lock().networks.values().cloned().collect();
        for network in networks {
            match self.ensure_link(&network) {
                Err(error) if network.parent.is_some() => {
                    // A link of the host that is not there now may come back: its containers wait for it.
                    let (error, network) = (&error as &dyn std::error::Error, &network.name);
                    tracing::warn!(error, network, "a network's parent link is lost");
                }
                // Without the default one nothing works that does not say otherwise.
                Err(error) if !network.is_built_in() => {
                    let (error, network) = (&error as &dyn std::error::Error, &network.name);
                    tracing::error!(error, network, "a network's bridge is lost");
                }
                made => drop(made?),
            }
        }
        Ok(())
    }

    /// Takes the addresses of all endpoints, dead ones too: theirs are free when their links are gone.
    fn take_addresses(&self) {
        let mut state = self.lock();
        let crate::networks::State {
            endpoints,
            addresses,
            ..
        } = &mut *state;
        for endpoint in endpoints.values() {
            let Some(pools) = addresses.get_mut(&endpoint.network_id) else {
                continue;
            };
            if let Some(address) = endpoint.address {
                // A subnet knows its own.
                pools.v4.iter_mut().any(|one| one.pool.take(address.ip));
            }
            if let Some(address) = endpoint.address6 {
                pools.v6.iter_mut().any(|one| one.pool.take(address.ip));
            }
        }
    }

    /// Takes down links into running containers that a daemon which died was making or taking down.
    fn drop_half_made(&self) -> Result<(), NetworkError> {
        for (_, info) in self.db.read(|tx| HALF_MADE.all(tx))? {
            let sandbox = self.lock().sandboxes.get(&info.container).cloned();
            // Its addresses and ports are nobody's: none of them was taken again.
            let bare = EndpointInfo {
                address: None,
                address6: None,
                ports: Vec::new(),
                ..info
            };
            self.take_back(&bare, sandbox.as_ref())?;
            self.update_default_routes(&bare.container)?;
        }
        Ok(())
    }

    /// Forgets endpoints of containers that ended while no daemon ran.
    fn drop_dead(&self, live: &[LiveContainer]) -> Result<(), NetworkError> {
        let live: HashSet<&str> = live.iter().map(|container| container.id.as_str()).collect();
        let dead: Vec<EndpointInfo> = {
            let mut state = self.lock();
            let (kept, dead) = std::mem::take(&mut state.endpoints)
                .into_iter()
                .partition(|((container, _), _)| live.contains(container.as_str()));
            state.endpoints = kept;
            dead.into_values().collect()
        };
        for endpoint in &dead {
            self.give_back(endpoint);
        }
        self.db.write(|tx| -> Result<(), RecordError> {
            dead.iter()
                .try_for_each(|e| ENDPOINTS.delete(tx, &endpoint_key(e)).map(drop))
        })?;
        Ok(())
    }

    /// Puts a running container's link on its bridge again, where it is no port any more.
    pub(crate) fn restore_link(&self, endpoint: &EndpointInfo) {
        let (master, bridge) = {
            let state = self.lock();
            let network = state.networks.get(&endpoint.network_id);
            let bridge = network.and_then(|network| network.bridge.clone());
            (state.bridges.get(&endpoint.network_id).copied(), bridge)
        };
        let link = endpoint.host_interface.as_deref();
        let ((Some(name), Some(master)), Some(bridge)) = ((link, master), bridge) else {
            return;
        };
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match route.link(name) {
            Ok(Some(link)) if link.master == Some(master) && link.up => return,
            Ok(Some(link)) => Ok(link.index),
            Ok(None) => Err(None),
            Err(error) => Err(Some(error)),
        };
        let made = index.and_then(|index| {
            let requests = self.port_of(index, &bridge, master);
            route.apply(&requests).map_err(Some)
        });
        if let Err(error) = made {
            let container = &endpoint.name;
            let error = error.as_ref().map(|error| error as &dyn std::error::Error);
            tracing::warn!(error, container, "a container's link is lost");
        }
    }

    /// Binds the ports of a running container again.
    fn restore_endpoint(&self, endpoint: &EndpointInfo) {
        self.restore_link(endpoint);
        let mut state = self.lock();
        // A repair: they are held already.
        if state.served.contains_key(&endpoint.container) {
            return;
        }
        let mut held = Vec::new();
        // Those without a host port are open at the container's own address.
        for port in endpoint.ports.iter().filter(|port| port.host_port != 0) {
            match state.ports.restore(port) {
                Ok(one) => held.push(one),
                Err(error) => {
                    let name = &endpoint.name;
                    tracing::warn!(%error, container = name, ?port, "a published port is lost");
                }
            }
        }
        drop(state);
        if let Err(error) = self.serve(endpoint, held) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "serve published ports"
            );
        }
    }
}
