//! What a build says while it works: vertexes, their statuses and logs, kept so that a client that comes late reads all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};
use futures_util::Stream;
use tokio::sync::watch;
use wharf_solver::Progress;

use crate::time;

/// How much of a step's output is kept and shown (BuildKit's `BUILDKIT_STEP_LOG_MAX_SIZE`).
const MAX_LOG: usize = 2 << 20;

/// A piece of output counts as so many bytes at least: it takes room however short it is, and who writes one letter at a time
/// may mean harm.
const LEAST: usize = 16;

/// Everything that a build has said.
#[derive(Debug)]
pub(crate) struct Trace {
    said: Mutex<Said>,
    /// How much was said, and whether that is all.
    state: watch::Sender<(usize, bool)>,
}

#[derive(Debug, Default)]
struct Said {
    responses: Vec<StatusResponse>,
    /// What is known of each vertex.
    vertexes: HashMap<String, Known>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    completed: bool,
    cached: bool,
    /// Bytes of its output.
    logged: usize,
}

/// How many vertexes there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: usize,
    pub(crate) completed: usize,
    pub(crate) cached: usize,
}

impl Trace {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            said: Mutex::default(),
            state: watch::Sender::new((0, false)),
        })
    }

    /// Takes what the solver says.
    pub(crate) fn take(&self, progress: Progress) {
        let length = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(response) = said.response(progress) {
                said.responses.push(response);
            }
            said.responses.len()
        };
        self.state.send_modify(|(count, _)| *count = length);
    }

    /// Nothing more will be said.
    pub(crate) fn finish(&self) {
        self.state.send_modify(|(_, ended)| *ended = true);
    }

    /// Vertexes that there were.
    pub(crate) fn counts(&self) -> Counts {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |fits: fn(&&Known) -> bool| said.vertexes.values().filter(fits).count();
        Counts {
            total: said.vertexes.len(),
            completed: count(|known| known.completed),
            cached: count(|known| known.cached),
        }
    }

    /// All of it, from its begin to its end.
    pub(crate) fn follow(self: Arc<Self>) -> impl Stream<Item = StatusResponse> {
        let state = self.state.subscribe();
        futures_util::stream::unfold((self, state, 0), |(trace, mut state, at)| async move {
            let ready = state.wait_for(|(count, ended)| *count > at || *ended).await;
            drop(ready.ok()?);
            let next = {
                let said = trace.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.responses.get(at).cloned()
            };
            Some((next?, (trace, state, at + 1)))
        })
    }

    /// Something that the user should know.
    pub(crate) fn warn(&self, warning: VertexWarning) {
        let length = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.responses.push(StatusResponse {
                warnings: vec![warning],
                ..StatusResponse::default()
            });
            said.responses.len()
        };
        self.state.send_modify(|(count, _)| *count = length);
    }
}

impl Said {
    /// What a client is told; of output that is too much, nothing.
    fn response(&mut self, progress: Progress) -> Option<StatusResponse> {
        let mut response = StatusResponse::default();
        match progress {
            Progress::Vertex(vertex) => {
                let known = self.vertexes.entry(vertex.digest.clone()).or_default();
                known.completed |= vertex.completed.is_some();
                known.cached |= vertex.cached;
                response.vertexes.push(vertex_of(vertex));
            }
            Progress::Status(status) => response.statuses.push(status_of(status)),
            Progress::Log(log) => {
                let known = self.vertexes.entry(log.vertex.clone()).or_default();
                let message = clipped(&mut known.logged, &log.data)?;
                response.logs.push(VertexLog {
                    vertex: log.vertex,
                    timestamp: Some(time::of(log.timestamp)),
                    stream: log.stream,
                    msg: message,
                });
            }
            Progress::Warning(warning) => response.warnings.push(VertexWarning {
                vertex: warning.vertex,
                level: warning.level,
                short: warning.short.into_bytes(),
                detail: warning.detail.into_iter().map(String::into_bytes).collect(),
                url: warning.url,
                info: warning.source,
                ranges: warning.ranges,
            }),
        }
        Some(response)
    }
}

/// What of a piece of output is shown, after so much of it.
fn clipped(logged: &mut usize, data: &[u8]) -> Option<Vec<u8>> {
    if *logged > MAX_LOG {
        return None;
    }
    let room = MAX_LOG - *logged;
    let mut message = data[..data.len().min(room)].to_vec();
    *logged += data.len().max(LEAST);
    if *logged > MAX_LOG {
        message.extend_from_slice(b"\n[output clipped, log limit 2MiB reached]\n");
    }
    Some(message)
}

fn vertex_of(vertex: wharf_solver::Vertex) -> Vertex {
    Vertex {
        digest: vertex.digest,
        inputs: vertex.inputs,
        name: vertex.name,
        cached: vertex.cached,
        started: vertex.started.map(time::of),
        completed: vertex.completed.map(time::of),
        error: vertex.error,
        progress_group: vertex.group,
    }
}

fn status_of(status: wharf_solver::VertexStatus) -> VertexStatus {
    let time = |time: Option<jiff::Timestamp>| -> Option<Timestamp> { time.map(time::of) };
    VertexStatus {
        id: status.id,
        vertex: status.vertex,
        name: status.name,
        current: status.current,
        total: status.total,
        timestamp: time(status.timestamp),
        started: time(status.started),
        completed: time(status.completed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    fn vertex(completed: bool) -> Progress {
        let now = jiff::Timestamp::now();
        Progress::Vertex(wharf_solver::Vertex {
            digest: "v".to_owned(),
            name: "[1/1] RUN x".to_owned(),
            started: Some(now),
            completed: completed.then_some(now),
            ..wharf_solver::Vertex::default()
        })
    }

    fn output(data: Vec<u8>) -> Progress {
        Progress::Log(wharf_solver::VertexLog {
            vertex: "v".to_owned(),
            timestamp: jiff::Timestamp::now(),
            stream: 1,
            data: data.into(),
        })
    }

    #[tokio::test]
    async fn who_comes_late_reads_all() {
        let trace = Trace::new();
        trace.take(vertex(false));
        trace.take(output(b"hello".to_vec()));
        trace.take(vertex(true));
        trace.finish();
        let counts = trace.counts();
        let said: Vec<_> = trace.follow().collect().await;
        assert_eq!(said.len(), 3);
        assert!(said[2].vertexes[0].completed.is_some());
        assert_eq!((counts.total, counts.completed, counts.cached), (1, 1, 0));
    }

    #[test]
    fn long_output_is_clipped() {
        let trace = Trace::new();
        for _ in 0..5 {
            trace.take(output(vec![b'x'; 1 << 20]));
        }
        let said = trace.said.lock().unwrap();
        let logs: Vec<_> = said
            .responses
            .iter()
            .flat_map(|response| &response.logs)
            .collect();
        let bytes: usize = logs.iter().map(|log| log.msg.len()).sum();
        assert!(bytes < (2 << 20) + 100, "{bytes}");
        assert!(logs.last().unwrap().msg.ends_with(b"reached]\n"));
    }

    #[test]
    fn output_in_many_pieces_is_clipped_sooner() {
        let trace = Trace::new();
        for _ in 0..MAX_LOG / LEAST + 100 {
            trace.take(output(b"x".to_vec()));
        }
        let said = trace.said.lock().unwrap();
        let last = said.responses.last().unwrap().logs.last().unwrap();
        assert!(last.msg.ends_with(b"reached]\n"));
        assert!(said.responses.len() <= MAX_LOG / LEAST + 1);
    }
}
