//! Connections: bytes both ways until both sides have ended, moved within the kernel.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::{Interest, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Destination;

/// Pause after a failed accept (out of descriptors), so that it is not tried in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that are carried at a time, each way: what a new pipe holds.
const BUFFER: usize = 64 * 1024;
/// The same of a connection that has filled its pipe: as large as the kernel lets a pipe be by default.
const LARGE: usize = 1 << 20;

/// Connections of a port at a time, of six descriptors each: a container that connects to its own port must not use up the
/// daemon's. More wait in the listener's queue.
const MOST_CONNECTIONS: usize = 4096;
/// How long a container's server may take to accept.
pub(super) const ACCEPTING: Duration = Duration::from_secs(60);

/// Serves until it is stopped; its connections end with it.
pub(super) async fn serve(listener: TcpListener, to: Destination, stopped: oneshot::Receiver<()>) {
    serve_each(listener, stopped, |client| carry(client, to.now())).await;
}

/// Has `carry` serve each connection until it is stopped; they end with it.
pub(super) async fn serve_each<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    mut stopped: oneshot::Receiver<()>,
    carry: impl Fn(TcpStream) -> F,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = &mut stopped => return,
        }
    }
}

async fn carry(mut client: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    // Nobody to tell: a client whose server cannot be reached sees its connection close.
    let connecting = tokio::time::timeout(ACCEPTING, TcpStream::connect(target));
    let Ok(Ok(mut server)) = connecting.await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let _ = match (Pipe::new(), Pipe::new()) {
        (Ok(out), Ok(back)) => {
            tokio::try_join!(out.carry(&client, &server), back.carry(&server, &client)).map(drop)
        }
        // Out of descriptors.
        _ => copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER)
            .await
            .map(drop),
    };
}

/// What `splice(2)` needs between two sockets. It is empty whenever a socket is read, so that a call which would block
/// waits for that socket.
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { read, write })
    }

    /// Until `from` has ended; then `to` is told.
    async fn carry(&self, from: &TcpStream, to: &TcpStream) -> io::Result<()> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let (mut room, mut may_grow) = (BUFFER, true);
        loop {
            let write = &self.write;
            let fill = || Ok(splice(from.as_fd(), None, write, None, room, flags)?);
            let mut left = from.async_io(Interest::READABLE, fill).await?;
            // Pages are seldom full to the last byte.
            if left >= room / 2 && may_grow {
                // Larger for whoever has much to send, if the kernel has the pages.
                room = fcntl_setpipe_size(write, LARGE).unwrap_or(room);
                may_grow = false;
            }
            if left == 0 {
                rustix::net::shutdown(to.as_fd(), Shutdown::Write)?;
                return Ok(());
            }
            while left > 0 {
                let drain = || Ok(splice(&self.read, None, to.as_fd(), None, left, flags)?);
                left -= to.async_io(Interest::WRITABLE, drain).await?;
            }
        }
    }
}
