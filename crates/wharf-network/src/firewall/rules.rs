//! From networks and endpoints to rules.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{Action, Chain, Destination, Hook, Match, Rule, Ruleset, Target};
use crate::{Bridge, EndpointInfo, Network};

impl Ruleset {
    /// The rules for these networks and connected endpoints. `proxy`: ports are served within the daemon, too.
    pub fn of<'a>(
        networks: impl IntoIterator<Item = &'a Network>,
        endpoints: impl IntoIterator<Item = &'a EndpointInfo>,
        proxy: bool,
    ) -> Self {
        let mut bridges: Vec<&Bridge> = networks
            .into_iter()
            .filter_map(|n| n.bridge.as_ref())
            .collect();
        // What an internal network refuses is refused before another one lets it in.
        bridges.sort_by_key(|bridge| (!bridge.internal, bridge.interface.clone()));
        let (mut published, mut published_any) = (Vec::new(), Vec::new());
        for endpoint in endpoints {
            collect(endpoint, &mut published, &mut published_any);
        }
        published.sort_by_key(order);
        published_any.sort_by_key(order);
        let own = |entries: &[(Target, Destination)]| {
            let swapped = entries.iter().map(|(target, to)| Target {
                address: to.address,
                ..*target
            });
            let mut own: Vec<Target> = swapped.filter(|_| proxy).collect();
            own.sort_by_key(key);
            own.dedup();
            own
        };
        Self {
            own: own(&published_any),
            own_bound: own(&published),
            published,
            published_any,
            chains: chains(&bridges, proxy),
        }
    }
}

fn collect(
    endpoint: &EndpointInfo,
    published: &mut Vec<(Target, Destination)>,
    published_any: &mut Vec<(Target, Destination)>,
) {
    let Some(address) = endpoint.address else {
        return;
    };
    for port in &endpoint.ports {
        // IPv6 and the host's loopback are served by the proxy: their packets cannot be sent on to an IPv4
        // address of another link.
        let IpAddr::V4(host) = port.host_ip else {
            continue;
        };
        if host.is_loopback() {
            continue;
        }
        let entry = (
            Target {
                address: host,
                protocol: port.protocol,
                port: port.host_port,
            },
            Destination {
                address: address.ip,
                port: port.container_port,
            },
        );
        if host.is_unspecified() {
            published_any.push(entry);
        } else {
            published.push(entry);
        }
    }
}

fn order(entry: &(Target, Destination)) -> (Ipv4Addr, u8, u16) {
    key(&entry.0)
}

fn key(target: &Target) -> (Ipv4Addr, u8, u16) {
    (target.address, target.protocol.number(), target.port)
}

fn chains(bridges: &[&Bridge], proxy: bool) -> Vec<Chain> {
    let base = |name, hook, rules| Chain {
        name,
        hook: Some(hook),
        rules,
    };
    vec![
        Chain {
            name: "publish",
            hook: None,
            // A host address of its own wins over all addresses.
            rules: vec![
                rule([], Action::TranslateByAddress),
                rule([], Action::TranslateByPort),
            ],
        },
        base("prerouting", Hook::NatPrerouting, arriving(bridges, proxy)),
        base("output", Hook::NatOutput, vec![from_the_host()]),
        base(
            "postrouting",
            Hook::NatPostrouting,
            bridges.iter().flat_map(|b| leaving(b)).collect(),
        ),
        base(
            "forward",
            Hook::FilterForward,
            bridges.iter().flat_map(|b| through(b)).collect(),
        ),
        base(
            "redirects",
            Hook::FilterOutput,
            bridges.iter().map(|b| no_redirect(b)).collect(),
        ),
    ]
}

/// Packets to this host's ports. With br_netfilter loaded (and it is, beside a dockerd), one whose destination
/// becomes a neighbour on the same bridge is sent on by the bridge, never by the host: it cannot go back to the
/// port it came by, nor to another one if ports are isolated. Those are left to the proxy.
fn arriving(bridges: &[&Bridge], proxy: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    if proxy {
        rules.push(rule(
            [Match::DestinationLocal, Match::Own],
            Action::Redirect,
        ));
        rules.push(rule([Match::OwnBound], Action::Return));
        let isolated = bridges.iter().filter(|bridge| !bridge.icc);
        rules.extend(isolated.map(|b| rule([Match::Input(b.interface.clone())], Action::Return)));
    }
    rules.push(rule([Match::DestinationLocal], Action::JumpPublish));
    rules
}

/// Connections of the host itself, but for those to its loopback, which the proxy serves.
fn from_the_host() -> Rule {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    rule(
        [Match::DestinationNot(loopback), Match::DestinationLocal],
        Action::JumpPublish,
    )
}

/// Packets that leave a bridge's subnet, and those that come back to it by way of a published port: the answer
/// must pass through the host again, which the other container would otherwise leave aside.
fn leaving(bridge: &Bridge) -> Vec<Rule> {
    let name = || bridge.interface.clone();
    let subnets = [
        Some(IpNet::V4(bridge.subnet.trunc())),
        bridge.v6.map(|v6| IpNet::V6(v6.subnet.trunc())),
    ];
    let mut rules = Vec::new();
    for subnet in subnets.into_iter().flatten() {
        if bridge.masquerade {
            rules.push(rule(
                [Match::Source(subnet), Match::OutputNot(name())],
                Action::Masquerade,
            ));
        }
        rules.push(rule(
            [
                Match::Source(subnet),
                Match::Output(name()),
                Match::Redirected,
            ],
            Action::Masquerade,
        ));
    }
    rules
}

/// What may be sent on to a bridge's containers: answers, published ports, their neighbours on the same bridge.
fn through(bridge: &Bridge) -> Vec<Rule> {
    let to = || Match::Output(bridge.interface.clone());
    let among = if bridge.icc {
        Action::Accept
    } else {
        Action::Drop
    };
    let from = || Match::Input(bridge.interface.clone());
    if bridge.internal {
        // Nothing from outside, and nothing to it: not even answers.
        return vec![
            rule([from(), to()], among),
            rule([to()], Action::Drop),
            rule([from()], Action::Drop),
        ];
    }
    vec![
        rule([to(), Match::Known], Action::Accept),
        rule([to(), Match::Redirected], Action::Accept),
        rule([from(), to()], among),
        rule([to()], Action::Drop),
    ]
}

/// A container that reaches another one through the host must not be told to go there directly.
fn no_redirect(bridge: &Bridge) -> Rule {
    rule(
        [Match::Output(bridge.interface.clone()), Match::IcmpRedirect],
        Action::Drop,
    )
}

fn rule<const N: usize>(matches: [Match; N], action: Action) -> Rule {
    Rule {
        matches: matches.into(),
        action,
    }
}
