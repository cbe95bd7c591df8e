//! Parameters in the body of a request, as HTML forms send them and `curl -d t=5`: Go's `ParseForm` reads them before those
//! of the query.

use axum::body::Body;
use axum::extract::Request;
use http::{Method, Uri, header};

use crate::error::ApiError;
use crate::params::check_query;

/// The most that Go reads of a form.
const MOST: usize = 10 << 20;

/// The parameters of a request's body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Form(pub(crate) Vec<(String, String)>);

/// `request` without its body, and with the parameters in it as its [`Form`], if it has such.
///
/// # Errors
/// If there are too many, or they are not written as Go wants them: what a request is limited by must not get lost.
pub(crate) async fn read(request: Request) -> Result<Request, ApiError> {
    if !is_form(&request) || takes_files(request.uri()) {
        return Ok(request);
    }
    let (mut parts, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, MOST).await;
    let bytes = bytes.map_err(|_| ApiError::bad("http: POST too large"))?;
    check_query(&String::from_utf8_lossy(&bytes))?;
    let pairs = form_urlencoded::parse(&bytes).into_owned();
    parts.extensions.insert(Form(pairs.collect()));
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

/// Whether the body of a request for `uri` (without its version) is an archive or a stream: `curl --data-binary @FILE`
/// calls that a form, too.
fn takes_files(uri: &Uri) -> bool {
    let path = uri.path();
    let imports = || {
        let query = uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| name == "fromSrc" && !value.is_empty())
    };
    matches!(path, "/build" | "/images/load" | "/session" | "/grpc")
        || (path == "/images/create" && imports())
        || path.starts_with("/wharf/")
        || path.ends_with("/archive")
        || path.ends_with("/attach")
}

#[cfg(test)]
mod tests {
    use axum::extract::FromRequestParts as _;

    use super::*;
    use crate::params::Params;

    const FORM: &str = "application/x-www-form-urlencoded";

    async fn sent(path: &str, kind: &str, body: &str) -> Result<Params, String> {
        let request = http::Request::post(path)
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let (mut parts, _) = read(request)
            .await
            .map_err(|error| error.message)?
            .into_parts();
        let params = Params::from_request_parts(&mut parts, &()).await;
        params.map_err(|error| error.message)
    }

    #[tokio::test]
    async fn parameters_of_a_form_come_first() {
        let stop = sent("/containers/a/stop?t=1&x=2", FORM, "t=5&y=a%20b").await;
        let stop = stop.unwrap();
        assert_eq!(stop.all("t"), ["5", "1"]);
        assert_eq!((stop.get("x"), stop.get("y")), ("2", "a b"));
        let json = sent("/containers/a/stop?t=1", "application/json", "t=5").await;
        assert_eq!(json.unwrap().all("t"), ["1"]);
        let build = sent("/build?t=a", FORM, "t=5").await;
        assert_eq!(build.unwrap().all("t"), ["a"]);
    }

    #[tokio::test]
    async fn a_pull_is_a_form_and_an_import_none() {
        let pull = sent("/images/create", FORM, "fromImage=a").await.unwrap();
        assert_eq!(pull.get("fromImage"), "a");
        let import = sent("/images/create?fromSrc=-", FORM, "fromImage=a;%").await;
        assert_eq!(import.unwrap().get("fromImage"), "");
    }

    /// The filters of a prune among them: without them it would remove everything.
    #[tokio::test]
    async fn no_parameter_gets_lost() {
        let long = "x".repeat(100_000);
        let body = format!("filters={{\"label\":[\"{long}\"]}}");
        let prune = sent("/containers/prune", FORM, &body).await.unwrap();
        assert!(prune.filters().unwrap().has("label"));
        let much = "x".repeat(MOST + 1);
        for (body, words) in [
            (&*much, "http: POST too large"),
            ("a=1;b=2", "invalid semicolon separator in query"),
            ("filters=%zz", "invalid URL escape \"%zz\""),
        ] {
            let refused = sent("/containers/prune", FORM, body).await;
            assert_eq!(refused.unwrap_err(), words);
        }
    }
}
