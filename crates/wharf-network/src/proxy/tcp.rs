//! Connections: bytes both ways until both sides have ended.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Destination;

/// Pause after a failed accept (out of descriptors), so that it is not tried in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bytes that are carried at a time, each way: the library's 8 KiB cost a call for each.
const BUFFER: usize = 64 * 1024;

/// Serves until it is aborted; its connections end with it.
pub(super) async fn serve(listener: TcpListener, to: Destination) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, to.now()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, target: Option<SocketAddr>) {
    let Some(target) = target else { return };
    // Nobody to tell: a client whose server cannot be reached sees its connection close.
    if let Ok(mut server) = TcpStream::connect(target).await {
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let _ = copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await;
    }
}
