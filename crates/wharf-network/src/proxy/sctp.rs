//! SCTP: messages both ways until one side ends, each in one piece. Their streams and what they are said to be are not
//! kept, as by dockerd's proxy.
//!
//! A socket of one association has TCP's calls, and so its types here. But a read that does not fill its buffer has not
//! read all there is.

use std::io;
use std::net::SocketAddr;

use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, ipproto, shutdown, socket_with,
};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;

use super::Destination;
use super::tcp::{ACCEPTING, serve_each};

/// What is longer goes on in pieces.
const LONGEST: usize = 64 * 1024;

/// Serves until it is stopped; its associations end with it.
pub(super) async fn serve(listener: TcpListener, to: Destination, stopped: oneshot::Receiver<()>) {
    serve_each(listener, stopped, |client| carry(client, to.now())).await;
}

async fn carry(client: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    // Nobody to tell: a client whose server cannot be reached sees its association end.
    let connecting = tokio::time::timeout(ACCEPTING, connect(target));
    let Ok(Ok(server)) = connecting.await else {
        return;
    };
    let _ = tokio::try_join!(copy(&client, &server), copy(&server, &client));
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::SCTP))?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(target).await
}

/// Until `from` has ended; then `to` is ended, too, both ways: there are no halves of an association.
async fn copy(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let mut message = vec![0; LONGEST];
    loop {
        let read = || Ok(rustix::io::read(from, &mut message[..])?);
        let length = from.async_io(Interest::READABLE, read).await?;
        if length == 0 {
            shutdown(to, Shutdown::Write)?;
            return Ok(());
        }
        let write = || Ok(rustix::io::write(to, &message[..length])?);
        to.async_io(Interest::WRITABLE, write).await?;
    }
}
