//! Writes definitions (`client/llb`).

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::pb;
use prost::Message as _;
use wharf_dockerfile::Span;
use wharf_oci::{Digest, Platform};

use crate::SolveError;

/// One output of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    /// Which operation.
    at: usize,
    index: i64,
}

/// Operations that refer to each other. What they are called by, the digests of their bytes, is known only when all
/// are there: what a build wants of its context is known last.
#[derive(Clone, Debug, Default)]
pub(super) struct Builder {
    ops: Vec<Pending>,
    /// Operations by what they say, inputs by their place.
    known: HashMap<Vec<u8>, usize>,
    info: pb::SourceInfo,
}

#[derive(Clone, Debug)]
struct Pending {
    op: pb::Op,
    inputs: Vec<Output>,
    metadata: pb::OpMetadata,
    ranges: Vec<pb::Range>,
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
        Self::of(pb::SourceInfo {
            filename: filename.to_owned(),
            data: text.as_bytes().to_vec(),
            definition: None,
            language: "Dockerfile".to_owned(),
        })
    }

    /// For this file.
    pub(super) fn of(info: pb::SourceInfo) -> Self {
        Self {
            info,
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
            inputs: Vec::new(),
            platform: platform.map(|platform| pb::Platform {
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
                ..pb::Platform::default()
            }),
            constraints: None,
            op: Some(op),
        };
        let at = self.put(op, inputs.to_vec(), described(&about));
        self.ops[at].ranges.extend(about.span.map(range));
        Output { at, index: 0 }
    }

    fn put(&mut self, op: pb::Op, inputs: Vec<Output>, metadata: pb::OpMetadata) -> usize {
        let placed = inputs.iter().map(|input| pb::Input {
            digest: input.at.to_string(),
            index: input.index,
        });
        let said = pb::Op {
            inputs: placed.collect(),
            ..op.clone()
        };
        *self.known.entry(said.encode_to_vec()).or_insert_with(|| {
            self.ops.push(Pending {
                op,
                inputs,
                metadata,
                ranges: Vec::new(),
            });
            self.ops.len() - 1
        })
    }

    /// Takes over another definition; what it wants, if it wants anything.
    ///
    /// # Errors
    /// If it is none.
    pub(super) fn import(
        &mut self,
        definition: &pb::Definition,
    ) -> Result<Option<Output>, SolveError> {
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut wanted = None;
        for bytes in &definition.def {
            let mut op = pb::Op::decode(&bytes[..]).map_err(|error| {
                SolveError::Invalid(format!("failed to parse llb proto op: {error}"))
            })?;
            let inputs = std::mem::take(&mut op.inputs).into_iter().map(|input| {
                let at = places.get(&input.digest).copied();
                let at = at.ok_or_else(|| {
                    SolveError::Invalid(format!("invalid missing input digest {}", input.digest))
                })?;
                Ok(Output {
                    at,
                    index: input.index,
                })
            });
            let inputs: Vec<Output> = inputs.collect::<Result<_, SolveError>>()?;
            if op.op.is_none() {
                wanted = inputs.first().copied();
                continue;
            }
            let digest = Digest::sha256(bytes).to_string();
            let metadata = definition.metadata.get(&digest).cloned();
            let at = self.put(op, inputs, metadata.unwrap_or_default());
            places.insert(digest, at);
        }
        Ok(wanted)
    }

    /// Sets an attribute of a source.
    pub(super) fn set(&mut self, source: Output, key: &str, value: String) {
        let pending = self.ops.get_mut(source.at);
        if let Some(pb::op::Op::Source(source)) = pending.and_then(|one| one.op.op.as_mut()) {
            source.attrs.insert(key.to_owned(), value);
        }
    }

    /// The definition of an output; of none, an empty one.
    pub(super) fn definition(&self, output: Option<&Output>) -> pb::Definition {
        let Some(output) = output else {
            return pb::Definition::default();
        };
        let mut definition = pb::Definition::default();
        let mut locations: BTreeMap<String, pb::Locations> = BTreeMap::new();
        let mut digests: Vec<String> = Vec::with_capacity(self.ops.len());
        for pending in &self.ops {
            let inputs = pending.inputs.iter();
            let op = pb::Op {
                inputs: inputs.map(|one| input(one, &digests)).collect(),
                ..pending.op.clone()
            };
            let bytes = op.encode_to_vec();
            let digest = Digest::sha256(&bytes).to_string();
            if !pending.ranges.is_empty() {
                let all = pending.ranges.iter().map(|range| pb::Location {
                    source_index: 0,
                    ranges: vec![*range],
                });
                let known = locations.entry(digest.clone()).or_default();
                known.locations.extend(all);
            }
            definition
                .metadata
                .insert(digest.clone(), pending.metadata.clone());
            definition.def.push(bytes);
            digests.push(digest);
        }
        let end = pb::Op {
            inputs: vec![input(output, &digests)],
            ..pb::Op::default()
        };
        let end = end.encode_to_vec();
        // Clients take no operation without its metadata.
        let digest = Digest::sha256(&end).to_string();
        definition
            .metadata
            .insert(digest, pb::OpMetadata::default());
        definition.def.push(end);
        definition.source = Some(pb::Source {
            locations,
            infos: vec![self.info.clone()],
        });
        definition
    }

    /// The file that it is made from.
    pub(super) fn info(&self) -> &pb::SourceInfo {
        &self.info
    }
}

fn input(output: &Output, digests: &[String]) -> pb::Input {
    pb::Input {
        digest: digests.get(output.at).cloned().unwrap_or_default(),
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
