//! The files that a build is given, and its Dockerfile.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, unlinkat};
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_dockerfile::Ignore;
use wharf_layer::{ApplyOptions, LayerError, Plain, apply};
use wharf_sys::root::Root;

use crate::{BuildError, fetch};

/// The largest Dockerfile; a larger one is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// Where a build's files come from.
pub enum BuildSource {
    /// An archive that the client sends, compressed or not.
    Archive(Box<dyn AsyncRead + Send + Unpin>),
    /// An address: of an archive, of a Dockerfile, or of a git repository.
    Remote(String),
}

/// The files of a build. They go with it.
pub(crate) struct Context {
    folder: TempDir,
    /// Below which every path is looked up.
    pub(crate) root: Arc<Root>,
    /// The Dockerfile, where the source was nothing but that.
    dockerfile: Option<String>,
}

impl Context {
    /// Reads everything from `source` into a folder of its own in `folder`.
    pub(crate) async fn read(
        source: BuildSource,
        folder: &Path,
        registry: &wharf_distribution::Config,
    ) -> Result<Self, BuildError> {
        let empty = || Self::empty(folder);
        match source {
            BuildSource::Archive(archive) => {
                let context = empty()?;
                unpack(archive, context.root.clone()).await?;
                Ok(context)
            }
            BuildSource::Remote(url) => match fetch::git_url(&url) {
                Some(git) => Self::of_repository(&git, folder).await,
                None => Self::of_url(&url, folder, registry).await,
            },
        }
    }

    fn empty(parent: &Path) -> Result<Self, BuildError> {
        let failed = BuildError::io("make a folder for the build context");
        std::fs::create_dir_all(parent).map_err(&failed)?;
        let folder = tempfile::Builder::new()
            .prefix("context-")
            .tempdir_in(parent);
        let folder = folder.map_err(&failed)?;
        let root = Arc::new(Root::open(folder.path()).map_err(&failed)?);
        Ok(Self {
            folder,
            root,
            dockerfile: None,
        })
    }

    async fn of_repository(git: &fetch::GitUrl, parent: &Path) -> Result<Self, BuildError> {
        let mut context = Self::empty(parent)?;
        let path = context.folder.path().join("repository");
        fetch::clone(git, &path).await?;
        let root = Root::open(&path).map_err(BuildError::io("open the repository"))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let below = Path::new(git.folder.trim_start_matches('/'));
        let below = if git.folder.is_empty() {
            Path::new(".")
        } else {
            below
        };
        let below = root.open_at(below, flags, Mode::empty()).map_err(|error| {
            BuildError::Failed(format!(
                "error setting up the build context: {}: {error}",
                git.folder
            ))
        })?;
        context.root = Arc::new(Root::from_fd(below));
        Ok(context)
    }

    async fn of_url(
        url: &str,
        parent: &Path,
        registry: &wharf_distribution::Config,
    ) -> Result<Self, BuildError> {
        let mut context = Self::empty(parent)?;
        let file = fetch::download(url, context.folder.path(), registry).await?;
        let failed = BuildError::io("read what was downloaded");
        let text_limit = MAX_DOCKERFILE;
        let path = file.path.clone();
        if file.content_type.starts_with("text/plain") || !fetch::is_archive(&path) {
            let length = std::fs::metadata(&path).map_err(&failed)?.len();
            if length > text_limit {
                return Err(BuildError::Failed(format!(
                    "{url} is no archive, and too large for a Dockerfile"
                )));
            }
            let text = std::fs::read_to_string(&path).map_err(&failed)?;
            context.dockerfile = Some(text);
            std::fs::remove_file(&path).map_err(&failed)?;
            return Ok(context);
        }
        let archive = tokio::fs::File::open(&path).await.map_err(&failed)?;
        std::fs::remove_file(&path).map_err(&failed)?;
        unpack(Box::new(archive), context.root.clone()).await?;
        Ok(context)
    }

    /// The text of the Dockerfile at `path` (`Dockerfile`, or `dockerfile` where that is missing, if it is empty). What
    /// `.dockerignore` keeps from the build is taken away then.
    pub(crate) fn dockerfile(&self, path: &str) -> Result<String, BuildError> {
        if let Some(text) = &self.dockerfile {
            return Ok(text.clone());
        }
        let names: &[&str] = match path {
            "" => &["Dockerfile", "dockerfile"],
            path => &[path],
        };
        let found = names.iter().find_map(|name| {
            match self.root.read_small(Path::new(name), MAX_DOCKERFILE) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some((*name, other)),
            }
        });
        let first = names.first().copied().unwrap_or_default();
        let Some((name, bytes)) = found else {
            return Err(BuildError::Failed(format!(
                "Cannot locate specified Dockerfile: {first}"
            )));
        };
        let bytes = bytes.map_err(|error| {
            BuildError::Failed(format!("failed to read the Dockerfile at {name}: {error}"))
        })?;
        if bytes.is_empty() {
            return Err(BuildError::Invalid(format!(
                "the Dockerfile ({name}) cannot be empty"
            )));
        }
        let text = String::from_utf8(bytes);
        let text =
            text.map_err(|_| BuildError::Invalid(format!("the Dockerfile ({name}) is not UTF-8")))?;
        self.hide(name)?;
        Ok(text)
    }

    /// Takes away what the client had to send though `.dockerignore` excludes it.
    fn hide(&self, dockerfile: &str) -> Result<(), BuildError> {
        let list = match self
            .root
            .read_small(Path::new(".dockerignore"), MAX_DOCKERFILE)
        {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => return Ok(()),
        };
        let ignore = Ignore::parse(&list).map_err(|error| {
            BuildError::Invalid(format!("error reading .dockerignore: {error}"))
        })?;
        for name in [".dockerignore", dockerfile] {
            if ignore.ignores(name) {
                self.unlink(Path::new(name));
            }
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) {
        let parent = path.parent().filter(|parent| *parent != Path::new(""));
        let folder = self.root.find(parent.unwrap_or(Path::new(".")));
        if let (Ok(folder), Some(name)) = (folder, path.file_name()) {
            // What cannot be taken away is only there to be copied.
            let _ = unlinkat(&folder, name, AtFlags::empty());
        }
    }

    /// A new empty folder beside the files, for what a step brings in.
    pub(crate) fn scratch(&self) -> Result<TempDir, BuildError> {
        let beside = self.folder.path().parent().unwrap_or(self.folder.path());
        let folder = tempfile::Builder::new().prefix("step-").tempdir_in(beside);
        folder.map_err(BuildError::io("make a folder for a step"))
    }

    /// The path of something in it that is known to have no link on the way.
    pub(crate) fn host_path(&self, inside: &Path) -> PathBuf {
        let inside = inside.strip_prefix("/").unwrap_or(inside);
        match inside.as_os_str() == OsStr::new("") {
            true => self.folder.path().to_owned(),
            false => self.folder.path().join(inside),
        }
    }
}

/// Unpacks an archive of plain files. Nothing at all is an empty folder.
async fn unpack(
    archive: Box<dyn AsyncRead + Send + Unpin>,
    root: Arc<Root>,
) -> Result<(), BuildError> {
    let mut archive = SyncIoBridge::new(archive);
    let work = move || {
        let options = ApplyOptions {
            skip_devices: true,
            plain: Some(Plain::default()),
            ..ApplyOptions::default()
        };
        let mut first = [0; 1];
        let count = io::Read::read(&mut archive, &mut first)
            .map_err(|error| format!("error reading the build context: {error}"))?;
        if count == 0 {
            return Ok(());
        }
        let whole = io::Read::chain(&first[..], &mut archive);
        let done = apply(whole, root.as_fd(), &options);
        if done.is_err() {
            // A client that is still sending does not read why; and what it sends is not wanted any more.
            let _ = io::copy(&mut archive, &mut io::sink());
        }
        done.map(drop)
            .map_err(|error| format!("Error processing tar file: {}", chain(&error)))
    };
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| BuildError::Failed(error.to_string()))?;
    done.map_err(BuildError::Failed)
}

pub(crate) fn chain(error: &LayerError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
