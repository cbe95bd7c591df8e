//! What a build asks of its client while it goes on.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use futures_util::future::BoxFuture;
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
