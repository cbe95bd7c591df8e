//! `POST /wharf/registry`: the image store as a registry on an address, read-only, as long as the request lasts.
//!
//! The reading half of the distribution specification ("Pull" and the lists of "Content Discovery"), over the blobs as they
//! lie in the store.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpListener;
use tokio_util::io::ReaderStream;
use wharf_images::Images;
use wharf_oci::Digest;

use super::State;
use crate::error::ApiError;
use crate::origin;
use crate::params::Params;
use crate::reply::{self, Answer};

/// Where it listens if nothing is said.
const DEFAULT: &str = "127.0.0.1:5000";
/// Time between two signs of life; the end of the client is seen by them.
const BEAT: Duration = Duration::from_secs(1);
/// Bytes that are read at a time.
const PIECE: usize = 256 * 1024;

/// What a request is answered from.
#[derive(Clone)]
struct Served {
    images: Images,
    /// On loopback, the names that are ours: a browser of this machine must not read images for a foreign page.
    names: Option<Arc<Vec<String>>>,
}

/// Ends the server with the request.
struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn serve(engine: State, params: Params) -> Answer {
    let wanted = match params.get("addr") {
        "" => DEFAULT,
        wanted => wanted,
    };
    let failed = |error: std::io::Error| ApiError::bad(format!("listen on {wanted}: {error}"));
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    let served = Served {
        images: engine.images.store().clone(),
        names: addr
            .ip()
            .is_loopback()
            .then(|| Arc::new(origin::names_of_this_machine())),
    };
    let router = Router::new().fallback(answer).with_state(served);
    let serving = Serving(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::warn!(%error, "the local registry ended");
        }
    }));
    let first = reply::line(&json!({ "Addr": addr.to_string() }));
    let beats = stream::unfold(serving, |serving| async {
        tokio::time::sleep(BEAT).await;
        Some((Ok(Bytes::from_static(b"\n")), serving))
    });
    let lines = stream::once(async { Ok(first) }).chain(beats);
    Ok(reply::stream("application/json", lines))
}

async fn answer(
    Shared(Served { images, names }): Shared<Served>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if let Some(names) = names
        && let Err(error) = origin::check(&headers, &uri, &names)
    {
        return refusal(error.status, "DENIED", &error.message).into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "the operation is unsupported: this registry is read only",
        )
        .into_response();
    }
    let found = match uri.path() {
        "/v2" | "/v2/" => Ok(document(&json!({}))),
        "/v2/_catalog" => Ok(document(
            &json!({ "repositories": images.served_repositories() }),
        )),
        path => inside(&images, path, &headers).await,
    };
    let mut response = found.unwrap_or_else(Refusal::into_response);
    response.headers_mut().insert(
        "docker-distribution-api-version",
        HeaderValue::from_static("registry/2.0"),
    );
    // Of an answer to a HEAD hyper sends the head alone, with the length.
    response
}

/// What is in a repository.
async fn inside(images: &Images, path: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let path = path.strip_prefix("/v2/").ok_or_else(unknown_page)?;
    if let Some(name) = path.strip_suffix("/tags/list") {
        let tags = images.served_tags(name);
        return match tags.is_empty() {
            true => Err(unknown_name()),
            false => Ok(document(&json!({ "name": name, "tags": tags }))),
        };
    }
    if let Some((name, which)) = path.rsplit_once("/manifests/") {
        return manifest(images, name, which);
    }
    let (_, digest) = path.rsplit_once("/blobs/").ok_or_else(unknown_page)?;
    blob(images, digest, headers).await
}

fn manifest(images: &Images, name: &str, which: &str) -> Result<Response, Refusal> {
    let found = images.served_manifest(name, which).map_err(|error| {
        refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "UNKNOWN",
            &error.to_string(),
        )
    })?;
    let (descriptor, bytes) = found.ok_or_else(|| {
        refusal(
            StatusCode::NOT_FOUND,
            "MANIFEST_UNKNOWN",
            "manifest unknown",
        )
    })?;
    let length = bytes.len() as u64;
    let mut response = Response::new(Body::from(bytes));
    let kind = HeaderValue::from_str(&descriptor.media_type);
    about(&mut response, &descriptor.digest, length, kind.ok());
    Ok(response)
}

async fn blob(images: &Images, digest: &str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let unknown = || {
        refusal(
            StatusCode::NOT_FOUND,
            "BLOB_UNKNOWN",
            "blob unknown to registry",
        )
    };
    let digest = Digest::parse(digest).map_err(|error| {
        refusal(
            StatusCode::BAD_REQUEST,
            "DIGEST_INVALID",
            &error.to_string(),
        )
    })?;
    let (file, size) = images.served_blob(&digest).ok_or_else(unknown)?;
    let range = headers
        .get(header::RANGE)
        .and_then(|value| range(value.to_str().ok()?));
    let (first, last) = match range {
        None => (0, size),
        Some((first, _)) if first >= size => {
            let mut response = refusal(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                "invalid content range",
            )
            .into_response();
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            return Ok(response);
        }
        Some((first, last)) => (
            first,
            last.map_or(size, |last| last.saturating_add(1).min(size)),
        ),
    };
    let mut file = tokio::fs::File::from_std(file);
    if first > 0 && file.seek(std::io::SeekFrom::Start(first)).await.is_err() {
        return Err(unknown());
    }
    let stream = ReaderStream::with_capacity(file.take(last - first), PIECE);
    let mut response = Response::new(Body::from_stream(stream));
    about(
        &mut response,
        &digest,
        last - first,
        Some(HeaderValue::from_static("application/octet-stream")),
    );
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if range.is_some() {
        let text = format!("bytes {first}-{}/{size}", last - 1);
        headers.extend(
            HeaderValue::from_str(&text)
                .ok()
                .map(|value| (header::CONTENT_RANGE, value)),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// First and last byte of `bytes=5-` or `bytes=5-9`; other ranges are not heeded, as they need not be.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some((first, None)),
        last => Some((first, Some(last.parse().ok()?))).filter(|(_, last)| *last >= Some(first)),
    }
}

fn about(response: &mut Response, digest: &Digest, length: u64, kind: Option<HeaderValue>) {
    let text = |text: String| HeaderValue::from_str(&text).ok();
    let headers = response.headers_mut();
    headers.extend(kind.map(|kind| (header::CONTENT_TYPE, kind)));
    headers.insert(header::CONTENT_LENGTH, length.into());
    let digest = digest.to_string();
    headers.extend(text(digest.clone()).map(|value| {
        (
            http::HeaderName::from_static("docker-content-digest"),
            value,
        )
    }));
    headers.extend(text(format!("\"{digest}\"")).map(|value| (header::ETAG, value)));
}

fn document(body: &Value) -> Response {
    reply::json(StatusCode::OK, body)
}

/// An answer that is an error, in the specification's form.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn into_response(self) -> Response {
        let error = json!({ "code": self.code, "message": self.message });
        reply::json(self.status, &json!({ "errors": [error] }))
    }
}

fn refusal(status: StatusCode, code: &'static str, message: &str) -> Refusal {
    Refusal {
        status,
        code,
        message: message.to_owned(),
    }
}

fn unknown_page() -> Refusal {
    refusal(StatusCode::NOT_FOUND, "UNSUPPORTED", "page not found")
}

fn unknown_name() -> Refusal {
    refusal(
        StatusCode::NOT_FOUND,
        "NAME_UNKNOWN",
        "repository name not known to registry",
    )
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes=5-"), Some((5, None)));
        assert_eq!(range("bytes=5-9"), Some((5, Some(9))));
        for other in ["bytes=9-5", "bytes=-5", "bytes=a-", "5-9", "bytes=1-2,4-5"] {
            assert_eq!(range(other), None, "{other}");
        }
    }
}
