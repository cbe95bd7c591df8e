//! A writable tree on top of an image that no container owns: what a step of a build copies files into, or from.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use wharf_layer::{ApplyOptions, PackOptions};
use wharf_oci::ChainId;
use wharf_sys::mount::{self, Change, attr};
use wharf_sys::root::Root;

use crate::containers::Shared;
use crate::{Containers, EngineError, files, names};

/// A tree on top of layers. Gone when it is dropped; what a killed daemon leaves, the next one sweeps.
pub struct Workspace {
    pub(crate) id: String,
    pub(crate) shared: Arc<Shared>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Workspace").field(&self.id).finish()
    }
}

impl Containers {
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
        })
    }

    /// What a container has written that has ended, with the layers below: the container has none of it any more, and
    /// is only good to be removed. Blocks.
    ///
    /// # Errors
    /// If there is no such container, or the disk refuses.
    pub fn taken(&self, container: &str) -> Result<Workspace, EngineError> {
        let own = self.find(container)?.id.clone();
        let id = names::new_id();
        let moved = self.shared.snapshots.rename_rw(&own, &id);
        moved.map_err(|error| EngineError::failed(&error))?;
        let taken = Workspace {
            id,
            shared: self.shared.clone(),
        };
        taken.without_mtab()
    }

    /// A copy of what a container has written, on top of these layers, which are its own. Blocks.
    ///
    /// # Errors
    /// If there is no such container, or the disk refuses.
    pub fn copied(&self, container: &str, layers: &[ChainId]) -> Result<Workspace, EngineError> {
        let own = self.find(container)?.id.clone();
        let rootfs = self.shared.snapshots.rootfs(&own);
        let from = rootfs.map_err(|error| EngineError::failed(&error))?.upper;
        let copy = self.tree(layers)?;
        let to = copy.upper()?;
        let open = |path: &std::path::Path| File::open(path).map_err(EngineError::io("open", path));
        let (from, to) = (open(&from)?, open(&to)?);
        let (reader, writer) = std::io::pipe()
            .map_err(|error| EngineError::Failed(format!("make a pipe: {error}")))?;
        // With times as they are: what the container was given is known by its own.
        let exact = PackOptions {
            whole_seconds: false,
            ..wharf_images::PACKED
        };
        std::thread::scope(|scope| {
            let packing =
                scope.spawn(move || wharf_layer::pack(from.as_fd(), writer, &exact).map(drop));
            let applied = wharf_layer::apply(reader, to.as_fd(), &ApplyOptions::default());
            let packed = packing.join();
            let packed = packed.map_err(|_| EngineError::Failed("pack: panicked".to_owned()))?;
            packed.map_err(|error| EngineError::failed(&error))?;
            applied.map_err(|error| EngineError::failed(&error))
        })?;
        copy.without_mtab()
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
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let (shared, id) = (self.shared.clone(), std::mem::take(&mut self.id));
        let remove = move || shared.remove_files(&id);
        // A tree is as large as somebody likes: that is nothing for a thread that others wait for.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.shared.background.spawn_blocking_on(remove, &runtime)),
            Err(_) => remove(),
        }
    }
}
