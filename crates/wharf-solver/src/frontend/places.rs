//! Where files come from that a stage does not have: other stages, images, contexts.

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use wharf_builder::fetch;
use wharf_oci::{ImageConfig, Platform, Reference};

use super::convert::Converter;
use super::files::{self, Remote};
use super::llb::{About, Output};
use super::stage::Stage;
use crate::SolveError;

/// Where files of another place are.
pub(super) enum Place {
    /// Of an operation; none is an empty tree.
    Files(Option<Output>),
}

/// What a named context is.
pub(super) enum Named {
    /// Files alone.
    Files(Option<Output>),
    /// Files with the configuration of an image.
    Built(Option<Output>, Box<ImageConfig>),
    /// An image, by its name.
    Image(String),
}

impl Converter<'_> {
    /// The named context that a stage's or an image's name means: its name as Docker shows it, and what it is. One for the
    /// platform goes first (`dockerui/namedcontext.go`).
    pub(super) fn context_of(&self, name: &str, platform: &Platform) -> Option<(String, String)> {
        if ["scratch", "context"].contains(&name.to_ascii_lowercase().as_str()) {
            return None;
        }
        let shown = Reference::parse_normalized(name).map_or(name.to_owned(), |reference| {
            let shown = reference.familiar();
            shown.strip_suffix(":latest").unwrap_or(&shown).to_owned()
        });
        let platform = super::key_of(&platform.clone().normalized());
        let contexts = &self.options.contexts;
        let found = contexts
            .get(&format!("{shown}::{platform}"))
            .or_else(|| contexts.get(&shown))?;
        Some((shown, found.clone()))
    }

    /// What a named context is.
    pub(super) async fn named_context(
        &mut self,
        name: &str,
        context: &str,
        platform: &Platform,
    ) -> Result<Named, SolveError> {
        if context == "docker-image://scratch" {
            return Ok(Named::Files(None));
        }
        if let Some(image) = context.strip_prefix("docker-image://") {
            return Ok(Named::Image(image.to_owned()));
        }
        if let Some(layout) = context.strip_prefix("oci-layout://") {
            return self.layout(name, layout, platform).await;
        }
        if let Some(local) = context.strip_prefix("local:") {
            let shown = format!("[context {name}] load .dockerignore");
            let ignore = files::ignored(self.job, local, &shown).await?;
            let title = format!("[context {name}] load from client");
            let output = self.local(local, &title, &ignore);
            return Ok(Named::Files(Some(output)));
        }
        if let Some(key) = context.strip_prefix("input:") {
            return self.input(name, key, platform);
        }
        if let Some(source) = super::remote_source(context, self.options.keep_git_dir) {
            let (remote, _) = Remote::open(self.job, source).await?;
            let title = format!("[context {name}] {context}");
            let output = remote.add(&mut self.builder, &title);
            return Ok(Named::Files(Some(output)));
        }
        Err(SolveError::Invalid(format!(
            "unsupported context source {} for {name}",
            fetch::redacted(context)
        )))
    }

    /// An image in a layout on the client's disk.
    async fn layout(
        &mut self,
        name: &str,
        layout: &str,
        platform: &Platform,
    ) -> Result<Named, SolveError> {
        let source = crate::ops::layout::source(self.job, layout)?;
        let log = format!("[context {name}] load metadata for {layout}");
        let found = self
            .job
            .resolve_layout(layout, ("", ""), Some(platform), &log)
            .await?;
        let image = ImageConfig::parse(found.config)
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        let about = About {
            name: format!("[context {name}] OCI load from client"),
            ..About::default()
        };
        let op = pb::op::Op::Source(source);
        let output = self.builder.add(op, &[], Some(platform), about);
        Ok(Named::Built(Some(output), Box::new(image)))
    }

    /// The result of another build.
    fn input(&mut self, name: &str, key: &str, platform: &Platform) -> Result<Named, SolveError> {
        let keyed = format!("{key}::{}", super::key_of(platform));
        let inputs = self.inputs;
        let found = [keyed.as_str(), key]
            .into_iter()
            .find_map(|key| Some((key, inputs.get(key)?)));
        let (key, definition) = found.ok_or_else(|| {
            SolveError::Invalid(format!("invalid input {key} for context {name}"))
        })?;
        let output = self.builder.import(definition)?;
        match self.options.input_configs.get(key) {
            None => Ok(Named::Files(output)),
            Some(config) => {
                let image = ImageConfig::parse(config.clone())
                    .map_err(|error| SolveError::Invalid(error.to_string()))?;
                Ok(Named::Built(output, Box::new(image)))
            }
        }
    }

    /// A place that `--from` names.
    pub(super) async fn place(
        &mut self,
        at: usize,
        stage: &Stage,
        from: &str,
    ) -> Result<Place, SolveError> {
        if let Some(image) = self.given.get(from).copied() {
            return Ok(Place::Files(image.map(|image| self.stored(&image))));
        }
        let number = from.parse::<usize>().ok();
        if let Some(number) = number
            && number >= at
        {
            let text = format!("invalid stage index {from}");
            return Err(SolveError::Invalid(format!(
                "invalid from flag value {from}: {text}"
            )));
        }
        let own = self
            .file()
            .stages
            .get(at)
            .and_then(|stage| stage.from.name.as_ref());
        if let Some(name) = own.filter(|name| name.eq_ignore_ascii_case(from)) {
            return Err(SolveError::Invalid(format!(
                "circular dependency detected on stage: {name}"
            )));
        }
        let earlier = self.earlier(from, at).or(number);
        if let Some(earlier) = earlier {
            return Ok(Place::Files(self.finished(earlier).await?.output));
        }
        let platform = stage.platform.clone();
        if let Some((name, context)) = self.context_of(from, &platform) {
            return match self.named_context(&name, &context, &platform).await? {
                Named::Files(output) | Named::Built(output, _) => Ok(Place::Files(output)),
                Named::Image(image) => self.place_of_image(&image, &platform).await,
            };
        }
        match from {
            "scratch" => Ok(Place::Files(None)),
            image => self.place_of_image(image, &platform).await,
        }
    }

    async fn place_of_image(
        &mut self,
        name: &str,
        platform: &Platform,
    ) -> Result<Place, SolveError> {
        let (output, _) = self.image(name, platform, None, None).await?;
        Ok(Place::Files(Some(output)))
    }

    /// The main context, of which `path` is taken.
    pub(super) async fn context(&mut self, path: &str) -> Result<Option<Output>, SolveError> {
        self.taken.insert(wharf_go::path::clean_from_top(path));
        if let Some(context) = self.context {
            return Ok(Some(context));
        }
        if let Some(context) = self.options.contexts.get("context").cloned() {
            let platform = self.platform.clone();
            return match self.named_context("context", &context, &platform).await? {
                Named::Files(output) | Named::Built(output, _) => Ok(output),
                Named::Image(image) => {
                    let Place::Files(output) = self.place_of_image(&image, &platform).await?;
                    Ok(output)
                }
            };
        }
        if let Some(remote) = self.remote.clone() {
            let title = "[internal] load remote build context";
            return Ok(Some(remote.add(&mut self.builder, title)));
        }
        let key = self.options.context_key.clone();
        let ignore = self.ignore.clone();
        let output = self.local(&key, "[internal] load build context", &ignore);
        self.context = Some(output);
        Ok(Some(output))
    }

    fn local(&mut self, name: &str, title: &str, exclude: &[String]) -> Output {
        let mut attrs = BTreeMap::new();
        attrs.insert("local.sharedkeyhint".to_owned(), name.to_owned());
        attrs.insert("local.unique".to_owned(), self.job.id().to_owned());
        if !self.job.session().is_empty() {
            let session = self.job.session().to_owned();
            attrs.insert("local.sessionid".to_owned(), session);
        }
        if !exclude.is_empty() {
            let list = serde_json::to_string(exclude).unwrap_or_default();
            attrs.insert("local.excludepatterns".to_owned(), list);
        }
        let source = pb::SourceOp {
            identifier: format!("local://{name}"),
            attrs,
        };
        let about = About {
            name: title.to_owned(),
            ..About::default()
        };
        self.builder
            .add(pb::op::Op::Source(source), &[], None, about)
    }
}
