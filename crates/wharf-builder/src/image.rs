//! The image that a step makes.

use serde_json::{Map, Value, json};
use wharf_engine::EngineError;
use wharf_images::{Image, NewLayer};
use wharf_oci::{Digest, History};

use crate::BuildError;
use crate::build::Build;
use crate::fetch::now;
use crate::stage::Stage;

impl Build<'_> {
    /// Whether the step is in the cache; then the stage stands on its image.
    pub(crate) async fn cached(
        &mut self,
        stage: &mut Stage,
        key: &str,
        created_by: &str,
    ) -> Result<bool, BuildError> {
        if self.options.no_cache || stage.busted {
            return Ok(false);
        }
        let mut found = self.builder.cache.get(key)?;
        if found.is_none() {
            found = self.among_others(stage, created_by).await?;
        }
        let Some(image) = found else {
            stage.busted = true;
            return Ok(false);
        };
        self.stand_on(stage, &image)?;
        self.output.say(" ---> Using cache\n").await;
        Ok(true)
    }

    /// Records the step's image.
    pub(crate) async fn commit(
        &mut self,
        stage: &mut Stage,
        layer: Option<NewLayer>,
        created_by: &str,
        key: &str,
    ) -> Result<(), BuildError> {
        let parent = self.parent(stage)?;
        let document = describe(stage, parent.as_ref(), layer.as_ref(), created_by)?;
        let store = self.builder.engine.images.store().clone();
        let image = store
            .commit(stage.image.as_ref(), layer, document, None)
            .await?;
        self.builder.cache.put(key, &image.id)?;
        self.stand_on(stage, &image)
    }

    /// Holds the image, so that no prune takes it while the build goes on.
    fn stand_on(&mut self, stage: &mut Stage, image: &Image) -> Result<(), BuildError> {
        let store = self.builder.engine.images.store();
        let (_, pin) = store.pin(&image.id.to_string())?;
        self.pins.push(pin);
        stage.image = Some(image.id);
        Ok(())
    }

    fn parent(&self, stage: &Stage) -> Result<Option<Image>, BuildError> {
        let store = self.builder.engine.images.store();
        let parent = stage.image.map(|id| store.resolve(&id.to_string()));
        Ok(parent.transpose()?)
    }

    /// The step in one of the images of `--cache-from`: it stands on the same layers and says the same.
    async fn among_others(
        &self,
        stage: &Stage,
        created_by: &str,
    ) -> Result<Option<Image>, BuildError> {
        let store = self.builder.engine.images.store().clone();
        let parent = self.parent(stage)?;
        for name in &self.options.cache_from {
            // One that is not here is of no use, and no error (moby `image/cache`).
            let Ok(other) = store.resolve(name) else {
                continue;
            };
            let Some(steps) = continues(&other, parent.as_ref(), created_by) else {
                continue;
            };
            if steps == other.config.history.len() {
                return Ok(Some(other));
            }
            let layers = other.config.history.iter().take(steps);
            let layers = layers.filter(|step| !step.empty_layer).count();
            let document = cut(stage, &other, steps, layers)?;
            let image = store
                .cut(&other.id, layers, stage.image.as_ref(), document)
                .await?;
            return Ok(Some(image));
        }
        Ok(None)
    }
}

/// With how many steps `other` is what `parent` becomes by `created_by`.
fn continues(other: &Image, parent: Option<&Image>, created_by: &str) -> Option<usize> {
    let none: &[History] = &[];
    let (history, diff_ids): (_, &[Digest]) = match parent {
        Some(parent) => (&parent.config.history[..], &parent.config.rootfs.diff_ids),
        None => (none, &[]),
    };
    let theirs = other.config.history.get(..history.len())?;
    let same = |(a, b): (&History, &History)| {
        a.created_by == b.created_by && a.empty_layer == b.empty_layer
    };
    let next = other.config.history.get(history.len())?;
    let fits = theirs.iter().zip(history).all(same)
        && other.config.rootfs.diff_ids.starts_with(diff_ids)
        && next.created_by == created_by;
    fits.then_some(history.len() + 1)
}

fn cut(stage: &Stage, other: &Image, steps: usize, layers: usize) -> Result<Vec<u8>, BuildError> {
    let history = other.config.history.iter().take(steps);
    let history: Vec<&History> = history.collect();
    let created = history.last().and_then(|step| step.created.clone());
    let diff_ids: Vec<&Digest> = other.config.rootfs.diff_ids.iter().take(layers).collect();
    document(
        stage,
        json!(created.unwrap_or_else(now)),
        json!(history),
        json!(diff_ids),
    )
}

/// The configuration of the step's image, as dockerd writes it.
fn describe(
    stage: &Stage,
    parent: Option<&Image>,
    layer: Option<&NewLayer>,
    created_by: &str,
) -> Result<Vec<u8>, BuildError> {
    let created = now();
    let mut step = Map::new();
    step.insert("created".to_owned(), json!(created));
    step.insert("created_by".to_owned(), json!(created_by));
    if !stage.author.is_empty() {
        step.insert("author".to_owned(), json!(stage.author));
    }
    let mut diff_ids = parent.map_or_else(Vec::new, |image| image.config.rootfs.diff_ids.clone());
    match layer.and_then(NewLayer::diff_id) {
        Some(diff_id) => diff_ids.push(*diff_id),
        None => drop(step.insert("empty_layer".to_owned(), json!(true))),
    }
    let history = parent.map_or_else(Vec::new, |image| image.config.history.clone());
    let mut history = json!(history);
    if let Value::Array(steps) = &mut history {
        steps.push(Value::Object(step));
    }
    document(stage, json!(created), history, json!(diff_ids))
}

pub(crate) fn document(
    stage: &Stage,
    created: Value,
    history: Value,
    diff_ids: Value,
) -> Result<Vec<u8>, BuildError> {
    let mut document = json!({
        "architecture": stage.platform.architecture,
        "config": stage.config,
        "created": created,
        "history": history,
        "os": stage.platform.os,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    for (key, value) in [
        ("author", &stage.author),
        ("variant", &stage.platform.variant),
        ("os.version", &stage.platform.os_version),
    ] {
        if !value.is_empty() {
            document[key] = json!(value);
        }
    }
    serde_json::to_vec(&document).map_err(|error| EngineError::Failed(error.to_string()).into())
}
