//! For tests: a runtime in which whatever holds a thread is noticed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

/// A runtime that has one thread for what blocks.
pub(super) fn narrow() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Whether the one thread is there for others, after what was spawned has asked for it.
pub(super) async fn assert_a_thread_is_free() {
    tokio::task::yield_now().await;
    let work = tokio::task::spawn_blocking(|| ());
    let done = tokio::time::timeout(Duration::from_secs(5), work).await;
    done.unwrap().unwrap();
}
