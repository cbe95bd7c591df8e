//! The files that a classic build is given, and its Dockerfile.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use futures_util::future::BoxFuture;
use rustix::fs::{AtFlags, unlinkat};
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wharf_builder::{BuildError, Client, Local, LocalRequest, fetch};
use wharf_distribution::Credentials;
use wharf_dockerfile::Ignore;
use wharf_sys::root::Root;

use super::super::files::Remote;
use super::super::remote_source;
use crate::{Job, SolveError, blocking};

/// The largest Dockerfile; a larger one is none.
const MAX_DOCKERFILE: u64 = 16 << 20;

/// Where a build's files come from.
pub enum BuildSource {
    /// An archive that the client sends, compressed or not.
    Archive(Box<dyn AsyncRead + Send + Unpin>),
    /// An address: of an archive, of a Dockerfile, or of a git repository.
    Remote(String),
    /// A folder that a client's session is asked for.
    Folder(BoxFuture<'static, Result<Local, BuildError>>),
}

/// The client of a classic build: it has said all it has to say. It has no secrets and no agents.
#[derive(Clone, Debug, Default)]
pub(super) struct Uploaded {
    /// What it sent; nothing where the context is elsewhere.
    pub(super) files: Option<Local>,
    pub(super) credentials: BTreeMap<String, Credentials>,
}

impl Client for Uploaded {
    fn credentials<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Option<Credentials>> {
        Box::pin(async { self.credentials.get(domain).cloned() })
    }

    fn secret<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BuildError>> {
        Box::pin(async { Ok(None) })
    }

    fn agent<'a>(
        &'a self,
        _: &'a str,
        _: &'a Path,
    ) -> BoxFuture<'a, Result<Option<AbortOnDropHandle<()>>, BuildError>> {
        Box::pin(async { Ok(None) })
    }

    fn local<'a>(
        &'a self,
        wanted: &'a LocalRequest,
        _: watch::Sender<u64>,
    ) -> BoxFuture<'a, Result<Local, BuildError>> {
        let files = self.files.clone();
        Box::pin(async {
            let missing =
                || BuildError::Failed(format!("no local sources enabled: {}", wanted.name));
            files.ok_or_else(missing)
        })
    }
}

/// What a build begins with.
pub(super) struct Context {
    /// The Dockerfile.
    pub(super) text: String,
    /// Where the files are, if the client did not send them.
    pub(super) remote: Option<Remote>,
}

impl Context {
    /// The Dockerfile at `path` among the files that the client sent.
    ///
    /// # Errors
    /// If there is none, or it is none.
    pub(super) fn sent(files: &Local, path: &str) -> Result<Self, BuildError> {
        let root = Root::open(&files.folder)
            .map_err(SolveError::io("open the folder of the build context"))?;
        let (name, text) = dockerfile(&root, path)?;
        hide(&root, &name)?;
        Ok(Self { text, remote: None })
    }

    /// Fetches what is at an address.
    ///
    /// # Errors
    /// If it cannot be had, or has no Dockerfile.
    pub(super) async fn fetch(job: &Job, address: &str, path: &str) -> Result<Self, BuildError> {
        let Some(source) = remote_source(address, false) else {
            let address = fetch::redacted(address);
            let text = format!("remoteURL ({address}) could not be recognized as URL");
            return Err(BuildError::Failed(text));
        };
        let (remote, tree) = Remote::open(job, source).await?;
        let path = match remote.is_file() {
            true => "context".to_owned(),
            false => path.to_owned(),
        };
        let owner = job.clone();
        let read = blocking(move || {
            let tree = tree.tree(&owner)?;
            Ok(dockerfile(&tree.root, &path))
        });
        let (_, text) = read.await??;
        Ok(Self {
            text,
            remote: Some(remote),
        })
    }
}

/// The Dockerfile at `path` (`Dockerfile`, or `dockerfile` where that is missing, if it is empty): its name and text.
fn dockerfile(root: &Root, path: &str) -> Result<(String, String), BuildError> {
    let names: &[&str] = match path {
        "" => &["Dockerfile", "dockerfile"],
        path => &[path],
    };
    let found =
        names.iter().find_map(
            |name| match root.read_small(Path::new(name), MAX_DOCKERFILE) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some((*name, other)),
            },
        );
    let first = names.first().copied().unwrap_or_default();
    if escapes(Path::new(path)) {
        return Err(forbidden(path));
    }
    let Some((name, bytes)) = found else {
        return Err(BuildError::Failed(format!(
            "Cannot locate specified Dockerfile: {first}"
        )));
    };
    let bytes = bytes.map_err(|error| {
        let reason = match wharf_builder::transfer::is_folder(root, Path::new(name)) {
            true => format!("read {name}: is a directory"),
            false => error.to_string(),
        };
        BuildError::Failed(format!("unexpected error reading Dockerfile: {reason}"))
    })?;
    if bytes.is_empty() {
        return Err(BuildError::Invalid(format!(
            "the Dockerfile ({name}) cannot be empty"
        )));
    }
    let text = String::from_utf8(bytes);
    let text =
        text.map_err(|_| BuildError::Invalid(format!("the Dockerfile ({name}) is not UTF-8")))?;
    Ok((name.to_owned(), text))
}

/// Whether a path of the context leads out of it by its words.
pub(super) fn escapes(path: &Path) -> bool {
    let mut depth = 0_usize;
    for part in path.strip_prefix("/").unwrap_or(path).components() {
        match part {
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            Component::Normal(_) => depth += 1,
            _ => {}
        }
    }
    false
}

/// What the classic builder says of a path that leads out of the context, or into a circle of links.
pub(super) fn forbidden(path: &str) -> BuildError {
    BuildError::Failed(format!(
        "forbidden path outside the build context: {path} ()"
    ))
}

/// Takes away what the client had to send though `.dockerignore` excludes it.
fn hide(root: &Root, dockerfile: &str) -> Result<(), BuildError> {
    let list = match root.read_small(Path::new(".dockerignore"), MAX_DOCKERFILE) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => return Ok(()),
    };
    let ignore = Ignore::parse(&list)
        .map_err(|error| BuildError::Invalid(format!("error reading .dockerignore: {error}")))?;
    for name in [".dockerignore", dockerfile] {
        if ignore.ignores(name) {
            unlink(root, Path::new(name));
        }
    }
    Ok(())
}

fn unlink(root: &Root, path: &Path) {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    let folder = root.find(parent.unwrap_or(Path::new(".")));
    if let (Ok(folder), Some(name)) = (folder, path.file_name()) {
        // What cannot be taken away is only there to be copied.
        let _ = unlinkat(&folder, name, AtFlags::empty());
    }
}
