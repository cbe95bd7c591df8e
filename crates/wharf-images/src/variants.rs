//! One image for several platforms: the images of one index.
//!
//! Each platform of an image is an image of its own, with its own id, as a configuration is for one platform. What holds
//! them together is the index that they came by. A name means the best of them for this machine; the others have no name
//! of their own, are not shown as images of their own, and go when the last name goes. With a platform, a name means the
//! image for that platform.

use std::collections::HashSet;

use wharf_oci::{Descriptor, Digest, Document, Index, Platform, Reference, media_type};

use crate::lookup::is_id_prefix;
use crate::records::{Entry, State};
use crate::store::Images;
use crate::{Image, ImageError};

/// What a manifest of an image is.
#[derive(Debug, Clone)]
pub enum ManifestKind {
    /// An image for a platform.
    Image {
        /// From the index, or the configuration if it does not say.
        platform: Platform,
        /// The image, if it is here.
        id: Option<Digest>,
        /// Bytes of its unpacked layers.
        unpacked: u64,
    },
    /// What a builder says of an image.
    Attestation {
        /// The manifest of that image.
        of: Digest,
    },
    /// Something else, such as an artifact.
    Unknown,
}

/// A manifest of an image.
#[derive(Debug, Clone)]
pub struct ManifestView {
    /// As the index has it.
    pub descriptor: Descriptor,
    /// Whether all that it names is here.
    pub available: bool,
    /// Bytes of the blobs that are here: the manifest, and what it names.
    pub content: u64,
    /// What it is.
    pub kind: ManifestKind,
}

impl State {
    /// The images of the same index, this one first. Images without an index are alone.
    pub(crate) fn variants(&self, id: &Digest) -> Vec<Digest> {
        let index_of = |entry: &Entry| entry.record.index.as_ref().map(|index| index.digest);
        let mut all = vec![*id];
        let Some(index) = self.images.get(id).and_then(|entry| index_of(entry)) else {
            return all;
        };
        let mut others: Vec<(String, Digest)> = self
            .images
            .iter()
            .filter(|(other, entry)| *other != id && index_of(entry) == Some(index))
            .map(|(other, entry)| (entry.config.platform().to_string(), *other))
            .collect();
        others.sort();
        all.extend(others.into_iter().map(|(_, other)| other));
        all
    }

    /// Whether the image has no name, and another one of the same index has one.
    pub(crate) fn is_covered(&self, id: &Digest) -> bool {
        let is_named = |id: &Digest| self.names.values().any(|named| named == id);
        !is_named(id) && self.variants(id).iter().any(is_named)
    }

    /// The image that `text` means for `platform`; for this machine if none is given.
    pub(crate) fn lookup_for(
        &self,
        text: &str,
        platform: Option<&Platform>,
    ) -> Result<Digest, ImageError> {
        let id = self.lookup(text)?;
        let Some(wanted) = platform else {
            return Ok(id);
        };
        let all = match is_id_prefix(&id, text) {
            true => vec![id],
            false => self.variants(&id),
        };
        let platform_of = |id: &Digest| self.images.get(id).map(|entry| entry.config.platform());
        let rank = |id: &Digest| wanted.preference(&platform_of(id)?);
        let best = all
            .iter()
            .filter_map(|id| Some((rank(id)?, *id)))
            .min_by_key(|(rank, _)| *rank);
        if let Some((_, id)) = best {
            return Ok(id);
        }
        let reference = match Reference::parse_normalized(text) {
            Ok(name) if all.len() > 1 => name.with_default_tag().familiar(),
            _ => text.to_owned(),
        };
        match &all[..] {
            [only] => Err(ImageError::OtherPlatform {
                reference,
                found: platform_of(only).map_or_else(String::new, |found| found.to_string()),
                wanted: wanted.to_string(),
            }),
            _ => Err(ImageError::NoPlatform {
                reference,
                wanted: wanted.to_string(),
            }),
        }
    }

    /// Of two images of one index, the one that a name shall mean: `new`, unless only the `old` one runs here.
    pub(crate) fn better(&self, old: &Digest, new: &Entry) -> Digest {
        let host = Platform::host();
        let new_id = new.config.digest();
        let rank = |entry: &Entry| host.preference(&entry.config.platform());
        let Some(old_entry) = self.images.get(old) else {
            return new_id;
        };
        let same = old_entry.record.index.is_some() && old_entry.record.index == new.record.index;
        match (rank(old_entry), rank(new)) {
            (Some(_), None) if same => *old,
            (Some(a), Some(b)) if same && a < b => *old,
            _ => new_id,
        }
    }
}

impl Images {
    /// As [`Images::resolve`], for a platform; for this machine if none is given.
    ///
    /// # Errors
    /// As [`Images::resolve`]; [`ImageError::OtherPlatform`] or [`ImageError::NoPlatform`] if it is not here for that one.
    pub fn resolve_for(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Image, ImageError> {
        let state = self.read();
        let id = state.lookup_for(name, platform)?;
        crate::store::view(&state, &id)
    }

    /// The manifests of the image: those of its index, or its only one.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`] if it is gone.
    pub fn manifests(&self, id: &Digest) -> Result<Vec<ManifestView>, ImageError> {
        let (own, variants) = {
            let state = self.read();
            let entry = |id: &Digest| state.images.get(id).cloned();
            let own = entry(id).ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
            let variants: Vec<_> = state.variants(id).iter().filter_map(entry).collect();
            (own, variants)
        };
        let Some(index) = self.index_of(&own) else {
            return Ok(own
                .record
                .manifest
                .clone()
                .map(|descriptor| {
                    self.image_manifest(descriptor, Some(&own), own.config.platform())
                })
                .into_iter()
                .collect());
        };
        let views = index.manifests.into_iter().map(|descriptor| {
            let of = descriptor
                .annotations
                .get("vnd.docker.reference.digest")
                .and_then(|digest| Digest::parse(digest).ok());
            if descriptor.is_attestation()
                && let Some(of) = of
            {
                return self.other_manifest(descriptor, ManifestKind::Attestation { of });
            }
            let here = variants.iter().find(|entry| {
                let manifest = entry.record.manifest.as_ref();
                manifest.is_some_and(|manifest| manifest.digest == descriptor.digest)
            });
            let platform = match (&descriptor.platform, here) {
                (Some(platform), _) => Some(platform.clone()),
                (None, Some(entry)) => Some(entry.config.platform()),
                (None, None) => None,
            };
            match platform.filter(|_| media_type::is_manifest(&descriptor.media_type)) {
                Some(platform) => {
                    self.image_manifest(descriptor, here.map(|entry| &**entry), platform)
                }
                None => self.other_manifest(descriptor, ManifestKind::Unknown),
            }
        });
        Ok(views.collect())
    }

    /// The index that led to an image, if it is here.
    pub(crate) fn index_of(&self, entry: &Entry) -> Option<Index> {
        let descriptor = entry.record.index.as_ref()?;
        let bytes = self.stores().read_config(&descriptor.digest)?;
        match Document::parse(&bytes, Some(&descriptor.media_type)).ok()? {
            Document::Index(index) => Some(index),
            Document::Manifest(_) => None,
        }
    }

    fn image_manifest(
        &self,
        descriptor: Descriptor,
        entry: Option<&Entry>,
        platform: Platform,
    ) -> ManifestView {
        let content = entry.map_or(0, |entry| {
            let config = Descriptor::of("", entry.config.raw());
            let layers = entry.record.layers.iter().map(|layer| &layer.blob);
            self.bytes_here(layers.chain([&config, &descriptor]))
        });
        ManifestView {
            available: entry.is_some(),
            content,
            kind: ManifestKind::Image {
                platform,
                id: entry.map(|entry| entry.config.digest()),
                unpacked: entry.map_or(0, Entry::size),
            },
            descriptor,
        }
    }

    fn other_manifest(&self, descriptor: Descriptor, kind: ManifestKind) -> ManifestView {
        let manifest = self.stores().read_config(&descriptor.digest);
        let manifest =
            manifest.and_then(|bytes| Document::parse(&bytes, Some(&descriptor.media_type)).ok());
        let (available, content) = match &manifest {
            Some(Document::Manifest(manifest)) => {
                let parts = || manifest.layers.iter().chain([&manifest.config]);
                let here = |part: &Descriptor| self.stores().content.contains(&part.digest);
                (
                    parts().all(here),
                    self.bytes_here(parts().chain([&descriptor])),
                )
            }
            Some(Document::Index(_)) | None => (false, 0),
        };
        ManifestView {
            descriptor,
            available,
            content,
            kind,
        }
    }

    /// Sum of the sizes of those blobs that are here, each counted once.
    fn bytes_here<'a>(&self, blobs: impl Iterator<Item = &'a Descriptor>) -> u64 {
        let mut seen = HashSet::new();
        blobs
            .filter(|blob| seen.insert(blob.digest) && self.stores().content.contains(&blob.digest))
            .map(|blob| blob.size)
            .sum()
    }
}

#[cfg(test)]
mod tests;
