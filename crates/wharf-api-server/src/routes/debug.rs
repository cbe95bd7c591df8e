//! `/debug`: what Go's `expvar` and `net/http/pprof` tell of a dockerd, as far as it can be told of a program that is
//! not Go's. Its profiles (heap, goroutines, …) are refused: there is no such thing here.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::any;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use wharf_engine::Engine;

use crate::error::ApiError;
use crate::reply::Answer;

/// The profiles that a Go program has (package `runtime/pprof`), and the two that are recorded on demand.
const PROFILES: &[&str] = &[
    "allocs",
    "block",
    "goroutine",
    "heap",
    "mutex",
    "profile",
    "threadcreate",
    "trace",
];

/// The routes; dockerd answers them whatever the method.
pub(super) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/debug/vars", any(vars))
        .route("/debug/pprof/", any(index))
        .route("/debug/pprof/cmdline", any(cmdline))
        .route("/debug/pprof/symbol", any(symbol))
        .route("/debug/pprof/{name}", any(profile))
}

/// The words that the daemon was started with.
fn words() -> Vec<String> {
    let words = std::env::args_os();
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// `expvar`'s document. Its other variable, `memstats`, is that of Go's garbage collector.
async fn vars() -> Answer {
    let document = json!({ "cmdline": words() });
    let text = format!("{document:#}\n");
    answer(StatusCode::OK, "application/json; charset=utf-8", text)
}

async fn index() -> Answer {
    let head = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n";
    let rows = "<ul>\n<li><a href='cmdline'>cmdline</a></li>\n</ul>\n</body>\n</html>\n";
    let page = format!("{head}{rows}");
    answer(StatusCode::OK, "text/html; charset=utf-8", page)
}

async fn cmdline() -> Answer {
    plain(StatusCode::OK, words().join("\0"))
}

/// Who looks addresses up asks first whether there are symbols: there are none.
async fn symbol() -> Answer {
    plain(StatusCode::OK, "num_symbols: 0\n")
}

async fn profile(Path(name): Path<String>) -> Answer {
    if PROFILES.contains(&name.as_str()) {
        return Err(ApiError::not_implemented("a profile of Go's runtime"));
    }
    plain(StatusCode::NOT_FOUND, "Unknown profile\n")
}

fn plain(status: StatusCode, text: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, kind: &'static str, text: impl Into<String>) -> Answer {
    let mut response = Response::new(Body::from(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let name = HeaderName::from_static("x-content-type-options");
    headers.insert(name, HeaderValue::from_static("nosniff"));
    Ok(response)
}
