//! What other people's firewalls do to our packets: a drop of theirs is final, whatever our table says. Their tables are
//! theirs; we can only tell.

use std::fmt;
use std::sync::PoisonError;

use wharf_netlink::nft::{Hook, KnownChain};

use crate::Networks;
use crate::firewall::TABLE;

/// firewalld's table.
const FIREWALLD: &str = "firewalld";

/// A firewall beside ours that stops packets of containers unless it is told otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// A chain drops what this host forwards if no rule of its own lets it through (ufw, dockerd).
    Policy {
        /// `ip`, `ip6` or `inet`.
        family: &'static str,
        /// Its table.
        table: String,
        /// Its name.
        chain: String,
    },
    /// firewalld rejects what goes between links that are in no zone.
    Firewalld,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy {
                family,
                table,
                chain,
            } => write!(
                f,
                "chain {chain} of table {family} {table} drops what this host forwards, unless rules there let the bridges of containers through"
            ),
            Self::Firewalld => f.write_str(
                "firewalld rejects what this host forwards, unless the bridges of containers are in a zone that accepts it",
            ),
        }
    }
}

impl Networks {
    /// Firewalls of others that stand in the way of containers, as far as nftables knows them: not those of
    /// `iptables-legacy`.
    pub fn obstacles(&self) -> Vec<Obstacle> {
        if !self.inner.config.firewall {
            return Vec::new();
        }
        let chains = {
            let table = self.inner.table.lock();
            table.unwrap_or_else(PoisonError::into_inner).base_chains()
        };
        match chains {
            Ok(chains) => {
                let mut obstacles = of(&chains);
                let admitted = self.inner.firewalld.admits();
                obstacles.retain(|one| !(admitted && *one == Obstacle::Firewalld));
                obstacles
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "look at the firewalls of others");
                Vec::new()
            }
        }
    }
}

fn of(chains: &[KnownChain]) -> Vec<Obstacle> {
    let forwarding = |one: &&KnownChain| one.hook == Some(Hook::Forward) && one.table != TABLE;
    let mut obstacles: Vec<_> = chains
        .iter()
        .filter(forwarding)
        .filter(|one| one.drops)
        .map(|one| Obstacle::Policy {
            family: one.family,
            table: one.table.clone(),
            chain: one.name.clone(),
        })
        .collect();
    if chains.iter().any(|one| one.table == FIREWALLD) {
        obstacles.push(Obstacle::Firewalld);
    }
    obstacles
}
