//! Published ports on the host's own loopback.
//!
//! The kernel refuses to send what comes from 127.0.0.1 or ::1 by another link, and to let in what is sent there
//! (`route_localnet` would permit both, to everybody on the bridge, for as long as a rule stands in the way). So a packet
//! to a published port leaves the loopback *before* its connection is known: its source becomes the host's address on
//! the container's bridge. From there on it is a connection as any other of the host's to a published port. What comes
//! back gets the loopback's address as its destination after all translation, right before it reaches its socket. Without
//! these rules nothing is open that was not: the proxy's sockets take what comes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::rules::rule;
use super::{Action, Chain, Family, Hook, Match, Rule};

/// The address that the host's processes come from on the loopback. Those that choose another one meet the proxy.
const fn usual(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
        Family::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

/// All of the loopback's addresses.
pub(super) const fn all(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
        Family::V6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
    }
}

/// The name of the set of the host's addresses on bridges.
pub(super) const fn bridges(family: Family) -> &'static str {
    family.named("bridges", "bridges6")
}

/// The chains that lead off the loopback and back, and one that keeps others off what is published there alone.
pub(super) fn chains(families: &[Family]) -> [Chain; 3] {
    let base = |name, hook, rules| Chain {
        name,
        hook: Some(hook),
        rules,
    };
    // A host whose owner has set `route_localnet` lets the wire reach the proxy's sockets.
    let others = rule(
        [
            Match::InputNot("lo"),
            Match::DestinationIn("loopback_only", Family::V4),
        ],
        Action::Drop,
    );
    let leaving = families.iter().flat_map(|family| leaving(*family));
    let returning = families.iter().map(|family| returning(*family));
    [
        base("guard", Hook::FirstPrerouting, vec![others]),
        base("leave_loopback", Hook::BeforeTracking, leaving.collect()),
        base("enter_loopback", Hook::LastInput, returning.collect()),
    ]
}

/// What the proxy takes is left alone: what its owner does not want tracked, and what could not be told from our own on
/// its way back.
fn leaving(family: Family) -> [Rule; 4] {
    let (to, from) = (
        || Match::Destination(all(family)),
        || Match::Source(IpNet::from(usual(family))),
    );
    let from_bridge = Match::SourceAmong(bridges(family), family);
    [
        rule([to(), from_bridge], Action::Untrack),
        rule([to(), Match::Untracked], Action::Return),
        rule([to(), from()], Action::LeaveLoopbackByAddress(family)),
        rule([to(), from()], Action::LeaveLoopbackByPort(family)),
    ]
}

/// Only translation gives a packet that another link let in a source on the loopback.
fn returning(family: Family) -> Rule {
    rule(
        [
            Match::Source(all(family)),
            Match::DestinationAmong(bridges(family), family),
            Match::Redirected,
        ],
        Action::SetDestination(usual(family)),
    )
}
