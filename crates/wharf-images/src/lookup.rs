//! What a text means: a name, a name with digest, an id, the beginning of an id (moby's `GetImage`).

use wharf_oci::{AnyReference, Digest, Reference};

use crate::ImageError;
use crate::records::State;

impl State {
    /// The id of the image that `text` means.
    pub(crate) fn lookup(&self, text: &str) -> Result<Digest, ImageError> {
        match AnyReference::parse(text).map_err(ImageError::Reference)? {
            AnyReference::Id(id) => {
                if self.images.contains_key(&id) {
                    return Ok(id);
                }
                Err(ImageError::NoSuchImage(id.to_string()))
            }
            AnyReference::Named(name) => {
                let name = name.with_default_tag();
                self.by_name(&name)
                    .or_else(|| self.by_prefix(text))
                    .ok_or_else(|| ImageError::NoSuchImage(name.familiar()))
            }
        }
    }

    /// A name with tag and digest is looked up by its digest only: what the tag meant then is not known.
    fn by_name(&self, name: &Reference) -> Option<Digest> {
        self.names.get(&key_of(name)).copied()
    }

    /// The only image whose id begins so. Docker answers an ambiguous beginning as an unknown name.
    fn by_prefix(&self, text: &str) -> Option<Digest> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.is_empty() || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut found = self.images.keys().filter(|id| id.hex().starts_with(hex));
        let first = found.next()?;
        found.next().is_none().then_some(*first)
    }
}

/// The key that a name is kept at.
pub(crate) fn key_of(name: &Reference) -> Reference {
    match name.digest() {
        Some(digest) => name.clone().without_tag_and_digest().with_digest(*digest),
        None => name.clone().with_default_tag(),
    }
}

/// Whether `text` is the beginning of `id`, with or without `sha256:`.
pub(crate) fn is_id_prefix(id: &Digest, text: &str) -> bool {
    id.to_string().starts_with(text) || id.hex().starts_with(text)
}
