//! The image that a step makes.

use serde_json::{Map, Value, json};
use wharf_builder::{BuildError, fetch::now};
use wharf_engine::{Config, EngineError, HostConfig, NewStep};
use wharf_images::Image;
use wharf_oci::{ChainId, Digest, History};

use super::base::Standing;
use super::container_runner::Running;
use super::{Build, ContainerRunner};
use crate::{Job, Ref};

/// An archive without a member: a layer that changes nothing is none (Docker's `EmptyLayer`).
const EMPTY_ARCHIVE: [u8; 1024] = [0; 1024];

/// The layers of a step's image.
struct Layers {
    chains: Vec<ChainId>,
    diff_ids: Vec<Digest>,
    /// Whether the step added one.
    grew: bool,
}

/// What there is to do for a step that is not known.
#[derive(Clone, Copy)]
pub(super) enum Work<'a> {
    /// Nothing: only settings change.
    Settings,
    /// The working directory is made.
    Folder,
    /// Files are copied.
    Files,
    /// A command is run, by this job.
    Command(&'a Job),
}

impl Build<'_> {
    /// The step's image: one that is here, or a new one. The classic builder has no other cache than its images.
    pub(super) async fn step(
        &mut self,
        standing: &mut Standing,
        created_by: &str,
        work: Work<'_>,
    ) -> Result<(), BuildError> {
        if !self.options.no_cache && !standing.busted {
            if let Some(image) = self.known(standing, created_by).await? {
                self.stand_on(standing, &image)?;
                self.output.say(" ---> Using cache\n").await;
                return Ok(());
            }
            standing.busted = true;
        }
        let tree = match work {
            Work::Settings => return self.settings(standing, created_by).await,
            Work::Folder => {
                let container = self.container(standing, created_by).await?;
                let (tree, _) = self.solve(self.job, standing.stage.output).await?;
                self.dismiss(container).await?;
                tree
            }
            Work::Files => self.solve(self.job, standing.stage.output).await?.0,
            Work::Command(job) => self.solve(job, standing.stage.output).await?.0,
        };
        self.commit(standing, Some(&tree), created_by).await
    }

    /// The image of a command that the history does not say all of, as it has mounts, here-documents or a network of its own,
    /// which no classic builder but this one has: whether it is known, the solver must say.
    pub(super) async fn untold(
        &mut self,
        standing: &mut Standing,
        created_by: &str,
        job: &Job,
    ) -> Result<(), BuildError> {
        let (tree, is_known) = self.solve(job, standing.stage.output).await?;
        if !is_known {
            standing.busted = true;
            return self.commit(standing, Some(&tree), created_by).await;
        }
        match self.known(standing, created_by).await? {
            Some(image) => self.stand_on(standing, &image)?,
            // Its image is gone, but not what it did.
            None => self.commit(standing, Some(&tree), created_by).await?,
        }
        self.output.say(" ---> Using cache\n").await;
        Ok(())
    }

    /// A step that changes only settings: as everybody knows it, it has a container too.
    async fn settings(
        &mut self,
        standing: &mut Standing,
        created_by: &str,
    ) -> Result<(), BuildError> {
        if standing.image.is_none() {
            // There is no image yet that a container could be of.
            self.commit(standing, None, created_by).await?;
            let container = self.container(standing, created_by).await?;
            return self.dismiss(container).await;
        }
        let container = self.container(standing, created_by).await?;
        self.commit(standing, None, created_by).await?;
        self.dismiss(container).await
    }

    /// The container of a step that runs nothing. It is never started.
    async fn container(
        &self,
        standing: &Standing,
        created_by: &str,
    ) -> Result<Option<(ContainerRunner, Running)>, BuildError> {
        let Some(image) = standing.image else {
            return Ok(None);
        };
        let shell = standing.stage.shell();
        let text = created_by.strip_prefix(&shell.join(" "));
        let text = text.unwrap_or(created_by).trim_start().to_owned();
        let step = NewStep {
            config: Config {
                cmd: Some([shell, vec![text]].concat()),
                ..Config::default()
            },
            host: HostConfig::default(),
            mounts: Vec::new(),
        };
        let container_runner = self.container_runner(image);
        let running = container_runner.open(self.job, step).await?;
        Ok(Some((container_runner, running)))
    }

    async fn dismiss(
        &self,
        container: Option<(ContainerRunner, Running)>,
    ) -> Result<(), BuildError> {
        if let Some((container_runner, running)) = container {
            container_runner.succeeded(running).await?;
        }
        Ok(())
    }

    /// Makes the step's image, of what it has made of the files.
    async fn commit(
        &mut self,
        standing: &mut Standing,
        made: Option<&Ref>,
        created_by: &str,
    ) -> Result<(), BuildError> {
        let parent = self.parent(standing)?;
        let layers = Layers::of(parent.as_ref(), made);
        let document = describe(standing, parent.as_ref(), &layers, created_by)?;
        let parent = parent.map(|parent| parent.id);
        let bytes = serde_json::to_vec(&document);
        let bytes = bytes.map_err(|error| EngineError::Failed(error.to_string()))?;
        let store = self.store().clone();
        let image = store
            .assemble(&layers.chains, bytes, Vec::new(), parent)
            .await?;
        self.stand_on(standing, &image)
    }

    /// An image that the step has made before, here or, where there is `--cache-from`, in its images.
    async fn known(
        &self,
        standing: &Standing,
        created_by: &str,
    ) -> Result<Option<Image>, BuildError> {
        let parent = self.parent(standing)?;
        // Where others are named, only theirs count (moby `image/cache`).
        if !self.options.cache_from.is_empty() {
            return self.among_others(standing, parent, created_by).await;
        }
        let layers = Layers::of(parent.as_ref(), None);
        let document = describe(standing, parent.as_ref(), &layers, created_by)?;
        Ok(self.sibling(standing, document))
    }

    /// Holds the image, so that no prune takes it while the build goes on.
    fn stand_on(&mut self, standing: &mut Standing, image: &Image) -> Result<(), BuildError> {
        let (_, pin) = self.store().pin(&image.id.to_string())?;
        self.pins.push(pin);
        standing.image = Some(image.id);
        Ok(())
    }

    pub(super) fn parent(&self, standing: &Standing) -> Result<Option<Image>, BuildError> {
        let image = standing
            .image
            .map(|id| self.store().resolve(&id.to_string()));
        Ok(image.transpose()?)
    }

    /// An image that the same step has made of the same parent.
    fn sibling(&self, standing: &Standing, document: Value) -> Option<Image> {
        let wanted = asked(document);
        let same = |image: &Image| {
            let found = serde_json::from_slice(image.config.raw());
            found.is_ok_and(|found| asked(found) == wanted)
        };
        let children = self.store().children(standing.image.as_ref()).into_iter();
        children
            .filter(same)
            .max_by_key(|image| image.created.parse::<jiff::Timestamp>().ok())
    }

    /// The step in one of the images of `--cache-from`: it stands on the same layers and says the same.
    async fn among_others(
        &self,
        standing: &Standing,
        parent: Option<Image>,
        created_by: &str,
    ) -> Result<Option<Image>, BuildError> {
        let store = self.store().clone();
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
            let history = other.config.history.get(..steps).unwrap_or_default();
            let count = history.iter().filter(|step| !step.empty_layer).count();
            let layers = other.chain.get(..count).unwrap_or_default();
            let document = cut(standing, &other, history, count)?;
            let parent = standing.image;
            let image = store.assemble(layers, document, Vec::new(), parent).await?;
            return Ok(Some(image));
        }
        Ok(None)
    }
}

impl Layers {
    /// Those of the parent, and what the step has added.
    fn of(parent: Option<&Image>, tree: Option<&Ref>) -> Self {
        let below = parent.map_or(0, |parent| parent.chain.len());
        let mut layers = Self {
            chains: parent.map_or_else(Vec::new, |parent| parent.chain.clone()),
            diff_ids: parent.map_or_else(Vec::new, |parent| parent.config.rootfs.diff_ids.clone()),
            grew: false,
        };
        let nothing = Digest::sha256(&EMPTY_ARCHIVE);
        let own = tree
            .into_iter()
            .flat_map(|tree| tree.layers().iter().skip(below));
        for layer in own.filter(|layer| layer.diff_id != nothing) {
            layers.chains.push(layer.chain);
            layers.diff_ids.push(layer.diff_id);
            layers.grew = true;
        }
        layers
    }
}

/// What a configuration says that was asked for: not when its last step was made, and which files it has made.
fn asked(mut document: Value) -> Value {
    document["created"] = Value::Null;
    document["rootfs"] = Value::Null;
    if let Some(Value::Array(steps)) = document.get_mut("history")
        && let Some(Value::Object(last)) = steps.last_mut()
    {
        last.remove("created");
        last.remove("empty_layer");
    }
    document
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

/// The configuration of an image of the first steps of another.
fn cut(
    standing: &Standing,
    other: &Image,
    history: &[History],
    layers: usize,
) -> Result<Vec<u8>, BuildError> {
    let created = history.last().and_then(|step| step.created.clone());
    let diff_ids: Vec<&Digest> = other.config.rootfs.diff_ids.iter().take(layers).collect();
    let document = document(
        standing,
        &json!(created.unwrap_or_else(now)),
        &json!(history),
        &json!(diff_ids),
    );
    serde_json::to_vec(&document).map_err(|error| EngineError::Failed(error.to_string()).into())
}

/// The configuration of the step's image, as dockerd writes it.
fn describe(
    standing: &Standing,
    parent: Option<&Image>,
    layers: &Layers,
    created_by: &str,
) -> Result<Value, BuildError> {
    let created = now();
    let mut step = Map::new();
    step.insert("created".to_owned(), json!(created));
    step.insert("created_by".to_owned(), json!(created_by));
    let author = &standing.stage.author;
    if !author.is_empty() {
        step.insert("author".to_owned(), json!(author));
    }
    if !layers.grew {
        step.insert("empty_layer".to_owned(), json!(true));
    }
    let history = parent.map_or_else(Vec::new, |image| image.config.history.clone());
    let mut history = json!(history);
    if let Value::Array(steps) = &mut history {
        steps.push(Value::Object(step));
    }
    let diff_ids = json!(layers.diff_ids);
    Ok(document(standing, &json!(created), &history, &diff_ids))
}

pub(super) fn document(
    standing: &Standing,
    created: &Value,
    history: &Value,
    diff_ids: &Value,
) -> Value {
    let stage = &standing.stage;
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
    document
}
