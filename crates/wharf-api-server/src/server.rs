//! Listeners, connections, and what every answer carries.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
pub use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use wharf_api_types::API_VERSION;
use wharf_buildkit::BuildKit;
use wharf_engine::{Engine, EngineError};
use wharf_solver::{Classic, SolveError, Solver};

use crate::closing::Closing;
use crate::error::{ApiError, Unrouted};
use crate::peer::{Attended, Peer, Socket};
use crate::rest::Rest;
use crate::takeover::{Connection, LONGEST_HEAD, Turn};
use crate::{form, origin, path, routes, version};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many of them there may be at a time: nobody knows yet who these clients are.
const HANDSHAKES: usize = 1000;
/// How long the head of a connection's first request may take, as dockerd (`ReadHeaderTimeout`). After it a connection may idle.
const HEAD: Duration = Duration::from_secs(5 * 60);
/// How long all of a connection may take where metrics are served, which anybody may reach: it has one request.
const METRICS: Duration = Duration::from_secs(30);
/// How many connections there may be to the metrics.
const METRICS_READERS: usize = 64;
/// After how long a silent TCP connection is asked whether it lives, as Go has it.
const QUIET: Duration = Duration::from_secs(15);
/// The most headers of a request; `net/http` counts their bytes alone.
const MANY: usize = 20_000;
/// When it is tried again to accept a connection, though none of ours has ended.
const RETRY: Duration = Duration::from_secs(1);

/// A bound socket that the API is served on.
pub enum Listener {
    /// A Unix socket.
    Unix(UnixListener),
    /// A TCP socket, in clear.
    Tcp(TcpListener),
    /// A TCP socket, with TLS.
    Tls(TcpListener, TlsAcceptor, Clients),
}

/// Who gets through a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Who shows a certificate.
    Certified,
    /// Whoever comes.
    Anybody,
}

/// What is served on a listener.
#[derive(Clone)]
enum Served {
    /// The API; with BuildKit's gRPC.
    Engine(BuildKit),
    /// Metrics alone, to so many at a time.
    Metrics(Arc<Semaphore>),
}

/// The Engine API over an engine.
#[derive(Clone)]
pub struct Api {
    router: Router,
    /// What the header `Docker-Experimental` says.
    experimental: &'static str,
    served: Served,
    /// Names that this machine goes by, beside those that every machine knows.
    names: Arc<[String]>,
    handshakes: Arc<Semaphore>,
    closing: Closing,
    /// A connection has ended, and its descriptors are free.
    ended: Arc<Notify>,
}

impl Api {
    /// The routes over `engine`.
    ///
    /// # Errors
    /// If the folders of builds cannot be made.
    pub fn new(engine: Arc<Engine>) -> Result<Self, SolveError> {
        let experimental = match engine.settings().experimental {
            true => "true",
            false => "false",
        };
        let solver = Solver::open(engine.clone())?;
        let builder = Classic::new(solver.clone());
        let buildkit = BuildKit::new(engine.clone(), solver);
        Ok(Self {
            router: routes::all(engine, builder, buildkit.clone()),
            experimental,
            served: Served::Engine(buildkit),
            names: Arc::default(),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            closing: Closing::default(),
            ended: Arc::default(),
        })
    }

    /// The same, where requests may also be for these names of hosts (in the header `Host`) and for those that /etc/hosts gives to
    /// loopback now, if it is not known who sends them.
    #[must_use]
    pub fn with_names(self, mut names: Vec<String>) -> Self {
        names.extend(origin::names_of_this_machine());
        let names = names.into();
        Self { names, ..self }
    }

    /// What `metrics-addr` serves of `engine`, in place of the API; it ends with that.
    pub fn metrics(&self, engine: Arc<Engine>) -> Self {
        Self {
            router: crate::metrics::routes(engine),
            experimental: "false",
            served: Served::Metrics(Arc::new(Semaphore::new(METRICS_READERS))),
            ..self.clone()
        }
    }

    /// Takes no further request, on whatever connection; those that are under way go on.
    pub fn refuse(&self) {
        self.closing.begin();
    }

    /// Ends what would go on for ever, and gives the rest the time to be told.
    pub async fn end(&self) {
        self.closing.end().await;
    }

    /// Serves connections of `listener`, until [`Api::refuse`].
    pub async fn serve(self, listener: Listener) {
        tokio::select! {
            () = self.accept(listener) => {}
            () = self.closing.begun() => {}
        }
    }

    async fn accept(&self, listener: Listener) {
        loop {
            let ended = self.ended.notified();
            let place = self.place().await;
            let accepted = match &listener {
                Listener::Unix(socket) => socket.accept().await.map(|(stream, _)| {
                    let peer = Peer::of(&stream, Socket::Unix, &self.closing);
                    self.spawn(stream, peer, place);
                }),
                Listener::Tcp(socket) => socket.accept().await.map(|(stream, _)| {
                    keep_lively(&stream);
                    let peer = Peer::of(&stream, Socket::Tcp, &self.closing);
                    self.spawn(stream, peer.unproven(), place);
                }),
                Listener::Tls(socket, acceptor, clients) => {
                    let handshake_permit = self.handshakes.clone().acquire_owned().await.ok();
                    socket.accept().await.map(|(stream, _)| {
                        keep_lively(&stream);
                        let peer = Peer::of(&stream, Socket::Tcp, &self.closing);
                        let peer = match clients {
                            Clients::Certified => peer,
                            Clients::Anybody => peer.unproven(),
                        };
                        let handshake = acceptor.accept(stream);
                        let api = self.clone();
                        tokio::spawn(api.secure(handshake, peer, handshake_permit, place));
                    })
                }
            };
            if let Err(error) = accepted {
                // Out of descriptors, most likely: one of ours ends, or something else gives some back.
                tracing::warn!(%error, "accept a connection");
                let _ = tokio::time::timeout(RETRY, ended).await;
            }
        }
    }

    /// Room for one more connection, where there is not room for any number.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        match &self.served {
            Served::Engine(_) => None,
            Served::Metrics(places) => places.clone().acquire_owned().await.ok(),
        }
    }

    /// TLS first. Who does not come to the point is not waited for.
    async fn secure(
        self,
        handshake: tokio_rustls::Accept<TcpStream>,
        peer: Peer,
        handshake_permit: Option<OwnedSemaphorePermit>,
        place: Option<OwnedSemaphorePermit>,
    ) {
        let handshake = tokio::time::timeout(HANDSHAKE, handshake).await;
        drop(handshake_permit);
        match handshake {
            Ok(Ok(stream)) => self.spawn(stream, peer, place),
            Ok(Err(error)) => tracing::warn!(%error, "TLS handshake"),
            Err(_) => tracing::warn!("TLS handshake: no end of it"),
        }
    }

    fn spawn<S>(&self, stream: S, peer: Peer, place: Option<OwnedSemaphorePermit>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let api = self.clone();
        tokio::spawn(async move {
            let talk = api.talk(stream, peer);
            let talked = match api.served {
                Served::Engine(_) => talk.await,
                Served::Metrics(_) => match tokio::time::timeout(METRICS, talk).await {
                    Ok(talked) => talked,
                    Err(elapsed) => Err(elapsed.into()),
                },
            };
            if let Err(error) = talked {
                tracing::trace!(%error, "connection");
            }
            drop(place);
            api.ended.notify_waiters();
        });
    }

    /// All requests of a connection.
    async fn talk<S>(&self, stream: S, peer: Peer) -> Result<(), BoxError>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let stream = tokio::select! {
            opened = tokio::time::timeout(HEAD, Connection::open(stream)) => opened??,
            // Nothing was asked.
            () = self.closing.begun() => return Ok(()),
        };
        let builder = self.http(stream.has_long_head());
        let (api, turn) = (self.clone(), stream.turn());
        let answer = move |request| {
            let (api, peer) = (api.clone(), peer.clone());
            async move { api.answer(request, peer).await }
        };
        let service = by_turns(turn, answer);
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            ended = &mut connection => return ended,
            () = self.closing.begun() => connection.as_mut().graceful_shutdown(),
        }
        connection.await
    }

    fn http(&self, has_long_head: bool) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // A client that has said all still listens: attach with a closed stdin.
        builder.http1().half_close(true).title_case_headers(true);
        if has_long_head {
            let mut http = builder.http1();
            http.max_headers(MANY).max_buf_size(LONGEST_HEAD);
        }
        builder
            .http2()
            .max_concurrent_streams(250)
            .max_header_list_size(64 * 1024)
            .max_pending_accept_reset_streams(Some(20));
        match self.served {
            Served::Engine(_) => builder,
            Served::Metrics(_) => {
                builder.http1().keep_alive(false);
                builder.http1_only()
            }
        }
    }

    async fn answer(
        &self,
        request: http::Request<Incoming>,
        peer: Peer,
    ) -> Result<Response, Infallible> {
        if self.closing.has_begun() {
            return Ok(ApiError::from(EngineError::ShuttingDown).into_response());
        }
        // Metrics are for whoever asks, by whatever name.
        if matches!(self.served, Served::Engine(_))
            && peer.is_unproven()
            && let Err(error) = origin::check(request.headers(), request.uri(), &self.names)
        {
            return Ok(error.into_response());
        }
        match &self.served {
            // BuildKit's services, by HTTP/2 from the first byte.
            Served::Engine(kit) if is_grpc(&request) => Ok(kit.call(request).await.map(Body::new)),
            _ => answer(self.router.clone(), self.experimental, peer, request).await,
        }
    }
}

/// Answers one request after the other, and tells of each when it begins and when its answer has been given: a request that came
/// together with the one before was not seen to begin by who reads.
fn by_turns<A, F>(
    turn: Turn,
    answer: A,
) -> impl Service<
    http::Request<Incoming>,
    Response = Response<CountedBody>,
    Error = Infallible,
    Future: Send + 'static,
>
where
    A: Fn(http::Request<Incoming>) -> F,
    F: Future<Output = Result<Response, Infallible>> + Send + 'static,
{
    service_fn(move |request| {
        turn.begun();
        let (answer, turn) = (answer(request), turn.clone());
        async move { Ok(in_turn(answer.await?, turn)) }
    })
}

/// Tells when the answer has been given, or that the connection is given away.
fn in_turn(response: Response, turn: Turn) -> Response<CountedBody> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        turn.leave();
    }
    response.map(|body| CountedBody { body, turn })
}

/// A body whose end is the end of an answer.
struct CountedBody {
    body: Body,
    turn: Turn,
}

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.turn.answered();
    }
}

impl hyper::body::Body for CountedBody {
    type Data = axum::body::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// As Go's `net` sets up each connection: what is typed goes out at once, and who is gone without a word is found out.
fn keep_lively(stream: &TcpStream) {
    let set = || {
        rustix::net::sockopt::set_tcp_nodelay(stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(stream, QUIET)?;
        rustix::net::sockopt::set_tcp_keepintvl(stream, QUIET)?;
        rustix::net::sockopt::set_socket_keepalive(stream, true)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "set up a TCP connection");
    }
}

fn is_grpc(request: &http::Request<Incoming>) -> bool {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    let is_ours = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    is_ours && request.version() == http::Version::HTTP_2
}

async fn answer(
    router: Router,
    experimental: &'static str,
    peer: Peer,
    request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    let rest = Rest::default();
    let mut request: Request = request.map(|body| rest.lend(Body::new(body)));
    if !path::is_escaped_well(request.uri()) {
        return Ok(path::malformed());
    }
    if let Some(path) = path::cleaned(request.uri()) {
        return Ok(path::moved(&path));
    }
    let (prefix, uri) = version::split(request.uri());
    *request.uri_mut() = path::with_one_name(request.method(), uri);
    request.extensions_mut().insert(prefix);
    request.extensions_mut().insert(peer.clone());
    let mut response = match *request.method() {
        Method::OPTIONS => version::options(request.extensions()),
        Method::HEAD if !path::has_head(request.uri().path()) => {
            ApiError::no_page().into_response()
        }
        _ => match form::read(request).await {
            Ok(request) => {
                let Ok(response) = router.oneshot(request).await;
                response
            }
            Err(error) => error.into_response(),
        },
    };
    // An answer that goes on and on does not wait for a request that does so, too (`attach` without an upgrade).
    let goes_on = response.body().size_hint().exact().is_none();
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match goes_on {
        _ if switches => {}
        true => rest.drain_announced().await,
        false => rest.drain().await,
    }
    if !switches && goes_on {
        response = response.map(|body| Body::new(Attended::by(peer, body)));
    }
    let unrouted = response.extensions().get::<Unrouted>().is_some();
    let is_refused = response.extensions().get::<version::Refused>().is_some();
    let headers = response.headers_mut();
    headers.remove(header::ALLOW);
    if unrouted {
        return Ok(response);
    }
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    if !is_refused {
        let experimental = HeaderValue::from_static(experimental);
        headers.insert("Docker-Experimental", experimental);
    }
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    // Docker's clients look for their server's name in it, and for the operating system behind that.
    let server = concat!("Docker/", env!("CARGO_PKG_VERSION"), " (linux)");
    headers.insert("Server", HeaderValue::from_static(server));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// What is left of a body does not look like the line of a request.
    #[tokio::test]
    async fn a_request_that_came_with_another_may_be_cut_anywhere() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let head = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
        let both = format!("{head}one.{head}t");
        theirs.write_all(both.as_bytes()).await.unwrap();
        let connection = Connection::open(ours).await.unwrap();
        let echo = by_turns(connection.turn(), async |request| {
            let body = request.into_body().collect().await.unwrap();
            Ok(Response::new(Body::from(body.to_bytes())))
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        let serve = builder.serve_connection(TokioIo::new(connection), echo);
        let talk = async move {
            let mut said = Vec::new();
            while !said.ends_with(b"one.") {
                theirs.read_buf(&mut said).await.unwrap();
            }
            theirs.write_all(b"wo.").await.unwrap();
            while !said.ends_with(b"two.") {
                theirs.read_buf(&mut said).await.unwrap();
            }
        };
        let (served, ()) = tokio::join!(serve, talk);
        served.unwrap();
    }
}
