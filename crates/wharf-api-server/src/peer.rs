//! Whether a client is still there: work that says nothing for long is given up when nobody will hear of it.

use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::closing::Closing;

/// How long a client may take to read the head of an answer before what follows it is sent all the same.
const ATTENTION: Duration = Duration::from_millis(250);
/// How long it is asked for without pause, and each pause after that.
const SPIN: Duration = Duration::from_micros(300);
/// What says that both halves of a connection are closed.
const CLOSED: PollFlags = PollFlags::HUP.union(PollFlags::ERR);

/// What kind of socket a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    /// Its kernel tells a closed connection from half of one.
    Unix,
    /// Only the end of what the other side sends is seen. As Go's `net/http`, that is taken for its end where the request was whole.
    Tcp,
}

/// Who can have made a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Who may open a socket, or has shown a certificate.
    Known,
    /// Every program of this machine that can be talked into it, a browser among them.
    Local,
}

/// A connection, as its requests see it (an extension of each).
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    descriptor: Option<Arc<OwnedFd>>,
    socket: Socket,
    reach: Reach,
    closing: Closing,
    /// The connection is waited for as long as anybody serves it.
    _open: Arc<TaskTrackerToken>,
}

impl Peer {
    /// The other end of `stream`. Without a descriptor to spare, it is never gone.
    pub(crate) fn of(stream: &impl AsFd, socket: Socket, closing: &Closing) -> Self {
        let descriptor = stream.as_fd().try_clone_to_owned();
        Self {
            descriptor: descriptor.ok().map(Arc::new),
            socket,
            reach: Reach::Known,
            closing: closing.clone(),
            _open: Arc::new(closing.connection()),
        }
    }

    /// The same, where nobody says who he is.
    pub(crate) fn unproven(self) -> Self {
        Self {
            reach: Reach::Local,
            ..self
        }
    }

    pub(crate) fn is_unproven(&self) -> bool {
        self.reach == Reach::Local
    }

    /// Until nobody waits for the answer to a request that was read to its end.
    pub(crate) async fn gone(&self) {
        match self.socket {
            Socket::Unix => self.closed().await,
            Socket::Tcp => {
                let signs = CLOSED | PollFlags::RDHUP;
                self.until(signs, Interest::READABLE).await;
            }
        }
    }

    /// Until both halves of the connection are closed. Over TCP that is seen when something is sent, or by the kernel's probes.
    pub(crate) async fn closed(&self) {
        // One half that is closed would stay a reason to wake up for who waits to read.
        self.until(CLOSED, Interest::WRITABLE).await;
    }

    /// Until the daemon has nothing more to say: see [`Closing::last`].
    pub(crate) fn last(&self) -> impl Future<Output = ()> + Send + use<> {
        self.closing.last()
    }

    async fn until(&self, signs: PollFlags, interest: Interest) {
        let watch = self.descriptor.as_ref().and_then(watch);
        let Some(watch) = watch else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = watch.ready(interest).await else {
                return std::future::pending().await;
            };
            if shows(watch.get_ref(), signs) {
                return;
            }
            // What there is to read is the server's; the next event wakes again.
            ready.clear_ready();
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
        let unread = self.descriptor.as_ref();
        let unread = unread.map(|descriptor| wharf_sys::socket::unread(descriptor.as_fd()));
        unread.is_some_and(|unread| unread.is_ok_and(|count| count > 0))
    }
}

/// A descriptor of its own, as each can be watched once.
#[expect(
    deprecated,
    reason = "sound for an OwnedFd; its successor is an unsafe fn"
)]
fn watch(descriptor: &Arc<OwnedFd>) -> Option<AsyncFd<OwnedFd>> {
    AsyncFd::new(descriptor.try_clone().ok()?).ok()
}

fn shows(descriptor: &impl AsFd, signs: PollFlags) -> bool {
    let mut watched = [PollFd::new(descriptor, signs)];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut watched, Some(&now)).is_ok() && watched[0].revents().intersects(signs)
}

/// A body that ends, as by an error, when its reader is gone: one that says nothing would not find out.
pub(crate) struct Attended {
    body: Body,
    gone: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Attended {
    /// `body`, for `peer`.
    pub(crate) fn by(peer: Peer, body: Body) -> Self {
        let gone = Box::pin(async move { peer.gone().await });
        Self { body, gone }
    }
}

impl hyper::body::Body for Attended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.gone.as_mut().poll(context));
        let error = std::io::Error::from(std::io::ErrorKind::ConnectionAborted);
        Poll::Ready(Some(Err(axum::Error::new(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream, UnixStream};

    fn unix(stream: &UnixStream) -> Peer {
        Peer::of(stream, Socket::Unix, &Closing::default())
    }

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
        let peer = unix(&ours);
        let gone = tokio::spawn(async move { peer.gone().await });
        theirs.write_all(b"x").await.unwrap();
        theirs.shutdown().await.unwrap();
        ours.readable().await.unwrap();
        // There is something to read, and the end of it; who watches has seen both by the time that he waits again.
        assert!(!shows(&ours, CLOSED));
        assert!(!is_done(&gone).await);
        drop(theirs);
        assert!(shows(&ours, CLOSED));
        gone.await.unwrap();
    }

    /// Half a connection is no event that comes again and again: it is slept through.
    #[tokio::test]
    async fn half_a_connection_is_slept_through() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.shutdown().await.unwrap();
        let peer = unix(&ours);
        let mut closed = watched(async move { peer.closed().await });
        // One look at what is there, and one at what the kernel says of the new descriptor.
        let mut looks = 0;
        while looks < 100 && closed.is_woken() {
            looks += 1;
            assert!(closed.poll().is_pending());
            tokio::task::yield_now().await;
        }
        assert!(looks < 100, "it spins");
        drop(theirs);
        closed.future.await;
    }

    #[tokio::test]
    async fn over_tcp_the_end_of_a_request_is_the_end_of_its_client() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (theirs, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (mut theirs, (ours, _)) = (theirs.unwrap(), accepted.unwrap());
        let peer = Peer::of(&ours, Socket::Tcp, &Closing::default());
        let closed = tokio::spawn({
            let peer = peer.clone();
            async move { peer.closed().await }
        });
        theirs.shutdown().await.unwrap();
        peer.gone().await;
        assert!(!is_done(&closed).await);
        // Closed with something unread: a reset.
        let mut ours = ours;
        ours.write_all(b"x").await.unwrap();
        theirs.readable().await.unwrap();
        drop(theirs);
        closed.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_body_ends_with_its_reader() {
        use http_body_util::BodyExt as _;
        let (ours, theirs) = UnixStream::pair().unwrap();
        let said = futures_util::stream::iter([Ok::<_, std::io::Error>(Bytes::from("x"))]);
        let silence = futures_util::StreamExt::chain(said, futures_util::stream::pending());
        let mut body = Attended::by(unix(&ours), Body::from_stream(silence));
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "x");
        drop(theirs);
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn what_was_said_is_read_first() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = unix(&ours);
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

    /// A future and whether it wants to be polled.
    struct Task<F> {
        future: Pin<Box<F>>,
        woken: Arc<Flag>,
    }

    struct Flag(std::sync::atomic::AtomicBool);

    impl std::task::Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn watched<F: Future>(future: F) -> Task<F> {
        Task {
            future: Box::pin(future),
            woken: Arc::new(Flag(true.into())),
        }
    }

    impl<F: Future> Task<F> {
        fn is_woken(&self) -> bool {
            self.woken.0.load(std::sync::atomic::Ordering::SeqCst)
        }

        fn poll(&mut self) -> Poll<F::Output> {
            self.woken
                .0
                .store(false, std::sync::atomic::Ordering::SeqCst);
            let waker = self.woken.clone().into();
            self.future.as_mut().poll(&mut Context::from_waker(&waker))
        }
    }
}
