//! Quotas, and what is used of them. Counted at the start and then along with what happens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use wharf_oci::Digest;

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
    /// The size of each blob.
    blobs: HashMap<Digest, u64>,
    /// All of them together.
    total: u64,
    repositories: HashMap<Name, u64>,
    /// What open uploads hold: they are promised the place that their bytes have taken.
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
    /// Counts a blob; nothing, if that has been done.
    fn add(&mut self, digest: &Digest, bytes: u64) {
        if self.blobs.insert(*digest, bytes).is_none() {
            self.total += bytes;
        }
    }

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
    /// What is to be undone; nothing, if nothing was to be counted or it is there.
    of: Option<Of<'a>>,
}

enum Of<'a> {
    Blob(&'a Digest),
    Link(&'a Name, u64),
}

impl Counting<'_> {
    /// They are there.
    pub(super) fn keep(mut self) {
        self.of = None;
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        match &self.of {
            Some(Of::Blob(digest)) => self.usage.freed(digest),
            Some(Of::Link(name, bytes)) => self.usage.unlinked(name, *bytes),
            None => {}
        }
    }
}

#[derive(Debug)]
pub(super) struct Usage {
    quotas: Quotas,
    counted: Mutex<Counted>,
    turn: Mutex<()>,
}

impl Usage {
    pub(super) fn new(quotas: Quotas) -> Usage {
        Usage {
            quotas,
            counted: Mutex::default(),
            turn: Mutex::default(),
        }
    }

    pub(super) fn is_limited(&self) -> bool {
        self.quotas != Quotas::default()
    }

    fn fill(&self, counted: Counted) {
        *self.counted() = counted;
    }

    /// Held from the look whether a repository has something until that is counted: of two that bring it the same, one counts.
    pub(super) fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let turn = || self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_limited().then(turn)
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a blob of so many bytes that is about to be stored.
    ///
    /// # Errors
    /// [`Error::Quota`] if there is no place for it.
    pub(super) fn store<'a>(
        &'a self,
        digest: &'a Digest,
        bytes: u64,
    ) -> Result<Counting<'a>, Error> {
        let mut counted = self.counted();
        let is_new = self.is_limited() && !counted.blobs.contains_key(digest);
        if is_new {
            self.fits(&counted, None, bytes)?;
            counted.add(digest, bytes);
        }
        Ok(Counting {
            usage: self,
            of: is_new.then_some(Of::Blob(digest)),
        })
    }

    /// Counts so many bytes that a repository is about to have.
    ///
    /// # Errors
    /// [`Error::Quota`] if there is no place for them.
    pub(super) fn link<'a>(&'a self, name: &'a Name, bytes: u64) -> Result<Counting<'a>, Error> {
        let mut counted = self.counted();
        self.repository_fits(&counted, name, None, bytes)?;
        let is_counted = self.is_limited();
        if is_counted {
            *counted.repositories.entry(name.clone()).or_default() += bytes;
        }
        Ok(Counting {
            usage: self,
            of: is_counted.then_some(Of::Link(name, bytes)),
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

    /// What an upload held is a blob of so many bytes, or was one already.
    pub(super) fn stored(&self, upload: &UploadId, digest: &Digest, bytes: u64) {
        if !self.is_limited() {
            return;
        }
        let mut counted = self.counted();
        counted.add(digest, bytes);
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

    /// An upload is over, or nobody is at it.
    pub(super) fn let_go(&self, upload: &UploadId) {
        self.counted().uploads.remove(upload);
    }

    /// A blob is no more.
    pub(super) fn freed(&self, digest: &Digest) {
        let mut counted = self.counted();
        if let Some(bytes) = counted.blobs.remove(digest) {
            counted.total = counted.total.saturating_sub(bytes);
        }
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
    /// Counts all there is, if there are quotas.
    pub(super) fn count(&self) -> Result<(), Error> {
        if !self.usage.is_limited() {
            return Ok(());
        }
        let mut counted = Counted::default();
        for digest in self.all_blobs()? {
            let stat = self.storage.stat(&keys::blob(&digest))?;
            counted.add(&digest, stat.map_or(0, |(size, _)| size));
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
        self.usage.fill(counted);
        Ok(())
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
            usage.stored(&a, &Digest::sha256(b"a"), 70);
            usage.linked(&a, &name("one"), 70);
            usage.let_go(&a);
            assert!(usage.hold(&b, &name("one"), 31).is_err());
            usage.let_go(&b);
            let c = UploadId::random();
            usage.hold(&c, &name("one"), 30).unwrap();
        }
    }

    #[test]
    fn the_last_place_is_taken_once() {
        let usage = usage(Some(100), Some(50));
        let (a, b, c) = (
            Digest::sha256(b"a"),
            Digest::sha256(b"b"),
            Digest::sha256(b"c"),
        );
        let kept = usage.store(&a, 60).unwrap();
        assert!(usage.store(&b, 41).is_err());
        kept.keep();
        drop(usage.store(&b, 40).unwrap());
        usage.store(&c, 40).unwrap().keep();
        let (one, other) = (name("one"), name("other"));
        let linked = usage.link(&one, 50).unwrap();
        assert!(usage.link(&one, 1).is_err());
        usage.link(&other, 50).unwrap().keep();
        drop(linked);
        usage.link(&one, 1).unwrap().keep();
    }

    #[test]
    fn a_blob_is_counted_once() {
        let usage = usage(Some(100), None);
        let (digest, one) = (Digest::sha256(b"a"), name("one"));
        for _ in 0..3 {
            let upload = UploadId::random();
            usage.hold(&upload, &one, 30).unwrap();
            usage.stored(&upload, &digest, 30);
            usage.let_go(&upload);
        }
        usage.store(&digest, 30).unwrap().keep();
        usage.store(&Digest::sha256(b"b"), 70).unwrap().keep();
        usage.freed(&digest);
        usage.freed(&digest);
        assert!(usage.store(&Digest::sha256(b"c"), 31).is_err());
        usage.store(&Digest::sha256(b"c"), 30).unwrap().keep();
    }
}
