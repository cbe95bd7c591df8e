//! Writes definitions (`client/llb`).

use std::collections::{BTreeMap, BTreeSet};

use bollard_buildkit_proto::pb;
use prost::Message as _;
use wharf_dockerfile::Span;
use wharf_oci::{Digest, Platform};

/// One output of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Output {
    digest: String,
    index: i64,
}

/// Operations that refer to each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    ops: Vec<Vec<u8>>,
    known: BTreeSet<String>,
    metadata: BTreeMap<String, pb::OpMetadata>,
    locations: BTreeMap<String, pb::Locations>,
    info: pb::SourceInfo,
}

/// What is said of an operation beside what it does.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) span: Option<Span>,
    pub(super) ignore_cache: bool,
}

impl Builder {
    /// For a file with this name and text.
    pub(super) fn new(filename: &str, text: &str) -> Self {
        Self {
            info: pb::SourceInfo {
                filename: filename.to_owned(),
                data: text.as_bytes().to_vec(),
                definition: None,
                language: "Dockerfile".to_owned(),
            },
            ..Self::default()
        }
    }

    /// Adds an operation; an equal one is there once.
    pub(super) fn add(
        &mut self,
        op: pb::op::Op,
        inputs: &[Output],
        platform: Option<&Platform>,
        about: About,
    ) -> Output {
        let op = pb::Op {
            inputs: inputs.iter().map(input).collect(),
            platform: platform.map(|platform| pb::Platform {
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
                ..pb::Platform::default()
            }),
            constraints: None,
            op: Some(op),
        };
        let bytes = op.encode_to_vec();
        let digest = Digest::sha256(&bytes).to_string();
        if self.known.insert(digest.clone()) {
            self.ops.push(bytes);
            self.metadata.insert(digest.clone(), described(&about));
        }
        if let Some(span) = about.span {
            let location = pb::Location {
                source_index: 0,
                ranges: vec![range(span)],
            };
            let locations = self.locations.entry(digest.clone()).or_default();
            locations.locations.push(location);
        }
        Output { digest, index: 0 }
    }

    /// Takes over another definition; what it wants, if it wants anything.
    pub(super) fn import(&mut self, definition: &pb::Definition) -> Option<Output> {
        let (last, ops) = definition.def.split_last()?;
        for bytes in ops {
            let digest = Digest::sha256(bytes).to_string();
            if self.known.insert(digest.clone()) {
                self.ops.push(bytes.clone());
                let metadata = definition.metadata.get(&digest).cloned();
                self.metadata.insert(digest, metadata.unwrap_or_default());
            }
        }
        let end = pb::Op::decode(&last[..]).ok()?;
        let wanted = end.inputs.first()?;
        Some(Output {
            digest: wanted.digest.clone(),
            index: wanted.index,
        })
    }

    /// The definition of an output; of none, an empty one.
    pub(super) fn definition(&self, output: Option<&Output>) -> pb::Definition {
        let Some(output) = output else {
            return pb::Definition::default();
        };
        let end = pb::Op {
            inputs: vec![input(output)],
            ..pb::Op::default()
        };
        let mut def = self.ops.clone();
        def.push(end.encode_to_vec());
        pb::Definition {
            def,
            metadata: self.metadata.clone(),
            source: Some(pb::Source {
                locations: self.locations.clone(),
                infos: vec![self.info.clone()],
            }),
        }
    }

    /// The file that it is made from.
    pub(super) fn info(&self) -> &pb::SourceInfo {
        &self.info
    }
}

fn input(output: &Output) -> pb::Input {
    pb::Input {
        digest: output.digest.clone(),
        index: output.index,
    }
}

fn described(about: &About) -> pb::OpMetadata {
    let mut metadata = pb::OpMetadata {
        ignore_cache: about.ignore_cache,
        ..pb::OpMetadata::default()
    };
    if !about.name.is_empty() {
        let name = ("llb.customname".to_owned(), about.name.clone());
        metadata.description.extend([name]);
    }
    metadata
}

/// Lines as BuildKit has them.
pub(super) fn range(span: Span) -> pb::Range {
    let position = |line: usize| pb::Position {
        line: i32::try_from(line).unwrap_or(i32::MAX),
        character: 0,
    };
    pb::Range {
        start: Some(position(span.start)),
        end: Some(position(span.end)),
    }
}
