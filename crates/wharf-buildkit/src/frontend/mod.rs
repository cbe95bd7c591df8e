//! The Dockerfile frontend (`dockerfile.v0`), which also serves `# syntax=` lines and `gateway.v0`.

mod context;
mod ignore;
mod options;
mod sources;
mod subrequest;
mod work;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use wharf_builder::{BuildOptions, BuildSource, NamedContext, Style};
use wharf_dockerfile::{Dockerfile, ParseError, Span};
use wharf_oci::Reference;
use wharf_sys::root::Root;

use crate::error::{Error, Place};
use crate::job::{Built, Job, Outcome};
use crate::service::Kit;
use crate::session::{Asked, Local, Session};
use options::{Main, Named, Options};
use work::Said;

/// The largest Dockerfile or list of patterns.
const LARGEST: u64 = 16 << 20;

/// What a frontend is asked for.
pub(crate) struct Request<'a> {
    pub(crate) kit: &'a Kit,
    pub(crate) job: &'a Arc<Job>,
    pub(crate) session: Arc<Session>,
    /// Which frontend.
    pub(crate) frontend: &'a str,
    pub(crate) attributes: &'a HashMap<String, String>,
    /// Results of other builds, by the names they have here.
    pub(crate) inputs: HashMap<String, Arc<Built>>,
}

/// Builds what is asked for.
///
/// # Errors
/// What is wrong with the request or the Dockerfile, or fails, in BuildKit's words.
pub(crate) async fn build(request: Request<'_>) -> Result<Outcome, Error> {
    match request.frontend {
        "dockerfile.v0" => {}
        "gateway.v0" => {
            let source = request.attributes.get("source");
            is_ours(source.map(String::as_str).unwrap_or_default())?;
        }
        other => {
            return Err(Error::NotFound(format!("invalid frontend: {other}")));
        }
    }
    let options = Options::read(request.attributes)?;
    request.dockerfile(options).await
}

/// Whether an image is the Dockerfile frontend, which is built in.
fn is_ours(image: &str) -> Result<(), Error> {
    let reference = Reference::parse_normalized(image);
    let reference = reference.map_err(|error| {
        Error::Invalid(format!("failed to parse frontend image {image:?}: {error}"))
    })?;
    let path = reference.path();
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.starts_with("dockerfile") {
        true => Ok(()),
        false => Err(Error::Unimplemented(format!(
            "the frontend {image} is not built in: only docker/dockerfile is"
        ))),
    }
}

/// The Dockerfile of a build, and where it came from.
struct Text {
    filename: String,
    text: String,
    /// The patterns of a `NAME.dockerignore` beside it.
    ignore: Option<String>,
}

impl Text {
    fn place(&self, span: Span) -> Place {
        Place {
            filename: self.filename.clone(),
            text: self.text.clone(),
            span,
        }
    }

    fn parse(&self) -> Result<Dockerfile, Error> {
        Dockerfile::parse(&self.text).map_err(|error| {
            let ParseError { line, message } = &error;
            let span = Span {
                start: *line,
                end: *line,
            };
            let text = match line {
                0 => message.clone(),
                line => format!("dockerfile parse error on line {line}: {message}"),
            };
            match line {
                0 => Error::Invalid(text),
                _ => Error::Invalid(text).at(self.place(span)),
            }
        })
    }
}

impl Request<'_> {
    async fn dockerfile(self, options: Options) -> Result<Outcome, Error> {
        let text = match &options.main {
            // It is in there.
            Main::Remote(_) | Main::Upload(_) if !options.separate_dockerfile => None,
            _ => Some(self.load(&options).await?),
        };
        let file = text.as_ref().map(Text::parse).transpose()?;
        if let Some(syntax) = options
            .syntax
            .clone()
            .or(file.as_ref().and_then(|file| file.syntax.clone()))
        {
            is_ours(syntax.split_whitespace().next().unwrap_or_default())?;
        }
        if let Some(wanted) = &options.subrequest {
            let (text, file) = text.as_ref().zip(file.as_ref()).ok_or_else(|| {
                Error::Unimplemented("subrequests of remote contexts are not built".to_owned())
            })?;
            return subrequest::answer(wanted, text, file, &options);
        }
        let (source, named) = self.files(&options, text.as_ref(), file.as_ref()).await?;
        let build = BuildOptions {
            contexts: named
                .iter()
                .map(|(name, one, _)| (name.clone(), one.clone()))
                .collect(),
            client: Arc::new(Asked::new(self.kit, self.session.clone())),
            style: Style::BuildKit,
            remove: true,
            force_remove: true,
            ..options.build.clone()
        };
        let said = Said::new(self.job.trace.clone());
        let (output, events) = wharf_builder::Output::channel();
        let building = async {
            let built = self.kit.builder.build(source, &build, &output).await;
            drop(output);
            built
        };
        let (built, said) = tokio::join!(building, said.follow(events));
        let image = match built {
            Ok(image) => image,
            Err(error) => {
                let error = Error::from(error);
                let at = said.failed(&error.to_string());
                return Err(match (&text, at) {
                    (Some(text), Some(span)) => error.at(text.place(span)),
                    _ => error,
                });
            }
        };
        said.done();
        drop(named);
        let (image, pin) = self.kit.engine.images.store().pin(&image.to_string())?;
        let config = image.config.raw().to_vec();
        Ok(Outcome {
            built: Some(Arc::new(Built { image, _pin: pin })),
            metadata: HashMap::from([("containerimage.config".to_owned(), config)]),
        })
    }

    /// Where the build's files come from; and the other contexts, with what keeps their files.
    async fn files(
        &self,
        options: &Options,
        text: Option<&Text>,
        file: Option<&Dockerfile>,
    ) -> Result<(BuildSource, Vec<(String, NamedContext, Option<TempDir>)>), Error> {
        let mut named = Vec::new();
        for (name, context) in &options.contexts {
            let (context, keep) = self.named(name, context).await?;
            named.push((name.clone(), context, keep));
        }
        let source = match (&options.main, text, file) {
            (Main::Local(context), Some(text), Some(file)) => {
                let folder = self.context(context, text, file, options).await?;
                BuildSource::Folder(folder, text.text.clone())
            }
            (Main::Remote(url), None, _) => BuildSource::Remote(url.clone()),
            (Main::Upload(id), None, _) => {
                let archive = crate::session::upload(&self.session, id).await?;
                BuildSource::Archive(archive)
            }
            _ => {
                return Err(Error::Unimplemented(
                    "a Dockerfile apart from a remote context is not built".to_owned(),
                ));
            }
        };
        Ok((source, named))
    }

    async fn named(
        &self,
        name: &str,
        context: &Named,
    ) -> Result<(NamedContext, Option<TempDir>), Error> {
        match context {
            Named::Image(image) => Ok((NamedContext::Image(image.clone()), None)),
            Named::Input(input) => {
                let built = self.inputs.get(input);
                let built = built
                    .ok_or_else(|| Error::Invalid(format!("invalid input {input} for {name}")))?;
                Ok((NamedContext::Image(built.image.id.to_string()), None))
            }
            Named::Local(local) => {
                let folder = self.named_folder(name, local).await?;
                let root = Root::open(folder.path());
                let root = root.map_err(Error::io("open a context"))?;
                Ok((NamedContext::Files(Arc::new(root)), Some(folder)))
            }
        }
    }

    /// A new folder on the file system of the builder's.
    fn folder(&self) -> Result<TempDir, Error> {
        let parent = self.kit.engine.config.data_root.join("builder");
        let failed = Error::io("make a folder for a build's files");
        std::fs::create_dir_all(&parent).map_err(&failed)?;
        let made = tempfile::Builder::new()
            .prefix("context-")
            .tempdir_in(parent);
        made.map_err(failed)
    }

    /// Fetches a folder of the client, as a step of the build.
    async fn fetch(&self, step: &str, shown: &str, local: &Local) -> Result<TempDir, Error> {
        let step = self.job.trace.begin(step);
        let folder = self.folder()?;
        let id = format!("transferring {shown}:");
        let progress = work::Transfer::new(&step, &id);
        let (counter, watch) = tokio::sync::watch::channel(0);
        let to: &Path = folder.path();
        let fetching = self
            .kit
            .contexts
            .fetch(&self.session, local, to, move |bytes| {
                counter.send_replace(bytes);
            });
        let (fetched, ()) = tokio::join!(fetching, progress.follow(watch));
        step.end(fetched)?;
        Ok(folder)
    }
}
