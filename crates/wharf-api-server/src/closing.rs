//! The end of serving: no further request is taken, and those that are under way get their time.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long what is under way may take when all else of the daemon has ended: answers that are ready only have to go out.
const LAST: Duration = Duration::from_secs(1);

/// Where serving stands. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing {
    begun: CancellationToken,
    last: CancellationToken,
    open: TaskTracker,
}

impl Closing {
    /// A connection that is waited for at the end, as long as what this returns lives.
    pub(crate) fn connection(&self) -> TaskTrackerToken {
        self.open.token()
    }

    /// No further request is taken from now on.
    pub(crate) fn begin(&self) {
        self.begun.cancel();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Until no further request is taken.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Until nothing more can come of the daemon: what would go on for ever ends then.
    pub(crate) fn last(&self) -> impl Future<Output = ()> + Send + use<> {
        self.last.clone().cancelled_owned()
    }

    /// Ends what would go on for ever, and waits for the rest, but not for long.
    pub(crate) async fn end(&self) {
        self.begin();
        self.last.cancel();
        self.open.close();
        if tokio::time::timeout(LAST, self.open.wait()).await.is_err() {
            tracing::debug!(count = self.open.len(), "connections that do not end");
        }
    }
}
