//! A Dockerfile as a graph (`dockerfile2llb`): stage after stage, only those that the target needs.

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::pb;
use futures_util::future::BoxFuture;
use serde_json::json;
use wharf_builder::{Args, Names, counts};
use wharf_dockerfile::{Arg, Dockerfile, Expander, Heredoc, Instruction, Located, Span};
use wharf_engine::Settings;
use wharf_oci::{Digest, ImageConfig, Platform, Reference};

use super::files::Remote;
use super::lint::{self, Finding};
use super::llb::{About, Builder, Output, range};
use super::options::Options;
use super::places::Named;
use super::stage::Stage;
use crate::{Job, SolveError, SourceRange};

/// What a Dockerfile becomes.
pub(super) struct Converted {
    pub(super) definition: pb::Definition,
    /// The image's configuration, without layers and times.
    pub(super) config: serde_json::Value,
    pub(super) platform: Platform,
    /// What could be done better.
    pub(super) found: Vec<Finding>,
}

/// What the arguments of an `ARG` see of those before them on its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Their values, as with BuildKit.
    InTurn,
    /// Nothing, as with the classic builder.
    AtOnce,
}

/// A conversion for one platform.
pub(super) struct Converter<'a> {
    pub(super) job: &'a Job,
    pub(super) options: &'a Options,
    file: &'a Dockerfile,
    pub(super) builder: Builder,
    pub(super) platform: Platform,
    pub(super) args: Args,
    /// What the client's context leaves out.
    pub(super) ignore: Vec<String>,
    pub(super) inputs: &'a BTreeMap<String, pb::Definition>,
    pub(super) stages: Vec<Option<Stage>>,
    pub(super) context: Option<Output>,
    /// What is taken of it.
    pub(super) taken: BTreeSet<String>,
    /// What the main context is, where it is not the client's.
    pub(super) remote: Option<Remote>,
    /// Images of the store that `--from` means, by its words; none is an empty tree.
    pub(super) given: BTreeMap<String, Option<Digest>>,
    /// Variables that are used and were never set.
    undefined: Vec<Finding>,
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
            given: BTreeMap::new(),
            undefined: Vec::new(),
        }
    }

    /// What is converted.
    pub(super) fn file(&self) -> &'a Dockerfile {
        self.file
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
            let declared = self.declare_globals(located);
            declared.map_err(|error| self.placed(error, located.span))?;
        }
        let target = self.target()?;
        for at in self.reachable(target)? {
            self.finished(at).await?;
        }
        let mut stage = self.finished(target).await?.clone();
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
            found: self.undefined,
        })
    }

    /// An `ARG` before the first stage.
    ///
    /// # Errors
    /// If a default cannot be expanded.
    pub(super) fn declare_globals(&mut self, located: &Located) -> Result<(), SolveError> {
        if let Instruction::Arg(args) = &located.instruction {
            for arg in args {
                let seen = self.args.global();
                let default = self.default_of(arg.default.as_deref(), &seen)?;
                self.args.declare_global(&arg.name, default);
            }
        }
        Ok(())
    }

    /// Begins another graph, of the same build.
    pub(super) fn renew(&mut self) {
        let info = self.builder.info().clone();
        self.builder = Builder::of(info);
        self.context = None;
        self.taken.clear();
        self.given.clear();
    }

    /// `--from` means this image of the store when it says `name`.
    pub(super) fn give(&mut self, name: String, image: Option<Digest>) {
        self.given.insert(name, image);
    }

    /// The files of an image of the store.
    pub(super) fn stored(&mut self, image: &Digest) -> Output {
        let source = pb::SourceOp {
            identifier: format!("wharf-image://{image}"),
            ..pb::SourceOp::default()
        };
        let op = pb::op::Op::Source(source);
        self.builder.add(op, &[], None, About::default())
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

    /// The stage that is wanted.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(super) fn target(&self) -> Result<usize, SolveError> {
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
    pub(super) fn earlier(&self, name: &str, at: usize) -> Option<usize> {
        let lower = name.to_ascii_lowercase();
        let before = self.file.stages.get(..at).unwrap_or_default();
        before
            .iter()
            .rposition(|stage| stage.from.name.as_ref() == Some(&lower))
    }

    /// The stages that the target needs, in the order of the file, as far as the file says it: what triggers of base images
    /// and variables name is found when it is wanted ([`Converter::finished`]).
    pub(super) fn reachable(&self, target: usize) -> Result<BTreeSet<usize>, SolveError> {
        let mut found = BTreeSet::new();
        let mut left = vec![target];
        while let Some(at) = left.pop() {
            if !found.insert(at) {
                continue;
            }
            let stage = &self.file.stages[at];
            if self.replacement(at).is_some() {
                continue;
            }
            if let Ok(base) = self.global(&stage.from.base)
                && let Some(earlier) = self.earlier(&base, at)
            {
                left.push(earlier);
            }
            for located in &stage.instructions {
                for from in sources_of(&located.instruction) {
                    let number = || from.parse().ok().filter(|number| *number < at);
                    left.extend(self.earlier(&from, at).or_else(number));
                }
            }
        }
        Ok(found)
    }

    /// A word of a `FROM`, expanded.
    pub(super) fn global(&self, text: &str) -> Result<String, SolveError> {
        let seen = self.args.global();
        let get = |name: &str| seen.get(name).cloned();
        let word = Expander::new(self.file.escape).word(text, &get);
        word.map_err(SolveError::Invalid)
    }

    /// A stage with all its steps. Those that it stands on come before it in the file: this ends.
    pub(super) fn finished(&mut self, at: usize) -> BoxFuture<'_, Result<&Stage, SolveError>> {
        Box::pin(async move {
            if self.stages[at].is_none() {
                let stage = self.stage(at).await?;
                self.stages[at] = Some(stage);
            }
            let stage = self.stages[at].as_ref();
            stage.ok_or_else(|| SolveError::Failed(format!("stage {at} was not built")))
        })
    }

    /// The platform that a stage's `FROM` names, or that is built for.
    fn platform_of(&self, at: usize) -> Result<Platform, SolveError> {
        let Some(text) = &self.file.stages[at].from.platform else {
            return Ok(self.platform.clone());
        };
        let text = self.global(text)?;
        Platform::parse(&text).map_err(|error| {
            SolveError::Invalid(format!("failed to parse platform {text}: {error}"))
        })
    }

    /// The named context that stands in for a stage: it has the stage's own name.
    fn replacement(&self, at: usize) -> Option<(String, String)> {
        let name = self.file.stages[at].from.name.as_ref()?;
        let platform = self
            .platform_of(at)
            .unwrap_or_else(|_| self.platform.clone());
        self.context_of(name, &platform)
    }

    async fn stage(&mut self, at: usize) -> Result<Stage, SolveError> {
        let source = &self.file.stages[at];
        if let Some(context) = self.replacement(at) {
            let replaced = self.replaced(at, context).await;
            return replaced.map_err(|error| self.placed(error, source.span));
        }
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
            let seen = self.seen(&stage);
            let escape = self.file.escape;
            let undefined = lint::undefined(located, &seen, &stage.args, escape);
            self.undefined.extend(undefined);
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
        let platform = self.platform_of(at)?;
        if let Some(earlier) = self.earlier(&name, at) {
            let mut stage = self.finished(earlier).await?.on();
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
        let mut stage = match self.context_of(&name, &platform) {
            Some(context) => {
                self.begin_context(context, platform, &mut names, source.span)
                    .await?
            }
            None => {
                self.begin_image(&name, platform, &mut names, source.span)
                    .await?
            }
        };
        stage.args = self.args.clone();
        stage.names = Some(names);
        Ok(stage)
    }

    /// A stage that is a named context, with nothing done on top of it.
    async fn replaced(
        &mut self,
        at: usize,
        context: (String, String),
    ) -> Result<Stage, SolveError> {
        let source = &self.file.stages[at];
        let platform = self.platform_of(at)?;
        self.args.begin_stage();
        let args = self.args.clone();
        let mut names = self.names(at, true, &platform);
        let stage = self
            .begin_context(context, platform, &mut names, source.span)
            .await?;
        Ok(Stage {
            args,
            name: source.from.name.clone(),
            names: Some(names),
            ..stage
        })
    }

    async fn begin_context(
        &mut self,
        (name, context): (String, String),
        platform: Platform,
        names: &mut Names,
        span: Span,
    ) -> Result<Stage, SolveError> {
        Ok(
            match self.named_context(&name, &context, &platform).await? {
                Named::Files(output) => Stage {
                    output,
                    ..Stage::scratch(platform)
                },
                Named::Built(output, image) => Stage::image(output, &image, platform),
                Named::Image(image) => self.begin_image(&image, platform, names, span).await?,
            },
        )
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
    pub(super) async fn image(
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

    async fn dispatch(
        &mut self,
        at: usize,
        stage: &mut Stage,
        located: &Located,
    ) -> Result<(), SolveError> {
        match &located.instruction {
            Instruction::Run(run) => {
                let ran = self.run_step(at, stage, run, located).await?;
                stage.layered(&ran.remembered(), true);
                Ok(())
            }
            Instruction::Copy(copy) => self.copy_step(at, stage, copy, None, located).await,
            Instruction::Add(add) => {
                self.copy_step(at, stage, &add.copy, Some(add), located)
                    .await
            }
            Instruction::Arg(args) => {
                let text = self.declare(stage, args, Line::InTurn)?;
                stage.noted(&text);
                Ok(())
            }
            Instruction::Maintainer(name) => {
                stage.author.clone_from(name);
                stage.noted(&format!("MAINTAINER {name}"));
                Ok(())
            }
            Instruction::Workdir(_) => {
                let text = self.set(stage, &located.instruction)?;
                if stage.config.working_dir == "/" {
                    // It is there.
                    stage.noted(&text);
                    return Ok(());
                }
                let owner = stage.config.user.clone();
                self.work_dir(stage, located, &owner);
                stage.layered(&text, false);
                Ok(())
            }
            other => {
                let text = self.set(stage, other)?;
                // What older Dockers want to read of it.
                stage.config.args_escaped |= matches!(other, Instruction::Cmd(_));
                // Triggers are no step of this image (`dispatchOnbuild`).
                if !matches!(other, Instruction::Onbuild(_)) {
                    stage.noted(&text);
                }
                Ok(())
            }
        }
    }

    /// `ARG` in a stage; what the history says of it.
    ///
    /// # Errors
    /// If a default cannot be expanded.
    pub(super) fn declare(
        &self,
        stage: &mut Stage,
        args: &[Arg],
        line: Line,
    ) -> Result<String, SolveError> {
        let mut words = Vec::new();
        let mut seen = self.seen(stage);
        for arg in args {
            if line == Line::InTurn {
                seen = self.seen(stage);
            }
            let default = self.default_of(arg.default.as_deref(), &seen)?;
            words.push(match &default {
                Some(value) => format!("{}={value}", arg.name),
                None => arg.name.clone(),
            });
            stage.args.declare(&arg.name, default);
        }
        Ok(format!("ARG {}", words.join(" ")))
    }

    /// Changes settings; what the history says of it.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub(super) fn set(
        &self,
        stage: &mut Stage,
        instruction: &Instruction,
    ) -> Result<String, SolveError> {
        let visible = stage.args.visible();
        let mut settings =
            Settings::new(&mut stage.config, self.file.escape).in_stage(visible, stage.command_set);
        let text = settings.apply(instruction).map_err(SolveError::Invalid)?;
        stage.command_set |= matches!(instruction, Instruction::Cmd(_));
        Ok(text)
    }

    /// The folder is made, so that it is there for those who only read the image.
    pub(super) fn work_dir(&mut self, stage: &mut Stage, located: &Located, owner: &str) {
        let mkdir = pb::FileActionMkDir {
            path: stage.config.working_dir.clone(),
            mode: 0o755,
            make_parents: true,
            owner: owner_of(owner),
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
        let text = Expander::text(&document.content, &get);
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
pub(super) fn sources_of(instruction: &Instruction) -> Vec<String> {
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
