//! What can go wrong, and how it is answered: codes and texts of the distribution specification, in docker-registry's words.

use std::io;
use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::{Value, json};
use wharf_oci::Digest;

/// Why a request is refused, or the registry does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `BLOB_UNKNOWN`: the repository has no such blob.
    #[error("blob unknown to registry")]
    BlobUnknown(Digest),
    /// `BLOB_UPLOAD_UNKNOWN`: nobody began such an upload in this repository, or it is over.
    #[error("blob upload unknown to registry")]
    UploadUnknown,
    /// `BLOB_UPLOAD_INVALID`: the upload cannot go on like this.
    #[error("blob upload invalid")]
    UploadInvalid(String),
    /// `DIGEST_INVALID`: malformed, or not the digest of what came.
    #[error("provided digest did not match uploaded content")]
    DigestInvalid(String),
    /// `MANIFEST_BLOB_UNKNOWN`: the manifest names content that the repository lacks.
    #[error("blob unknown to registry")]
    ManifestBlobUnknown(Vec<Digest>),
    /// `MANIFEST_INVALID`: no manifest, or not one of the announced type.
    #[error("manifest invalid")]
    ManifestInvalid(String),
    /// `SIZE_INVALID`, 413: a manifest larger than the limit.
    #[error("manifest is larger than the {limit} bytes allowed")]
    ManifestTooLarge {
        /// Bytes that a manifest may have.
        limit: u64,
    },
    /// `MANIFEST_UNKNOWN`: the repository has no such tag or manifest.
    #[error("manifest unknown")]
    ManifestUnknown(String),
    /// `NAME_INVALID`: not a repository's name.
    #[error("invalid repository name")]
    NameInvalid(String),
    /// `NAME_UNKNOWN`: no such repository.
    #[error("repository name not known to registry")]
    NameUnknown(String),
    /// `SIZE_INVALID`: more or fewer bytes than announced.
    #[error("provided length did not match content length")]
    SizeInvalid(String),
    /// `MANIFEST_INVALID`: not a tag (docker-registry's `TAG_INVALID` is no code of the specification).
    #[error("manifest tag did not match URI")]
    TagInvalid(String),
    /// `UNSUPPORTED`: not a number of results (docker-registry's `PAGINATION_NUMBER_INVALID` is no code of the specification).
    #[error("invalid number of results requested")]
    PageInvalid(String),
    /// 416: a chunk that does not follow the one before it (`BLOB_UPLOAD_INVALID`), or bytes that a blob does not have
    /// (`SIZE_INVALID`); docker-registry's `RANGE_INVALID` is no code of the specification.
    #[error("invalid content range")]
    RangeInvalid {
        /// Where the upload is and how far it came; `None` for a blob's bytes.
        upload: Option<(String, u64)>,
        /// `Content-Range` to answer with, for a blob's bytes.
        size: Option<u64>,
    },
    /// `UNAUTHORIZED`: who are you? Carries the challenge.
    #[error("authentication required")]
    Unauthorized {
        /// Value of `WWW-Authenticate`.
        challenge: String,
        /// What access was asked for.
        detail: Value,
    },
    /// `DENIED`: known, but not allowed.
    #[error("requested access to the resource is denied")]
    Denied(String),
    /// `DENIED`, 403: a quota is used up.
    #[error("{0}")]
    Quota(String),
    /// `UNSUPPORTED`, 405.
    #[error("The operation is unsupported.")]
    Unsupported(String),
    /// No such path: 404 without a code.
    #[error("404 page not found")]
    NoRoute,
    /// `UNAVAILABLE`, 503: not now.
    #[error("service unavailable")]
    Unavailable(String),
    /// The body stopped coming, or broke off.
    #[error("read the request")]
    Body(String),
    /// Another registry, which this one is a cache of, failed.
    #[error("the registry behind this cache")]
    Upstream(#[from] wharf_distribution::RegistryError),
    /// The system refused.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The settings are wrong; the text names the key.
    #[error("{0}")]
    Config(String),
}

impl Error {
    /// Status, code, and what is known besides.
    pub(crate) fn answer(&self) -> (StatusCode, &'static str, Value) {
        use StatusCode as S;
        let text = |text: &String| json!(text);
        match self {
            Error::BlobUnknown(digest) => {
                (S::NOT_FOUND, "BLOB_UNKNOWN", json!({ "digest": digest }))
            }
            Error::UploadUnknown => (S::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", Value::Null),
            Error::UploadInvalid(why) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID", text(why)),
            Error::DigestInvalid(why) => (S::BAD_REQUEST, "DIGEST_INVALID", text(why)),
            Error::ManifestBlobUnknown(digests) => (
                S::BAD_REQUEST,
                "MANIFEST_BLOB_UNKNOWN",
                json!({ "digest": digests.first() }),
            ),
            Error::ManifestInvalid(why) => (S::BAD_REQUEST, "MANIFEST_INVALID", text(why)),
            Error::ManifestTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "SIZE_INVALID", Value::Null),
            Error::ManifestUnknown(what) => (
                S::NOT_FOUND,
                "MANIFEST_UNKNOWN",
                json!({ "reference": what }),
            ),
            Error::NameInvalid(name) => (S::BAD_REQUEST, "NAME_INVALID", json!({ "name": name })),
            Error::NameUnknown(name) => (S::NOT_FOUND, "NAME_UNKNOWN", json!({ "name": name })),
            Error::SizeInvalid(why) => (S::BAD_REQUEST, "SIZE_INVALID", text(why)),
            Error::TagInvalid(tag) => (S::BAD_REQUEST, "MANIFEST_INVALID", json!({ "tag": tag })),
            Error::PageInvalid(n) => (S::BAD_REQUEST, "UNSUPPORTED", json!({ "n": n })),
            Error::RangeInvalid { upload, .. } => (
                S::RANGE_NOT_SATISFIABLE,
                match upload {
                    Some(_) => "BLOB_UPLOAD_INVALID",
                    None => "SIZE_INVALID",
                },
                Value::Null,
            ),
            Error::Unauthorized { detail, .. } => (S::UNAUTHORIZED, "UNAUTHORIZED", detail.clone()),
            Error::Denied(why) => (S::FORBIDDEN, "DENIED", text(why)),
            Error::Quota(_) => (S::FORBIDDEN, "DENIED", Value::Null),
            Error::Unsupported(why) => (S::METHOD_NOT_ALLOWED, "UNSUPPORTED", text(why)),
            Error::NoRoute => (S::NOT_FOUND, "UNKNOWN", Value::Null),
            Error::Unavailable(why) => (S::SERVICE_UNAVAILABLE, "UNAVAILABLE", text(why)),
            Error::Body(why) => (S::BAD_REQUEST, "BLOB_UPLOAD_INVALID", text(why)),
            Error::Upstream(error) => (S::BAD_GATEWAY, "UNAVAILABLE", json!(error.to_string())),
            error @ Error::Io { .. } if error.is_full() => (
                S::INSUFFICIENT_STORAGE,
                "UNAVAILABLE",
                json!("no space left on device"),
            ),
            Error::Io { .. } | Error::Config(_) => {
                (S::INTERNAL_SERVER_ERROR, "UNKNOWN", Value::Null)
            }
        }
    }

    /// Whether there was no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Error::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// Whether the registry itself is at fault, which its log must say.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(
            self,
            Error::Io { .. } | Error::Config(_) | Error::Upstream(_)
        )
    }
}

/// Adds what was done to which path.
pub(crate) fn io_at<E: Into<io::Error>>(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(E) -> Error {
    let path = path.to_owned();
    move |source| Error::Io {
        operation,
        path,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The distribution specification, "Error Codes": a refusal in JSON has one of these.
    const CODES: &[&str] = &[
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ];

    #[test]
    fn refusals_have_the_specifications_codes() {
        let digest = Digest::sha256(b"");
        let text = || "x".to_owned();
        let refusals = [
            Error::BlobUnknown(digest),
            Error::UploadUnknown,
            Error::UploadInvalid(text()),
            Error::DigestInvalid(text()),
            Error::ManifestBlobUnknown(vec![digest]),
            Error::ManifestInvalid(text()),
            Error::ManifestTooLarge { limit: 1 },
            Error::ManifestUnknown(text()),
            Error::NameInvalid(text()),
            Error::NameUnknown(text()),
            Error::SizeInvalid(text()),
            Error::TagInvalid(text()),
            Error::PageInvalid(text()),
            Error::RangeInvalid {
                upload: Some((text(), 1)),
                size: None,
            },
            Error::RangeInvalid {
                upload: None,
                size: Some(1),
            },
            Error::Unauthorized {
                challenge: text(),
                detail: Value::Null,
            },
            Error::Denied(text()),
            Error::Quota(text()),
            Error::Unsupported(text()),
            Error::Body(text()),
        ];
        for error in refusals {
            let (status, code, _) = error.answer();
            assert!(status.is_client_error(), "{error:?}: {status}");
            assert!(CODES.contains(&code), "{error:?}: {code}");
        }
    }
}
