//! BuildKit's solver: a graph of content-addressed steps (LLB), what of it is known already, and the rest done in
//! parallel.
//!
//! A [`Job`] is one client's build. It solves a definition, or has the Dockerfile frontend make one, and makes of the
//! result an image, an archive or a folder. Steps run as bare tasks on overlay snapshots; what they write is hashed
//! straight from the upper directory and becomes a layer by a rename.
//!
//! [`Classic`] is the builder that Docker had before, instruction by instruction, on the same solver.
//!
//! Every path of a context, an image or a definition goes through descriptors ([`wharf_sys::root::Root`]).
//!
//! Source: `moby/buildkit`: `solver/pb/ops.proto`, `docs/`, and the Dockerfile reference.

mod attestation;
mod attributes;
mod cache;
mod entitlement;
mod error;
mod export;
mod flight;
mod frontend;
mod graph;
mod keys;
mod ops;
mod policy;
mod progress;
mod prune;
mod remote;
mod result;
mod solve;
mod solver;
mod stores;
mod vertex_progress;

pub use attestation::{Attestation, AttestationKind};
pub use attributes::flag;
pub use entitlement::Entitlement;
pub use error::{SolveError, SourceRange};
pub use export::{Archived, ExporterKind, Files, Provenance, Writing, check_export};
pub use frontend::classic::{BuildEvent, BuildOptions, BuildSource, Classic, Output};
pub use graph::vertices;
pub use ops::{Container, NewContainer, NewProcess, Process};
pub use policy::Policies;
pub use progress::{Progress, ProgressSender, Vertex, VertexLog, VertexStatus, Warning};
pub use prune::short_id;
pub use result::{Layer, Ref, SolveResult, Stat, Tree};
pub use solver::{
    ArchiveKind, CacheOption, CacheRecord, Job, JobOptions, PruneOptions, ResolvedImage,
    SolveRequest, Solver,
};

/// Runs what blocks on the disk on a thread for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SolveError> + Send + 'static,
) -> Result<T, SolveError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| SolveError::Failed(error.to_string()))?
}
