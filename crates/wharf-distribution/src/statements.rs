//! What is said of an image beside itself: by its builder (buildx's attestations, manifests of its index that point to
//! in-toto statements), and by others later (referrers: manifests that name it as their subject).

use bytes::Bytes;
use http::HeaderValue;
use http::header::ACCEPT;
use wharf_oci::{Descriptor, Digest, Document, MAX_MANIFEST_SIZE, media_type};

use crate::answer::RegistryAnswer;
use crate::http_client::Call;
use crate::{Client, RegistryError, Source};

/// More referrers than these are not fetched.
const MAX_REFERRERS: usize = 100;
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

    /// The manifests that name `subject`, and all their blobs (distribution specification, "Listing Referrers"; of a registry that
    /// has no such lists, the ones that its clients keep by a tag).
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn referrers(
        &self,
        source: &Source,
        subject: &Digest,
    ) -> Result<Vec<(Descriptor, Bytes)>, RegistryError> {
        let uri = self
            .address(source, &format!("referrers/{subject}"))
            .await?;
        let mut call = Call::get(uri.clone());
        call.headers
            .insert(ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX));
        let response = self.send(source, call).await?;
        let bytes = match response.status().as_u16() {
            200..300 => self.0.http.body(&uri, response, MAX_MANIFEST_SIZE).await?,
            404 => match self.manifest(source, &tag_of(subject), None).await {
                Ok((raw, _)) => raw.bytes,
                Err(RegistryError::ManifestUnknown { .. } | RegistryError::NameUnknown { .. }) => {
                    return Ok(Vec::new());
                }
                Err(error) => return Err(error),
            },
            _ => {
                let answer = RegistryAnswer::read(&self.0.http, &uri, response).await?;
                return Err(answer.into_error());
            }
        };
        let familiar = source.reference.familiar();
        let document = Document::parse(&bytes, Some(media_type::OCI_INDEX))
            .map_err(|error| RegistryError::manifest(&familiar, &error))?;
        let Document::Index(index) = document else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for entry in index.manifests.iter().take(MAX_REFERRERS) {
            all.extend(self.statement(source, &entry.digest).await?);
        }
        Ok(all)
    }

    /// Lists a manifest among those that name `subject`, in a registry that does not do so itself ("Referrers Tag Schema").
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn list_referrer(
        &self,
        target: &Source,
        subject: &Digest,
        manifest: &Descriptor,
    ) -> Result<(), RegistryError> {
        let tag = tag_of(subject);
        let known = match self.manifest(target, &tag, None).await {
            Ok((_, Document::Index(index))) => index.manifests,
            Ok(_) | Err(RegistryError::ManifestUnknown { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
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

/// The tag that stands for the list of what names a subject.
fn tag_of(subject: &Digest) -> String {
    subject.to_string().replacen(':', "-", 1)
}
