//! Work off the runtime's own threads.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ImageError;

/// Does `work`, which takes as long as the disk does. A panic in it is told as one: who asked did not give it up.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(ImageError::Panicked(error.to_string())),
        Err(_) => Err(ImageError::Cancelled),
    }
}

/// Does `work`, which goes as fast as a client or a registry sends or takes, or a plugin answers: on a thread of its own, as a
/// few slow ones would hold all of those that the runtime has for the whole daemon.
///
/// # Errors
/// If no thread can be started, or `work` ends in a panic.
pub async fn at_clients_pace<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    on(thread::Builder::new(), work).await
}

/// As [`at_clients_pace`], for what must not be left undone: where no thread can be started, it waits for one of the runtime's.
///
/// # Errors
/// If `work` ends in a panic.
pub async fn at_clients_pace_or_in_turn<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    on_or_in_turn(thread::Builder::new(), work).await
}

async fn on_or_in_turn<T: Send + 'static>(
    thread: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    // A thread that cannot be started drops what it was to do.
    let kept = Arc::new(Mutex::new(Some(work)));
    let work = move || {
        let work = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    };
    let refused = match on(thread, work.clone()).await {
        Ok(Some(done)) => return Ok(done),
        Ok(None) => io::ErrorKind::NotFound.into(),
        Err(error) => error,
    };
    let done = tokio::task::spawn_blocking(work).await;
    // It was begun, and has panicked, if it is not there any more.
    done.map_err(io::Error::other)?.ok_or(refused)
}

async fn on<T: Send + 'static>(
    thread: thread::Builder,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, done) = oneshot::channel();
    let runtime = Handle::current();
    let thread = thread.name("client".into());
    thread.spawn(move || {
        let _entered = runtime.enter();
        // Whoever asked may be gone.
        let _ = sender.send(work());
    })?;
    let panicked = |_| io::Error::other("the work ended in a panic");
    done.await.map_err(panicked)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_no_cancellation() {
        match blocking::<()>(|| panic!("oh")).await {
            Err(ImageError::Panicked(text)) => assert!(text.contains("oh"), "{text}"),
            other => panic!("{other:?}"),
        }
        assert!(at_clients_pace::<()>(|| panic!("oh")).await.is_err());
        let told = at_clients_pace_or_in_turn::<()>(|| panic!("oh")).await;
        assert!(told.unwrap_err().to_string().contains("panic"));
    }

    #[tokio::test]
    async fn what_must_be_done_is_done_without_a_thread_of_its_own() {
        // No address space has room for its stack.
        let thread = || thread::Builder::new().stack_size(1 << 50);
        assert!(on(thread(), || 1).await.is_err());
        assert_eq!(on_or_in_turn(thread(), || 1).await.unwrap(), 1);
        assert_eq!(at_clients_pace_or_in_turn(|| 2).await.unwrap(), 2);
    }

    #[test]
    fn slow_clients_hold_none_of_the_runtimes_threads() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (release, wait) = std::sync::mpsc::channel::<()>();
            let slow = tokio::spawn(at_clients_pace(move || wait.recv().is_err()));
            tokio::task::yield_now().await;
            assert!(blocking(|| Ok(1)).await.is_ok());
            drop(release);
            assert!(slow.await.unwrap().unwrap());
        });
    }
}
