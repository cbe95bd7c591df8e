//! Connecting a container that is about to start. This is on the way of every start: no waiting, no exec.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError};

use wharf_netlink::{LinkChange, LinkName, PortMode, add_address, add_route, set_link, set_port};

use crate::error::kernel;
use crate::networks::Inner;
use crate::pool::Ready;
use crate::ports::{Held, Request};
use crate::reaper::Job;
use crate::record::{ENDPOINTS, random_id};
use crate::{
    Address, Bridge, Driver, Endpoint, EndpointConfig, EndpointInfo, Mac, Network, NetworkError,
    Networks, proxy,
};

impl Networks {
    /// Connects a container that is about to start: takes an address, binds its ports on the host, and
    /// returns the namespace to start it in. Nothing stays if it fails.
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
        let mut info = EndpointInfo {
            id: random_id(),
            container: container.to_owned(),
            name: config.name.clone(),
            network_id: network.id.clone(),
            network_name: network.name.clone(),
            sandbox: random_id(),
            address: None,
            host_interface: None,
            hostname: config.hostname.clone(),
            aliases: config.aliases.clone(),
            ports: Vec::new(),
        };
        let (netns, held) = match (network.driver, &network.bridge) {
            (Driver::Bridge, Some(bridge)) => {
                let held = self.reserve(&mut info, bridge, &config)?;
                match self.wire(&mut info, bridge) {
                    Ok(netns) => (Some(netns), held),
                    Err(error) => {
                        self.give_back(&info);
                        return Err(error);
                    }
                }
            }
            (Driver::Host, _) => {
                self.refuse_second(&info)?;
                (None, Vec::new())
            }
            _ => {
                self.refuse_second(&info)?;
                (Some(self.pool.take(false)?.netns), Vec::new())
            }
        };
        let published = !info.ports.is_empty();
        if let Err(error) = self.settle(&info, held, published) {
            self.forget(&info, published);
            return Err(error);
        }
        Ok(Endpoint { info, netns })
    }

    /// Takes address and ports. The endpoint is not known to others yet.
    fn reserve(
        &self,
        info: &mut EndpointInfo,
        bridge: &Bridge,
        config: &EndpointConfig,
    ) -> Result<Vec<Held>, NetworkError> {
        let mut state = self.lock();
        if state.endpoints.contains_key(&info.container) {
            return Err(already(info));
        }
        let pool = state.addresses.get_mut(&info.network_id);
        let pool = pool.ok_or_else(|| NetworkError::NotFound(info.network_name.clone()))?;
        let ip = match config.ip {
            Some(_) if info.network_name == "bridge" => return Err(NetworkError::StaticAddress),
            Some(ip) if !bridge.subnet.contains(&ip) => {
                return Err(NetworkError::AddressOutside(ip));
            }
            Some(ip) if pool.take(ip) => ip,
            Some(ip) => return Err(NetworkError::AddressInUse(ip)),
            None => pool.allocate().ok_or_else(|| NetworkError::NoAddress {
                name: info.network_name.clone(),
                id: info.network_id.clone(),
            })?,
        };
        let request = Request {
            name: &info.name,
            endpoint: &info.id,
            container: ip,
            default_binding: self.config.default_binding,
            ipv6: self.config.userland_proxy,
        };
        let held = state.ports.allocate(&request, &config.ports);
        let held = held.inspect_err(|_| state.release_address(&info.network_id, ip))?;
        info.ports = held.iter().map(|held| held.port).collect();
        info.address = Some(Address {
            ip,
            prefix: bridge.subnet.prefix_len(),
            gateway: bridge.gateway,
            mac: config.mac.unwrap_or_else(|| Mac::of_address(ip)),
        });
        Ok(held)
    }

    /// Gives a ready namespace its address and puts it on the bridge.
    fn wire(&self, info: &mut EndpointInfo, bridge: &Bridge) -> Result<OwnedFd, NetworkError> {
        let Some(address) = info.address else {
            return Err(NetworkError::NotFound(info.network_name.clone()));
        };
        let master = self.bridge_index(&info.network_id, bridge)?;
        let Ready {
            netns,
            mut route,
            link,
        } = self.pool.take(true)?;
        let link = link.ok_or_else(|| NetworkError::NotFound(bridge.interface.clone()))?;
        let mtu = (bridge.mtu != self.config.mtu).then_some(bridge.mtu);
        let outer = LinkChange {
            up: true,
            mtu,
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
        // The host's side first: with both sides up the container's has its carrier when it starts.
        self.route
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(&outside)
            .map_err(kernel("put a container on the bridge"))?;
        info.host_interface = Some(link.host_name);
        let inner = LinkChange {
            up: true,
            mtu,
            mac: Some(address.mac.0),
            ..LinkChange::default()
        };
        let subnet = ipnet::Ipv4Net::new_assert(address.ip, address.prefix);
        let everywhere = ipnet::Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        route
            .apply(&[
                set_link(LinkName::Index(link.inner_index), &inner),
                add_address(link.inner_index, subnet.into()),
                add_route(
                    everywhere.into(),
                    Some(address.gateway.into()),
                    Some(link.inner_index),
                ),
            ])
            .map_err(kernel("configure a container's link"))?;
        Ok(netns)
    }

    /// Makes the endpoint known: record, rules, and sockets served.
    fn settle(
        &self,
        info: &EndpointInfo,
        held: Vec<Held>,
        published: bool,
    ) -> Result<(), NetworkError> {
        self.db
            .write(|tx| ENDPOINTS.put(tx, &info.container, info))?;
        self.lock()
            .endpoints
            .insert(info.container.clone(), info.clone());
        if published {
            self.apply_firewall()?;
        }
        self.serve(info, held)
    }

    /// Serves the ports that a container holds.
    pub(crate) fn serve(&self, info: &EndpointInfo, held: Vec<Held>) -> Result<(), NetworkError> {
        let Some(address) = info.address else {
            return Ok(());
        };
        let mut served = Vec::with_capacity(held.len());
        for held in held {
            let port = held.port;
            let started = proxy::start(&self.runtime, held, address.ip, self.config.userland_proxy);
            served.push(started.map_err(|source| NetworkError::Proxy {
                protocol: port.protocol,
                address: port.host_ip,
                source,
            })?);
        }
        if !served.is_empty() {
            self.lock().served.insert(info.container.clone(), served);
        }
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

    fn refuse_second(&self, info: &EndpointInfo) -> Result<(), NetworkError> {
        let known = self.lock().endpoints.contains_key(&info.container);
        if known { Err(already(info)) } else { Ok(()) }
    }

    /// Gives back what an endpoint holds: ports at once, link and address behind.
    pub(crate) fn give_back(&self, info: &EndpointInfo) {
        let mut state = self.lock();
        let served = state.served.remove(&info.container);
        state.ports.release(&info.ports);
        let Some(address) = info.address else { return };
        match &info.host_interface {
            None => state.release_address(&info.network_id, address.ip),
            Some(host_interface) => {
                let job = Job::Link {
                    host_interface: host_interface.clone(),
                    network: info.network_id.clone(),
                    ip: address.ip,
                };
                // Without a worker the link goes with its namespace.
                let _ = self.reaper.send(job);
            }
        }
        drop(state);
        drop(served);
    }
}

fn already(info: &EndpointInfo) -> NetworkError {
    NetworkError::AlreadyConnected(info.name.clone(), info.network_name.clone())
}
