//! Work that several builds want at the same time: it is done once. Those who wait hold it; when the last one lets go,
//! it is given up.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use wharf_oci::Digest;

use crate::vertex_progress::VertexProgress;
use crate::{ProgressSender, Ref, SolveError};

/// What comes out of a vertex: a tree for each output that it has.
pub(crate) type Outputs = Vec<Option<Ref>>;
type Outcome = Option<Result<Outputs, SolveError>>;

/// All work under way, by what it is.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Digest, Weak<Flight>>>);

struct Flight {
    progress: VertexProgress,
    outcome: watch::Receiver<Outcome>,
    task: AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flights {
    /// Does the work at `key`, or waits for who is doing it. Progress goes to `listener`.
    pub(crate) async fn fly<F>(
        &self,
        key: &Digest,
        (digest, listener): (&str, &ProgressSender),
        work: impl FnOnce(VertexProgress) -> F,
    ) -> Result<Outputs, SolveError>
    where
        F: Future<Output = Result<Outputs, SolveError>> + Send + 'static,
    {
        let flight = self.board(key, work);
        flight.progress.join(digest, listener).await;
        let mut outcome = flight.outcome.clone();
        // Its sender goes with the task: an end without a word is a task that was given up.
        let ended = outcome.wait_for(Option::is_some).await;
        let result = ended.ok().and_then(|outcome| outcome.clone());
        result.unwrap_or(Err(SolveError::Cancelled))
    }

    fn board<F>(&self, key: &Digest, work: impl FnOnce(VertexProgress) -> F) -> Arc<Flight>
    where
        F: Future<Output = Result<Outputs, SolveError>> + Send + 'static,
    {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key).and_then(Weak::upgrade)
            // One that has ended is in the cache, or has failed and may not the next time.
            && flight.outcome.borrow().is_none()
        {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let progress = VertexProgress::default();
        let (end, outcome) = watch::channel(None);
        let work = work(progress.clone());
        let task = tokio::spawn(async move {
            let result = work.await;
            // Nobody waits any more if this fails.
            let _ = end.send(Some(result));
        });
        let flight = Arc::new(Flight {
            progress,
            outcome,
            task: task.abort_handle(),
        });
        flights.insert(*key, Arc::downgrade(&flight));
        flight
    }
}
