//! Connections that stop being HTTP: attach and exec.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;
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
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        tokio::spawn(attachment.serve(ours));
        return answer(
            StatusCode::OK,
            kind,
            Body::from_stream(ReaderStream::new(theirs)),
        );
    }
    let upgrade = hyper::upgrade::on(&mut *request);
    let peer = request.extensions().get::<Peer>().cloned();
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => {
                head_is_read(peer).await;
                attachment.serve(TokioIo::new(connection)).await;
            }
            Err(error) => tracing::debug!(%error, "a client did not take its stream"),
        }
    });
    switching(kind)
}

/// An error on the way to a stream: a line of text, as dockerd writes it.
pub(crate) fn refuse(error: ApiError) -> Response {
    let text = format!("{}\r\n", error.message);
    answer(error.status, RAW, Body::from(text))
}

async fn head_is_read(peer: Option<Peer>) {
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
            head_is_read(peer).await;
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
