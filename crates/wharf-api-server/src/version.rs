//! The API version of a request: `/v1.NN/…`, or the newest.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Uri;
use wharf_api_types::{API_VERSION, MIN_API_VERSION};

use crate::error::ApiError;

/// A version of the API, 1.NN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32);

impl ApiVersion {
    pub(crate) fn newest() -> Self {
        Self::parse(API_VERSION)
    }

    fn oldest() -> Self {
        Self::parse(MIN_API_VERSION)
    }

    /// Go's `versions.Compare`: what is missing or no number is 0, and what follows the second number is not looked at.
    fn parse(text: &str) -> Self {
        let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0_u32));
        let major = numbers.next().unwrap_or(0).min(1000);
        let minor = numbers.next().unwrap_or(0).min(999);
        Self(major * 1000 + minor)
    }

    /// Whether it is before 1.`minor`.
    pub(crate) fn before(self, minor: u32) -> bool {
        self < Self(1000 + minor)
    }
}

/// What a request's path says of the version: the text after the `v`, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(Option<String>);

impl Prefix {
    /// The version.
    ///
    /// # Errors
    /// In dockerd's words, if it is none, too new or too old.
    fn asked(&self) -> Result<Asked, ApiError> {
        let Some(text) = &self.0 else {
            return Ok(Asked {
                version: ApiVersion::newest(),
            });
        };
        let version = ApiVersion::parse(text);
        if version > ApiVersion::newest() {
            return Err(ApiError::bad(format!(
                "client version {text} is too new. Maximum supported API version is {API_VERSION}"
            )));
        }
        if version < ApiVersion::oldest() {
            return Err(ApiError::bad(format!(
                "client version {text} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade your client to a newer version"
            )));
        }
        Ok(Asked { version })
    }
}

/// The version that a request is answered by (an extension of each).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) version: ApiVersion,
}

impl Asked {
    /// As a path with this prefix asks.
    #[cfg(test)]
    pub(crate) fn of(text: Option<&str>) -> Self {
        let prefix = Prefix(text.map(str::to_owned));
        prefix.asked().expect("a version that is spoken")
    }
}

/// Marks an answer to a request of a version that is not spoken: it says less of the daemon than others.
#[derive(Clone, Copy)]
pub(crate) struct Refused;

/// Takes the version off the front of a path: `/v`, digits and dots.
pub(crate) fn split(uri: &Uri) -> (Prefix, Uri) {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let split = || {
        let rest = whole.strip_prefix("/v")?;
        let (text, rest) = rest.split_at_checked(rest.find('/')?)?;
        let is_version = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        let uri = rest.parse().ok()?;
        (!text.is_empty() && text.bytes().all(is_version)).then(|| (text.to_owned(), uri))
    };
    match split() {
        Some((text, uri)) => (Prefix(Some(text)), uri),
        None => (Prefix(None), uri.clone()),
    }
}

/// Before every handler: the version that is asked for becomes an extension of the request, or the answer is why not.
pub(crate) async fn check(mut request: Request, next: Next) -> Response {
    match prefix(request.extensions()).asked() {
        Ok(asked) => {
            request.extensions_mut().insert(asked);
            next.run(request).await
        }
        Err(error) => refused(error),
    }
}

fn prefix(extensions: &http::Extensions) -> Prefix {
    extensions.get::<Prefix>().cloned().unwrap_or(Prefix(None))
}

fn refused(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.extensions_mut().insert(Refused);
    response
}

/// The answer to `OPTIONS`, whatever the path: nothing, or why the version is not spoken.
pub(crate) fn options(extensions: &http::Extensions) -> Response {
    match prefix(extensions).asked() {
        Ok(_) => http::StatusCode::OK.into_response(),
        Err(error) => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str) -> Result<(u32, String), String> {
        let uri: Uri = uri.parse().expect("uri");
        let (prefix, rest) = split(&uri);
        let asked = prefix.asked().map_err(|error| error.message)?;
        Ok((asked.version.0, rest.to_string()))
    }

    #[test]
    fn the_prefix_is_taken_off_and_held_to_the_limits() {
        assert_eq!(check("/v1.41/info?x=1"), Ok((1041, "/info?x=1".into())));
        assert_eq!(check("/v1.41.2/info"), Ok((1041, "/info".into())));
        assert_eq!(check("/info"), Ok((1056, "/info".into())));
        assert_eq!(check("/volumes/v1.2"), Ok((1056, "/volumes/v1.2".into())));
        assert_eq!(check("/va/info"), Ok((1056, "/va/info".into())));
        assert_eq!(
            check("/v1.99/info").unwrap_err(),
            "client version 1.99 is too new. Maximum supported API version is 1.56"
        );
        for old in ["1.12", "1", "0.1"] {
            let error = check(&format!("/v{old}/info")).unwrap_err();
            assert!(error.starts_with(&format!("client version {old} is too old.")));
        }
    }
}
