//! What the daemon's settings say about networks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::NetworkError;

/// Settings of the daemon for its networks; [`Config::default`] is what dockerd does without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether there is a network `bridge`.
    pub default_bridge: bool,
    /// Socket of the system's D-Bus, by which firewalld is told of the bridges. `None`: it is not.
    pub bus: Option<PathBuf>,
    /// Linux interface of the network `bridge`.
    pub bridge_name: String,
    /// `--bip`: the bridge's own address with its prefix, such as 192.168.5.1/24.
    pub bip: Option<Ipv4Net>,
    /// `--bip6`: the same of IPv6.
    pub bip6: Option<Ipv6Net>,
    /// `--fixed-cidr`: addresses of the default bridge's containers.
    pub fixed_cidr: Option<Ipv4Net>,
    /// `--fixed-cidr-v6`: the same of IPv6.
    pub fixed_cidr6: Option<Ipv6Net>,
    /// `--default-gateway`: another default gateway of the default bridge's containers than the host.
    pub default_gateway: Option<Ipv4Addr>,
    /// `--default-gateway-v6`: the same of IPv6.
    pub default_gateway6: Option<Ipv6Addr>,
    /// `--ipv6`: the default bridge has IPv6, too.
    pub ipv6: bool,
    /// `--mtu` of the network `bridge`, in bytes.
    pub mtu: u32,
    /// `default-address-pools`: base and size of the subnets taken from it; empty stands for Docker's own list.
    pub address_pools: Vec<(IpNet, u8)>,
    /// `default-network-opts`: options of networks that are made, by driver; those of the request win.
    pub network_options: BTreeMap<String, BTreeMap<String, String>>,
    /// `--ip-forward`: switch on the kernel's forwarding.
    pub ip_forward: bool,
    /// `--ip-masq`: hide containers behind the host's address.
    pub ip_masq: bool,
    /// `--icc`: containers of the default bridge may talk to each other.
    pub icc: bool,
    /// `--iptables`: whether firewall rules are written at all.
    pub firewall: bool,
    /// `--userland-proxy`: whether ports are served within the daemon, too, where translation does not reach them.
    pub userland_proxy: bool,
    /// `allow-direct-routing`: published ports are reached at the containers' own addresses, too.
    pub direct_routing: bool,
    /// How published ports meet the host's own firewall.
    pub publish_policy: PublishPolicy,
    /// `--ip`: host address of ports published without one.
    pub default_binding: IpAddr,
    /// How many ready namespaces to keep, of each kind (with a link and without).
    pub ready_namespaces: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            default_bridge: true,
            bus: None,
            bridge_name: "wharf0".to_owned(),
            bip: None,
            bip6: None,
            fixed_cidr: None,
            fixed_cidr6: None,
            default_gateway: None,
            default_gateway6: None,
            ipv6: false,
            mtu: 1500,
            address_pools: Vec::new(),
            network_options: BTreeMap::new(),
            ip_forward: true,
            ip_masq: true,
            icc: true,
            firewall: true,
            userland_proxy: true,
            direct_routing: false,
            publish_policy: PublishPolicy::Translate,
            default_binding: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ready_namespaces: 4,
        }
    }
}

/// What of the settings the rules of published ports depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publishing {
    /// Ports are served within the daemon, too ([`Config::userland_proxy`]).
    pub proxy: bool,
    /// [`Config::direct_routing`].
    pub direct_routing: bool,
    /// [`Config::publish_policy`].
    pub policy: PublishPolicy,
}

/// `publish-policy`: how published ports meet the firewall of the host's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishPolicy {
    /// As Docker: addresses are translated before the host's rules for incoming packets are asked. Fast, and the
    /// container sees whom it talks to.
    #[default]
    Translate,
    /// Packets go to a socket of the daemon, as to any other server of the host: through the rules for incoming
    /// packets that ufw, firewalld or the owner made. The container sees the host as its client.
    RespectHostFirewall,
}

impl std::str::FromStr for PublishPolicy {
    type Err = crate::NetworkError;

    /// `translate` or `respect-host-firewall`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "translate" => Ok(Self::Translate),
            "respect-host-firewall" => Ok(Self::RespectHostFirewall),
            _ => Err(crate::NetworkError::Invalid(format!(
                "invalid publish-policy {text:?}: must be translate or respect-host-firewall"
            ))),
        }
    }
}

impl Config {
    /// Whether they fit together, as far as that does not depend on what there is.
    ///
    /// # Errors
    /// If an address of the default bridge is none of a host, or a pool is smaller than what is to be taken from it.
    pub fn check(&self) -> Result<(), NetworkError> {
        for (base, size) in &self.address_pools {
            if !(base.prefix_len()..=base.max_prefix_len()).contains(size) {
                return Err(NetworkError::Invalid(format!(
                    "invalid default-address-pools: networks of size /{size} do not fit into {base}"
                )));
            }
        }
        match self.default_bridge {
            true => crate::built_in::check(self),
            false => Ok(()),
        }
    }

    /// The IPv4 pools that subnets are taken from: the configured ones, else dockerd 26's own
    /// (`libnetwork/ipamutils`: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in /20s).
    pub fn pools(&self) -> Vec<(Ipv4Net, u8)> {
        let four = |(net, size): &(IpNet, u8)| match net {
            IpNet::V4(net) => Some((*net, *size)),
            IpNet::V6(_) => None,
        };
        let configured: Vec<_> = self.address_pools.iter().filter_map(four).collect();
        if !configured.is_empty() {
            return configured;
        }
        let class_b = |second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16);
        let mut pools: Vec<_> = (17..=31).map(|second| (class_b(second), 16)).collect();
        pools.push((Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16), 20));
        pools
    }

    /// The configured IPv6 pools; where there are none, networks take random unique local addresses.
    pub fn pools6(&self) -> Vec<(Ipv6Net, u8)> {
        let six = |(net, size): &(IpNet, u8)| match net {
            IpNet::V6(net) => Some((*net, *size)),
            IpNet::V4(_) => None,
        };
        self.address_pools.iter().filter_map(six).collect()
    }

    /// What the rules of published ports depend on.
    pub fn publishing(&self) -> Publishing {
        Publishing {
            proxy: self.userland_proxy,
            direct_routing: self.direct_routing,
            policy: self.publish_policy,
        }
    }
}
