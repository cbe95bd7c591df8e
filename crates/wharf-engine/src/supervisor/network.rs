//! Networks that a container joins and leaves, whether it runs or not.

use tracing::warn;
use wharf_network::{EndpointInfo, NetworkError};

use super::Supervisor;
use crate::lifecycle::Phase;
use crate::networks::check_endpoint;
use crate::{
    EndpointSettings, EndpointView, EngineError, EventKind, NetworkMode, NetworkView, launch,
};

const HOST: &str =
    "container cannot be disconnected from host network or connected to host network";
const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const NONE: &str = "container cannot be connected to multiple networks with one of the networks in private (none) mode";

impl Supervisor {
    /// What is to be seen of its networks now.
    pub(super) fn network_view(&self, pid: u32) -> NetworkView {
        let endpoints = self.shared.networks.endpoints_of(&self.record.id);
        launch::network::view(&self.record, &endpoints, pid)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.record.state.phase.pid()
    }

    fn refuse_dead(&self) -> Result<(), EngineError> {
        match self.record.state.phase {
            Phase::Removing | Phase::Dead => Err(EngineError::Conflict(format!(
                "container {} is marked for removal and cannot be connected or disconnected to the network",
                self.record.id
            ))),
            _ => Ok(()),
        }
    }

    /// moby `daemon/container_operations.go`, `ConnectToNetwork`.
    pub(super) async fn connect(
        &mut self,
        network: &str,
        settings: EndpointSettings,
    ) -> Result<(), EngineError> {
        self.refuse_dead()?;
        let network = self.shared.networks.get(network)?;
        let mode = &self.record.host.network_mode;
        let names: Vec<&String> = self.record.network.endpoints.keys().collect();
        let known = names.iter().any(|name| **name == network.name);
        let invalid = |text: &str| Err(EngineError::Invalid(text.to_owned()));
        if network.name == "host" && *mode != NetworkMode::Host {
            return invalid(HOST);
        }
        if matches!(mode, NetworkMode::Host | NetworkMode::Container(_)) {
            return invalid(SHARED);
        }
        let private = names.iter().any(|name| *name == "none") || network.name == "none";
        if private && !known && !names.is_empty() {
            return invalid(NONE);
        }
        check_endpoint(Some(&network), &settings).map_err(EngineError::Invalid)?;
        let pid = self.pid();
        if known && pid.is_some() {
            return Err(EngineError::Forbidden(format!(
                "endpoint with name {} already exists in network {}",
                self.record.name, network.name
            )));
        }
        if known {
            // What was asked first holds.
            return Ok(());
        }
        let (record, aliases) = (&self.record, &settings.aliases);
        let dns_names = match network.is_built_in() {
            true => Vec::new(),
            false => {
                let hostname = &record.config.hostname;
                launch::network::dns_names(&record.id, &record.name, hostname, aliases)
            }
        };
        let endpoint = EndpointView {
            settings,
            // Known once it is there.
            network_id: pid.map(|_| network.id.clone()).unwrap_or_default(),
            dns_names,
            ..EndpointView::default()
        };
        let before = self.record.network.clone();
        let endpoints = &mut self.record.network.endpoints;
        endpoints.insert(network.name.clone(), endpoint.clone());
        if let Err(error) = self.save() {
            self.record.network = before;
            return Err(error);
        }
        if let Some(pid) = pid
            && let Err(error) = self.plug(&network.name, &endpoint, pid).await
        {
            self.record.network = before;
            self.save_what_is_seen();
            return Err(error);
        }
        self.publish();
        if pid.is_some() {
            self.emit_network("connect", &network);
        }
        Ok(())
    }

    /// The live half.
    async fn plug(
        &mut self,
        network: &str,
        endpoint: &EndpointView,
        pid: u32,
    ) -> Result<(), EngineError> {
        let before = self.shared.networks.endpoints_of(&self.record.id);
        // It has its namespace, whoever that belongs to.
        let owner = wharf_network::Owner::default();
        launch::network::join(&self.shared, &self.record, (network, endpoint), owner).await?;
        self.replugged(&before, pid);
        self.save_what_is_seen();
        Ok(())
    }

    /// Where the container belongs has been written before; what is to be seen of it, the next daemon finds out.
    fn save_what_is_seen(&mut self) {
        if let Err(error) = self.save() {
            warn!(container = %self.record.id, error = error.message(), "write its networks");
        }
    }

    /// Files and view after a change of a running container's networks.
    fn replugged(&mut self, before: &[EndpointInfo], pid: u32) {
        let after = self.shared.networks.endpoints_of(&self.record.id);
        let changed = launch::files::change(&self.shared, &self.record, before, &after);
        if let Err(error) = changed {
            warn!(container = %self.record.id, error = error.message(), "write its files");
        }
        let config = launch::files::dns_config(&self.shared, &self.record);
        if let Err(error) = self.shared.networks.serve_names(&self.record.id, config) {
            let error = wharf_sys::words::chain(&error);
            warn!(container = %self.record.id, error, "resolve names");
        }
        self.record.network = launch::network::view(&self.record, &after, pid);
    }

    /// moby `DisconnectFromNetwork`.
    pub(super) async fn disconnect(&mut self, network: &str) -> Result<(), EngineError> {
        self.refuse_dead()?;
        let found = self.shared.networks.get(network).ok();
        let name = found.as_ref().map_or(network, |found| found.name.as_str());
        let pid = self.pid();
        let known = self.record.network.endpoints.contains_key(name);
        if known && name == "host" && pid.is_some() {
            return Err(EngineError::Invalid(HOST.to_owned()));
        }
        if !known && found.is_none() && pid.is_some() {
            let error = NetworkError::NotFound(network.to_owned());
            return Err(error.into());
        }
        if !known {
            let (id, the) = (&self.record.id, if pid.is_some() { "" } else { "the " });
            return Err(EngineError::Failed(format!(
                "container {id} is not connected to {the}network {name}"
            )));
        }
        let before = self.record.network.clone();
        self.record.network.endpoints.remove(name);
        if let Err(error) = self.save() {
            self.record.network = before;
            return Err(error);
        }
        if let (Some(pid), Some(network)) = (pid, &found)
            && let Err(error) = self.unplug(&network.id, pid).await
        {
            let endpoints = self.shared.networks.endpoints_of(&self.record.id);
            if endpoints.iter().any(|one| one.network_id == network.id) {
                self.record.network = before;
                self.save_what_is_seen();
            }
            self.publish();
            return Err(error);
        }
        self.publish();
        if let Some(network) = found.filter(|_| pid.is_some()) {
            self.emit_network("disconnect", &network);
        }
        Ok(())
    }

    /// The live half.
    async fn unplug(&mut self, network_id: &str, pid: u32) -> Result<(), EngineError> {
        let before = self.shared.networks.endpoints_of(&self.record.id);
        let left = self.shared.networks.leave(&self.record.id, network_id);
        let left = match left.await {
            // The daemon was killed while it connected it: the link is gone already.
            Err(NetworkError::NotConnected(..)) => Ok(()),
            left => left.map_err(EngineError::from),
        };
        self.replugged(&before, pid);
        self.save_what_is_seen();
        left
    }

    /// After a start of the daemon: the last one may have been killed between the record of a change and its effect.
    pub(crate) async fn finish_changes(&mut self, pid: u32) {
        let endpoints = self.shared.networks.endpoints_of(&self.record.id);
        let (config, host) = (&self.record.config, &self.record.host);
        let apart = matches!(host.network_mode, NetworkMode::Container(_));
        if apart || config.network_disabled {
            return;
        }
        let listed = self.record.network.endpoints.clone();
        for info in &endpoints {
            let is_it = |(name, one): (&String, &EndpointView)| {
                *name == info.network_name || one.network_id == info.network_id
            };
            // Without any network it has the one that is none.
            if info.network_name != "none"
                && !listed.iter().any(is_it)
                && let Err(error) = self.unplug(&info.network_id, pid).await
            {
                warn!(container = %self.record.id, network = info.network_name, error = error.message(), "disconnect");
            }
        }
        for (name, endpoint) in &listed {
            let is_it = |info: &EndpointInfo| {
                info.network_name == *name || info.network_id == endpoint.network_id
            };
            let disabled = name == "bridge" && !self.shared.config.bridge.enabled;
            if !disabled
                && !endpoints.iter().any(is_it)
                && let Err(error) = self.plug(name, endpoint, pid).await
            {
                warn!(container = %self.record.id, network = name, error = error.message(), "connect");
            }
        }
    }

    /// Others find it by its new name.
    pub(super) fn renamed(&mut self) {
        let record = &self.record;
        let names = |info: &EndpointInfo| {
            let endpoint = record.network.endpoints.get(&info.network_name);
            let aliases = endpoint.map(|endpoint| endpoint.settings.aliases.as_slice());
            let hostname = &record.config.hostname;
            let aliases = aliases.unwrap_or_default();
            launch::network::dns_names(&record.id, &record.name, hostname, aliases)
        };
        if let Err(error) = self.shared.networks.rename(&record.id, &record.name, names) {
            let error = wharf_sys::words::chain(&error);
            warn!(container = %record.id, error, "rename its endpoints");
        }
        if let Some(pid) = self.pid() {
            self.record.network = self.network_view(pid);
        }
    }

    /// What a container that does not run will be found by.
    pub(super) fn rename_endpoints(&mut self) {
        let record = &mut self.record;
        let (id, name, hostname) = (&record.id, &record.name, &record.config.hostname);
        for endpoint in record.network.endpoints.values_mut() {
            // Those of the built-in networks have none, nor have those that were never looked at.
            if !endpoint.dns_names.is_empty() {
                let aliases = &endpoint.settings.aliases;
                endpoint.dns_names = launch::network::dns_names(id, name, hostname, aliases);
            }
        }
    }

    fn emit_network(&self, action: &str, network: &wharf_network::Network) {
        let attributes = [
            ("container".to_owned(), self.record.id.clone()),
            ("name".to_owned(), network.name.clone()),
            ("type".to_owned(), network.driver.to_string()),
        ];
        let events = &self.shared.events;
        events.emit(EventKind::Network, action, &network.id, attributes.into());
    }
}
