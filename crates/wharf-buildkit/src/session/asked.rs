//! What a build asks its client for: secrets, agents and credentials.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
use bollard_buildkit_proto::moby::sshforward::v1::CheckAgentRequest;
use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic::Code;
use wharf_builder::{BuildError, Client, Local, LocalRequest, StorePlace, Upload};
use wharf_distribution::Credentials;
use wharf_oci::{Descriptor, Digest};
use wharf_solver::Solver;

use super::{Channel, Contexts, Local as Wanted, Session, Sessions, Store, agent, origin};
use crate::error::Error;
use crate::service::Kit;

const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CREDENTIALS: &str = "/moby.filesync.v1.Auth/Credentials";
const AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
/// The largest secret (BuildKit's).
const LARGEST_SECRET: usize = 500 << 10;

/// A session that is asked, when it is: a build may end without a word to it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    sessions: Sessions,
    /// The session's id.
    id: String,
    contexts: Contexts,
    /// Who has a place for its files.
    solver: Solver,
    /// What came with the request for the build.
    body: Body,
}

/// An upload that is read once.
#[derive(Clone, Default)]
struct Body(Arc<Mutex<Option<Upload>>>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

/// The name of the request's body among uploads.
pub(crate) const BODY: &str = "request-body";

impl Asked {
    /// The session of that id, by what `kit` has.
    pub(crate) fn new(kit: &Kit, id: &str) -> Self {
        Self {
            sessions: kit.sessions.clone(),
            id: id.to_owned(),
            contexts: kit.contexts.clone(),
            solver: kit.solver.clone(),
            body: Body::default(),
        }
    }

    /// With what came with the request.
    pub(crate) fn with(mut self, body: Option<Upload>) -> Self {
        self.body = Body(Arc::new(Mutex::new(body)));
        self
    }

    async fn session(&self) -> Result<Arc<Session>, Error> {
        self.sessions.get(&self.id).await
    }

    /// The session that a definition names: it may be another than that of who sent it.
    async fn named(&self, id: &str) -> Result<Arc<Session>, Error> {
        match id {
            "" => self.session().await,
            id => self.sessions.get(id).await,
        }
    }

    async fn store(&self, place: &StorePlace) -> Result<Store, Error> {
        let session = self.named(&place.session).await?;
        Store::of(&session, &place.store)
    }

    /// A way to call the client's `method`; `None` if it has no such.
    async fn service(&self, method: &str) -> Result<Option<Channel>, BuildError> {
        if self.id.is_empty() {
            return Ok(None);
        }
        let session = self.session().await.map_err(failed)?;
        Ok(session.service(method).ok())
    }

    async fn files(&self, wanted: &LocalRequest, told: watch::Sender<u64>) -> Result<Local, Error> {
        let local = Wanted {
            name: wanted.name.clone(),
            purpose: wanted.shared_key_hint.clone(),
            include: wanted.include.clone(),
            exclude: wanted.exclude.clone(),
            follow: wanted.follow.clone(),
        };
        let session = self.named(&wanted.session).await?;
        let tell = move |bytes| {
            told.send_replace(bytes);
        };
        let aside = || Ok(self.solver.scratch()?);
        self.contexts.fetch(&session, &local, aside, tell).await
    }
}

fn failed(error: Error) -> BuildError {
    match error {
        Error::Client(status) if status.code() == Code::NotFound => {
            BuildError::NotFound(status.message().to_owned())
        }
        error => BuildError::Failed(error.to_string()),
    }
}

impl Client for Asked {
    fn credentials<'a>(&'a self, domain: &'a str) -> BoxFuture<'a, Option<Credentials>> {
        Box::pin(async move {
            let channel = self.service(CREDENTIALS).await.ok()??;
            // By this name clients know Docker Hub.
            let host = match domain {
                "docker.io" => "registry-1.docker.io",
                other => other,
            };
            let request = CredentialsRequest {
                host: host.to_owned(),
            };
            let mut client = AuthClient::with_origin(channel, origin());
            let answer = match client.credentials(request).await {
                Ok(answer) => answer.into_inner(),
                Err(error) => {
                    tracing::debug!(%error, domain, "ask for credentials");
                    return None;
                }
            };
            match (answer.username, answer.secret) {
                (_, secret) if secret.is_empty() => None,
                (username, secret) if username.is_empty() => Some(Credentials::Identity(secret)),
                (username, password) => Some(Credentials::Basic { username, password }),
            }
        })
    }

    fn secret<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, BuildError>> {
        Box::pin(async move {
            let Some(channel) = self.service(SECRET).await? else {
                return Ok(None);
            };
            let request = GetSecretRequest {
                id: id.to_owned(),
                ..GetSecretRequest::default()
            };
            let mut client = SecretsClient::with_origin(channel, origin());
            match client.get_secret(request).await {
                Ok(answer) => {
                    let data = answer.into_inner().data;
                    match data.len() > LARGEST_SECRET {
                        true => Err(BuildError::Failed(format!(
                            "invalid secret size {}",
                            data.len()
                        ))),
                        false => Ok(Some(data)),
                    }
                }
                Err(status) if status.code() == Code::NotFound => Ok(None),
                Err(status) => Err(BuildError::Failed(status.message().to_owned())),
            }
        })
    }

    fn agent<'a>(
        &'a self,
        id: &'a str,
        path: &'a Path,
    ) -> BoxFuture<'a, Result<Option<AbortOnDropHandle<()>>, BuildError>> {
        Box::pin(async move {
            let Some(channel) = self.service(AGENT).await? else {
                return Ok(None);
            };
            let request = CheckAgentRequest { id: id.to_owned() };
            let mut client = SshClient::with_origin(channel.clone(), origin());
            if client.check_agent(request).await.is_err() {
                return Ok(None);
            }
            agent::serve(channel, id, path).map(Some).map_err(failed)
        })
    }

    fn local<'a>(
        &'a self,
        wanted: &'a LocalRequest,
        told: watch::Sender<u64>,
    ) -> BoxFuture<'a, Result<Local, BuildError>> {
        Box::pin(async move { self.files(wanted, told).await.map_err(failed) })
    }

    fn upload<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Upload, BuildError>> {
        Box::pin(async move {
            if id == BODY {
                let body = self.body.0.lock();
                let body = body.unwrap_or_else(PoisonError::into_inner).take();
                return body.ok_or_else(|| BuildError::Failed("the context was read".to_owned()));
            }
            let session = self.session().await.map_err(failed)?;
            super::upload(&session, id).await.map_err(failed)
        })
    }
    fn blob<'a>(
        &'a self,
        place: &'a StorePlace,
        digest: &'a Digest,
    ) -> BoxFuture<'a, Result<Upload, BuildError>> {
        Box::pin(async move {
            let mut store = self.store(place).await.map_err(failed)?;
            let data = store.read(digest).await.map_err(failed)?;
            Ok(Box::new(data) as Upload)
        })
    }

    fn keep_blob<'a>(
        &'a self,
        place: &'a StorePlace,
        blob: &'a Descriptor,
        data: Upload,
    ) -> BoxFuture<'a, Result<(), BuildError>> {
        Box::pin(async move {
            let mut store = self.store(place).await.map_err(failed)?;
            store.write(blob, data).await.map_err(failed)
        })
    }
}
