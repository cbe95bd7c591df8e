//! The sending half of file sync, and archives to the client (`FileSend`): what exporters write.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::packet::file_send_client::FileSendClient;
use futures_util::StreamExt as _;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, readlinkat, statat};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::{MetadataKey, MetadataValue};
use wharf_builder::tree;
use wharf_sys::root::Root;

use super::stat::{CHARACTER, DEVICE, FIFO, FOLDER, LINK, SETGID, SETUID, STICKY};
use super::{Session, origin};
use crate::error::Error;

const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Bytes of a file in one packet (`fsutil`'s).
const CHUNK: usize = 32 << 10;

/// Which of the client's targets is written to, and what it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// The exporter's number, where a client has several.
    pub(crate) exporter: Option<usize>,
    /// `containerimage.digest` and so on.
    pub(crate) metadata: HashMap<String, String>,
}

fn request<T>(target: &Target, stream: T) -> Result<Request<T>, Error> {
    let mut request = Request::new(stream);
    if let Some(number) = target.exporter {
        let value = MetadataValue::from(number as u64);
        let key = "buildkit-attachable-exporter-id";
        request.metadata_mut().insert(key, value);
    }
    for (name, value) in &target.metadata {
        let key = MetadataKey::from_bytes(format!("exporter-md-{name}").as_bytes());
        let value = MetadataValue::try_from(value.as_str());
        if let (Ok(key), Ok(value)) = (key, value) {
            request.metadata_mut().insert(key, value);
        }
    }
    Ok(request)
}

/// Sends an archive. `write` writes it on a thread of its own.
///
/// # Errors
/// If the client does not take it, or `write` fails.
pub(crate) async fn archive(
    session: &Session,
    target: &Target,
    write: impl FnOnce(&mut Pipe) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
    use bollard_buildkit_proto::moby::filesync::v1::file_send_client::FileSendClient;
    let channel = session.service(SEND)?;
    let (sender, pieces) = mpsc::channel::<Vec<u8>>(16);
    let pieces = ReceiverStream::new(pieces).map(|data| BytesMessage { data });
    let mut client = FileSendClient::with_origin(channel, origin());
    let request = request(target, pieces)?;
    let work = tokio::task::spawn_blocking(move || {
        let mut pipe = Pipe {
            sender,
            buffer: Vec::with_capacity(1 << 20),
        };
        write(&mut pipe)?;
        std::io::Write::flush(&mut pipe).map_err(Error::io("send an archive"))
    });
    let sent = async {
        let mut answer = client.diff_copy(request).await?.into_inner();
        // Nothing comes; its end says that all was written.
        while let Some(message) = answer.next().await {
            message?;
        }
        Ok::<_, tonic::Status>(())
    };
    let (sent, work) = tokio::join!(sent, work);
    sent.map_err(Error::Client)?;
    work.map_err(|error| Error::Failed(error.to_string()))?
}

/// What an archive is written into.
pub(crate) struct Pipe {
    sender: mpsc::Sender<Vec<u8>>,
    buffer: Vec<u8>,
}

impl std::io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= 1 << 20 {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(1 << 20));
        let sent = self.sender.blocking_send(piece);
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

/// Sends the tree below `root`; the client puts it into a folder of its own. `epoch` is the time of all files, in seconds
/// since 1970, if it is not their own.
///
/// # Errors
/// If the client does not take it, or the disk refuses.
pub(crate) async fn files(
    session: &Session,
    target: &Target,
    root: Arc<Root>,
    epoch: Option<i64>,
) -> Result<(), Error> {
    let channel = session.service(SEND)?;
    let (sender, packets) = mpsc::channel::<Packet>(64);
    let mut client = FileSendClient::with_origin(channel, origin());
    let request = request(target, ReceiverStream::new(packets))?;
    let describe = {
        let (root, sender) = (root.clone(), sender.clone());
        tokio::task::spawn_blocking(move || {
            let mut walk = Walk {
                sender,
                epoch,
                paths: Vec::new(),
                seen: HashMap::new(),
            };
            walk.folder(root.as_fd(), &mut PathBuf::new())?;
            walk.send(None)?;
            Ok::<_, Error>(walk.paths)
        })
    };
    // The client answers only when it has seen some of it.
    let mut answers = client
        .diff_copy(request)
        .await
        .map_err(Error::Client)?
        .into_inner();
    // Requests may come before the description has ended, so they wait for it here; the client has room for all.
    let (wanted, mut waiting) = mpsc::unbounded_channel::<u32>();
    let feed = {
        let sender = sender.clone();
        async move {
            let paths = describe.await;
            let paths = paths.map_err(|error| Error::Failed(error.to_string()))??;
            let paths = Arc::new(paths);
            while let Some(number) = waiting.recv().await {
                let (root, paths, sender) = (root.clone(), paths.clone(), sender.clone());
                let work = move || contents(&root, &paths, number, &sender);
                let done = tokio::task::spawn_blocking(work).await;
                done.map_err(|error| Error::Failed(error.to_string()))??;
            }
            Ok::<_, Error>(())
        }
    };
    let listen = async move {
        let mut taken = false;
        while let Some(packet) = answers.next().await {
            let packet: Packet = packet.map_err(Error::Client)?;
            match packet.r#type() {
                PacketType::PacketReq => drop(wanted.send(packet.id)),
                PacketType::PacketFin => {
                    let fin = Packet {
                        r#type: PacketType::PacketFin.into(),
                        ..Packet::default()
                    };
                    let _ = sender.send(fin).await;
                    taken = true;
                    break;
                }
                PacketType::PacketErr => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(Error::Failed(format!("error from receiver: {text}")));
                }
                _ => {}
            }
        }
        if !taken {
            return Err(Error::Failed("the client took only a part".to_owned()));
        }
        // It ends when we do, and only its end says that all is in place.
        drop((sender, wanted));
        while let Some(packet) = answers.next().await {
            packet.map_err(Error::Client)?;
        }
        Ok(())
    };
    tokio::try_join!(listen, feed).map(drop)
}

struct Walk {
    sender: mpsc::Sender<Packet>,
    epoch: Option<i64>,
    /// Paths by number.
    paths: Vec<PathBuf>,
    /// Files with several names, by device and inode.
    seen: HashMap<(u64, u64), String>,
}

impl Walk {
    fn send(&self, stat: Option<Stat>) -> Result<(), Error> {
        let packet = Packet {
            r#type: PacketType::PacketStat.into(),
            stat,
            ..Packet::default()
        };
        let sent = self.sender.blocking_send(packet);
        sent.map_err(|_| Error::Failed("the client is gone".to_owned()))
    }

    fn folder(&mut self, at: BorrowedFd<'_>, path: &mut PathBuf) -> Result<(), Error> {
        let failed = Error::io("read what was built");
        for name in tree::names(at).map_err(&failed)? {
            path.push(std::ffi::OsStr::from_bytes(&name));
            let stat = self.describe(at, &name, path).map_err(&failed)?;
            if let Some(stat) = stat {
                let is_folder = stat.mode & FOLDER != 0;
                self.paths.push(path.clone());
                self.send(Some(stat))?;
                if is_folder {
                    let inner = tree::folder(at, &name).map_err(&failed)?;
                    self.folder(inner.as_fd(), path)?;
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn describe(
        &mut self,
        at: BorrowedFd<'_>,
        name: &[u8],
        path: &Path,
    ) -> std::io::Result<Option<Stat>> {
        let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let shown = path.to_string_lossy().into_owned();
        let mut described = describe(&stat, &shown);
        if let Some(epoch) = self.epoch {
            described.mod_time = epoch.saturating_mul(1_000_000_000);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let target = readlinkat(at, name, Vec::new())?;
                described.linkname = target.to_string_lossy().into_owned();
            }
            FileType::RegularFile if stat.st_nlink > 1 => {
                let first = self.seen.entry((stat.st_dev, stat.st_ino));
                let first = first.or_insert_with(|| shown.clone());
                if *first != shown {
                    described.linkname.clone_from(first);
                }
            }
            FileType::Socket | FileType::Unknown => return Ok(None),
            _ => {}
        }
        Ok(Some(described))
    }
}

/// What the kernel says of a file, as a client is told.
pub(crate) fn describe(stat: &rustix::fs::Stat, path: &str) -> Stat {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mut mode = stat.st_mode & 0o777;
    for (theirs, ours) in [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)] {
        if stat.st_mode & ours != 0 {
            mode |= theirs;
        }
    }
    mode |= match kind {
        FileType::Directory => FOLDER,
        FileType::Symlink => LINK,
        FileType::Fifo => FIFO,
        FileType::CharacterDevice => DEVICE | CHARACTER,
        FileType::BlockDevice => DEVICE,
        _ => 0,
    };
    Stat {
        path: path.to_owned(),
        mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: match kind {
            FileType::RegularFile | FileType::Symlink => stat.st_size,
            _ => 0,
        },
        mod_time: super::receive::modified(stat),
        devmajor: rustix::fs::major(stat.st_rdev).into(),
        devminor: rustix::fs::minor(stat.st_rdev).into(),
        ..Stat::default()
    }
}

fn contents(
    root: &Root,
    paths: &[PathBuf],
    number: u32,
    sender: &mpsc::Sender<Packet>,
) -> Result<(), Error> {
    let path = paths.get(number as usize);
    let path = path.ok_or_else(|| Error::Invalid(format!("invalid file id {number}")))?;
    let failed = Error::io(&format!("read {}", path.display()));
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = root.open_at(path, flags, Mode::empty()).map_err(&failed)?;
    let mut file = File::from(file);
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = file.read(&mut buffer).map_err(&failed)?;
        let packet = Packet {
            r#type: PacketType::PacketData.into(),
            id: number,
            data: buffer[..count].to_vec(),
            ..Packet::default()
        };
        let sent = sender.blocking_send(packet);
        sent.map_err(|_| Error::Failed("the client is gone".to_owned()))?;
        if count == 0 {
            return Ok(());
        }
    }
}
