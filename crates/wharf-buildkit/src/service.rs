//! The whole of it, over connections.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use bollard_buildkit_proto::moby::buildkit::v1::control_server::ControlServer;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::LlbBridgeServer;
use futures_util::stream::BoxStream;
use http::HeaderMap;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tower::Service as _;
use wharf_builder::{BuildError, Client as _, LocalRequest};
use wharf_engine::Engine;
use wharf_solver::{CacheRecord, PruneOptions, Solver};

use crate::bridge::Bridge;
use crate::control::Control;
use crate::history::History;
use crate::job::Jobs;
use crate::rest::Named;
use crate::session::{Asked, Contexts, Introduction, Sessions};

/// The largest message of a client (BuildKit's own limit).
const LARGEST: usize = 16 << 20;

/// What everything here works with.
pub(crate) struct Kit {
    pub(crate) engine: Arc<Engine>,
    pub(crate) solver: Solver,
    pub(crate) sessions: Sessions,
    pub(crate) contexts: Contexts,
    pub(crate) jobs: Jobs,
    pub(crate) history: History,
    pub(crate) named: Named,
    /// A build has ended.
    pub(crate) built: Arc<Notify>,
}

impl Kit {
    /// The name of the one worker: the daemon's own.
    pub(crate) fn worker(&self) -> String {
        "wharf".to_owned()
    }
}

/// BuildKit's services over a solver. Clones are the same.
#[derive(Clone)]
pub struct BuildKit {
    routes: Routes,
    sessions: Sessions,
    kit: Arc<Kit>,
}

impl BuildKit {
    /// Over `solver`, which builds with `engine`.
    pub fn new(engine: Arc<Engine>, solver: Solver) -> Self {
        let folder = engine.config.data_root.join("buildkit").join("contexts");
        let sessions = Sessions::default();
        let kit = Arc::new(Kit {
            engine,
            solver,
            sessions: sessions.clone(),
            contexts: Contexts::new(folder),
            jobs: Jobs::default(),
            history: History::default(),
            named: Named::default(),
            built: Arc::default(),
        });
        tokio::spawn(crate::gc::run(Arc::downgrade(&kit)));
        let control = ControlServer::new(Control(kit.clone()));
        let bridge = LlbBridgeServer::new(Bridge(kit.clone()));
        let mut routes = Routes::builder();
        routes
            .add_service(control.max_decoding_message_size(LARGEST))
            .add_service(bridge.max_decoding_message_size(LARGEST))
            .add_service(HealthServer::new(Healthy));
        Self {
            routes: routes.routes().prepare(),
            sessions,
            kit,
        }
    }

    pub(crate) fn kit(&self) -> &Arc<Kit> {
        &self.kit
    }

    /// Removes what builds keep for the next one; what is gone.
    ///
    /// # Errors
    /// If the disk refuses, or a filter is none; as text.
    pub async fn prune(&self, options: &PruneOptions) -> Result<Vec<CacheRecord>, String> {
        let pruned = self.kit.prune(options).await;
        pruned.map_err(|error| error.to_string())
    }

    /// What builds keep for the next one.
    ///
    /// # Errors
    /// If the disk refuses, as text.
    pub async fn usage(&self) -> Result<Vec<CacheRecord>, String> {
        let usage = self.kit.usage(&[]).await;
        usage.map_err(|error| error.to_string())
    }

    /// Answers one gRPC call.
    pub async fn call(
        &self,
        request: http::Request<Incoming>,
    ) -> http::Response<tonic::body::Body> {
        let Ok(response) = self.routes.clone().call(request).await;
        response
    }

    /// Answers the calls on a connection that has been upgraded (`POST /grpc`), until its end.
    pub async fn serve<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let kit = self.clone();
        let service = hyper::service::service_fn(move |request| {
            let kit = kit.clone();
            async move { Ok::<_, Infallible>(kit.call(request).await) }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        limit(&mut builder);
        let served = builder.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "gRPC connection");
        }
    }

    /// The folder that a session offers as `context`, for a build by the classic builder.
    ///
    /// # Errors
    /// If there is no such session, or it does not let have it.
    pub async fn folder(&self, session: &str) -> Result<wharf_builder::Local, BuildError> {
        let wanted = LocalRequest {
            name: "context".to_owned(),
            shared_key_hint: "classic".to_owned(),
            ..LocalRequest::default()
        };
        let (told, _) = tokio::sync::watch::channel(0);
        let folder = Asked::new(&self.kit, session).local(&wanted, told).await;
        // There may be more now than is to be kept.
        self.kit.built.notify_one();
        folder
    }

    /// Reads what a client says of the session that it opens (`POST /session`).
    ///
    /// # Errors
    /// Why it is none, as text.
    pub fn session(&self, headers: &HeaderMap) -> Result<NewSession, String> {
        let introduction = Introduction::read(headers).map_err(|error| error.to_string())?;
        Ok(NewSession {
            introduction,
            sessions: self.sessions.clone(),
        })
    }
}

/// The limits of a connection: a client cannot make us hold more than this.
fn limit(builder: &mut hyper::server::conn::http2::Builder<TokioExecutor>) {
    builder
        .max_concurrent_streams(250)
        .timer(TokioTimer::new())
        // A client that has gone without a word is given up; one that does nothing answers all the same.
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(60))
        .max_header_list_size(64 << 10)
        .max_pending_accept_reset_streams(Some(20));
}

/// A session that is about to be opened.
pub struct NewSession {
    introduction: Introduction,
    sessions: Sessions,
}

impl NewSession {
    /// Serves it on the connection that the client gave for it, until its end.
    pub async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.sessions.serve(self.introduction, stream).await;
    }
}

/// It is well as long as it answers.
struct Healthy;

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

#[tonic::async_trait]
impl Health for Healthy {
    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(serving()))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse {
            statuses: [(String::new(), serving())].into(),
        }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        use futures_util::StreamExt as _;
        let once = futures_util::stream::once(async { Ok(serving()) });
        Ok(Response::new(
            once.chain(futures_util::stream::pending()).boxed(),
        ))
    }
}
