//! Manifests and indexes as registries and archives hold them.
//!
//! Strict on what a document *is*: a document that could be read both as an index and as a manifest is refused
//! (CVE-2021-41190), and its own `mediaType` must agree with what the transport said. Everything that is not
//! needed is left alone: the bytes are what counts, and they are kept by their digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::image_config::null_default;
use crate::{Digest, Platform, media_type};

/// The largest manifest or index that is read, in bytes (distribution specification, "Pushing Manifests").
pub const MAX_MANIFEST_SIZE: u64 = 4 * 1024 * 1024;

/// The most layers an image may have. Docker stops at 127 (`max depth exceeded`); so do we.
pub const MAX_LAYERS: usize = 127;

/// Why a document is not a manifest or an index.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Longer than [`MAX_MANIFEST_SIZE`].
    #[error("manifest is {size} bytes, more than the {MAX_MANIFEST_SIZE} allowed")]
    TooLarge {
        /// Size of the document in bytes.
        size: usize,
    },
    /// Not JSON, or not of the expected shape.
    #[error("invalid manifest")]
    Json(#[source] serde_json::Error),
    /// An obsolete schema 1 manifest.
    #[error(
        "Docker Image manifest version 2, schema 1 is not supported: push the image again with a newer tool"
    )]
    Schema1,
    /// `schemaVersion` is not 2.
    #[error("unsupported manifest schema version {0}")]
    SchemaVersion(u64),
    /// Neither an image nor an index.
    #[error("unsupported manifest media type {0:?}")]
    UnsupportedMediaType(String),
    /// The document's own type is not the one that it was delivered as.
    #[error("manifest says it is {body:?} but was delivered as {transport:?}")]
    MediaTypeMismatch {
        /// `mediaType` in the document.
        body: String,
        /// The type that came with it, such as `Content-Type`.
        transport: String,
    },
    /// Could be read as an index and as a manifest.
    #[error("ambiguous manifest: a {kind} must not have {field:?}")]
    Ambiguous {
        /// What the document says it is.
        kind: &'static str,
        /// The field that belongs to the other kind.
        field: &'static str,
    },
    /// No type anywhere, and the fields do not say either.
    #[error("manifest has no media type")]
    NoMediaType,
    /// More layers than [`MAX_LAYERS`].
    #[error("max depth exceeded")]
    TooManyLayers,
}

/// A pointer to content by digest, size and type (image specification, "Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Type of the content.
    #[serde(default, deserialize_with = "null_default")]
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Other places to have it from; used by foreign layers.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_default"
    )]
    pub urls: Vec<String>,
    /// Free text for tools. Never configuration of the engine.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
    /// In an index: what it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Type of an artifact that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// A descriptor with type, digest and size only.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of `content`, addressed by sha256.
    pub fn of(media_type: &str, content: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::sha256(content), content.len() as u64)
    }

    /// Whether this entry of an index is a buildx attestation, which is for scanners and not to be run.
    pub fn is_attestation(&self) -> bool {
        self.annotations
            .get("vnd.docker.reference.type")
            .is_some_and(|t| t == "attestation-manifest")
    }
}

/// The manifest of one image: its config and its layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u64,
    /// [`media_type::OCI_MANIFEST`] or [`media_type::DOCKER_MANIFEST`]; filled in when the document had none.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub media_type: String,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, bottom first.
    #[serde(default, deserialize_with = "null_default")]
    pub layers: Vec<Descriptor>,
    /// Free text for tools. Never configuration of the engine.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

/// A list of manifests, one per platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u64,
    /// [`media_type::OCI_INDEX`] or [`media_type::DOCKER_INDEX`]; filled in when the document had none.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_default"
    )]
    pub media_type: String,
    /// The manifests.
    #[serde(default, deserialize_with = "null_default")]
    pub manifests: Vec<Descriptor>,
    /// Free text for tools. Never configuration of the engine.
    #[serde(
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "null_default"
    )]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// A manifest of the OCI's type.
    pub fn oci(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: media_type::OCI_MANIFEST.to_owned(),
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }

    /// Parses a document that must be a manifest. `transport` is the type it was delivered as, if known.
    ///
    /// # Errors
    /// A [`ManifestError`]; an index is [`ManifestError::UnsupportedMediaType`].
    pub fn parse(bytes: &[u8], transport: Option<&str>) -> Result<Manifest, ManifestError> {
        match Document::parse(bytes, transport)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(index) => Err(ManifestError::UnsupportedMediaType(index.media_type)),
        }
    }
}

impl Index {
    /// The entries that run on `platform`, best first; entries without a platform come last.
    ///
    /// Attestations are left out.
    pub fn select(&self, platform: &Platform) -> Vec<&Descriptor> {
        let mut found: Vec<(usize, &Descriptor)> = self
            .manifests
            .iter()
            .filter(|entry| !entry.is_attestation())
            .filter_map(|entry| match &entry.platform {
                Some(candidate) => platform.preference(candidate).map(|rank| (rank, entry)),
                None => Some((usize::MAX, entry)),
            })
            .collect();
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// What a registry answers when it is asked for a manifest.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, and taken apart at once"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One manifest per platform.
    Index(Index),
}

/// The fields that tell the kinds apart; values are skipped over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    #[serde(default)]
    schema_version: u64,
    #[serde(default, deserialize_with = "null_default")]
    media_type: String,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a manifest or an index. `transport` is the type it was delivered as (`Content-Type`, or the
    /// descriptor that pointed here), if known.
    ///
    /// # Errors
    /// A [`ManifestError`].
    pub fn parse(bytes: &[u8], transport: Option<&str>) -> Result<Document, ManifestError> {
        if bytes.len() as u64 > MAX_MANIFEST_SIZE {
            return Err(ManifestError::TooLarge { size: bytes.len() });
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let media_type = probe.media_type(transport)?;
        probe.check_unambiguous(media_type::is_index(&media_type))?;
        if media_type::is_index(&media_type) {
            let mut index: Index = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
            index.media_type = media_type;
            return Ok(Document::Index(index));
        }
        let mut manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if manifest.layers.len() > MAX_LAYERS {
            return Err(ManifestError::TooManyLayers);
        }
        manifest.media_type = media_type;
        Ok(Document::Manifest(manifest))
    }

    /// The type of the document.
    pub fn media_type(&self) -> &str {
        match self {
            Document::Manifest(manifest) => &manifest.media_type,
            Document::Index(index) => &index.media_type,
        }
    }
}

impl Probe {
    fn media_type(&self, transport: Option<&str>) -> Result<String, ManifestError> {
        // Parameters such as "; charset=utf-8" say nothing; generic JSON is what careless file servers send.
        let transport = transport
            .map(|t| t.split(';').next().unwrap_or_default().trim())
            .filter(|t| {
                !t.is_empty()
                    && *t != "application/json"
                    && *t != "text/plain"
                    && *t != "application/octet-stream"
            });
        let is_schema1 = |t: &str| {
            matches!(
                t,
                media_type::DOCKER_SCHEMA1 | media_type::DOCKER_SCHEMA1_SIGNED
            )
        };
        if self.schema_version == 1
            || is_schema1(&self.media_type)
            || transport.is_some_and(is_schema1)
        {
            return Err(ManifestError::Schema1);
        }
        if self.schema_version != 2 {
            return Err(ManifestError::SchemaVersion(self.schema_version));
        }
        let media_type = match (self.media_type.as_str(), transport) {
            ("", Some(transport)) => transport,
            ("", None) => self.guess().ok_or(ManifestError::NoMediaType)?,
            (body, Some(transport)) if body != transport => {
                return Err(ManifestError::MediaTypeMismatch {
                    body: body.to_owned(),
                    transport: transport.to_owned(),
                });
            }
            (body, _) => body,
        };
        if !media_type::is_index(media_type) && !media_type::is_manifest(media_type) {
            return Err(ManifestError::UnsupportedMediaType(media_type.to_owned()));
        }
        Ok(media_type.to_owned())
    }

    /// OCI documents need not say what they are.
    fn guess(&self) -> Option<&'static str> {
        if self.manifests.is_some() {
            Some(media_type::OCI_INDEX)
        } else if self.config.is_some() {
            Some(media_type::OCI_MANIFEST)
        } else {
            None
        }
    }

    fn check_unambiguous(&self, is_index: bool) -> Result<(), ManifestError> {
        let (kind, foreign) = if is_index {
            (
                "index",
                [
                    ("config", &self.config),
                    ("layers", &self.layers),
                    ("fsLayers", &self.fs_layers),
                ],
            )
        } else {
            (
                "manifest",
                [
                    ("manifests", &self.manifests),
                    ("fsLayers", &self.fs_layers),
                    ("", &None),
                ],
            )
        };
        match foreign.iter().find(|(_, value)| value.is_some()) {
            Some((field, _)) => Err(ManifestError::Ambiguous { kind, field }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
