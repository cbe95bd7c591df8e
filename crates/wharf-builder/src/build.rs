//! A build: its stages and their instructions, one after the other.

use std::path::PathBuf;
use std::sync::Arc;

use wharf_dockerfile::{Dockerfile, Expander, Heredoc, Instruction, Located};
use wharf_engine::{Engine, EngineError, Settings};
use wharf_images::{Image, ImagePin, ProgressSender, PullOptions};
use wharf_oci::{Digest, Platform, Reference};

use crate::args::Args;
use crate::cache::{self, Cache};
use crate::context::Context;
use crate::copy::blocking;
use crate::run::short;
use crate::stage::Stage;
use crate::{BuildError, BuildEvent, BuildOptions, BuildSource, Output, transfer};

/// Builds images. Clones share the cache.
#[derive(Clone)]
pub struct Builder {
    pub(crate) engine: Arc<Engine>,
    pub(crate) cache: Cache,
    folder: PathBuf,
}

/// A build that is under way.
pub(crate) struct Build<'a> {
    pub(crate) builder: &'a Builder,
    pub(crate) options: &'a BuildOptions,
    pub(crate) context: Context,
    pub(crate) output: &'a Output,
    pub(crate) args: Args,
    /// Images that must stay while it goes on.
    pub(crate) pins: Vec<ImagePin>,
    escape: char,
    /// What the stages have become, with their names.
    stages: Vec<(Option<String>, Option<Digest>)>,
    step: usize,
    steps: usize,
}

impl Builder {
    /// A builder on an engine. What a killed daemon left of builds is removed.
    pub fn new(engine: Arc<Engine>) -> Self {
        let folder = engine.config.data_root.join("builder");
        for old in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if old.file_name() != "cache"
                && let Err(error) = std::fs::remove_dir_all(old.path())
            {
                tracing::warn!(path = %old.path().display(), %error, "remove what a build left");
            }
        }
        // Secrets of commands that a killed daemon ran.
        let _ = std::fs::remove_dir_all(engine.config.exec_root.join("builder"));
        let cache = Cache::new(engine.records().clone(), engine.images.store().clone());
        Self {
            engine,
            cache,
            folder,
        }
    }

    /// Where secrets are while a command may see them.
    pub(crate) fn volatile(&self) -> PathBuf {
        self.engine.config.exec_root.join("builder")
    }

    /// Where cache mounts are.
    pub(crate) fn caches(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// Builds. Dropping the future gives the build up, with the container of its step.
    ///
    /// # Errors
    /// What is wrong with the request, the Dockerfile or a step, in Docker's words. Images of the steps before it stay,
    /// as what the next build can use again.
    pub async fn build(
        &self,
        source: BuildSource,
        options: &BuildOptions,
        output: &Output,
    ) -> Result<Digest, BuildError> {
        let context = Context::read(source, &self.folder, &self.engine.config.registry).await?;
        let text = context.dockerfile(&options.dockerfile)?;
        let file = Dockerfile::parse(&text);
        let mut file = file.map_err(|error| BuildError::Invalid(error.to_string()))?;
        stop_at(&mut file, &options.target)?;
        label(&mut file, options);
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let stages = file.stages.iter().map(|stage| stage.instructions.len() + 1);
        let mut build = Build {
            builder: self,
            options,
            context,
            output,
            args: Args::new(options.args.clone(), &platform),
            pins: Vec::new(),
            escape: file.escape,
            stages: Vec::new(),
            step: 0,
            steps: file.args.len() + stages.sum::<usize>(),
        };
        let image = build.all(&file).await?;
        let id = image.to_string();
        let short = short(&id);
        output.say(format!("Successfully built {short}\n")).await;
        for tag in &options.tags {
            self.engine.images.tag(&id, tag)?;
            let name = tag.familiar();
            output.say(format!("Successfully tagged {name}\n")).await;
        }
        Ok(image)
    }
}

/// Cuts off what is behind the target.
fn stop_at(file: &mut Dockerfile, target: &str) -> Result<(), BuildError> {
    if target.is_empty() {
        return Ok(());
    }
    let lower = target.to_ascii_lowercase();
    let named = |name: &Option<String>| name.as_ref() == Some(&lower);
    let position = file.stages.iter().position(|stage| named(&stage.from.name));
    let number = || target.parse().ok().filter(|at| *at < file.stages.len());
    let Some(at) = position.or_else(number) else {
        return Err(BuildError::Invalid(format!(
            "target stage {target:?} could not be found"
        )));
    };
    file.stages.truncate(at + 1);
    Ok(())
}

/// `--label` is a `LABEL` each at the end, whose values are not expanded.
fn label(file: &mut Dockerfile, options: &BuildOptions) {
    let Some(last) = file.stages.last_mut() else {
        return;
    };
    for (key, value) in &options.labels {
        let quoted = |text: &str| {
            let escape = file.escape;
            let mut word = "'".to_owned();
            for letter in text.chars() {
                match letter {
                    '\'' => word.push_str(&format!("'{escape}''")),
                    letter => word.push(letter),
                }
            }
            word + "'"
        };
        last.instructions.push(Located {
            span: last.span,
            original: format!("LABEL {key}={value}"),
            instruction: Instruction::Label(vec![(quoted(key), quoted(value))]),
        });
    }
}

impl Build<'_> {
    async fn all(&mut self, file: &Dockerfile) -> Result<Digest, BuildError> {
        for located in &file.args {
            self.announce(&located.original).await;
            if let Instruction::Arg(args) = &located.instruction {
                for arg in args {
                    let seen = self.args.global();
                    let default = self.default_of(arg.default.as_deref(), &seen)?;
                    self.args.declare_global(&arg.name, default);
                }
            }
        }
        for stage in &file.stages {
            self.announce(&stage.original).await;
            let mut state = self.begin(&stage.from).await?;
            self.arrow(&state).await;
            self.triggers(&mut state).await?;
            for located in &stage.instructions {
                self.announce(&located.original).await;
                self.dispatch(&mut state, &located.instruction).await?;
                self.arrow(&state).await;
            }
            if let Some(image) = state.image {
                self.output.send(BuildEvent::Image(image)).await;
            }
            self.stages.push((stage.from.name.clone(), state.image));
        }
        let unused = self.args.unused();
        if !unused.is_empty() {
            let unused = unused.join(" ");
            self.output
                .say(format!(
                    "[Warning] One or more build-args [{unused}] were not consumed\n"
                ))
                .await;
        }
        let last = self.stages.last().and_then(|(_, image)| *image);
        let text = "No image was generated. Is your Dockerfile empty?";
        last.ok_or_else(|| BuildError::Failed(text.to_owned()))
    }

    async fn announce(&mut self, text: &str) {
        self.step += 1;
        let text = format!("Step {}/{} : {text}", self.step, self.steps);
        self.output.say(text).await;
        // A message of its own, as dockerd's.
        self.output.say("\n".to_owned()).await;
    }

    async fn arrow(&self, stage: &Stage) {
        let id = stage.image.map(|id| id.to_string()).unwrap_or_default();
        self.output.say(format!(" ---> {}\n", short(&id))).await;
    }

    async fn begin(&mut self, from: &wharf_dockerfile::From) -> Result<Stage, BuildError> {
        self.args.begin_stage();
        let seen = self.args.global();
        let expander = Expander::new(self.escape);
        let get = |name: &str| seen.get(name).cloned();
        let name = expander
            .word(&from.base, &get)
            .map_err(BuildError::Invalid)?;
        if name.is_empty() {
            let text = format!("base name ({}) should not be blank", from.base);
            return Err(BuildError::Invalid(text));
        }
        let platform = match &from.platform {
            Some(text) => {
                let text = expander.word(text, &get).map_err(BuildError::Invalid)?;
                let parsed = Platform::parse(&text);
                Some(parsed.map_err(|error| BuildError::Invalid(error.to_string()))?)
            }
            None => self.options.platform.clone(),
        };
        let host = platform.clone().unwrap_or_else(Platform::host);
        if let Some(image) = self.earlier(&name) {
            let image = image.map(|id| self.builder.engine.images.store().resolve(&id.to_string()));
            let image = image.transpose()?;
            return Ok(Stage::begin(image.as_ref(), host));
        }
        if name == "scratch" {
            return Ok(Stage::begin(None, host));
        }
        let image = self.base_image(&name, platform).await?;
        Ok(Stage::begin(Some(&image), host))
    }

    /// What a stage of this name or number has become.
    pub(crate) fn stage_named(&self, name: &str) -> Result<Option<Option<Digest>>, BuildError> {
        if let Some(image) = self.earlier(name) {
            return Ok(Some(image));
        }
        let Ok(number) = name.parse::<usize>() else {
            return Ok(None);
        };
        let stage = self.stages.get(number).map(|(_, image)| Some(*image));
        stage.ok_or_else(|| {
            BuildError::Invalid(format!(
                "invalid from flag value {name}: invalid stage index {name}"
            ))
        })
    }

    fn earlier(&self, name: &str) -> Option<Option<Digest>> {
        let lower = name.to_ascii_lowercase();
        let mut stages = self.stages.iter().rev();
        let found = stages.find(|(stage, _)| stage.as_ref() == Some(&lower));
        found.map(|(_, image)| *image)
    }

    /// An image that is here, or is pulled.
    pub(crate) async fn base_image(
        &mut self,
        name: &str,
        platform: Option<Platform>,
    ) -> Result<Image, BuildError> {
        let store = self.builder.engine.images.store().clone();
        let is_wanted = |image: &Image| {
            let platform = platform.as_ref();
            platform.is_none_or(|platform| platform.matches(&image.config.platform()))
        };
        if !self.options.pull
            && let Ok((image, pin)) = store.pin(name)
            && is_wanted(&image)
        {
            self.pins.push(pin);
            return Ok(image);
        }
        let reference = Reference::parse_normalized(name)
            .map_err(|error| BuildError::Invalid(error.to_string()))?
            .with_default_tag();
        let options = PullOptions {
            credentials: self.options.client.credentials(reference.domain()).await,
            platform,
            all_tags: false,
            referrers: false,
        };
        let (progress, mut events) = ProgressSender::channel();
        let pull = self
            .builder
            .engine
            .images
            .pull(&reference, options, progress);
        let report = async {
            while let Some(event) = events.recv().await {
                self.output.send(BuildEvent::Progress(event)).await;
            }
        };
        let (pulled, ()) = tokio::join!(pull, report);
        pulled?;
        let (image, pin) = store.pin(name)?;
        self.pins.push(pin);
        Ok(image)
    }

    /// What the base image wants done by those who build on it.
    async fn triggers(&mut self, stage: &mut Stage) -> Result<(), BuildError> {
        let triggers = std::mem::take(&mut stage.triggers);
        if triggers.is_empty() {
            return Ok(());
        }
        let plural = if triggers.len() > 1 { "s" } else { "" };
        let count = triggers.len();
        self.output
            .say(format!("# Executing {count} build trigger{plural}\n"))
            .await;
        for trigger in triggers {
            let parsed = Dockerfile::instructions(&trigger);
            let parsed = parsed.map_err(|error| BuildError::Invalid(error.to_string()))?;
            for located in parsed {
                self.dispatch(stage, &located.instruction).await?;
            }
        }
        Ok(())
    }

    async fn dispatch(
        &mut self,
        stage: &mut Stage,
        instruction: &Instruction,
    ) -> Result<(), BuildError> {
        match instruction {
            Instruction::Run(run) => self.run(stage, run).await,
            Instruction::Copy(copy) => self.copy(stage, copy).await,
            Instruction::Add(add) => self.add(stage, add).await,
            Instruction::Arg(args) => {
                let mut words = Vec::new();
                for arg in args {
                    let seen = self.seen(stage);
                    let default = self.default_of(arg.default.as_deref(), &seen)?;
                    words.push(match &default {
                        Some(value) => format!("{}={value}", arg.name),
                        None => arg.name.clone(),
                    });
                    self.args.declare(&arg.name, default);
                }
                self.note(stage, &format!(" ARG {}", words.join(" "))).await
            }
            Instruction::Maintainer(name) => {
                stage.author.clone_from(name);
                self.note(stage, &format!(" MAINTAINER {name}")).await
            }
            Instruction::Workdir(_) => {
                let text = self.set(stage, instruction)?;
                self.work_dir(stage, &text).await
            }
            other => {
                let text = self.set(stage, other)?;
                self.note(stage, &format!(" {text}")).await
            }
        }
    }

    /// Changes settings, and says what the history is to say.
    fn set(&self, stage: &mut Stage, instruction: &Instruction) -> Result<String, BuildError> {
        let mut settings = Settings::new(&mut stage.config, self.escape)
            .in_stage(self.args.visible(), stage.command_set);
        let text = settings.apply(instruction).map_err(BuildError::Invalid)?;
        stage.command_set |= matches!(instruction, Instruction::Cmd(_));
        Ok(text)
    }

    /// A step without files.
    async fn note(&mut self, stage: &mut Stage, text: &str) -> Result<(), BuildError> {
        let created_by = stage.nop(text);
        let key = cache::key(
            stage.image.as_ref(),
            &created_by,
            &stage.config,
            &stage.author,
            "",
        );
        match self.cached(stage, &key, &created_by).await? {
            true => Ok(()),
            false => self.commit(stage, None, &created_by, &key).await,
        }
    }

    /// The directory is made, so that it is there for those who only read the image.
    async fn work_dir(&mut self, stage: &mut Stage, text: &str) -> Result<(), BuildError> {
        let created_by = stage.nop(text);
        let key = cache::key(
            stage.image.as_ref(),
            &created_by,
            &stage.config,
            &stage.author,
            "",
        );
        if self.cached(stage, &key, &created_by).await? {
            return Ok(());
        }
        let workspace = self
            .builder
            .engine
            .containers
            .workspace(stage.image.as_ref())?;
        let path = PathBuf::from(&stage.config.working_dir);
        let workspace = blocking(move || {
            transfer::make_folders(&workspace.root()?, &path, Some((0, 0)))?;
            Ok(workspace)
        })
        .await?;
        let layer = workspace.layer().await?;
        self.commit(stage, Some(layer), &created_by, &key).await
    }

    fn default_of(
        &self,
        text: Option<&str>,
        seen: &std::collections::BTreeMap<String, String>,
    ) -> Result<Option<String>, BuildError> {
        let get = |name: &str| seen.get(name).cloned();
        let expanded = text.map(|text| Expander::new(self.escape).word(text, &get));
        expanded.transpose().map_err(BuildError::Invalid)
    }

    /// What words of the stage are expanded with.
    fn seen(&self, stage: &Stage) -> std::collections::BTreeMap<String, String> {
        let mut seen = self.args.visible();
        let env = stage.config.env.iter().flatten();
        let pairs = env.filter_map(|pair| pair.split_once('='));
        seen.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        seen
    }

    /// A word, expanded.
    pub(crate) fn word(&self, stage: &Stage, text: &str) -> Result<String, BuildError> {
        let seen = self.seen(stage);
        let get = |name: &str| seen.get(name).cloned();
        let word = Expander::new(self.escape).word(text, &get);
        word.map_err(BuildError::Invalid)
    }

    /// The text of a here-document.
    pub(crate) fn document(&self, stage: &Stage, document: &Heredoc) -> Result<String, BuildError> {
        if !document.expand {
            return Ok(document.content.clone());
        }
        let seen = self.seen(stage);
        let get = |name: &str| seen.get(name).cloned();
        let text = Expander::new(self.escape).text(&document.content, &get);
        text.map_err(BuildError::Invalid)
    }
}

/// So that errors of the engine's helpers read as the build's.
impl From<wharf_records::RecordError> for BuildError {
    fn from(error: wharf_records::RecordError) -> Self {
        Self::Engine(EngineError::from(error))
    }
}
