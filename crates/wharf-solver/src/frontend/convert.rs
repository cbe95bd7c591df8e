//! A Dockerfile as a graph (`dockerfile2llb`): stage after stage, only those that the target needs.

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::pb;
use serde_json::json;
use wharf_builder::{Args, Names, counts};
use wharf_dockerfile::{Dockerfile, Expander, Heredoc, Instruction, Located, Span};
use wharf_engine::Settings;
use wharf_oci::{ImageConfig, Platform, Reference};

use super::files::{self, Remote};
use super::llb::{About, Builder, Output, range};
use super::options::Options;
use super::stage::Stage;
use crate::{Job, SolveError, SourceRange};

/// What a Dockerfile becomes.
pub(super) struct Converted {
    pub(super) definition: pb::Definition,
    /// The image's configuration, without layers and times.
    pub(super) config: serde_json::Value,
    pub(super) platform: Platform,
}

/// A conversion for one platform.
pub(super) struct Converter<'a> {
    pub(super) job: &'a Job,
    pub(super) options: &'a Options,
    file: &'a Dockerfile,
    pub(super) builder: Builder,
    pub(super) platform: Platform,
    args: Args,
    /// What the client's context leaves out.
    ignore: Vec<String>,
    inputs: &'a BTreeMap<String, pb::Definition>,
    stages: Vec<Option<Stage>>,
    context: Option<Output>,
    /// What is taken of it.
    taken: BTreeSet<String>,
    /// What the main context is, where it is not the client's.
    remote: Option<Remote>,
}

/// Where files of another place are.
pub(super) enum Place {
    /// Of an operation; none is an empty tree.
    Files(Option<Output>),
}

impl<'a> Converter<'a> {
    pub(super) fn new(
        job: &'a Job,
        options: &'a Options,
        (filename, text, file): (&str, &str, &'a Dockerfile),
        platform: Platform,
        inputs: &'a BTreeMap<String, pb::Definition>,
    ) -> Self {
        Self {
            job,
            options,
            file,
            builder: Builder::new(filename, text),
            args: Args::new(options.args.clone(), &platform),
            platform,
            ignore: Vec::new(),
            inputs,
            stages: vec![None; file.stages.len()],
            context: None,
            taken: BTreeSet::new(),
            remote: None,
        }
    }

    /// The main context is this.
    pub(super) fn with_context(mut self, remote: Option<Remote>, ignore: Vec<String>) -> Self {
        self.remote = remote;
        self.ignore = ignore;
        self
    }

    /// Converts.
    ///
    /// # Errors
    /// What is wrong, with its place in the file.
    pub(super) async fn run(mut self) -> Result<Converted, SolveError> {
        for located in &self.file.args {
            if let Instruction::Arg(args) = &located.instruction {
                for arg in args {
                    let seen = self.args.global();
                    let default = self.default_of(arg.default.as_deref(), &seen);
                    let default = default.map_err(|error| self.placed(error, located.span))?;
                    self.args.declare_global(&arg.name, default);
                }
            }
        }
        let target = self.target()?;
        for at in self.reachable(target)? {
            let stage = self.stage(at).await?;
            self.stages[at] = Some(stage);
        }
        let mut stage = self.stages[target]
            .take()
            .unwrap_or_else(|| Stage::scratch(self.platform.clone()));
        for (key, value) in &self.options.labels {
            stage.config.labels.insert(key.clone(), value.clone());
        }
        if let Some(epoch) = self.epoch() {
            for step in &mut stage.history {
                if step.get("comment") == Some(&json!("buildkit.dockerfile.v0"))
                    && step.get("created").is_none()
                {
                    step["created"] = json!(epoch);
                }
            }
        }
        self.narrow();
        let definition = self.builder.definition(stage.output.as_ref());
        Ok(Converted {
            definition,
            config: stage.document(),
            platform: stage.platform,
        })
    }

    /// The client need not send what nothing takes.
    fn narrow(&mut self) {
        if let Some(context) = self.context
            && !self.taken.contains("/")
        {
            let paths: Vec<&str> = self.taken.iter().map(|path| &path[1..]).collect();
            let list = serde_json::to_string(&paths).unwrap_or_default();
            self.builder.set(context, "local.followpaths", list);
        }
    }

    /// `SOURCE_DATE_EPOCH` as configurations have times.
    fn epoch(&self) -> Option<String> {
        let text = self.options.args.get("SOURCE_DATE_EPOCH")?.as_ref()?;
        let time = jiff::Timestamp::from_second(text.parse().ok()?).ok()?;
        Some(time.to_string())
    }

    fn target(&self) -> Result<usize, SolveError> {
        let target = self.options.target.as_str();
        if target.is_empty() {
            return Ok(self.file.stages.len() - 1);
        }
        let found = self.named(target);
        let number = || {
            target
                .parse()
                .ok()
                .filter(|at| *at < self.file.stages.len())
        };
        found.or_else(number).ok_or_else(|| {
            SolveError::Invalid(format!("target stage {target:?} could not be found"))
        })
    }

    fn named(&self, name: &str) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let named = |stage: &wharf_dockerfile::Stage| stage.from.name.as_ref() == Some(&lower);
        self.file.stages.iter().rposition(named)
    }

    /// A stage before `at` that `name` means.
    fn earlier(&self, name: &str, at: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let before = self.file.stages.get(..at).unwrap_or_default();
        before
            .iter()
            .rposition(|stage| stage.from.name.as_ref() == Some(&lower))
    }

    /// The stages that the target needs, in the order of the file.
    fn reachable(&self, target: usize) -> Result<BTreeSet<usize>, SolveError> {
        let mut found = BTreeSet::new();
        let mut left = vec![target];
        while let Some(at) = left.pop() {
            if !found.insert(at) {
                continue;
            }
            let stage = &self.file.stages[at];
            if let Ok(base) = self.global(&stage.from.base)
                && let Some(earlier) = self.earlier(&base, at)
            {
                left.push(earlier);
            }
            for located in &stage.instructions {
                for from in sources_of(&located.instruction) {
                    let number = || from.parse().ok().filter(|number| *number < at);
                    let place = self.earlier(&from, at).or_else(number);
                    left.extend(place.filter(|_| !self.options.contexts.contains_key(&from)));
                }
            }
        }
        Ok(found)
    }

    fn global(&self, text: &str) -> Result<String, SolveError> {
        let seen = self.args.global();
        let get = |name: &str| seen.get(name).cloned();
        let word = Expander::new(self.file.escape).word(text, &get);
        word.map_err(SolveError::Invalid)
    }

    async fn stage(&mut self, at: usize) -> Result<Stage, SolveError> {
        let source = &self.file.stages[at];
        let begun = self.begin(at).await;
        let mut stage = begun.map_err(|error| self.placed(error, source.span))?;
        stage.name = source.from.name.clone();
        stage.ignore_cache = self.options.ignores_cache(source.from.name.as_deref());
        for trigger in std::mem::take(&mut stage.triggers) {
            let parsed = Dockerfile::instructions(&trigger);
            let parsed = parsed.map_err(|error| SolveError::Invalid(error.to_string()))?;
            for located in parsed {
                let located = Located {
                    span: source.span,
                    ..located
                };
                let done = self.dispatch(at, &mut stage, &located).await;
                done.map_err(|error| self.placed(error, source.span))?;
            }
        }
        for located in &source.instructions {
            let done = self.dispatch(at, &mut stage, located).await;
            done.map_err(|error| self.placed(error, located.span))?;
        }
        Ok(stage)
    }

    /// `FROM`.
    async fn begin(&mut self, at: usize) -> Result<Stage, SolveError> {
        let source = &self.file.stages[at];
        let name = self.global(&source.from.base)?;
        if name.is_empty() {
            let text = format!("base name ({}) should not be blank", source.from.base);
            return Err(SolveError::Invalid(text));
        }
        let platform = match &source.from.platform {
            Some(text) => {
                let text = self.global(text)?;
                Platform::parse(&text).map_err(|error| {
                    SolveError::Invalid(format!("failed to parse platform {text}: {error}"))
                })?
            }
            None => self.platform.clone(),
        };
        if let Some(earlier) = self.earlier(&name, at) {
            let base = self.stages[earlier].as_ref().map(Stage::on);
            let mut stage = base.unwrap_or_else(|| Stage::scratch(platform));
            stage.names = Some(self.names(at, false, &stage.platform));
            return Ok(stage);
        }
        self.args.begin_stage();
        if name == "scratch" {
            let mut stage = Stage::scratch(platform);
            stage.args = self.args.clone();
            stage.names = Some(self.names(at, false, &stage.platform));
            return Ok(stage);
        }
        let mut names = self.names(at, true, &platform);
        let mut stage = match self.options.contexts.get(&name).cloned() {
            Some(context) => match self.named_context(&name, &context, &platform).await? {
                Named::Files(output) => Stage {
                    output,
                    ..Stage::scratch(platform)
                },
                Named::Built(output, image) => Stage::image(output, &image, platform),
                Named::Image(image) => {
                    self.begin_image(&image, platform, &mut names, source.span)
                        .await?
                }
            },
            None => {
                self.begin_image(&name, platform, &mut names, source.span)
                    .await?
            }
        };
        stage.args = self.args.clone();
        stage.names = Some(names);
        Ok(stage)
    }

    /// The names of a stage's steps, as its progress has them.
    fn names(&self, at: usize, from_image: bool, platform: &Platform) -> Names {
        let names = Names::new(self.file, at, &self.file.stages[at], from_image);
        if !self.options.multi_platform {
            return names;
        }
        let own = super::key_of(platform);
        let target = &self.platform;
        let shown = match (platform.os == target.os, *platform == *target) {
            (_, true) => own,
            (true, false) => format!("{own}->{}", target.architecture),
            (false, false) => format!("{own}->{}/{}", target.os, target.architecture),
        };
        names.on(&shown)
    }

    async fn begin_image(
        &mut self,
        name: &str,
        platform: Platform,
        names: &mut Names,
        span: Span,
    ) -> Result<Stage, SolveError> {
        let (output, image) = self.image(name, &platform, Some(span), Some(names)).await?;
        Ok(Stage::image(Some(output), &image, platform))
    }

    /// The files and the configuration of an image.
    async fn image(
        &mut self,
        name: &str,
        platform: &Platform,
        span: Option<Span>,
        names: Option<&mut Names>,
    ) -> Result<(Output, ImageConfig), SolveError> {
        let reference = Reference::parse_normalized(name).map_err(|error| {
            SolveError::Invalid(format!("failed to parse stage name {name:?}: {error}"))
        })?;
        let reference = reference.with_default_tag();
        let mode = self.options.resolve_mode.as_str();
        let log = format!("[internal] load metadata for {reference}");
        let text = reference.to_string();
        let found = self
            .job
            .resolve_image(&text, Some(platform), mode, &log)
            .await
            .map_err(|error| match error {
                SolveError::NotFound(text) => SolveError::NotFound(format!(
                    "{reference}: failed to resolve source metadata for {reference}: {text}"
                )),
                other => other,
            })?;
        let image = ImageConfig::parse(found.config)
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        let source = pb::SourceOp {
            identifier: format!("docker-image://{}", found.reference),
            attrs: [("image.resolvemode".to_owned(), mode.to_owned())]
                .into_iter()
                .filter(|_| mode != "default")
                .collect(),
        };
        let title = format!("FROM {}", found.reference);
        let about = About {
            name: names.map_or(title.clone(), |names| names.next(&title)),
            span,
            ignore_cache: false,
        };
        let op = pb::op::Op::Source(source);
        let output = self.builder.add(op, &[], Some(platform), about);
        Ok((output, image))
    }

    /// What a named context is.
    async fn named_context(
        &mut self,
        name: &str,
        context: &str,
        platform: &Platform,
    ) -> Result<Named, SolveError> {
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
        if let Some(source) = super::remote_source(context) {
            let (remote, _) = Remote::open(self.job, source).await?;
            let title = format!("[context {name}] {context}");
            let output = remote.add(&mut self.builder, &title);
            return Ok(Named::Files(Some(output)));
        }
        Err(SolveError::Invalid(format!(
            "unsupported context source {context} for {name}"
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
        if let Some(context) = self.options.contexts.get(from).cloned() {
            let platform = stage.platform.clone();
            return match self.named_context(from, &context, &platform).await? {
                Named::Files(output) | Named::Built(output, _) => Ok(Place::Files(output)),
                Named::Image(image) => self.place_of_image(&image, &platform).await,
            };
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
        let earlier = self.earlier(from, at).or(number);
        match earlier {
            Some(earlier) => {
                let stage = self.stages[earlier].as_ref();
                Ok(Place::Files(stage.and_then(|stage| stage.output)))
            }
            None if from == "scratch" => Ok(Place::Files(None)),
            None => self.place_of_image(from, &stage.platform.clone()).await,
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
        self.taken.insert(files::clean(&format!("/{path}")));
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

    async fn dispatch(
        &mut self,
        at: usize,
        stage: &mut Stage,
        located: &Located,
    ) -> Result<(), SolveError> {
        match &located.instruction {
            Instruction::Run(run) => self.run_step(at, stage, run, located).await,
            Instruction::Copy(copy) => self.copy_step(at, stage, copy, None, located).await,
            Instruction::Add(add) => {
                self.copy_step(at, stage, &add.copy, Some(add), located)
                    .await
            }
            Instruction::Arg(args) => {
                let mut words = Vec::new();
                for arg in args {
                    let seen = self.seen(stage);
                    let default = self.default_of(arg.default.as_deref(), &seen)?;
                    words.push(match &default {
                        Some(value) => format!("{}={value}", arg.name),
                        None => arg.name.clone(),
                    });
                    stage.args.declare(&arg.name, default);
                }
                stage.noted(&format!("ARG {}", words.join(" ")));
                Ok(())
            }
            Instruction::Maintainer(name) => {
                stage.author.clone_from(name);
                stage.noted(&format!("MAINTAINER {name}"));
                Ok(())
            }
            Instruction::Workdir(_) => {
                let text = self.set(stage, &located.instruction)?;
                self.work_dir(stage, located);
                stage.layered(&text, false);
                Ok(())
            }
            other => {
                let text = self.set(stage, other)?;
                stage.noted(&text);
                Ok(())
            }
        }
    }

    fn set(&self, stage: &mut Stage, instruction: &Instruction) -> Result<String, SolveError> {
        let visible = stage.args.visible();
        let mut settings =
            Settings::new(&mut stage.config, self.file.escape).in_stage(visible, stage.command_set);
        let text = settings.apply(instruction).map_err(SolveError::Invalid)?;
        stage.command_set |= matches!(instruction, Instruction::Cmd(_));
        Ok(text)
    }

    /// The folder is made, so that it is there for those who only read the image.
    fn work_dir(&mut self, stage: &mut Stage, located: &Located) {
        let mkdir = pb::FileActionMkDir {
            path: stage.config.working_dir.clone(),
            mode: 0o755,
            make_parents: true,
            owner: owner_of(&stage.config.user),
            timestamp: -1,
        };
        let action = pb::FileAction {
            input: if stage.output.is_some() { 0 } else { -1 },
            secondary_input: -1,
            output: 0,
            action: Some(pb::file_action::Action::Mkdir(mkdir)),
        };
        let op = pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        });
        let inputs: Vec<Output> = stage.output.iter().cloned().collect();
        let about = self.about(stage, located, &located.original);
        stage.output = Some(self.builder.add(op, &inputs, Some(&stage.platform), about));
    }

    /// The name of the next step of the stage.
    pub(super) fn about(&self, stage: &mut Stage, located: &Located, text: &str) -> About {
        About {
            name: match &mut stage.names {
                Some(names) if counts(&located.instruction) => names.next(text),
                _ => text.to_owned(),
            },
            span: Some(located.span),
            ignore_cache: stage.ignore_cache,
        }
    }

    fn default_of(
        &self,
        text: Option<&str>,
        seen: &BTreeMap<String, String>,
    ) -> Result<Option<String>, SolveError> {
        let get = |name: &str| seen.get(name).cloned();
        let expanded = text.map(|text| Expander::new(self.file.escape).word(text, &get));
        expanded.transpose().map_err(SolveError::Invalid)
    }

    /// What words of the stage are expanded with.
    fn seen(&self, stage: &Stage) -> BTreeMap<String, String> {
        let mut seen = stage.args.visible();
        seen.extend(stage.env());
        seen
    }

    /// A word, expanded.
    pub(super) fn word(&self, stage: &Stage, text: &str) -> Result<String, SolveError> {
        let seen = self.seen(stage);
        let get = |name: &str| seen.get(name).cloned();
        let word = Expander::new(self.file.escape).word(text, &get);
        word.map_err(SolveError::Invalid)
    }

    /// The text of a here-document.
    pub(super) fn document(&self, stage: &Stage, document: &Heredoc) -> Result<String, SolveError> {
        if !document.expand {
            return Ok(document.content.clone());
        }
        let seen = self.seen(stage);
        let get = |name: &str| seen.get(name).cloned();
        let text = Expander::new(self.file.escape).text(&document.content, &get);
        text.map_err(SolveError::Invalid)
    }

    fn placed(&self, error: SolveError, span: Span) -> SolveError {
        let source = SourceRange {
            info: self.builder.info().clone(),
            ranges: vec![range(span)],
        };
        error.at("", vec![source])
    }
}

enum Named {
    Files(Option<Output>),
    /// Files with the configuration of an image.
    Built(Option<Output>, Box<ImageConfig>),
    Image(String),
}

/// The owner that a text names.
pub(super) fn owner_of(text: &str) -> Option<pb::ChownOpt> {
    if text.is_empty() {
        return None;
    }
    let one = |text: &str| {
        let user = match text.parse() {
            Ok(id) => pb::user_opt::User::ById(id),
            Err(_) => pb::user_opt::User::ByName(pb::NamedUserOpt {
                name: text.to_owned(),
                input: 0,
            }),
        };
        pb::UserOpt { user: Some(user) }
    };
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    Some(pb::ChownOpt {
        user: Some(one(user)),
        group: (!group.is_empty()).then(|| one(group)),
    })
}

/// The stages and images that an instruction takes files from.
fn sources_of(instruction: &Instruction) -> Vec<String> {
    match instruction {
        Instruction::Copy(copy) => copy.from.iter().cloned().collect(),
        Instruction::Run(run) => {
            let fields = run.mounts.iter().flat_map(|mount| &mount.fields);
            let from = fields.filter(|(key, _)| key == "from");
            from.filter_map(|(_, value)| value.clone()).collect()
        }
        _ => Vec::new(),
    }
}
