//! Where a vertex' work tells what it does: to everyone who waits for it, under the name it has in their graph.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::{Progress, ProgressSender, VertexLog, VertexStatus};

/// As many events are told to those who come later,
const HISTORY: usize = 4_096;
/// and so many bytes of output.
const HISTORY_BYTES: usize = 2 << 20;

/// Progress of a vertex. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct VertexProgress(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    said: VecDeque<Said>,
    /// Of the output in it.
    bytes: usize,
    listeners: Vec<(String, ProgressSender)>,
}

/// Something said, still without the name of a vertex.
#[derive(Clone, Debug)]
enum Said {
    Log(VertexLog),
    Status(VertexStatus),
}

impl Said {
    fn bytes(&self) -> usize {
        match self {
            Self::Log(log) => log.data.len(),
            Self::Status(_) => 0,
        }
    }

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

impl VertexProgress {
    /// Tells one more, who knows the vertex as `digest`; first what was said so far. What is said meanwhile waits.
    pub(crate) async fn join(&self, digest: &str, listener: &ProgressSender) {
        let mut state = self.0.lock().await;
        for one in &state.said {
            // Who has gone hears nothing.
            let _ = listener.send(one.clone().of(digest)).await;
        }
        state.listeners.retain(|(_, known)| !known.is_closed());
        state.listeners.push((digest.to_owned(), listener.clone()));
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
        let mut state = self.0.lock().await;
        state.bytes += said.bytes();
        state.said.push_back(said.clone());
        while state.said.len() > HISTORY || state.bytes > HISTORY_BYTES {
            let Some(oldest) = state.said.pop_front() else {
                break;
            };
            state.bytes -= oldest.bytes();
        }
        let mut at = 0;
        while let Some((digest, listener)) = state.listeners.get(at) {
            match listener.send(said.clone().of(digest)).await {
                Ok(()) => at += 1,
                // Who has gone is not told any more.
                Err(_) => drop(state.listeners.remove(at)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    /// Who comes late hears all in its order, also while more is said.
    #[tokio::test]
    async fn the_past_comes_before_the_present() {
        let progress = VertexProgress::default();
        progress.log(1, Bytes::from_static(b"0")).await;
        progress.log(1, Bytes::from_static(b"1")).await;
        let (sender, mut heard) = mpsc::channel(1);
        let join = progress.join("d", &sender);
        let more = progress.log(1, Bytes::from_static(b"2"));
        let hear = async {
            let mut all = Vec::new();
            while all.len() < 3 {
                match heard.recv().await {
                    Some(Progress::Log(log)) => all.extend_from_slice(&log.data),
                    other => panic!("{other:?}"),
                }
            }
            all
        };
        let ((), (), all) = tokio::join!(join, more, hear);
        assert_eq!(all, b"012");
    }

    #[tokio::test]
    async fn who_has_gone_is_forgotten() {
        let progress = VertexProgress::default();
        let listeners = async || progress.0.lock().await.listeners.len();
        let (gone, (stays, mut heard)) = (mpsc::channel(1).0, mpsc::channel(8));
        progress.join("gone", &gone).await;
        progress.join("stays", &stays).await;
        assert_eq!(listeners().await, 1);
        progress.join("gone", &gone).await;
        progress.log(1, Bytes::from_static(b"x")).await;
        assert_eq!(listeners().await, 1);
        assert!(matches!(heard.recv().await, Some(Progress::Log(log)) if log.vertex == "stays"));
    }

    #[tokio::test]
    async fn only_so_much_is_kept_for_who_comes_late() {
        let progress = VertexProgress::default();
        for _ in 0..5 {
            progress.log(1, vec![0; HISTORY_BYTES / 2].into()).await;
        }
        assert_eq!(progress.0.lock().await.said.len(), 2);
    }
}
