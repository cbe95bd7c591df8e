//! Query parameters and bodies, read as Docker reads them.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use wharf_engine::Filters;

use crate::error::ApiError;

/// The largest body of a JSON request; images and archives are streamed.
const MAX_BODY: usize = 4 << 20;

/// The query of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.into_owned().collect()))
    }
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
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, ApiError> {
        let Some(text) = self.some(name) else {
            return Ok(None);
        };
        let number = text.parse().map(Some);
        number.map_err(|_| ApiError::bad(format!("strconv.Atoi: parsing {text:?}: invalid syntax")))
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

async fn read(body: axum::body::Body) -> Result<Bytes, ApiError> {
    let read = axum::body::to_bytes(body, MAX_BODY).await;
    read.map_err(|_| ApiError::bad(format!("request body is larger than {MAX_BODY} bytes")))
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

/// A document, and nothing behind it. As Go reads it, `null` is the zero value.
fn parse<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T, ApiError> {
    // Every body is an object; a list would be taken for its fields in their order.
    if bytes.trim_ascii_start().starts_with(b"[")
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    {
        let text = "invalid JSON: json: cannot unmarshal array into Go value of type struct";
        return Err(ApiError::bad(text));
    }
    let mut documents = serde_json::Deserializer::from_slice(bytes);
    let document = Option::<T>::deserialize(&mut documents)
        .map_err(|error| ApiError::bad(format!("invalid JSON: {}", why(bytes, &error))))?;
    match documents.end() {
        Ok(()) => Ok(document.unwrap_or_default()),
        Err(_) => Err(ApiError::bad("unexpected content after JSON")),
    }
}

/// Where Go's decoder has words of its own for what is no JSON, those.
pub(crate) fn why(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected EOF".to_owned();
    }
    let line = bytes
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let at = line.and_then(|line| line.get(error.column().saturating_sub(1)));
    match at {
        Some(at) if error.is_syntax() && at.is_ascii_graphic() => {
            let at = char::from(*at);
            format!("invalid character '{at}' looking for beginning of value")
        }
        _ => error.to_string(),
    }
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
