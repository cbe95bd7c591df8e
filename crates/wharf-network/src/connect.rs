//! Connecting a container that is about to start, or that runs. The first connection is on the way of every
//! start: no waiting, no exec.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tokio::sync::oneshot;
use wharf_netlink::{
    LinkChange, LinkName, PortMode, Request as Netlink, Route, add_address, replace_route,
    set_link, set_port,
};

use crate::error::kernel;
use crate::networks::{Inner, ServedPorts, State};
use crate::pool::{self, Ready, ReadyLink};
use crate::ports::{Held, Request};
use crate::reaper::Job;
use crate::record::{ENDPOINTS, endpoint_key, random_id};
use crate::sandbox::{Sandbox, inside};
use crate::{
    Address, Address6, Bridge, Driver, Endpoint, EndpointConfig, EndpointInfo, Mac, Network,
    NetworkError, Networks, proxy,
};

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
            internal: network.internal,
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
        let done = self.enter(&mut info, network, sandbox.as_ref());
        let done = done.and_then(|netns| self.settle(&mut info, held).map(|()| netns));
        match done {
            Ok(netns) => Ok(Endpoint { info, netns }),
            Err(error) => {
                self.forget(&info, sandbox.is_none());
                Err(error)
            }
        }
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
        if !state.networks.contains_key(&info.network_id) {
            return Err(NetworkError::NotFound(info.network_name.clone()));
        }
        let mut held = Vec::new();
        if let Some(bridge) = &network.bridge {
            take_addresses(&mut state, info, bridge, config)?;
            let first = !state
                .endpoints_of(&info.container)
                .any(|one| !one.ports.is_empty());
            if first && !info.internal && leads_out(&state, info) {
                held = self
                    .bind(&mut state, info, bridge, config)
                    .inspect_err(|_| {
                        let (ip, ip6) = addresses(info);
                        state.release_addresses(&info.network_id, ip, ip6);
                    })?;
            }
            let prefix = bridge.link_prefix.as_deref().unwrap_or("eth");
            let taken = |name: &str| {
                let mut others = state.endpoints_of(&info.container);
                others.any(|one| one.interface == name)
            };
            let names = (0..).map(|number| format!("{prefix}{number}"));
            info.interface = names
                .into_iter()
                .find(|name| !taken(name))
                .unwrap_or_default();
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
        let Some(address) = info.address else {
            return Ok(Vec::new());
        };
        let request = Request {
            name: &info.name,
            endpoint: &info.id,
            container: address.ip,
            default_binding: bridge.host_binding.unwrap_or(self.config.default_binding),
            ipv6: self.config.userland_proxy,
        };
        let held = state.ports.allocate(&request, &config.ports)?;
        info.ports = held.iter().map(|held| held.port).collect();
        Ok(held)
    }

    /// The namespace, and the link into it.
    fn enter(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
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
            (Driver::Bridge, _) => self.wire(info, network, sandbox)?,
            (Driver::None, None) => Some(self.pool.take(false)?.netns),
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

    /// Gives a namespace its address and puts it on the bridge. Returns the namespace if it is a new one.
    fn wire(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        sandbox: Option<&Sandbox>,
    ) -> Result<Option<OwnedFd>, NetworkError> {
        let Some(bridge) = &network.bridge else {
            return Err(NetworkError::NotFound(info.network_name.clone()));
        };
        let master = self.bridge_index(&info.network_id, bridge)?;
        let (netns, mut route, link, renamed) = match sandbox {
            // Names other than the first link's are rare enough to be made when they are asked for.
            None => {
                let Ready { netns, route, link } = self.pool.take(true)?;
                (Some(netns), route, link, info.interface != pool::INNER_NAME)
            }
            Some(sandbox) => {
                let Some(netns) = &sandbox.netns else {
                    return Err(NetworkError::NotFound(bridge.interface.clone()));
                };
                let (route, link) = pool::link_into(netns, &info.interface, self.config.mtu)?;
                (None, route, Some(link), false)
            }
        };
        let link = link.ok_or_else(|| NetworkError::NotFound(bridge.interface.clone()))?;
        // For whoever undoes this.
        info.host_interface = Some(link.host_name.clone());
        self.attach(&link, bridge, master)?;
        if renamed {
            let name = LinkChange {
                name: Some(&info.interface),
                ..LinkChange::default()
            };
            route
                .apply(&[set_link(LinkName::Index(link.inner_index), &name)])
                .map_err(kernel("name a container's link"))?;
        }
        if bridge.v6.is_some() {
            let owned = netns.as_ref();
            let shared = sandbox.and_then(|one| one.netns.as_deref());
            if let Some(netns) = owned.or(shared) {
                inside(netns, || allow_ipv6(&info.interface))?;
            }
        }
        let mtu = (bridge.mtu != self.config.mtu).then_some(bridge.mtu);
        let out = leads_out(&self.lock(), info);
        configure(&mut route, &link, info, mtu, out)?;
        Ok(netns)
    }

    /// The host's side first: with both sides up the container's has its carrier when it starts.
    fn attach(&self, link: &ReadyLink, bridge: &Bridge, master: u32) -> Result<(), NetworkError> {
        let outer = LinkChange {
            up: true,
            mtu: (bridge.mtu != self.config.mtu).then_some(bridge.mtu),
            master: Some(master),
            ..LinkChange::default()
        };
        let mut outside = vec![set_link(LinkName::Index(link.host_index), &outer)];
        if !bridge.icc {
            outside.push(set_port(link.host_index, PortMode::Isolated));
        }
        if !self.config.userland_proxy {
            outside.push(set_port(link.host_index, PortMode::Hairpin));
        }
        self.route
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&outside)
            .map_err(kernel("put a container on the bridge"))
    }

    /// Makes the endpoint known: record, rules, and sockets served.
    fn settle(&self, info: &mut EndpointInfo, held: Vec<Held>) -> Result<(), NetworkError> {
        let moved = self.move_ports(info);
        self.db.write(|tx| {
            if let Some(one) = &moved {
                ENDPOINTS.put(tx, &endpoint_key(one), one)?;
            }
            ENDPOINTS.put(tx, &endpoint_key(info), info)
        })?;
        let key = (info.container.clone(), info.network_id.clone());
        self.lock().endpoints.insert(key, info.clone());
        if !info.ports.is_empty() {
            self.apply_firewall()?;
        }
        self.serve(info, held)
    }

    /// If this is the new way outside, the ports of the one before lead to it. Returns that one.
    fn move_ports(&self, info: &mut EndpointInfo) -> Option<EndpointInfo> {
        let mut state = self.lock();
        if !leads_out(&state, info) {
            return None;
        }
        let range = (info.container.clone(), String::new())..;
        let of_container = state.endpoints.range_mut(range);
        let mut others = of_container
            .take_while(|((container, _), _)| *container == info.container)
            .map(|(_, one)| one);
        let before = others.find(|one| one.id != info.id && !one.ports.is_empty())?;
        info.ports = std::mem::take(&mut before.ports);
        let before = before.clone();
        if let (Some(served), Some(address)) = (state.served.get(&info.container), info.address) {
            served.target.set(address.ip);
        }
        Some(before)
    }

    /// Serves the ports that a container holds.
    pub(crate) fn serve(&self, info: &EndpointInfo, held: Vec<Held>) -> Result<(), NetworkError> {
        let Some(address) = info.address.filter(|_| !held.is_empty()) else {
            return Ok(());
        };
        let target = proxy::Target::new(address.ip);
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
        let served = ServedPorts {
            target,
            _sockets: sockets,
        };
        self.lock().served.insert(info.container.clone(), served);
        Ok(())
    }

    /// Index of a network's bridge, which is made anew if somebody took it away.
    fn bridge_index(&self, network: &str, bridge: &Bridge) -> Result<u32, NetworkError> {
        if let Some(index) = self.lock().bridges.get(network) {
            return Ok(*index);
        }
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let index = crate::bridge::ensure(bridge, &mut route)?;
        self.lock().bridges.insert(network.to_owned(), index);
        Ok(index)
    }

    /// Gives back what an endpoint holds: ports at once, link and address behind.
    pub(crate) fn give_back(&self, info: &EndpointInfo) {
        let mut state = self.lock();
        let served = match info.ports.is_empty() {
            true => None,
            false => state.served.remove(&info.container),
        };
        state.ports.release(&info.ports);
        let (ip, ip6) = addresses(info);
        match &info.host_interface {
            None => state.release_addresses(&info.network_id, ip, ip6),
            Some(host_interface) => {
                let job = Job::Link {
                    host_interface: host_interface.clone(),
                    network: info.network_id.clone(),
                    ip,
                    ip6,
                };
                // Without a worker the link goes with its namespace.
                let _ = self.reaper.send(job);
            }
        }
        drop(state);
        drop(served);
    }
}

/// An endpoint's addresses.
pub(crate) fn addresses(info: &EndpointInfo) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
    (
        info.address.map(|address| address.ip),
        info.address6.map(|address| address.ip),
    )
}

/// Whether `info` is or would be its container's way outside.
fn leads_out(state: &State, info: &EndpointInfo) -> bool {
    if info.internal || info.address.is_none() {
        return false;
    }
    let order = |one: &EndpointInfo| {
        (
            std::cmp::Reverse(one.gateway_priority),
            one.network_name.clone(),
        )
    };
    let best = state.way_out(&info.container);
    best.is_none_or(|best| best.id == info.id || order(info) < order(best))
}

fn take_addresses(
    state: &mut State,
    info: &mut EndpointInfo,
    bridge: &Bridge,
    config: &EndpointConfig,
) -> Result<(), NetworkError> {
    let built_in = info.network_name == "bridge";
    let (name, id) = (info.network_name.clone(), info.network_id.clone());
    if built_in && (config.ip.is_some() || config.ip6.is_some()) {
        return Err(NetworkError::StaticAddress);
    }
    let Some(pools) = state.addresses.get_mut(&id) else {
        return Err(NetworkError::NotFound(name));
    };
    let ip = match config.ip {
        Some(ip) if !bridge.subnet.contains(&ip) => {
            return Err(NetworkError::AddressOutside(ip.into()));
        }
        Some(ip) if pools.v4.take(ip) => ip,
        Some(ip) => return Err(NetworkError::AddressInUse(ip.into())),
        None => match pools.v4.allocate() {
            Some(ip) => ip,
            None => return Err(NetworkError::NoAddress { name, id }),
        },
    };
    let mac = config.mac.unwrap_or_else(|| Mac::of_address(ip));
    info.address = Some(Address {
        ip,
        prefix: bridge.subnet.prefix_len(),
        gateway: bridge.gateway,
        mac,
    });
    let six = match (&mut pools.v6, bridge.v6, config.ip6) {
        (Some(pool), Some(v6), Some(ip)) if v6.subnet.contains(&ip) => pool
            .take(ip)
            .then_some((ip, v6))
            .ok_or(NetworkError::AddressInUse(ip.into())),
        (_, _, Some(ip)) => Err(NetworkError::AddressOutside(ip.into())),
        (Some(pool), Some(v6), None) => {
            let ip = pool.allocate();
            ip.map(|ip| (ip, v6))
                .ok_or(NetworkError::NoAddress { name, id })
        }
        _ => return Ok(()),
    };
    match six {
        Ok((ip, v6)) => {
            info.address6 = Some(Address6 {
                ip,
                prefix: v6.subnet.prefix_len(),
                gateway: v6.gateway,
            });
            Ok(())
        }
        Err(error) => {
            pools.v4.release(ip);
            Err(error)
        }
    }
}

/// As dockerd: the link has IPv6 only on networks with IPv6; no waiting for duplicates of addresses that we gave.
fn allow_ipv6(interface: &str) -> Result<(), NetworkError> {
    for (setting, value) in [
        ("accept_dad", "0"),
        ("accept_ra", "0"),
        ("disable_ipv6", "0"),
    ] {
        crate::sysctl::set(&format!("net/ipv6/conf/{interface}/{setting}"), value)?;
    }
    Ok(())
}

fn configure(
    route: &mut Route,
    link: &ReadyLink,
    info: &EndpointInfo,
    mtu: Option<u32>,
    out: bool,
) -> Result<(), NetworkError> {
    let inner = LinkChange {
        up: true,
        mtu,
        mac: info.address.map(|address| address.mac.0),
        ..LinkChange::default()
    };
    let mut requests = vec![set_link(LinkName::Index(link.inner_index), &inner)];
    if let Some(address) = info.address {
        let net = Ipv4Net::new_assert(address.ip, address.prefix);
        requests.push(add_address(link.inner_index, net.into()));
    }
    if let Some(address) = info.address6 {
        let net = Ipv6Net::new_assert(address.ip, address.prefix);
        requests.push(add_address(link.inner_index, net.into()));
    }
    if out {
        requests.extend(default_routes(info, link.inner_index));
    }
    route
        .apply(&requests)
        .map_err(kernel("configure a container's link"))
}

/// The default routes by way of an endpoint, in the place of those by another one.
pub(crate) fn default_routes(info: &EndpointInfo, link: u32) -> Vec<Netlink> {
    let v4 = info.address.map(|one| {
        let everywhere = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        (IpNet::V4(everywhere), IpAddr::V4(one.gateway))
    });
    let v6 = info.address6.map(|one| {
        let everywhere = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);
        (IpNet::V6(everywhere), IpAddr::V6(one.gateway))
    });
    [v4, v6]
        .into_iter()
        .flatten()
        .map(|(everywhere, gateway)| replace_route(everywhere, Some(gateway), Some(link)))
        .collect()
}
