//! What a path of the API names: repositories, tags, uploads. Nothing else becomes part of a path on the disk.

use std::fmt;
use std::sync::Arc;

use wharf_oci::{Digest, NAME_MAX, is_repository, is_tag};

use crate::Error;

/// The name of a repository: lower-case path components, none of which can be `..` or begin with `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(Arc<str>);

impl Name {
    /// # Errors
    /// [`Error::NameInvalid`].
    pub(crate) fn parse(text: &str) -> Result<Name, Error> {
        if text.len() > NAME_MAX || !is_repository(text) {
            return Err(Error::NameInvalid(text.to_owned()));
        }
        Ok(Name(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Which {
    /// A tag.
    Tag(String),
    /// The digest of its bytes.
    Digest(Digest),
}

impl Which {
    /// # Errors
    /// [`Error::DigestInvalid`] or [`Error::TagInvalid`].
    pub(crate) fn parse(text: &str) -> Result<Which, Error> {
        if text.contains(':') {
            return digest(text).map(Which::Digest);
        }
        tag(text).map(Which::Tag)
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Which::Tag(tag) => f.write_str(tag),
            Which::Digest(digest) => digest.fmt(f),
        }
    }
}

/// # Errors
/// [`Error::TagInvalid`].
pub(crate) fn tag(text: &str) -> Result<String, Error> {
    match is_tag(text) {
        true => Ok(text.to_owned()),
        false => Err(Error::TagInvalid(text.to_owned())),
    }
}

/// # Errors
/// [`Error::DigestInvalid`] with go-digest's words.
pub(crate) fn digest(text: &str) -> Result<Digest, Error> {
    Digest::parse(text).map_err(|error| Error::DigestInvalid(error.to_string()))
}

/// The name of an upload: a random UUID (version 4) of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct UploadId(String);

impl UploadId {
    pub(crate) fn random() -> UploadId {
        UploadId(uuid())
    }

    /// # Errors
    /// [`Error::UploadUnknown`]: we have made none that looks otherwise.
    pub(crate) fn parse(text: &str) -> Result<UploadId, Error> {
        let is_ours = text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            });
        match is_ours {
            true => Ok(UploadId(text.to_owned())),
            false => Err(Error::UploadUnknown),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A random UUID (version 4), as text.
pub(crate) fn uuid() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_climbs_out() {
        for bad in [
            "",
            "..",
            "a/..",
            "../a",
            "a//b",
            "_layers",
            "a/_uploads",
            "A",
            "a/",
            "/a",
            "a\0b",
            "a%2fb",
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "..",
            ".",
            "../x",
            "a/b",
            "-a",
            "",
            "sha256:..",
            "sha256:abc",
            "a\n",
        ] {
            assert!(Which::parse(bad).is_err(), "{bad:?}");
        }
        for bad in [
            "..",
            "",
            "x",
            "../../../../../../../../../../../../a",
            "00000000-0000-0000-0000-00000000000/",
        ] {
            assert!(UploadId::parse(bad).is_err(), "{bad:?}");
        }
        let id = UploadId::random();
        assert_eq!(UploadId::parse(id.as_str()).unwrap(), id);
        assert!(Name::parse("library/a.b_c__d---e").is_ok());
        assert!(Name::parse(&"a/".repeat(200)).is_err());
    }
}
