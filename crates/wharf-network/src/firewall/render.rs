//! Rules as text, in the form of `nft list table inet wharf`.

use std::fmt;

use super::{Action, Destination, Hook, Match, Rule, Ruleset, TABLE, Target};

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {TABLE} {{")?;
        let with_address =
            |target: &Target| format!("{} . {} . {}", target.address, target.protocol, target.port);
        let without = |target: &Target| format!("{} . {}", target.protocol, target.port);
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
            Action::JumpPublish => "jump publish",
            Action::Masquerade => "masquerade",
            Action::TranslateByAddress => {
                "dnat ip to ip daddr . meta l4proto . th dport map @published"
            }
            Action::TranslateByPort => "dnat ip to meta l4proto . th dport map @published_any",
        })
    }
}

impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(link) => write!(f, "iifname \"{link}\""),
            Self::Output(link) => write!(f, "oifname \"{link}\""),
            Self::OutputNot(link) => write!(f, "oifname != \"{link}\""),
            Self::Source(net) => write!(f, "ip saddr {net}"),
            Self::DestinationNot(net) => write!(f, "ip daddr != {net}"),
            Self::DestinationLocal => f.write_str("fib daddr type local"),
            Self::Known => f.write_str("ct state established,related"),
            Self::Redirected => f.write_str("ct status dnat"),
            Self::IcmpRedirect => f.write_str("icmp type redirect"),
        }
    }
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
    for (index, (target, to)) in entries.iter().enumerate() {
        let lead = if index == 0 {
            "\t\telements = { "
        } else {
            ",\n\t\t\t     "
        };
        write!(f, "{lead}{} : {} . {}", show(target), to.address, to.port)?;
    }
    let end = if entries.is_empty() { "" } else { " }\n" };
    write!(f, "{end}\t}}\n")?;
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
