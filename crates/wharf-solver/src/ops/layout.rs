//! OCI layouts on the client's disk (`oci-layout://`).

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use wharf_builder::StorePlace;
use wharf_oci::{
    Descriptor, Digest, Document, ImageConfig, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, Manifest,
    Platform, Reference,
};

use super::{VertexRun, platform_of};
use crate::cache::hold;
use crate::{Job, Layer, Ref, ResolvedImage, SolveError};

impl VertexRun<'_> {
    pub(super) async fn layout(
        &self,
        name: &str,
        source: &pb::SourceOp,
    ) -> Result<Ref, SolveError> {
        let attr = |key: &str| source.attrs.get(key).map_or("", String::as_str);
        let (mut place, digest) = place_of(name, attr("oci.store"))?;
        place.session = attr("oci.session").to_owned();
        let platform = self.node.platform.as_ref().map(platform_of);
        let image = LayoutImage::read(self.job, &place, &digest, platform.as_ref()).await?;
        let mut layers = image.layers()?;
        super::source::limit(&mut layers, &source.attrs, "oci.layerlimit")?;
        let (layers, _hold) = self.job.layers_from(&place, &layers).await?;
        let layers = layers.into_iter().map(|(chain, layer)| Layer {
            chain,
            diff_id: layer.diff_id,
            size: layer.size,
            blob: layer.blob,
            created: None,
        });
        let store = self.job.engine().images.store();
        Ok(hold(store, layers.collect()))
    }
}

/// The client's store and the document in it that a name means: `<store>[:<tag>]@<digest>`. `own` is what the source
/// itself says of the store.
pub(crate) fn place_of(name: &str, own: &str) -> Result<(StorePlace, Digest), SolveError> {
    let invalid = || SolveError::Invalid(format!("invalid OCI layout reference {name:?}"));
    let (stored, digest) = name.split_once('@').ok_or_else(invalid)?;
    let digest = Digest::parse(digest).map_err(|_| invalid())?;
    let store = match own {
        // A tag says nothing more than the digest, and a name is without the registry that it never was in.
        "" => stored.split(':').next().unwrap_or_default(),
        own => own,
    };
    if store.is_empty() {
        return Err(invalid());
    }
    let place = StorePlace {
        session: String::new(),
        store: format!("oci:{store}"),
    };
    Ok((place, digest))
}

/// An image in a layout.
pub(crate) struct LayoutImage {
    manifest: Manifest,
    config: Vec<u8>,
}

impl LayoutImage {
    /// Reads the image for the platform.
    ///
    /// # Errors
    /// If the client does not have it, or it is none.
    pub(crate) async fn read(
        job: &Job,
        place: &StorePlace,
        digest: &Digest,
        platform: Option<&Platform>,
    ) -> Result<Self, SolveError> {
        let host = Platform::host();
        let platform = platform.unwrap_or(&host);
        let mut root = document(job, place, digest).await?;
        if let Document::Index(index) = root {
            let entry = index.select(platform).first().map(|entry| entry.digest);
            let entry = entry.ok_or_else(|| {
                let shown = crate::frontend::key_of(platform);
                SolveError::NotFound(format!("no match for platform in manifest: {shown}"))
            })?;
            root = document(job, place, &entry).await?;
        }
        let Document::Manifest(manifest) = root else {
            return Err(SolveError::Failed(
                "an index within an index is not supported".to_owned(),
            ));
        };
        let config = manifest.config.digest;
        let config = job.document_of(place, &config, MAX_CONFIG_SIZE).await?;
        Ok(Self { manifest, config })
    }

    /// Its layers, bottom first: each a blob and its diff id.
    fn layers(&self) -> Result<Vec<(Descriptor, Digest)>, SolveError> {
        let config = ImageConfig::parse(self.config.clone())
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        let (blobs, diff_ids) = (&self.manifest.layers, &config.rootfs.diff_ids);
        if blobs.len() != diff_ids.len() {
            let text = "the image's configuration has other layers than its manifest";
            return Err(SolveError::Failed(text.to_owned()));
        }
        Ok(blobs
            .iter()
            .cloned()
            .zip(diff_ids.iter().copied())
            .collect())
    }
}

async fn document(job: &Job, place: &StorePlace, digest: &Digest) -> Result<Document, SolveError> {
    let bytes = job.document_of(place, digest, MAX_MANIFEST_SIZE).await?;
    Document::parse(&bytes, None).map_err(|error| SolveError::Failed(error.to_string()))
}

/// What a layout's image says of itself.
pub(crate) async fn resolve(
    job: &Job,
    name: &str,
    (session, store): (&str, &str),
    platform: Option<&Platform>,
) -> Result<ResolvedImage, SolveError> {
    let (mut place, digest) = place_of(name, store)?;
    place.session = session.to_owned();
    let image = LayoutImage::read(job, &place, &digest, platform).await?;
    Ok(ResolvedImage {
        reference: name.to_owned(),
        digest,
        config: image.config,
    })
}

/// The source of a layout in the session of who builds.
pub(crate) fn source(job: &Job, name: &str) -> Result<pb::SourceOp, SolveError> {
    let (place, digest) = place_of(name, "")?;
    let store = place.store.trim_start_matches("oci:");
    // As BuildKit names it; it parses as an image's name.
    let reference = Reference::parse_normalized(store)
        .map_err(|error| SolveError::Invalid(format!("invalid OCI layout {store:?}: {error}")))?;
    let mut attrs = BTreeMap::new();
    attrs.insert("oci.store".to_owned(), store.to_owned());
    attrs.insert("oci.session".to_owned(), job.session().to_owned());
    Ok(pb::SourceOp {
        identifier: format!("oci-layout://{}", reference.with_digest(digest)),
        attrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_is_a_store_and_a_digest() {
        let digest = Digest::sha256(b"x");
        let (place, found) = place_of(&format!("id:latest@{digest}"), "").unwrap();
        assert_eq!((place.store.as_str(), found), ("oci:id", digest));
        let (place, _) = place_of(&format!("h/library/id@{digest}"), "id").unwrap();
        assert_eq!(place.store, "oci:id");
        assert!(place_of("id:latest", "").is_err() && place_of("@x", "").is_err());
    }
}
