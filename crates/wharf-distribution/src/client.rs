//! The client: endpoints by domain, requests with authentication, the limit of concurrent downloads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::header::AUTHORIZATION;
use http::{Response, Uri};
use hyper::body::Incoming;
use wharf_oci::Reference;

use crate::auth::Tokens;
use crate::challenge::{self, Challenge};
use crate::endpoint::Endpoint;
use crate::http_client::{AnsweredBy, Call, Http, same_server};
use crate::mirrors;
use crate::slot::{Limit, Slot};
use crate::warnings::Warnings;
use crate::{Config, Credentials, RegistryError};

/// A client for all registries. Cheap to clone; clones share connections, tokens and the limits of transfers.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) http: Http,
    tokens: Tokens,
    endpoints: Mutex<HashMap<String, Arc<Vec<Arc<Endpoint>>>>>,
    /// Of the setting `registries`, by base address.
    mirrors: Mutex<HashMap<String, Arc<Endpoint>>>,
    downloads: Arc<Limit>,
    uploads: Arc<Limit>,
}

/// Where an image was found and its blobs will be asked for.
#[derive(Clone)]
pub struct Source {
    pub(crate) endpoint: Arc<Endpoint>,
    pub(crate) reference: Reference,
    /// The repository's path there; a mirror may have it at another one.
    pub(crate) repository: String,
    pub(crate) credentials: Option<Credentials>,
    /// What a token is asked for: scopes of the token specification, with spaces between them.
    pub(crate) scope: String,
    /// What the registry warned of.
    pub(crate) warnings: Warnings,
}

impl Source {
    /// What the registry wants the user to know, since this was asked last; each text once.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }
}

impl Client {
    /// A client; nothing is connected to yet.
    ///
    /// # Errors
    /// [`RegistryError::Config`] if a mirror or an insecure registry is malformed.
    pub fn new(config: Config) -> Result<Client, RegistryError> {
        config.validate()?;
        let downloads = Limit::new(config.max_concurrent_downloads);
        let uploads = Limit::new(config.max_concurrent_uploads);
        Ok(Client(Arc::new(Inner {
            http: Http::new(config),
            tokens: Tokens::default(),
            endpoints: Mutex::new(HashMap::new()),
            mirrors: Mutex::new(HashMap::new()),
            downloads,
            uploads,
        })))
    }

    /// The right to run one download, if there is one left now.
    pub fn try_slot(&self) -> Option<Slot> {
        self.0.downloads.try_slot()
    }

    /// The right to run one download, as soon as there is one.
    pub async fn slot(&self) -> Slot {
        self.0.downloads.slot().await
    }

    /// The right to run one upload, as soon as there is one.
    pub async fn upload_slot(&self) -> Slot {
        self.0.uploads.slot().await
    }

    /// Whether somebody waits for a download's slot.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.0.downloads.is_waited_for()
    }

    /// The places for a reference, mirrors first.
    pub(crate) fn sources(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<Source>, RegistryError> {
        let source = |endpoint: &Arc<Endpoint>, repository: &str| Source {
            endpoint: endpoint.clone(),
            reference: reference.clone(),
            repository: repository.to_owned(),
            credentials: credentials.filter(|_| !endpoint.is_mirror).cloned(),
            scope: format!("repository:{repository}:pull"),
            warnings: Warnings::default(),
        };
        let places = mirrors::places(&self.0.http.config().registries, reference);
        let mirrors = places
            .iter()
            .map(|place| source(&self.mirror(&place.base), &place.repository));
        let mut sources: Vec<Source> = mirrors.collect();
        let endpoints = self.endpoints(reference.domain())?;
        let own = endpoints.iter();
        sources.extend(own.map(|endpoint| source(endpoint, reference.path())));
        Ok(sources)
    }

    /// The mirror at a base address; known ones are not asked again whether they are there.
    fn mirror(&self, base: &str) -> Arc<Endpoint> {
        let mut known = self
            .0
            .mirrors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Endpoint::mirror(self.0.http.config(), base));
        known.entry(base.to_owned()).or_insert_with(new).clone()
    }

    /// The places to fetch more of a known image from, mirrors first; without credentials.
    ///
    /// # Errors
    /// [`RegistryError::Config`] if the registry's name is no host.
    pub fn pull_sources(&self, reference: &Reference) -> Result<Vec<Source>, RegistryError> {
        self.sources(reference, None)
    }

    /// Where an image is pushed to: the registry itself, with the right to write, and to read the repositories that
    /// layers may be taken over from.
    ///
    /// # Errors
    /// [`RegistryError::Config`] if the registry's name is no host.
    pub fn push_target(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
        mounts: &[String],
    ) -> Result<Source, RegistryError> {
        let mut sources = self.sources(reference, credentials)?;
        let mut target = sources
            .pop()
            .ok_or_else(|| RegistryError::Config("no registry endpoint".to_owned()))?;
        target.scope = format!("repository:{}:pull,push", reference.path());
        for from in mounts {
            target.scope.push_str(&format!(" repository:{from}:pull"));
        }
        Ok(target)
    }

    pub(crate) fn endpoints(&self, domain: &str) -> Result<Arc<Vec<Arc<Endpoint>>>, RegistryError> {
        let mut known = self
            .0
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoints) = known.get(domain) {
            return Ok(endpoints.clone());
        }
        let endpoints = Endpoint::all(self.0.http.config(), domain)?;
        let endpoints = Arc::new(endpoints.into_iter().map(Arc::new).collect::<Vec<_>>());
        known.insert(domain.to_owned(), endpoints.clone());
        Ok(endpoints)
    }

    /// The address of `/v2/<repository>/<rest>` at the source.
    pub(crate) async fn address(&self, source: &Source, rest: &str) -> Result<Uri, RegistryError> {
        let reached = source.endpoint.reach(&self.0.http).await?;
        let text = format!("{}/v2/{}/{rest}", reached.base, source.repository);
        text.parse().map_err(|_| RegistryError::Protocol {
            url: text.clone(),
            message: "not an address".to_owned(),
        })
    }

    /// Sends a call with the authentication that the registry wants; once more if what we had was refused.
    pub(crate) async fn send(
        &self,
        source: &Source,
        mut call: Call,
    ) -> Result<Response<Incoming>, RegistryError> {
        let reached = source.endpoint.reach(&self.0.http).await?;
        let scope = &source.scope;
        // An upload may go to another host than the registry's, and that one gets no credentials.
        let base = reached.base.parse::<Uri>().ok();
        let is_ours = |uri: &Uri| base.as_ref().is_some_and(|base| same_server(base, uri));
        let ours = is_ours(&call.uri);
        let mut challenge = reached.challenge.clone().filter(|_| ours);
        let mut fresh = false;
        loop {
            call.headers.remove(AUTHORIZATION);
            if let Some(challenge) = &challenge {
                let credentials = source.credentials.as_ref();
                let value = self
                    .0
                    .tokens
                    .authorization(&self.0.http, challenge, scope, credentials, fresh)
                    .await?;
                call.headers
                    .extend(value.map(|value| (AUTHORIZATION, value)));
            }
            let response = self.0.http.send(&call).await.inspect_err(|error| {
                if matches!(error, RegistryError::Unreachable { .. }) {
                    source.endpoint.forget();
                }
            })?;
            // A store that a redirect led to does not say either who may see the credentials.
            let answered = response.extensions().get::<AnsweredBy>();
            let ours = answered.is_some_and(|by| is_ours(&by.0));
            if ours {
                source.warnings.note(response.headers());
            }
            if fresh || !ours || response.status().as_u16() != 401 {
                return Ok(response);
            }
            let Some(offered) = challenge::parse(response.headers()).into_iter().next() else {
                return Ok(response);
            };
            if offered == Challenge::Basic && source.credentials.is_none() {
                return Err(RegistryError::Unauthorized {
                    method: call.verb(),
                    url: call.uri.to_string(),
                    cause: "no basic auth credentials".to_owned(),
                });
            }
            challenge = Some(offered);
            fresh = true;
        }
    }
}
