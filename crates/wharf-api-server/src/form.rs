//! Parameters in the body of a request, as HTML forms send them and `curl -d t=5`: Go's `ParseForm` reads them before those
//! of the query.

use axum::body::Body;
use axum::extract::Request;
use form_urlencoded::Serializer;
use http::{Method, Uri, header};

use crate::error::ApiError;

/// The most that Go reads of a form.
const MOST: usize = 10 << 20;

/// `request` with the parameters of its body in its query, if it has such.
///
/// # Errors
/// If there are too many.
pub(crate) async fn merged(request: Request) -> Result<Request, ApiError> {
    if !is_form(&request) || takes_files(request.uri().path()) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await;
    let bytes = bytes.map_err(|_| ApiError::bad("http: POST too large"))?;
    let mut own = Serializer::new(String::new());
    own.extend_pairs(form_urlencoded::parse(&bytes));
    let own = own.finish();
    let pairs = [own.as_str(), parts.uri.query().unwrap_or_default()];
    let pairs: Vec<&str> = pairs
        .into_iter()
        .filter(|pairs| !pairs.is_empty())
        .collect();
    let target = format!("{}?{}", parts.uri.path(), pairs.join("&"));
    // One that is too long for a target is left out.
    if let Ok(uri) = target.parse::<Uri>() {
        parts.uri = uri;
    }
    Ok(Request::from_parts(parts, Body::empty()))
}

fn is_form(request: &Request) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let media = kind.split(';').next().unwrap_or_default().trim();
    let has_body = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    has_body && media.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the body of a request for `path` (without its version) is an archive or a stream: `curl --data-binary @FILE`
/// calls that a form, too.
fn takes_files(path: &str) -> bool {
    matches!(
        path,
        "/build" | "/images/load" | "/images/create" | "/session" | "/grpc"
    ) || path.starts_with("/wharf/")
        || path.ends_with("/archive")
        || path.ends_with("/attach")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn target(path: &str, kind: &str, body: &str) -> String {
        let request = http::Request::post(path)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        merged(request).await.unwrap().uri().to_string()
    }

    #[tokio::test]
    async fn parameters_of_a_form_come_first() {
        let form = "application/x-www-form-urlencoded";
        let stop = target("/containers/a/stop?t=1&x=2", form, "t=5&y=a%20b").await;
        assert_eq!(stop, "/containers/a/stop?t=5&y=a+b&t=1&x=2");
        let json = target("/containers/a/stop?t=1", "application/json", "t=5").await;
        assert_eq!(json, "/containers/a/stop?t=1");
        assert_eq!(target("/build?t=a", form, "t=5").await, "/build?t=a");
        assert_eq!(
            target("/containers/prune", form, "").await,
            "/containers/prune?"
        );
    }
}
