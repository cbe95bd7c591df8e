//! The firewall: one nftables table of ours, a pure function of networks and endpoints.
//!
//! [`Ruleset::of`] makes the rules as data, [`Ruleset`]'s `Display` shows them as `nft list table` would, and
//! [`Ruleset::batch`] turns them into one transaction that replaces the whole table. Start, change and repair
//! are the same call. Nobody else's table is read or written: what other tables drop stays dropped.

mod compile;
mod render;
mod rules;

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

/// Name of our table, in the family `inet`.
pub const TABLE: &str = "wharf";

/// All rules of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Containers with the ports of all host addresses that they publish themselves.
    own: Vec<Target>,
    /// The same of single host addresses.
    own_bound: Vec<Target>,
    /// Published ports by host address, for addresses that are not the loopback.
    published: Vec<(Target, Destination)>,
    /// Published ports of all host addresses.
    published_any: Vec<(Target, Destination)>,
    chains: Vec<Chain>,
}

/// What a packet is sent to; of our own ports, whom it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    /// Unspecified in the map of all addresses.
    address: Ipv4Addr,
    protocol: crate::Protocol,
    port: u16,
}

/// Where it goes instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Destination {
    address: Ipv4Addr,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: &'static str,
    hook: Option<Hook>,
    rules: Vec<Rule>,
}

/// Where a chain hangs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hook {
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterForward,
    FilterOutput,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    matches: Vec<Match>,
    action: Action,
}

/// A condition. All of a rule must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Match {
    /// Came by this link.
    Input(String),
    /// Leaves by this link.
    Output(String),
    /// Leaves by another link.
    OutputNot(String),
    /// From this subnet.
    Source(IpNet),
    /// IPv4, to outside of this subnet.
    DestinationNot(Ipv4Net),
    /// To an address of this host.
    DestinationLocal,
    /// IPv4, from a container to a port of all addresses that it publishes itself.
    Own,
    /// The same of a single address.
    OwnBound,
    /// Belongs to a connection that is known, or is caused by one.
    Known,
    /// Its connection's destination was changed.
    Redirected,
    /// An ICMP redirect.
    IcmpRedirect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Accept,
    Drop,
    /// Past the rest of the chain.
    Return,
    /// To the same port of the bridge, where the proxy listens. The proxy's answers to datagrams come from there,
    /// too, and are translated back.
    Redirect,
    /// To the chain that knows the published ports.
    JumpPublish,
    Masquerade,
    /// Destination by the map with host addresses.
    TranslateByAddress,
    /// Destination by the map without.
    TranslateByPort,
}
