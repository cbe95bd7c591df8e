//! Connections: accepted, bounded in what they may send before they say what they want, and ended in order.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use super::Client;
use super::sendfile::{self, Parts};
use crate::registry::Shared;

/// How long a TLS handshake, or the head of a request, may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
/// What a connection may hold of a body, or a head; one that does not fit is refused (431).
const MAX_BUFFER: usize = 256 * 1024;
/// The head of an HTTP/2 request may have so many bytes.
const MAX_HEAD: usize = 64 * 1024;
/// When it is tried again to accept a connection, though none of ours has ended.
const RETRY: Duration = Duration::from_secs(1);

/// Serves connections of `listener` until `stop` says so, and then waits for those that are busy.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let graceful = GracefulShutdown::new();
    let ended = Arc::new(Notify::new());
    loop {
        let notified = ended.notified();
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: one of ours ends, or something else gives some back.
                tracing::warn!(%error, "accept a connection");
                let _ = tokio::time::timeout(RETRY, notified).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (shared, ended, watcher) = (shared.clone(), ended.clone(), graceful.watcher());
        let tls = tls.clone();
        tokio::spawn(async move {
            let mut client = Client {
                peer: peer.to_string(),
                is_tls: tls.is_some(),
                parts: None,
            };
            match tls {
                None => {
                    let parts = client.parts.insert(Parts::default()).clone();
                    let stream = sendfile::Stream::new(stream, parts);
                    connection(shared, stream, client, watcher).await;
                }
                Some(acceptor) => {
                    let peer = &client.peer;
                    match tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(shared, stream, client, watcher).await,
                        Ok(Err(error)) => tracing::info!(%error, remote = peer, "TLS handshake"),
                        Err(_) => tracing::info!(remote = peer, "TLS handshake: no end of it"),
                    }
                }
            }
            ended.notify_waiters();
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn connection<S>(
    shared: Arc<Shared>,
    stream: S,
    client: Client,
    watcher: hyper_util::server::graceful::Watcher,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let spoken = Arc::new(Notify::new());
    let heard = spoken.clone();
    let service = hyper::service::service_fn(move |request| {
        heard.notify_one();
        let (shared, client) = (shared.clone(), client.clone());
        async move { Ok::<_, Infallible>(super::answer(shared, client, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Never by way of a buffer of hyper's own: `sendfile` relies on it.
        .writev(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_BUFFER)
        .title_case_headers(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(250)
        .max_header_list_size(MAX_HEAD as u32);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    match in_time(watcher.watch(connection), &spoken, HEAD).await {
        Some(Err(error)) => tracing::debug!(%error, "connection"),
        None => tracing::debug!("connection: nothing was asked"),
        Some(Ok(())) => {}
    }
}

/// The end of a connection; `None` if nothing was asked on it for so long. hyper waits without end for the first bytes, by which
/// it tells the versions of HTTP apart: its own limit begins behind them.
async fn in_time<T>(
    connection: impl Future<Output = T>,
    spoken: &Notify,
    patience: Duration,
) -> Option<T> {
    let silent = async {
        if tokio::time::timeout(patience, spoken.notified())
            .await
            .is_ok()
        {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = connection => Some(ended),
        () = silent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for() {
        let spoken = Notify::new();
        let silent = in_time(std::future::pending::<()>(), &spoken, Duration::ZERO);
        assert_eq!(silent.await, None);
        // Whoever has said something may take its time.
        spoken.notify_one();
        let later = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            7
        };
        assert_eq!(in_time(later, &spoken, Duration::ZERO).await, Some(7));
    }
}
