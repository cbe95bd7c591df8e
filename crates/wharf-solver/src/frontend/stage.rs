//! A stage while it becomes a graph.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wharf_builder::{Args, Names};
use wharf_oci::{ImageConfig, Platform, RunConfig};

use super::llb::Output;

/// What BuildKit's frontend signs steps with.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// A stage.
#[derive(Clone, Debug)]
pub(super) struct Stage {
    /// Its files; none of `FROM scratch` that has had no step yet.
    pub(super) output: Option<Output>,
    pub(super) config: RunConfig,
    /// The configuration of the base image, which stays but for what a build changes.
    pub(super) base: Value,
    pub(super) history: Vec<Value>,
    pub(super) platform: Platform,
    pub(super) author: String,
    pub(super) command_set: bool,
    pub(super) triggers: Vec<String>,
    pub(super) name: Option<String>,
    pub(super) names: Option<Names>,
    pub(super) ignore_cache: bool,
    pub(super) args: Args,
}

impl Stage {
    /// On top of nothing.
    pub(super) fn scratch(platform: Platform) -> Self {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        Self {
            output: None,
            config: RunConfig {
                env: Some(vec![path.to_owned()]),
                working_dir: "/".to_owned(),
                ..RunConfig::default()
            },
            base: json!({}),
            history: Vec::new(),
            platform,
            author: String::new(),
            command_set: false,
            triggers: Vec::new(),
            name: None,
            names: None,
            ignore_cache: false,
            args: Args::default(),
        }
    }

    /// On top of an image.
    pub(super) fn image(output: Option<Output>, image: &ImageConfig, platform: Platform) -> Self {
        let base = serde_json::from_slice(image.raw()).unwrap_or_else(|_| json!({}));
        let mut config = image.config.clone();
        let triggers = config.on_build.take().unwrap_or_default();
        let env = config.env.get_or_insert_default();
        if !env.iter().any(|pair| pair.starts_with("PATH=")) {
            let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            env.push(path.to_owned());
        }
        if config.working_dir.is_empty() {
            config.working_dir = "/".to_owned();
        }
        let history = match base.get("history") {
            Some(Value::Array(steps)) => steps.clone(),
            _ => Vec::new(),
        };
        Self {
            output,
            config,
            history,
            triggers,
            author: image.author.clone(),
            platform: match image.architecture.is_empty() {
                true => platform,
                false => image.platform(),
            },
            base,
            ..Self::scratch(Platform::host())
        }
    }

    /// On top of an earlier stage.
    pub(super) fn on(&self) -> Self {
        Self {
            command_set: false,
            name: None,
            names: None,
            triggers: self.config.on_build.clone().unwrap_or_default(),
            config: RunConfig {
                on_build: None,
                ..self.config.clone()
            },
            ..self.clone()
        }
    }

    /// A step that made a layer. `ran` is one that BuildKit signs.
    pub(super) fn layered(&mut self, text: &str, ran: bool) {
        let text = match ran {
            true => format!("{text} # buildkit"),
            false => text.to_owned(),
        };
        self.history
            .push(json!({ "created_by": text, "comment": COMMENT }));
    }

    /// A step that changed settings only.
    pub(super) fn noted(&mut self, text: &str) {
        self.history
            .push(json!({ "created_by": text, "comment": COMMENT, "empty_layer": true }));
    }

    /// The image's configuration, still without times and layers: those are known when it is written.
    pub(super) fn document(&self) -> Value {
        let mut document = self.base.clone();
        for gone in [
            "container",
            "container_config",
            "id",
            "parent",
            "docker_version",
            "created",
            "rootfs",
        ] {
            if let Value::Object(fields) = &mut document {
                fields.shift_remove(gone);
            }
        }
        document["architecture"] = json!(self.platform.architecture);
        document["os"] = json!(self.platform.os);
        if !self.platform.variant.is_empty() {
            document["variant"] = json!(self.platform.variant);
        }
        if !self.author.is_empty() {
            document["author"] = json!(self.author);
        }
        document["config"] = json!(self.config);
        document["history"] = json!(self.history);
        document
    }

    /// The shell and its flags.
    pub(super) fn shell(&self) -> Vec<String> {
        let shell = self.config.shell.clone().filter(|shell| !shell.is_empty());
        shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()])
    }

    /// A path relative to the working directory; a slash at the end stays, and `.` is a folder.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.config.working_dir),
        };
        let mut clean = wharf_go::path::clean_from_top(&joined);
        let is_folder = path.ends_with('/') || path == "." || path.ends_with("/.");
        if is_folder && clean != "/" {
            clean.push('/');
        }
        clean
    }

    /// Its environment by name.
    pub(super) fn env(&self) -> BTreeMap<String, String> {
        let pairs = self.config.env.iter().flatten();
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}
