//! Paths, as dockerd's router reads them before it looks for a route.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What is kept as it is in a path that a client is sent to: as Go's `url.URL` writes them.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// The path that a client is sent to if that of `uri` has empty parts, `.` or `..`, escaped or not; with the query.
pub(crate) fn cleaned(uri: &Uri) -> Option<String> {
    let path: Vec<u8> = percent_decode_str(uri.path()).collect();
    let is_odd = |part: &[u8]| matches!(part, b"" | b"." | b"..");
    let inner = path.strip_prefix(b"/")?;
    let inner = inner.strip_suffix(b"/").unwrap_or(inner);
    let split = || inner.split(|byte| *byte == b'/');
    if inner.is_empty() || !split().any(is_odd) {
        return None;
    }
    let mut parts = Vec::new();
    for part in split() {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(percent_encode(part, ESCAPED).to_string()),
        }
    }
    let slash = if path.ends_with(b"/") && !parts.is_empty() {
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

/// Whether every `%` of the path begins an escaped byte. Go's server does not look at other requests.
pub(crate) fn is_escaped_well(uri: &Uri) -> bool {
    let mut parts = uri.path().split('%');
    parts.next();
    parts.all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// 400, in the words of Go's server.
pub(crate) fn malformed() -> Response {
    let mut response = Response::new(Body::from("400 Bad Request"));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let headers = response.headers_mut();
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, text);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
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
        assert_eq!(cleaned("/images/a%2Fb/json"), None);
        assert_eq!(
            cleaned("/containers/%2Fa%20b/json?x=%2F"),
            Some("/containers/a%20b/json?x=%2F".into())
        );
        assert_eq!(cleaned("/a/%2e%2E/b"), Some("/b".into()));
    }

    #[test]
    fn half_escapes_are_seen() {
        let is_good = |path: &str| is_escaped_well(&path.parse().expect("uri"));
        assert!(is_good("/a") && is_good("/a%20b%2F") && is_good("/a?%"));
        assert!(!is_good("/a%") && !is_good("/%2") && !is_good("/%zz/b"));
    }

    #[test]
    fn head_is_for_two() {
        assert!(has_head("/_ping") && has_head("/containers/a/archive"));
        assert!(!has_head("/info") && !has_head("/images/a/archive"));
    }
}
