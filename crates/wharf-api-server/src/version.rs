//! The API version of a request: `/v1.NN/…`, or the newest.

use http::{StatusCode, Uri};
use wharf_api_types::{API_VERSION, MIN_API_VERSION};

use crate::error::ApiError;

/// A version of the API, 1.NN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32);

impl ApiVersion {
    pub(crate) fn newest() -> Self {
        Self::parse(API_VERSION).unwrap_or(Self(0))
    }

    fn oldest() -> Self {
        Self::parse(MIN_API_VERSION).unwrap_or(Self(0))
    }

    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        (minor < 1000).then_some(Self(major * 1000 + minor))
    }

    /// Whether it is before 1.`minor`.
    pub(crate) fn before(self, minor: u32) -> bool {
        self < Self(1000 + minor)
    }
}

/// Takes the version off the front of a path.
///
/// # Errors
/// In dockerd's words, if it is too new or too old.
pub(crate) fn split(uri: &Uri) -> Result<(ApiVersion, Uri), ApiError> {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let Some((text, rest)) = whole
        .strip_prefix("/v")
        .and_then(|rest| rest.split_at_checked(rest.find('/')?))
    else {
        return Ok((ApiVersion::newest(), uri.clone()));
    };
    let Some(version) = ApiVersion::parse(text) else {
        return Ok((ApiVersion::newest(), uri.clone()));
    };
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
    let uri = rest
        .parse()
        .map_err(|_| ApiError::new(StatusCode::NOT_FOUND, "page not found"))?;
    Ok((version, uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str) -> Result<(u32, String), String> {
        let uri: Uri = uri.parse().expect("uri");
        split(&uri)
            .map(|(version, uri)| (version.0, uri.to_string()))
            .map_err(|error| error.message)
    }

    #[test]
    fn the_prefix_is_taken_off_and_held_to_the_limits() {
        assert_eq!(check("/v1.41/info?x=1"), Ok((1041, "/info?x=1".into())));
        assert_eq!(check("/info"), Ok((1056, "/info".into())));
        assert_eq!(check("/volumes/v1.2"), Ok((1056, "/volumes/v1.2".into())));
        assert_eq!(
            check("/v1.99/info").unwrap_err(),
            "client version 1.99 is too new. Maximum supported API version is 1.56"
        );
        assert!(
            check("/v1.12/info")
                .unwrap_err()
                .starts_with("client version 1.12 is too old.")
        );
    }
}
