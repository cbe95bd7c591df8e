//! Statements about a result that a frontend has made (`solver/result`, `exporter/attestation`).

use bollard_buildkit_proto::pb;
use serde_json::Value;

use crate::{Job, Ref, SolveError};

/// Most files of a folder with statements.
const MOST: usize = 1_000;

/// What is said of a result, in a tree of its own.
#[derive(Clone, Debug)]
pub struct Attestation {
    /// The tree that it is in.
    pub tree: Ref,
    /// What the tree was solved from.
    pub definition: pb::Definition,
    /// What is at the path.
    pub kind: AttestationKind,
    /// Where in the tree.
    pub path: String,
    /// What kind of statement it is; of a bundle, empty if it may be any.
    pub predicate_type: String,
}

/// What holds statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestationKind {
    /// A file with what is said.
    InToto,
    /// A folder of whole statements, a file each, about nothing yet.
    Bundle,
}

/// A kind and what is said.
pub(crate) type Predicate = (String, Value);

impl Attestation {
    /// All that is said.
    ///
    /// # Errors
    /// If a file is not there, or is no statement of the kind.
    pub(crate) async fn predicates(&self, job: &Job) -> Result<Vec<Predicate>, SolveError> {
        if self.kind == AttestationKind::InToto {
            let said = self.read(job, &self.path).await?;
            return Ok(vec![(self.predicate_type.clone(), said)]);
        }
        let files = self.tree.read_dir(job, &self.path, "").await?;
        if files.len() > MOST {
            return Err(SolveError::Failed("too many statements".to_owned()));
        }
        let mut predicates = Vec::new();
        for file in files {
            let path = format!("{}/{}", self.path, file.path);
            let mut statement = self.read(job, &path).await?;
            let kind = statement["predicateType"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            if kind.is_empty() || !self.predicate_type.is_empty() && kind != self.predicate_type {
                return Err(SolveError::Failed(format!(
                    "bundle entry {kind:?} does not match required predicate type {}",
                    self.predicate_type
                )));
            }
            predicates.push((kind, statement["predicate"].take()));
        }
        Ok(predicates)
    }

    async fn read(&self, job: &Job, path: &str) -> Result<Value, SolveError> {
        let bytes = self.tree.read_file(job, path, None).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            SolveError::Failed(format!("cannot decode in-toto statement: {error}"))
        })
    }
}
