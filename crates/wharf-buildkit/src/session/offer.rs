//! A folder that a client has, for builds: what `wharf build` offers in its session, so that only what has changed is sent.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_sync_server::{FileSync, FileSyncServer};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, readlinkat, statat};
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tower::Service as _;
use wharf_builder::tree;
use wharf_sys::root::Root;

use super::send::describe;
use crate::error::Error;

/// What a session says that it can do, which offers a folder.
pub const OFFERED: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// The most entries of a folder that is offered.
const MOST: usize = 1_000_000;
/// Bytes of a file in one packet.
const CHUNK: usize = 256 << 10;

/// A folder, as it was when it was read.
pub struct Offer {
    root: Arc<Root>,
    entries: Vec<Stat>,
    sent: Arc<AtomicU64>,
}

impl Offer {
    /// Reads what is in a folder; only what `wanted` says of a path, and whether it is a folder; what is below a folder that is not
    /// wanted is left out with it. `None` if it has what can be said in an archive only. Blocks.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read(
        folder: &Path,
        wanted: &dyn Fn(&str, bool) -> bool,
    ) -> std::io::Result<Option<Self>> {
        let root = Root::open(folder)?;
        let mut walk = Walk {
            wanted,
            entries: Vec::new(),
            seen: HashMap::new(),
        };
        let is_told = walk.folder(root.as_fd(), "", 0)?;
        let entries = walk.entries;
        Ok(is_told.then(|| Self {
            root: Arc::new(root),
            entries,
            sent: Arc::default(),
        }))
    }

    /// How many bytes of files are asked for while it is served.
    pub fn sent(&self) -> Arc<AtomicU64> {
        self.sent.clone()
    }

    /// Serves it on the connection of a session, until that ends.
    pub async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let server = FileSyncServer::new(Served(Arc::new(self)));
        let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
            server.clone().call(request)
        });
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // Its end is the build's, which says itself how that went.
        let _ = builder
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }
}

struct Walk<'a> {
    wanted: &'a dyn Fn(&str, bool) -> bool,
    entries: Vec<Stat>,
    /// Files with several names, by device and inode.
    seen: HashMap<(u64, u64), String>,
}

impl Walk<'_> {
    /// Whether all of it can be told.
    fn folder(&mut self, at: BorrowedFd<'_>, path: &str, depth: usize) -> std::io::Result<bool> {
        if depth > tree::MAX_DEPTH {
            return Err(tree::too_deep());
        }
        for name in tree::names(at)? {
            let Ok(text) = std::str::from_utf8(&name) else {
                return Ok(false);
            };
            let path = match path {
                "" => text.to_owned(),
                path => format!("{path}/{text}"),
            };
            let stat = match statat(at, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                // It has gone since the folder was read.
                Err(Errno::NOENT) => continue,
                stat => stat?,
            };
            let kind = FileType::from_raw_mode(stat.st_mode);
            let is_folder = kind == FileType::Directory;
            if kind == FileType::Socket || !(self.wanted)(&path, is_folder) {
                continue;
            }
            if self.entries.len() == MOST || !self.entry(at, &name, &path, &stat)? {
                return Ok(false);
            }
            if is_folder {
                let Some(inner) = there(tree::folder(at, &name))? else {
                    continue;
                };
                if !self.folder(inner.as_fd(), &path, depth + 1)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn entry(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        path: &str,
        stat: &rustix::fs::Stat,
    ) -> std::io::Result<bool> {
        let mut described = describe(stat, path);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let Some(target) = there(readlinkat(at, name, Vec::new()).map_err(Into::into))?
                else {
                    return Ok(true);
                };
                let Ok(target) = target.into_string() else {
                    return Ok(false);
                };
                described.linkname = target;
            }
            FileType::RegularFile if stat.st_nlink > 1 => {
                let first = self.seen.entry((stat.st_dev, stat.st_ino));
                let first = first.or_insert_with(|| path.to_owned());
                if first.as_str() != path {
                    described.linkname.clone_from(first);
                }
            }
            FileType::RegularFile | FileType::Directory | FileType::Fifo => {}
            _ => return Ok(false),
        }
        // The other end does not compare them, and a change of them changes no time: an archive tells them.
        let Some(xattrs) = there(wharf_layer::kept_xattrs(at, name).map_err(Into::into))? else {
            return Ok(true);
        };
        if !xattrs.is_empty() {
            return Ok(false);
        }
        self.entries.push(described);
        Ok(true)
    }
}

/// Nothing for what has gone since its folder was read.
fn there<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

#[derive(Clone)]
struct Served(Arc<Offer>);

type Packets = BoxStream<'static, Result<Packet, Status>>;

#[tonic::async_trait]
impl FileSync for Served {
    type DiffCopyStream = Packets;
    type TarStreamStream = Packets;

    async fn diff_copy(
        &self,
        request: Request<Streaming<Packet>>,
    ) -> Result<Response<Packets>, Status> {
        let (sender, packets) = mpsc::channel(64);
        tokio::spawn(told(self.0.clone(), request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(packets).boxed()))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> Result<Response<Packets>, Status> {
        Err(Status::unimplemented("no archives"))
    }
}

type Sender = mpsc::Sender<Result<Packet, Status>>;

fn packet(kind: PacketType, stat: Option<Stat>) -> Packet {
    Packet {
        r#type: kind.into(),
        stat,
        ..Packet::default()
    }
}

/// Says what there is, and sends what is asked for, until the other end has all of it or is gone.
async fn told(offer: Arc<Offer>, mut asked: Streaming<Packet>, sender: Sender) {
    let describe = {
        let (offer, sender) = (offer.clone(), sender.clone());
        async move {
            let entries = offer.entries.iter().cloned().map(Some);
            for stat in entries.chain([None]) {
                if sender
                    .send(Ok(packet(PacketType::PacketStat, stat)))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    };
    // Requests may come before the description has ended. There are no more of them than entries.
    let (wanted, waiting) = mpsc::unbounded_channel();
    let send = {
        let (offer, sender) = (offer.clone(), sender.clone());
        tokio::task::spawn_blocking(move || files(&offer, waiting, &sender))
    };
    let listen = async {
        while let Some(Ok(said)) = asked.next().await {
            match said.r#type() {
                PacketType::PacketReq => drop(wanted.send(said.id)),
                PacketType::PacketFin => {
                    let _ = sender.send(Ok(packet(PacketType::PacketFin, None))).await;
                    break;
                }
                _ => break,
            }
        }
        drop((wanted, sender));
    };
    tokio::join!(describe, listen);
    // What it failed of was told.
    let _ = send.await;
}

/// Sends the files of these numbers. Blocks.
fn files(offer: &Offer, mut waiting: mpsc::UnboundedReceiver<u32>, sender: &Sender) {
    while let Some(number) = waiting.blocking_recv() {
        if let Err(error) = file(offer, number, sender) {
            let failed = Packet {
                data: error.to_string().into_bytes(),
                ..packet(PacketType::PacketErr, None)
            };
            let _ = sender.blocking_send(Ok(failed));
            return;
        }
    }
}

fn file(offer: &Offer, number: u32, sender: &Sender) -> Result<(), Error> {
    let entry = offer.entries.get(number as usize);
    let entry = entry.ok_or_else(|| Error::Invalid(format!("invalid file id {number}")))?;
    let failed = Error::io(&format!("read {}", entry.path));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = offer
        .root
        .open_at(Path::new(&entry.path), flags, Mode::empty());
    let mut file = File::from(file.map_err(&failed)?);
    let size = usize::try_from(entry.size).unwrap_or(CHUNK).max(1);
    loop {
        let mut data = vec![0; size.min(CHUNK)];
        let count = file.read(&mut data).map_err(&failed)?;
        data.truncate(count);
        offer.sent.fetch_add(count as u64, Ordering::Relaxed);
        let data = Packet {
            id: number,
            data,
            ..packet(PacketType::PacketData, None)
        };
        let sent = sender.blocking_send(Ok(data));
        sent.map_err(|_| Error::Failed("the daemon is gone".to_owned()))?;
        if count == 0 {
            return Ok(());
        }
    }
}
