//! `export`: the container's root as one archive, without what is in its volumes (moby `daemon/export.go`).

use std::os::fd::AsFd as _;

use wharf_layer::{PackOptions, pack};

use super::Containers;
use crate::error::chain;
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
        let (mut sink, stream) = files::channel(Some(files.evicted()));
        let work = move || {
            let _held = (files, base);
            let options = PackOptions {
                whole_seconds: true,
                ids,
                ..PackOptions::default()
            };
            if let Err(error) = pack(tree.as_fd(), &mut sink, &options) {
                sink.fail(chain(&error));
            }
        };
        let thread = std::thread::Builder::new().name("export".to_owned());
        thread
            .spawn(work)
            .map_err(|error| EngineError::Failed(format!("start a thread: {error}")))?;
        self.shared.emit_view(&view, "export", &[]);
        Ok(stream)
    }
}
