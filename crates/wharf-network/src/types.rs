//! Networks, endpoints and ports as the engine sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
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
    /// Without a way to the outside.
    #[serde(default)]
    pub internal: bool,
    /// `--attachable`: of meaning to swarms only, and shown.
    #[serde(default)]
    pub attachable: bool,
    /// Whether it has IPv6 addresses.
    #[serde(default)]
    pub ipv6: bool,
    /// Address pools as they were asked for or chosen.
    #[serde(default)]
    pub ipam: Ipam,
    /// It is being removed; a daemon that finds it so finishes that.
    #[serde(default)]
    pub removing: bool,
}

impl Network {
    /// Whether it is one of the three that are always there.
    pub fn is_built_in(&self) -> bool {
        matches!(self.name.as_str(), "bridge" | "host" | "none")
    }

    /// Whether names of containers are resolved on it.
    pub fn has_names(&self) -> bool {
        self.bridge.is_some() && !self.is_built_in()
    }
}

/// A network's address management.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// Options, shown as they were given.
    pub options: BTreeMap<String, String>,
    /// Pools, IPv4 first.
    pub pools: Vec<IpamPool>,
    /// Whether the user chose the IPv4 subnet: only then static addresses are allowed.
    pub chosen: bool,
    /// The same of IPv6.
    pub chosen6: bool,
}

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPool {
    /// Its addresses.
    pub subnet: IpNet,
    /// Those that are given out by themselves.
    pub range: Option<IpNet>,
    /// The host's own.
    pub gateway: Option<IpAddr>,
    /// Addresses that are never given out, by name.
    pub auxiliary: BTreeMap<String, IpAddr>,
}

/// What is asked of a new network.
#[derive(Clone, Debug, Default)]
pub struct NewNetwork {
    /// Name.
    pub name: String,
    /// Driver; `bridge` if empty.
    pub driver: String,
    /// Without a way to the outside.
    pub internal: bool,
    /// Shown.
    pub attachable: bool,
    /// IPv6 addresses, too.
    pub ipv6: bool,
    /// Name of the address management; `default` or empty.
    pub ipam_driver: String,
    /// Its options.
    pub ipam_options: BTreeMap<String, String>,
    /// Subnets, as typed.
    pub pools: Vec<NewPool>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A subnet that is asked for, as typed; empty texts stand for nothing.
#[derive(Clone, Debug, Default)]
pub struct NewPool {
    /// Subnet.
    pub subnet: String,
    /// Range.
    pub range: String,
    /// Gateway.
    pub gateway: String,
    /// Auxiliary addresses by name.
    pub auxiliary: BTreeMap<String, String>,
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
    /// IPv6 subnet and the host's address in it.
    #[serde(default)]
    pub v6: Option<Bridge6>,
    /// Nothing passes between it and the outside.
    #[serde(default)]
    pub internal: bool,
    /// Host address of ports published without one; `None` is the daemon's.
    #[serde(default)]
    pub host_binding: Option<IpAddr>,
    /// Beginning of the names of its links inside containers; `None` is `eth`.
    #[serde(default)]
    pub link_prefix: Option<String>,
    /// Somebody else made the Linux bridge: it stays when the network goes.
    #[serde(default)]
    pub foreign: bool,
}

/// The IPv6 half of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge6 {
    /// Addresses of the network.
    pub subnet: Ipv6Net,
    /// The host's address in it.
    pub gateway: Ipv6Addr,
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
    /// A static IPv6 address within the network's subnet.
    pub ip6: Option<Ipv6Addr>,
    /// A chosen hardware address.
    pub mac: Option<Mac>,
    /// The container's hostname.
    pub hostname: String,
    /// All names that others on a user-defined network find it by.
    pub aliases: Vec<String>,
    /// Names that only this container knows, for others on the network: alias and container.
    pub links: Vec<(String, String)>,
    /// Ports to publish.
    pub ports: Vec<PortBinding>,
    /// Which of the container's networks leads outside: the one with the highest number.
    pub gateway_priority: i64,
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
    /// IPv6 address; only where the network has them.
    #[serde(default)]
    pub address6: Option<Address6>,
    /// Whether its network has no way to the outside, so that its gateway is nobody's default route.
    #[serde(default)]
    pub internal: bool,
    /// As it was asked for.
    #[serde(default)]
    pub gateway_priority: i64,
    /// The container's side of its link, such as `eth0`.
    #[serde(default)]
    pub interface: String,
    /// Host side of the container's link, such as `veth1a2b3c4`; only on a bridge.
    pub host_interface: Option<String>,
    /// The container's hostname.
    pub hostname: String,
    /// All names that others on a user-defined network find it by.
    pub aliases: Vec<String>,
    /// Names that only this container knows: alias and container.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// Ports that are bound on the host; only of the endpoint that leads outside.
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

/// An endpoint's IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address6 {
    /// The container's address.
    pub ip: Ipv6Addr,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    /// Default gateway.
    pub gateway: Ipv6Addr,
}

/// A connection that was just made.
#[derive(Debug)]
pub struct Endpoint {
    /// What `inspect` shows.
    pub info: EndpointInfo,
    /// The namespace to start the container in, if this is its first connection; `None` on the network `host`.
    pub netns: Option<OwnedFd>,
}

/// A container that survived a restart of the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveContainer {
    /// Its id.
    pub id: String,
    /// Its first process.
    pub pid: u32,
    /// Whether it runs in the host's own namespace or in another container's.
    pub shared: bool,
    /// How it resolves names on user-defined networks.
    pub dns: crate::DnsConfig,
}
