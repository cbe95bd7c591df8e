//! Disk is spent once: of layers that are kept uncompressed, as they were made here or came so, the unpacked folder is kept, and of the archive
//! what the folder does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use wharf_oci::{ChainId, Digest};

use crate::ImageError;
use crate::store::Images;

/// A smaller layer is not worth it.
const MIN_SIZE: u64 = 64 * 1024;

impl Images {
    /// Takes the archives of uncompressed layers away that nobody has written or asked for since `age`, where their bytes can be had from what lies
    /// unpacked; who needs one later gets it as it was. Bytes that are free now. Blocks on the disk, and reads all of these layers.
    ///
    /// # Errors
    /// If the disk fails. What was done until then stays done.
    pub fn slim(&self, age: Duration) -> Result<u64, ImageError> {
        let mut freed = 0;
        for (digest, chain) in self.plain_layers() {
            let content = &self.stores().content;
            if !content.is_settled_for(&digest, age) {
                continue;
            }
            // Neither goes while we are at it.
            let _lease = self.lease(vec![digest], vec![chain]);
            if !self.stores().snapshots.has(&chain) || !content.contains(&digest) {
                continue;
            }
            let slimmed = content.slim(&digest, &chain.to_string());
            freed += slimmed.map_err(|error| ImageError::content("slim", &error))?;
        }
        Ok(freed)
    }

    /// Blobs that are layers as they are when they are not compressed, and the names of their folders.
    fn plain_layers(&self) -> BTreeMap<Digest, ChainId> {
        let state = self.read();
        let mut all = BTreeMap::new();
        for entry in state.images.values() {
            let diff_ids = &entry.config.rootfs.diff_ids;
            let layers = entry.record.layers.iter().zip(diff_ids).zip(&entry.chain);
            let plain = layers.filter(|((layer, diff_id), _)| {
                layer.blob.digest == **diff_id && layer.blob.size >= MIN_SIZE
            });
            all.extend(plain.map(|((layer, _), chain)| (layer.blob.digest, *chain)));
        }
        all
    }
}
