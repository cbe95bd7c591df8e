//! Work off the runtime's own threads.

use std::io;

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
    let (sender, done) = oneshot::channel();
    let runtime = Handle::current();
    let thread = std::thread::Builder::new().name("client".into());
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
