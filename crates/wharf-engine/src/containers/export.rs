//! `export`: the container's root as one archive, without what is in its volumes (moby `daemon/export.go`).

use std::os::fd::AsFd as _;

use wharf_layer::{PackOptions, pack};

use super::Containers;
use crate::files::{self, Base, FileStream};
use crate::{EngineError, Remap, userns};

impl Containers {
    /// An uncompressed archive of all files.
    ///
    /// # Errors
    /// If its root cannot be mounted.
    pub async fn export(&self, container: &str) -> Result<FileStream, EngineError> {
        let entry = self.find(container)?;
        let files = entry.files.read().await;
        let view = entry.now();
        let base = Base::of(&self.shared, &entry).await?;
        let mounted = tokio::task::spawn_blocking(move || base.tree().map(|tree| (base, tree)));
        let (base, tree) = mounted
            .await
            .map_err(|error| EngineError::failed(&error))??;
        let ids = userns::of(&self.shared.config, &view.host).map(Remap::archive);
        let stream = files::stream(Some(files.evicted()), move |sink| {
            let _held = (files, base);
            let options = PackOptions {
                whole_seconds: true,
                ids,
                ..PackOptions::default()
            };
            pack(tree.as_fd(), sink, &options).map(drop)
        })?;
        self.shared.emit_view(&view, "export", &[]);
        Ok(stream)
    }
}
