//! What builders say of an image (buildx's attestations): manifests of its index that point to in-toto statements.

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, Document};

use crate::{Client, RegistryError, Source};

/// More than this is not fetched of one blob.
const MAX_SIZE: u64 = 32 << 20;

impl Client {
    /// The manifests that speak of `image`, and all their blobs. They are no part of the image: one that cannot be had is
    /// left out.
    pub async fn statements(
        &self,
        source: &Source,
        index: &[u8],
        image: &Digest,
    ) -> Vec<(Descriptor, Bytes)> {
        let Ok(Document::Index(index)) = Document::parse(index, None) else {
            return Vec::new();
        };
        let text = image.to_string();
        let mut all = Vec::new();
        for entry in index.manifests {
            let of = entry.annotations.get("vnd.docker.reference.digest");
            if !entry.is_attestation() || of != Some(&text) {
                continue;
            }
            match self.statement(source, &entry.digest).await {
                Ok(blobs) => all.extend(blobs),
                Err(error) => tracing::warn!(digest = %entry.digest, %error, "no attestation"),
            }
        }
        all
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

    async fn statement(
        &self,
        source: &Source,
        digest: &Digest,
    ) -> Result<Vec<(Descriptor, Bytes)>, RegistryError> {
        let (raw, document) = self
            .manifest(source, &digest.to_string(), Some(digest))
            .await?;
        let mut all = vec![(raw.descriptor, raw.bytes)];
        let Document::Manifest(manifest) = document else {
            return Ok(all);
        };
        for part in manifest.layers.into_iter().chain([manifest.config]) {
            let bytes = self
                .small_blob(source, &part, "attestation", MAX_SIZE)
                .await?;
            all.push((part, bytes));
        }
        Ok(all)
    }
}
