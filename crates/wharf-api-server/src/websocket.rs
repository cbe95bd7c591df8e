//! `attach` over a WebSocket: one binary message for each piece of output, and what the client sends is stdin.
//!
//! As with dockerd, the output of either stream comes as it is, without Docker's frames.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{Buf as _, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tokio_util::sync::CancellationToken;
use wharf_engine::Attachment;

use crate::error::ApiError;

/// The bytes of one of Docker's frame heads: the stream, three of nothing, the length.
const HEAD: usize = 8;

/// The key of a handshake.
///
/// # Errors
/// If it is none.
pub(crate) fn key(headers: &HeaderMap) -> Result<String, ApiError> {
    let text = |name: header::HeaderName| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    };
    if !text(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return Err(ApiError::bad("not websocket protocol"));
    }
    match text(header::SEC_WEBSOCKET_KEY) {
        "" => Err(ApiError::bad("missing or bad Sec-WebSocket-Key")),
        key => Ok(derive_accept_key(key.as_bytes())),
    }
}

/// Answers the handshake, and gives the connection to the attachment.
pub(crate) fn attach(request: &mut Request, key: &str, attachment: Attachment) -> Response {
    let upgrade = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let connection = match upgrade.await {
            Ok(connection) => TokioIo::new(connection),
            Err(error) => return tracing::debug!(%error, "a client did not take its WebSocket"),
        };
        let socket = WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
        let framed = !attachment.tty();
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let left = CancellationToken::new();
        let serve = tokio::spawn(attachment.serve(theirs, left.clone().cancelled_owned()));
        let (output, input) = tokio::io::split(ours);
        let (sink, messages) = socket.split();
        // There is no half of a WebSocket: who says no more hears no more, and the other way round.
        let left = left.drop_guard();
        let said = tokio::spawn(async move {
            stdin(messages, input).await;
            drop(left);
        });
        if let Err(error) = stdout(sink, output, framed).await {
            tracing::debug!(%error, "attach over a WebSocket");
        }
        said.abort();
        let _ = serve.await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, key);
    }
    response
}

/// Messages to bytes, until the client closes or goes. Pings are answered by the stream itself.
async fn stdin(
    mut messages: impl futures_util::Stream<Item = Result<Message, Error>> + Unpin,
    mut input: WriteHalf<DuplexStream>,
) {
    while let Some(Ok(message)) = messages.next().await {
        let written = match message {
            Message::Binary(bytes) => input.write_all(&bytes).await,
            Message::Text(text) => input.write_all(text.as_bytes()).await,
            Message::Close(_) => break,
            _ => Ok(()),
        };
        if written.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

/// Bytes to messages, until the container's output ends.
async fn stdout(
    mut sink: impl futures_util::Sink<Message, Error = Error> + Unpin,
    mut output: ReadHalf<DuplexStream>,
    framed: bool,
) -> Result<(), Error> {
    let mut known = BytesMut::with_capacity(32 * 1024);
    while output.read_buf(&mut known).await.map_err(Error::Io)? > 0 {
        while let Some(piece) = piece(&mut known, framed) {
            sink.send(Message::Binary(piece.freeze())).await?;
        }
    }
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    };
    sink.send(Message::Close(Some(normal))).await
}

/// The next piece of output, its frame taken off; none before all of it is there.
fn piece(known: &mut BytesMut, framed: bool) -> Option<BytesMut> {
    if !framed {
        return Some(known.split()).filter(|piece| !piece.is_empty());
    }
    let head = known.get(..HEAD)?;
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if known.len() < HEAD + length {
        return None;
    }
    known.advance(HEAD);
    Some(known.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_off_one_by_one() {
        let mut known = BytesMut::from(&b"\x01\0\0\0\0\0\0\x02hi\x02\0\0\0\0\0\0\x03ab"[..]);
        assert_eq!(piece(&mut known, true).as_deref(), Some(&b"hi"[..]));
        assert_eq!(piece(&mut known, true), None);
        known.extend_from_slice(b"c");
        assert_eq!(piece(&mut known, true).as_deref(), Some(&b"abc"[..]));
        assert_eq!(piece(&mut known, true), None);
        let mut raw = BytesMut::from(&b"raw"[..]);
        assert_eq!(piece(&mut raw, false).as_deref(), Some(&b"raw"[..]));
        assert_eq!(piece(&mut raw, false), None);
    }
}
