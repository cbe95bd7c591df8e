//! Asking others: each server in turn, on a socket of the question's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

use super::upstream;
use crate::NetworkError;
use crate::sandbox::inside;

/// moby's `extIOTimeout`.
const PATIENCE: Duration = Duration::from_secs(4);
const LARGEST: usize = 65_535;
const PORT: u16 = 53;
/// Response codes after which the next server is asked: a failure of its own, a refusal.
const NEXT: [u8; 2] = [2, 5];

/// Where questions are asked from.
pub(super) enum From {
    /// The host, of the host's servers.
    Host,
    /// The container's namespace, of its own servers.
    Container(Arc<OwnedFd>, Vec<IpAddr>),
}

impl From {
    /// Who is asked now.
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        match self {
            Self::Host => upstream::of_host(),
            Self::Container(_, servers) => servers.clone(),
        }
    }
}

/// The first good answer to `query` of these servers, asked in turn; else the last one; `None` if nobody answers.
pub(super) async fn ask(
    from: &From,
    servers: &[IpAddr],
    query: &[u8],
    tcp: bool,
) -> Option<Vec<u8>> {
    let mut last = None;
    for server in servers {
        let server = SocketAddr::new(*server, PORT);
        let asked = async {
            match tcp {
                true => over_tcp(from, server, query).await,
                false => over_udp(from, server, query).await,
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) if NEXT.contains(&(answer[3] & 0xf)) => last = Some(answer),
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "ask a name server"),
            Err(_) => tracing::debug!(%server, "a name server is silent"),
        }
    }
    last
}

/// Whether it is long enough for a header, and of this question.
fn belongs(answer: &[u8], query: &[u8]) -> bool {
    answer.len() >= 12 && answer[..2] == query[..2]
}

async fn over_udp(from: &From, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let bind = move || {
        let socket = std::net::UdpSocket::bind(local)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let socket = UdpSocket::from_std(within(from, bind).await?)?;
    // Only answers of this server are received.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if belongs(&buffer[..length], query) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(from: &From, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let connect = move || {
        let stream = std::net::TcpStream::connect_timeout(&server, PATIENCE)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    };
    let mut stream = match from {
        From::Host => TcpStream::connect(server).await?,
        From::Container(..) => TcpStream::from_std(within(from, connect).await?)?,
    };
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    let mut message = length.to_be_bytes().to_vec();
    message.extend_from_slice(query);
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    match belongs(&answer, query) {
        true => Ok(answer),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Makes a socket where it belongs.
async fn within<T: Send + 'static>(
    from: &From,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let From::Container(netns, _) = from else {
        return make();
    };
    let netns = Arc::clone(netns);
    let work = move || inside(&netns, || make().map_err(NetworkError::Resolver));
    let made = tokio::task::spawn_blocking(work).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)
}
