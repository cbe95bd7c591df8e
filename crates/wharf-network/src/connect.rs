//! Connecting a container that is about to start, or that runs. The first connection is on the way of every
//! start: no waiting, no exec.

mod addresses;
mod wire;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use wharf_netlink::Route;
use wharf_records::RecordError;

use crate::error::kernel;
use crate::networks::{Family, Inner, ServedPorts, State, rank};
use crate::ports::{Held, Reach, Request, has_sctp};
use crate::reaper::{Flows, Job, LinkTeardown};
use crate::record::{ENDPOINTS, HALF_MADE, endpoint_key, random_id};
use crate::sandbox::Sandbox;
use crate::{
    Bridge, Driver, Endpoint, EndpointConfig, EndpointInfo, GatewayMode, Network, NetworkError,
    Networks, PublishPolicy, proxy,
};

pub(crate) use wire::{default_routes, unshare_link};

impl Networks {
    /// Connects a container: takes an address, and binds its ports on the host if this is its way outside. The
    /// first connection of a container that is about to start returns the namespace to start it in. Nothing stays
    /// if it fails.
    ///
    /// # Errors
    /// Those of ports are complete sentences for the user, in dockerd's words.
    pub async fn connect(
        &self,
        container: &str,
        network: &str,
        config: EndpointConfig,
    ) -> Result<Endpoint, NetworkError> {
        let network = self.get(network)?;
        let (inner, container) = (Arc::clone(&self.inner), container.to_owned());
        // Records and kernel answer in well under a millisecond, but not always.
        let work = tokio::task::spawn_blocking(move || inner.connect(&container, &network, config));
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Inner {
    fn connect(
        &self,
        container: &str,
        network: &Network,
        config: EndpointConfig,
    ) -> Result<Endpoint, NetworkError> {
        self.make_way(container, network)?;
        let sandbox = self.lock().sandboxes.get(container).cloned();
        let mut info = EndpointInfo {
            id: random_id(),
            container: container.to_owned(),
            name: config.name.clone(),
            network_id: network.id.clone(),
            network_name: network.name.clone(),
            sandbox: sandbox
                .as_ref()
                .map_or_else(random_id, |one| one.id.clone()),
            address: None,
            address6: None,
            mac: None,
            link_local: config.link_local.clone(),
            internal: network.internal,
            routerless: network
                .parent
                .as_ref()
                .is_some_and(|one| one.is_routerless()),
            gateway_priority: config.gateway_priority,
            interface: String::new(),
            host_interface: None,
            hostname: config.hostname.clone(),
            aliases: config.aliases.clone(),
            links: config.links.clone(),
            ports: Vec::new(),
        };
        let held = match self.reserve(&mut info, network, &config) {
            // It may be that of a container which has just ended, whose link is being taken down.
            Err(NetworkError::AddressInUse(_) | NetworkError::NoAddress { .. }) => {
                self.settle_down();
                self.reserve(&mut info, network, &config)?
            }
            reserved => reserved?,
        };
        let done = self
            .announce(&mut info, network, sandbox.as_ref())
            .and_then(|()| self.enter(&mut info, network, &config, sandbox.as_ref()))
            .and_then(|netns| self.settle(&mut info, held).map(|()| netns));
        match done {
            Ok(netns) => Ok(Endpoint { info, netns }),
            Err(error) => {
                self.forget(&info, sandbox.as_ref());
                Err(error)
            }
        }
    }

    /// The record before the effect: the link into a container that runs is known before it is there. One that is
    /// about to start needs none of that, its namespace goes with the daemon.
    fn announce(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        sandbox: Option<&Sandbox>,
    ) -> Result<(), NetworkError> {
        if sandbox.is_none() || !network.has_addresses() {
            return Ok(());
        }
        if network.bridge.is_some() {
            info.host_interface = Some(crate::pool::random_link_name());
        }
        let written = self
            .db
            .write(|tx| HALF_MADE.put(tx, &endpoint_key(info), info));
        Ok(written?)
    }

    /// Waits until what was given back is free again.
    fn settle_down(&self) {
        let (done, finished) = oneshot::channel();
        if self.reaper.send(Job::Flush(done)).is_ok() {
            let _ = finished.blocking_recv();
        }
    }

    /// Takes address and ports. From here on the endpoint keeps its network from being removed.
    fn reserve(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        config: &EndpointConfig,
    ) -> Result<Vec<Held>, NetworkError> {
        let mut state = self.lock();
        let key = (info.container.clone(), info.network_id.clone());
        if state.endpoints.contains_key(&key) {
            return Err(NetworkError::AlreadyConnected(
                info.name.clone(),
                info.network_name.clone(),
            ));
        }
        // Removed since it was looked up.
        let there = state.networks.get(&info.network_id);
        if there.is_none_or(|network| network.removing) {
            return Err(NetworkError::NotFound(info.network_name.clone()));
        }
        if network.config_only {
            return Err(NetworkError::Forbidden(
                "cannot create endpoint on configuration-only network".to_owned(),
            ));
        }
        let mut held = Vec::new();
        if network.has_addresses() {
            let taken = |name: &str| {
                let mut others = state.endpoints_of(&info.container);
                others.any(|one| one.interface == name)
            };
            info.interface = match &config.interface {
                Some(name) if taken(name) => {
                    return Err(NetworkError::Invalid(format!(
                        "the container already has an interface {name}"
                    )));
                }
                Some(name) => name.clone(),
                None => {
                    let prefix = network.link_prefix.as_deref().unwrap_or("eth");
                    let mut names = (0..).map(|number| format!("{prefix}{number}"));
                    names.find(|name| !taken(name)).unwrap_or_default()
                }
            };
            addresses::take(&mut state, info, network, config)?;
            let first = !state
                .endpoints_of(&info.container)
                .any(|one| !one.ports.is_empty());
            if let Some(bridge) = network.bridge.as_ref().filter(|_| first)
                && is_way_out(&state, info)
            {
                held = self
                    .bind(&mut state, info, bridge, config)
                    .inspect_err(|_| {
                        let (ip, ip6) = addresses(info);
                        state.release_addresses(&info.network_id, ip, ip6);
                    })?;
            }
        }
        state.endpoints.insert(key, info.clone());
        Ok(held)
    }

    fn bind(
        &self,
        state: &mut State,
        info: &mut EndpointInfo,
        bridge: &Bridge,
        config: &EndpointConfig,
    ) -> Result<Vec<Held>, NetworkError> {
        let (ip, ip6) = addresses(info);
        let Some(container) = ip.map(Into::into).or(ip6.map(Into::into)) else {
            return Ok(Vec::new());
        };
        let sctp = |port: &crate::PortBinding| port.protocol == crate::Protocol::Sctp;
        if self.config.publish_policy == PublishPolicy::RespectHostFirewall
            && config.ports.iter().any(sctp)
            && !has_sctp()
        {
            return Err(NetworkError::NotSupported(
                "publishing an sctp port with the publish-policy respect-host-firewall on a kernel without SCTP".to_owned(),
            ));
        }
        let proxy = self.config.userland_proxy;
        let reach = |mode, own: bool| match (mode, own) {
            (GatewayMode::Routed, true) => Reach::Routed,
            (_, true) => Reach::Translated,
            (_, false) if proxy => Reach::Proxied,
            (_, false) => Reach::Never,
        };
        let request = Request {
            name: &info.name,
            endpoint: &info.id,
            container,
            default_binding: bridge.host_binding.unwrap_or(self.config.default_binding),
            v4: reach(bridge.ways.v4.mode, ip.is_some()),
            v6: reach(bridge.ways.v6.mode, ip6.is_some()),
        };
        let (held, routed) = state.ports.allocate(&request, &config.ports)?;
        info.ports = held.iter().map(|held| held.port).chain(routed).collect();
        Ok(held)
    }

    /// The namespace, and the link into it.
    fn enter(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        config: &EndpointConfig,
        sandbox: Option<&Sandbox>,
    ) -> Result<Option<OwnedFd>, NetworkError> {
        let fresh = match (network.driver, sandbox) {
            (Driver::Host, _) => {
                let of_host = Sandbox {
                    id: info.sandbox.clone(),
                    netns: None,
                };
                self.lock()
                    .sandboxes
                    .insert(info.container.clone(), of_host);
                return Ok(None);
            }
            (Driver::Bridge | Driver::Macvlan | Driver::Ipvlan, _) => {
                self.wire(info, network, config, sandbox)?
            }
            (Driver::None, None) => Some(self.pool.take(false, config.owner)?.netns),
            (Driver::None, Some(_)) => None,
        };
        let Some(netns) = fresh else { return Ok(None) };
        let kept = netns.try_clone().map_err(NetworkError::Namespace)?;
        let new = Sandbox {
            id: info.sandbox.clone(),
            netns: Some(Arc::new(kept)),
        };
        self.lock().sandboxes.insert(info.container.clone(), new);
        Ok(Some(netns))
    }

    /// Makes the endpoint known: record, rules, and sockets served.
    fn settle(&self, info: &mut EndpointInfo, held: Vec<Held>) -> Result<(), NetworkError> {
        let before = self.ports_before(info);
        let moved = before.clone().map(|mut before| {
            info.ports = std::mem::take(&mut before.ports);
            before
        });
        let done = self.make_known(info, moved.as_ref());
        let done = done.and_then(|()| self.serve(info, held));
        if let (Err(_), Some(before)) = (&done, &before) {
            // They are another endpoint's still.
            info.ports.clear();
            if let Err(error) = self.lead_ports_to(before) {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, container = %info.name, "lead its ports back");
            }
        }
        done
    }

    /// Writes the endpoint, and the one that its ports come from.
    fn make_known(
        &self,
        info: &EndpointInfo,
        moved: Option<&EndpointInfo>,
    ) -> Result<(), NetworkError> {
        self.db.write(|tx| -> Result<(), RecordError> {
            if let Some(one) = moved {
                ENDPOINTS.put(tx, &endpoint_key(one), one)?;
            }
            ENDPOINTS.put(tx, &endpoint_key(info), info)?;
            HALF_MADE.delete(tx, &endpoint_key(info)).map(drop)
        })?;
        {
            let mut state = self.lock();
            for one in moved.into_iter().chain([info]) {
                let key = (one.container.clone(), one.network_id.clone());
                state.endpoints.insert(key, one.clone());
            }
            if let Some(served) = state
                .served
                .get(&info.container)
                .filter(|_| moved.is_some())
            {
                served.target.set(addresses(info));
            }
        }
        if !info.ports.is_empty() {
            self.apply_firewall()?;
            self.ports_changed(&info.ports, Flows::Datagrams);
        }
        Ok(())
    }

    /// If this is the new way outside: the endpoint that has the container's ports, which shall lead to this one.
    fn ports_before(&self, info: &EndpointInfo) -> Option<EndpointInfo> {
        let state = self.lock();
        if !is_way_out(&state, info) {
            return None;
        }
        let mut others = state.endpoints_of(&info.container);
        let before = others.find(|one| one.id != info.id && !one.ports.is_empty());
        before.cloned()
    }

    /// An endpoint has its container's ports, with all that follows.
    fn lead_ports_to(&self, info: &EndpointInfo) -> Result<(), NetworkError> {
        {
            let mut state = self.lock();
            let key = (info.container.clone(), info.network_id.clone());
            state.endpoints.insert(key, info.clone());
            if let Some(served) = state.served.get(&info.container) {
                served.target.set(addresses(info));
            }
        }
        let written = self
            .db
            .write(|tx| ENDPOINTS.put(tx, &endpoint_key(info), info));
        self.apply_firewall()?;
        self.ports_changed(&info.ports, Flows::Datagrams);
        Ok(written?)
    }

    /// Serves the ports that a container holds.
    pub(crate) fn serve(&self, info: &EndpointInfo, held: Vec<Held>) -> Result<(), NetworkError> {
        if held.is_empty() {
            return Ok(());
        }
        let target = proxy::Target::new(addresses(info));
        let mut sockets = Vec::with_capacity(held.len());
        for held in held {
            let port = held.port;
            let serve = self.config.userland_proxy;
            let started = proxy::start(&self.runtime, held, target.clone(), serve);
            sockets.push(started.map_err(|source| NetworkError::Proxy {
                protocol: port.protocol,
                address: port.host_ip,
                source,
            })?);
        }
        let served = ServedPorts { target, sockets };
        self.lock().served.insert(info.container.clone(), served);
        Ok(())
    }

    /// Gives back what an endpoint holds: ports at once, link and address behind.
    pub(crate) fn give_back(&self, info: &EndpointInfo) {
        if !info.ports.is_empty() {
            let served = self.lock().served.remove(&info.container);
            // Before the ports are anybody's: who takes one must be able to bind it.
            proxy::close(served.map_or_else(Vec::new, |served| served.sockets));
        }
        let mut state = self.lock();
        state.ports.release(&info.ports);
        let (ip, ip6) = addresses(info);
        match &info.host_interface {
            None => state.release_addresses(&info.network_id, ip, ip6),
            Some(host_interface) => {
                let key = (info.container.clone(), info.network_id.clone());
                let going = LinkTeardown {
                    host_interface: host_interface.clone(),
                    ip,
                    ip6,
                };
                state
                    .going
                    .insert(key.clone(), Arc::new(Mutex::new(Some(going))));
                // Without a worker the link goes with its namespace.
                let _ = self.reaper.send(Job::Link(key));
            }
        }
    }

    /// Takes the link down that a container had until it ended, if it is still there: one that starts again has its
    /// address again, as others may have asked for it by name once and for all.
    fn make_way(&self, container: &str, network: &Network) -> Result<(), NetworkError> {
        let key = (container.to_owned(), network.id.clone());
        let is_there = self.lock().going.contains_key(&key);
        match is_there {
            true => {
                let mut route = Route::open().map_err(kernel("open a route socket"))?;
                self.take_down(&[key].into(), &mut route)
            }
            false => Ok(()),
        }
    }
}

/// An endpoint's addresses.
pub(crate) fn addresses(info: &EndpointInfo) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    (
        info.address.map(|address| address.ip),
        info.address6.map(|address| address.ip),
    )
}

/// Whether `info` is or would be its container's way outside, by whatever family.
fn is_way_out(state: &State, info: &EndpointInfo) -> bool {
    let mine = [Family::V4, Family::V6]
        .into_iter()
        .find(|family| family.leads_out(info));
    match (mine, state.way_of(&info.container, Family::V4)) {
        (None, _) => false,
        (Some(_), None) => {
            let best = state.way_of(&info.container, Family::V6);
            mine == Some(Family::V4) || before(info, best)
        }
        (Some(Family::V6), Some(_)) => false,
        (Some(Family::V4), best) => before(info, best),
    }
}

/// Whether `info` is or would be its container's way outside by one family.
fn leads_out(state: &State, info: &EndpointInfo, family: Family) -> bool {
    family.leads_out(info) && before(info, state.way_of(&info.container, family))
}

/// Whether `info` comes before the best one so far.
fn before(info: &EndpointInfo, best: Option<&EndpointInfo>) -> bool {
    best.is_none_or(|best| best.id == info.id || rank(info) < rank(best))
}
