//! The store as a registry's contents, without a copy: what names mean, and the blobs behind them.
//!
//! A repository is a name without its tag, as people write it; of a registry with a port, the colon is an underscore, as a
//! repository has none.

use std::collections::BTreeSet;
use std::fs::File;

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, Document, MAX_MANIFEST_SIZE, Reference};

use crate::ImageError;
use crate::store::Images;

impl Images {
    /// All repositories, in order.
    pub fn served_repositories(&self) -> BTreeSet<String> {
        let state = self.read();
        let tagged = state.names.keys().filter(|name| name.tag().is_some());
        tagged.map(Reference::as_repository).collect()
    }

    /// The tags of a repository, in order.
    pub fn served_tags(&self, repository: &str) -> BTreeSet<String> {
        let names = self.served_names(repository);
        let tags = names.iter().filter_map(|name| name.tag());
        tags.map(str::to_owned).collect()
    }

    fn served_names(&self, repository: &str) -> Vec<Reference> {
        let wanted = Repository::new(repository);
        let state = self.read();
        let names = state.names.keys();
        names
            .filter(|name| name.tag().is_some() && wanted.is_of(name))
            .cloned()
            .collect()
    }

    /// The manifest or index that a tag or a digest means in a repository; `None` if it means nothing.
    ///
    /// # Errors
    /// If a blob that is recorded is not there.
    pub fn served_manifest(
        &self,
        repository: &str,
        which: &str,
    ) -> Result<Option<(Descriptor, Bytes)>, ImageError> {
        let names = self.served_names(repository);
        let Ok(digest) = Digest::parse(which) else {
            let named = names.iter().find(|name| name.tag() == Some(which));
            return named.map(|name| self.document_of(name)).transpose();
        };
        if let Some(found) = self.kept_document(&digest) {
            return Ok(Some(found));
        }
        // One that is made as it is asked for: of an image that came without.
        for name in &names {
            let found = self.document_of(name)?;
            if found.0.digest == digest {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What a name means: the index if all of it is here, else the manifest.
    fn document_of(&self, name: &Reference) -> Result<(Descriptor, Bytes), ImageError> {
        // Not by its short name, which may be that of another registry (`docker.io/a.b/c`).
        let image = self.resolve(&name.to_string())?;
        if let Some(index) = self.whole_index(&image)?
            && let Some(bytes) = self.stores().read_config(&index.digest)
        {
            return Ok((index, bytes.into()));
        }
        let state = self.read();
        let entry = state
            .images
            .get(&image.id)
            .ok_or_else(|| ImageError::NoSuchImage(image.id.to_string()))?;
        let (descriptor, bytes) = self.describe(&state, entry)?.manifest;
        Ok((descriptor, bytes.into()))
    }

    fn kept_document(&self, digest: &Digest) -> Option<(Descriptor, Bytes)> {
        let content = &self.stores().content;
        let bytes = content.read_small(digest, MAX_MANIFEST_SIZE).ok()?;
        let document = Document::parse(&bytes, None).ok()?;
        let descriptor = Descriptor::new(document.media_type(), *digest, bytes.len() as u64);
        Some((descriptor, bytes.into()))
    }

    /// A blob that is here, and its size in bytes. It can be read to its end, whatever is removed meanwhile.
    pub fn served_blob(&self, digest: &Digest) -> Option<(File, u64)> {
        let content = &self.stores().content;
        let file = content.open_blob(digest).ok()?;
        let size = file.metadata().ok()?.len();
        Some((file, size))
    }
}

/// A repository that is asked for: a name as people write it, or one of Docker Hub with what they leave out.
struct Repository<'a> {
    text: &'a str,
    /// The name that it is on Docker Hub, if it is one there.
    hub: Option<Reference>,
}

impl<'a> Repository<'a> {
    fn new(text: &'a str) -> Self {
        let name = Reference::parse_normalized(text).ok();
        Self {
            text,
            hub: name.filter(|name| name.domain() == "docker.io"),
        }
    }

    fn is_of(&self, name: &Reference) -> bool {
        let same = |hub: &Reference| hub.domain() == name.domain() && hub.path() == name.path();
        self.hub.as_ref().is_some_and(same) || name.as_repository() == self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_names() {
        for (name, repository, is_it) in [
            ("busybox", "busybox", true),
            ("busybox", "library/busybox", true),
            ("busybox", "docker.io/busybox", true),
            ("busybox", "docker.io/library/busybox", true),
            ("busybox", "quay.io/busybox", false),
            ("me/app", "docker.io/me/app", true),
            ("docker.io/a.b/c", "docker.io/a.b/c", true),
            ("docker.io/a.b/c", "a.b/c", false),
            ("a.b/c", "a.b/c", true),
            ("a.b/c", "docker.io/a.b/c", false),
            ("reg.lan:5000/app", "reg.lan_5000/app", true),
            ("reg.lan:5000/app", "app", false),
        ] {
            let name = Reference::parse_normalized(name).unwrap();
            let is_of = Repository::new(repository).is_of(&name);
            assert_eq!(is_of, is_it, "{name} {repository}");
        }
    }
}
