//! A result as documents: configurations and manifests, statements about them, and an index over all
//! (`exporter/containerimage/writer.go`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use wharf_images::{Assembled, BlobHold};
use wharf_oci::{Descriptor, Digest, Index, Manifest, Platform, media_type};

use super::annotations::Annotations;
use super::layers::{Compression, blobs_of};
use super::provenance::{self, Provenance};
use super::{document, epoch, names, parts};
use crate::attestation::Predicate;
use crate::progress::InternalVertex;
use crate::{Job, Ref, SolveError, SolveResult, blocking};

/// The type of a statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The annotation with what a statement is about.
const PREDICATE: &str = "in-toto.io/predicate-type";

/// A document and what describes it.
pub(crate) type Document = (Descriptor, Vec<u8>);

/// A result for one platform.
pub(crate) struct Part {
    /// Its layers stay while it lives.
    pub(crate) tree: Ref,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) config: Document,
    pub(crate) manifest: Document,
    /// The statements about it: their manifest first, then what that refers to.
    pub(crate) statements: Vec<Document>,
    platform: Platform,
    /// Blobs that were made for it.
    _holds: Vec<BlobHold>,
}

/// A result as documents.
pub(crate) struct Documents {
    pub(crate) parts: Vec<Part>,
    /// Over all parts, unless there is one without statements that nobody asked an index for.
    pub(crate) index: Option<Document>,
    /// What is said of it where it lies in a layout.
    pub(crate) root_annotations: BTreeMap<String, String>,
}

impl Documents {
    /// What names mean.
    pub(crate) fn root(&self) -> Option<&Descriptor> {
        let index = self.index.as_ref().map(|(descriptor, _)| descriptor);
        index.or_else(|| self.parts.first().map(|part| &part.manifest.0))
    }

    /// What an exporter says of it.
    pub(crate) fn response(&self) -> BTreeMap<String, String> {
        let mut response = BTreeMap::new();
        if let Some(root) = self.root() {
            response.extend([described(root)]);
            let digest = root.digest.to_string();
            response.insert("containerimage.digest".to_owned(), digest);
        }
        if let [part] = &self.parts[..] {
            let config = part.config.0.digest.to_string();
            response.insert("containerimage.config.digest".to_owned(), config);
        }
        response
    }

    /// As the image store takes them.
    pub(crate) fn assembled(&self) -> Vec<Assembled> {
        let all = self.parts.iter().map(|part| Assembled {
            layers: part.tree.chains(),
            config: part.config.1.clone(),
            manifest: (part.manifest.0.clone(), part.manifest.1.clone().into()),
            extras: part
                .statements
                .iter()
                .map(|(descriptor, bytes)| (descriptor.clone(), bytes.clone().into()))
                .collect(),
        });
        all.collect()
    }
}

impl Job {
    /// Writes the documents of a result. `provenance` says what statements there are to be.
    pub(crate) async fn documents(
        &self,
        result: &SolveResult,
        attrs: &BTreeMap<String, String>,
        provenance: Option<Provenance>,
        shown: &InternalVertex,
    ) -> Result<Documents, SolveError> {
        let started = Timestamp::now();
        let compression = Compression::read(attrs)?;
        let annotations = Annotations::read(attrs)?;
        let epoch = epoch(result, attrs)?;
        let names = names(attrs)?;
        let mut made = Vec::new();
        for one in parts(result)? {
            let platform = one.platform;
            let tree = self.layers_of(&one.tree).await?;
            let tree = self.retimed(tree, attrs, epoch).await?;
            let config = document(one.config, &tree, epoch, self.inline_cache(&tree)?)?;
            let (job, own) = (self.clone(), tree.clone());
            let (layers, holds) = blocking(move || blobs_of(&job, &own, compression)).await?;
            let config = (Descriptor::of(media_type::OCI_CONFIG, &config), config);
            let manifest = Manifest {
                annotations: annotations.manifest(&crate::frontend::key_of(&platform)),
                ..Manifest::oci(config.0.clone(), layers.clone())
            };
            let manifest = written(media_type::OCI_MANIFEST, &manifest)?;
            let mut said: Vec<Predicate> = Vec::new();
            let key = crate::frontend::key_of(&platform);
            for attestation in result.attestations.get(&key).into_iter().flatten() {
                said.extend(attestation.predicates(self).await?);
            }
            if let Some(provenance) = &provenance {
                let definition = result.definitions.get(one.key);
                let predicate = provenance.predicate(self, definition)?;
                said.push((provenance::KIND.to_owned(), predicate));
            }
            let about = provenance::subjects(&names, &platform, &manifest.0.digest);
            let statements = statements(&about, &said)?;
            made.push(Part {
                tree,
                layers,
                config,
                manifest,
                statements,
                platform,
                _holds: holds,
            });
        }
        shown.did("exporting layers", started).await;
        let is_said_of = made.iter().any(|part| !part.statements.is_empty());
        let wants_index = !result.refs.is_empty() || is_said_of || annotations.of_index();
        let index = wants_index
            .then(|| index(&made, &annotations))
            .transpose()?;
        Ok(Documents {
            parts: made,
            index,
            root_annotations: annotations.index_descriptor(),
        })
    }
}

/// How an exporter tells of a descriptor.
pub(crate) fn described(descriptor: &Descriptor) -> (String, String) {
    use base64::Engine as _;
    let text = json!(descriptor).to_string();
    let encoded = base64::engine::general_purpose::STANDARD.encode(text);
    ("containerimage.descriptor".to_owned(), encoded)
}

fn written(kind: &str, value: &impl serde::Serialize) -> Result<Document, SolveError> {
    let bytes = serde_json::to_vec(value).map_err(|error| SolveError::Failed(error.to_string()))?;
    Ok((Descriptor::of(kind, &bytes), bytes))
}

/// The manifest of statements, its configuration and the statements; nothing if nothing is said.
fn statements(
    subjects: &serde_json::Value,
    said: &[Predicate],
) -> Result<Vec<Document>, SolveError> {
    let written_statements = said.iter().map(|(kind, predicate)| {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": kind,
            "subject": subjects,
            "predicate": predicate,
        });
        let mut statement = written(IN_TOTO, &statement)?;
        let kind = (PREDICATE.to_owned(), kind.clone());
        statement.0.annotations.extend([kind]);
        Ok(statement)
    });
    let statements: Vec<Document> = written_statements.collect::<Result<_, SolveError>>()?;
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let descriptors = statements.iter().map(|(descriptor, _)| descriptor.clone());
    let descriptors: Vec<Descriptor> = descriptors.collect();
    let diff_ids = descriptors.iter().map(|one| one.digest.to_string());
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>() },
    });
    let config = written(media_type::OCI_CONFIG, &config)?;
    let manifest = Manifest::oci(config.0.clone(), descriptors);
    let manifest = written(media_type::OCI_MANIFEST, &manifest)?;
    Ok([manifest, config].into_iter().chain(statements).collect())
}

fn index(parts: &[Part], annotations: &Annotations) -> Result<Document, SolveError> {
    let mut manifests = Vec::new();
    for part in parts {
        let key = crate::frontend::key_of(&part.platform);
        let mut descriptor = part.manifest.0.clone();
        descriptor.platform = Some(part.platform.clone());
        descriptor.annotations = annotations.manifest_descriptor(&key);
        manifests.push(descriptor);
    }
    for part in parts {
        let Some((descriptor, _)) = part.statements.first() else {
            continue;
        };
        let mut descriptor = descriptor.clone();
        descriptor.platform = Some(Platform::new("unknown", "unknown", ""));
        descriptor.annotations = about(&part.manifest.0.digest);
        manifests.push(descriptor);
    }
    let index = Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests,
        annotations: annotations.index(),
    };
    written(media_type::OCI_INDEX, &index)
}

fn about(manifest: &Digest) -> BTreeMap<String, String> {
    [
        (
            "vnd.docker.reference.digest".to_owned(),
            manifest.to_string(),
        ),
        (
            "vnd.docker.reference.type".to_owned(),
            "attestation-manifest".to_owned(),
        ),
    ]
    .into()
}
