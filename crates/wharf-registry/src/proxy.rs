//! A cache of another registry: what is not here is fetched there, handed on while it comes, and kept.
//!
//! A tag is looked up there each time (by `HEAD`, which Docker Hub does not count), and answered from here when the other
//! registry cannot be reached.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use tokio::sync::mpsc;
use wharf_distribution::{
    Blob, BlobEvent, Client, Config, Credentials, RegistryError, RegistryErrorKind, Source,
};
use wharf_oci::{Descriptor, Digest, Reference};

use crate::Error;
use crate::config::ProxySettings;
use crate::http::{Answer, Body, Context, described};
use crate::names::{Name, Which};
use crate::notify::{Event, Verb};
use crate::registry::blocking;
use crate::store::{Referrer, Store, Stored};

/// Pieces of a blob that wait for a client.
const AHEAD: usize = 16;
/// Blobs that are fetched at the same time.
const DOWNLOADS: usize = 64;

/// The other registry.
pub(crate) struct Proxy {
    client: Client,
    host: String,
    credentials: Option<Credentials>,
    ttl: Option<Duration>,
    store: Arc<Store>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// # Errors
    /// [`Error::Config`] if the address is none.
    pub(crate) fn new(settings: ProxySettings, store: Arc<Store>) -> Result<Proxy, Error> {
        let insecure = settings.is_plain.then(|| settings.host.clone());
        let client = Client::new(Config {
            insecure: insecure.into_iter().collect(),
            max_concurrent_downloads: DOWNLOADS,
            retry_delay: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(10),
            ..Config::default()
        })?;
        // The hub's address is not its name.
        let host = match settings.host.as_str() {
            "registry-1.docker.io" | "index.docker.io" => "docker.io".to_owned(),
            host => host.to_owned(),
        };
        Ok(Proxy {
            client,
            host,
            credentials: settings.credentials,
            ttl: settings.ttl,
            store,
        })
    }

    fn source(&self, name: &Name) -> Result<Source, Error> {
        let reference = Reference::parse_normalized(&format!("{}/{name}", self.host))
            .map_err(|_| Error::NameInvalid(name.to_string()))?;
        Ok(self
            .client
            .pull_source(&reference, self.credentials.as_ref())?)
    }

    /// A manifest, from here or from there.
    ///
    /// # Errors
    /// [`Error::ManifestUnknown`] if neither has it, or why it cannot be had.
    pub(crate) async fn manifest(
        &self,
        context: &Context,
        name: &Name,
        which: &Which,
    ) -> Result<Arc<Stored>, Error> {
        let store = &context.shared.store;
        let here = async |which: &Which| {
            let (store, name, which) = (store.clone(), name.clone(), which.clone());
            blocking(move || store.manifest(&name, &which)).await
        };
        let source = self.source(name)?;
        let digest = match which {
            Which::Digest(digest) => Some(*digest),
            Which::Tag(tag) => match self.client.manifest_digest(&source, tag).await {
                Ok(digest) => digest,
                Err(error) => return self.or_here(error, here(which).await, which),
            },
        };
        if let Some(digest) = digest
            && let Ok(stored) = here(&Which::Digest(digest)).await
        {
            self.tag(name, which, &stored).await?;
            return Ok(stored);
        }
        let text = which.to_string();
        let raw = match self
            .client
            .raw_manifest(&source, &text, digest.as_ref())
            .await
        {
            Ok(raw) => raw,
            Err(error) => return self.or_here(error, here(which).await, which),
        };
        let (store, of, by) = (store.clone(), name.clone(), which.clone());
        blocking(move || {
            let put = store.keep_manifest(&of, &by, &raw.bytes, &raw.descriptor.media_type)?;
            store.manifest(&of, &Which::Digest(put.digest))
        })
        .await
    }

    /// Sets a tag here to what it means there.
    async fn tag(&self, name: &Name, which: &Which, stored: &Arc<Stored>) -> Result<(), Error> {
        let Which::Tag(tag) = which else {
            return Ok(());
        };
        let (store, name, tag, stored) = (
            self.store.clone(),
            name.clone(),
            tag.clone(),
            stored.clone(),
        );
        blocking(move || {
            if store.resolve(&name, &tag)? == Some(stored.digest) {
                return Ok(());
            }
            let media_type = stored.media_type.to_str().unwrap_or_default();
            store
                .keep_manifest(&name, &Which::Tag(tag), &stored.bytes, media_type)
                .map(drop)
        })
        .await
    }

    /// What is here will do if the other registry is away; not if it says no.
    fn or_here(
        &self,
        error: RegistryError,
        here: Result<Arc<Stored>, Error>,
        which: &Which,
    ) -> Result<Arc<Stored>, Error> {
        match (refused(&error), here) {
            (None, Ok(stored)) => {
                tracing::warn!(%error, "answered from the cache");
                Ok(stored)
            }
            (Some(RegistryErrorKind::NotFound), _) => {
                Err(Error::ManifestUnknown(which.to_string()))
            }
            _ => Err(error.into()),
        }
    }

    /// Size of a blob there, in bytes.
    ///
    /// # Errors
    /// [`Error::BlobUnknown`], or why it cannot be had.
    pub(crate) async fn blob_size(&self, name: &Name, digest: Digest) -> Result<u64, Error> {
        let size = self.client.blob_size(&self.source(name)?, &digest).await?;
        size.ok_or(Error::BlobUnknown(digest))
    }

    /// A blob from there, kept here while it goes to the client.
    ///
    /// # Errors
    /// As [`Proxy::blob_size`].
    pub(crate) async fn blob(
        &self,
        context: &Context,
        name: &Name,
        digest: Digest,
    ) -> Result<Answer, Error> {
        let size = self.blob_size(name, digest).await?;
        let descriptor = Descriptor::new("application/octet-stream", digest, size);
        let slot = self.client.slot().await;
        let blob = self.client.blob(&self.source(name)?, &descriptor, 0, slot);
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(fetch(
            self.store.clone(),
            name.clone(),
            digest,
            blob,
            sender,
        ));
        context.shared.metrics.sent(size);
        context
            .shared
            .notify(context, || Event::blob(Verb::Pull, name, digest, size));
        let answer = described(StatusCode::OK, digest, &format!("\"{digest}\""));
        Ok(answer
            .with(CONTENT_LENGTH, size)
            .with_body(Body::pieces(receiver)))
    }

    /// Tags of a repository there; those that are here if the other registry is away.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub(crate) async fn tags(&self, name: &Name) -> Result<Vec<String>, Error> {
        let reference = Reference::parse_normalized(&format!("{}/{name}", self.host))
            .map_err(|_| Error::NameInvalid(name.to_string()))?;
        let listed = self
            .client
            .tags(&reference, self.credentials.as_ref())
            .await;
        match listed.map_err(|error| (refused(&error), error)) {
            Ok(mut tags) => {
                tags.sort_unstable();
                Ok(tags)
            }
            Err((Some(RegistryErrorKind::NotFound), _)) => {
                Err(Error::NameUnknown(name.to_string()))
            }
            Err((None, error)) => {
                let (store, of) = (self.store.clone(), name.clone());
                let here = blocking(move || store.tags(&of)).await?;
                if here.is_empty() {
                    return Err(error.into());
                }
                tracing::warn!(%error, "answered from the cache");
                Ok(here)
            }
            Err((_, error)) => Err(error.into()),
        }
    }

    /// What is about a manifest there; what is known of it here if the other registry is away.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn referrers(
        &self,
        name: &Name,
        subject: Digest,
    ) -> Result<Vec<Referrer>, Error> {
        let listed = self
            .client
            .listed_referrers(&self.source(name)?, &subject)
            .await;
        match listed.map_err(|error| (refused(&error), error)) {
            Ok(listed) => {
                let mut all: Vec<Referrer> = listed.into_iter().map(Referrer::from).collect();
                all.sort_unstable_by_key(|one| one.digest);
                all.dedup_by_key(|one| one.digest);
                Ok(all)
            }
            Err((None, error)) => {
                tracing::warn!(%error, "answered from the cache");
                let (store, of) = (self.store.clone(), name.clone());
                blocking(move || store.referrers(&of, &subject)).await
            }
            Err((_, error)) => Err(error.into()),
        }
    }

    /// Deletes manifests that were fetched too long ago; their blobs go with the next collection.
    ///
    /// # Errors
    /// The system's.
    pub(crate) async fn expire(&self) -> Result<(), Error> {
        let Some(ttl) = self.ttl else {
            return Ok(());
        };
        let store = self.store.clone();
        blocking(move || store.expire_manifests(ttl)).await
    }
}

/// What the other registry says, if it was reached.
fn refused(error: &RegistryError) -> Option<RegistryErrorKind> {
    match error {
        RegistryError::Unreachable { .. } => None,
        error if error.is_transient() => None,
        error => Some(error.kind()),
    }
}

/// Brings a blob here, and its pieces to a client. The one goes on without the other: who goes away loses the cache
/// nothing, and a full disk loses the client nothing.
async fn fetch(
    store: Arc<Store>,
    name: Name,
    digest: Digest,
    mut blob: Blob,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    let begun = {
        let (store, name) = (store.clone(), name.clone());
        blocking(move || store.begin_upload(&name, digest.algorithm())).await
    };
    let mut upload = begun
        .inspect_err(|error| tracing::error!(%error, "keep a blob"))
        .ok();
    loop {
        let piece = match blob.next().await {
            Ok(Some(BlobEvent::Data(piece))) => piece,
            Ok(Some(BlobEvent::Retrying(_))) => continue,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(%error, %digest, "fetch a blob");
                let _ = sender.send(Err(std::io::Error::other(error))).await;
                if let Some(upload) = upload {
                    let _ = blocking(move || store.drop_upload(&upload.name, &upload.id)).await;
                }
                return;
            }
        };
        let is_wanted = sender.send(Ok(piece.clone())).await.is_ok();
        upload = match upload {
            Some(upload) => keep(store.clone(), upload, piece).await,
            None if !is_wanted => return,
            None => None,
        };
    }
    if let Some(mut upload) = upload {
        let kept = blocking(move || {
            store.finish_upload(&mut upload, &digest).inspect_err(|_| {
                let _ = store.drop_upload(&upload.name, &upload.id);
            })
        });
        if let Err(error) = kept.await {
            tracing::error!(%error, %digest, "keep a blob");
        }
    }
}

/// Takes the next piece in; gives the upload up if that fails.
async fn keep(
    store: Arc<Store>,
    mut upload: crate::store::Upload,
    piece: Bytes,
) -> Option<crate::store::Upload> {
    let kept = blocking(move || match store.append(&mut upload, &[piece]) {
        Ok(()) => Ok(upload),
        Err(error) => {
            let _ = store.drop_upload(&upload.name, &upload.id);
            Err(error)
        }
    });
    kept.await
        .inspect_err(|error| tracing::error!(%error, "keep a blob"))
        .ok()
}
