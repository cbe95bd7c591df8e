//! Networks, endpoints and ports as the engine sees them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wharf_netlink::ChildKind;

use crate::{Mac, Owner};

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
    /// A link of the host, shared by containers with hardware addresses of their own.
    Macvlan,
    /// A link of the host, shared by containers with IP addresses of their own.
    Ipvlan,
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
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
    /// The Linux bridge; only of [`Driver::Bridge`].
    pub bridge: Option<Bridge>,
    /// The link that is shared; only of [`Driver::Macvlan`] and [`Driver::Ipvlan`].
    #[serde(default)]
    pub parent: Option<Parent>,
    /// Beginning of the names of its links inside containers; `None` is `eth`.
    #[serde(default)]
    pub link_prefix: Option<String>,
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
    /// Whether it has IPv4 addresses.
    #[serde(default = "yes")]
    pub ipv4: bool,
    /// Whether it has IPv6 addresses.
    #[serde(default)]
    pub ipv6: bool,
    /// It only describes others, and nobody can be in it.
    #[serde(default)]
    pub config_only: bool,
    /// Name of the network that describes it.
    #[serde(default)]
    pub config_from: String,
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
        self.has_addresses() && !self.is_built_in()
    }

    /// Whether its containers have links and addresses of their own.
    pub fn has_addresses(&self) -> bool {
        self.bridge.is_some() || self.parent.is_some()
    }

    /// Its subnets of both families, with the host's address in each.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = IpNet> + '_ {
        let host = |pool: &IpamPool| IpNet::new(pool.gateway?, pool.subnet.prefix_len()).ok();
        self.ipam.pools.iter().filter_map(host)
    }
}

fn yes() -> bool {
    true
}

/// A network's address management.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipam {
    /// Options, shown as they were given, or that none were.
    pub options: Option<BTreeMap<String, String>>,
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
    /// Whether that one was chosen for a subnet that was asked for without: dockerd does not show it.
    #[serde(default)]
    pub gateway_chosen: bool,
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
    /// IPv4 addresses; `None` is yes.
    pub ipv4: Option<bool>,
    /// IPv6 addresses, too; `None` is what the daemon's settings say, or no.
    pub ipv6: Option<bool>,
    /// It shall only describe others.
    pub config_only: bool,
    /// Name of the network that describes it; empty for none.
    pub config_from: String,
    /// Name of the address management; `default` or empty.
    pub ipam_driver: String,
    /// Its options.
    pub ipam_options: Option<BTreeMap<String, String>>,
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

/// The bridge under a network. Its subnets are those of [`Network::ipam`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Linux interface name.
    pub interface: String,
    /// Maximum size of a packet, in bytes.
    pub mtu: u32,
    /// Whether containers on it may talk to each other.
    pub icc: bool,
    /// Whether its containers are hidden behind the host's address.
    pub masquerade: bool,
    /// Nothing passes between it and the outside.
    #[serde(default)]
    pub internal: bool,
    /// Host address of ports published without one; `None` is the daemon's.
    #[serde(default)]
    pub host_binding: Option<IpAddr>,
    /// Somebody else made the Linux bridge: it stays when the network goes.
    #[serde(default)]
    pub foreign: bool,
    /// The way to the outside of each family.
    #[serde(default)]
    pub ways: Ways,
    /// The host has no IPv4 address on it.
    #[serde(default)]
    pub inhibit_ipv4: bool,
    /// Links of the host from which published ports are reached at the containers' own addresses.
    #[serde(default)]
    pub trusted: Vec<String>,
}

/// The ways to the outside of IPv4 and of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ways {
    /// Of IPv4.
    pub v4: Way<Ipv4Addr>,
    /// Of IPv6.
    pub v6: Way<Ipv6Addr>,
}

/// The way of one family between a bridge and the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way<A> {
    /// What the host does.
    pub mode: GatewayMode,
    /// Containers are hidden behind this address; `None` is that of the link which a packet leaves by.
    pub source: Option<A>,
    /// The containers' default gateway where that is not the host.
    pub next_hop: Option<A>,
}

impl<A> Default for Way<A> {
    fn default() -> Self {
        Self {
            mode: GatewayMode::Nat,
            source: None,
            next_hop: None,
        }
    }
}

/// Docker's `com.docker.network.bridge.gateway_mode_ipv4` and `_ipv6`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GatewayMode {
    /// Addresses are translated; only published ports are reached from outside.
    #[default]
    Nat,
    /// The same, and ports that are not published are reached at the containers' own addresses.
    NatUnprotected,
    /// No translation: published ports are reached at the containers' own addresses.
    Routed,
    /// The host has no address on the bridge.
    Isolated,
}

/// The link of the host under a network of the drivers `macvlan` and `ipvlan`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its name.
    pub interface: String,
    /// What is made on top of it for a container.
    pub kind: ChildKind,
    /// It is ours, and goes with the network.
    pub made: Option<MadeParent>,
    /// Maximum size of a packet, in bytes; `None` is the parent's.
    pub mtu: Option<u32>,
}

/// A link that was made to be a parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MadeParent {
    /// Leads nowhere.
    Dummy,
    /// Carries the frames of another link that are tagged with `number`.
    Vlan {
        /// The other link's name.
        of: String,
        /// 1 to 4094.
        number: u16,
    },
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
    /// Host port; 0 where the port is reached at the container's own address ([`GatewayMode::Routed`]).
    pub host_port: u16,
}

/// What a container asks of a network.
#[derive(Clone, Debug, Default)]
pub struct EndpointConfig {
    /// The container's name without slash; it stands in the texts of port errors.
    pub name: String,
    /// A static address within one of the network's subnets.
    pub ip: Option<Ipv4Addr>,
    /// A static IPv6 address within one of the network's subnets.
    pub ip6: Option<Ipv6Addr>,
    /// Further addresses, valid on the link only.
    pub link_local: Vec<IpAddr>,
    /// Name of the link inside; `None` is the next free one.
    pub interface: Option<String>,
    /// Kernel settings of the link, as paths below `/proc/sys` in which `IFNAME` stands for its name.
    pub sysctls: Vec<(String, String)>,
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
    /// Whom the container's network namespace belongs to, if it has none yet.
    pub owner: Owner,
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
    /// Address, prefix, gateway; only where the network has them.
    pub address: Option<Address>,
    /// IPv6 address; only where the network has them.
    #[serde(default)]
    pub address6: Option<Address6>,
    /// Hardware address; none of its own on ipvlan.
    #[serde(default)]
    pub mac: Option<Mac>,
    /// Further addresses, valid on the link only.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// Whether its network has no way to the outside, so that its gateway is nobody's default route.
    #[serde(default)]
    pub internal: bool,
    /// Whether its way outside needs no gateway (ipvlan in the modes l3 and l3s).
    #[serde(default)]
    pub routerless: bool,
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

/// An endpoint's address of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address<A = Ipv4Addr> {
    /// The container's address.
    pub ip: A,
    /// Length of the subnet's prefix, in bits.
    pub prefix: u8,
    /// Default gateway; `None` where there is no way outside, or one without a router.
    pub gateway: Option<A>,
}

/// An endpoint's IPv6 address.
pub type Address6 = Address<Ipv6Addr>;

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
