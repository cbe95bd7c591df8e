//! Layers and documents of builds in registries and stores of clients: caches that are no images.

use wharf_distribution::Source;
use wharf_oci::{ChainId, Descriptor, Digest, Manifest, Reference};

use crate::assembled::Document;
use crate::built::{BuiltLayer, LayerHold};
use crate::flight::Feed;
use crate::push::Target;
use crate::store::Images;
use crate::unpack::LayerPlan;
use crate::{ImageError, ProgressSender, PushOptions};

/// Where the blobs of layers are.
#[derive(Clone)]
pub enum BlobPlace {
    /// In a registry.
    Registry(Box<Source>),
    /// Here already.
    Here,
}

impl Images {
    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.stores().content.contains(digest)
    }

    /// Fetches layers (each a blob and its diff id, bottom first) and unpacks them on top of each other; they stay while
    /// the hold lives.
    ///
    /// # Errors
    /// If one cannot be had, or is not what it should be.
    pub async fn fetch_layers(
        &self,
        place: &BlobPlace,
        layers: &[(Descriptor, Digest)],
        progress: &ProgressSender,
    ) -> Result<(Vec<(ChainId, BuiltLayer)>, LayerHold), ImageError> {
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, diff_id)| *diff_id).collect();
        let chains = ChainId::from_diff_ids(&diff_ids);
        let blobs = layers.iter().map(|(blob, _)| blob.digest).collect();
        let _lease = self.lease(blobs, chains.clone());
        let registry = self.registry();
        let plans = layers.iter().zip(&chains).map(|((blob, diff_id), chain)| {
            let plan = LayerPlan {
                blob: blob.clone(),
                diff_id: *diff_id,
                chain: *chain,
            };
            let feed = match place {
                BlobPlace::Registry(source) => Feed::Registry {
                    client: registry.clone(),
                    source: source.clone(),
                },
                BlobPlace::Here => Feed::Here,
            };
            (plan, feed)
        });
        let plans: Vec<(LayerPlan, Feed)> = plans.collect();
        self.layers(&plans, progress, false).await?;
        let mut fetched = Vec::new();
        for (plan, _) in plans {
            let layer = BuiltLayer {
                diff_id: plan.diff_id,
                size: self.stores().layer_size(&plan.chain)?,
                blob: Some(plan.blob),
            };
            fetched.push((plan.chain, layer));
        }
        Ok((fetched, self.hold_layers(&chains)))
    }

    /// Sends a manifest that is no image's by the tag of `name`, after its configuration and its layers, which are
    /// here.
    ///
    /// # Errors
    /// If a blob is not here, or the registry refuses.
    pub async fn push_document(
        &self,
        name: &Reference,
        manifest: Document,
        config: Document,
        options: PushOptions,
    ) -> Result<(), ImageError> {
        let parsed = Manifest::parse(&manifest.1, Some(&manifest.0.media_type))
            .map_err(|error| ImageError::content("read", &error))?;
        let _lease = self.lease(vec![config.0.digest], Vec::new());
        self.keep(config.0.digest, config.1).await?;
        let registry = self.registry();
        let source = registry.push_target(name, options.credentials.as_ref(), &[])?;
        let target = Target::new(registry, source, Vec::new());
        for blob in parsed.layers.iter().chain([&parsed.config]) {
            self.send_blob(&target, blob).await?;
        }
        let tag = name.tag().unwrap_or("latest");
        let quiet = ProgressSender::discard();
        let sent = self.send_manifest(&target, tag, &manifest.0, &manifest.1, &quiet);
        sent.await.map(drop)
    }
}
