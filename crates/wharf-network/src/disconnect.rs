//! Disconnecting a container that has ended, or one that runs from one of its networks.

use std::sync::{Arc, PoisonError};

use rustix::io::Errno;
use wharf_netlink::{LinkName, Route, delete_link};
use wharf_records::RecordError;

use crate::connect::{addresses, default_routes, unshare_link};
use crate::error::kernel;
use crate::networks::{Family, Inner};
use crate::reaper::Flows;
use crate::record::{ENDPOINTS, HALF_MADE, endpoint_key};
use crate::sandbox::{Sandbox, inside};
use crate::{EndpointInfo, NetworkError, Networks};

impl Networks {
    /// Gives back all that a container holds: addresses, ports, links. Quick; the slow part goes on behind.
    /// Nothing happens if it is not connected.
    ///
    /// # Errors
    /// If the record cannot be deleted.
    pub async fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let (inner, container) = (Arc::clone(&self.inner), container.to_owned());
        let work = tokio::task::spawn_blocking(move || inner.disconnect(&container));
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// Takes a running container out of one of its networks; its ports and its default route move to another one
    /// if there is one. The container keeps its namespace.
    ///
    /// # Errors
    /// [`NetworkError::NotConnected`]; if links or routes cannot be changed.
    pub async fn leave(&self, container: &str, network_id: &str) -> Result<(), NetworkError> {
        let (inner, container) = (Arc::clone(&self.inner), container.to_owned());
        let network_id = network_id.to_owned();
        let work = tokio::task::spawn_blocking(move || inner.leave(&container, &network_id));
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    /// A running container has another name: it is found by `names` from now on.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub fn rename(
        &self,
        container: &str,
        name: &str,
        names: impl Fn(&EndpointInfo) -> Vec<String>,
    ) -> Result<(), NetworkError> {
        let renamed: Vec<EndpointInfo> = {
            let state = self.inner.lock();
            let endpoints = state.endpoints_of(container);
            let renamed = endpoints.map(|info| EndpointInfo {
                name: name.to_owned(),
                aliases: names(info),
                ..info.clone()
            });
            renamed.collect()
        };
        self.inner.db.write(|tx| {
            renamed
                .iter()
                .try_for_each(|info| ENDPOINTS.put(tx, &endpoint_key(info), info))
        })?;
        let mut state = self.inner.lock();
        for info in renamed {
            let key = (info.container.clone(), info.network_id.clone());
            state.endpoints.insert(key, info);
        }
        Ok(())
    }
}

impl Inner {
    fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let gone: Vec<EndpointInfo> = {
            let mut state = self.lock();
            state.sandboxes.remove(container);
            state.resolvers.remove(container);
            let gone: Vec<_> = state.endpoints_of(container).cloned().collect();
            for info in &gone {
                let key = (container.to_owned(), info.network_id.clone());
                state.endpoints.remove(&key);
            }
            gone
        };
        // Rules first: nothing is sent to an address that may soon be another container's.
        let rules = match gone.iter().any(|info| !info.ports.is_empty()) {
            true => self.apply_firewall(),
            false => Ok(()),
        };
        for info in &gone {
            self.ports_changed(&info.ports, Flows::Datagrams);
            self.give_back(info);
        }
        if gone.is_empty() {
            return rules;
        }
        let deleted = self.db.write(|tx| -> Result<(), RecordError> {
            gone.iter()
                .try_for_each(|info| ENDPOINTS.delete(tx, &endpoint_key(info)).map(drop))
        });
        rules.and(deleted.map_err(Into::into))
    }

    fn leave(&self, container: &str, network_id: &str) -> Result<(), NetworkError> {
        let key = (container.to_owned(), network_id.to_owned());
        let (info, next, sandbox) = {
            let state = self.lock();
            let not_connected =
                || NetworkError::NotConnected(container.to_owned(), network_id.to_owned());
            let info = state.endpoints.get(&key).ok_or_else(not_connected)?;
            let others = state.endpoints_of(container);
            let next = state.best_way(others.filter(|one| one.id != info.id));
            // Ports lead to bridges only.
            let next = next.filter(|next| next.host_interface.is_some() && !info.ports.is_empty());
            let sandbox = state.sandboxes.get(container);
            (info.clone(), next.cloned(), sandbox.cloned())
        };
        let moved = next.map(|next| EndpointInfo {
            ports: info.ports.clone(),
            ..next
        });
        let gone = match &moved {
            Some(_) => EndpointInfo {
                ports: Vec::new(),
                ..info.clone()
            },
            None => info.clone(),
        };
        self.db.write(|tx| -> Result<(), RecordError> {
            if let Some(next) = &moved {
                ENDPOINTS.put(tx, &endpoint_key(next), next)?;
            }
            HALF_MADE.put(tx, &endpoint_key(&gone), &gone)?;
            ENDPOINTS.delete(tx, &endpoint_key(&gone)).map(drop)
        })?;
        {
            let mut state = self.lock();
            state.endpoints.remove(&key);
            if let Some(next) = moved {
                if let Some(served) = state.served.get(container) {
                    served.target.set(addresses(&next));
                }
                let key = (container.to_owned(), next.network_id.clone());
                state.endpoints.insert(key, next);
            }
        }
        if !info.ports.is_empty() {
            self.apply_firewall()?;
            self.ports_changed(&info.ports, Flows::All);
        }
        self.take_back(&gone, sandbox.as_ref())?;
        self.update_default_routes(container)
    }

    /// Takes the link into a running container down, gives back what it had, and forgets it.
    pub(crate) fn take_back(
        &self,
        gone: &EndpointInfo,
        sandbox: Option<&Sandbox>,
    ) -> Result<(), NetworkError> {
        // On `none` there is no link at all.
        let alone = gone.host_interface.is_none() && !gone.interface.is_empty();
        if let Some(sandbox) = sandbox.filter(|_| alone) {
            unshare_link(sandbox, &gone.interface)?;
        }
        self.unplug(gone)?;
        self.db
            .write(|tx| -> Result<_, RecordError> { HALF_MADE.delete(tx, &endpoint_key(gone)) })?;
        Ok(())
    }

    /// Takes the link down now, and gives everything back.
    fn unplug(&self, info: &EndpointInfo) -> Result<(), NetworkError> {
        let mut gone = info.clone();
        if let Some(name) = gone.host_interface.take() {
            let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
            match route.apply(&[delete_link(LinkName::Name(&name))]) {
                Err(error) if !error.is(Errno::NODEV) => {
                    return Err(kernel("take a container's link down")(error));
                }
                _ => {}
            }
        }
        self.give_back(&gone);
        Ok(())
    }

    /// Leads a container's default routes by way of the endpoints that it has now.
    pub(crate) fn update_default_routes(&self, container: &str) -> Result<(), NetworkError> {
        let (sandbox, ways) = {
            let state = self.lock();
            let way = |family| state.way_of(container, family).cloned();
            let ways = [
                (way(Family::V4), [true, false]),
                (way(Family::V6), [false, true]),
            ];
            (state.sandboxes.get(container).cloned(), ways)
        };
        let Some(netns) = sandbox.and_then(|sandbox| sandbox.netns) else {
            return Ok(());
        };
        if ways.iter().all(|(way, _)| way.is_none()) {
            return Ok(());
        }
        inside(&netns, || {
            let mut route = Route::open().map_err(kernel("open a route socket"))?;
            for (info, families) in ways
                .iter()
                .filter_map(|(way, of)| Some((way.as_ref()?, of)))
            {
                let link = route
                    .link(&info.interface)
                    .map_err(kernel("find a container's link"))?;
                // Somebody inside the container took it away or gave it another name.
                let Some(link) = link else { continue };
                route
                    .apply(&default_routes(info, link.index, *families))
                    .map_err(kernel("change a container's default route"))?;
            }
            Ok(())
        })
    }

    /// Undoes a connection that failed halfway; `running` is the namespace of a container that had one before.
    pub(crate) fn forget(&self, info: &EndpointInfo, running: Option<&Sandbox>) {
        {
            let mut state = self.lock();
            let key = (info.container.clone(), info.network_id.clone());
            state.endpoints.remove(&key);
            if running.is_none() {
                state.sandboxes.remove(&info.container);
                state.resolvers.remove(&info.container);
            }
        }
        let warn = |what: &str, outcome: Result<(), NetworkError>| {
            if let Err(error) = outcome {
                tracing::warn!(error = &error as &dyn std::error::Error, "{what}");
            }
        };
        if !info.ports.is_empty() {
            warn("take rules back", self.apply_firewall());
        }
        let deleted = self.db.write(|tx| -> Result<(), RecordError> {
            ENDPOINTS.delete(tx, &endpoint_key(info)).map(drop)
        });
        warn("take a record back", deleted.map_err(Into::into));
        match running {
            None => self.give_back(info),
            Some(sandbox) => {
                warn("take a link back", self.take_back(info, Some(sandbox)));
                warn(
                    "lead outside again",
                    self.update_default_routes(&info.container),
                );
            }
        }
    }
}
