//! What vertices do.

mod container;
mod copy;
mod exec;
mod file;
mod layers;
pub(crate) mod layout;
mod mounts;
mod source;

use bollard_buildkit_proto::pb;

use crate::flight::Outputs;
use crate::graph::Node;
use crate::keys;
use crate::vertex_progress::VertexProgress;
use crate::{Job, Ref, SolveError};

pub use container::{Container, NewContainer, NewProcess, Process};
pub(crate) use exec::allowed;
pub(crate) use layers::compared;
pub(crate) use mounts::Caches;
pub(crate) use source::{platform_of, resolve, transfer};

/// A vertex that is being done.
pub(crate) struct VertexRun<'a> {
    pub(crate) job: &'a Job,
    pub(crate) node: &'a Node,
    pub(crate) inputs: &'a [Outputs],
    pub(crate) progress: &'a VertexProgress,
}

impl VertexRun<'_> {
    /// Does it.
    ///
    /// # Errors
    /// What goes wrong.
    pub(crate) async fn run(&self) -> Result<Outputs, SolveError> {
        match &self.node.op {
            pb::op::Op::Source(source) => Ok(vec![Some(self.source(source).await?)]),
            pb::op::Op::Exec(exec) => self.exec(exec).await,
            pb::op::Op::File(file) => self.file(file).await,
            pb::op::Op::Merge(merge) => Ok(vec![Some(self.merge(merge).await?)]),
            pb::op::Op::Diff(diff) => Ok(vec![Some(self.diff(diff).await?)]),
            pb::op::Op::Build(_) => Err(SolveError::NotImplemented(
                "build operations are not supported: solve their definition instead".to_owned(),
            )),
        }
    }

    /// The tree at an input; an empty one for none.
    fn input(&self, number: i64) -> Result<Ref, SolveError> {
        match usize::try_from(number) {
            Ok(at) => keys::input(self.node, self.inputs, at).cloned(),
            Err(_) => Ok(Ref::scratch()),
        }
    }
}
