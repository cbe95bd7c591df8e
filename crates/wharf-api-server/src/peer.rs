//! Whether a client is still there: work that says nothing for long is given up when nobody will hear of it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// How long a client may take to read the head of an answer before what follows it is sent all the same.
const ATTENTION: Duration = Duration::from_millis(250);
/// How long it is asked for without pause, and each pause after that.
const SPIN: Duration = Duration::from_micros(300);

/// A connection, as its requests see it (an extension of each).
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    socket: Option<Arc<OwnedFd>>,
    /// What says that the client is gone. Of TCP only the end of what it sends is seen, which no client of a build or
    /// pull ends before its answer; a Unix socket tells a closed connection from half of one.
    signs: PollFlags,
}

impl Peer {
    /// The other end of `stream`. Without a descriptor to spare, it is never gone.
    pub(crate) fn of(stream: &impl AsFd, is_unix: bool) -> Self {
        let socket = stream.as_fd().try_clone_to_owned();
        let half = if is_unix {
            PollFlags::empty()
        } else {
            PollFlags::RDHUP
        };
        Self {
            socket: socket.ok().map(Arc::new),
            signs: half | PollFlags::HUP | PollFlags::ERR,
        }
    }

    /// Until the client is gone.
    pub(crate) async fn gone(&self) {
        let watch = self.socket.as_ref().and_then(|socket| {
            let socket = std::os::unix::net::UnixStream::from(socket.try_clone().ok()?);
            // Of TCP, too: only its readiness is asked for.
            UnixStream::from_std(socket).ok()
        });
        let Some(watch) = watch else {
            return std::future::pending().await;
        };
        loop {
            if watch.readable().await.is_err() {
                return std::future::pending().await;
            }
            if self.is_gone(&watch) {
                return;
            }
            // What there is to read is the server's; the next event wakes again.
            let wait = || Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
            let _ = watch.try_io(Interest::READABLE, wait);
        }
    }

    /// Until the client has read all that was said, or does not for [`ATTENTION`].
    ///
    /// Some clients (docker-py) read the head of an answer with a buffer and what follows it without: bytes that come together
    /// with the head are lost to them. dockerd is slow enough never to show it.
    pub(crate) async fn has_read(&self) {
        let start = Instant::now();
        while start.elapsed() < ATTENTION && self.leaves_unread() {
            match start.elapsed() < SPIN {
                true => tokio::task::yield_now().await,
                false => tokio::time::sleep(SPIN).await,
            }
        }
    }

    fn leaves_unread(&self) -> bool {
        let unread = self.socket.as_ref();
        let unread = unread.map(|socket| wharf_sys::socket::unread(socket.as_fd()));
        unread.is_some_and(|unread| unread.is_ok_and(|count| count > 0))
    }

    fn is_gone(&self, socket: &impl AsFd) -> bool {
        let mut watched = [PollFd::new(socket, self.signs)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().intersects(self.signs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Whether a task has ended once all that can go on has had many turns: the runtime of a test has one thread.
    async fn is_done<T>(task: &tokio::task::JoinHandle<T>) -> bool {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        task.is_finished()
    }

    #[tokio::test]
    async fn a_closed_connection_is_told_from_half_of_one() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, true);
        let watching = peer.clone();
        let gone = tokio::spawn(async move { peer.gone().await });
        theirs.write_all(b"x").await.unwrap();
        theirs.shutdown().await.unwrap();
        ours.readable().await.unwrap();
        // There is something to read, and the end of it; who watches has seen both by the time that he waits again.
        assert!(!watching.is_gone(&ours));
        assert!(!is_done(&gone).await);
        drop(theirs);
        assert!(watching.is_gone(&ours));
        gone.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_said_is_read_first() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = Peer::of(&ours, true);
        assert!(!peer.leaves_unread());
        ours.write_all(b"head").await.unwrap();
        assert!(peer.leaves_unread());
        let waits = tokio::spawn({
            let peer = peer.clone();
            async move { peer.has_read().await }
        });
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        waits.await.unwrap();
        assert!(!peer.leaves_unread());
    }
}
