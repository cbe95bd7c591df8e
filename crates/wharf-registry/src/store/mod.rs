//! The store: blobs by digest, and repositories that link to them. Synchronous; the server calls it off its own threads.
//!
//! The files are the truth, in an order that leaves either the old state or the new whenever the process ends:
//! a blob's bytes are on the disk before it has its name, it has its name before a repository links to it, and all
//! links of a manifest are there before a tag shows it. What is cached is only time.

mod bucket;
mod cache;
mod check;
mod collect;
mod directory;
mod keys;
mod manifests;
mod repositories;
mod storage;
mod upload;
mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use wharf_oci::Digest;

use crate::Error;
use crate::names::Name;
use bucket::Bucket;
pub(crate) use bucket::Settings as BucketSettings;
use cache::Cache;
pub(crate) use cache::Stored;
pub(crate) use collect::Collected;
use directory::Directory;
pub(crate) use manifests::{Referrer, in_order};
pub(crate) use storage::Opened;
use storage::Storage;
pub(crate) use upload::Upload;
pub(crate) use usage::Quotas;
use usage::Usage;

/// A registry's content.
#[derive(Debug)]
pub(crate) struct Store {
    storage: Storage,
    cache: Cache,
    usage: Arc<Usage>,
    /// Held for reading while links to content are made that was just seen to be there; the collector takes it to
    /// look once more and delete.
    gate: RwLock<()>,
    activity: Mutex<Activity>,
    /// What an earlier process told its clients is not known: all of it counts as told now.
    opened: Instant,
}

/// When somebody was last told that something is here, or worked on it: the collector's leases.
#[derive(Debug, Default)]
struct Activity {
    blobs: HashMap<Digest, Instant>,
    repositories: HashMap<Name, Instant>,
    /// Content that was linked during a collection, or that manifests put during it name.
    marked: Option<std::collections::HashSet<Digest>>,
}

impl Store {
    /// Opens the store in the folder `root`, and makes it if it is not there; with a bucket, only uploads under way are in the
    /// folder. Of a runtime's threads, and only of one that may block.
    ///
    /// # Errors
    /// If another registry serves it, the bucket does not answer, or the system refuses.
    pub(crate) fn open(
        root: &Path,
        bucket: Option<BucketSettings>,
        quotas: Quotas,
    ) -> Result<Store, Error> {
        let bucket = bucket.map(Bucket::open).transpose()?;
        let store = Store {
            storage: Storage::new(Directory::open(root)?, bucket),
            cache: Cache::default(),
            usage: Arc::new(Usage::new(quotas)),
            gate: RwLock::default(),
            activity: Mutex::default(),
            opened: Instant::now(),
        };
        store.count()?;
        Ok(store)
    }

    /// Whether the disk answers.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn probe(&self) -> Result<(), Error> {
        self.storage.probe()
    }

    fn gate(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn activity(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that somebody relies on a blob of a repository now.
    fn touch(&self, name: &Name, digest: Option<&Digest>) {
        let now = Instant::now();
        let mut activity = self.activity();
        activity.repositories.insert(name.clone(), now);
        if let Some(digest) = digest {
            activity.blobs.insert(*digest, now);
        }
    }

    /// Forgets leases that are older than `grace`.
    pub(crate) fn expire_leases(&self, grace: Duration) {
        let mut activity = self.activity();
        activity.blobs.retain(|_, time| time.elapsed() < grace);
        activity
            .repositories
            .retain(|_, time| time.elapsed() < grace);
    }

    /// Size in bytes of a blob of a repository. `pushing`: who asks will rely on the answer.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], or the system's.
    pub(crate) fn blob_size(
        &self,
        name: &Name,
        digest: &Digest,
        pushing: bool,
    ) -> Result<u64, Error> {
        let _gate = self.gate();
        let size = self
            .linked(name, digest)?
            .ok_or(Error::BlobUnknown(*digest))?;
        if pushing {
            self.touch(name, Some(digest));
        }
        Ok(size)
    }

    /// Opens a blob of a repository.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], or the system's.
    pub(crate) fn open_blob(&self, name: &Name, digest: &Digest) -> Result<Opened, Error> {
        let unknown = || Error::BlobUnknown(*digest);
        if self.storage.stat(&keys::layer(name, digest))?.is_none() {
            return Err(unknown());
        }
        self.storage.open(&keys::blob(digest))?.ok_or_else(unknown)
    }

    /// The size of a blob if the repository links to it and it is here.
    fn linked(&self, name: &Name, digest: &Digest) -> Result<Option<u64>, Error> {
        if self.storage.stat(&keys::layer(name, digest))?.is_none() {
            return Ok(None);
        }
        let stat = self.storage.stat(&keys::blob(digest))?;
        Ok(stat.map(|(size, _)| size))
    }

    /// Links a repository to a blob that is here. Returns whether it was not linked before. The caller holds the gate, and counts.
    fn link(&self, name: &Name, digest: &Digest) -> Result<bool, Error> {
        self.touch(name, Some(digest));
        if let Some(marked) = &mut self.activity().marked {
            marked.insert(*digest);
        }
        let key = keys::layer(name, digest);
        let is_new = self.storage.stat(&key)?.is_none();
        if is_new {
            self.storage.put(&key, digest.to_string().as_bytes())?;
        }
        Ok(is_new)
    }

    /// Takes a blob of the repository `from` over into `name`, without a copy. Returns whether it was there to take.
    ///
    /// # Errors
    /// [`Error::Quota`], or the system's.
    pub(crate) fn mount(&self, name: &Name, from: &Name, digest: &Digest) -> Result<bool, Error> {
        let _gate = self.gate();
        let _turn = self.usage.turn();
        let Some(size) = self.linked(from, digest)? else {
            return Ok(false);
        };
        let counting = match self.linked(name, digest)? {
            Some(_) => None,
            None => Some(self.usage.link(name, size)?),
        };
        if self.link(name, digest)?
            && let Some(counting) = counting
        {
            counting.keep();
        }
        Ok(true)
    }

    /// Takes a blob out of a repository. Its bytes go with the next collection, if nobody else has it.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], or the system's.
    pub(crate) fn unlink(&self, name: &Name, digest: &Digest) -> Result<(), Error> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let size = self
            .linked(name, digest)?
            .ok_or(Error::BlobUnknown(*digest))?;
        self.storage
            .remove_file(&keys::layer(name, digest), "_layers")?;
        self.usage.unlinked(name, size);
        Ok(())
    }

    /// Puts a small blob (a manifest) in place under its digest, if it is not there.
    fn put_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<(), Error> {
        let key = keys::blob(digest);
        if self.storage.stat(&key)?.is_none() {
            let counting = self.usage.store(digest, bytes.len() as u64)?;
            self.storage.put(&key, bytes)?;
            counting.keep();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Who asks for many blobs must not make the registry remember them for ever.
    #[test]
    fn leases_end_with_their_time() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), None, Quotas::default()).unwrap();
        let name = Name::parse("a/b").unwrap();
        store.touch(&name, Some(&Digest::sha256(b"one")));
        store.touch(&name, Some(&Digest::sha256(b"two")));
        let held = || {
            let activity = store.activity();
            (activity.blobs.len(), activity.repositories.len())
        };
        store.expire_leases(Duration::from_secs(3600));
        assert_eq!(held(), (2, 1));
        store.expire_leases(Duration::ZERO);
        assert_eq!(held(), (0, 0));
    }
}
