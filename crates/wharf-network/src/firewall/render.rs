//! Rules as text, in the form of `nft list table inet wharf`.

use std::fmt;

use ipnet::IpNet;

use super::{Action, Elements, Family, Hook, Match, PortMap, Rule, Ruleset, Set, TABLE, Target};

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        for (index, set) in self.sets.iter().enumerate() {
            write!(f, "{}{set}", if index == 0 { "" } else { "\n" })?;
        }
        for map in &self.maps {
            write!(f, "\n{map}")?;
        }
        for chain in &self.chains {
            writeln!(f, "\n\tchain {} {{", chain.name)?;
            if let Some(hook) = chain.hook {
                writeln!(f, "\t\t{}; policy accept;", describe(hook))?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl Family {
    /// How nft calls an address.
    const fn address(self) -> &'static str {
        self.named("ipv4_addr", "ipv6_addr")
    }

    /// How nft calls the header.
    const fn header(self) -> &'static str {
        self.named("ip", "ip6")
    }
}

fn with_address(target: &Target) -> String {
    format!("{} . {} . {}", target.address, target.protocol, target.port)
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.family.address();
        write!(f, "\tset {} {{\n\t\ttype {address}", self.name)?;
        match &self.elements {
            Elements::Ports(all) => {
                f.write_str(" . inet_proto . inet_service\n")?;
                elements(f, all.iter().map(with_address))?;
            }
            Elements::Addresses(all) => {
                f.write_str("\n")?;
                elements(f, all.iter().map(ToString::to_string))?;
            }
        }
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for PortMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.family.address();
        let (key, show): (_, fn(&Target) -> String) = match self.by_address {
            true => (
                format!("{address} . inet_proto . inet_service"),
                with_address,
            ),
            false => ("inet_proto . inet_service".to_owned(), |target| {
                format!("{} . {}", target.protocol, target.port)
            }),
        };
        let port = if self.to_port { " . inet_service" } else { "" };
        writeln!(
            f,
            "\tmap {} {{\n\t\ttype {key} : {address}{port}",
            self.name
        )?;
        let entry = |(target, to): &(Target, super::Destination)| match self.to_port {
            true => format!("{} : {} . {}", show(target), to.address, to.port),
            false => format!("{} : {}", show(target), to.address),
        };
        elements(f, self.entries.iter().map(entry))?;
        writeln!(f, "\t}}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        match self.action {
            Action::Accept => f.write_str("accept"),
            Action::Drop => f.write_str("drop"),
            Action::Redirect => f.write_str("redirect"),
            Action::Return => f.write_str("return"),
            Action::JumpPublish => f.write_str("jump publish"),
            Action::Masquerade => f.write_str("masquerade"),
            Action::Untrack => f.write_str("notrack"),
            Action::LeaveLoopbackByAddress(family) => {
                let (ip, map) = (family.header(), family.named("loopback", "loopback6"));
                write!(
                    f,
                    "{ip} saddr set {ip} daddr . meta l4proto . th dport map @{map}"
                )
            }
            Action::LeaveLoopbackByPort(family) => {
                let map = family.named("loopback_any", "loopback6_any");
                let ip = family.header();
                write!(f, "{ip} saddr set meta l4proto . th dport map @{map}")
            }
            Action::SetDestination(ip) => {
                write!(f, "{} daddr set {ip}", Family::of(ip).header())
            }
            Action::SourceNat(ip) => write!(f, "snat {} to {ip}", Family::of(ip).header()),
            Action::TranslateByAddress(family) => {
                let (ip, map) = (family.header(), family.named("published", "published6"));
                write!(
                    f,
                    "dnat {ip} to {ip} daddr . meta l4proto . th dport map @{map}"
                )
            }
            Action::TranslateByPort(family) => {
                let (ip, map) = (
                    family.header(),
                    family.named("published_any", "published6_any"),
                );
                let protocol = family.named("ipv4", "ipv6");
                write!(
                    f,
                    "meta nfproto {protocol} dnat {ip} to meta l4proto . th dport map @{map}"
                )
            }
        }
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(link) => write!(f, "iifname \"{link}\""),
            Self::InputNot(link) => write!(f, "iifname != \"{link}\""),
            Self::Output(link) => write!(f, "oifname \"{link}\""),
            Self::OutputNot(link) => write!(f, "oifname != \"{link}\""),
            Self::Is(family) => write!(f, "meta nfproto {}", family.named("ipv4", "ipv6")),
            Self::Source(net) => write!(f, "{} {}", side(net, "saddr"), short(net)),
            Self::SourceNot(net) => write!(f, "{} != {}", side(net, "saddr"), short(net)),
            Self::Destination(net) => write!(f, "{} {}", side(net, "daddr"), short(net)),
            Self::DestinationNot(net) => write!(f, "{} != {}", side(net, "daddr"), short(net)),
            Self::SourceAmong(set, family) => write!(f, "{} saddr @{set}", family.header()),
            Self::DestinationAmong(set, family) => write!(f, "{} daddr @{set}", family.header()),
            Self::DestinationLocal => f.write_str("fib daddr type local"),
            Self::SourceIn(set, family) => {
                write!(
                    f,
                    "{} saddr . meta l4proto . th dport @{set}",
                    family.header()
                )
            }
            Self::DestinationIn(set, family) => {
                write!(
                    f,
                    "{} daddr . meta l4proto . th dport @{set}",
                    family.header()
                )
            }
            Self::Known => f.write_str("ct state established,related"),
            Self::Untracked => f.write_str("ct state untracked"),
            Self::Redirected => f.write_str("ct status dnat"),
            Self::Icmp(family) => write!(f, "meta l4proto {}", family.named("icmp", "ipv6-icmp")),
            Self::IcmpRedirect(Family::V4) => f.write_str("icmp type redirect"),
            Self::IcmpRedirect(Family::V6) => f.write_str("icmpv6 type nd-redirect"),
        }
    }
}

/// A field of the header of a subnet's family.
fn side(net: &IpNet, field: &str) -> String {
    format!("{} {field}", Family::of(net.addr()).header())
}

/// A subnet of one address is that address.
fn short(net: &IpNet) -> String {
    match net.prefix_len() == net.max_prefix_len() {
        true => net.addr().to_string(),
        false => net.to_string(),
    }
}

/// The list of a set's or map's elements.
fn elements(f: &mut fmt::Formatter<'_>, all: impl Iterator<Item = String>) -> fmt::Result {
    let mut empty = true;
    for element in all {
        let lead = if empty {
            "\t\telements = { "
        } else {
            ",\n\t\t\t     "
        };
        write!(f, "{lead}{element}")?;
        empty = false;
    }
    f.write_str(if empty { "" } else { " }\n" })
}

const fn describe(hook: Hook) -> &'static str {
    match hook {
        Hook::FirstPrerouting => "type filter hook prerouting priority raw",
        Hook::BeforeTracking => "type filter hook output priority -201",
        Hook::NatPrerouting => "type nat hook prerouting priority dstnat",
        Hook::NatOutput => "type nat hook output priority -100",
        Hook::NatPostrouting => "type nat hook postrouting priority srcnat",
        Hook::FilterForward => "type filter hook forward priority filter",
        Hook::FilterOutput => "type filter hook output priority filter",
        Hook::LastInput => "type filter hook input priority 101",
    }
}
