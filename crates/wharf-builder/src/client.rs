//! What a build asks of its client while it goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wharf_distribution::Credentials;

use crate::BuildError;

/// Who has the secrets of a build.
pub trait Client: Debug + Send + Sync {
    /// The way into the registry of this domain.
    fn credentials<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Option<Credentials>>;

    /// The secret of this id; `None` if there is none.
    ///
    /// # Errors
    /// If the client cannot be asked.
    fn secret<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BuildError>>;

    /// Serves the ssh agent of this id on a socket at `path`, for as long as the handle lives; `None` if there is none.
    ///
    /// # Errors
    /// If the client cannot be asked, or the socket not be made.
    fn agent<'a>(
        &'a self,
        id: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Option<AbortOnDropHandle<()>>, BuildError>>;

    /// Files of the client's. `told` is told how many bytes have come.
    ///
    /// # Errors
    /// If the client cannot be asked, or has no files of this name.
    fn local<'a>(
        &'a self,
        wanted: &'a LocalRequest,
        told: watch::Sender<u64>,
    ) -> BoxFuture<'a, Result<Local, BuildError>> {
        let _ = told;
        let text = format!("no local sources enabled: {}", wanted.name);
        Box::pin(async { Err(BuildError::Failed(text)) })
    }

    /// What the client has on its standard input, under this id.
    ///
    /// # Errors
    /// If the client cannot be asked, or has nothing there.
    fn upload<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Upload, BuildError>> {
        let text = format!("no upload {id}");
        Box::pin(async { Err(BuildError::Failed(text)) })
    }
}

/// An archive that a client sends.
pub type Upload = Box<dyn AsyncRead + Send + Unpin>;

/// Which files of the client's are wanted (`fsutil`'s and `filesync`'s words).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalRequest {
    /// What the client calls them: `context`, `dockerfile`, a named context.
    pub name: String,
    /// Patterns of what is wanted; everything if there are none.
    pub include: Vec<String>,
    /// Patterns of what is not.
    pub exclude: Vec<String>,
    /// Paths that are wanted with what their links lead to.
    pub follow: Vec<String>,
    /// What may be compared with what an earlier build sent under the same hint.
    pub shared_key_hint: String,
    /// The session they are in, if the definition names one.
    pub session: String,
}

/// Files that a client sent. They do not change while a clone of this lives.
#[derive(Clone, Debug)]
pub struct Local {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// What keeps them there.
    pub keep: Arc<dyn Debug + Send + Sync>,
}

/// A client that has said all it has to say: credentials by registry domain, no secrets and no agents.
#[derive(Clone, Debug, Default)]
pub struct Silent(pub BTreeMap<String, Credentials>);

impl Client for Silent {
    fn credentials<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Option<Credentials>> {
        Box::pin(async { self.0.get(domain).cloned() })
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
}
