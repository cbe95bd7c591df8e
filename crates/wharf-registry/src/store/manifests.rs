//! Manifests and tags: get, put, delete, and who refers to whom.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use wharf_oci::{Digest, Hasher, is_tag, media_type};

use super::{Store, Stored, keys};
use crate::Error;
use crate::manifest::{MAX_SIZE, Manifest};
use crate::names::{Name, Which};

/// So many tags are looked at one by one.
const SMALL_PAGE: usize = 32;

/// What a manifest that was put is known as.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) digest: Digest,
    /// The manifest that it is about.
    pub(crate) subject: Option<Digest>,
}

/// A descriptor in an answer to "who refers to this?".
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Referrer {
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl From<wharf_oci::Descriptor> for Referrer {
    fn from(listed: wharf_oci::Descriptor) -> Self {
        Self {
            media_type: listed.media_type,
            size: listed.size,
            digest: listed.digest,
            artifact_type: listed.artifact_type,
            annotations: listed.annotations,
        }
    }
}

impl Store {
    /// The manifest if it is in memory: no disk is touched.
    pub(crate) fn cached(&self, name: &Name, which: &Which) -> Option<Arc<Stored>> {
        let digest = match which {
            Which::Digest(digest) => *digest,
            Which::Tag(tag) => self.cache.tag(name, tag).ok()?,
        };
        self.cache.manifest(name, &digest).ok()
    }

    /// A manifest of a repository.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], or the system's.
    pub(crate) fn manifest(&self, name: &Name, which: &Which) -> Result<Arc<Stored>, Error> {
        let unknown = || Error::ManifestUnknown(which.to_string());
        let digest = match which {
            Which::Digest(digest) => *digest,
            Which::Tag(tag) => self.resolve(name, tag)?.ok_or_else(unknown)?,
        };
        self.revision(name, &digest)?.ok_or_else(unknown)
    }

    /// What a tag means, if there is such a tag.
    pub(crate) fn resolve(&self, name: &Name, tag: &str) -> Result<Option<Digest>, Error> {
        let epoch = match self.cache.tag(name, tag) {
            Ok(digest) => return Ok(Some(digest)),
            Err(epoch) => epoch,
        };
        let Some(text) = self.storage.read(&keys::tag(name, tag))? else {
            return Ok(None);
        };
        let digest = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| Digest::parse(text.trim()).ok());
        if let Some(digest) = digest {
            self.cache.fill_tag(epoch, name, tag, digest);
        }
        Ok(digest)
    }

    /// The manifest with this digest, if the repository has it. Its bytes are compared with the digest.
    pub(super) fn revision(
        &self,
        name: &Name,
        digest: &Digest,
    ) -> Result<Option<Arc<Stored>>, Error> {
        let epoch = match self.cache.manifest(name, digest) {
            Ok(stored) => return Ok(Some(stored)),
            Err(epoch) => epoch,
        };
        if self.storage.stat(&keys::revision(name, digest))?.is_none() {
            return Ok(None);
        }
        let Some(bytes) = self.storage.read(&keys::blob(digest))? else {
            return Ok(None);
        };
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        if hasher.finish() != *digest {
            tracing::error!(repository = %name, %digest, "manifest is damaged on the disk");
            return Ok(None);
        }
        let stored = Arc::new(stored(*digest, bytes));
        self.cache.fill_manifest(epoch, name, stored.clone());
        Ok(Some(stored))
    }

    /// Puts a manifest, and tags on it: what it is put by if that is one, and others.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`], [`Error::ManifestBlobUnknown`], [`Error::DigestInvalid`] if it was put by another
    /// digest than its own, [`Error::Quota`], or the system's.
    pub(crate) fn put_manifest(
        &self,
        name: &Name,
        which: &Which,
        bytes: &[u8],
        content_type: &str,
        tags: &[String],
    ) -> Result<Put, Error> {
        self.put(name, which, bytes, content_type, Some(tags))
    }

    /// As [`Store::put_manifest`], for a cache: what the manifest names may come later.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn keep_manifest(
        &self,
        name: &Name,
        which: &Which,
        bytes: &[u8],
        content_type: &str,
    ) -> Result<Put, Error> {
        self.put(name, which, bytes, content_type, None)
    }

    /// `whole` is what other tags it gets, of a manifest whose parts must all be there.
    fn put(
        &self,
        name: &Name,
        which: &Which,
        bytes: &[u8],
        content_type: &str,
        whole: Option<&[String]>,
    ) -> Result<Put, Error> {
        if bytes.len() as u64 > MAX_SIZE {
            return Err(Error::ManifestTooLarge { limit: MAX_SIZE });
        }
        let manifest = Manifest::parse(bytes, content_type)?;
        let digest = match which {
            Which::Tag(_) => Digest::sha256(bytes),
            Which::Digest(asked) => {
                let mut hasher = Hasher::new(asked.algorithm());
                hasher.update(bytes);
                let found = hasher.finish();
                if found != *asked {
                    return Err(Error::DigestInvalid(format!(
                        "manifest has digest {found}, not {asked}"
                    )));
                }
                found
            }
        };
        let _gate = self.gate();
        self.touch(name, None);
        self.mark(&digest, &manifest);
        if whole.is_some() {
            self.complete(name, &manifest)?;
        }
        let _turn = self.usage.turn();
        let key = keys::revision(name, &digest);
        // Another tag for what is here takes no place.
        let counting = match self.storage.stat(&key)? {
            Some(_) => None,
            None => Some(self.usage.link(name, bytes.len() as u64)?),
        };
        self.put_blob(&digest, bytes)?;
        let subject = manifest.subject.as_ref().map(|subject| subject.digest);
        let text = digest.to_string();
        if let Some(subject) = &subject {
            self.storage
                .put(&keys::referrer(name, subject, &digest), text.as_bytes())?;
        }
        if let Some(counting) = counting {
            self.storage.put(&key, text.as_bytes())?;
            counting.keep();
            self.cache.forget_manifest(name, &digest);
        }
        if let Which::Tag(tag) = which {
            self.put_tag(name, tag, &digest)?;
        }
        for tag in whole.unwrap_or_default() {
            self.put_tag(name, tag, &digest)?;
        }
        Ok(Put { digest, subject })
    }

    /// Under the gate.
    fn put_tag(&self, name: &Name, tag: &str, digest: &Digest) -> Result<(), Error> {
        let text = digest.to_string();
        self.storage
            .put(&keys::tag_index(name, tag, digest), text.as_bytes())?;
        self.storage.put(&keys::tag(name, tag), text.as_bytes())?;
        self.cache.forget_tag(name, tag);
        Ok(())
    }

    /// While a collection runs, what a new manifest names is no garbage.
    fn mark(&self, digest: &Digest, manifest: &Manifest) {
        if let Some(marked) = &mut self.activity().marked {
            marked.insert(*digest);
            marked.extend(manifest.blobs.iter().map(|blob| blob.digest));
        }
    }

    /// Whether the repository has all that a manifest names, but for what may be elsewhere.
    fn complete(&self, name: &Name, manifest: &Manifest) -> Result<(), Error> {
        let mut missing = Vec::new();
        for blob in &manifest.blobs {
            let is_here = match self.linked(name, &blob.digest)? {
                Some(size) if size != blob.size => {
                    let (digest, stated) = (blob.digest, blob.size);
                    return Err(Error::ManifestInvalid(format!(
                        "{digest} has {size} bytes, not {stated}"
                    )));
                }
                here => here.is_some(),
            };
            if !is_here && !Manifest::may_be_elsewhere(blob) {
                missing.push(blob.digest);
            }
        }
        for child in &manifest.children {
            // Since the image specification says "other content", a blob will do.
            if self.revision(name, &child.digest)?.is_none()
                && self.linked(name, &child.digest)?.is_none()
            {
                missing.push(child.digest);
            }
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(Error::ManifestBlobUnknown(missing)),
        }
    }

    /// Deletes a manifest with all tags on it, or a tag alone. Returns the digest that it meant.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`], or the system's.
    pub(crate) fn delete_manifest(&self, name: &Name, which: &Which) -> Result<Digest, Error> {
        let _gate = self
            .gate
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.delete_in_gate(name, which)
    }

    /// As [`Store::delete_manifest`]; the caller holds the gate for writing.
    pub(super) fn delete_in_gate(&self, name: &Name, which: &Which) -> Result<Digest, Error> {
        let stored = self.manifest(name, which)?;
        match which {
            Which::Tag(tag) => self.delete_tag(name, tag)?,
            Which::Digest(digest) => {
                // Tags first: none of them ever means a manifest that is gone.
                for tag in self.tags(name)? {
                    if self.resolve(name, &tag)? == Some(*digest) {
                        self.delete_tag(name, &tag)?;
                    }
                }
                self.storage
                    .remove_file(&keys::revision(name, digest), "_manifests")?;
                self.cache.forget_manifest(name, digest);
                self.usage.unlinked(name, stored.bytes.len() as u64);
                let media_type = stored.media_type.to_str().unwrap_or_default();
                if let Ok(manifest) = Manifest::parse(&stored.bytes, media_type)
                    && let Some(subject) = manifest.subject
                {
                    let key = keys::referrer(name, &subject.digest, digest);
                    self.storage.remove_file(&key, "_manifests")?;
                }
            }
        }
        Ok(stored.digest)
    }

    /// Deletes manifests that were put longer ago than `age`, with their tags.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn expire_manifests(&self, age: Duration) -> Result<(), Error> {
        let mut old = Vec::new();
        self.walk("", &mut |name| {
            for digest in self.linked_digests(&keys::revisions(name))? {
                if !self.is_young(&keys::revision(name, &digest), age)? {
                    old.push((name.clone(), Which::Digest(digest)));
                }
            }
            Ok(())
        })?;
        for (name, which) in old {
            self.delete_manifest(&name, &which)?;
        }
        Ok(())
    }

    /// What the newest of a repository's tags says of it: `org.opencontainers.image.description`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn description(&self, name: &Name) -> Result<Option<String>, Error> {
        const KEY: &str = "org.opencontainers.image.description";
        let tags = self.tags(name)?;
        let tag = tags.iter().find(|tag| *tag == "latest").or(tags.last());
        let Some(digest) = tag
            .map(|tag| self.resolve(name, tag))
            .transpose()?
            .flatten()
        else {
            return Ok(None);
        };
        let manifest = self.parsed(name, &digest)?;
        Ok(manifest.and_then(|mut manifest| manifest.annotations.remove(KEY)))
    }

    fn delete_tag(&self, name: &Name, tag: &str) -> Result<(), Error> {
        self.storage.remove_folder(&keys::tag_folder(name, tag))?;
        self.cache.forget_tag(name, tag);
        Ok(())
    }

    /// Tags of a repository that mean something, in the order of their bytes.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn tags(&self, name: &Name) -> Result<Vec<String>, Error> {
        let mut tags = self.storage.with(&keys::tags(name), keys::CURRENT)?;
        tags.retain(|tag| is_tag(tag));
        Ok(tags)
    }

    /// Tags of a repository that mean something, in the order of the API; those behind `after`, `limit` of them at most.
    ///
    /// In a bucket each look is a request: of a small page only those are looked at that may be on it, for a large one there is one look
    /// at all of them.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn tags_page(
        &self,
        name: &Name,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        if limit > SMALL_PAGE && self.storage.is_remote() {
            let mut tags = self.tags(name)?;
            in_order(&mut tags, after);
            tags.truncate(limit);
            return Ok(tags);
        }
        let mut tags = self.tag_folders(name)?;
        in_order(&mut tags, after);
        self.meaningful(name, tags, limit)
    }

    fn tag_folders(&self, name: &Name) -> Result<Vec<String>, Error> {
        let entries = self.storage.list(&keys::tags(name))?.into_iter();
        let tags = entries.filter(|entry| entry.is_folder && is_tag(&entry.name));
        Ok(tags.map(|entry| entry.name).collect())
    }

    /// The first `limit` tags that have a link.
    fn meaningful(
        &self,
        name: &Name,
        tags: Vec<String>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        for tag in tags {
            if found.len() == limit {
                break;
            }
            if self.storage.stat(&keys::tag(name, &tag))?.is_some() {
                found.push(tag);
            }
        }
        Ok(found)
    }

    /// All manifests of the repository that are about `subject`, those too that a client listed by the tag scheme of
    /// registries without referrers.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<Referrer>, Error> {
        let mut digests = self.linked_digests(&keys::referrers(name, subject))?;
        // Of a longer digest the first 64 digits (distribution specification, "Referrers Tag Schema").
        let fallback = format!("{}-{:.64}", subject.algorithm().as_str(), subject.hex());
        if let Some(digest) = self.resolve(name, &fallback)?
            && let Some(listed) = self.revision(name, &digest)?
            && let Ok(index) = Manifest::parse(&listed.bytes, media_type::OCI_INDEX)
        {
            digests.extend(index.children.iter().map(|child| child.digest));
        }
        digests.sort_unstable();
        digests.dedup();
        let mut referrers = Vec::new();
        for digest in digests {
            let Some(stored) = self.revision(name, &digest)? else {
                continue;
            };
            let media_type = stored.media_type.to_str().unwrap_or_default();
            let Ok(manifest) = Manifest::parse(&stored.bytes, media_type) else {
                continue;
            };
            if manifest
                .subject
                .is_some_and(|about| about.digest == *subject)
            {
                referrers.push(Referrer {
                    media_type: manifest.media_type,
                    size: stored.bytes.len() as u64,
                    digest,
                    artifact_type: manifest.artifact_type,
                    annotations: manifest.annotations,
                });
            }
        }
        Ok(referrers)
    }
}

/// Puts tags in the order of the API, and leaves those behind `after`: letters without their case (distribution
/// specification, "Listing Tags"), and tags that differ in nothing else by their bytes.
pub(crate) fn in_order(tags: &mut Vec<String>, after: Option<&str>) {
    let place = |tag: &str| (tag.to_ascii_lowercase(), tag.to_owned());
    tags.sort_by_cached_key(|tag| place(tag));
    if let Some(last) = after.map(place) {
        tags.retain(|tag| place(tag) > last);
    }
}

pub(super) fn stored(digest: Digest, bytes: Vec<u8>) -> Stored {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(default)]
        media_type: String,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let typed = serde_json::from_slice::<Typed>(&bytes).ok();
    // An OCI document need not say what it is (image specification, "mediaType").
    let media_type = match &typed {
        Some(typed) if !typed.media_type.is_empty() => typed.media_type.as_str(),
        Some(typed) if typed.manifests.is_some() => media_type::OCI_INDEX,
        _ => media_type::OCI_MANIFEST,
    };
    let value =
        |text: &str| HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    Stored {
        digest,
        media_type: value(media_type),
        digest_value: value(&digest.to_string()),
        etag: value(&format!("\"{digest}\"")),
        bytes: Bytes::from(bytes),
    }
}
