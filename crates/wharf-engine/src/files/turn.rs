//! Who looks at a container's files, and a start, which mounts them.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};

/// What those are told whose work a start has ended.
const EVICTED: &str = "the container was started";

/// Readers share the files; a start comes alone. It waits for them, but not for ever: what a reader does goes at the pace of
/// a client, and that one may have stopped.
#[derive(Default)]
pub(crate) struct Turns {
    files: Arc<RwLock<()>>,
    /// How often readers were told to end.
    evictions: watch::Sender<u64>,
}

/// A reader's turn, as long as it lives.
pub(crate) struct Reading {
    _files: OwnedRwLockReadGuard<()>,
    evicted: Evicted,
}

/// Hears whether a reader has to end.
#[derive(Clone)]
pub(crate) struct Evicted(watch::Receiver<u64>);

impl Turns {
    /// A turn among other readers.
    pub(crate) async fn read(&self) -> Reading {
        let files = self.files.clone().read_owned().await;
        Reading {
            _files: files,
            evicted: Evicted(self.evictions.subscribe()),
        }
    }

    /// A turn alone.
    pub(crate) async fn alone(&self) -> OwnedRwLockWriteGuard<()> {
        self.files.clone().write_owned().await
    }

    /// Ends the turns of all who read now.
    pub(crate) fn evict(&self) {
        self.evictions.send_modify(|times| *times += 1);
    }
}

impl Reading {
    pub(crate) fn evicted(&self) -> Evicted {
        self.evicted.clone()
    }
}

impl Evicted {
    /// Until it has to.
    pub(crate) async fn wait(mut self) {
        if self.0.changed().await.is_err() {
            // Nobody will ever say so.
            std::future::pending::<()>().await;
        }
    }

    pub(crate) fn error() -> io::Error {
        io::Error::other(EVICTED)
    }

    /// `from`, which fails as soon as the reader has to end.
    pub(crate) fn guard<R>(self, from: R) -> Guarded<R> {
        Guarded {
            from,
            evicted: Some(Box::pin(self.wait())),
        }
    }
}

/// See [`Evicted::guard`].
pub(crate) struct Guarded<R> {
    from: R,
    /// `None` once it has come.
    evicted: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Guarded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let over = match &mut self.evicted {
            Some(evicted) => evicted.as_mut().poll(context).is_ready(),
            None => true,
        };
        if over {
            self.evicted = None;
            return Poll::Ready(Err(Evicted::error()));
        }
        Pin::new(&mut self.from).poll_read(context, buffer)
    }
}
