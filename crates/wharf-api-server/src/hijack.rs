//! Connections that stop being HTTP: attach and exec.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use wharf_engine::Attachment;

use crate::error::ApiError;
use crate::peer::Peer;
use crate::version::ApiVersion;

const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Answers `request` with the attachment's streams: on the connection itself if the client asks to upgrade it,
/// else as a body (then there is no stdin).
pub(crate) fn attach(
    request: &mut Request,
    version: ApiVersion,
    attachment: Attachment,
) -> Response {
    // Clients before 1.42 know one name for both, and so do those that do not upgrade.
    let upgrades = request.headers().contains_key(header::UPGRADE);
    let kind = if attachment.tty() || version.before(42) || !upgrades {
        RAW
    } else {
        MULTIPLEXED
    };
    if !upgrades {
        return answer(StatusCode::OK, kind, body(attachment));
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let peer = request.extensions().get::<Peer>().cloned();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                head_is_read(peer.as_ref()).await;
                serve(TokioIo::new(connection), peer, attachment).await;
            }
            Err(error) => tracing::debug!(%error, "a client did not take its stream"),
        }
    });
    switching(kind)
}

/// The output as a body. Who drops it is gone.
fn body(attachment: Attachment) -> Body {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let gone = CancellationToken::new();
    tokio::spawn(attachment.serve(ours, gone.clone().cancelled_owned()));
    let gone = gone.drop_guard();
    let output = ReaderStream::new(theirs).inspect(move |_| {
        let _ = &gone;
    });
    Body::from_stream(output)
}

async fn serve(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin,
    peer: Option<Peer>,
    attachment: Attachment,
) {
    let Some(peer) = peer else {
        attachment.serve(connection, std::future::pending()).await;
        return;
    };
    tokio::select! {
        _ = attachment.serve(connection, peer.closed()) => {}
        // The daemon ends, and a container that goes on keeps its stdin.
        () = peer.last() => {}
    }
}

/// An error on the way to a stream: a line of text, as dockerd writes it.
pub(crate) fn refuse(error: ApiError) -> Response {
    let text = format!("{}\r\n", error.message);
    answer(error.status, RAW, Body::from(text))
}

async fn head_is_read(peer: Option<&Peer>) {
    if let Some(peer) = peer {
        peer.has_read().await;
    }
}

/// Answers with a stream that holds one line of text, and ends.
pub(crate) fn say(
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    peer: Option<Peer>,
    version: ApiVersion,
    tty: bool,
    text: &str,
) -> Response {
    let text = format!("{text}\r\n");
    let mut bytes = Vec::new();
    if !tty {
        bytes.extend([1, 0, 0, 0]);
        bytes.extend((text.len() as u32).to_be_bytes());
    }
    bytes.extend(text.as_bytes());
    let Some(upgrade) = upgrade else {
        return answer(StatusCode::OK, RAW, Body::from(bytes));
    };
    tokio::spawn(async move {
        if let Ok(connection) = upgrade.await {
            head_is_read(peer.as_ref()).await;
            let mut connection = TokioIo::new(connection);
            // A client that has gone does not hear it.
            let _ = connection.write_all(&bytes).await;
            let _ = connection.shutdown().await;
        }
    });
    switching(if tty || version.before(42) {
        RAW
    } else {
        MULTIPLEXED
    })
}

fn switching(kind: &'static str) -> Response {
    let mut response = answer(StatusCode::SWITCHING_PROTOCOLS, kind, Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    response
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b"UPGRADED"));
    response
}

fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
