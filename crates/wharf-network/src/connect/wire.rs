//! The link of a new endpoint: made, put on its bridge or parent, and configured inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use rustix::io::Errno;
use wharf_netlink::{
    LinkChange, LinkName, PortMode, Request, Route, add_address, delete_link, replace_route,
    set_link, set_port,
};

use super::leads_out;
use crate::error::kernel;
use crate::networks::{Family, Inner};
use crate::pool::{self, Ready, ReadyLink};
use crate::sandbox::{Sandbox, inside};
use crate::{Bridge, EndpointConfig, EndpointInfo, Network, NetworkError, Owner, Parent};

/// Prefixes of addresses that are valid on the link only (moby `linkLocalMask`).
const LINK_LOCAL: (u8, u8) = (16, 64);

/// The container's side of a link, and a socket beside it.
struct Inside {
    /// The namespace if it is a new one.
    fresh: Option<OwnedFd>,
    route: Route,
    index: u32,
}

impl Inner {
    /// Gives a namespace its link and addresses. Returns the namespace if it is a new one.
    pub(super) fn wire(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        config: &EndpointConfig,
        sandbox: Option<&Sandbox>,
    ) -> Result<Option<OwnedFd>, NetworkError> {
        let mut made = match (&network.bridge, &network.parent) {
            (Some(bridge), _) => self.plug(info, network, bridge, (sandbox, config.owner))?,
            (None, Some(parent)) => self.share(info, network, parent, (sandbox, config.owner))?,
            (None, None) => return Err(NetworkError::NotFound(info.network_name.clone())),
        };
        let shared = sandbox.and_then(|one| one.netns.as_deref());
        let netns = made.fresh.as_ref().or(shared);
        if let Some(netns) = netns
            && (network.ipv6 || has_six(&config.link_local) || !config.sysctls.is_empty())
        {
            let ipv6 = network.ipv6 || has_six(&config.link_local);
            inside(netns, || settings(&info.interface, ipv6, &config.sysctls))?;
        }
        let mtu = match (&network.bridge, &network.parent) {
            (Some(bridge), _) => Some(bridge.mtu).filter(|mtu| *mtu != self.config.mtu),
            (None, parent) => parent.as_ref().and_then(|parent| parent.mtu),
        };
        let ways = {
            let state = self.lock();
            [Family::V4, Family::V6].map(|family| leads_out(&state, info, family))
        };
        configure(&mut made.route, made.index, info, mtu, ways)?;
        if let (Some(bridge), Some(host_interface)) = (&network.bridge, &info.host_interface) {
            self.let_send(&[host_interface, &bridge.interface])?;
        }
        Ok(made.fresh)
    }

    /// The host's side came up before the other one, and so did a bridge before its first port: each has its carrier
    /// now, but drops what it is to send until the kernel has told everybody, which can take a second, and longer
    /// while it is busy with namespaces that go. To be asked for a link it does so at once (Linux 6.8,
    /// `linkwatch_sync_dev` in `rtnl_getlink`); in this order, as the port gives the bridge its carrier.
    fn let_send(&self, links: &[&str]) -> Result<(), NetworkError> {
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        for link in links {
            let asked = route.link(link);
            asked.map_err(kernel("find a container's link"))?;
        }
        Ok(())
    }

    /// A link through to a bridge.
    fn plug(
        &self,
        info: &mut EndpointInfo,
        network: &Network,
        bridge: &Bridge,
        (sandbox, owner): (Option<&Sandbox>, Owner),
    ) -> Result<Inside, NetworkError> {
        let master = self.link_index(network)?;
        let (fresh, mut route, link, renamed) = match sandbox {
            // Names other than the first link's are rare enough to be made when they are asked for.
            None => {
                let Ready { netns, route, link } = self.pool.take(true, owner)?;
                (Some(netns), route, link, info.interface != pool::INNER_NAME)
            }
            Some(sandbox) => {
                let Some(netns) = &sandbox.netns else {
                    return Err(NetworkError::NotFound(bridge.interface.clone()));
                };
                let host_name = info.host_interface.clone().unwrap_or_default();
                let mtu = self.config.mtu;
                let (route, link) = pool::link_into(netns, &host_name, &info.interface, mtu)?;
                (None, route, Some(link), false)
            }
        };
        let link = link.ok_or_else(|| NetworkError::NotFound(bridge.interface.clone()))?;
        // For whoever undoes this.
        info.host_interface = Some(link.host_name.clone());
        self.attach(&link, network, bridge, master)?;
        if renamed {
            let name = LinkChange {
                name: Some(&info.interface),
                ..LinkChange::default()
            };
            route
                .apply(&[set_link(LinkName::Index(link.inner_index), &name)])
                .map_err(kernel("name a container's link"))?;
        }
        Ok(Inside {
            fresh,
            route,
            index: link.inner_index,
        })
    }

    /// A link on top of the one that the network shares.
    fn share(
        &self,
        info: &EndpointInfo,
        network: &Network,
        parent: &Parent,
        (sandbox, owner): (Option<&Sandbox>, Owner),
    ) -> Result<Inside, NetworkError> {
        let index = self.link_index(network)?;
        let mut host = Route::open().map_err(kernel("open a route socket"))?;
        let (fresh, mut route) = match sandbox {
            None => {
                let Ready { netns, route, .. } = self.pool.take(false, owner)?;
                (Some(netns), route)
            }
            Some(Sandbox {
                netns: Some(netns), ..
            }) => {
                let open = || Route::open().map_err(kernel("open a route socket"));
                (None, inside(netns, open)?)
            }
            Some(_) => return Err(NetworkError::NotFound(parent.interface.clone())),
        };
        let shared = sandbox.and_then(|one| one.netns.as_deref());
        let netns = fresh.as_ref().or(shared);
        let netns = netns.ok_or_else(|| NetworkError::NotFound(parent.interface.clone()))?;
        let child = parent.child(index, netns, &info.interface, &mut host, &mut route)?;
        inside(netns, || {
            let path = format!("net/ipv6/conf/{}/disable_ipv6", info.interface);
            crate::sysctl::set(&path, "1")
        })?;
        Ok(Inside {
            fresh,
            route,
            index: child,
        })
    }

    /// The host's side first: with both sides up the container's has its carrier when it starts.
    fn attach(
        &self,
        link: &ReadyLink,
        network: &Network,
        bridge: &Bridge,
        master: u32,
    ) -> Result<(), NetworkError> {
        let outside = self.port_of(link.host_index, bridge, master);
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        let attached = route.apply(&outside);
        attached.map_err(|error| match error.is(Errno::XFULL) {
            true => NetworkError::BridgeFull {
                name: network.name.clone(),
                interface: bridge.interface.clone(),
            },
            false => kernel("put a container on the bridge")(error),
        })
    }

    /// What makes a link a port of a bridge.
    pub(crate) fn port_of(&self, link: u32, bridge: &Bridge, master: u32) -> Vec<Request> {
        let outer = LinkChange {
            up: true,
            mtu: (bridge.mtu != self.config.mtu).then_some(bridge.mtu),
            master: Some(master),
            ..LinkChange::default()
        };
        let mut requests = vec![set_link(LinkName::Index(link), &outer)];
        if !bridge.icc {
            requests.push(set_port(link, PortMode::Isolated));
        }
        if !self.config.userland_proxy {
            requests.push(set_port(link, PortMode::Hairpin));
        }
        requests
    }

    /// Index of a network's bridge or parent, which is made anew if somebody took it away.
    fn link_index(&self, network: &Network) -> Result<u32, NetworkError> {
        let known = self.lock().bridges.get(&network.id).copied();
        match known {
            Some(index) => Ok(index),
            None => {
                let index = self.ensure_link(network)?;
                index.ok_or_else(|| NetworkError::NotFound(network.name.clone()))
            }
        }
    }
}

/// Takes down a container's side of a link which has no other side.
pub(crate) fn unshare_link(sandbox: &Sandbox, interface: &str) -> Result<(), NetworkError> {
    let Some(netns) = &sandbox.netns else {
        return Ok(());
    };
    inside(netns, || {
        let mut route = Route::open().map_err(kernel("open a route socket"))?;
        match route.apply(&[delete_link(LinkName::Name(interface))]) {
            Err(error) if !error.is(Errno::NODEV) => {
                Err(kernel("take a container's link down")(error))
            }
            _ => Ok(()),
        }
    })
}

fn has_six(addresses: &[IpAddr]) -> bool {
    addresses.iter().any(IpAddr::is_ipv6)
}

/// As dockerd: the link has IPv6 only on networks with IPv6; no waiting for duplicates of addresses that we gave.
/// What the user set comes last.
fn settings(interface: &str, ipv6: bool, wanted: &[(String, String)]) -> Result<(), NetworkError> {
    if ipv6 {
        for (setting, value) in [
            ("accept_dad", "0"),
            ("accept_ra", "0"),
            ("disable_ipv6", "0"),
        ] {
            crate::sysctl::set(&format!("net/ipv6/conf/{interface}/{setting}"), value)?;
        }
    }
    for (path, value) in wanted {
        crate::sysctl::set_known(&path.replace("IFNAME", interface), value)?;
    }
    Ok(())
}

fn configure(
    route: &mut Route,
    link: u32,
    info: &EndpointInfo,
    mtu: Option<u32>,
    ways: [bool; 2],
) -> Result<(), NetworkError> {
    let inner = LinkChange {
        up: true,
        mtu,
        mac: info.mac.map(|mac| mac.0),
        ..LinkChange::default()
    };
    let mut requests = vec![set_link(LinkName::Index(link), &inner)];
    if let Some(address) = info.address {
        let net = Ipv4Net::new_assert(address.ip, address.prefix);
        requests.push(add_address(link, net.into()));
    }
    if let Some(address) = info.address6 {
        let net = Ipv6Net::new_assert(address.ip, address.prefix);
        requests.push(add_address(link, net.into()));
    }
    for ip in &info.link_local {
        let prefix = if ip.is_ipv4() {
            LINK_LOCAL.0
        } else {
            LINK_LOCAL.1
        };
        requests.extend(IpNet::new(*ip, prefix).map(|net| add_address(link, net)));
    }
    requests.extend(default_routes(info, link, ways));
    route
        .apply(&requests)
        .map_err(kernel("configure a container's link"))
}

/// The default routes of IPv4 and IPv6 by way of an endpoint, in the place of those by another one.
pub(crate) fn default_routes(info: &EndpointInfo, link: u32, ways: [bool; 2]) -> Vec<Request> {
    let v4 = info.address.filter(|_| ways[0]).map(|one| {
        let everywhere = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
        (IpNet::V4(everywhere), one.gateway.map(IpAddr::V4))
    });
    let v6 = info.address6.filter(|_| ways[1]).map(|one| {
        let everywhere = Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0);
        (IpNet::V6(everywhere), one.gateway.map(IpAddr::V6))
    });
    [v4, v6]
        .into_iter()
        .flatten()
        .map(|(everywhere, gateway)| replace_route(everywhere, gateway, Some(link)))
        .collect()
}
