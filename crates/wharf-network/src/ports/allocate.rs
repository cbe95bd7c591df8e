//! Choice of host ports, as dockerd's allocator does it (moby `libnetwork/portallocator`, `portmapper`).

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Held, HostSocket, bind};
use crate::{HostPort, NetworkError, PortBinding, Protocol, PublishedPort, sysctl};

/// Who asks for ports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// The container's name, for errors.
    pub(crate) name: &'a str,
    /// The endpoint's id, for errors.
    pub(crate) endpoint: &'a str,
    /// The container's address, for errors.
    pub(crate) container: IpAddr,
    /// Host address where none is asked for.
    pub(crate) default_binding: IpAddr,
    /// How a port of a host's IPv4 address leads to the container.
    pub(crate) v4: Reach,
    /// The same of IPv6.
    pub(crate) v6: Reach,
}

/// How a port of one family of the host's leads to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// By address translation, and by the proxy if there is one.
    Translated,
    /// By the proxy alone: the container has no address of the family.
    Proxied,
    /// Not at all: the container is reached at its own address.
    Routed,
    /// Not at all.
    Never,
}

/// The ports that containers hold.
#[derive(Debug, Default)]
pub(crate) struct Allocator {
    taken: BTreeSet<(Protocol, IpAddr, u16)>,
    /// Where the search for an ephemeral port goes on, so that one is not used again at once.
    next: Option<u16>,
}

impl Allocator {
    /// Binds all ports of a container; none stay if one fails. Those that are open at the container's own address
    /// come back beside them.
    pub(crate) fn allocate(
        &mut self,
        request: &Request<'_>,
        bindings: &[PortBinding],
    ) -> Result<(Vec<Held>, Vec<PublishedPort>), NetworkError> {
        let (mut held, mut routed) = (Vec::new(), Vec::new());
        for binding in bindings {
            for port in open_ports(request, binding) {
                if !routed.contains(&port) {
                    routed.push(port);
                }
            }
            match self.allocate_one(request, binding) {
                Ok(ports) => held.extend(ports),
                Err(error) => {
                    self.release(held.iter().map(|held: &Held| &held.port));
                    return Err(error);
                }
            }
        }
        Ok((held, routed))
    }

    /// Binds a port again that was published before the daemon ended.
    pub(crate) fn restore(&mut self, port: &PublishedPort) -> io::Result<Held> {
        let socket = bind(port.protocol, SocketAddr::new(port.host_ip, port.host_port))?;
        self.taken
            .insert((port.protocol, port.host_ip, port.host_port));
        Ok(Held {
            port: *port,
            socket,
        })
    }

    /// Gives ports back; their sockets are closed by whoever holds them.
    pub(crate) fn release<'a>(&mut self, ports: impl IntoIterator<Item = &'a PublishedPort>) {
        for port in ports {
            self.taken
                .remove(&(port.protocol, port.host_ip, port.host_port));
        }
    }

    fn allocate_one(
        &mut self,
        request: &Request<'_>,
        binding: &PortBinding,
    ) -> Result<Vec<Held>, NetworkError> {
        let addresses = host_addresses(request, binding.host_ip);
        if addresses.is_empty() {
            return Ok(Vec::new());
        }
        match binding.host_port {
            HostPort::Exact(port) => self.bind_all(request, binding, &addresses, port),
            HostPort::Range(first, last) => {
                self.first_free(request, binding, &addresses, first..=last)
            }
            HostPort::Any => {
                let (first, last) = sysctl::ephemeral_ports();
                let start = self
                    .next
                    .filter(|next| (first..=last).contains(next))
                    .unwrap_or(first);
                let candidates = (start..=last).chain(first..start);
                let held = self.first_free(request, binding, &addresses, candidates)?;
                let port = held.first().map_or(start, |held| held.port.host_port);
                self.next = port.checked_add(1);
                Ok(held)
            }
        }
    }

    fn first_free(
        &mut self,
        request: &Request<'_>,
        binding: &PortBinding,
        addresses: &[IpAddr],
        candidates: impl Iterator<Item = u16>,
    ) -> Result<Vec<Held>, NetworkError> {
        for port in candidates {
            match self.bind_all(request, binding, addresses, port) {
                Ok(held) => return Ok(held),
                Err(NetworkError::PortAllocated { .. }) => {}
                // Taken by a process of the host: dockerd tries the next one, too.
                Err(NetworkError::PortBind { ref reason, .. }) if **reason == *IN_USE => {}
                Err(error) => return Err(error),
            }
        }
        Err(NetworkError::PortsExhausted {
            name: request.name.to_owned(),
            endpoint: request.endpoint.to_owned(),
        })
    }

    fn bind_all(
        &mut self,
        request: &Request<'_>,
        binding: &PortBinding,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Vec<Held>, NetworkError> {
        let mut held: Vec<Held> = Vec::with_capacity(addresses.len());
        for ip in addresses {
            let address = SocketAddr::new(*ip, port);
            if self.taken.contains(&(binding.protocol, *ip, port)) {
                return Err(NetworkError::PortAllocated {
                    name: request.name.to_owned(),
                    endpoint: request.endpoint.to_owned(),
                    address,
                });
            }
            match bind(binding.protocol, address) {
                Ok(socket) => held.push(self.hold(binding, address, socket)),
                // The IPv6 address that nobody asked for: a host without IPv6 has none.
                Err(error)
                    if binding.host_ip.is_none()
                        && ip.is_ipv6()
                        && error.kind() != io::ErrorKind::AddrInUse => {}
                Err(error) => {
                    self.release(held.iter().map(|held| &held.port));
                    return Err(refused(request, binding, address, &error));
                }
            }
        }
        self.taken.extend(
            held.iter()
                .map(|held| (held.port.protocol, held.port.host_ip, held.port.host_port)),
        );
        Ok(held)
    }

    fn hold(&self, binding: &PortBinding, address: SocketAddr, socket: HostSocket) -> Held {
        Held {
            port: PublishedPort {
                protocol: binding.protocol,
                container_port: binding.container_port,
                host_ip: address.ip(),
                host_port: address.port(),
            },
            socket,
        }
    }
}

const IN_USE: &str = "address already in use";

/// The host addresses of a binding; all IPv4 addresses, and all IPv6 ones, are two sockets.
fn host_addresses(request: &Request<'_>, wanted: Option<IpAddr>) -> Vec<IpAddr> {
    let reach = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => request.v4,
        IpAddr::V6(_) => request.v6,
    };
    let held = |ip: &IpAddr| matches!(reach(ip), Reach::Translated | Reach::Proxied);
    let first = wanted.unwrap_or(request.default_binding);
    let all = wanted.is_none() && first == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    if !all {
        return Some(first).filter(held).into_iter().collect();
    }
    // A container with IPv6 alone gets IPv4 clients only where an address asks for it.
    let four = Some(first).filter(|_| request.v4 == Reach::Translated);
    let six = Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)).filter(held);
    four.into_iter().chain(six).collect()
}

/// The ports of a binding that are open at the container's own addresses; the host's part of it is of no meaning
/// there.
fn open_ports(request: &Request<'_>, binding: &PortBinding) -> Vec<PublishedPort> {
    let wanted = binding.host_ip;
    let four = request.v4 == Reach::Routed && wanted.is_none_or(|ip| ip.is_ipv4());
    let six = request.v6 == Reach::Routed && wanted.is_none_or(|ip| ip.is_ipv6());
    let port = |host_ip| PublishedPort {
        protocol: binding.protocol,
        container_port: binding.container_port,
        host_ip,
        host_port: 0,
    };
    let four = four.then_some(port(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
    let six = six.then_some(port(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
    four.into_iter().chain(six).collect()
}

fn refused(
    request: &Request<'_>,
    binding: &PortBinding,
    host: SocketAddr,
    error: &io::Error,
) -> NetworkError {
    // The C library's words as Go prints them, which is what dockerd's users know.
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => IN_USE.to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    NetworkError::PortBind {
        name: request.name.into(),
        endpoint: request.endpoint.into(),
        host,
        container: request.container,
        container_port: binding.container_port,
        protocol: binding.protocol,
        reason: reason.into(),
    }
}
