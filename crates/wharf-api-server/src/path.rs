//! Paths, as dockerd's router reads them before it looks for a route.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};

/// The path that a client is sent to if `uri` has empty parts, `.` or `..`; with the query.
pub(crate) fn cleaned(uri: &Uri) -> Option<String> {
    let path = uri.path();
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    let inner = path.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() || !inner.split('/').any(is_odd) {
        return None;
    }
    let mut parts = Vec::new();
    for part in inner.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    let query = uri.query().map(|query| format!("?{query}"));
    Some(format!(
        "/{}{slash}{}",
        parts.join("/"),
        query.unwrap_or_default()
    ))
}

/// 301.
pub(crate) fn moved(path: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, path);
    }
    response
}

/// Whether a path without its version is one that `HEAD` is for: dockerd has no more of them.
pub(crate) fn has_head(path: &str) -> bool {
    let archive = || {
        let name = path.strip_prefix("/containers/");
        name.is_some_and(|name| name.ends_with("/archive"))
    };
    path == "/_ping" || archive()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_parts_are_taken_out() {
        let cleaned = |path: &str| cleaned(&path.parse().expect("uri"));
        for straight in ["/", "/a", "/a/", "/v1.24/a/b?x=//"] {
            assert_eq!(cleaned(straight), None);
        }
        assert_eq!(cleaned("//info"), Some("/info".into()));
        assert_eq!(cleaned("/a//"), Some("/a/".into()));
        assert_eq!(cleaned("/a/./b/../c?x=1"), Some("/a/c?x=1".into()));
        assert_eq!(cleaned("/../.."), Some("/".into()));
    }

    #[test]
    fn head_is_for_two() {
        assert!(has_head("/_ping") && has_head("/containers/a/archive"));
        assert!(!has_head("/info") && !has_head("/images/a/archive"));
    }
}
