//! Image references: `[domain/]path[:tag][@digest]`.
//!
//! The grammar, the normalisation and the texts are those of github.com/distribution/reference, which every Docker
//! client and daemon uses. Its grammar is a regular expression; here it is split by hand, which is possible
//! because `@` occurs nowhere but before the digest, and `:` after the last `/` nowhere but before the tag.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, DigestError};

/// The longest path of a repository name, in bytes, without the domain.
pub const NAME_MAX: usize = 255;

const TAG_MAX: usize = 128;
const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// Why a text is not a reference. Texts are distribution/reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Outside the grammar.
    #[error("invalid reference format")]
    InvalidFormat,
    /// The path has upper-case letters; the path as it was understood.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Something becomes valid only in lower case.
    #[error("repository name must be lowercase")]
    NotLowercase,
    /// The path is longer than [`NAME_MAX`].
    #[error("repository name must not be more than {NAME_MAX} characters")]
    TooLong,
    /// 64 hexadecimal digits are an image id, never a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// A tag outside the grammar was given to [`Reference::with_tag`].
    #[error("invalid tag format")]
    InvalidTag,
    /// What follows `@` looks like a digest and is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// The name of an image in a registry, normalised: domain and path are always there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// What a user types for an image when an id is possible too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyReference {
    /// A full image id, with or without `sha256:`.
    Id(Digest),
    /// A name.
    Named(Reference),
}

impl AnyReference {
    /// Parses 64 hexadecimal digits or a whole digest as an id, and everything else as a name.
    ///
    /// # Errors
    /// As [`Reference::parse_normalized`].
    pub fn parse(text: &str) -> Result<AnyReference, ReferenceError> {
        if let Ok(id) = Digest::from_sha256_hex(text).or_else(|_| Digest::parse(text)) {
            return Ok(AnyReference::Id(id));
        }
        Reference::parse_normalized(text).map(AnyReference::Named)
    }
}

impl Reference {
    /// Parses what a user types: `debian` is `docker.io/library/debian`. No default tag is added.
    ///
    /// # Errors
    /// A [`ReferenceError`] with the text that Docker prints.
    pub fn parse_normalized(text: &str) -> Result<Reference, ReferenceError> {
        if Digest::from_sha256_hex(text).is_ok() {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.to_lowercase() != remote {
            return Err(ReferenceError::Uppercase(remote.to_owned()));
        }
        Reference::from_parts(domain, &remainder).map_err(|error| {
            let lower = remainder.to_lowercase();
            let curable = matches!(error, ReferenceError::InvalidFormat)
                && lower != remainder
                && !matches!(
                    Reference::from_parts(domain, &lower),
                    Err(ReferenceError::InvalidFormat)
                );
            if curable {
                ReferenceError::NotLowercase
            } else {
                error
            }
        })
    }

    /// `remainder` is `path[:tag][@digest]`.
    fn from_parts(domain: &str, remainder: &str) -> Result<Reference, ReferenceError> {
        let (rest, digest) = match remainder.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (remainder, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        let well_formed = is_domain(domain)
            && is_repository(path)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(looks_like_digest);
        if !well_formed {
            return Err(ReferenceError::InvalidFormat);
        }
        if path.len() > NAME_MAX {
            return Err(ReferenceError::TooLong);
        }
        Ok(Reference {
            domain: domain.to_owned(),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(Digest::parse).transpose()?,
        })
    }

    /// The registry's host, with its port if it was given. `docker.io` stands for Docker Hub.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, such as `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Domain and path, without tag and digest: `docker.io/library/debian`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Whether there is neither a tag nor a digest.
    pub fn is_name_only(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// Domain and path as Docker shows them: `debian`, `user/app`, `quay.io/user/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            // "library/a/b" keeps its prefix: without it, it would be the repository "a/b".
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as Docker shows it: [`Reference::familiar_name`] with tag and digest.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// The familiar name as the path of a repository in another registry; the whole name where the familiar one means another
    /// registry's repository (`docker.io/a.b/c`). Of a domain with a port the colon is an underscore, as a path has none.
    pub fn as_repository(&self) -> String {
        self.short_name().replace(':', "_")
    }

    /// The familiar name where it means the same repository, else the whole name: what another program can be told.
    pub fn short_name(&self) -> String {
        let familiar = self.familiar_name();
        let is_ours = Reference::parse_normalized(&familiar)
            .is_ok_and(|meant| meant.domain == self.domain && meant.path == self.path);
        if is_ours { familiar } else { self.name() }
    }

    /// The same with `:latest` when there is neither a tag nor a digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.is_name_only() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same with this tag; a digest stays.
    ///
    /// # Errors
    /// [`ReferenceError::InvalidTag`].
    pub fn with_tag(mut self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::InvalidTag);
        }
        self.tag = Some(tag.to_owned());
        Ok(self)
    }

    /// The same with this digest; a tag stays.
    pub fn with_digest(mut self, digest: Digest) -> Reference {
        self.digest = Some(digest);
        self
    }

    /// The same without tag and digest.
    pub fn without_tag_and_digest(mut self) -> Reference {
        self.tag = None;
        self.digest = None;
        self
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

/// Whether `tag` may follow a colon: `[\w][\w.-]{0,127}`.
pub fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    bytes.len() <= TAG_MAX
        && bytes.first().is_some_and(|&b| word(b))
        && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

/// Splits off the domain as Docker does: the first component is one if it could not be a path component of Docker Hub.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remote) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((first, rest)) => match first {
            LEGACY_DEFAULT_DOMAIN => (DEFAULT_DOMAIN, rest),
            "localhost" => (first, rest),
            _ if first.contains(['.', ':']) || first.to_lowercase() != first => (first, rest),
            _ => (DEFAULT_DOMAIN, text),
        },
    };
    if domain == DEFAULT_DOMAIN && !remote.contains('/') {
        return (domain, format!("{OFFICIAL_PREFIX}{remote}"));
    }
    (domain, remote.to_owned())
}

/// A host name, an IPv4 address or an IPv6 address in brackets, and perhaps a port.
fn is_domain(domain: &str) -> bool {
    let port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let address_ok =
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return address_ok && (after.is_empty() || after.strip_prefix(':').is_some_and(port));
    }
    let (host, port_ok) = match domain.split_once(':') {
        Some((host, text)) => (host, port(text)),
        None => (domain, true),
    };
    port_ok && host.split('.').all(is_domain_component)
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether `path` may be the name of a repository within a registry, but for its length ([`NAME_MAX`]).
pub fn is_repository(path: &str) -> bool {
    path.split('/').all(is_path_component)
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    alphanumeric(first)
        && alphanumeric(last)
        && component
            .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            .all(|separator| {
                matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
            })
}

/// distribution/reference's own digest pattern, wider than go-digest's: what passes here gets go-digest's error text.
fn looks_like_digest(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let component = |part: &str| {
        part.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(component)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

impl Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse_normalized(text)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reference, D::Error> {
        let text = String::deserialize(deserializer)?;
        Reference::parse_normalized(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
