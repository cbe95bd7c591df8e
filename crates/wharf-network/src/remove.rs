//! Removing a network. Its record says so first; a daemon that dies in between finishes it on its next start.

use std::sync::{Arc, PoisonError};

use rustix::io::Errno;
use wharf_netlink::{LinkName, delete_link};
use wharf_records::RecordError;

use crate::error::kernel;
use crate::networks::Inner;
use crate::record::NETWORKS;
use crate::{Network, NetworkError, Networks};

impl Networks {
    /// Removes the network `name_or_id`, which no container may be connected to.
    ///
    /// # Errors
    /// [`NetworkError::NotFound`], [`NetworkError::InUse`], or that it is one of those that are always there.
    pub async fn remove(&self, name_or_id: &str) -> Result<Network, NetworkError> {
        let network = self.get(name_or_id)?;
        let inner = Arc::clone(&self.inner);
        let work = tokio::task::spawn_blocking(move || {
            let removed = inner.remove(network.clone());
            // Also if only the rules or the record would not go: its bridge has. Whoever removes another network does not
            // wait for firewalld.
            if !inner.lock().networks.contains_key(&network.id) {
                inner.dismiss(&network);
            }
            removed
        });
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Inner {
    fn remove(&self, mut network: Network) -> Result<Network, NetworkError> {
        let _turn = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if network.is_built_in() {
            let text = format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            );
            return Err(NetworkError::Forbidden(text));
        }
        {
            let mut state = self.lock();
            let described = |one: &Network| one.config_from == network.name;
            if network.config_only && state.networks.values().any(described) {
                return Err(NetworkError::Forbidden(format!(
                    "error while removing network: configuration network {:?} is in use",
                    network.name
                )));
            }
            if state
                .endpoints
                .values()
                .any(|one| one.network_id == network.id)
            {
                let Network { name, id, .. } = network;
                return Err(NetworkError::InUse { name, id });
            }
            // From here on nobody can connect.
            let known = state.networks.get_mut(&network.id);
            let known = known.filter(|known| !known.removing);
            known
                .ok_or_else(|| NetworkError::NotFound(network.name.clone()))?
                .removing = true;
        }
        network.removing = true;
        let written = self.db.write(|tx| NETWORKS.put(tx, &network.id, &network));
        if let Err(error) = written {
            if let Some(known) = self.lock().networks.get_mut(&network.id) {
                known.removing = false;
            }
            return Err(error.into());
        }
        self.remove_network(&network)?;
        Ok(network)
    }

    /// Takes down what a network is made of, then its record.
    pub(crate) fn remove_network(&self, network: &Network) -> Result<(), NetworkError> {
        {
            let mut state = self.lock();
            state.networks.remove(&network.id);
            state.addresses.remove(&network.id);
            state.bridges.remove(&network.id);
        }
        let rules = self.apply_firewall();
        if let Some(parent) = &network.parent {
            let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
            // Another network may use it meanwhile.
            let shared = self.lock().networks.values().any(|one| {
                let other = one.parent.as_ref();
                other.is_some_and(|other| other.interface == parent.interface)
            });
            if !shared {
                parent.remove(&mut route)?;
            }
        }
        if let Some(bridge) = network.bridge.as_ref().filter(|bridge| !bridge.foreign) {
            let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
            match route.apply(&[delete_link(LinkName::Name(&bridge.interface))]) {
                Err(error) if !error.is(Errno::NODEV) => {
                    return Err(kernel("take the bridge down")(error));
                }
                _ => {}
            }
        }
        self.db
            .write(|tx| -> Result<_, RecordError> { NETWORKS.delete(tx, &network.id) })?;
        rules
    }
}
