//! Paths and queries.

use http::Method;
use wharf_oci::Digest;

use crate::Error;
use crate::names::{self, Name, UploadId, Which, digest};

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: whether the server is up.
    Health,
    /// `/v2/`: whether this is a registry, and the caller may use it.
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(Name),
    /// `/v2/<name>/manifests/<reference>`
    Manifest(Name, Which),
    /// `/v2/<name>/blobs/<digest>`
    Blob(Name, Digest),
    /// `/v2/<name>/blobs/uploads/`
    Uploads(Name),
    /// `/v2/<name>/blobs/uploads/<uuid>`
    Upload(Name, UploadId),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(Name, Digest),
    /// `/v1/_ping`
    Ping,
    /// `/v1/search`
    Search,
}

impl Route {
    /// # Errors
    /// [`Error::NoRoute`], or what is wrong with a name in the path.
    pub(super) fn parse(path: &str, method: &Method) -> Result<Route, Error> {
        let path = unescape(path).ok_or(Error::NoRoute)?;
        match path.as_str() {
            "/" => return Ok(Route::Health),
            "/v2" | "/v2/" => return Ok(Route::Base),
            "/v2/_catalog" => return Ok(Route::Catalog),
            "/v1/_ping" => return Ok(Route::Ping),
            "/v1/search" => return Ok(Route::Search),
            _ => {}
        }
        let rest = path.strip_prefix("/v2/").ok_or(Error::NoRoute)?;
        // From the end, as the words may be parts of names as well.
        let mut parts = rest.rsplitn(4, '/');
        let (last, second) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let third = parts.next().unwrap_or_default();
        let before = |suffix: usize| {
            Name::parse(
                rest.get(..rest.len().saturating_sub(suffix))
                    .unwrap_or_default(),
            )
        };
        let two = last.len() + second.len() + 2;
        match (third, second, last) {
            ("blobs", "uploads", "") => before(two + "blobs/".len()).map(Route::Uploads),
            (_, "blobs", "uploads") => before(two).map(Route::Uploads),
            ("blobs", "uploads", id) => Ok(Route::Upload(
                before(two + "blobs/".len())?,
                UploadId::parse(id)?,
            )),
            (_, "tags", "list") => before(two).map(Route::Tags),
            (_, "manifests", reference) => {
                let name = before(two)?;
                match Which::parse(reference) {
                    // No tag of ours is called that, so there is no such manifest.
                    Err(Error::TagInvalid(tag)) if method != Method::PUT => {
                        Err(Error::ManifestUnknown(tag))
                    }
                    which => Ok(Route::Manifest(name, which?)),
                }
            }
            (_, "blobs", text) => Ok(Route::Blob(before(two)?, digest(text)?)),
            (_, "referrers", text) => Ok(Route::Referrers(before(two)?, digest(text)?)),
            _ => Err(Error::NoRoute),
        }
    }

    /// The kind of thing, for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Route::Health => "health",
            Route::Base => "base",
            Route::Catalog => "catalog",
            Route::Tags(_) => "tags",
            Route::Manifest(..) => "manifest",
            Route::Blob(..) => "blob",
            Route::Uploads(_) | Route::Upload(..) => "upload",
            Route::Referrers(..) => "referrers",
            Route::Ping | Route::Search => "search",
        }
    }
}

/// Takes `%XX` out of a path; `None` if that is malformed, or no text.
fn unescape(path: &str) -> Option<String> {
    if !path.contains('%') {
        return Some(path.to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(..2)?).ok()?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Query {
        Query(
            form_urlencoded::parse(text.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The first value of a parameter, if it is there and not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The parameter `tag`, as often as it is there: what a manifest that is put by its digest is to be called.
    ///
    /// # Errors
    /// [`Error::TagInvalid`].
    pub(super) fn tags(&self) -> Result<Vec<String>, Error> {
        let asked = self.0.iter().filter(|(name, _)| name == "tag");
        asked.map(|(_, tag)| names::tag(tag)).collect()
    }

    /// The parameter `n`: how many results are wanted at most.
    ///
    /// # Errors
    /// [`Error::PageInvalid`].
    pub(super) fn limit(&self) -> Result<Option<usize>, Error> {
        let n = self.get("n");
        n.map(|text| {
            text.parse()
                .map_err(|_| Error::PageInvalid(text.to_owned()))
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const ID: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";

    fn parse(path: &str) -> Result<Route, Error> {
        Route::parse(path, &Method::GET)
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn paths_are_read_from_the_end() {
        let digest = Digest::parse(&format!("sha256:{HEX}")).unwrap();
        let blob = |text: &str| Route::Blob(name(text), digest);
        assert_eq!(
            parse(&format!("/v2/a/blobs/sha256:{HEX}")).unwrap(),
            blob("a")
        );
        assert_eq!(
            parse(&format!("/v2/a/blobs/sha256%3A{HEX}")).unwrap(),
            blob("a")
        );
        assert_eq!(
            parse(&format!("/v2/a/blobs/blobs/sha256:{HEX}")).unwrap(),
            blob("a/blobs")
        );
        assert_eq!(
            parse("/v2/a/b/tags/list").unwrap(),
            Route::Tags(name("a/b"))
        );
        assert_eq!(
            parse("/v2/tags/list/tags/list").unwrap(),
            Route::Tags(name("tags/list"))
        );
        assert_eq!(
            parse("/v2/a/blobs/uploads/").unwrap(),
            Route::Uploads(name("a"))
        );
        assert_eq!(
            parse("/v2/a/b/blobs/uploads").unwrap(),
            Route::Uploads(name("a/b"))
        );
        let id = UploadId::parse(ID).unwrap();
        assert_eq!(
            parse(&format!("/v2/a/blobs/uploads/{ID}")).unwrap(),
            Route::Upload(name("a"), id)
        );
        let manifest = parse("/v2/a/blobs/uploads/manifests/x").unwrap();
        assert_eq!(
            manifest,
            Route::Manifest(name("a/blobs/uploads"), Which::Tag("x".into()))
        );
        assert_eq!(
            parse(&format!("/v2/a/referrers/sha256:{HEX}")).unwrap(),
            Route::Referrers(name("a"), digest)
        );
    }

    #[test]
    fn nothing_else_is_a_path() {
        for path in [
            "/v3/",
            "/v2/a",
            "/v2/a/blobs",
            "/v2//tags/list",
            "/v2/../tags/list",
            "/v2/a/../b/tags/list",
            "/v2/a%2f..%2fb/tags/list",
            "/v2/a/tags/list/",
            "/v2/A/tags/list",
            "/v2/a/blobs/uploads/../x",
            "/v2/a/blobs/sha256:x",
            "/v2/%",
            "/v2/%zz/tags/list",
            "/v2/%+1/tags/list",
            "/v2/manifests/x",
            "/v2/blobs/uploads/",
            "/v2/tags/list",
            "/v2/a/manifests/..",
            "/v2/a/manifests/a%2fb",
            "/v2/_catalog/tags/list",
            "/v2/%ff/tags/list",
        ] {
            assert!(parse(path).is_err(), "{path}: {:?}", parse(path));
        }
    }
}
