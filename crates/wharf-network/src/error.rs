//! What can go wrong with networks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use wharf_netlink::NetlinkError;
use wharf_records::RecordError;

use crate::Protocol;

/// An operation on a network failed. Texts are dockerd's where it has one.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No network has that name or id.
    #[error("network {0} not found")]
    NotFound(String),
    /// Several networks' ids begin so.
    #[error("network {0} is ambiguous ({1} matches found based on ID prefix)")]
    Ambiguous(String, usize),
    /// The container already has an endpoint in a network.
    #[error("endpoint with name {0} already exists in network {1}")]
    AlreadyConnected(String, String),
    /// A network of this name is there.
    #[error("network with name {0} already exists")]
    NameInUse(String),
    /// What is asked for makes no sense in itself.
    #[error("{0}")]
    Invalid(String),
    /// What is asked for is not allowed.
    #[error("{0}")]
    Forbidden(String),
    /// Docker can, we cannot (yet).
    #[error("{0} is not supported by wharf yet")]
    NotSupported(String),
    /// Nobody knows the driver.
    #[error("plugin \"{0}\" not found")]
    UnknownDriver(String),
    /// It is not in the network.
    #[error("container {0} is not connected to network {1}")]
    NotConnected(String, String),
    /// Containers are in the network.
    #[error("error while removing network: network {name} id {id} has active endpoints")]
    InUse {
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// The records could not be read or written.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The kernel refused a link, address, route or rule.
    #[error("{operation}")]
    Kernel {
        /// What was being done.
        operation: &'static str,
        /// Why not.
        #[source]
        source: NetlinkError,
    },
    /// No namespace could be made.
    #[error("make a network namespace")]
    Namespace(#[source] io::Error),
    /// No socket could be opened for name resolution.
    #[error("resolve names for a container")]
    Resolver(#[source] io::Error),
    /// The namespace of a running container could not be opened.
    #[error("open {}", path.display())]
    OpenNamespace {
        /// `/proc/<pid>/ns/net`.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A kernel setting could not be written.
    #[error("write {}", path.display())]
    Sysctl {
        /// Below `/proc/sys`.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// All subnets of the pools are in use.
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    PoolsExhausted,
    /// The network has no free address.
    #[error("no available {family} addresses on this network's address pools: {name} ({id})")]
    NoAddress {
        /// `IPv4` or `IPv6`.
        family: &'static str,
        /// Its name.
        name: String,
        /// Its id.
        id: String,
    },
    /// The Linux bridge has no room for another container.
    #[error(
        "network {name} is full: a Linux bridge has 1023 ports, and all of {interface} are taken; put further containers into another network"
    )]
    BridgeFull {
        /// Its name.
        name: String,
        /// The bridge.
        interface: String,
    },
    /// The kernel was built without a kind of link.
    #[error("this host's kernel has no {0}")]
    NoKind(&'static str),
    /// No network of that name describes others.
    #[error("configuration network {0:?} does not exist")]
    NoConfig(String),
    /// A link of another kind has the name of the Linux bridge.
    #[error("existing interface {0} is not a bridge")]
    NotABridge(String),
    /// The link under a network is not there.
    #[error("invalid parent interface {0}: no such interface on this host")]
    NoParent(String),
    /// A static address is taken.
    #[error("Address already in use")]
    AddressInUse(IpAddr),
    /// A static address lies outside of the subnet.
    #[error("no configured subnet contains IP address {0}")]
    AddressOutside(IpAddr),
    /// A static address on a network that has none, or on the default bridge.
    #[error("user specified IP address is supported on user defined networks only")]
    StaticAddress,
    /// `--bip` is no usable host address.
    #[error("invalid bridge address {0}: it must be a host address within its subnet")]
    BadBip(ipnet::IpNet),
    /// Another container has the port.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): Bind for {address} failed: port is already allocated"
    )]
    PortAllocated {
        /// The container's name.
        name: String,
        /// The endpoint's id.
        endpoint: String,
        /// Host address and port.
        address: SocketAddr,
    },
    /// All ports of a range are allocated.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): all ports are allocated"
    )]
    PortsExhausted {
        /// The container's name.
        name: String,
        /// The endpoint's id.
        endpoint: String,
    },
    /// A process of the host has the port, or the host does not have the address.
    #[error(
        "driver failed programming external connectivity on endpoint {name} ({endpoint}): failed to bind host port for {host}:{container}:{container_port}/{protocol}: {reason}"
    )]
    PortBind {
        /// The container's name.
        name: Box<str>,
        /// The endpoint's id.
        endpoint: Box<str>,
        /// Host address and port.
        host: SocketAddr,
        /// The container's address.
        container: IpAddr,
        /// The container's port.
        container_port: u16,
        /// Protocol.
        protocol: Protocol,
        /// The system's reason, in the words of the C library, lower case.
        reason: Box<str>,
    },
    /// Neither tcp, udp nor sctp.
    #[error("invalid proto: {0}")]
    UnknownProtocol(String),
    /// A hardware address that is none.
    #[error("address {0}: invalid MAC address")]
    BadMac(String),
    /// A socket of a published port could not be used.
    #[error("serve {protocol} {address}")]
    Proxy {
        /// Protocol.
        protocol: Protocol,
        /// Host address.
        address: IpAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// `/etc/resolv.conf` of the host could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Faults as one text: a line each, with a star before it if they are several (moby `errdefs`, of Go's `errors.Join`).
pub fn joined(faults: &[String]) -> String {
    match faults {
        [one] => one.clone(),
        _ => {
            let lines: Vec<_> = faults.iter().map(|fault| format!("* {fault}")).collect();
            lines.join("\n")
        }
    }
}

/// The operations' shorthand.
pub(crate) fn kernel(operation: &'static str) -> impl Fn(NetlinkError) -> NetworkError {
    move |source| NetworkError::Kernel { operation, source }
}
