//! Networks as the engine's users see them: told of containers, with Docker's events.

use std::collections::BTreeMap;

use wharf_network::{EndpointInfo, Network, Networks, NewNetwork};

use crate::supervisor::Command;
use crate::{
    Containers, EndpointSettings, EngineError, EventKind, Events, Filters, PruneReport,
    PruneWatcher,
};

/// Networks, with the containers in them and events about them.
#[derive(Clone)]
pub struct NetworkService {
    pub(crate) store: Networks,
    pub(crate) containers: Containers,
    pub(crate) events: Events,
}

impl NetworkService {
    /// Makes a network.
    ///
    /// # Errors
    /// Those of the store, in dockerd's words.
    pub async fn create(&self, new: NewNetwork) -> Result<Network, EngineError> {
        let network = self.store.create(new).await?;
        self.emit("create", &network);
        Ok(network)
    }

    /// The network that `text` means: a full id, a name, a unique beginning of an id.
    ///
    /// # Errors
    /// If there is none.
    pub fn inspect(&self, text: &str) -> Result<Network, EngineError> {
        Ok(self.store.get(text)?)
    }

    /// The endpoints in a network.
    pub fn endpoints(&self, network: &Network) -> Vec<EndpointInfo> {
        self.store.endpoints(&network.id)
    }

    /// Addresses of a network by subnet: how many are in use, how many are left to be given out.
    pub fn usage(&self, network: &Network) -> Vec<(String, u64, u64)> {
        self.store.usage(network)
    }

    /// Networks that fit the filters.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub fn list(&self, filters: &Filters) -> Result<Vec<Network>, EngineError> {
        filters.check(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
        let dangling = dangling(filters)?;
        if let Some(kind) = filters
            .values("type")
            .find(|kind| !matches!(*kind, "builtin" | "custom"))
        {
            let text = format!("invalid filter: 'type'='{kind}'");
            return Err(EngineError::Invalid(text));
        }
        let (name, id) = (filters.patterns("name"), filters.patterns("id"));
        let wanted = |network: &Network| {
            let built_in = network.is_built_in();
            // The built-in ones never count as unused.
            let unused = || !built_in && self.endpoints(network).is_empty();
            filters.any("driver", |driver| network.driver.to_string() == driver)
                && name.fit(&network.name)
                && id.fit(&network.id)
                && filters.any("scope", |scope| scope == "local")
                && filters.any("type", |kind| (kind == "builtin") == built_in)
                && filters.labels("label", &network.labels)
                && dangling.is_none_or(|dangling| unused() == dangling)
        };
        let mut networks = self.store.list();
        networks.retain(wanted);
        Ok(networks)
    }

    /// Removes a network.
    ///
    /// # Errors
    /// If containers are in it.
    pub async fn remove(&self, text: &str) -> Result<(), EngineError> {
        let network = self.store.remove(text).await?;
        self.emit("destroy", &network);
        Ok(())
    }

    /// Removes the networks that no running container is in. Returns their names.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub async fn prune(
        &self,
        filters: &Filters,
        watcher: &PruneWatcher,
    ) -> Result<PruneReport, EngineError> {
        filters.check(&["label", "label!", "until"])?;
        let until = crate::containers::until(filters)?;
        let mut report = PruneReport::default();
        for network in self.store.list() {
            let labels = &network.labels;
            let wanted = filters.labels("label", labels) && filters.no_labels("label!", labels);
            let created = network.created.parse::<jiff::Timestamp>().ok();
            let old = until.is_none_or(|until| created.is_some_and(|created| created < until));
            if network.is_built_in() || !wanted || !old || !self.endpoints(&network).is_empty() {
                continue;
            }
            // One that came into use in the meantime is simply not pruned.
            if self.remove(&network.id).await.is_ok() {
                watcher.deleted(&network.id);
                report.deleted.push(network.name);
            }
        }
        let reclaimed = [("reclaimed".to_owned(), "0".to_owned())].into();
        self.events.emit(EventKind::Network, "prune", "", reclaimed);
        Ok(report)
    }

    /// Connects a container, running or not.
    ///
    /// # Errors
    /// In dockerd's words.
    pub async fn connect(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<(), EngineError> {
        let entry = self.containers.find(container)?;
        let network = self.store.get(network)?.id;
        let settings = Box::new(settings);
        let command = |reply| Command::Connect {
            network,
            settings,
            reply,
        };
        entry.send(command).await
    }

    /// Disconnects a container, running or not. The network may be gone already; with `force` so may the container.
    ///
    /// # Errors
    /// In dockerd's words.
    pub async fn disconnect(
        &self,
        network: &str,
        container: &str,
        force: bool,
    ) -> Result<(), EngineError> {
        let entry = match self.containers.find(container) {
            Err(EngineError::NoSuchContainer(_)) if force => {
                return self.disconnect_gone(network, container).await;
            }
            found => found?,
        };
        let network = network.to_owned();
        entry
            .send(|reply| Command::Disconnect { network, reply })
            .await
    }

    /// moby `daemon/network.go`, `ForceEndpointDelete`.
    async fn disconnect_gone(&self, network: &str, name: &str) -> Result<(), EngineError> {
        let network = self.store.get(network)?;
        let endpoints = self.store.endpoints(&network.id);
        let of_it = |one: &&EndpointInfo| one.name == name || one.container == name;
        let endpoint = endpoints
            .iter()
            .find(of_it)
            .ok_or_else(|| EngineError::NotFound(format!("endpoint {name} not found")))?;
        Ok(self.store.leave(&endpoint.container, &network.id).await?)
    }

    fn emit(&self, action: &str, network: &Network) {
        let attributes = BTreeMap::from([
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.to_string()),
        ]);
        self.events
            .emit(EventKind::Network, action, &network.id, attributes);
    }
}

/// Whether unused networks are asked for, or those in use (moby `daemon/network`, `FilterNetworks`).
fn dangling(filters: &Filters) -> Result<Option<bool>, EngineError> {
    let invalid = |text: &str| Err(EngineError::Invalid(text.to_owned()));
    let mut values = filters.values("dangling");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some("1" | "true"), None) => Ok(Some(true)),
        (Some("0" | "false"), None) => Ok(Some(false)),
        (Some(_), None) => invalid(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        ),
        (Some(_), Some(_)) => invalid("got more than one value for filter key \"dangling\""),
    }
}

/// Whether an endpoint can be had as it is asked for, as far as that is known without a network (moby `validateEndpointSettings`).
///
/// # Errors
/// What is wrong.
pub(crate) fn check_endpoint(
    network: Option<&Network>,
    settings: &EndpointSettings,
) -> Result<(), String> {
    let mac = settings.mac_address.as_str();
    if !mac.is_empty() && mac.parse::<wharf_network::Mac>().is_err() {
        return Err(format!("invalid MAC address {mac}"));
    }
    let faults = network.map(|network| endpoint_faults(network, settings));
    match faults.unwrap_or_default().as_slice() {
        [] => Ok(()),
        faults => {
            let text = wharf_network::joined(faults);
            Err(format!("invalid endpoint settings:\n{text}"))
        }
    }
}

fn endpoint_faults(network: &Network, settings: &EndpointSettings) -> Vec<String> {
    let mut faults = Vec::new();
    let addresses = [
        settings.ipv4_address.map(std::net::IpAddr::from),
        settings.ipv6_address.map(std::net::IpAddr::from),
    ];
    for ip in addresses.into_iter().flatten() {
        if network.is_built_in() {
            faults.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        let chosen = match ip {
            std::net::IpAddr::V4(_) => network.ipam.chosen,
            std::net::IpAddr::V6(_) => network.ipam.chosen6,
        };
        if !chosen {
            faults.push("user specified IP address is supported only when connecting to networks with user configured subnets".to_owned());
        } else if !network
            .ipam
            .pools
            .iter()
            .any(|pool| pool.subnet.contains(&ip))
        {
            faults.push(format!(
                "no configured subnet or ip-range contain the IP address {ip}"
            ));
        }
    }
    if let Err(error) = crate::launch::network::EndpointOptions::read(&settings.driver_opts) {
        faults.push(error.message());
    }
    if network.is_built_in() && !settings.aliases.is_empty() {
        faults.push(
            "network-scoped alias is supported only for containers in user defined networks"
                .to_owned(),
        );
    }
    faults
}
