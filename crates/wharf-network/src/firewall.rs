//! The firewall: one nftables table of ours, a pure function of networks and endpoints.
//!
//! [`Ruleset::of`] makes the rules as data, [`Ruleset`]'s `Display` shows them as `nft list table` would, and
//! `Ruleset::batch` turns them into one transaction that replaces the whole table; `Ruleset::change_from` into the one that
//! makes them of others. Start, change and repair are the same call. Nobody else's table is read or written: what other tables drop stays dropped.

mod change;
mod compile;
mod loopback;
mod render;
mod rules;
mod table;

use std::net::IpAddr;

use ipnet::IpNet;

pub(crate) use table::{Ownership, Table};

/// Name of our table, in the family `inet`.
pub const TABLE: &str = "wharf";

/// All rules of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    sets: Vec<Set>,
    maps: Vec<PortMap>,
    chains: Vec<Chain>,
    empty: bool,
}

/// What a packet is looked for in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    name: &'static str,
    family: Family,
    elements: Elements,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Elements {
    /// Addresses with a port.
    Ports(Vec<Target>),
    Addresses(Vec<IpAddr>),
}

/// Published ports, and where they lead.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PortMap {
    name: &'static str,
    family: Family,
    /// The key has a host address; without, it is all addresses.
    by_address: bool,
    /// The value has a port; without, it is an address alone.
    to_port: bool,
    entries: Vec<(Target, Destination)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The name of one of our sets and maps.
    const fn named(self, v4: &'static str, v6: &'static str) -> &'static str {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }
}

/// What a packet is sent to; of our own ports, whom it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    /// Unspecified in the map of all addresses.
    address: IpAddr,
    protocol: crate::Protocol,
    port: u16,
}

/// Where it goes instead, or whom it comes from instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Destination {
    address: IpAddr,
    /// Zero in maps whose value has none.
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
    FirstPrerouting,
    BeforeTracking,
    NatPrerouting,
    NatOutput,
    NatPostrouting,
    FilterForward,
    FilterOutput,
    LastInput,
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
    /// Came by another link.
    InputNot(&'static str),
    /// Leaves by this link.
    Output(String),
    /// Leaves by another link.
    OutputNot(String),
    /// Is of this family.
    Is(Family),
    /// From this subnet.
    Source(IpNet),
    /// Of the subnet's family, from outside of it.
    SourceNot(IpNet),
    /// To this subnet.
    Destination(IpNet),
    /// Of the subnet's family, to outside of it.
    DestinationNot(IpNet),
    /// From an address that is in this set.
    SourceAmong(&'static str, Family),
    /// To an address that is in this set.
    DestinationAmong(&'static str, Family),
    /// To an address of this host.
    DestinationLocal,
    /// From an address to a port that are in this set.
    SourceIn(&'static str, Family),
    /// To an address and a port that are in this set.
    DestinationIn(&'static str, Family),
    /// Belongs to a connection that is known, or is caused by one.
    Known,
    /// Belongs to no connection, by the wish of whoever said so before.
    Untracked,
    /// Its connection's destination was changed.
    Redirected,
    /// Any ICMP message.
    Icmp(Family),
    /// An ICMP redirect.
    IcmpRedirect(Family),
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
    /// Behind the address of the link that it leaves by.
    Masquerade,
    /// Behind this address.
    SourceNat(IpAddr),
    /// Destination by the map with host addresses.
    TranslateByAddress(Family),
    /// Destination by the map without.
    TranslateByPort(Family),
    /// Belongs to no connection, and is not translated.
    Untrack,
    /// Source by the map of the loopback with host addresses; of this packet alone.
    LeaveLoopbackByAddress(Family),
    /// Source by the map of the loopback without.
    LeaveLoopbackByPort(Family),
    /// To this address; this packet alone.
    SetDestination(IpAddr),
}
