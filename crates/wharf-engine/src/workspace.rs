//! A writable tree on top of an image that no container owns: what a step of a build copies files into, or from.

use std::sync::Arc;

use wharf_images::{ImagePin, NewLayer};
use wharf_oci::{ChainId, Digest};
use wharf_sys::mount::{self, Change, attr};
use wharf_sys::root::Root;

use crate::containers::Shared;
use crate::{Containers, EngineError, files, names};

/// A tree on top of layers. Gone when it is dropped; what a killed daemon leaves, the next one sweeps.
pub struct Workspace {
    pub(crate) id: String,
    pub(crate) shared: Arc<Shared>,
    _pin: Option<ImagePin>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Workspace").field(&self.id).finish()
    }
}

impl Containers {
    /// A tree on top of `image`, or an empty one.
    ///
    /// # Errors
    /// If there is no such image, or the disk refuses.
    pub fn workspace(&self, image: Option<&Digest>) -> Result<Workspace, EngineError> {
        let pinned = image.map(|image| self.shared.images.pin(&image.to_string()));
        let (chain, pin) = match pinned.transpose()? {
            Some((image, pin)) => (image.chain, Some(pin)),
            None => (Vec::new(), None),
        };
        let mut workspace = self.tree(&chain)?;
        workspace._pin = pin;
        Ok(workspace)
    }

    /// A tree on top of layers, bottom first.
    ///
    /// # Errors
    /// If one of them is not here, or the disk refuses.
    pub fn tree(&self, layers: &[ChainId]) -> Result<Workspace, EngineError> {
        let id = names::new_id();
        let made = self.shared.snapshots.create_rw(&id, layers);
        made.map_err(|error| EngineError::failed(&error))?;
        Ok(Workspace {
            id,
            shared: self.shared.clone(),
            _pin: None,
        })
    }
}

impl Workspace {
    /// Its root, mounted nowhere: it is there as long as the descriptor. Devices in it cannot be opened. Blocks.
    ///
    /// # Errors
    /// If the layers cannot be mounted.
    pub fn root(&self) -> Result<Root, EngineError> {
        let rootfs = self.shared.snapshots.rootfs(&self.id);
        let rootfs = rootfs.map_err(|error| EngineError::failed(&error))?;
        let tree = files::overlay(&rootfs)?;
        let guard = Change {
            set: attr::NODEV | attr::NOSUID,
            ..Change::default()
        };
        mount::change(&tree, guard)
            .map_err(|error| EngineError::Failed(format!("guard the root: {error}")))?;
        Ok(Root::from_fd(tree))
    }

    /// What was written, as an archive.
    ///
    /// # Errors
    /// If it cannot be read or written down.
    pub async fn layer(&self) -> Result<NewLayer, EngineError> {
        crate::containers::commit::spool(&self.shared, &self.id).await
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.shared.remove_files(&self.id);
    }
}
