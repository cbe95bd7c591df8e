//! A manifest as a member of a list: what is known of it, as Docker keeps and shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::ser::PrettyFormatter;
use wharf_oci::{Descriptor, Digest, Manifest, Platform, Reference, media_type};

use crate::cli::{Exit, Outcome};

/// One image of a list. The names of the fields are those of Docker's files.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The name that it was found by.
    #[serde(rename = "Ref")]
    pub(super) reference: String,
    /// Type, digest, size and platform.
    #[serde(rename = "Descriptor")]
    pub(super) descriptor: Descriptor,
    /// The manifest's bytes.
    #[serde(rename = "Raw")]
    raw: String,
    #[serde(rename = "SchemaV2Manifest", skip_serializing_if = "Option::is_none")]
    docker: Option<Value>,
    #[serde(rename = "OCIManifest", skip_serializing_if = "Option::is_none")]
    oci: Option<Value>,
}

/// A member as the list that registries get has it; the order of the fields is Docker's, and part of the digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    media_type: &'a str,
    size: u64,
    digest: &'a Digest,
    platform: &'a Platform,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Member<'a>>,
}

impl Entry {
    /// What was found at a registry.
    pub(super) fn new(
        reference: String,
        descriptor: Descriptor,
        platform: Platform,
        bytes: &[u8],
    ) -> Outcome<Entry> {
        let document: Value = serde_json::from_slice(bytes).map_err(|error| broken(&error))?;
        let is_docker = descriptor.media_type == media_type::DOCKER_MANIFEST;
        let (docker, oci) = match is_docker {
            true => (Some(document), None),
            false => (None, Some(document)),
        };
        Ok(Entry {
            reference,
            descriptor: Descriptor {
                platform: Some(platform),
                ..Descriptor::new(&descriptor.media_type, descriptor.digest, descriptor.size)
            },
            raw: STANDARD.encode(bytes),
            docker,
            oci,
        })
    }

    /// The manifest's bytes.
    pub(super) fn bytes(&self) -> Outcome<Vec<u8>> {
        STANDARD.decode(&self.raw).map_err(|error| broken(&error))
    }

    /// The manifest.
    pub(super) fn manifest(&self) -> Outcome<Manifest> {
        Manifest::parse(&self.bytes()?, Some(&self.descriptor.media_type))
            .map_err(|error| broken(&error))
    }

    /// The manifest as it is, laid out for people.
    pub(super) fn shown(&self) -> Outcome<String> {
        let document = self.docker.as_ref().or(self.oci.as_ref());
        let mut text = pretty(&document, b"\t")?;
        // Docker indents the bytes as they are, and leaves what is behind the document.
        if self.bytes()?.ends_with(b"\n") {
            text.push('\n');
        }
        Ok(text)
    }

    fn member(&self, target: &Reference) -> Outcome<Member<'_>> {
        let own = Reference::parse_normalized(&self.reference).map_err(|error| broken(&error))?;
        if own.domain() != target.domain() {
            return Err(Exit::new(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                own.domain(),
                target.domain()
            )));
        }
        let platform = self.descriptor.platform.as_ref();
        let platform = platform.filter(|one| !one.os.is_empty() && !one.architecture.is_empty());
        let platform = platform.ok_or_else(|| {
            Exit::new(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                self.reference
            ))
        })?;
        Ok(Member {
            media_type: &self.descriptor.media_type,
            size: self.descriptor.size,
            digest: &self.descriptor.digest,
            platform,
        })
    }
}

/// The list that is pushed to `target`: its type, and its bytes.
///
/// # Errors
/// If a member is of another registry, or has no platform.
pub(super) fn list(entries: &[Entry], target: &Reference) -> Outcome<(&'static str, String)> {
    let manifests: Vec<_> = entries
        .iter()
        .map(|entry| entry.member(target))
        .collect::<Outcome<_>>()?;
    // The first one decides, as with Docker.
    let kind = match manifests.first().map(|first| first.media_type) {
        Some(media_type::OCI_MANIFEST) => media_type::OCI_INDEX,
        _ => media_type::DOCKER_INDEX,
    };
    let list = List {
        schema_version: 2,
        media_type: kind,
        manifests,
    };
    Ok((kind, pretty(&list, b"   ")?))
}

/// JSON laid out with this indentation.
pub(super) fn pretty(value: &impl Serialize, indent: &[u8]) -> Outcome<String> {
    let mut text = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(indent));
    value
        .serialize(&mut writer)
        .map_err(|error| broken(&error))?;
    String::from_utf8(text).map_err(|error| broken(&error))
}

fn broken(error: &dyn std::fmt::Display) -> Exit {
    Exit::new(error.to_string())
}
