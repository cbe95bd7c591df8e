//! What the daemon's settings say about networks.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

/// Settings of the daemon for its networks; [`Config::default`] is what dockerd does without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Linux interface of the network `bridge`.
    pub bridge_name: String,
    /// `--bip`: the bridge's own address with its prefix, such as 192.168.5.1/24.
    pub bip: Option<Ipv4Net>,
    /// `--mtu` of the network `bridge`, in bytes.
    pub mtu: u32,
    /// `default-address-pools`: base and size of the subnets taken from it; empty stands for Docker's own list.
    pub address_pools: Vec<(Ipv4Net, u8)>,
    /// `--ip-forward`: switch on the kernel's forwarding.
    pub ip_forward: bool,
    /// `--ip-masq`: hide containers behind the host's address.
    pub ip_masq: bool,
    /// `--icc`: containers of the default bridge may talk to each other.
    pub icc: bool,
    /// `--iptables`: whether firewall rules are written at all.
    pub firewall: bool,
    /// `--userland-proxy`: whether ports answer on the host's loopback and over IPv6.
    pub userland_proxy: bool,
    /// `--ip`: host address of ports published without one.
    pub default_binding: IpAddr,
    /// How many ready namespaces to keep, of each kind (with a link and without).
    pub ready_namespaces: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bridge_name: "wharf0".to_owned(),
            bip: None,
            mtu: 1500,
            address_pools: Vec::new(),
            ip_forward: true,
            ip_masq: true,
            icc: true,
            firewall: true,
            userland_proxy: true,
            default_binding: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            ready_namespaces: 4,
        }
    }
}

impl Config {
    /// The pools that subnets are taken from: the configured ones, else dockerd 26's own
    /// (`libnetwork/ipamutils`: 172.17.0.0/16 … 172.31.0.0/16, then 192.168.0.0/16 in /20s).
    pub fn pools(&self) -> Vec<(Ipv4Net, u8)> {
        if !self.address_pools.is_empty() {
            return self.address_pools.clone();
        }
        let class_b = |second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16);
        let mut pools: Vec<_> = (17..=31).map(|second| (class_b(second), 16)).collect();
        pools.push((Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16), 20));
        pools
    }
}
