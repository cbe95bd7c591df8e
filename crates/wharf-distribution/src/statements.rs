//! What is said of an image beside itself: by its builder (buildx's attestations, manifests of its index that point to
//! in-toto statements), and by others later (referrers: manifests that name it as their subject).

use std::collections::BTreeSet;

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, Document, media_type};

use crate::{Client, RegistryError, Source};

/// More referrers than these are not fetched.
const MAX_REFERRERS: usize = 100;
/// More than this is not fetched of one blob.
const MAX_SIZE: u64 = 32 << 20;
/// Nor of all that is said of an image.
const MAX_ALL: u64 = 256 << 20;
/// What a part counts at least.
const LEAST: u64 = 1 << 10;

/// How much may still be said of an image, by whomever: all of it is held in memory until the image is here.
#[derive(Debug)]
pub struct Room {
    /// Bytes.
    left: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { left: MAX_ALL }
    }
}

impl Room {
    fn take(&mut self, part: &Descriptor) -> Result<(), RegistryError> {
        let left = self.left.checked_sub(part.size.max(LEAST));
        self.left = left.ok_or(RegistryError::TooMuchSaid { limit: MAX_ALL })?;
        Ok(())
    }
}

impl Client {
    /// The manifests that speak of `image`, and all their blobs. They are no part of the image: one that cannot be had is
    /// left out.
    pub async fn statements(
        &self,
        source: &Source,
        index: &[u8],
        image: &Digest,
        room: &mut Room,
    ) -> Vec<(Descriptor, Bytes)> {
        let Ok(Document::Index(index)) = Document::parse(index, None) else {
            return Vec::new();
        };
        let text = image.to_string();
        let about = |entry: &&Descriptor| {
            let of = entry.annotations.get("vnd.docker.reference.digest");
            entry.is_attestation() && of == Some(&text)
        };
        let mut all = Vec::new();
        let entries = index.manifests.iter().filter(about);
        for entry in entries.take(MAX_REFERRERS) {
            match self.statement(source, &entry.digest, room).await {
                Ok(blobs) => all.extend(blobs),
                Err(error) => tracing::warn!(digest = %entry.digest, %error, "no attestation"),
            }
        }
        all
    }

    /// The manifests that name one of `subjects`, those that name these (the signature of a bill of materials), and all their
    /// blobs (distribution specification, "Listing Referrers"; of a registry that has no such lists, the ones that its clients keep by
    /// a tag).
    ///
    /// # Errors
    /// Those of the registry; [`RegistryError::TooMuchSaid`] if there is no `room`.
    pub async fn referrers(
        &self,
        source: &Source,
        subjects: &[Digest],
        room: &mut Room,
    ) -> Result<Vec<(Descriptor, Bytes)>, RegistryError> {
        let (mut all, mut found) = (Vec::new(), BTreeSet::new());
        let mut subjects = subjects.to_vec();
        while let Some(subject) = subjects.pop() {
            for entry in self.listed_referrers(source, &subject).await? {
                if found.len() == MAX_REFERRERS {
                    tracing::warn!(%subject, "more than {MAX_REFERRERS} referrers: no more are fetched");
                    return Ok(all);
                }
                if found.insert(entry.digest) {
                    let said = self.statement(source, &entry.digest, room);
                    all.extend(said.await?);
                    subjects.push(entry.digest);
                }
            }
        }
        Ok(all)
    }

    /// The manifests that a registry says are about `subject`, by its list or by the tag that stands for one.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn listed_referrers(
        &self,
        source: &Source,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let path = format!("referrers/{subject}");
        let pages = match self.pages(source, &path, media_type::OCI_INDEX).await {
            Ok(pages) => pages,
            Err(error) if error.is_gone() => {
                let listed = self.referrers_by_tag(source, subject).await?;
                return Ok(listed.unwrap_or_default());
            }
            Err(error) => return Err(error),
        };
        let familiar = source.reference.familiar();
        let mut all = Vec::new();
        for page in pages {
            let document = Document::parse(&page, Some(media_type::OCI_INDEX))
                .map_err(|error| RegistryError::manifest(&familiar, &error))?;
            let Document::Index(index) = document else {
                return Err(no_list(familiar));
            };
            all.extend(index.manifests);
        }
        Ok(all)
    }

    /// What the tag says that stands for a list of referrers; `None` if it is no list.
    async fn referrers_by_tag(
        &self,
        source: &Source,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, RegistryError> {
        match self.manifest(source, &tag_of(subject), None).await {
            Ok((_, Document::Index(index))) => Ok(Some(index.manifests)),
            Ok(_) => Ok(None),
            Err(error) if error.is_gone() => Ok(Some(Vec::new())),
            Err(error) => Err(error),
        }
    }

    /// Lists a manifest among those that name `subject`, in a registry that does not do so itself ("Referrers Tag Schema").
    ///
    /// # Errors
    /// Those of the registry; [`RegistryError::Manifest`] if the tag is something else, which stays as it is.
    pub async fn list_referrer(
        &self,
        target: &Source,
        subject: &Digest,
        manifest: &Descriptor,
    ) -> Result<(), RegistryError> {
        let tag = tag_of(subject);
        let known = self.referrers_by_tag(target, subject).await?;
        let name = target.reference.familiar_name();
        let known = known.ok_or_else(|| no_list(format!("{name}:{tag}")))?;
        if known.iter().any(|entry| entry.digest == manifest.digest) {
            return Ok(());
        }
        let manifests: Vec<_> = known.iter().chain([manifest]).collect();
        let index = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests,
        });
        let bytes = Bytes::from(index.to_string());
        let index = Descriptor::of(media_type::OCI_INDEX, &bytes);
        self.push_manifest(target, &tag, &index, &bytes)
            .await
            .map(drop)
    }

    /// A manifest or an index by its digest; `None` if the descriptor is of something else.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn document(
        &self,
        source: &Source,
        descriptor: &Descriptor,
    ) -> Result<Option<Bytes>, RegistryError> {
        use wharf_oci::media_type::{is_index, is_manifest};
        if !is_manifest(&descriptor.media_type) && !is_index(&descriptor.media_type) {
            return Ok(None);
        }
        let digest = descriptor.digest;
        let (raw, _) = self
            .manifest(source, &digest.to_string(), Some(&digest))
            .await?;
        Ok(Some(raw.bytes))
    }

    /// A manifest and its blobs, or an index and what belongs to its manifests, if there is `room` for them.
    async fn statement(
        &self,
        source: &Source,
        digest: &Digest,
        room: &mut Room,
    ) -> Result<Vec<(Descriptor, Bytes)>, RegistryError> {
        let (mut all, mut todo, mut seen) = (Vec::new(), vec![*digest], BTreeSet::new());
        while let Some(digest) = todo.pop() {
            if seen.len() == MAX_REFERRERS || !seen.insert(digest) {
                continue;
            }
            let (raw, document) = self
                .manifest(source, &digest.to_string(), Some(&digest))
                .await?;
            room.take(&raw.descriptor)?;
            all.push((raw.descriptor, raw.bytes));
            let manifest = match document {
                Document::Manifest(manifest) => manifest,
                Document::Index(index) => {
                    todo.extend(index.manifests.iter().map(|entry| entry.digest));
                    continue;
                }
            };
            for part in manifest.layers.into_iter().chain([manifest.config]) {
                room.take(&part)?;
                let bytes = self
                    .small_blob(source, &part, "attestation", MAX_SIZE)
                    .await?;
                all.push((part, bytes));
            }
        }
        Ok(all)
    }
}

fn no_list(reference: String) -> RegistryError {
    RegistryError::Manifest {
        reference,
        message: "is no list of referrers".to_owned(),
    }
}

/// The tag that stands for the list of what names a subject: `<alg>-<ref>`, of which a tag has room for 64 digits
/// (distribution specification, "Referrers Tag Schema").
fn tag_of(subject: &Digest) -> String {
    let (algorithm, hex) = (subject.algorithm(), subject.hex());
    format!("{}-{:.64}", algorithm.as_str(), hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_room_for_64_digits() {
        let digits = "0123456789abcdef".repeat(4);
        let short = Digest::parse(&format!("sha256:{digits}")).unwrap();
        assert_eq!(tag_of(&short), format!("sha256-{digits}"));
        let long = Digest::parse(&format!("sha512:{digits}{digits}")).unwrap();
        assert_eq!(tag_of(&long), format!("sha512-{digits}"));
    }
}
