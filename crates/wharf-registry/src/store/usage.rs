//! Quotas, and what is used of them. Counted at the start and then along with what happens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Store, keys};
use crate::Error;
use crate::names::Name;

/// Bytes that may be used; `None` for as many as the disk has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quotas {
    /// By all blobs together, each counted once.
    pub(crate) total: Option<u64>,
    /// By the blobs of one repository, those included that others have, too.
    pub(crate) repository: Option<u64>,
}

/// Bytes that are used.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) total: u64,
    pub(super) repositories: HashMap<Name, u64>,
}

#[derive(Debug)]
pub(super) struct Usage {
    quotas: Quotas,
    counted: Mutex<Counted>,
}

impl Usage {
    pub(super) fn new(quotas: Quotas) -> Usage {
        Usage {
            quotas,
            counted: Mutex::default(),
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.quotas != Quotas::default()
    }

    pub(super) fn fill(&mut self, counted: Counted) {
        self.counted = Mutex::new(counted);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many bytes more may be stored at all.
    pub(super) fn may_store(&self, more: u64) -> Result<(), Error> {
        let Some(quota) = self.quotas.total else {
            return Ok(());
        };
        let used = self.counted().total;
        match used + more > quota {
            true => Err(Error::Quota(format!(
                "the registry's quota is used up: {used} of {quota} bytes, and {more} more are wanted"
            ))),
            false => Ok(()),
        }
    }

    /// Whether a repository may have so many bytes more.
    pub(super) fn may_link(&self, name: &Name, more: u64) -> Result<(), Error> {
        let Some(quota) = self.quotas.repository else {
            return Ok(());
        };
        let used = self.counted().repositories.get(name).copied().unwrap_or(0);
        match used + more > quota {
            true => Err(Error::Quota(format!(
                "the quota of {name} is used up: {used} of {quota} bytes, and {more} more are wanted"
            ))),
            false => Ok(()),
        }
    }

    pub(super) fn stored(&self, more: u64) {
        self.counted().total += more;
    }

    pub(super) fn freed(&self, less: u64) {
        let mut counted = self.counted();
        counted.total = counted.total.saturating_sub(less);
    }

    pub(super) fn linked(&self, name: &Name, more: u64) {
        if self.is_limited() {
            *self.counted().repositories.entry(name.clone()).or_default() += more;
        }
    }

    pub(super) fn unlinked(&self, name: &Name, less: u64) {
        if let Some(used) = self.counted().repositories.get_mut(name) {
            *used = used.saturating_sub(less);
        }
    }
}

impl Store {
    /// Counts all there is.
    pub(super) fn count(&self) -> Result<Counted, Error> {
        let mut counted = Counted::default();
        for digest in self.all_blobs()? {
            counted.total += self
                .storage
                .stat(&keys::blob(&digest))?
                .map_or(0, |(size, _)| size);
        }
        self.walk("", &mut |name| {
            let mut digests = self.linked_digests(&keys::layers(name))?;
            digests.extend(self.linked_digests(&keys::revisions(name))?);
            let mut used = 0;
            for digest in digests {
                used += self
                    .storage
                    .stat(&keys::blob(&digest))?
                    .map_or(0, |(size, _)| size);
            }
            counted.repositories.insert(name.clone(), used);
            Ok(())
        })?;
        Ok(counted)
    }
}
