//! Where a vertex' work tells what it does: to everyone who waits for it, under the name it has in their graph.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;

use crate::{Progress, ProgressSender, VertexLog, VertexStatus};

/// As many events are told to those who come later.
const HISTORY: usize = 4_096;

/// A voice. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voice(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    said: VecDeque<Said>,
    listeners: Vec<(String, ProgressSender)>,
}

/// Something said, still without the name of a vertex.
#[derive(Clone, Debug)]
enum Said {
    Log(VertexLog),
    Status(VertexStatus),
}

impl Said {
    fn of(self, digest: &str) -> Progress {
        match self {
            Self::Log(log) => Progress::Log(VertexLog {
                vertex: digest.to_owned(),
                ..log
            }),
            Self::Status(status) => Progress::Status(VertexStatus {
                vertex: digest.to_owned(),
                ..status
            }),
        }
    }
}

impl Voice {
    /// Tells one more, who knows the vertex as `digest`; first what was said so far.
    pub(crate) async fn join(&self, digest: &str, listener: &ProgressSender) {
        let said: Vec<Said> = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.listeners.push((digest.to_owned(), listener.clone()));
            state.said.iter().cloned().collect()
        };
        for one in said {
            // Who has gone hears nothing.
            let _ = listener.send(one.of(digest)).await;
        }
    }

    /// Output of a command.
    pub(crate) async fn log(&self, stream: i64, data: Bytes) {
        self.say(Said::Log(VertexLog {
            vertex: String::new(),
            timestamp: Timestamp::now(),
            stream,
            data,
        }))
        .await;
    }

    /// A part of the work.
    pub(crate) async fn status(&self, status: VertexStatus) {
        self.say(Said::Status(status)).await;
    }

    async fn say(&self, said: Said) {
        let listeners = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.said.len() == HISTORY {
                state.said.pop_front();
            }
            state.said.push_back(said.clone());
            state.listeners.clone()
        };
        for (digest, listener) in listeners {
            // As above.
            let _ = listener.send(said.clone().of(&digest)).await;
        }
    }
}
