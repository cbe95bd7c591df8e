//! The places that a repository can be had from, in the order in which they are asked.

use std::sync::{Arc, Mutex, PoisonError};

use http::Uri;

use crate::answer::RegistryAnswer;
use crate::challenge::{self, Challenge};
use crate::config::mirror_uri;
use crate::http_client::{AnsweredBy, Call, Http};
use crate::{Config, RegistryError};

/// Docker Hub's name in references, and the host that answers for it.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// A registry or a mirror.
pub(crate) struct Endpoint {
    /// Base addresses to try, without a slash at the end: HTTPS, then HTTP if the host may be insecure.
    bases: Vec<String>,
    /// A mirror is not given the credentials of what it mirrors.
    pub(crate) is_mirror: bool,
    reached: Mutex<Option<Arc<Reached>>>,
}

/// What a ping found out.
pub(crate) struct Reached {
    /// The base address that answered.
    pub(crate) base: String,
    /// What it wants to see, if anything.
    pub(crate) challenge: Option<Challenge>,
}

impl Endpoint {
    /// All endpoints for a reference's domain.
    pub(crate) fn all(config: &Config, domain: &str) -> Result<Vec<Endpoint>, RegistryError> {
        let mut all = Vec::new();
        if domain == HUB {
            for mirror in &config.mirrors {
                let uri = mirror_uri(mirror)?;
                all.push(Endpoint::new(vec![uri.to_string()], true));
            }
        }
        let host = if domain == HUB { HUB_HOST } else { domain };
        let mut bases = vec![format!("https://{host}")];
        if config.plain_http && config.is_insecure(host) {
            bases.push(format!("http://{host}"));
        }
        all.push(Endpoint::new(bases, false));
        Ok(all)
    }

    /// A mirror at `[http[s]://]HOST[:PORT]`.
    pub(crate) fn mirror(config: &Config, base: &str) -> Endpoint {
        if base.contains("://") {
            return Endpoint::new(vec![base.to_owned()], true);
        }
        let mut bases = vec![format!("https://{base}")];
        if config.plain_http && config.is_insecure(base) {
            bases.push(format!("http://{base}"));
        }
        Endpoint::new(bases, true)
    }

    fn new(bases: Vec<String>, is_mirror: bool) -> Endpoint {
        let bases = bases
            .into_iter()
            .map(|base| base.trim_end_matches('/').to_owned())
            .collect();
        Endpoint {
            bases,
            is_mirror,
            reached: Mutex::new(None),
        }
    }

    /// Pings the registry, once while it stays reachable.
    pub(crate) async fn reach(&self, http: &Http) -> Result<Arc<Reached>, RegistryError> {
        if let Some(reached) = &*self.lock() {
            return Ok(reached.clone());
        }
        let mut last = None;
        for base in &self.bases {
            match ping(http, base).await {
                Ok(challenge) => {
                    let reached = Arc::new(Reached {
                        base: base.clone(),
                        challenge,
                    });
                    *self.lock() = Some(reached.clone());
                    return Ok(reached);
                }
                // Only a transport that failed is a reason for the next one.
                Err(error @ RegistryError::Unreachable { .. }) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| RegistryError::Config("no registry endpoint".to_owned())))
    }

    /// Forgets what a ping found out, because a later request could not connect.
    pub(crate) fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Reached>>> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ping(http: &Http, base: &str) -> Result<Option<Challenge>, RegistryError> {
    let uri: Uri = format!("{base}/v2/")
        .parse()
        .map_err(|_| RegistryError::Config(format!("invalid registry address {base:?}")))?;
    let call = Call::get(uri);
    let response = http.send(&call).await?;
    match response.status().as_u16() {
        200..300 => Ok(None),
        401 => {
            // Where a redirect led to is not asked who may see the credentials.
            let answered = response.extensions().get::<AnsweredBy>();
            let ours = answered.is_some_and(|by| by.0.host() == call.uri.host());
            let offered = challenge::parse(response.headers()).into_iter().next();
            Ok(offered.filter(|_| ours))
        }
        _ => Err(RegistryAnswer::read(http, &call.uri, response)
            .await?
            .into_error()),
    }
}
