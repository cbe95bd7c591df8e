//! From networks and endpoints to rules.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Action, Chain, Destination, Elements, Family, Hook, Match, PortMap, Rule, Ruleset, Set, Target,
    loopback,
};
use crate::{
    Bridge, EndpointInfo, GatewayMode, Network, Protocol, PublishPolicy, Publishing, bridge,
};

/// What of a network the rules are made from.
struct Bridged<'a> {
    bridge: &'a Bridge,
    /// The subnet of each family that it has.
    subnets: Vec<IpNet>,
    /// The host's addresses on it.
    hosts: Vec<IpAddr>,
}

impl Bridged<'_> {
    fn host(&self, family: Family) -> Option<IpAddr> {
        let mut hosts = self.hosts.iter();
        hosts.find(|ip| Family::of(**ip) == family).copied()
    }

    fn mode(&self, family: Family) -> GatewayMode {
        match family {
            Family::V4 => self.bridge.ways.v4.mode,
            Family::V6 => self.bridge.ways.v6.mode,
        }
    }

    /// Whether published ports are reached at the containers' own addresses, at least from somewhere.
    fn is_open(&self, family: Family, publishing: &Publishing) -> bool {
        let trusts = publishing.direct_routing || !self.bridge.trusted.is_empty();
        match self.mode(family) {
            GatewayMode::Routed => true,
            GatewayMode::Nat => trusts,
            GatewayMode::NatUnprotected | GatewayMode::Isolated => false,
        }
    }

    fn families(&self) -> impl Iterator<Item = Family> + '_ {
        self.subnets.iter().map(|net| Family::of(net.addr()))
    }
}

impl Ruleset {
    /// The rules for these networks and connected endpoints.
    pub fn of<'a>(
        networks: impl IntoIterator<Item = &'a Network>,
        endpoints: impl IntoIterator<Item = &'a EndpointInfo>,
        publishing: &Publishing,
    ) -> Self {
        let mut by_id: BTreeMap<&str, Bridged<'_>> = BTreeMap::new();
        for network in networks {
            if let Some(bridge) = &network.bridge {
                let pools = network.ipam.pools.iter();
                let bridged = Bridged {
                    bridge,
                    subnets: pools.map(|pool| pool.subnet).collect(),
                    hosts: bridge::hosts(network, bridge)
                        .map(|host| host.addr())
                        .collect(),
                };
                by_id.insert(&network.id, bridged);
            }
        }
        let mut ports = Ports::default();
        for endpoint in endpoints {
            if let Some(network) = by_id.get(endpoint.network_id.as_str()) {
                ports.collect(endpoint, network, publishing);
            }
        }
        let mut bridges: Vec<&Bridged<'_>> = by_id.values().collect();
        // What an internal network refuses is refused before another one lets it in.
        bridges.sort_by_key(|one| (!one.bridge.internal, one.bridge.interface.clone()));
        let six = bridges
            .iter()
            .any(|one| one.families().any(|family| family == Family::V6));
        let families = if six {
            &[Family::V4, Family::V6][..]
        } else {
            &[Family::V4]
        };
        let (mut sets, mut maps) = (Vec::new(), Vec::new());
        for family in families {
            let (own, published) = ports.of(*family, publishing.proxy);
            sets.extend(own);
            maps.extend(published);
            let open = |one: &&Bridged<'_>| one.is_open(*family, publishing);
            if bridges.iter().any(open) {
                sets.push(ports.open(*family));
            }
            let hosts = bridges.iter().filter_map(|one| one.host(*family)).collect();
            sets.push(Set {
                name: loopback::bridges(*family),
                family: *family,
                elements: Elements::Addresses(hosts),
            });
        }
        sets.push(set("loopback_only", Family::V4, ports.loopback_only));
        Self {
            sets,
            maps,
            chains: chains(&bridges, families, publishing),
            empty: bridges.is_empty(),
        }
    }

    /// Whether there is no network to have rules for.
    pub fn is_empty(&self) -> bool {
        self.empty
    }
}

/// All ports, by what is done with them.
#[derive(Default)]
struct Ports {
    published: Vec<(Target, Destination)>,
    published_any: Vec<(Target, Destination)>,
    /// Ports on the host's loopback, and the host's address on the way from there.
    loopback: Vec<(Target, Destination)>,
    /// The same of ports on all addresses.
    loopback_any: Vec<(Target, Destination)>,
    /// IPv4 ports that are on the loopback alone.
    loopback_only: Vec<Target>,
    open: Vec<Target>,
}

impl Ports {
    fn collect(&mut self, endpoint: &EndpointInfo, network: &Bridged<'_>, publishing: &Publishing) {
        for port in &endpoint.ports {
            let family = Family::of(port.host_ip);
            let own = match family {
                Family::V4 => endpoint.address.map(|one| IpAddr::from(one.ip)),
                Family::V6 => endpoint.address6.map(|one| IpAddr::from(one.ip)),
            };
            // What has no address of the family is served by the proxy.
            let Some(address) = own else { continue };
            let to = Destination {
                address,
                port: port.container_port,
            };
            if network.is_open(family, publishing) {
                self.open.push(Target {
                    address,
                    protocol: port.protocol,
                    port: port.container_port,
                });
            }
            if port.host_port == 0 {
                continue;
            }
            let target = Target {
                address: port.host_ip,
                protocol: port.protocol,
                port: port.host_port,
            };
            if port.host_ip.is_loopback() && family == Family::V4 {
                self.loopback_only.push(target);
            }
            if publishing.policy == PublishPolicy::Translate {
                self.translate(target, to, network.host(family));
            }
        }
    }

    /// `host` is the host's address on the container's bridge; without, the proxy alone serves the loopback, as it does all
    /// SCTP there: its packets name their senders' addresses inside, too, which nobody changes.
    fn translate(&mut self, target: Target, to: Destination, host: Option<IpAddr>) {
        let near = host.filter(|_| target.protocol != Protocol::Sctp);
        let near = near.map(|address| (target, Destination { address, port: 0 }));
        if target.address.is_unspecified() {
            self.published_any.push((target, to));
            self.loopback_any.extend(near);
        } else if !target.address.is_loopback() {
            self.published.push((target, to));
        } else if near.is_some() {
            self.published.push((target, to));
            self.loopback.extend(near);
        }
    }

    /// The sets and maps of one family.
    fn of(&self, family: Family, proxy: bool) -> ([Set; 2], [PortMap; 4]) {
        let of = |entries: &[(Target, Destination)]| {
            let mut entries: Vec<_> = entries
                .iter()
                .filter(|(target, _)| Family::of(target.address) == family)
                .copied()
                .collect();
            entries.sort_by_key(|entry| key(&entry.0));
            entries
        };
        let (published, published_any) = (of(&self.published), of(&self.published_any));
        let own = |name, entries: &[(Target, Destination)]| {
            let abroad = entries
                .iter()
                .filter(|(target, _)| !target.address.is_loopback());
            let swapped = abroad.map(|(target, to)| Target {
                address: to.address,
                ..*target
            });
            let elements = swapped.filter(|_| proxy).collect();
            set(name, family, elements)
        };
        let sets = [
            own(family.named("own", "own6"), &published_any),
            own(family.named("own_bound", "own6_bound"), &published),
        ];
        let map = |name, by_address, to_port, entries| PortMap {
            name,
            family,
            by_address,
            to_port,
            entries,
        };
        let any = family.named("published_any", "published6_any");
        let near = family.named("loopback", "loopback6");
        let near_any = family.named("loopback_any", "loopback6_any");
        let maps = [
            map(
                family.named("published", "published6"),
                true,
                true,
                published,
            ),
            map(any, false, true, published_any),
            map(near, true, false, of(&self.loopback)),
            map(near_any, false, false, of(&self.loopback_any)),
        ];
        (sets, maps)
    }

    /// The set of ports that are reached at the containers' own addresses.
    fn open(&self, family: Family) -> Set {
        let all = self.open.iter();
        let elements = all.filter(|one| Family::of(one.address) == family).copied();
        set(family.named("open", "open6"), family, elements.collect())
    }
}

fn set(name: &'static str, family: Family, mut elements: Vec<Target>) -> Set {
    elements.sort_by_key(key);
    elements.dedup();
    Set {
        name,
        family,
        elements: Elements::Ports(elements),
    }
}

fn key(target: &Target) -> (IpAddr, u8, u16) {
    (target.address, target.protocol.number(), target.port)
}

fn chains(bridges: &[&Bridged<'_>], families: &[Family], publishing: &Publishing) -> Vec<Chain> {
    let base = |name, hook, rules| Chain {
        name,
        hook: Some(hook),
        rules,
    };
    // A host address of its own wins over all addresses.
    let publish = families.iter().flat_map(|family| {
        [
            rule([], Action::TranslateByAddress(*family)),
            rule([], Action::TranslateByPort(*family)),
        ]
    });
    let mut chains = vec![
        Chain {
            name: "publish",
            hook: None,
            rules: publish.collect(),
        },
        base(
            "prerouting",
            Hook::NatPrerouting,
            arriving(bridges, families, publishing.proxy),
        ),
        base(
            "output",
            Hook::NatOutput,
            families
                .iter()
                .map(|family| from_the_host(*family))
                .collect(),
        ),
        base(
            "postrouting",
            Hook::NatPostrouting,
            bridges.iter().flat_map(|b| leaving(b)).collect(),
        ),
        base(
            "forward",
            Hook::FilterForward,
            bridges
                .iter()
                .flat_map(|b| through(b, publishing))
                .collect(),
        ),
        base(
            "redirects",
            Hook::FilterOutput,
            bridges.iter().flat_map(|b| no_redirect(b)).collect(),
        ),
    ];
    chains.extend(loopback::chains(families));
    chains
}

/// Packets to this host's ports. With br_netfilter loaded (and it is, beside a dockerd), one whose destination
/// becomes a neighbour on the same bridge is sent on by the bridge, never by the host: it cannot go back to the
/// port it came by, nor to another one if ports are isolated. Those are left to the proxy.
fn arriving(bridges: &[&Bridged<'_>], families: &[Family], proxy: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    if proxy {
        for family in families {
            let own = Match::SourceIn(family.named("own", "own6"), *family);
            let bound = Match::SourceIn(family.named("own_bound", "own6_bound"), *family);
            rules.push(rule([Match::DestinationLocal, own], Action::Redirect));
            rules.push(rule([bound], Action::Return));
        }
        let isolated = bridges.iter().filter(|one| !one.bridge.icc);
        let from = |one: &&Bridged<'_>| Match::Input(one.bridge.interface.clone());
        rules.extend(isolated.map(|one| rule([from(one)], Action::Return)));
    }
    // What is sent to our loopback from elsewhere is the kernel's to refuse.
    rules.extend(families.iter().map(|family| {
        let abroad = Match::DestinationNot(loopback::all(*family));
        rule([abroad, Match::DestinationLocal], Action::JumpPublish)
    }));
    rules
}

/// Connections of the host itself, but for those that did not leave its loopback, which the proxy serves.
fn from_the_host(family: Family) -> Rule {
    rule(
        [
            Match::SourceNot(loopback::all(family)),
            Match::DestinationLocal,
        ],
        Action::JumpPublish,
    )
}

/// Packets that leave a bridge's subnet, and those that come back to it by way of a published port: the answer
/// must pass through the host again, which the other container would otherwise leave aside.
fn leaving(one: &Bridged<'_>) -> Vec<Rule> {
    let name = || one.bridge.interface.clone();
    let mut rules = Vec::new();
    for subnet in &one.subnets {
        let family = Family::of(subnet.addr());
        let source = match family {
            Family::V4 => one.bridge.ways.v4.source.map(IpAddr::V4),
            Family::V6 => one.bridge.ways.v6.source.map(IpAddr::V6),
        };
        let translated = match one.mode(family) {
            GatewayMode::Nat | GatewayMode::NatUnprotected => true,
            GatewayMode::Routed | GatewayMode::Isolated => false,
        };
        if one.bridge.masquerade && translated {
            rules.push(rule(
                [Match::Source(*subnet), Match::OutputNot(name())],
                source.map_or(Action::Masquerade, Action::SourceNat),
            ));
        }
        rules.push(rule(
            [
                Match::Source(*subnet),
                Match::Output(name()),
                Match::Redirected,
            ],
            Action::Masquerade,
        ));
    }
    rules
}

/// What may be sent on to a bridge's containers: answers, published ports, their neighbours on the same bridge.
fn through(one: &Bridged<'_>, publishing: &Publishing) -> Vec<Rule> {
    let bridge = one.bridge;
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
    let mut rules = vec![
        rule([to(), Match::Known], Action::Accept),
        rule([to(), Match::Redirected], Action::Accept),
        rule([from(), to()], among),
    ];
    for family in one.families() {
        let open = || Match::DestinationIn(family.named("open", "open6"), family);
        match one.mode(family) {
            GatewayMode::Routed => rules.extend([
                rule([to(), Match::Icmp(family)], Action::Accept),
                rule([to(), open()], Action::Accept),
            ]),
            GatewayMode::NatUnprotected => {
                rules.push(rule([to(), Match::Is(family)], Action::Accept));
            }
            GatewayMode::Nat if publishing.direct_routing => {
                rules.push(rule([to(), open()], Action::Accept));
            }
            GatewayMode::Nat => rules.extend(bridge.trusted.iter().map(|link| {
                let from = Match::Input(link.clone());
                rule([from, to(), open()], Action::Accept)
            })),
            GatewayMode::Isolated => {}
        }
    }
    rules.push(rule([to()], Action::Drop));
    rules
}

/// A container that reaches another one through the host must not be told to go there directly.
fn no_redirect(one: &Bridged<'_>) -> Vec<Rule> {
    let to = || Match::Output(one.bridge.interface.clone());
    let redirect = |family| rule([to(), Match::IcmpRedirect(family)], Action::Drop);
    one.families().map(redirect).collect()
}

pub(super) fn rule<const N: usize>(matches: [Match; N], action: Action) -> Rule {
    Rule {
        matches: matches.into(),
        action,
    }
}
