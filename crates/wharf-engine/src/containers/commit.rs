//! `commit`: an image of what a container has changed (moby `daemon/commit.go`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use wharf_images::{Image, NewLayer};
use wharf_layer::{PackOptions, pack_only};
use wharf_oci::{Digest, Empty, Reference, RunConfig};
use wharf_snapshots::Rootfs;

use super::changes::Layers;
use super::{Containers, Shared};
use crate::lifecycle::Event;
use crate::{Config, EngineError, EventKind, Status, View, apply_changes};

/// What a commit is to be.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Its name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// What for.
    pub comment: String,
    /// The container's processes stand still while its files are read.
    pub pause: bool,
    /// Instructions of a Dockerfile that change its settings.
    pub changes: Vec<String>,
    /// Settings, instead of the container's.
    pub config: Option<Config>,
}

impl Containers {
    /// Makes the image; its id.
    ///
    /// # Errors
    /// `Invalid` for changes that cannot be made, `Conflict` if the container is being removed, those of the stores.
    pub async fn commit(
        &self,
        container: &str,
        options: CommitOptions,
    ) -> Result<Digest, EngineError> {
        // To its end, though nobody waits any more: it must not stay paused.
        let (containers, container) = (self.clone(), container.to_owned());
        let work = async move { containers.commit_now(&container, options).await };
        let done = tokio::spawn(work).await;
        done.map_err(|error| EngineError::failed(&error))?
    }

    async fn commit_now(
        &self,
        container: &str,
        options: CommitOptions,
    ) -> Result<Digest, EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        refuse_removed(&view)?;
        let config = settings(&view, &options)?;
        let store = self.shared.images.clone();
        let (parent, _pin) = store.pin(&view.image.to_string())?;
        // One that is not running cannot be paused, which is as good.
        let paused = options.pause && !view.state.paused && entry.ask(Event::Pause).await.is_ok();
        let layer = self.layer(&view.id).await;
        if paused && let Err(error) = entry.ask(Event::Unpause).await {
            // It may have been killed meanwhile.
            tracing::debug!(container = %view.id, error = error.message(), "unpause");
        }
        let layer = layer?;
        let document = describe(&view, &parent, &layer, &options, &config)?;
        let image = store
            .commit(
                Some(&parent.id),
                Some(layer),
                document,
                options.name.clone(),
            )
            .await?;
        self.announce(&view, &image, &options);
        Ok(image.id)
    }

    /// The own layer of the container with this id as an archive.
    ///
    /// # Errors
    /// If it cannot be read or written down.
    pub async fn layer(&self, id: &str) -> Result<NewLayer, EngineError> {
        spool(&self.shared, id).await
    }

    fn announce(&self, view: &View, image: &Image, options: &CommitOptions) {
        let id = image.id.to_string();
        let emit = |action: &str, name: String| {
            let mut attributes = image.config.config.labels.clone();
            attributes.insert("name".to_owned(), name);
            let events = &self.shared.events;
            events.emit(EventKind::Image, action, &id, attributes);
        };
        emit("create", id.clone());
        let name = options.name.as_ref().map(Reference::familiar);
        if let Some(name) = &name {
            emit("tag", name.clone());
        }
        let more = [
            ("comment", options.comment.clone()),
            ("imageID", id.clone()),
            ("imageRef", name.unwrap_or_default()),
        ];
        self.shared.emit_view(view, "commit", &more);
    }
}

/// What was written on top of the layers below `id`, as an archive.
pub(crate) async fn spool(shared: &Shared, id: &str) -> Result<NewLayer, EngineError> {
    let rootfs = shared.snapshots.rootfs(id);
    let rootfs = rootfs.map_err(|error| EngineError::failed(&error))?;
    let store = shared.images.clone();
    let work = move || store.spool_layer(|out| pack_layer(&rootfs, out));
    let spooled = tokio::task::spawn_blocking(work).await;
    spooled.map_err(|error| EngineError::failed(&error))?
}

fn refuse_removed(view: &View) -> Result<(), EngineError> {
    let state = match view.state.status {
        Status::Dead => "Dead",
        Status::Removing => "being removed",
        _ => return Ok(()),
    };
    let text = format!("You cannot commit container {} which is {state}", view.id);
    Err(EngineError::Conflict(text))
}

fn pack_layer(rootfs: &Rootfs, out: &mut dyn std::io::Write) -> Result<(), EngineError> {
    use std::os::fd::AsFd as _;
    use std::os::unix::ffi::OsStrExt as _;
    let layers = Layers::open(rootfs)
        .map_err(|error| EngineError::io("open", &rootfs.upper)(error.into()))?;
    let options = PackOptions {
        from_overlay: true,
        whole_seconds: true,
        ..PackOptions::default()
    };
    let wanted = |path: &[u8], stat: &rustix::fs::Stat| {
        let path = std::path::Path::new("/").join(std::ffi::OsStr::from_bytes(path));
        !layers.is_untouched(&path, stat)
    };
    let packed = pack_only(layers.upper.as_fd(), out, &options, &wanted);
    packed
        .map(drop)
        .map_err(|error| EngineError::failed(&error))
}

/// The image's settings: those given or the container's, changed, and completed by the container's.
fn settings(view: &View, options: &CommitOptions) -> Result<RunConfig, EngineError> {
    let own = run_config(&view.config);
    let mut config = options
        .config
        .as_ref()
        .map_or_else(|| own.clone(), run_config);
    apply_changes(&mut config, &options.changes)?;
    complete(&mut config, own);
    Ok(config)
}

fn run_config(config: &Config) -> RunConfig {
    let set = |names: Vec<String>| names.into_iter().map(|name| (name, Empty {})).collect();
    let ports = config.exposed_ports.iter().map(ToString::to_string);
    RunConfig {
        user: config.user.clone(),
        exposed_ports: set(ports.collect()),
        env: Some(config.env.clone()).filter(|env| !env.is_empty()),
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        volumes: set(config.volumes.iter().cloned().collect()),
        working_dir: config.working_dir.clone(),
        labels: config.labels.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        stop_timeout: config.stop_timeout,
        healthcheck: config
            .healthcheck
            .as_ref()
            .map(|health| wharf_oci::Healthcheck {
                test: health.test.clone(),
                interval: health.interval,
                timeout: health.timeout,
                start_period: health.start_period,
                start_interval: health.start_interval,
                retries: health.retries,
            }),
        on_build: config.on_build.clone(),
        shell: config.shell.clone(),
        ..RunConfig::default()
    }
}

/// What is not said is the container's (moby `daemon/commit.go`, `merge`).
fn complete(config: &mut RunConfig, own: RunConfig) {
    if config.user.is_empty() {
        config.user = own.user;
    }
    config.exposed_ports.extend(own.exposed_ports);
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let mut env = config.env.take().unwrap_or_default();
    for pair in own.env.into_iter().flatten() {
        if !env.iter().any(|other| name(other) == name(&pair)) {
            env.push(pair);
        }
    }
    config.env = Some(env).filter(|env| !env.is_empty());
    for (key, value) in own.labels {
        config.labels.entry(key).or_insert(value);
    }
    let nothing = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if nothing(&config.entrypoint) {
        if nothing(&config.cmd) {
            config.cmd = own.cmd;
        }
        config.entrypoint = config.entrypoint.take().or(own.entrypoint);
    }
    config.healthcheck = config.healthcheck.take().or(own.healthcheck);
    if config.working_dir.is_empty() {
        config.working_dir = own.working_dir;
    }
    config.volumes.extend(own.volumes);
    if config.stop_signal.is_empty() {
        config.stop_signal = own.stop_signal;
    }
}

/// The image's configuration, as dockerd writes it.
fn describe(
    view: &View,
    parent: &Image,
    layer: &NewLayer,
    options: &CommitOptions,
    config: &RunConfig,
) -> Result<Vec<u8>, EngineError> {
    let fail = |error: serde_json::Error| EngineError::failed(&error);
    let created = Timestamp::now().to_string();
    let mut step = Map::new();
    step.insert("created".to_owned(), json!(created));
    let command = view.config.cmd.iter().flatten().cloned();
    let command = command.collect::<Vec<_>>().join(" ");
    for (key, value) in [
        ("created_by", &command),
        ("author", &options.author),
        ("comment", &options.comment),
    ] {
        if !value.is_empty() {
            step.insert(key.to_owned(), json!(value));
        }
    }
    let old = &parent.config;
    let mut diff_ids = old.rootfs.diff_ids.clone();
    match layer.diff_id() {
        Some(diff_id) => diff_ids.push(*diff_id),
        None => drop(step.insert("empty_layer".to_owned(), json!(true))),
    }
    let mut history = serde_json::to_value(&old.history).map_err(fail)?;
    if let Value::Array(steps) = &mut history {
        steps.push(Value::Object(step));
    }
    let mut document = json!({
        "architecture": old.architecture,
        "config": config,
        "container": view.id,
        "created": created,
        "history": history,
        "os": old.os,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    for (key, value) in [
        ("author", &options.author),
        ("comment", &options.comment),
        ("variant", &old.variant),
        ("os.version", &old.os_version),
    ] {
        if !value.is_empty() {
            document[key] = json!(value);
        }
    }
    serde_json::to_vec(&document).map_err(fail)
}
