//! Listeners, connections, and what every answer carries.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, Method, StatusCode, header};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Notify;
pub use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;
use wharf_api_types::API_VERSION;
use wharf_buildkit::BuildKit;
use wharf_engine::Engine;
use wharf_solver::{Classic, SolveError, Solver};

use crate::error::{ApiError, Unrouted};
use crate::peer::Peer;
use crate::rest::Rest;
use crate::takeover::{Connection, LONGEST_HEAD};
use crate::{form, path, routes, version};

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
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
    Tls(TcpListener, TlsAcceptor),
}

/// The Engine API over an engine.
#[derive(Clone)]
pub struct Api {
    router: Router,
    /// What the header `Docker-Experimental` says.
    experimental: &'static str,
    /// BuildKit's gRPC; not where only metrics are served.
    buildkit: Option<BuildKit>,
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
            buildkit: Some(buildkit),
            ended: Arc::default(),
        })
    }

    /// What `metrics-addr` serves of `engine`, in place of the API.
    pub fn metrics(engine: Arc<Engine>) -> Self {
        Self {
            router: crate::metrics::routes(engine),
            experimental: "false",
            buildkit: None,
            ended: Arc::default(),
        }
    }

    /// Serves connections of `listener`, until the task is dropped.
    pub async fn serve(self, listener: Listener) {
        loop {
            let ended = self.ended.notified();
            let accepted = match &listener {
                Listener::Unix(socket) => socket.accept().await.map(|(stream, _)| {
                    let peer = Peer::of(&stream, true);
                    self.spawn(stream, peer);
                }),
                Listener::Tcp(socket) => socket.accept().await.map(|(stream, _)| {
                    keep_lively(&stream);
                    let peer = Peer::of(&stream, false);
                    self.spawn(stream, peer);
                }),
                Listener::Tls(socket, acceptor) => socket.accept().await.map(|(stream, _)| {
                    keep_lively(&stream);
                    let api = self.clone();
                    tokio::spawn(api.secure(stream, acceptor.clone()));
                }),
            };
            if let Err(error) = accepted {
                // Out of descriptors, most likely: one of ours ends, or something else gives some back.
                tracing::warn!(%error, "accept a connection");
                let _ = tokio::time::timeout(RETRY, ended).await;
            }
        }
    }

    /// TLS first. Who does not come to the point is not waited for.
    async fn secure(self, stream: TcpStream, acceptor: TlsAcceptor) {
        let peer = Peer::of(&stream, false);
        let handshake = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
        match handshake {
            Ok(Ok(stream)) => self.spawn(stream, peer),
            Ok(Err(error)) => tracing::warn!(%error, "TLS handshake"),
            Err(_) => tracing::warn!("TLS handshake: no end of it"),
        }
    }

    fn spawn<S>(&self, stream: S, peer: Peer)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let api = self.clone();
        let ended = self.ended.clone();
        let experimental = self.experimental;
        tokio::spawn(async move {
            let stream = match Connection::open(stream).await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::trace!(%error, "connection");
                    return ended.notify_waiters();
                }
            };
            let has_long_head = stream.has_long_head();
            let service = hyper::service::service_fn(move |request| {
                let (api, peer) = (api.clone(), peer.clone());
                async move {
                    match api.buildkit {
                        // BuildKit's services, by HTTP/2 from the first byte.
                        Some(kit) if is_grpc(&request) => {
                            Ok(kit.call(request).await.map(Body::new))
                        }
                        _ => answer(api.router, experimental, peer, request).await,
                    }
                }
            });
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
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::trace!(%error, "connection");
            }
            ended.notify_waiters();
        });
    }
}

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
    let (asked, uri) = version::split(request.uri());
    *request.uri_mut() = path::with_one_name(request.method(), uri);
    request.extensions_mut().insert(asked);
    request.extensions_mut().insert(peer);
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
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && !goes_on {
        rest.drain().await;
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
