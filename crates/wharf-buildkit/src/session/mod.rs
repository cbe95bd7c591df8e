//! Sessions: connections on which the client is the server, for as long as it builds.

mod agent;
mod asked;
mod channel;
mod files;
#[cfg(test)]
mod narrow;
mod offer;
mod receive;
mod send;
mod stat;
mod store;
mod tree;
mod upload;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard_buildkit_proto::health::HealthCheckRequest;
use bollard_buildkit_proto::health::health_client::HealthClient;
use http::{HeaderMap, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use crate::error::Error;
pub(crate) use asked::{Asked, BODY};
pub(crate) use channel::Channel;
pub(crate) use files::{Contexts, Local};
pub use offer::{OFFERED, Offer};
pub use receive::receive;
pub(crate) use send::{Target, archive, files as send_files};
pub(crate) use store::Store;
pub(crate) use upload::pull as upload;

/// How long a build waits for the session that it names.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a client is asked whether it is there.
const PAUSE: Duration = Duration::from_secs(20);
/// A client that has not answered for so long is not there.
const SILENCE: Duration = Duration::from_secs(60);
/// The most sessions at a time.
const MOST: usize = 1024;
/// The longest id or key.
const LONGEST: usize = 256;
/// The most methods that a session exposes.
const METHODS: usize = 64;

/// The sessions that are open. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Mutex<HashMap<String, Arc<Session>>>,
    changed: Notify,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its id.
    pub(crate) id: String,
    /// What says that two sessions send the same folders.
    pub(crate) shared_key: String,
    methods: HashSet<String>,
    channel: Channel,
}

impl Session {
    /// The way to call a service of the client.
    ///
    /// # Errors
    /// If it has no such method.
    pub(crate) fn service(&self, method: &str) -> Result<Channel, Error> {
        if !self.methods.contains(&method.to_ascii_lowercase()) {
            return Err(Error::Invalid(format!(
                "method {method} not supported by the client"
            )));
        }
        Ok(self.channel.clone())
    }
}

/// Whom requests of a session are addressed to.
pub(crate) fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// What a client says of its session when it opens it.
#[derive(Debug)]
pub(crate) struct Introduction {
    id: String,
    shared_key: String,
    methods: HashSet<String>,
}

impl Introduction {
    /// Reads it from the headers of a request, or the metadata of a call.
    ///
    /// # Errors
    /// If there is no id, or it is none.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Self, Error> {
        let one = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let id = one("x-docker-expose-session-uuid");
        if !is_id(&id) {
            return Err(Error::Invalid(format!("invalid session id {id:?}")));
        }
        let shared_key = one("x-docker-expose-session-sharedkey");
        if shared_key.len() > LONGEST {
            return Err(Error::Invalid("the shared key is too long".to_owned()));
        }
        let methods = headers.get_all("x-docker-expose-session-grpc-method");
        let methods = methods.iter().take(METHODS);
        let methods = methods.filter_map(|method| Some(method.to_str().ok()?.to_ascii_lowercase()));
        Ok(Self {
            id,
            shared_key,
            methods: methods.collect(),
        })
    }
}

/// Whether it can be the id of a session or a build: letters that mean nothing anywhere.
pub(crate) fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let says_something = text.bytes().any(|byte| byte != b'.');
    says_something && text.len() <= LONGEST && text.bytes().all(plain)
}

impl Sessions {
    /// Makes `stream` a session, until its end.
    pub(crate) async fn serve<S>(&self, introduction: Introduction, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (channel, connection) = match Channel::open(stream).await {
            Ok(open) => open,
            Err(error) => {
                tracing::debug!(%error, "open a session");
                return;
            }
        };
        let id = introduction.id.clone();
        let session = Arc::new(Session {
            id: introduction.id,
            shared_key: introduction.shared_key,
            methods: introduction.methods,
            channel: channel.clone(),
        });
        if !self.add(&session) {
            tracing::warn!(
                session = id,
                "refuse a session: too many, or one of that id"
            );
            return;
        }
        let _open = Open {
            sessions: self.clone(),
            session,
        };
        tokio::select! {
            ended = connection => {
                if let Err(error) = ended {
                    tracing::debug!(%error, session = id, "session");
                }
            }
            () = silence(channel, PAUSE, SILENCE) => tracing::debug!(session = id, "a session's client has gone"),
        }
    }

    fn add(&self, session: &Arc<Session>) -> bool {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST || open.contains_key(&session.id) {
            return false;
        }
        open.insert(session.id.clone(), session.clone());
        drop(open);
        self.0.changed.notify_waiters();
        true
    }

    fn find(&self, id: &str) -> Option<Arc<Session>> {
        let open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(id).cloned()
    }

    /// The session of this id. One that is about to be opened is waited for.
    ///
    /// # Errors
    /// If it does not come.
    pub(crate) async fn get(&self, id: &str) -> Result<Arc<Session>, Error> {
        let wait = async {
            loop {
                let changed = self.0.changed.notified();
                if let Some(session) = self.find(id) {
                    return session;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.map_err(|_| {
            Error::NotFound(format!(
                "no active session for {id}: context deadline exceeded"
            ))
        })
    }
}

/// Ends when the client does not answer any more. It is asked by a call, as BuildKit does it (`session/grpc.go`): clients in
/// Go hang up on who sends them pings. What it answers means nothing.
async fn silence(channel: Channel, pause: Duration, patience: Duration) {
    let mut client = HealthClient::with_origin(channel, origin());
    loop {
        tokio::time::sleep(pause).await;
        let asked = client.check(HealthCheckRequest::default());
        if tokio::time::timeout(patience, asked).await.is_err() {
            return;
        }
    }
}

/// Takes the session away at its end.
struct Open {
    sessions: Sessions,
    session: Arc<Session>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let open = &self.sessions.0.open;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&self.session.id);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::sync::watch;

    use super::*;

    const SOON: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn a_client_that_is_silent_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(1 << 20);
        let (channel, connection) = Channel::open(ours).await.unwrap();
        tokio::spawn(connection);
        silence(channel, SOON, SOON).await;
    }

    /// What it answers means nothing: here it knows no such call.
    #[tokio::test]
    async fn a_client_that_answers_is_asked_again() {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        let (channel, connection) = Channel::open(ours).await.unwrap();
        tokio::spawn(connection);
        let (asked, mut count) = watch::channel(0);
        let service = hyper::service::service_fn(move |_: http::Request<hyper::body::Incoming>| {
            asked.send_modify(|count| *count += 1);
            async {
                let mut answer = http::Response::new(String::new());
                *answer.status_mut() = http::StatusCode::NOT_FOUND;
                Ok::<_, Infallible>(answer)
            }
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(builder.serve_connection(TokioIo::new(theirs), service));
        tokio::select! {
            () = silence(channel, SOON, Duration::from_secs(600)) => panic!("it was given up"),
            times = count.wait_for(|count| *count >= 3) => assert!(times.is_ok()),
        }
    }
}
