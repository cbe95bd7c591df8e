//! Rules as text, in the form of `nft list table inet wharf`.

use std::fmt;

use ipnet::IpNet;

use super::{Action, Destination, Hook, Match, Rule, Ruleset, TABLE, Target};

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        let with_address =
            |target: &Target| format!("{} . {} . {}", target.address, target.protocol, target.port);
        let without = |target: &Target| format!("{} . {}", target.protocol, target.port);
        set(f, "own", &self.own, with_address)?;
        set(f, "own_bound", &self.own_bound, with_address)?;
        map(
            f,
            "published",
            "ipv4_addr . inet_proto . inet_service",
            &self.published,
            with_address,
        )?;
        map(
            f,
            "published_any",
            "inet_proto . inet_service",
            &self.published_any,
            without,
        )?;
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

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.matches {
            write!(f, "{condition} ")?;
        }
        f.write_str(match self.action {
            Action::Accept => "accept",
            Action::Drop => "drop",
            Action::Redirect => "redirect",
            Action::Return => "return",
            Action::JumpPublish => "jump publish",
            Action::Masquerade => "masquerade",
            Action::TranslateByAddress => {
                "dnat ip to ip daddr . meta l4proto . th dport map @published"
            }
            Action::TranslateByPort => {
                "meta nfproto ipv4 dnat ip to meta l4proto . th dport map @published_any"
            }
        })
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(link) => write!(f, "iifname \"{link}\""),
            Self::Output(link) => write!(f, "oifname \"{link}\""),
            Self::OutputNot(link) => write!(f, "oifname != \"{link}\""),
            Self::Source(IpNet::V4(net)) => write!(f, "ip saddr {net}"),
            Self::Source(IpNet::V6(net)) => write!(f, "ip6 saddr {net}"),
            Self::DestinationNot(net) => write!(f, "ip daddr != {net}"),
            Self::DestinationLocal => f.write_str("fib daddr type local"),
            Self::Own => f.write_str("ip saddr . meta l4proto . th dport @own"),
            Self::OwnBound => f.write_str("ip saddr . meta l4proto . th dport @own_bound"),
            Self::Known => f.write_str("ct state established,related"),
            Self::Redirected => f.write_str("ct status dnat"),
            Self::IcmpRedirect => f.write_str("icmp type redirect"),
        }
    }
}

fn set(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    own: &[Target],
    show: impl Fn(&Target) -> String,
) -> fmt::Result {
    writeln!(
        f,
        "\tset {name} {{\n\t\ttype ipv4_addr . inet_proto . inet_service"
    )?;
    elements(f, own.iter().map(show))?;
    writeln!(f, "\t}}\n")
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

fn map(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    key: &str,
    entries: &[(Target, Destination)],
    show: impl Fn(&Target) -> String,
) -> fmt::Result {
    writeln!(
        f,
        "\tmap {name} {{\n\t\ttype {key} : ipv4_addr . inet_service"
    )?;
    elements(
        f,
        entries
            .iter()
            .map(|(target, to)| format!("{} : {} . {}", show(target), to.address, to.port)),
    )?;
    writeln!(f, "\t}}")?;
    if name == "published" {
        writeln!(f)
    } else {
        Ok(())
    }
}

const fn describe(hook: Hook) -> &'static str {
    match hook {
        Hook::NatPrerouting => "type nat hook prerouting priority dstnat",
        Hook::NatOutput => "type nat hook output priority -100",
        Hook::NatPostrouting => "type nat hook postrouting priority srcnat",
        Hook::FilterForward => "type filter hook forward priority filter",
        Hook::FilterOutput => "type filter hook output priority filter",
    }
}
