//! Answers: JSON documents, streams of JSON lines, nothing.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// What a handler returns.
pub(crate) type Answer = Result<Response, crate::error::ApiError>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON document, with the newline that Go's encoder puts behind it.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    let mut response = match serde_json::to_vec(body) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            Response::new(Body::from(bytes))
        }
        Err(error) => {
            tracing::error!(%error, "an answer is not JSON");
            Response::new(Body::empty())
        }
    };
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// 200 with a document.
pub(crate) fn ok(body: &impl Serialize) -> Answer {
    Ok(json(StatusCode::OK, body))
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

/// 200 with a stream; each item is on its way as soon as it is there.
pub(crate) fn stream<S>(content_type: &'static str, items: S) -> Response
where
    S: futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
{
    let mut response = Response::new(Body::from_stream(items));
    let kind = HeaderValue::from_static(content_type);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A document as one line of such a stream.
pub(crate) fn line(document: &impl Serialize) -> Bytes {
    // Our own types have no map keys but strings, and nothing else can fail.
    let mut bytes = serde_json::to_vec(document).unwrap_or_default();
    // Docker ends the lines of progress streams with both.
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}
