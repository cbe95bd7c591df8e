//! Paths, as dockerd's router reads them before it looks for a route.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode, Uri, header};
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

/// What may be asked of a named object, behind its name.
const VERBS: &[&str] = &[
    "/attach/ws",
    "/archive",
    "/attach",
    "/changes",
    "/checkpoints",
    "/connect",
    "/disconnect",
    "/exec",
    "/export",
    "/json",
    "/kill",
    "/logs",
    "/pause",
    "/rename",
    "/resize",
    "/restart",
    "/start",
    "/stats",
    "/stop",
    "/top",
    "/unpause",
    "/update",
    "/wait",
];

/// Paths of a kind of object that are no names in one method, and names in another: a container may be called `json`.
const WORDS: &[&str] = &["create", "get", "json", "load", "prune", "search"];

/// The path without its version, its name as one part that no route takes for a word: dockerd takes all that stands between
/// the kind of an object and the verb for the name. None if there is nothing to change.
fn one_name(method: &Method, path: &str) -> Option<String> {
    let (kind, rest) = path.strip_prefix('/')?.split_once('/')?;
    let (name, verb) = split_name(method, kind, rest)?;
    let name = match WORDS.contains(&name) {
        true => format!("%{:02X}{}", name.as_bytes().first()?, name.get(1..)?),
        // Names of images have slashes, and a route for them.
        false if name.contains('/') && kind != "images" => name.replace('/', "%2F"),
        false => return None,
    };
    Some(format!("/{kind}/{name}{verb}"))
}

/// What of the path behind `kind` is a name, and what a verb; none where it is neither.
fn split_name<'a>(method: &Method, kind: &str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let verb = VERBS.iter().find_map(|verb| {
        let name = rest.strip_suffix(verb)?;
        (!name.is_empty()).then(|| (name, &rest[name.len()..]))
    });
    match kind {
        "containers" if *method == Method::DELETE => Some(of_delete(rest)),
        "containers" | "exec" => verb,
        "images" if *method == Method::DELETE => Some((rest, "")),
        "volumes" | "networks" if *method == Method::POST => verb,
        "volumes" | "networks" => Some((rest, "")),
        _ => None,
    }
}

/// `uri`, its path as [`one_name`] has it.
pub(crate) fn with_one_name(method: &Method, uri: Uri) -> Uri {
    let Some(path) = one_name(method, uri.path()) else {
        return uri;
    };
    let query = uri.query().map(|query| format!("?{query}"));
    let whole = format!("{path}{}", query.unwrap_or_default());
    whole.parse().unwrap_or(uri)
}

/// `DELETE` has no verb but for checkpoints, which are looked for first.
fn of_delete(rest: &str) -> (&str, &str) {
    let checkpoint = rest.rsplit_once('/').and_then(|(front, checkpoint)| {
        let name = front.strip_suffix("/checkpoints")?;
        (!checkpoint.is_empty()).then_some(name)
    });
    rest.split_at(checkpoint.map_or(rest.len(), str::len))
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
    fn a_name_may_have_slashes() {
        let check = |method: Method, path: &str| one_name(&method, path);
        for plain in [
            "/containers/json",
            "/containers/a/json",
            "/images/a/b/json",
            "/info",
        ] {
            assert_eq!(check(Method::GET, plain), None);
        }
        let found = check(Method::GET, "/containers/a/b/json").unwrap();
        assert_eq!(found, "/containers/a%2Fb/json");
        let found = check(Method::GET, "/containers/a/attach/ws");
        assert_eq!(found, None);
        let found = check(Method::POST, "/containers/a/b/c/start").unwrap();
        assert_eq!(found, "/containers/a%2Fb%2Fc/start");
        assert_eq!(check(Method::GET, "/containers/a/b"), None);
        let found = check(Method::DELETE, "/containers/a/json").unwrap();
        assert_eq!(found, "/containers/a%2Fjson");
        assert_eq!(check(Method::DELETE, "/containers/a/checkpoints/b"), None);
        let found = check(Method::DELETE, "/containers/a/b/checkpoints/c").unwrap();
        assert_eq!(found, "/containers/a%2Fb/checkpoints/c");
        let found = check(Method::GET, "/volumes/a/b").unwrap();
        assert_eq!(found, "/volumes/a%2Fb");
        let found = check(Method::POST, "/networks/a/b/connect").unwrap();
        assert_eq!(found, "/networks/a%2Fb/connect");
        assert_eq!(check(Method::POST, "/networks/a/b"), None);
        assert_eq!(check(Method::DELETE, "/images/a/b"), None);
    }

    #[test]
    fn a_name_may_be_a_word_of_the_api() {
        let check = |method: Method, path: &str| one_name(&method, path);
        let found = check(Method::DELETE, "/containers/json").unwrap();
        assert_eq!(found, "/containers/%6Ason");
        let found = check(Method::DELETE, "/images/get").unwrap();
        assert_eq!(found, "/images/%67et");
        let found = check(Method::GET, "/volumes/create").unwrap();
        assert_eq!(found, "/volumes/%63reate");
        for plain in ["/volumes/create", "/networks/prune", "/containers/create"] {
            assert_eq!(check(Method::POST, plain), None);
        }
    }

    #[test]
    fn head_is_for_two() {
        assert!(has_head("/_ping") && has_head("/containers/a/archive"));
        assert!(!has_head("/info") && !has_head("/images/a/archive"));
    }
}
