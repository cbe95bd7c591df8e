//! Networks, endpoints and ports as the engine sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::Mac;

/// How a network carries its containers' packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge on this host, behind address translation.
    Bridge,
    /// The host's own network namespace.
    Host,
    /// Nothing but loopback. Docker's name for this driver is `null`.
    #[serde(rename = "null")]
    None,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        })
    }
}

/// A network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hexadecimal digits; stays the same over restarts of the daemon.
    pub id: String,
    /// Name, unique on this host.
    pub name: String,
    /// Its driver.
    pub driver: Driver,
    /// When it was made, RFC 3339 with nanoseconds, in UTC.
    pub created: String,
    /// The Linux bridge, its subnet and the host's own address in it; only of [`Driver::Bridge`].
    pub bridge: Option<Bridge>,
    /// Options by Docker's names (`com.docker.network.bridge.name`, …).
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The bridge under a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Linux interface name.
    pub interface: String,
    /// Addresses of the network.
    pub subnet: Ipv4Net,
    /// The host's address in it: the containers' default gateway.
    pub gateway: Ipv4Addr,
    /// Maximum size of a packet, in bytes.
    pub mtu: u32,
    /// Whether containers on it may talk to each other.
    pub icc: bool,
    /// Whether its containers are hidden behind the host's address.
    pub masquerade: bool,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

impl std::str::FromStr for Protocol {
    type Err = crate::NetworkError;

    /// `tcp`, `udp` or `sctp`, in any case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(crate::NetworkError::UnknownProtocol(text.to_owned())),
        }
    }
}

/// Which host ports a publication may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPort {
    /// Any free one of the kernel's ephemeral range.
    Any,
    /// Exactly this one.
    Exact(u16),
    /// The first free one of these, both ends included.
    Range(u16, u16),
}

/// A wish: publish `container_port` on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port inside the container.
    pub container_port: u16,
    /// Host address; `None` is the daemon's default (all, both families).
    pub host_ip: Option<IpAddr>,
    /// Host port.
    pub host_port: HostPort,
}

/// A port that is bound on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port inside the container.
    pub container_port: u16,
    /// Host address that it is bound to; `0.0.0.0` and `::` are two entries, as Docker shows them.
    pub host_ip: IpAddr,
    /// Host port.
    pub host_port: u16,
}

/// What a container asks of a network.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// The container's name without slash; it stands in the texts of port errors.
    pub name: String,
    /// A static address within the network's subnet.
    pub ip: Option<Ipv4Addr>,
    /// A chosen hardware address.
    pub mac: Option<Mac>,
    /// The container's hostname (for name resolution on user-defined networks).
    pub hostname: String,
    /// Further names (for name resolution on user-defined networks).
    pub aliases: Vec<String>,
    /// Ports to publish.
    pub ports: Vec<PortBinding>,
}

/// A container's place in a network, as `inspect` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointInfo {
    /// 64 hexadecimal digits, new with each start of the container.
    pub id: String,
    /// The container's id.
    pub container: String,
    /// The container's name when it was connected.
    pub name: String,
    /// Its network's id.
    pub network_id: String,
    /// Its network's name.
    pub network_name: String,
    /// Name of the namespace: 64 hexadecimal digits, Docker's `SandboxID`.
    pub sandbox: String,
    /// Address, prefix, gateway; only on a bridge.
    pub address: Option<Address>,
    /// Host side of the container's link, such as `veth1a2b3c4`; only on a bridge.
    pub host_interface: Option<String>,
    /// The container's hostname.
    pub hostname: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// Ports that are bound on the host.
    pub ports: Vec<PublishedPort>,
}

/// An endpoint's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The container's address.
    pub ip: Ipv4Addr,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Ipv4Addr,
    /// Hardware address.
    pub mac: Mac,
}

/// A connection that was just made.
#[derive(Debug)]
pub struct Endpoint {
    /// What `inspect` shows.
    pub info: EndpointInfo,
    /// The namespace to start the container in; `None` on the network `host`.
    pub netns: Option<OwnedFd>,
}

/// A container that survived a restart of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveContainer {
    /// Its id.
    pub id: String,
    /// Its first process.
    pub pid: u32,
}
