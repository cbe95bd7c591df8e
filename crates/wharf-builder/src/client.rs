//! What a build asks of its client while it goes on.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::io::AsyncRead;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use wharf_distribution::Credentials;
use wharf_oci::{Descriptor, Digest};

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

    /// A blob of one of the client's content stores. Whether it is what its digest says is for who reads it to see.
    ///
    /// # Errors
    /// If the client cannot be asked, or has no such store or blob.
    fn blob<'a>(
        &'a self,
        place: &'a StorePlace,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Upload, BuildError>> {
        let text = format!("no content store {}: {digest}", place.store);
        Box::pin(async { Err(BuildError::NotFound(text)) })
    }

    /// Writes a blob into one of the client's content stores, unless it is there.
    ///
    /// # Errors
    /// If the client cannot be asked, or does not take it.
    fn keep_blob<'a>(
        &'a self,
        place: &'a StorePlace,
        blob: &'a Descriptor,
        data: Upload,
    ) -> BoxFuture<'a, Result<(), BuildError>> {
        let _ = data;
        let text = format!("no content store {}: {}", place.store, blob.digest);
        Box::pin(async { Err(BuildError::NotFound(text)) })
    }
}

/// A content store of a client's: an OCI layout on its disk, or a folder with a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorePlace {
    /// The session it is in; empty for that of who builds.
    pub session: String,
    /// What the client calls it (`local:<folder>`, `oci:<id>`, `export`).
    pub store: String,
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
