//! What goes on beside requests: garbage, old uploads, the disk's health; and the page for who runs the registry.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Error;
use crate::config::{Garbage, Health, Purge};
use crate::registry::{Shared, blocking};
use crate::store::Collected;

/// An upload whose file stays open for its next request.
const IDLE: Duration = Duration::from_secs(300);
/// Between a delete and the collection that it causes: others will follow.
const SETTLE: Duration = Duration::from_secs(5);
/// Between two collections, however much is deleted.
const REST: Duration = Duration::from_secs(60);

/// Starts what the settings want.
pub(crate) fn start(
    shared: &Arc<Shared>,
    garbage: Garbage,
    purge: Purge,
    health: Option<Health>,
) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![tokio::spawn(close_idle(shared.clone(), garbage.grace))];
    if garbage.is_enabled {
        tasks.push(tokio::spawn(collect_at_times(shared.clone(), garbage)));
    }
    if purge.is_enabled {
        tasks.push(tokio::spawn(purge_uploads(shared.clone(), purge)));
    }
    if let Some(health) = health {
        tasks.push(tokio::spawn(watch_disk(shared.clone(), health)));
    }
    tasks
}

/// Lets go of what nobody was at for a while. Leases among it: where no garbage is collected, nobody else ends them.
async fn close_idle(shared: Arc<Shared>, grace: Duration) {
    loop {
        tokio::time::sleep(IDLE).await;
        shared.uploads.close_idle(IDLE);
        shared.store.expire_leases(grace);
    }
}

async fn collect_at_times(shared: Arc<Shared>, garbage: Garbage) {
    // Before the grace time is over, everything has a lease.
    tokio::time::sleep(garbage.grace).await;
    loop {
        if let Some(proxy) = &shared.proxy
            && let Err(error) = proxy.expire().await
        {
            tracing::error!(%error, "expire what the cache holds");
        }
        if let Err(error) = collect(&shared, garbage.grace, garbage.untagged).await {
            tracing::error!(%error, "collect garbage");
        }
        let rest = REST.min(garbage.interval);
        tokio::time::sleep(rest).await;
        tokio::select! {
            () = tokio::time::sleep(garbage.interval - rest) => {}
            () = shared.garbage.notified() => tokio::time::sleep(SETTLE.min(garbage.interval)).await,
        }
    }
}

/// One collection.
///
/// # Errors
/// The system's.
pub(crate) async fn collect(
    shared: &Shared,
    grace: Duration,
    untagged: bool,
) -> Result<Collected, Error> {
    let store = shared.store.clone();
    let collected = blocking(move || store.collect(grace, untagged)).await?;
    shared.metrics.collected(&collected);
    let Collected {
        blobs,
        bytes,
        links,
        manifests,
        unreadable,
    } = collected;
    tracing::info!(
        blobs,
        bytes,
        links,
        manifests,
        unreadable,
        "collected garbage"
    );
    Ok(collected)
}

async fn purge_uploads(shared: Arc<Shared>, purge: Purge) {
    loop {
        let store = shared.store.clone();
        match blocking(move || store.purge_uploads(purge.age)).await {
            Ok(0) => {}
            Ok(uploads) => tracing::info!(uploads, "purged uploads that nobody went on with"),
            Err(error) => tracing::error!(%error, "purge uploads"),
        }
        tokio::time::sleep(purge.interval).await;
    }
}

async fn watch_disk(shared: Arc<Shared>, health: Health) {
    let mut failures = 0;
    loop {
        tokio::time::sleep(health.interval).await;
        let store = shared.store.clone();
        match blocking(move || store.probe()).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::error!(%error, failures, "the storage does not answer");
            }
        }
        shared
            .is_healthy
            .store(failures < health.threshold, Ordering::Relaxed);
    }
}

/// Serves `http.debug`: `/debug/health`, the page for Prometheus if there is one, and `POST /debug/collect`, which collects
/// now, by the settings.
pub(crate) async fn debug(
    shared: Arc<Shared>,
    listener: TcpListener,
    metrics: Option<String>,
    garbage: Garbage,
) {
    let metrics = Arc::new(metrics);
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        let (shared, metrics) = (shared.clone(), metrics.clone());
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (shared, metrics) = (shared.clone(), metrics.clone());
                async move {
                    Ok::<_, Infallible>(
                        debug_answer(&shared, metrics.as_deref(), garbage, &request).await,
                    )
                }
            });
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new());
            let _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn debug_answer(
    shared: &Shared,
    metrics: Option<&str>,
    garbage: Garbage,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (status, text) = match (request.method(), path) {
        (&Method::GET, path) if Some(path) == metrics => (StatusCode::OK, shared.metrics.page()),
        (&Method::GET, "/debug/health") if shared.is_healthy() => {
            (StatusCode::OK, "{}\n".to_owned())
        }
        (&Method::GET, "/debug/health") => {
            let text = "{\"storagedriver\":\"the storage does not answer\"}\n";
            (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
        }
        (&Method::POST, "/debug/collect") => {
            match collect(shared, garbage.grace, garbage.untagged).await {
                Ok(collected) => (
                    StatusCode::OK,
                    format!(
                        "{{\"blobs\":{},\"bytes\":{}}}\n",
                        collected.blobs, collected.bytes
                    ),
                ),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            }
        }
        _ => (StatusCode::NOT_FOUND, "404 page not found\n".to_owned()),
    };
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
}
