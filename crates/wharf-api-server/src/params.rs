//! Query parameters and bodies, read as Docker reads them.

use std::num::{IntErrorKind, ParseIntError};

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use wharf_api_types::go::{self, GoError};
use wharf_engine::Filters;

use crate::compat;
use crate::error::ApiError;
use crate::form::Form;
use crate::version::Asked;

/// The largest body of a JSON request; images and archives are streamed.
const MAX_BODY: usize = 4 << 20;

/// The query of a request, behind the parameters in its body, as far as its version knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        check_query(query)?;
        let pairs = form_urlencoded::parse(query.as_bytes());
        let form = parts.extensions.remove::<Form>().unwrap_or_default();
        let mut all: Vec<_> = form.0.into_iter().chain(pairs.into_owned()).collect();
        if let Some(asked) = parts.extensions.get::<Asked>() {
            all.retain(|(name, _)| compat::is_known(parts.uri.path(), name, asked.version));
        }
        Ok(Self(all))
    }
}

/// What Go's `url.ParseQuery` refuses.
pub(crate) fn check_query(query: &str) -> Result<(), ApiError> {
    if query.contains(';') {
        return Err(ApiError::bad("invalid semicolon separator in query"));
    }
    for (at, _) in query.match_indices('%') {
        let escape = query.as_bytes().get(at + 1..at + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            let shown: String = query[at..].chars().take(3).collect();
            return Err(ApiError::bad(format!("invalid URL escape {shown:?}")));
        }
    }
    Ok(())
}

impl Params {
    /// The first value of `name`; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// All values of `name`.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// The value of `name` unless it is empty.
    pub(crate) fn some(&self, name: &str) -> Option<String> {
        Some(self.get(name).to_owned()).filter(|value| !value.is_empty())
    }

    /// moby's `httputils.BoolValue`: everything but a few words is true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// As [`Params::flag`], with another value if the parameter is not there.
    pub(crate) fn flag_or(&self, name: &str, default: bool) -> bool {
        if !self.0.iter().any(|(key, _)| key == name) {
            return default;
        }
        let value = self.get(name).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// A number; none if it is not there or empty.
    pub(crate) fn number<N>(&self, name: &str) -> Result<Option<N>, ApiError>
    where
        N: std::str::FromStr<Err = ParseIntError>,
    {
        let Some(text) = self.some(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: ParseIntError| {
            let why = match error.kind() {
                IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            ApiError::bad(format!("strconv.Atoi: parsing {text:?}: {why}"))
        })
    }

    /// `filters`: `{"key": ["value"]}`, or `{"key": {"value": true}}` from old clients.
    pub(crate) fn filters(&self) -> Result<Filters, ApiError> {
        let mut filters = Filters::default();
        let Some(text) = self.some("filters") else {
            return Ok(filters);
        };
        let bad = || ApiError::bad("invalid filter");
        let document: serde_json::Value = serde_json::from_str(&text).map_err(|_| bad())?;
        if document.is_null() {
            return Ok(filters);
        }
        for (key, values) in document.as_object().ok_or_else(bad)? {
            match values {
                serde_json::Value::Array(list) => {
                    for value in list {
                        filters.add(key, value.as_str().ok_or_else(bad)?);
                    }
                }
                serde_json::Value::Object(set) => {
                    set.keys().for_each(|value| filters.add(key, value))
                }
                _ => return Err(bad()),
            }
        }
        Ok(filters)
    }
}

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Sync + Send> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        check_kind(&parts.headers, !bytes.is_empty())?;
        if bytes.is_empty() {
            let text = "invalid JSON: got EOF while reading request body";
            return Err(ApiError::bad(text));
        }
        parse(&bytes).map(Self)
    }
}

/// A JSON body that may be missing.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default, S: Sync + Send> FromRequest<S> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read(body).await?;
        check_kind(&parts.headers, !bytes.is_empty())?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse(&bytes).map(Self)
    }
}

/// Reads a body to its end and forgets it. A client that is still sending does not read an answer: it would only see that its
/// connection is closed.
pub(crate) async fn drain(request: Request) {
    use futures_util::StreamExt as _;
    let mut body = request.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

/// A body that is no stream.
pub(crate) async fn read(body: axum::body::Body) -> Result<Bytes, ApiError> {
    let read = axum::body::to_bytes(body, MAX_BODY).await;
    read.map_err(|error| {
        let cause = std::error::Error::source(&error);
        match cause.is_some_and(|cause| cause.is::<LengthLimitError>()) {
            true => ApiError::bad(format!("request body is larger than {MAX_BODY} bytes")),
            // Its end is missing, or it is no chunks.
            false => ApiError::bad("invalid JSON: unexpected EOF"),
        }
    })
}

fn check_kind(headers: &HeaderMap, has_body: bool) -> Result<(), ApiError> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or("");
    let media = kind.split(';').next().unwrap_or_default().trim();
    match media {
        _ if media.eq_ignore_ascii_case("application/json") => Ok(()),
        "" if !has_body => Ok(()),
        "" => Err(ApiError::bad(
            "malformed Content-Type header (): mime: no media type",
        )),
        _ => {
            let text =
                format!("unsupported Content-Type header ({kind}): must be 'application/json'");
            Err(ApiError::bad(text))
        }
    }
}

/// A document, and nothing behind it.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    go::from_slice(bytes).map_err(|error| match error {
        GoError::Trailing => ApiError::bad(error.to_string()),
        error => ApiError::bad(format!("invalid JSON: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        Params(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    #[test]
    fn flags_are_gos() {
        let params = params("a=1&b=0&c=False&d=x&e=&f=none");
        let set: Vec<_> = ["a", "b", "c", "d", "e", "f", "g"]
            .into_iter()
            .filter(|name| params.flag(name))
            .collect();
        assert_eq!(set, ["a", "d"]);
        assert!(params.flag_or("g", true));
    }

    #[test]
    fn numbers_are_gos() {
        let params = params("a=5&b=x&c=99999999999999999999&d=&e=-1");
        let number = |name| {
            let number = params.number::<i64>(name);
            number.map_err(|error| error.message)
        };
        assert_eq!((number("a"), number("d")), (Ok(Some(5)), Ok(None)));
        assert_eq!((number("e"), number("f")), (Ok(Some(-1)), Ok(None)));
        let wrong = |text: &str, why: &str| Err(format!("strconv.Atoi: parsing {text:?}: {why}"));
        assert_eq!(number("b"), wrong("x", "invalid syntax"));
        let long = "99999999999999999999";
        assert_eq!(number("c"), wrong(long, "value out of range"));
    }

    #[test]
    fn queries_are_checked_as_go_does() {
        let check = |query: &str| check_query(query).map_err(|error| error.message);
        assert_eq!(check("a=b&c=%20+%C3%A9&d"), Ok(()));
        for (query, words) in [
            ("a=%zz", "invalid URL escape \"%zz\""),
            ("a=%2", "invalid URL escape \"%2\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            assert_eq!(check(query), Err(words.to_owned()));
        }
    }

    #[test]
    fn filters_come_in_two_shapes() {
        let new = params("filters=%7B%22label%22%3A%5B%22a%3Db%22%5D%7D")
            .filters()
            .expect("filters");
        let old = params("filters=%7B%22label%22%3A%7B%22a%3Db%22%3Atrue%7D%7D")
            .filters()
            .expect("filters");
        assert_eq!(new, old);
        assert!(new.has("label"));
        assert_eq!(
            params("filters=x").filters().expect_err("bad").message,
            "invalid filter"
        );
    }
}
