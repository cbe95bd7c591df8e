//! What a registry needs to know of a manifest: what it names, what it is about, what it says of itself.

use std::collections::BTreeMap;

use serde::Deserialize;
use wharf_oci::{Descriptor, media_type};

use crate::Error;

/// A manifest may have so many bytes (distribution specification, "Pushing Manifests").
pub(crate) const MAX_SIZE: u64 = 4 << 20;

/// A parsed manifest or index.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// Its type.
    pub(crate) media_type: String,
    /// Configuration and layers.
    pub(crate) blobs: Vec<Descriptor>,
    /// Manifests of an index.
    pub(crate) children: Vec<Descriptor>,
    /// The manifest that this one is about.
    pub(crate) subject: Option<Descriptor>,
    /// `artifactType`, or the configuration's type in its place.
    pub(crate) artifact_type: Option<String>,
    /// Its annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// Every field that decides what a document is; two of a kind are an error of the JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Manifest {
    /// Reads `bytes` that came as `content_type` (empty: it did not say).
    ///
    /// Strict on what the document is: one that could be read both as an index and as a manifest is refused
    /// (CVE-2021-41190), and so is one that calls itself something else than the request does.
    ///
    /// # Errors
    /// [`Error::ManifestInvalid`].
    pub(crate) fn parse(bytes: &[u8], content_type: &str) -> Result<Manifest, Error> {
        let invalid = |why: String| Error::ManifestInvalid(why);
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        let transport = content_type.split(';').next().unwrap_or_default().trim();
        let media_type = match (document.media_type.as_deref(), transport) {
            (None | Some(""), "" | "application/json") => {
                return Err(invalid("no media type".to_owned()));
            }
            (None | Some(""), said) => said.to_owned(),
            (Some(own), "" | "application/json") => own.to_owned(),
            (Some(own), said) if own == said => own.to_owned(),
            (Some(own), said) => {
                return Err(invalid(format!(
                    "mediaType in manifest should be '{said}' not '{own}'"
                )));
            }
        };
        if document.fs_layers.is_some() || document.schema_version != 2 {
            return Err(invalid(format!(
                "unrecognized manifest schema version {}",
                document.schema_version
            )));
        }
        let ambiguous = |field: &str| invalid(format!("a {media_type} must not have {field}"));
        if media_type::is_index(&media_type) {
            if document.config.is_some() || document.layers.is_some() {
                return Err(ambiguous("'config' or 'layers'"));
            }
            return Ok(Manifest {
                media_type,
                blobs: Vec::new(),
                children: document.manifests.unwrap_or_default(),
                subject: document.subject,
                artifact_type: document.artifact_type.filter(|text| !text.is_empty()),
                annotations: document.annotations.unwrap_or_default(),
            });
        }
        if !media_type::is_manifest(&media_type) {
            return Err(invalid(format!(
                "unsupported manifest media type '{media_type}'"
            )));
        }
        if document.manifests.is_some() {
            return Err(ambiguous("'manifests'"));
        }
        let config = document
            .config
            .ok_or_else(|| invalid("a manifest needs a 'config'".to_owned()))?;
        let artifact_type = document
            .artifact_type
            .filter(|text| !text.is_empty())
            .or_else(|| Some(config.media_type.clone()).filter(|text| !text.is_empty()));
        let mut blobs = vec![config];
        blobs.extend(document.layers.unwrap_or_default());
        Ok(Manifest {
            media_type,
            blobs,
            children: Vec::new(),
            subject: document.subject,
            artifact_type,
            annotations: document.annotations.unwrap_or_default(),
        })
    }

    /// Whether a blob may be missing here: its bytes are elsewhere, or may not be distributed.
    pub(crate) fn may_be_elsewhere(blob: &Descriptor) -> bool {
        !blob.urls.is_empty() || media_type::is_foreign_layer(&blob.media_type)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn document(rest: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"a/b","digest":"{DIGEST}","size":0}},"layers":[]{rest}}}"#
        )
    }

    #[test]
    fn says_what_it_is() {
        let text = document("");
        let manifest = Manifest::parse(text.as_bytes(), media_type::OCI_MANIFEST).unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
        let text = document(r#","artifactType":"c/d""#);
        let manifest = Manifest::parse(
            text.as_bytes(),
            "application/vnd.oci.image.manifest.v1+json; a=b",
        )
        .unwrap();
        assert_eq!(manifest.artifact_type.as_deref(), Some("c/d"));
    }

    #[test]
    fn what_could_be_two_things_is_none() {
        let cases = [
            (document(r#","manifests":[]"#), media_type::OCI_MANIFEST),
            (document(""), media_type::OCI_INDEX),
            (
                document(r#","mediaType":"application/vnd.oci.image.index.v1+json""#),
                media_type::OCI_MANIFEST,
            ),
            (document(r#","layers":[]"#), media_type::OCI_MANIFEST),
            (document(""), ""),
            (document(""), "text/html"),
            ("{}".to_owned(), media_type::OCI_MANIFEST),
            ("[]".to_owned(), media_type::OCI_MANIFEST),
            (String::new(), media_type::OCI_MANIFEST),
            (
                r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
                media_type::OCI_MANIFEST,
            ),
        ];
        for (text, content_type) in cases {
            assert!(
                Manifest::parse(text.as_bytes(), content_type).is_err(),
                "{text}"
            );
        }
    }
}
