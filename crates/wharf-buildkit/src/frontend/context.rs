//! The files of a build: its Dockerfile, its ignore file and its context.

use std::io::ErrorKind;
use std::path::Path;

use tempfile::TempDir;
use wharf_dockerfile::{Dockerfile, Instruction};
use wharf_sys::root::Root;

use super::options::Options;
use super::sources::{self, Wanted};
use super::{LARGEST, Request, Text, ignore};
use crate::error::Error;
use crate::session::Local;

impl Request<'_> {
    /// Fetches the Dockerfile.
    pub(super) async fn load(&self, options: &Options) -> Result<Text, Error> {
        let name = match options.build.dockerfile.as_str() {
            "" => "Dockerfile",
            name => name,
        };
        let ignore = format!("{name}.dockerignore");
        let lower = name.to_ascii_lowercase();
        let local = Local {
            name: options.dockerfile_key.clone(),
            purpose: "dockerfile",
            follow: vec![name.to_owned(), ignore.clone(), lower.clone()],
            ..Local::default()
        };
        let step = format!("[internal] load build definition from {name}");
        let folder = self.fetch(&step, "dockerfile", &local).await?;
        let root = Root::open(folder.path()).map_err(Error::io("open the Dockerfile's folder"))?;
        let read = |name: &str| match root.read_small(Path::new(name), LARGEST) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Failed(format!("failed to read {name}: {error}"))),
        };
        let mut found = read(name)?;
        if found.is_none() && name == "Dockerfile" {
            found = read(&lower)?;
        }
        let bytes = found.ok_or_else(|| {
            Error::Failed(format!(
                "failed to read dockerfile: open {name}: no such file or directory"
            ))
        })?;
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| Error::Invalid(format!("{name} is not UTF-8")))?;
        let ignore = read(&ignore)?;
        Ok(Text {
            filename: name.to_owned(),
            text,
            ignore: ignore.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// What the client is not to send: of `own`, which came with the Dockerfile, or of the context's `.dockerignore`.
    pub(super) async fn excluded(
        &self,
        own: Option<&str>,
        context: &str,
        step: &str,
    ) -> Result<Vec<String>, Error> {
        if let Some(text) = own {
            return Ok(ignore::patterns(text));
        }
        let local = Local {
            name: context.to_owned(),
            purpose: "ignore",
            follow: vec![".dockerignore".to_owned()],
            ..Local::default()
        };
        let folder = self.fetch(step, "context", &local).await?;
        let root = Root::open(folder.path()).map_err(Error::io("open .dockerignore's folder"))?;
        match root.read_small(Path::new(".dockerignore"), LARGEST) {
            Ok(bytes) => Ok(ignore::patterns(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(Error::Failed(format!(
                "failed to read .dockerignore: {error}"
            ))),
        }
    }

    /// Fetches what the build wants of its context.
    pub(super) async fn context(
        &self,
        name: &str,
        text: &Text,
        file: &Dockerfile,
        options: &Options,
    ) -> Result<TempDir, Error> {
        let step = "[internal] load .dockerignore";
        let exclude = self.excluded(text.ignore.as_deref(), name, step).await?;
        let wanted = match self.may_be_triggered(file) {
            true => Wanted::All,
            false => sources::of(file, &options.build.target),
        };
        let follow = match wanted {
            Wanted::Nothing => return self.folder(),
            Wanted::Only(paths) => paths,
            Wanted::All => Vec::new(),
        };
        let local = Local {
            name: name.to_owned(),
            purpose: "context",
            include: options.include.clone(),
            exclude,
            follow,
        };
        self.fetch("[internal] load build context", "context", &local)
            .await
    }

    /// Fetches a context that has a name of its own.
    pub(super) async fn named_folder(&self, name: &str, local: &str) -> Result<TempDir, Error> {
        let step = format!("[context {name}] load .dockerignore");
        let exclude = self.excluded(None, local, &step).await?;
        let step = format!("[context {name}] load from client");
        let local = Local {
            name: local.to_owned(),
            purpose: "context",
            exclude,
            ..Local::default()
        };
        self.fetch(&step, name, &local).await
    }

    /// Whether a base image may want files by `ONBUILD`: one that is not here may.
    fn may_be_triggered(&self, file: &Dockerfile) -> bool {
        let store = self.kit.engine.images.store();
        let mut stages = Vec::new();
        file.stages.iter().any(|stage| {
            let base = stage.from.base.as_str();
            let known = base == "scratch" || stages.contains(&base.to_ascii_lowercase());
            stages.extend(stage.from.name.clone());
            if known {
                // A stage's own triggers are not taken over, but a `FROM` on it runs them.
                return stage
                    .instructions
                    .iter()
                    .any(|located| matches!(located.instruction, Instruction::Onbuild(_)));
            }
            match store.resolve(base) {
                Ok(image) => {
                    let triggers = image.config.config.on_build.as_ref();
                    triggers.is_some_and(|list| !list.is_empty())
                }
                Err(_) => true,
            }
        })
    }
}
