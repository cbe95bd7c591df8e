//! Garbage collection while the registry serves.
//!
//! A blob is needed if a manifest of any repository names it. What is not needed goes, unless somebody may be about to
//! need it: blobs that somebody was told are here, and repositories that somebody pushes to, have a lease for the
//! grace time; what manifests put meanwhile name is added to what is needed. The last look and the deletion of one
//! thing are one step under the gate, which no link is made in. Which repositories link to what is looked up before, and
//! what is linked during a collection is marked.
//!
//! What a manifest needs that cannot be read is not known: then all that its repository links to is needed.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use wharf_oci::{Algorithm, Digest, Hasher};

use super::{Store, keys};
use crate::Error;
use crate::manifest::Manifest;
use crate::names::{Name, Which};

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Collected {
    /// Blobs that were deleted.
    pub(crate) blobs: usize,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Links from repositories that were deleted.
    pub(crate) links: usize,
    /// Manifests without a tag that were deleted.
    pub(crate) manifests: usize,
    /// Repositories of which nothing was deleted, as one of their manifests cannot be read.
    pub(crate) unreadable: usize,
}

/// What a repository needs.
#[derive(Default)]
struct Needed {
    /// Its manifests, and all that they name.
    digests: HashSet<Digest>,
    /// A manifest that nobody here can read (schema 1, a type of tomorrow, damaged bytes): what it names is not known.
    unreadable: Option<Digest>,
}

impl Store {
    /// Deletes what nobody needs and nobody has had to do with for the time `grace`; with `untagged`, manifests too
    /// that neither have a tag nor belong to an index, nor are about one that stays.
    ///
    /// # Errors
    /// The system's. What was deleted until then stays deleted.
    pub(crate) fn collect(&self, grace: Duration, untagged: bool) -> Result<Collected, Error> {
        {
            // No manifest is half put when marking begins: each is seen by one of the two, the links or the marks.
            let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            self.activity().marked = Some(HashSet::new());
        }
        let collected = self.mark_and_sweep(grace, untagged);
        self.activity().marked = None;
        self.expire_leases(grace);
        collected
    }

    fn mark_and_sweep(&self, grace: Duration, untagged: bool) -> Result<Collected, Error> {
        let mut collected = Collected::default();
        let mut names = Vec::new();
        self.walk("", &mut |name| {
            names.push(name.clone());
            Ok(())
        })?;
        let mut needed = HashSet::new();
        for name in &names {
            let mut of_this = self.needed_by(name)?;
            if let Some(digest) = of_this.unreadable {
                tracing::warn!(repository = %name, %digest,
                    "cannot read this manifest: nothing of its repository is garbage while it is there");
                collected.unreadable += 1;
                needed.extend(of_this.digests);
                needed.extend(self.linked_digests(&keys::layers(name))?);
                continue;
            }
            if untagged {
                let swept = self.sweep_manifests(name, grace)?;
                if swept > 0 {
                    of_this = self.needed_by(name)?;
                }
                collected.manifests += swept;
            }
            collected.links += self.sweep_links(name, &mut of_this.digests, grace)?;
            needed.extend(of_this.digests);
        }
        for digest in self.all_blobs()? {
            if needed.contains(&digest) {
                continue;
            }
            if let Some(size) = self.sweep_blob(&digest, grace)? {
                collected.blobs += 1;
                collected.bytes += size;
            }
        }
        Ok(collected)
    }

    /// Digests of all manifests of a repository and of all that they name.
    fn needed_by(&self, name: &Name) -> Result<Needed, Error> {
        let mut needed = Needed::default();
        for digest in self.linked_digests(&keys::revisions(name))? {
            needed.digests.insert(digest);
            match self.parsed(name, &digest)? {
                Some(manifest) => {
                    let blobs = manifest.blobs.iter().chain(&manifest.children);
                    needed.digests.extend(blobs.map(|blob| blob.digest));
                }
                // One that was deleted since it was listed needs nothing.
                None if self.storage.stat(&keys::revision(name, &digest))?.is_none() => {}
                None => needed.unreadable = Some(digest),
            }
        }
        Ok(needed)
    }

    /// A manifest as it is on the disk, without a place in memory for it; `None` if it is not there, damaged, or of a kind
    /// that nobody here can read.
    pub(super) fn parsed(&self, name: &Name, digest: &Digest) -> Result<Option<Manifest>, Error> {
        if let Some(stored) = self.cached(name, &Which::Digest(*digest)) {
            let media_type = stored.media_type.to_str().unwrap_or_default();
            return Ok(Manifest::parse(&stored.bytes, media_type).ok());
        }
        let Some(bytes) = self.storage.read(&keys::blob(digest))? else {
            return Ok(None);
        };
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            return Ok(None);
        }
        let stored = super::manifests::stored(*digest, bytes);
        let media_type = stored.media_type.to_str().unwrap_or_default();
        Ok(Manifest::parse(&stored.bytes, media_type).ok())
    }

    /// Whether somebody may be about to need the blob, or content that a new manifest names.
    fn is_leased(&self, digest: &Digest, grace: Duration) -> bool {
        if self.opened.elapsed() < grace {
            return true;
        }
        let activity = self.activity();
        let touched = activity
            .blobs
            .get(digest)
            .is_some_and(|time| time.elapsed() < grace);
        touched
            || activity
                .marked
                .as_ref()
                .is_some_and(|marked| marked.contains(digest))
    }

    /// Whether somebody pushes to the repository.
    fn is_busy(&self, name: &Name, grace: Duration) -> Result<bool, Error> {
        let now = Instant::now();
        let touched = self.activity().repositories.get(name).copied();
        Ok(touched.is_some_and(|time| now.duration_since(time) < grace)
            || self.has_uploads(name)?)
    }

    pub(super) fn is_young(&self, key: &str, grace: Duration) -> Result<bool, Error> {
        let stat = self.storage.stat(key)?;
        Ok(stat.is_some_and(|(_, changed)| {
            SystemTime::now()
                .duration_since(changed)
                .map_or(true, |age| age < grace)
        }))
    }

    /// Links of a repository to blobs that none of its manifests names. Those that stay are needed, too.
    fn sweep_links(
        &self,
        name: &Name,
        needed: &mut HashSet<Digest>,
        grace: Duration,
    ) -> Result<usize, Error> {
        let mut count = 0;
        for digest in self.linked_digests(&keys::layers(name))? {
            if needed.contains(&digest) {
                continue;
            }
            let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            let key = keys::layer(name, &digest);
            if self.is_leased(&digest, grace)
                || self.is_busy(name, grace)?
                || self.is_young(&key, grace)?
            {
                needed.insert(digest);
                continue;
            }
            let size = self
                .storage
                .stat(&keys::blob(&digest))?
                .map_or(0, |(size, _)| size);
            self.storage.remove_file(&key, "_layers")?;
            self.usage.unlinked(name, size);
            count += 1;
        }
        Ok(count)
    }

    /// Deletes a blob that no manifest named and no repository linked to when they were looked through, and returns its size.
    /// What was linked since is marked, so that nobody is kept waiting at the gate by one look per repository.
    fn sweep_blob(&self, digest: &Digest, grace: Duration) -> Result<Option<u64>, Error> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let key = keys::blob(digest);
        if self.is_leased(digest, grace) || self.is_young(&key, grace)? {
            return Ok(None);
        }
        let size = self.storage.stat(&key)?.map_or(0, |(size, _)| size);
        self.storage.remove_file(&key, "blobs")?;
        self.usage.freed(digest);
        Ok(Some(size))
    }

    /// Manifests of a repository that nothing leads to.
    fn sweep_manifests(&self, name: &Name, grace: Duration) -> Result<usize, Error> {
        let mut reached = HashSet::new();
        let mut ahead = Vec::new();
        for tag in self.tags(name)? {
            ahead.extend(self.resolve(name, &tag)?);
        }
        while let Some(digest) = ahead.pop() {
            if !reached.insert(digest) {
                continue;
            }
            if let Some(manifest) = self.parsed(name, &digest)? {
                ahead.extend(manifest.children.iter().map(|child| child.digest));
            }
            ahead.extend(self.linked_digests(&keys::referrers(name, &digest))?);
        }
        let mut count = 0;
        for digest in self.linked_digests(&keys::revisions(name))? {
            if reached.contains(&digest) {
                continue;
            }
            let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
            // One that was put since we looked is marked.
            let is_new = self.is_young(&keys::revision(name, &digest), grace)?;
            if is_new || self.is_busy(name, grace)? || self.is_leased(&digest, grace) {
                continue;
            }
            // Deleted meanwhile by who put it?
            match self.delete_in_gate(name, &Which::Digest(digest)) {
                Ok(_) => count += 1,
                Err(Error::ManifestUnknown(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(count)
    }

    /// Digests of all blobs, manifests included.
    pub(super) fn all_blobs(&self) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = format!("{}/{}", keys::BLOBS, algorithm.as_str());
            for prefix in self.storage.list(&folder)? {
                for entry in self.storage.list(&format!("{folder}/{}", prefix.name))? {
                    if let Ok(digest) =
                        Digest::parse(&format!("{}:{}", algorithm.as_str(), entry.name))
                    {
                        digests.push(digest);
                    }
                }
            }
        }
        Ok(digests)
    }
}
