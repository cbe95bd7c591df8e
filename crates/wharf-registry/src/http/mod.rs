//! The API: from a request to the one thing it asks for, and back with what every answer carries.

mod answer;
mod blobs;
mod body;
mod catalog;
mod manifests;
mod referrers;
mod route;
mod search;
mod sendfile;
mod server;
mod uploads;

use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response, Version};
use hyper::body::Incoming;

use crate::Error;
use crate::auth::{Access, Action, Caller};
use crate::registry::Shared;
pub(crate) use answer::Answer;
pub(crate) use blobs::described;
pub(crate) use body::Body;
use body::RequestBody;
use route::{Query, Route};
use sendfile::Parts;
pub(crate) use server::serve;

/// Who is at the other end of a connection, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Client {
    /// The address, as text.
    peer: String,
    is_tls: bool,
    /// Files that the connection can send by itself; `None` if their bytes must be seen on the way.
    parts: Option<Parts>,
}

/// What is known of a request besides its target.
pub(crate) struct Context {
    pub(crate) shared: Arc<Shared>,
    pub(crate) method: Method,
    pub(crate) headers: http::HeaderMap,
    pub(crate) query: Query,
    /// The client's address, as text.
    pub(crate) peer: String,
    pub(crate) is_tls: bool,
    pub(crate) caller: Caller,
    /// Where files are queued that the connection can send by itself.
    parts: Option<Parts>,
}

impl Context {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// `path` as clients are told it: relative, unless the settings want the whole address.
    pub(crate) fn address(&self, path: &str) -> String {
        let settings = &self.shared.settings;
        if let Some(host) = &settings.host {
            return format!("{}{path}", host.trim_end_matches('/'));
        }
        if settings.relative_urls {
            return path.to_owned();
        }
        let forwarded = self.header("x-forwarded-proto");
        let scheme = match forwarded {
            "" if self.is_tls => "https",
            "" => "http",
            other => other,
        };
        let host = match self.header("x-forwarded-host") {
            "" => self.header(http::header::HOST),
            forwarded => forwarded,
        };
        match host {
            "" => path.to_owned(),
            host => format!("{scheme}://{host}{path}"),
        }
    }
}

/// Answers one request.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    client: Client,
    request: Request<Incoming>,
) -> Response<Body> {
    let started = Instant::now();
    let (parts, incoming) = request.into_parts();
    let mut incoming = RequestBody::new(incoming, &parts.headers);
    let mut context = Context {
        shared: shared.clone(),
        method: parts.method,
        headers: parts.headers,
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        peer: client.peer,
        is_tls: client.is_tls,
        caller: Caller::default(),
        parts: client.parts.filter(|_| parts.version < Version::HTTP_2),
    };
    let path = parts.uri.path();
    let route = Route::parse(path, &context.method);
    let kind = route.as_ref().map_or("unknown", Route::kind);
    let outcome = match route {
        Ok(route) => handle(&mut context, route, &mut incoming).await,
        Err(error) => Err(error),
    };
    let response = match outcome {
        Ok(answer) => answer.into_response(&context),
        Err(error) => {
            // A client that still sends would not read why it is refused.
            incoming.drain().await;
            answer::refusal(&error, &context, path)
        }
    };
    shared
        .metrics
        .request(&context.method, kind, response.status(), started.elapsed());
    if shared.settings.access_log {
        tracing::info!(
            remote = context.peer,
            user = context.caller.name.as_deref(),
            method = %context.method,
            path,
            status = response.status().as_u16(),
            micros = started.elapsed().as_micros() as u64,
            agent = context.header(http::header::USER_AGENT),
            "request"
        );
    }
    response
}

async fn handle(
    context: &mut Context,
    route: Route,
    incoming: &mut RequestBody,
) -> Result<Answer, Error> {
    let (shared, method) = (context.shared.clone(), context.method.clone());
    if matches!(route, Route::Health) {
        return Ok(Answer::empty(http::StatusCode::OK));
    }
    if !shared.is_healthy() {
        return Err(Error::Unavailable("the storage does not answer".to_owned()));
    }
    let access = route.access(&method, &context.query);
    context.caller = shared.auth.check(context, &access).await?;
    let reads = matches!(method, Method::GET | Method::HEAD);
    if !reads {
        shared
            .settings
            .may_write(&method, matches!(route, Route::Upload(..)))?;
    }
    match route {
        Route::Health => Err(Error::NoRoute),
        Route::Base if reads => Ok(Answer::json(http::StatusCode::OK, b"{}".as_slice())),
        Route::Catalog if reads => catalog::list(context).await,
        Route::Tags(name) if reads => catalog::tags(context, name).await,
        Route::Referrers(name, subject) if reads => referrers::list(context, name, subject).await,
        Route::Ping if reads => Ok(search::ping()),
        Route::Search if reads => search::search(context).await,
        Route::Manifest(name, which) => match method {
            Method::GET | Method::HEAD => manifests::get(context, name, which).await,
            Method::PUT => manifests::put(context, name, which, incoming).await,
            Method::DELETE => manifests::delete(context, name, which).await,
            _ => Err(Error::Unsupported(method.to_string())),
        },
        Route::Blob(name, digest) => match method {
            Method::GET | Method::HEAD => blobs::get(context, name, digest).await,
            Method::DELETE => blobs::delete(context, name, digest).await,
            _ => Err(Error::Unsupported(method.to_string())),
        },
        Route::Uploads(name) if method == Method::POST => {
            uploads::begin(context, name, incoming).await
        }
        Route::Upload(name, id) => match method {
            Method::GET | Method::HEAD => uploads::status(context, name, id).await,
            Method::PATCH => uploads::patch(context, name, id, incoming).await,
            Method::PUT => uploads::finish(context, name, id, incoming).await,
            Method::DELETE => uploads::cancel(context, name, id).await,
            _ => Err(Error::Unsupported(method.to_string())),
        },
        _ => Err(Error::Unsupported(method.to_string())),
    }
}

impl Route {
    /// What a caller must be allowed to do.
    fn access(&self, method: &Method, query: &Query) -> Vec<Access> {
        let of = |name: &crate::names::Name, action| Access::repository(name.as_str(), action);
        match self {
            Route::Health | Route::Base | Route::Ping => Vec::new(),
            Route::Catalog | Route::Search => vec![Access::catalog()],
            Route::Tags(name)
            | Route::Referrers(name, _)
            | Route::Manifest(name, _)
            | Route::Blob(name, _)
            | Route::Uploads(name)
            | Route::Upload(name, _) => {
                let mut access = match *method {
                    Method::GET | Method::HEAD if !matches!(self, Route::Upload(..)) => {
                        vec![of(name, Action::Pull)]
                    }
                    Method::DELETE if !matches!(self, Route::Upload(..)) => {
                        vec![of(name, Action::Delete)]
                    }
                    _ => vec![of(name, Action::Pull), of(name, Action::Push)],
                };
                if let (Route::Uploads(_), Some(from)) = (self, query.get("from"))
                    && query.get("mount").is_some()
                {
                    access.push(Access::repository(from, Action::Pull).optional());
                }
                access
            }
        }
    }
}
