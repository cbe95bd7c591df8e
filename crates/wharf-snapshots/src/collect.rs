//! Deletes layers that nobody needs.

use std::collections::HashSet;

use tracing::warn;
use wharf_oci::ChainId;

use crate::{SnapshotError, Snapshots};

impl Snapshots {
    /// Removes all layers but `keep` and those that a writable layer stands on; none while it is not known of one what it
    /// stands on. Returns the sum of their sizes in bytes. They are gone at once; their files are deleted in the background.
    ///
    /// # Errors
    /// The system's; layers that were removed until then stay removed.
    pub fn collect(&self, keep: &HashSet<ChainId>) -> Result<u64, SnapshotError> {
        let mut index = self.index();
        if !index.broken.is_empty() {
            warn!(
                containers = ?index.broken,
                "no layer is deleted while it is not known what these containers stand on: remove them"
            );
            return Ok(0);
        }
        let used: HashSet<ChainId> = index.rw.values().flatten().copied().collect();
        let loose: Vec<(ChainId, u64)> = index
            .layers
            .iter()
            .filter(|(chain, _)| !keep.contains(chain) && !used.contains(chain))
            .map(|(chain, size)| (*chain, *size))
            .collect();
        let mut freed = 0;
        for (chain, size) in loose {
            let path = self.layer_dir(&chain);
            self.discard(&path)?;
            if let Some(name) = path.file_name() {
                self.shared.settle.forget(&name.to_string_lossy());
            }
            index.layers.remove(&chain);
            freed += size;
        }
        drop(index);
        self.sweep_in_background();
        Ok(freed)
    }
}
