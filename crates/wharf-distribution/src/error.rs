//! What can go wrong with a registry, in Docker's words.

use wharf_oci::{Digest, ManifestError};

/// The class of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryErrorKind {
    /// The image, tag or blob is not there, or not for us to see.
    NotFound,
    /// Credentials are missing or wrong.
    Unauthorized,
    /// The request makes no sense.
    InvalidParameter,
    /// No connection could be made, or it never answered.
    Unreachable,
    /// The registry answered, but not as it should.
    Protocol,
}

/// An error of a registry, or on the way to it. `Display` is complete: it is what the user reads.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// No connection, in Go's form: `Get "https://registry-1.docker.io/v2/": dial tcp: …`.
    #[error("{method} \"{url}\": {message}")]
    Unreachable {
        /// `Get`, `Head`, `Post`, `Put` or `Patch`.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// Why not.
        message: String,
    },
    /// Access was denied.
    #[error(
        "pull access denied for {name}, repository does not exist or may require 'docker login': {cause}"
    )]
    Denied {
        /// Familiar name.
        name: String,
        /// `code: message` from the registry.
        cause: String,
    },
    /// Credentials are missing or wrong.
    #[error("{method} \"{url}\": {cause}")]
    Unauthorized {
        /// `Get` or `Post`.
        method: &'static str,
        /// What was asked for.
        url: String,
        /// `code: message` from the registry, or what is missing.
        cause: String,
    },
    /// A registry does not take a user's name and password.
    #[error("{0}")]
    Refused(String),
    /// The tag or digest is not in the repository.
    #[error("manifest for {reference} not found: {cause}")]
    ManifestUnknown {
        /// Familiar name with tag or digest.
        reference: String,
        /// `code: message` from the registry.
        cause: String,
    },
    /// The repository is not in the registry.
    #[error("repository {name} not found: {cause}")]
    NameUnknown {
        /// Familiar name.
        name: String,
        /// `code: message` from the registry.
        cause: String,
    },
    /// A blob is not in the repository.
    #[error("blob {0} not found: blob unknown: blob unknown to registry")]
    BlobUnknown(Digest),
    /// The index has no entry for the platform.
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoMatchingPlatform(String),
    /// Another error of the registry.
    #[error("{message}")]
    Status {
        /// HTTP status.
        status: u16,
        /// `code: message`, or Docker's words for a body that is none.
        message: String,
        /// When it wants to be asked again (`Retry-After`).
        retry_after: Option<std::time::Duration>,
    },
    /// Content that is not what its digest says.
    #[error("{what} verification failed for digest {expected}")]
    DigestMismatch {
        /// `manifest`, `filesystem layer` or `image configuration`.
        what: &'static str,
        /// The promised digest.
        expected: Digest,
        /// What came.
        found: String,
    },
    /// More bytes than announced.
    #[error("registry sends more than announced for {digest}: expected {expected} bytes")]
    TooLong {
        /// The blob.
        digest: Digest,
        /// Announced size in bytes.
        expected: u64,
    },
    /// What others say of an image (attestations, referrers) is more than is held in memory.
    #[error("what is said of the image takes more than {} MiB", limit >> 20)]
    TooMuchSaid {
        /// Bytes that it may take.
        limit: u64,
    },
    /// The registry says itself that it has fewer bytes than the manifest names.
    #[error(
        "filesystem layer verification failed for digest {digest}: the registry has {found} of {expected} bytes"
    )]
    OtherLength {
        /// The blob.
        digest: Digest,
        /// Size in bytes by the manifest.
        expected: u64,
        /// Size in bytes by the registry.
        found: u64,
    },
    /// Fewer bytes than announced, after all retries.
    #[error("unexpected EOF: {digest} ended after {received} of {expected} bytes")]
    TooShort {
        /// The blob.
        digest: Digest,
        /// Announced size in bytes.
        expected: u64,
        /// Bytes that came.
        received: u64,
    },
    /// Something else than JSON where a manifest should be; with its first letter, as Go has it.
    #[error("error unmarshalling content: invalid character '{0}' looking for beginning of value")]
    NoJson(char),
    /// A manifest that is none.
    #[error("{reference}: {message}")]
    Manifest {
        /// Familiar name with tag or digest.
        reference: String,
        /// The whole chain of causes.
        message: String,
    },
    /// What was answered breaks the protocol.
    #[error("{url}: {message}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        message: String,
    },
    /// The setting cannot be used.
    #[error("{0}")]
    Config(String),
}

impl RegistryError {
    /// What the registry said, without what was looked for.
    pub fn said(&self) -> String {
        match self {
            Self::ManifestUnknown { cause, .. }
            | Self::NameUnknown { cause, .. }
            | Self::Denied { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// The class of the error.
    pub fn kind(&self) -> RegistryErrorKind {
        use RegistryErrorKind as Kind;
        match self {
            Self::Unreachable { .. } => Kind::Unreachable,
            // Docker answers 404 for all that a registry refuses, so that a private name does not differ from none.
            Self::Denied { .. }
            | Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::BlobUnknown(_)
            | Self::NoMatchingPlatform(_) => Kind::NotFound,
            Self::Unauthorized { .. } | Self::Refused(_) => Kind::Unauthorized,
            Self::Config(_) => Kind::InvalidParameter,
            Self::Status { .. }
            | Self::DigestMismatch { .. }
            | Self::TooLong { .. }
            | Self::TooMuchSaid { .. }
            | Self::OtherLength { .. }
            | Self::TooShort { .. }
            | Self::Manifest { .. }
            | Self::NoJson(_)
            | Self::Protocol { .. } => Kind::Protocol,
        }
    }

    /// What a push says of it: Docker leaves out the request, and speaks of no pull.
    pub fn push_message(&self) -> String {
        match self {
            Self::Unauthorized { cause, .. } | Self::Denied { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    /// Whether the registry says that it does not have it, which is not the same as that it does not give it.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::ManifestUnknown { .. } | Self::NameUnknown { .. } | Self::BlobUnknown(_) => true,
            Self::Status { status, .. } => *status == 404,
            _ => false,
        }
    }

    /// Whether the same request may work a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooShort { .. } => true,
            // 501, 505 and 507 (no room): the next answer would be the same.
            Self::Status { status, .. } => {
                matches!(*status, 408 | 429 | 500..) && !matches!(*status, 501 | 505 | 507)
            }
            _ => false,
        }
    }

    /// How long to wait before it is tried again, if the registry said so.
    pub(crate) fn retry_after(&self) -> std::time::Duration {
        match self {
            Self::Status {
                retry_after: Some(wait),
                ..
            } => *wait,
            _ => std::time::Duration::ZERO,
        }
    }

    pub(crate) fn manifest(reference: &str, error: &ManifestError) -> RegistryError {
        let mut message = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            message = format!("{message}: {source}");
        }
        RegistryError::Manifest {
            reference: reference.to_owned(),
            message,
        }
    }
}
