//! Layers that a power cut has taken: they are unpacked again from their blobs when somebody wants to stand on them.

use tokio::runtime::Handle;
use tracing::warn;
use wharf_oci::{ChainId, Digest};
use wharf_snapshots::{Rootfs, SnapshotError};
use wharf_sys::words::chain;

use super::Shared;
use crate::EngineError;
use crate::record::Record;

impl Shared {
    /// A writable layer `id` on the layers of `image`. Blocks; must be called within the runtime.
    ///
    /// # Errors
    /// If a layer is not here and cannot be made, or the disk refuses.
    pub(crate) fn create_rw(
        &self,
        id: &str,
        image: &Digest,
        layers: &[ChainId],
    ) -> Result<Rootfs, EngineError> {
        let made = match self.snapshots.create_rw(id, layers) {
            Err(SnapshotError::NoLayer(lost)) => {
                Handle::current().block_on(self.unpack_again(image, &lost));
                self.snapshots.create_rw(id, layers)
            }
            other => other,
        };
        made.map_err(|error| EngineError::failed(&error))
    }

    /// Unpacks what is missing of the layers that a container stands on or mounts. What cannot be is met by whoever needs it.
    pub(crate) async fn restore_layers(&self, record: &Record) {
        if let Err(SnapshotError::NoLayer(lost)) = self.snapshots.rootfs(&record.id) {
            self.unpack_again(&record.image, &lost).await;
        }
        let images = record.mounts.iter();
        for mount in images.filter(|mount| !mount.snapshot.is_empty()) {
            if let Err(SnapshotError::NoLayer(lost)) = self.snapshots.rootfs(&mount.snapshot)
                && let Some(image) = self.images.id_of(&mount.name)
            {
                self.unpack_again(&image, &lost).await;
            }
        }
    }

    async fn unpack_again(&self, image: &Digest, lost: &ChainId) {
        warn!(%image, layer = %lost, "a layer is lost; it is unpacked again");
        if let Err(error) = self.images.repair(image).await {
            warn!(%image, error = chain(&error), "unpack again");
        }
    }
}
