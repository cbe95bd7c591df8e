//! The sockets of one container's resolver.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

use super::answer::{self, Answer};
use super::cache::Asked;
use super::{DnsConfig, forward};
use crate::networks::Inner;

/// Questions of one container that are asked at the same time; more are lost, as on a bad line.
const MOST_AT_ONCE: usize = 512;
/// The smallest datagram that every client takes (RFC 1035).
const SMALLEST: u16 = 512;
const LARGEST: usize = 4096;
/// How long a silent connection is kept.
const IDLE: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one container's questions are answered with.
pub(super) struct Server {
    pub(super) inner: Weak<Inner>,
    pub(super) container: String,
    /// Not held: it must go when the container ends.
    pub(super) netns: Weak<OwnedFd>,
    pub(super) config: DnsConfig,
    /// Sockets that are being made to ask others: [`forward::MOST_MADE`].
    pub(super) making: Arc<Semaphore>,
}

impl Server {
    /// Serves both sockets until the tasks are aborted.
    pub(super) fn start(
        self,
        runtime: &Handle,
        udp: std::net::UdpSocket,
        tcp: std::net::TcpListener,
    ) -> io::Result<[AbortHandle; 2]> {
        // Sockets register with the runtime that is current.
        let _guard = runtime.enter();
        let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
        let server = Arc::new(self);
        Ok([
            runtime
                .spawn(datagrams(Arc::clone(&server), Arc::new(udp)))
                .abort_handle(),
            runtime.spawn(connections(server, tcp)).abort_handle(),
        ])
    }

    /// The answer to a message; `None` to what is no question.
    async fn answer(&self, bytes: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let query = Message::from_vec(bytes).ok()?;
        let Some((name, kind)) = answer::question(&query) else {
            return answer::reply(&query, ResponseCode::NotImp, Vec::new())
                .to_vec()
                .ok();
        };
        let decided = {
            let inner = self.inner.upgrade()?;
            let state = inner.lock();
            answer::local(&state, &self.container, &self.config, &name, kind)
        };
        let reply = match decided {
            Answer::Known(data) => answer::reply(&query, ResponseCode::NoError, data),
            Answer::Refuse(code) => answer::reply(&query, code, Vec::new()),
            Answer::Ask => {
                let from = match self.config.servers.is_empty() {
                    true => forward::From::Host,
                    false => forward::From::Container {
                        netns: self.netns.upgrade()?,
                        servers: self.config.servers.clone(),
                        places: Arc::clone(&self.making),
                    },
                };
                let own = !self.config.servers.is_empty();
                let asked = Asked {
                    container: own.then(|| self.container.clone()),
                    servers: from.servers(),
                    tcp,
                };
                if let Some(answer) = self.inner.upgrade()?.names.get(&asked, bytes) {
                    return Some(answer);
                }
                match forward::ask(&from, &asked.servers, bytes, tcp).await {
                    Some(answer) => {
                        self.inner.upgrade()?.names.put(&asked, bytes, &answer);
                        return Some(answer);
                    }
                    None => answer::reply(&query, ResponseCode::ServFail, Vec::new()),
                }
            }
        };
        let bytes = reply.to_vec().ok()?;
        let room = usize::from(query.max_payload().max(SMALLEST));
        if tcp || bytes.len() <= room {
            return Some(bytes);
        }
        // The client asks again over TCP.
        reply.truncate().to_vec().ok()
    }
}

async fn datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut questions = JoinSet::new();
    let mut buffer = vec![0; LARGEST];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // Errors are of earlier answers that could not be delivered.
                let Ok((length, client)) = received else { continue };
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (server, socket) = (Arc::clone(&server), Arc::clone(&socket));
                let query = buffer[..length].to_vec();
                questions.spawn(async move {
                    datagram(&server, &socket, client, &query).await;
                    drop(place);
                });
            }
            Some(_) = questions.join_next() => {}
        }
    }
}

async fn datagram(server: &Server, socket: &UdpSocket, client: SocketAddr, query: &[u8]) {
    if let Some(answer) = server.answer(query, false).await {
        // A client that has gone asks no more.
        let _ = socket.send_to(&answer, client).await;
    }
}

async fn connections(server: Arc<Server>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let server = Arc::clone(&server);
                    clients.spawn(async move {
                        // Nobody to tell of a connection that broke.
                        let _ = connection(&server, client).await;
                        drop(place);
                    });
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn connection(server: &Server, mut client: TcpStream) -> io::Result<()> {
    loop {
        let length = match tokio::time::timeout(IDLE, client.read_u16()).await {
            Ok(length) => length?,
            Err(_) => return Ok(()),
        };
        let mut query = vec![0; usize::from(length)];
        match tokio::time::timeout(IDLE, client.read_exact(&mut query)).await {
            Ok(read) => read?,
            Err(_) => return Ok(()),
        };
        let Some(answer) = server.answer(&query, true).await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let mut message = length.to_be_bytes().to_vec();
        message.extend(answer);
        client.write_all(&message).await?;
    }
}
