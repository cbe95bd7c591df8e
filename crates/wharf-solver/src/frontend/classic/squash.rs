//! `--squash`: one layer of all that a build adds to its base (moby `daemon/images/image_squash.go`).

use serde_json::{Value, json};
use wharf_builder::{BuildError, fetch::now};
use wharf_engine::EngineError;
use wharf_images::Image;
use wharf_oci::Digest;

use super::Build;
use crate::{blocking, ops};

impl Build<'_> {
    /// An image with the files and settings of `image`, and one layer on top of those of the base of its last stage.
    ///
    /// # Errors
    /// If the layer cannot be made.
    pub(super) async fn squash(&mut self, image: &Digest) -> Result<Digest, BuildError> {
        let base = self.stages.last().and_then(|stage| stage.base);
        let store = self.store().clone();
        let whole = store.resolve(&image.to_string())?;
        let base = base.map(|id| store.resolve(&id.to_string())).transpose()?;
        self.converter.renew();
        let upper = self.converter.stored(&whole.id);
        let lower = base.as_ref().map(|base| self.converter.stored(&base.id));
        let job = self.job.clone();
        let (upper, _) = self.solve(&job, Some(upper)).await?;
        let (lower, _) = self.solve(&job, lower).await?;
        let below = (lower.chains(), lower.diff_ids());
        let own = blocking(move || ops::compared(&job, &lower, &upper)).await?;
        let chains = [below.0, own.chains()].concat();
        let diff_ids = [below.1, own.diff_ids()].concat();
        let document = merged(&whole, base.as_ref(), &diff_ids)?;
        let squashed = store.assemble(&chains, document, Vec::new(), None).await?;
        let (_, pin) = store.pin(&squashed.id.to_string())?;
        self.pins.push(pin);
        Ok(squashed.id)
    }
}

/// The configuration: the steps of the build have no layers any more, and one more says where they went.
fn merged(whole: &Image, base: Option<&Image>, diff_ids: &[Digest]) -> Result<Vec<u8>, BuildError> {
    let broken = |error: serde_json::Error| EngineError::Failed(error.to_string());
    let mut document: Value = serde_json::from_slice(whole.config.raw()).map_err(broken)?;
    let kept = base.map_or(0, |base| base.config.history.len());
    let created = now();
    if let Some(Value::Array(steps)) = document.get_mut("history") {
        for step in steps.iter_mut().skip(kept) {
            step["empty_layer"] = json!(true);
        }
        let base = base.map(|base| base.id.to_string()).unwrap_or_default();
        let comment = format!("merge {} to {base}", whole.id);
        steps.push(json!({ "created": created, "comment": comment }));
    }
    document["created"] = json!(created);
    document["rootfs"]["diff_ids"] = json!(diff_ids);
    Ok(serde_json::to_vec(&document).map_err(broken)?)
}
