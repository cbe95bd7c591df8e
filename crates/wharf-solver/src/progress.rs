//! What a build says while it works: vertices, their parts, their output, warnings (`moby.buildkit.v1.StatusResponse`).

use bollard_buildkit_proto::pb;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use wharf_oci::Digest;

use crate::vertex_progress::VertexProgress;
use crate::{Job, SolveError};

/// One thing said.
#[derive(Clone, Debug)]
pub enum Progress {
    /// A vertex as it is now.
    Vertex(Vertex),
    /// A part of a vertex' work.
    Status(VertexStatus),
    /// Output of a vertex.
    Log(VertexLog),
    /// A warning about a vertex.
    Warning(Warning),
}

/// A step of the graph.
#[derive(Clone, Debug, Default)]
pub struct Vertex {
    /// Digest of its definition, or of its name for what is no operation.
    pub digest: String,
    /// Digests of the vertices it needs.
    pub inputs: Vec<String>,
    /// What people call it.
    pub name: String,
    /// Whether it was in the cache.
    pub cached: bool,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// The group it is shown in.
    pub group: Option<pb::ProgressGroup>,
}

/// A part of a vertex: a layer that is fetched, a context that is sent.
#[derive(Clone, Debug, Default)]
pub struct VertexStatus {
    /// What tells it from others of the vertex.
    pub id: String,
    /// Digest of the vertex.
    pub vertex: String,
    /// What people call it.
    pub name: String,
    /// Bytes that are done.
    pub current: i64,
    /// Bytes in all; 0 if that is not known.
    pub total: i64,
    /// When this was so.
    pub timestamp: Option<Timestamp>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// Output of a vertex.
#[derive(Clone, Debug)]
pub struct VertexLog {
    /// Digest of the vertex.
    pub vertex: String,
    /// When it was read.
    pub timestamp: Timestamp,
    /// 1 for standard output, 2 for standard error.
    pub stream: i64,
    /// The bytes.
    pub data: Bytes,
}

/// A warning.
#[derive(Clone, Debug, Default)]
pub struct Warning {
    /// Digest of the vertex; empty for the whole build.
    pub vertex: String,
    /// 1 is the most severe.
    pub level: i64,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where to read about it.
    pub url: String,
    /// The file it is about.
    pub source: Option<pb::SourceInfo>,
    /// Where in the file.
    pub ranges: Vec<pb::Range>,
}

/// Where it is said. It waits while the reader has enough, and forgets what is said when there is none any more.
pub type ProgressSender = mpsc::Sender<Progress>;

/// Work that is no operation, shown as a vertex all the same. One that is given up is told to have ended.
pub(crate) struct InternalVertex {
    job: Job,
    vertex: Option<Vertex>,
    /// Where parts of it are told.
    pub(crate) progress: VertexProgress,
}

impl InternalVertex {
    /// It begins; nothing is shown of what has no name.
    pub(crate) async fn begin(job: &Job, name: &str) -> Self {
        let vertex = (!name.is_empty()).then(|| Vertex {
            digest: Digest::sha256(format!("{} {name}", job.id()).as_bytes()).to_string(),
            name: name.to_owned(),
            started: Some(Timestamp::now()),
            ..Vertex::default()
        });
        let progress = VertexProgress::default();
        if let Some(vertex) = &vertex {
            job.tell(Progress::Vertex(vertex.clone())).await;
            progress.join(&vertex.digest, job.progress()).await;
        }
        Self {
            job: job.clone(),
            vertex,
            progress,
        }
    }

    /// A part of it has been done.
    pub(crate) async fn did(&self, id: impl Into<String>, started: Timestamp) {
        let now = Timestamp::now();
        self.progress
            .status(VertexStatus {
                id: id.into(),
                timestamp: Some(now),
                started: Some(started),
                completed: Some(now),
                ..VertexStatus::default()
            })
            .await;
    }

    /// It has ended.
    pub(crate) async fn end(&mut self, error: Option<&SolveError>) {
        if let Some(mut vertex) = self.vertex.take() {
            vertex.completed = Some(Timestamp::now());
            vertex.error = error.map(ToString::to_string).unwrap_or_default();
            self.job.tell(Progress::Vertex(vertex)).await;
        }
    }
}

impl Drop for InternalVertex {
    fn drop(&mut self) {
        if let Some(mut vertex) = self.vertex.take() {
            vertex.completed = Some(Timestamp::now());
            vertex.error = SolveError::Cancelled.to_string();
            // Nobody may be left to hear it.
            let _ = self.job.progress().try_send(Progress::Vertex(vertex));
        }
    }
}
