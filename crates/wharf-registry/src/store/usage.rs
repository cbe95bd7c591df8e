//! Quotas, and what is used of them. Counted at the start and then along with what happens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Store, keys};
use crate::Error;
use crate::names::{Name, UploadId};

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
    /// What uploads under way hold: they are promised the place that their bytes have taken.
    uploads: HashMap<UploadId, Held>,
}

/// What one upload holds, until its blob has been counted.
#[derive(Debug)]
struct Held {
    name: Name,
    /// Of the registry's quota.
    total: u64,
    /// Of its repository's.
    repository: u64,
}

impl Counted {
    /// Without what the upload `but` holds.
    fn total_but(&self, but: Option<&UploadId>) -> u64 {
        let held = self.uploads.iter().filter(|(id, _)| Some(*id) != but);
        self.total + held.map(|(_, held)| held.total).sum::<u64>()
    }

    fn repository_but(&self, name: &Name, but: Option<&UploadId>) -> u64 {
        let held = self.uploads.iter().filter(|(id, _)| Some(*id) != but);
        let held = held.filter(|(_, held)| held.name == *name);
        let used = self.repositories.get(name).copied().unwrap_or(0);
        used + held.map(|(_, held)| held.repository).sum::<u64>()
    }
}

/// Bytes that have been counted before they are there, so that no two take the last place; given back unless they are kept.
#[must_use]
pub(super) struct Counting<'a> {
    usage: &'a Usage,
    /// The repository that they are linked to; else they are stored.
    name: Option<&'a Name>,
    bytes: u64,
}

impl Counting<'_> {
    /// They are there.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        match self.name {
            _ if self.bytes == 0 => {}
            Some(name) => self.usage.unlinked(name, self.bytes),
            None => self.usage.freed(self.bytes),
        }
    }
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

    /// Counts so many bytes that are about to be stored.
    ///
    /// # Errors
    /// [`Error::Quota`] if there is no place for them.
    pub(super) fn store(&self, more: u64) -> Result<Counting<'_>, Error> {
        let mut counted = self.counted();
        self.fits(&counted, None, more)?;
        counted.total += more;
        Ok(Counting {
            usage: self,
            name: None,
            bytes: more,
        })
    }

    /// Counts so many bytes that a repository is about to have.
    ///
    /// # Errors
    /// [`Error::Quota`] if there is no place for them.
    pub(super) fn link<'a>(&'a self, name: &'a Name, more: u64) -> Result<Counting<'a>, Error> {
        let mut counted = self.counted();
        self.repository_fits(&counted, name, None, more)?;
        let more = if self.is_limited() { more } else { 0 };
        if more > 0 {
            *counted.repositories.entry(name.clone()).or_default() += more;
        }
        Ok(Counting {
            usage: self,
            name: Some(name),
            bytes: more,
        })
    }

    /// An upload is about to have so many bytes altogether: they are its own until it is counted or given up.
    ///
    /// # Errors
    /// [`Error::Quota`] if there is no place for them; it holds what it held.
    pub(super) fn hold(&self, upload: &UploadId, name: &Name, bytes: u64) -> Result<(), Error> {
        if !self.is_limited() {
            return Ok(());
        }
        let mut counted = self.counted();
        self.fits(&counted, Some(upload), bytes)?;
        self.repository_fits(&counted, name, Some(upload), bytes)?;
        counted
            .uploads
            .insert(upload.clone(), Held::of(name, bytes));
        Ok(())
    }

    /// An upload that has so many bytes already is gone on with.
    pub(super) fn found(&self, upload: &UploadId, name: &Name, bytes: u64) {
        if self.is_limited() {
            let mut counted = self.counted();
            let held = Held::of(name, bytes);
            counted.uploads.entry(upload.clone()).or_insert(held);
        }
    }

    /// What an upload held is a blob of so many bytes; 0 if that was here already.
    pub(super) fn stored(&self, upload: &UploadId, bytes: u64) {
        let mut counted = self.counted();
        counted.total += bytes;
        if let Some(held) = counted.uploads.get_mut(upload) {
            held.total = 0;
        }
    }

    /// The blob of an upload is its repository's, with so many bytes; 0 if it was that already.
    pub(super) fn linked(&self, upload: &UploadId, name: &Name, bytes: u64) {
        if !self.is_limited() {
            return;
        }
        let mut counted = self.counted();
        *counted.repositories.entry(name.clone()).or_default() += bytes;
        if let Some(held) = counted.uploads.get_mut(upload) {
            held.repository = 0;
        }
    }

    /// An upload is no more.
    pub(super) fn dropped(&self, upload: &UploadId) {
        self.counted().uploads.remove(upload);
    }

    pub(super) fn freed(&self, less: u64) {
        let mut counted = self.counted();
        counted.total = counted.total.saturating_sub(less);
    }

    pub(super) fn unlinked(&self, name: &Name, less: u64) {
        if let Some(used) = self.counted().repositories.get_mut(name) {
            *used = used.saturating_sub(less);
        }
    }

    fn fits(&self, counted: &Counted, upload: Option<&UploadId>, more: u64) -> Result<(), Error> {
        let Some(quota) = self.quotas.total else {
            return Ok(());
        };
        let used = counted.total_but(upload);
        match used.saturating_add(more) > quota {
            true => Err(Error::Quota(format!(
                "the registry's quota is used up: {used} of {quota} bytes, and {more} more are wanted"
            ))),
            false => Ok(()),
        }
    }

    fn repository_fits(
        &self,
        counted: &Counted,
        name: &Name,
        upload: Option<&UploadId>,
        more: u64,
    ) -> Result<(), Error> {
        let Some(quota) = self.quotas.repository else {
            return Ok(());
        };
        let used = counted.repository_but(name, upload);
        match used.saturating_add(more) > quota {
            true => Err(Error::Quota(format!(
                "the quota of {name} is used up: {used} of {quota} bytes, and {more} more are wanted"
            ))),
            false => Ok(()),
        }
    }
}

impl Held {
    fn of(name: &Name, bytes: u64) -> Held {
        Held {
            name: name.clone(),
            total: bytes,
            repository: bytes,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(total: Option<u64>, repository: Option<u64>) -> Usage {
        Usage::new(Quotas { total, repository })
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn uploads_under_way_count_together() {
        for usage in [usage(Some(100), None), usage(None, Some(100))] {
            let (a, b) = (UploadId::random(), UploadId::random());
            usage.hold(&a, &name("one"), 60).unwrap();
            usage.hold(&a, &name("one"), 70).unwrap();
            assert!(usage.hold(&b, &name("one"), 40).is_err());
            usage.hold(&b, &name("one"), 30).unwrap();
            // What has been taken in can be finished.
            usage.stored(&a, 70);
            usage.linked(&a, &name("one"), 70);
            usage.dropped(&a);
            assert!(usage.hold(&b, &name("one"), 31).is_err());
            usage.dropped(&b);
            let c = UploadId::random();
            usage.hold(&c, &name("one"), 30).unwrap();
        }
    }

    #[test]
    fn the_last_place_is_taken_once() {
        let usage = usage(Some(100), Some(50));
        let kept = usage.store(60).unwrap();
        assert!(usage.store(41).is_err());
        kept.keep();
        drop(usage.store(40).unwrap());
        usage.store(40).unwrap().keep();
        let (one, other) = (name("one"), name("other"));
        let linked = usage.link(&one, 50).unwrap();
        assert!(usage.link(&one, 1).is_err());
        usage.link(&other, 50).unwrap().keep();
        drop(linked);
        usage.link(&one, 1).unwrap().keep();
    }
}
