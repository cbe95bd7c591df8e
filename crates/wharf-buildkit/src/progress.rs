//! What a build says while it works: vertexes, their statuses and logs, kept so that a client that comes late reads all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{
    StatusResponse, Vertex, VertexLog, VertexStatus, VertexWarning,
};
use futures_util::Stream;
use sha2::Digest as _;
use tokio::sync::watch;

use crate::session::hex;
use crate::time::now;

/// How much of a step's output is kept and shown (BuildKit's `BUILDKIT_STEP_LOG_MAX_SIZE`).
const MAX_LOG: u64 = 2 << 20;

/// Everything that a build has said.
#[derive(Debug)]
pub(crate) struct Trace {
    /// What tells the vertexes of one build from another's.
    seed: String,
    said: Mutex<Vec<StatusResponse>>,
    /// How much was said, and whether that is all.
    state: watch::Sender<(usize, bool)>,
    count: AtomicU64,
    cached: AtomicU64,
}

impl Trace {
    /// Of the build with that id.
    pub(crate) fn new(id: &str) -> Arc<Self> {
        Arc::new(Self {
            seed: id.to_owned(),
            said: Mutex::default(),
            state: watch::Sender::new((0, false)),
            count: AtomicU64::new(0),
            cached: AtomicU64::new(0),
        })
    }

    fn say(&self, response: StatusResponse) {
        let length = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(response);
            said.len()
        };
        self.state.send_modify(|(count, _)| *count = length);
    }

    /// Nothing more will be said.
    pub(crate) fn finish(&self) {
        self.state.send_modify(|(_, ended)| *ended = true);
    }

    /// Steps that there were, and those of them that were in the cache.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        (read(&self.count), read(&self.cached))
    }

    /// All of it, from its begin to its end.
    pub(crate) fn follow(self: Arc<Self>) -> impl Stream<Item = StatusResponse> {
        let state = self.state.subscribe();
        futures_util::stream::unfold((self, state, 0), |(trace, mut state, at)| async move {
            let ready = state.wait_for(|(count, ended)| *count > at || *ended).await;
            drop(ready.ok()?);
            let next = {
                let said = trace.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.get(at).cloned()
            };
            Some((next?, (trace, state, at + 1)))
        })
    }

    /// Begins a step.
    pub(crate) fn begin(self: &Arc<Self>, name: impl Into<String>) -> Step {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let seed = format!("{}\0{number}", self.seed);
        let step = Step {
            trace: self.clone(),
            digest: format!("sha256:{}", hex(&sha2::Sha256::digest(seed))),
            name: name.into(),
            started: now(),
            logged: 0,
            ended: false,
        };
        step.vertex(None, false, "");
        step
    }

    /// Something that the user should know about a step.
    pub(crate) fn warn(&self, warning: VertexWarning) {
        self.say(StatusResponse {
            warnings: vec![warning],
            ..StatusResponse::default()
        });
    }
}

/// A step that is being done. Dropped before its end, it was given up.
#[derive(Debug)]
pub(crate) struct Step {
    trace: Arc<Trace>,
    digest: String,
    name: String,
    started: Timestamp,
    logged: u64,
    ended: bool,
}

impl Step {
    fn vertex(&self, completed: Option<Timestamp>, cached: bool, error: &str) {
        self.trace.say(StatusResponse {
            vertexes: vec![Vertex {
                digest: self.digest.clone(),
                name: self.name.clone(),
                cached,
                started: Some(self.started),
                completed,
                error: error.to_owned(),
                ..Vertex::default()
            }],
            ..StatusResponse::default()
        });
    }

    /// How far something in it has come.
    pub(crate) fn status(&self, status: &Status<'_>) {
        let time = now();
        self.trace.say(StatusResponse {
            statuses: vec![VertexStatus {
                id: status.id.to_owned(),
                vertex: self.digest.clone(),
                name: status.name.to_owned(),
                current: status.current.try_into().unwrap_or(i64::MAX),
                total: status.total.try_into().unwrap_or(i64::MAX),
                timestamp: Some(time),
                started: Some(status.started),
                completed: status.done.then_some(time),
            }],
            ..StatusResponse::default()
        });
    }

    /// Something in it that has been done.
    pub(crate) fn done_with(&self, id: &str, started: Timestamp) {
        self.status(&Status {
            done: true,
            ..Status::new(id, started)
        });
    }

    /// What a command says. Of one that says too much, the rest is left out.
    pub(crate) fn log(&mut self, is_error: bool, text: &[u8]) {
        if self.logged > MAX_LOG {
            return;
        }
        let room = usize::try_from(MAX_LOG - self.logged).unwrap_or(usize::MAX);
        let mut message = text[..text.len().min(room)].to_vec();
        self.logged += text.len() as u64;
        if self.logged > MAX_LOG {
            message.extend_from_slice(b"\n[output clipped, log limit 2MiB reached]\n");
        }
        self.trace.say(StatusResponse {
            logs: vec![VertexLog {
                vertex: self.digest.clone(),
                timestamp: Some(now()),
                stream: if is_error { 2 } else { 1 },
                msg: message,
            }],
            ..StatusResponse::default()
        });
    }

    /// It has ended well.
    pub(crate) fn done(mut self) {
        self.ended = true;
        self.vertex(Some(now()), false, "");
    }

    /// It was in the cache.
    pub(crate) fn cached(mut self) {
        self.ended = true;
        self.trace.cached.fetch_add(1, Ordering::Relaxed);
        self.vertex(Some(now()), true, "");
    }

    /// It could not be done.
    pub(crate) fn failed(mut self, error: &str) {
        self.ended = true;
        self.vertex(Some(now()), false, error);
    }

    /// Ends it as `result` says.
    pub(crate) fn end<T, E: std::fmt::Display>(self, result: Result<T, E>) -> Result<T, E> {
        match &result {
            Ok(_) => self.done(),
            Err(error) => self.failed(&error.to_string()),
        }
        result
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.vertex(Some(now()), false, "context canceled");
        }
    }
}

/// How far something in a step has come.
#[derive(Clone, Debug)]
pub(crate) struct Status<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) current: u64,
    pub(crate) total: u64,
    pub(crate) started: Timestamp,
    pub(crate) done: bool,
}

impl<'a> Status<'a> {
    /// Of something that has begun.
    pub(crate) fn new(id: &'a str, started: Timestamp) -> Self {
        Self {
            id,
            name: "",
            current: 0,
            total: 0,
            started,
            done: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt as _;

    #[tokio::test]
    async fn who_comes_late_reads_all() {
        let trace = Trace::new("x");
        let mut step = trace.begin("[1/1] RUN x");
        step.log(false, b"hello");
        step.done();
        drop(trace.begin("given up"));
        trace.finish();
        let said: Vec<_> = trace.follow().collect().await;
        assert_eq!(said.len(), 5);
        assert!(said[2].vertexes[0].completed.is_some());
        assert_eq!(said[4].vertexes[0].error, "context canceled");
    }

    #[test]
    fn long_output_is_clipped() {
        let trace = Trace::new("x");
        let mut step = trace.begin("loud");
        for _ in 0..5 {
            step.log(false, &[b'x'; 1 << 20]);
        }
        step.done();
        let said = trace.said.lock().unwrap();
        let logs: Vec<_> = said.iter().flat_map(|response| &response.logs).collect();
        let bytes: usize = logs.iter().map(|log| log.msg.len()).sum();
        assert!(bytes < (2 << 20) + 100, "{bytes}");
        assert!(logs.last().unwrap().msg.ends_with(b"reached]\n"));
    }
}
