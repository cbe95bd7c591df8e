//! `import`: an image of one layer, made of an archive (moby `daemon/images/image_import.go`).

use std::io::Read;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use wharf_images::NewLayer;
use wharf_oci::{Digest, Platform, Reference, RunConfig};

use crate::{EngineError, EventKind, ImageService, apply_changes};

/// What an import is to be.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name.
    pub name: Option<Reference>,
    /// What the history says of it.
    pub message: String,
    /// Instructions of a Dockerfile that make its settings.
    pub changes: Vec<String>,
    /// What it runs on; the host's platform if none.
    pub platform: Option<Platform>,
}

impl ImageService {
    /// Makes an image of the files in `archive`, compressed or not; its id.
    ///
    /// # Errors
    /// `Invalid` for changes that cannot be made or what is no archive; those of the store.
    pub async fn import(
        &self,
        archive: impl Read + Send + 'static,
        options: ImportOptions,
    ) -> Result<Digest, EngineError> {
        let mut config = RunConfig::default();
        apply_changes(&mut config, &options.changes)?;
        let store = self.store.clone();
        let spool = move || store.spool_layer(|out| plain(archive, out));
        let layer = wharf_images::at_clients_pace(spool).await;
        let layer = layer.map_err(|error| EngineError::failed(&error))??;
        let document = describe(&options, &config, &layer)?;
        let name = options.name.clone();
        let image = self
            .store
            .commit(None, Some(layer), document, name.clone())
            .await?;
        let id = image.id.to_string();
        let emit = |action: &str, name: String| {
            let mut attributes = image.config.config.labels.clone();
            attributes.insert("name".to_owned(), name);
            self.events.emit(EventKind::Image, action, &id, attributes);
        };
        if let Some(name) = name {
            emit("tag", name.familiar());
        }
        emit("import", id.clone());
        Ok(image.id)
    }
}

/// The archive without its compression: a layer's digest is that of its plain bytes.
fn plain(archive: impl Read, out: &mut dyn std::io::Write) -> Result<(), EngineError> {
    let failed = |error: std::io::Error| EngineError::Invalid(format!("read the archive: {error}"));
    let mut plain = wharf_layer::decompress(archive).map_err(failed)?;
    std::io::copy(&mut plain, out).map(drop).map_err(failed)
}

fn describe(
    options: &ImportOptions,
    config: &RunConfig,
    layer: &NewLayer,
) -> Result<Vec<u8>, EngineError> {
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let created = Timestamp::now().to_string();
    let mut step = Map::new();
    step.insert("created".to_owned(), json!(created));
    step.insert("comment".to_owned(), json!(options.message));
    let diff_ids: Vec<&Digest> = layer.diff_id().into_iter().collect();
    if diff_ids.is_empty() {
        step.insert("empty_layer".to_owned(), json!(true));
    }
    let mut document = json!({
        "architecture": platform.architecture,
        "comment": options.message,
        "config": config,
        "created": created,
        "history": [Value::Object(step)],
        "os": platform.os,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    if !platform.variant.is_empty() {
        document["variant"] = json!(platform.variant);
    }
    serde_json::to_vec(&document).map_err(|error| EngineError::failed(&error))
}
