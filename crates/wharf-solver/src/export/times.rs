//! Layers without times after `SOURCE_DATE_EPOCH` (`rewrite-timestamp`): the same build is the same bytes, whenever.

use std::collections::BTreeMap;

use wharf_images::{BlobHold, BlobPlace, ProgressSender};
use wharf_layer::Times;
use wharf_oci::{Descriptor, Digest, media_type};

use super::layers::NewBlob;
use crate::attributes::is_on;
use crate::cache::hold;
use crate::{Job, Layer, Ref, SolveError, blocking};

impl Job {
    /// The tree with the times that an exporter is asked for. Layers of a base image stay as they are, as with
    /// BuildKit: others have them by their digests.
    ///
    /// # Errors
    /// If a layer is not there, or cannot be written.
    pub(crate) async fn retimed(
        &self,
        tree: Ref,
        attrs: &BTreeMap<String, String>,
        epoch: Option<i64>,
    ) -> Result<Ref, SolveError> {
        let wanted = is_on(attrs, "rewrite-timestamp")?;
        let Some(epoch) = epoch.filter(|_| wanted) else {
            return Ok(tree);
        };
        let (job, own) = (self.clone(), tree.clone());
        let (blobs, _holds) = blocking(move || rewritten(&job, &own, epoch)).await?;
        let store = self.engine().images.store();
        let progress = ProgressSender::discard();
        let unpacked = store.fetch_layers(&BlobPlace::Here, &blobs, &progress);
        let (layers, _hold) = unpacked.await?;
        let layers = layers.into_iter().zip(tree.layers());
        let layers = layers.map(|((chain, layer), old)| Layer {
            chain,
            diff_id: layer.diff_id,
            size: layer.size,
            blob: layer.blob,
            created: old.created,
        });
        Ok(hold(store, layers.collect()))
    }
}

type Blobs = (Vec<(Descriptor, Digest)>, Vec<BlobHold>);

fn rewritten(job: &Job, tree: &Ref, epoch: i64) -> Result<Blobs, SolveError> {
    let store = job.engine().images.store();
    let (mut blobs, mut holds) = (Vec::new(), Vec::new());
    for layer in tree.layers() {
        let is_base = layer.created.is_none();
        if is_base {
            holds.push(store.hold_blob(&layer.diff_id));
            let blob = store.layer_blob(&layer.chain, &layer.diff_id)?;
            holds.push(store.hold_blob(&blob.digest));
            blobs.push((blob, layer.diff_id));
            continue;
        }
        let mut out = NewBlob::begin(job)?;
        store.pack_layer(&layer.chain, Times::Until(epoch), &mut out)?;
        let (blob, hold) = out.keep(job, media_type::OCI_LAYER)?;
        let diff_id = blob.digest;
        blobs.push((blob, diff_id));
        holds.push(hold);
    }
    Ok((blobs, holds))
}
