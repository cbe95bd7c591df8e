//! What builders say of an image: in-toto statements in manifests of the image's index.

use wharf_oci::{Descriptor, Digest, Document, Platform};

use crate::ImageError;
use crate::store::Images;

/// The type of a statement's blob.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation with what a statement is about.
const PREDICATE: &str = "in-toto.io/predicate-type";
/// A statement longer than this is not read.
const MAX_STATEMENT: u64 = 32 * 1024 * 1024;

/// A statement about an image.
#[derive(Debug, Clone)]
pub struct Attestation {
    /// The blob of the statement.
    pub descriptor: Descriptor,
    /// What kind of statement it is, as an address.
    pub predicate: String,
    /// Its text, if it was asked for.
    pub statement: Option<Vec<u8>>,
}

impl Images {
    /// The statements about the image for a platform, of the kinds that are asked for (all, if none is), with their
    /// texts or without.
    ///
    /// # Errors
    /// As [`Images::resolve_for`]; or a blob cannot be read.
    pub fn attestations(
        &self,
        name: &str,
        platform: Option<&Platform>,
        kinds: &[String],
        with_text: bool,
    ) -> Result<Vec<Attestation>, ImageError> {
        let entry = {
            let state = self.read();
            let id = state.lookup_for(name, platform)?;
            let entry = state.images.get(&id).cloned();
            entry.ok_or_else(|| ImageError::NoSuchImage(name.to_owned()))?
        };
        let (Some(index), Some(manifest)) = (self.index_of(&entry), &entry.record.manifest) else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for descriptor in index
            .manifests
            .iter()
            .filter(|one| is_about(one, &manifest.digest))
        {
            let Some(bytes) = self.stores().read_config(&descriptor.digest) else {
                continue;
            };
            let Ok(Document::Manifest(document)) =
                Document::parse(&bytes, Some(&descriptor.media_type))
            else {
                continue;
            };
            for layer in document.layers {
                let predicate = layer.annotations.get(PREDICATE).cloned();
                let Some(predicate) = predicate.filter(|_| layer.media_type == IN_TOTO) else {
                    continue;
                };
                if kinds.is_empty() || kinds.contains(&predicate) {
                    let statement = with_text.then(|| self.statement(&layer.digest));
                    all.push(Attestation {
                        descriptor: layer,
                        predicate,
                        statement: statement.transpose()?,
                    });
                }
            }
        }
        Ok(all)
    }

    fn statement(&self, digest: &Digest) -> Result<Vec<u8>, ImageError> {
        let read = self.stores().content.read_small(digest, MAX_STATEMENT);
        read.map_err(|error| ImageError::content("read", &error))
    }
}

fn is_about(entry: &Descriptor, image: &Digest) -> bool {
    let of = entry.annotations.get("vnd.docker.reference.digest");
    entry.is_attestation() && of.is_some_and(|of| *of == image.to_string())
}
