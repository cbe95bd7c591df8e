//! Our table in the kernel: whose it is, and how it is replaced.

use rustix::io::Errno;
use wharf_netlink::nft::KnownChain;
use wharf_netlink::{NetlinkError, Nftables};

use super::Ruleset;

/// Who may change our table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The daemon's socket alone, while it is open. `nft flush ruleset` passes the table by, so that no packet is ever
    /// without its translation.
    Socket,
    /// Whoever may change any table: before Linux 6.9 a table of one socket would go with it, and with it the
    /// connections of containers that outlive the daemon.
    Anybody,
}

/// The table, and the socket by which all its changes are made.
pub(crate) struct Table {
    nftables: Nftables,
    ownership: Ownership,
}

impl Table {
    /// Opens the socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            nftables: Nftables::open()?,
            ownership: Ownership::Socket,
        })
    }

    /// What its own changes are known by in the news of changes.
    pub(crate) fn port(&self) -> u32 {
        self.nftables.port()
    }

    /// All base chains, those of others too.
    pub(crate) fn base_chains(&mut self) -> Result<Vec<KnownChain>, NetlinkError> {
        self.nftables.base_chains()
    }

    /// Puts `rules` in the place of what is there; a ruleset without rules takes the table away.
    pub(crate) fn replace(&mut self, rules: &Ruleset) -> Result<(), NetlinkError> {
        if rules.is_empty() {
            return self.nftables.commit(&Ruleset::removal());
        }
        let done = self.nftables.commit(&rules.batch(self.ownership));
        match done {
            Err(error) if self.ownership == Ownership::Socket && error.is(Errno::OPNOTSUPP) => {
                self.ownership = Ownership::Anybody;
                self.nftables.commit(&rules.batch(self.ownership))
            }
            done => done,
        }
    }

    /// As on a kernel before Linux 6.9.
    #[cfg(test)]
    pub(crate) fn share(&mut self) {
        self.ownership = Ownership::Anybody;
    }
}
