//! Webhooks: what happened, in docker-registry's envelope, to each address in order. An address that fails is tried
//! again; what it cannot take for too long is dropped, and said so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use wharf_oci::Digest;

use crate::Error;
use crate::http::Context;
use crate::names::{Name, Which, uuid};
use crate::store::Stored;

const MEDIA_TYPE: HeaderValue =
    HeaderValue::from_static("application/vnd.docker.distribution.events.v1+json");
const BLOB: &str = "application/octet-stream";
/// Events that wait for an address that does not answer.
const QUEUE: usize = 10_000;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Push,
    Pull,
    Mount,
    Delete,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Verb::Push => "push",
            Verb::Pull => "pull",
            Verb::Mount => "mount",
            Verb::Delete => "delete",
        }
    }
}

/// Something that happened to a repository.
#[derive(Debug)]
pub(crate) struct Event {
    verb: Verb,
    name: Name,
    digest: Option<Digest>,
    media_type: String,
    size: u64,
    tag: Option<String>,
    from: Option<Name>,
    /// `manifests` or `blobs`.
    kind: &'static str,
}

impl Event {
    pub(crate) fn blob(verb: Verb, name: &Name, digest: Digest, size: u64) -> Event {
        Event {
            verb,
            name: name.clone(),
            digest: Some(digest),
            media_type: BLOB.to_owned(),
            size,
            tag: None,
            from: None,
            kind: "blobs",
        }
    }

    pub(crate) fn mounted(name: &Name, from: &Name, digest: Digest) -> Event {
        Event {
            from: Some(from.clone()),
            ..Event::blob(Verb::Mount, name, digest, 0)
        }
    }

    pub(crate) fn manifest(verb: Verb, name: &Name, stored: &Stored, tag: Option<&str>) -> Event {
        Event {
            media_type: stored.media_type.to_str().unwrap_or_default().to_owned(),
            tag: tag.map(str::to_owned),
            kind: "manifests",
            ..Event::blob(verb, name, stored.digest, stored.bytes.len() as u64)
        }
    }

    /// A tag or a manifest is gone.
    pub(crate) fn deleted(name: &Name, which: &Which, digest: Digest) -> Event {
        let (digest, tag) = match which {
            Which::Tag(tag) => (None, Some(tag.clone())),
            Which::Digest(_) => (Some(digest), None),
        };
        Event {
            digest,
            tag,
            media_type: String::new(),
            kind: "manifests",
            ..Event::blob(Verb::Delete, name, Digest::sha256(b""), 0)
        }
    }

    fn target(&self, base: &str) -> Value {
        let mut target = json!({ "repository": self.name.as_str() });
        if !self.media_type.is_empty() {
            target["mediaType"] = json!(self.media_type);
        }
        if let Some(digest) = &self.digest {
            target["digest"] = json!(digest);
            target["url"] = json!(format!("{base}/v2/{}/{}/{digest}", self.name, self.kind));
        }
        if self.size > 0 {
            target["size"] = json!(self.size);
            target["length"] = json!(self.size);
        }
        if let Some(tag) = &self.tag {
            target["tag"] = json!(tag);
        }
        if let Some(from) = &self.from {
            target["fromRepository"] = json!(from.as_str());
        }
        target
    }
}

/// An address that wants to know.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
    /// So many failures in a row, and it is left alone for `backoff`.
    pub(crate) threshold: u32,
    pub(crate) backoff: Duration,
    /// Media types and actions that it does not want to hear of.
    pub(crate) ignored_types: Vec<String>,
    pub(crate) ignored_actions: Vec<String>,
}

impl Endpoint {
    fn wants(&self, event: &Event) -> bool {
        !self.ignored_types.contains(&event.media_type)
            && !self
                .ignored_actions
                .iter()
                .any(|action| action == event.verb.as_str())
    }
}

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The queues, one for each address.
#[derive(Debug)]
pub(crate) struct Notifier {
    queues: Vec<(Arc<Endpoint>, mpsc::Sender<Bytes>)>,
    source: Value,
}

impl Notifier {
    /// Starts a task for each address. They end when `stop` says so, or the notifier goes.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no TLS.
    pub(crate) fn start(
        endpoints: Vec<Endpoint>,
        addr: &str,
        stop: &watch::Receiver<bool>,
    ) -> Result<Notifier, Error> {
        let mut queues = Vec::new();
        if !endpoints.is_empty() {
            let connector = hyper_rustls::HttpsConnectorBuilder::new()
                .with_tls_config(crate::tls::client()?)
                .https_or_http()
                .enable_http1()
                .build();
            let http: Http = Client::builder(TokioExecutor::new()).build(connector);
            for endpoint in endpoints {
                let (sender, receiver) = mpsc::channel(QUEUE);
                let endpoint = Arc::new(endpoint);
                tokio::spawn(deliver(
                    endpoint.clone(),
                    http.clone(),
                    receiver,
                    stop.clone(),
                ));
                queues.push((endpoint, sender));
            }
        }
        Ok(Notifier {
            queues,
            source: json!({ "addr": addr, "instanceID": uuid() }),
        })
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queues.is_empty()
    }

    /// Queues an event for all who want it.
    pub(crate) fn send(&self, event: &Event, context: &Context) {
        let host = context.header(HOST);
        let scheme = if context.is_tls { "https" } else { "http" };
        let document = json!({ "events": [{
            "id": uuid(),
            "timestamp": jiff::Timestamp::now().to_string(),
            "action": event.verb.as_str(),
            "target": event.target(&format!("{scheme}://{host}")),
            "request": {
                "id": uuid(),
                "addr": context.peer,
                "host": host,
                "method": context.method.as_str(),
                "useragent": context.header(USER_AGENT),
            },
            "actor": match &context.caller.name {
                Some(name) => json!({ "name": name }),
                None => json!({}),
            },
            "source": self.source,
        }] });
        let bytes = Bytes::from(document.to_string());
        for (endpoint, queue) in self
            .queues
            .iter()
            .filter(|(endpoint, _)| endpoint.wants(event))
        {
            if queue.try_send(bytes.clone()).is_err() {
                tracing::error!(
                    endpoint = endpoint.name,
                    "a notification is dropped: {QUEUE} wait already"
                );
            }
        }
    }
}

async fn deliver(
    endpoint: Arc<Endpoint>,
    http: Http,
    mut queue: mpsc::Receiver<Bytes>,
    mut stop: watch::Receiver<bool>,
) {
    let mut failures = 0;
    while let Some(bytes) = queue.recv().await {
        loop {
            match post(&endpoint, &http, bytes.clone()).await {
                Ok(()) => {
                    failures = 0;
                    break;
                }
                Err(why) => {
                    failures += 1;
                    tracing::warn!(endpoint = endpoint.name, failures, why, "notification");
                }
            }
            let wait = match failures >= endpoint.threshold.max(1) {
                true => endpoint.backoff,
                false => Duration::from_millis(100),
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

async fn post(endpoint: &Endpoint, http: &Http, bytes: Bytes) -> Result<(), String> {
    let mut request = Request::new(Full::new(bytes));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = endpoint.url.clone();
    *request.headers_mut() = endpoint.headers.clone();
    request.headers_mut().insert(CONTENT_TYPE, MEDIA_TYPE);
    let answered = tokio::time::timeout(endpoint.timeout, async {
        let response = http
            .request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status();
        // Read to its end, so that the connection serves again.
        let _ = http_body_util::Limited::new(response.into_body(), 64 * 1024)
            .collect()
            .await;
        Ok::<_, String>(status)
    });
    match answered.await {
        Err(_) => Err("no answer in time".to_owned()),
        Ok(Err(why)) => Err(why),
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(format!("answered with {status}")),
    }
}
