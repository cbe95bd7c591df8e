//! Asking others: each server in turn, on a socket of the question's own.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Header, Message, MessageType, Metadata, Query, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable as _, BinDecoder};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::Semaphore;

use super::upstream;
use crate::NetworkError;
use crate::record::random_bytes;
use crate::sandbox::inside;

/// moby's `extIOTimeout`.
const PATIENCE: Duration = Duration::from_secs(4);
const LARGEST: usize = 65_535;
const PORT: u16 = 53;
/// Response codes after which the next server is asked: a failure of its own, a refusal.
const NEXT: [u8; 2] = [2, 5];

/// Sockets of one container that are made at the same time: each takes one of the threads that the whole daemon shares, and
/// one of its own.
pub(super) const MOST_MADE: usize = 8;

/// Where questions are asked from.
pub(super) enum From {
    /// The host, of the host's servers.
    Host,
    /// The container's namespace, of its own servers.
    Container {
        netns: Arc<OwnedFd>,
        servers: Vec<IpAddr>,
        /// [`MOST_MADE`].
        places: Arc<Semaphore>,
    },
}

impl From {
    /// Who is asked now.
    pub(super) fn servers(&self) -> Vec<IpAddr> {
        match self {
            Self::Host => upstream::of_host(),
            Self::Container { servers, .. } => servers.clone(),
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
        let own = under_own_id(query);
        let asked = async {
            let mut answer = match tcp {
                true => over_tcp(from, server, &own).await?,
                false => over_udp(from, server, &own).await?,
            };
            answer[..2].copy_from_slice(&query[..2]);
            Ok::<_, io::Error>(answer)
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

/// Whether it is an answer to this question. Errors may leave the question out, and are not kept.
fn belongs(answer: &[u8], query: &[u8]) -> bool {
    let (Some((said, of)), Some((_, asked))) = (beginning(answer), beginning(query)) else {
        return false;
    };
    let is_answer = answer[..2] == query[..2] && said.message_type == MessageType::Response;
    let is_error = !matches!(
        said.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    );
    is_answer && (of == asked || of.is_empty() && is_error)
}

/// What a message says of itself, and its questions: of the rest nothing must be read.
fn beginning(message: &[u8]) -> Option<(Metadata, Vec<Query>)> {
    let mut decoder = BinDecoder::new(message);
    let header = Header::read(&mut decoder).ok()?;
    let questions = usize::from(header.counts.queries);
    let questions = Message::read_queries(&mut decoder, questions).ok()?;
    Some((header.metadata, questions))
}

/// `query` under an identifier of our own: who asks us may know the one that he has given it, and forge the answer.
fn under_own_id(query: &[u8]) -> Vec<u8> {
    let mut own = query.to_vec();
    own[..2].copy_from_slice(&random_bytes::<2>());
    own
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
    let family = match server {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let make = move || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        Ok(std::net::TcpStream::from(socket))
    };
    // It stays in the namespace that it was made in, so that no thread has to wait for a silent server.
    let socket = TcpSocket::from_std_stream(within(from, make).await?);
    let mut stream = socket.connect(server).await?;
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
    let From::Container { netns, places, .. } = from else {
        return make();
    };
    let place = Arc::clone(places).acquire_owned().await;
    let place = place.map_err(io::Error::other)?;
    let netns = Arc::clone(netns);
    // It has its place until it is done, though whoever asked may have given it up.
    let work = move || {
        let _place = place;
        inside(&netns, || make().map_err(NetworkError::Resolver))
    };
    let made = tokio::task::spawn_blocking(work).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use rustix::net::{SocketAddrV4, bind, listen};
    use wharf_netlink::{LinkChange, LinkName, Route, set_link};

    use super::*;

    /// A namespace with a server on 127.0.0.1:53 that takes no connection: its queue is full.
    fn silent() -> (OwnedFd, Vec<OwnedFd>) {
        let made = std::thread::spawn(|| {
            crate::pool::unshare_network().unwrap();
            let up = LinkChange {
                up: true,
                ..LinkChange::default()
            };
            let mut netlink = Route::open().unwrap();
            let up = set_link(LinkName::Name("lo"), &up);
            netlink.apply(&[up]).unwrap();
            let tcp = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
            let server = tcp(SocketFlags::CLOEXEC).unwrap();
            let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT);
            bind(&server, &address).unwrap();
            listen(&server, 0).unwrap();
            let mut held = vec![server];
            for _ in 0..4 {
                let client = tcp(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).unwrap();
                let _ = rustix::net::connect(&client, &address);
                held.push(client);
            }
            let netns = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            (netns.into(), held)
        });
        made.join().unwrap()
    }

    /// A message of this identifier, flags' bytes and count of questions, with a question for `name`.
    fn message(id: u16, flags: [u8; 2], questions: u8, name: &str) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend(flags);
        message.extend([0, questions, 0, 0, 0, 0, 0, 0]);
        for label in name.split('.') {
            message.push(u8::try_from(label.len()).unwrap());
            message.extend(label.as_bytes());
        }
        message.extend([0, 0, 1, 0, 1]);
        message
    }

    #[test]
    fn only_answers_to_the_question_belong_to_it() {
        let query = message(7, [1, 0], 1, "example.test");
        let answer = [0x81, 0x80];
        for (belonging, candidate) in [
            (true, message(7, answer, 1, "example.test")),
            (true, message(7, answer, 1, "EXAMPLE.test")),
            // A refusal without the question.
            (true, vec![0, 7, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]),
            (false, vec![0, 7, 0x81, 0x80, 0, 0, 0, 0, 0, 0, 0, 0]),
            (false, vec![0, 7, 0x81, 0x83, 0, 0, 0, 0, 0, 0, 0, 0]),
            (false, message(8, answer, 1, "example.test")),
            (false, message(7, answer, 1, "examples.test")),
            (false, message(7, answer, 2, "example.test")),
            (false, query.clone()),
            (false, message(7, answer, 1, "example.test")[..20].to_vec()),
        ] {
            assert_eq!(belongs(&candidate, &query), belonging, "{candidate:?}");
        }
    }

    #[test]
    fn servers_see_identifiers_of_our_own() {
        let query = message(7, [1, 0], 1, "example.test");
        let ids: std::collections::HashSet<Vec<u8>> = (0..64)
            .map(|_| under_own_id(&query)[..2].to_vec())
            .collect();
        assert!(ids.len() > 32, "{ids:?}");
        assert_eq!(under_own_id(&query)[2..], query[2..]);
    }

    /// A runtime that has one thread for what blocks.
    fn narrow() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_silent_server_holds_none_of_the_runtimes_threads() {
        let (netns, _held) = silent();
        narrow().block_on(async {
            let servers = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
            let from = Arc::new(From::Container {
                netns: Arc::new(netns),
                servers: servers.clone(),
                places: Arc::new(Semaphore::new(MOST_MADE)),
            });
            let asked: Vec<_> = (0..20)
                .map(|_| {
                    let (from, servers) = (Arc::clone(&from), servers.clone());
                    tokio::spawn(async move { ask(&from, &servers, &[0; 12], true).await })
                })
                .collect();
            // They have asked for what they need before we do.
            tokio::task::yield_now().await;
            assert!(asked.iter().all(|asked| !asked.is_finished()));
            let work = tokio::task::spawn_blocking(|| ());
            let done = tokio::time::timeout(Duration::from_secs(2), work).await;
            done.unwrap().unwrap();
        });
    }

    #[test]
    fn who_gives_up_leaves_the_place_to_what_is_in_the_queue() {
        narrow().block_on(async {
            let (release, wait) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || wait.recv().is_err());
            let netns = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
            let places = Arc::new(Semaphore::new(1));
            let from = From::Container {
                netns: Arc::new(netns.into()),
                servers: Vec::new(),
                places: Arc::clone(&places),
            };
            let asked = tokio::time::timeout(Duration::from_millis(50), within(&from, || Ok(())));
            assert!(asked.await.is_err());
            assert_eq!(places.available_permits(), 0);
            drop(release);
            busy.await.unwrap();
            let free = tokio::time::timeout(Duration::from_secs(10), places.acquire()).await;
            drop(free.unwrap().unwrap());
        });
    }
}
