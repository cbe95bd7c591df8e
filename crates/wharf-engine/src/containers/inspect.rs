//! `inspect`, sizes, and the terminal's size.

use std::sync::Arc;

use super::{Containers, Size};
use crate::{EngineError, View};

impl Containers {
    /// It, as it is now.
    ///
    /// # Errors
    /// If there is no such container.
    pub fn inspect(&self, container: &str) -> Result<Arc<View>, EngineError> {
        let entry = self.find(container)?;
        let mut view = (*entry.now()).clone();
        view.exec_ids = self.shared.execs.ids_of(&view.id);
        if let Ok(rootfs) = self.shared.snapshots.rootfs(&view.id) {
            view.layers = Some((rootfs.lowers, rootfs.upper, rootfs.work));
        }
        Ok(Arc::new(view))
    }

    /// Its size on disk.
    ///
    /// # Errors
    /// If there is no such container, or it cannot be measured.
    pub async fn size(&self, container: &str) -> Result<Size, EngineError> {
        let view = self.find(container)?.now();
        let shared = self.shared.clone();
        let measured = tokio::task::spawn_blocking(move || measure(&shared, &view)).await;
        measured.map_err(|error| EngineError::failed(&error))?
    }

    /// Sets its terminal's size.
    ///
    /// # Errors
    /// If it does not run.
    pub async fn resize(
        &self,
        container: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        let task = entry.task()?;
        // Without a terminal there is nothing to do, which dockerd does not take for an error.
        if entry.now().config.tty {
            let resized = task.resize(rows, columns).await;
            resized.map_err(|error| EngineError::failed(&error))?;
        }
        let size = [("height", rows.to_string()), ("width", columns.to_string())];
        self.shared.emit_view(&entry.now(), "resize", &size);
        Ok(())
    }
}

pub(super) fn measure(shared: &super::Shared, view: &View) -> Result<Size, EngineError> {
    let failed = |error: wharf_snapshots::SnapshotError| EngineError::failed(&error);
    let rw = shared.snapshots.rw_usage(&view.id).map_err(failed)?;
    let rootfs = shared.snapshots.rootfs(&view.id).map_err(failed)?;
    let rw = rw.saturating_sub(super::scaffold::size(&rootfs));
    let mut root = rw;
    for chain in view.chain.iter() {
        let layer = shared.snapshots.layer_usage(chain);
        root += layer.map_err(failed)?;
    }
    Ok(Size { rw, root })
}
