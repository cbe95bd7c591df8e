//! Images of several platforms, or with statements about them, that were made here: documents that others wrote, over
//! layers that are here.

use bytes::Bytes;
use wharf_oci::{ChainId, Descriptor, Digest, ImageConfig, Manifest, Platform, Reference};

use crate::flight::Feed;
use crate::pull::Incoming;
use crate::store::Images;
use crate::{Image, ImageError, ProgressSender};

/// A document with its descriptor.
pub type Document = (Descriptor, Bytes);

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// Names of the folders of its layers, bottom first.
    pub layers: Vec<ChainId>,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Its manifest, whose layers are blobs that are here.
    pub manifest: Document,
    /// What is kept with it: manifests of statements about it, and what they refer to.
    pub extras: Vec<Document>,
}

impl Images {
    /// Records the images of an index, if there is one, all under `names`, of which those mean the best for this
    /// machine; that one. They are pushed as they are.
    ///
    /// # Errors
    /// [`ImageError::RootFsMismatch`] if a configuration has other layers than its manifest; if a layer is not here.
    pub async fn assemble_parts(
        &self,
        parts: Vec<Assembled>,
        index: Option<Document>,
        names: Vec<Reference>,
    ) -> Result<Image, ImageError> {
        let mut all = Vec::new();
        let mut leases = Vec::new();
        for part in parts {
            let config = ImageConfig::parse(part.config)?;
            let (descriptor, bytes) = &part.manifest;
            let manifest = Manifest::parse(bytes, Some(&descriptor.media_type))
                .map_err(|error| ImageError::content("read", &error))?;
            let blobs = manifest.layers.iter().map(|layer| layer.digest).collect();
            // Until the images are recorded, nobody collects what they need.
            leases.push(self.lease(blobs, part.layers));
            let raw = part.manifest.clone();
            let mut incoming = Incoming::new(config, &manifest, raw, |_| Feed::Here)?;
            incoming.index.clone_from(&index);
            incoming.as_it_came = true;
            incoming.extras = part.extras;
            all.push(incoming);
        }
        let host = Platform::host();
        all.sort_by_key(|incoming| {
            let rank = host.preference(&incoming.config.platform());
            std::cmp::Reverse(rank.unwrap_or(usize::MAX))
        });
        let progress = ProgressSender::discard();
        let mut last = None;
        for incoming in all {
            let (image, _) = self.bring_in(incoming, names.clone(), &progress).await?;
            last = Some(image);
        }
        last.ok_or_else(|| ImageError::Archive("an image without a manifest".to_owned()))
    }

    /// Keeps a blob, which may not be here yet, from being collected while the hold lives.
    pub fn hold_blob(&self, digest: &Digest) -> BlobHold {
        let _lease = self.lease(vec![*digest], Vec::new());
        BlobHold { _lease }
    }

    /// Keeps a blob that was made here until `hold` is dropped, or an image or layer needs it. Blocks, on the disk
    /// and on who fetches the same blob.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_blob(
        &self,
        digest: &Digest,
        write: &mut dyn FnMut(&mut dyn std::io::Write) -> std::io::Result<()>,
    ) -> Result<BlobHold, ImageError> {
        let _lease = self.lease(vec![*digest], Vec::new());
        let content = &self.stores().content;
        // Who writes the same at the same time, or fetches it, is waited for; the latter first, as it may take long.
        let _blob = self.flights().lock_blob_blocking(digest);
        let _packing = self.packing();
        if !content.contains(digest) {
            let failed = |error: &dyn std::error::Error| ImageError::content("write", error);
            let ingest = content.ingest(digest, None);
            let mut ingest = ingest.map_err(|error| failed(&error))?;
            ingest.restart().map_err(|error| failed(&error))?;
            write(&mut crate::built::Blob(&mut ingest)).map_err(|error| failed(&error))?;
            ingest.commit().map_err(|error| failed(&error))?;
        }
        Ok(BlobHold { _lease })
    }
}

/// Keeps a blob while it lives.
pub struct BlobHold {
    _lease: crate::store::Lease,
}

impl std::fmt::Debug for BlobHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobHold").finish_non_exhaustive()
    }
}
