//! `POST /build` without BuildKit: one instruction after the other, each an image on top of the one before.
//!
//! What an instruction does to files is a graph of one operation on the image so far: the solver does it, and knows it the
//! next time. A `RUN` is a container that people see. What is said meanwhile, the images of the steps and their
//! configurations are those of Docker's classic builder.
//!
//! Source: `moby/moby/builder/dockerfile` for output, errors and defaults; the Dockerfile reference for what the classic
//! builder never learned.

mod base;
mod container_runner;
mod context;
mod copy;
mod image;
mod options;
mod output;
mod squash;
mod steps;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::mpsc;
use wharf_builder::BuildError;
use wharf_dockerfile::{Dockerfile, Instruction, Located, Mistake, ParseError};
use wharf_engine::{Engine, NetworkMode};
use wharf_images::{ImagePin, Images};
use wharf_oci::{Digest, Platform};

use super::convert::Converter;
use super::options::Options;
use crate::{Entitlement, Job, JobOptions, Progress, SolveError, Solver};

pub(crate) use container_runner::ContainerRunner;
pub use context::BuildSource;
pub use options::BuildOptions;
pub use output::{BuildEvent, Output};

use context::{Context, Uploaded};

/// Builds as the classic builder did. Clones are the same.
#[derive(Clone)]
pub struct Classic(Solver);

impl Classic {
    /// On a solver, whose cache and work it shares.
    pub fn new(solver: Solver) -> Self {
        Self(solver)
    }

    /// Builds. Dropping the future gives the build up, with the container of its step.
    ///
    /// # Errors
    /// What is wrong with the request, the Dockerfile or a step, in Docker's words. Images of the steps before it stay,
    /// as what the next build can use again.
    pub async fn build(
        &self,
        source: BuildSource,
        options: BuildOptions,
        output: &Output,
    ) -> Result<Digest, BuildError> {
        let built = self.work(source, options, output).await;
        built.map_err(|error| match error {
            BuildError::Failed(text) => BuildError::Failed(wharf_sys::words::plain(&text)),
            error => error,
        })
    }

    async fn work(
        &self,
        source: BuildSource,
        options: BuildOptions,
        output: &Output,
    ) -> Result<Digest, BuildError> {
        let (job, context, said) = self.open(source, &options).await?;
        let mut file = Dockerfile::parse(&context.text).map_err(malformed)?;
        stop_at(&mut file, &options.target)?;
        label(&mut file, &options);
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let frontend = Options {
            args: options.args.clone(),
            // What is to be had of registries has been pulled before.
            resolve_mode: "local".to_owned(),
            context_key: "context".to_owned(),
            ..Options::default()
        };
        let inputs = BTreeMap::new();
        let source = (options.dockerfile.as_str(), context.text.as_str(), &file);
        let converter = Converter::new(&job, &frontend, source, platform, &inputs)
            .with_context(context.remote, Vec::new());
        let stages = file.stages.iter().map(|stage| stage.instructions.len() + 1);
        let mut build = Build {
            job: &job,
            options: Arc::new(options.clone()),
            output,
            converter,
            said,
            pins: Vec::new(),
            stages: Vec::new(),
            unused: None,
            step: 0,
            steps: file.args.len() + stages.sum::<usize>(),
        };
        let mut image = build.all(&file).await?;
        if options.squash {
            image = build.squash(&image).await?;
            output.send(BuildEvent::Image(image)).await;
        }
        let id = image.to_string();
        let short = short(&id);
        output.say(format!("Successfully built {short}\n")).await;
        for tag in &options.tags {
            job.engine().images.tag(&id, tag)?;
            let name = tag.familiar();
            output.say(format!("Successfully tagged {name}\n")).await;
        }
        Ok(image)
    }

    /// The job of a build, and the files it begins with.
    async fn open(
        &self,
        source: BuildSource,
        options: &BuildOptions,
    ) -> Result<(Job, Context, mpsc::Receiver<Progress>), BuildError> {
        let (address, files) = match source {
            BuildSource::Remote(address) => (Some(address), None),
            BuildSource::Folder(folder) => (None, Some(folder.await?)),
            BuildSource::Archive(archive) => {
                let unpacked = upload::unpack(archive, self.0.shared().clone()).await?;
                (None, Some(unpacked))
            }
        };
        let (progress, mut said) = mpsc::channel(64);
        let job = self.0.job(JobOptions {
            id: wharf_engine::new_id(),
            session: String::new(),
            client: Arc::new(Uploaded {
                files: files.clone(),
                credentials: options.credentials.clone(),
            }),
            progress,
            entitlements: entitlements(options),
            attestations: BTreeMap::new(),
            writes_cache: false,
            inline_cache: false,
            remembers: false,
            policies: Arc::default(),
        });
        let context = match (address, files) {
            (Some(address), _) => {
                let fetch = Context::fetch(&job, &address, &options.dockerfile);
                heedless(fetch, &mut said).await?
            }
            (None, Some(files)) => Context::sent(&files, &options.dockerfile)?,
            (None, None) => return Err(BuildError::Failed("no build context".to_owned())),
        };
        Ok((job, context, said))
    }
}

/// What steps may ask for: the host's network only if the client has said that all of them are to be in it. A Dockerfile is
/// somebody else's.
fn entitlements(options: &BuildOptions) -> BTreeSet<Entitlement> {
    let host = options.network == NetworkMode::Host;
    host.then_some(Entitlement::NetworkHost)
        .into_iter()
        .collect()
}

/// Waits for work that tells what it does to a reader who does not care.
async fn heedless<T>(work: impl Future<Output = T>, said: &mut mpsc::Receiver<Progress>) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            Some(_) = said.recv() => {}
        }
    }
}

/// A build that is under way.
struct Build<'a> {
    job: &'a Job,
    options: Arc<BuildOptions>,
    output: &'a Output,
    converter: Converter<'a>,
    said: mpsc::Receiver<Progress>,
    /// Images that must stay while it goes on.
    pins: Vec<ImagePin>,
    /// What the stages have become.
    stages: Vec<Done>,
    /// Arguments that no stage has asked for; `None` before the first.
    unused: Option<BTreeSet<String>>,
    step: usize,
    steps: usize,
}

/// A stage that is built.
struct Done {
    name: Option<String>,
    /// None of one that began with nothing, and has had no step.
    image: Option<Digest>,
    /// The image that it began with.
    base: Option<Digest>,
}

impl Build<'_> {
    fn engine(&self) -> &Engine {
        self.job.engine()
    }

    fn store(&self) -> &Images {
        self.job.engine().images.store()
    }

    /// What BuildKit's parser has to say, as standard error.
    async fn warn(&self, file: &Dockerfile) {
        let lines = file.empty_continuations.iter();
        let lines = lines.map(|line| format!("Empty continuation line found in: {line}"));
        let mut lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            let text = "Empty continuation lines will become errors in a future release.";
            lines.push(text.to_owned());
        }
        for line in lines {
            let said = BuildEvent::Output {
                is_error: true,
                text: format!("[WARNING]: {line}\n"),
            };
            self.output.send(said).await;
        }
    }

    async fn all(&mut self, file: &Dockerfile) -> Result<Digest, BuildError> {
        self.warn(file).await;
        for located in &file.args {
            self.announce(&located.original).await;
            self.converter.declare_globals(located)?;
        }
        for source in &file.stages {
            let name = source.from.name.as_deref();
            if let Some(name) = name.filter(|name| self.earlier(name).is_some()) {
                let text = format!("{name} stage name already used");
                return Err(BuildError::Invalid(text));
            }
            self.announce(&source.original).await;
            let mut stage = self.begin(&source.from).await?;
            let base = stage.image;
            self.triggers(&mut stage).await?;
            self.arrow(&stage).await;
            for located in &source.instructions {
                self.announce(&located.original).await;
                self.dispatch(&mut stage, located).await?;
                self.arrow(&stage).await;
            }
            if let Some(image) = stage.image {
                self.output.send(BuildEvent::Image(image)).await;
            }
            self.count_unused(&stage);
            self.stages.push(Done {
                name: source.from.name.clone(),
                image: stage.image,
                base,
            });
        }
        let unused: Vec<String> = self.unused.iter().flatten().cloned().collect();
        if !unused.is_empty() {
            let unused = unused.join(" ");
            let text = format!("[Warning] One or more build-args [{unused}] were not consumed\n");
            self.output.say(text).await;
        }
        let last = self.stages.last().and_then(|stage| stage.image);
        let text = "No image was generated. Is your Dockerfile empty?";
        last.ok_or_else(|| BuildError::Failed(text.to_owned()))
    }

    fn count_unused(&mut self, stage: &Standing) {
        let unused: BTreeSet<String> = stage.unused().map(str::to_owned).collect();
        self.unused = match self.unused.take() {
            None => Some(unused),
            Some(before) => Some(before.intersection(&unused).cloned().collect()),
        };
    }

    async fn announce(&mut self, text: &str) {
        self.step += 1;
        let text = format!("Step {}/{} : {text}", self.step, self.steps);
        self.output.say(text).await;
        // A message of its own, as dockerd's.
        self.output.say("\n".to_owned()).await;
    }

    async fn arrow(&self, stage: &Standing) {
        let id = stage.image.map(|id| id.to_string()).unwrap_or_default();
        self.output.say(format!(" ---> {}\n", short(&id))).await;
    }

    /// What the base image wants done by those who build on it.
    async fn triggers(&mut self, stage: &mut Standing) -> Result<(), BuildError> {
        let triggers = std::mem::take(&mut stage.stage.triggers);
        if triggers.is_empty() {
            return Ok(());
        }
        let plural = if triggers.len() > 1 { "s" } else { "" };
        let count = triggers.len();
        let text = format!("# Executing {count} build trigger{plural}\n");
        self.output.say(text).await;
        for trigger in triggers {
            let parsed = Dockerfile::instructions(&trigger);
            let parsed = parsed.map_err(|error| BuildError::Invalid(error.to_string()))?;
            for located in parsed {
                self.dispatch(stage, &located).await?;
            }
        }
        Ok(())
    }
}

use base::Standing;

/// What is wrong with a Dockerfile, in the classic builder's words.
fn malformed(error: ParseError) -> BuildError {
    BuildError::Invalid(match error.mistake {
        Mistake::Syntax => format!("failed to parse Dockerfile: {error}"),
        Mistake::Instruction | Mistake::Order => error.to_string(),
    })
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
    let escape = file.escape;
    let Some(last) = file.stages.last_mut() else {
        return;
    };
    for (key, value) in &options.labels {
        last.instructions.push(Located {
            span: last.span,
            original: format!("LABEL {key}={value}"),
            instruction: Instruction::Label(vec![(literal(key, escape), literal(value, escape))]),
        });
    }
}

/// A word that stands for `text` and nothing else.
fn literal(text: &str, escape: char) -> String {
    let mut word = "'".to_owned();
    for letter in text.chars() {
        match letter {
            '\'' => word.push_str(&format!("'{escape}''")),
            letter => word.push(letter),
        }
    }
    word + "'"
}

/// Docker's short form of an id.
fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// So that the solver's errors read as the classic builder's.
impl From<SolveError> for BuildError {
    fn from(error: SolveError) -> Self {
        let text = error.to_string();
        match error {
            SolveError::At { error, .. } => Self::from(*error),
            SolveError::Command { command, code } => Self::Command { command, code },
            SolveError::Invalid(_) => Self::Invalid(text),
            SolveError::NotImplemented(_) => Self::NotImplemented(text),
            SolveError::NotFound(_) => wharf_engine::EngineError::NotFound(text).into(),
            _ => Self::Failed(text),
        }
    }
}
