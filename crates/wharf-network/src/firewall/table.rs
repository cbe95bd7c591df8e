//! Our table in the kernel: whose it is, and how it is replaced.

use rustix::io::Errno;
use wharf_netlink::nft::{Family, KnownChain};
use wharf_netlink::{NetlinkError, Nftables};

use super::{Ruleset, TABLE};

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
    /// Whether the kernel has said so.
    is_known: bool,
    /// What is in the kernel; nothing where others may have changed it, or where that is not certain.
    applied: Option<Ruleset>,
}

impl Table {
    /// Opens the socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, NetlinkError> {
        Ok(Self {
            nftables: Nftables::open()?,
            ownership: Ownership::Socket,
            is_known: false,
            applied: None,
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

    /// Who may change it. Asks the kernel by a table that is gone at once, if none was made yet.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn ownership(&mut self) -> Result<Ownership, NetlinkError> {
        if !self.is_known {
            match self.nftables.commit(&Ruleset::question()) {
                Err(error) if error.is(Errno::OPNOTSUPP) => self.ownership = Ownership::Anybody,
                done => done?,
            }
            self.is_known = true;
        }
        Ok(self.ownership)
    }

    /// Has the next [`Table::replace`] make all of it anew, whatever is there.
    pub(crate) fn forget(&mut self) {
        self.applied = None;
    }

    /// Puts `rules` in the place of what is there; a ruleset without rules takes the table away.
    pub(crate) fn replace(&mut self, rules: Ruleset) -> Result<(), NetlinkError> {
        // After an error it is not certain which of both is there.
        let applied = self.applied.take();
        if rules.is_empty() {
            return self.nftables.commit(&Ruleset::removal());
        }
        let changed = applied.is_some_and(|old| self.change(&old, &rules));
        if !changed {
            self.make(&rules)?;
        }
        self.applied = (self.ownership == Ownership::Socket).then_some(rules);
        Ok(())
    }

    /// Makes `rules` of `old`; whether that could be done.
    fn change(&mut self, old: &Ruleset, rules: &Ruleset) -> bool {
        let nftables = &mut self.nftables;
        let handles = |chain| nftables.rule_handles(Family::Inet, TABLE, chain);
        let change = rules.change_from(old, handles);
        let done = change.and_then(|change| match change {
            Some(change) => self.nftables.commit(&change).map(|()| true),
            None => Ok(false),
        });
        done.unwrap_or_else(|error| {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "the firewall table is not what it was: it is made anew"
            );
            false
        })
    }

    /// Makes the table anew.
    fn make(&mut self, rules: &Ruleset) -> Result<(), NetlinkError> {
        let done = self.nftables.commit(&rules.batch(self.ownership));
        match done {
            Err(error) if self.ownership == Ownership::Socket && error.is(Errno::OPNOTSUPP) => {
                self.ownership = Ownership::Anybody;
                self.nftables.commit(&rules.batch(self.ownership))?;
            }
            done => done?,
        }
        self.is_known = true;
        Ok(())
    }

    /// As on a kernel before Linux 6.9.
    #[cfg(test)]
    pub(crate) fn share(&mut self) {
        (self.ownership, self.is_known) = (Ownership::Anybody, true);
        self.applied = None;
    }
}
