//! How many transfers there are at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A limit of transfers, downloads or uploads.
#[derive(Debug)]
pub(crate) struct Limit {
    all: Arc<Semaphore>,
    /// How many wait for a slot.
    waiting: AtomicUsize,
}

/// The right to run one transfer; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    limit: Arc<Limit>,
    /// None only while it sleeps.
    permit: Option<OwnedSemaphorePermit>,
}

impl Limit {
    /// One at least.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(count.max(1))),
            waiting: AtomicUsize::new(0),
        })
    }

    /// A slot, if there is one left now.
    pub(crate) fn try_slot(self: &Arc<Self>) -> Option<Slot> {
        let permit = self.all.clone().try_acquire_owned().ok()?;
        Some(Slot {
            limit: self.clone(),
            permit: Some(permit),
        })
    }

    /// A slot, as soon as there is one.
    pub(crate) async fn slot(self: &Arc<Self>) -> Slot {
        let permit = Some(self.permit().await);
        let limit = self.clone();
        Slot { limit, permit }
    }

    /// Whether somebody waits for a slot.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    async fn permit(&self) -> OwnedSemaphorePermit {
        /// Counts itself, also when whoever waits gives up.
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        match self.all.clone().acquire_owned().await {
            Ok(permit) => permit,
            Err(_) => unreachable!("the semaphore is never closed"),
        }
    }
}

impl Slot {
    /// Sleeps, and lets others have the right meanwhile: a registry that says to come again in a minute means us, not them.
    pub(crate) async fn sleep(&mut self, time: Duration) {
        self.permit = None;
        tokio::time::sleep(time).await;
        self.permit = Some(self.limit.permit().await);
    }
}
