//! Datagrams: one socket towards the container per client, forgotten after a while of silence.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::Destination;

/// Docker's proxy forgets a silent client after as long.
const SILENCE: Duration = Duration::from_secs(90);
const LARGEST: usize = 65_507;
/// A host process may invent clients: beyond as many, new ones are not served until an old one has fallen silent.
const MOST_CLIENTS: usize = 4096;

/// Serves until it is stopped; nothing has the socket any more when this returns.
pub(super) async fn serve(socket: UdpSocket, to: Destination, mut stopped: oneshot::Receiver<()>) {
    let socket = Arc::new(socket);
    let (gone, mut ended) = mpsc::unbounded_channel::<SocketAddr>();
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut replies = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // Errors are of earlier answers that could not be delivered.
                let Ok((length, client)) = received else { continue };
                if !clients.contains_key(&client) {
                    if clients.len() >= MOST_CLIENTS {
                        continue;
                    }
                    let Some(target) = to.now() else { continue };
                    let Ok(upstream) = connect(target).await else { continue };
                    let upstream = Arc::new(upstream);
                    clients.insert(client, Arc::clone(&upstream));
                    replies.spawn(answer(Arc::clone(&socket), upstream, client, gone.clone()));
                }
                if let Some(upstream) = clients.get(&client) {
                    let _ = upstream.send(&buffer[..length]).await;
                }
            }
            Some(client) = ended.recv() => {
                clients.remove(&client);
            }
            Some(_) = replies.join_next() => {}
            _ = &mut stopped => return replies.shutdown().await,
        }
    }
}

async fn connect(target: SocketAddr) -> std::io::Result<UdpSocket> {
    let local: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(target).await?;
    Ok(socket)
}

/// Carries answers back until the container is silent for too long.
async fn answer(
    host: Arc<UdpSocket>,
    upstream: Arc<UdpSocket>,
    client: SocketAddr,
    gone: mpsc::UnboundedSender<SocketAddr>,
) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match tokio::time::timeout(SILENCE, upstream.recv(&mut buffer)).await {
            Ok(Ok(length)) => {
                let _ = host.send_to(&buffer[..length], client).await;
            }
            // The container may not listen yet: it refused, and may not the next time.
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let _ = gone.send(client);
}
