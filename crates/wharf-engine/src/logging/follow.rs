//! Those who follow logs, woken by one watch of the kernel's for all.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use wharf_logs::{Watched, Watches};

use crate::EngineError;

/// All who follow. The watch is made for the first.
#[derive(Default)]
pub(crate) struct Followers(OnceLock<Arc<Shared>>);

struct Shared {
    watches: AsyncFd<Watches>,
    /// Held while a watch is added or removed, so that nobody is woken by another's.
    waiting: Mutex<HashMap<Watched, Vec<Weak<Notify>>>>,
}

/// One who follows.
pub(crate) struct Follower {
    wake: Arc<Notify>,
    watched: Watched,
    shared: Arc<Shared>,
}

impl Followers {
    /// Follows the log at `path`: whatever changes from now on is seen.
    pub(crate) fn add(&self, path: &Path) -> Result<Follower, EngineError> {
        let shared = match self.0.get() {
            Some(shared) => shared.clone(),
            None => {
                let new = Shared::begin().map_err(EngineError::io("watch", path))?;
                self.0.get_or_init(|| new).clone()
            }
        };
        let wake = Arc::new(Notify::new());
        let mut waiting = shared.waiting();
        let watched = shared.watches.get_ref().add(path);
        let watched = watched.map_err(|error| EngineError::failed(&error))?;
        waiting
            .entry(watched)
            .or_default()
            .push(Arc::downgrade(&wake));
        drop(waiting);
        Ok(Follower {
            wake,
            watched,
            shared,
        })
    }
}

impl Follower {
    /// Until the log may have changed since the last time. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting();
        let Some(others) = waiting.get_mut(&self.watched) else {
            return;
        };
        others.retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&self.wake)));
        if others.is_empty() {
            waiting.remove(&self.watched);
            self.shared.watches.get_ref().remove(self.watched);
        }
    }
}

impl Shared {
    #[expect(
        deprecated,
        reason = "the successor is unsafe, which is wharf-sys's alone; Watches owns its descriptor"
    )]
    fn begin() -> std::io::Result<Arc<Self>> {
        let shared = Arc::new(Self {
            watches: AsyncFd::new(Watches::new()?)?,
            waiting: Mutex::default(),
        });
        tokio::spawn(wake(Arc::downgrade(&shared)));
        Ok(shared)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Watched, Vec<Weak<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes whom it concerns, as long as there are any.
async fn wake(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let Ok(mut ready) = shared.watches.readable().await else {
            return;
        };
        let waiting = shared.waiting();
        let tell = |followers: &Vec<Weak<Notify>>| {
            let followers = followers.iter().filter_map(Weak::upgrade);
            followers.for_each(|follower| follower.notify_one());
        };
        ready.get_inner().take(|changed| match changed {
            Some(watched) => {
                if let Some(followers) = waiting.get(&watched) {
                    tell(followers);
                }
            }
            None => waiting.values().for_each(tell),
        });
        drop(waiting);
        ready.clear_ready();
    }
}
