//! The sending half of file sync, and archives to the client (`FileSend`): what exporters write.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
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
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::metadata::{MetadataKey, MetadataValue};
use wharf_builder::tree;
use wharf_images::at_clients_pace;
use wharf_sys::root::Root;

use super::stat::{CHARACTER, DEVICE, FIFO, FOLDER, LINK, SETGID, SETUID, STICKY};
use super::{Session, origin};
use crate::error::Error;

const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Bytes of a file in one packet (`fsutil`'s).
const CHUNK: usize = 32 << 10;
/// Bytes of a file that are read at once.
const AT_ONCE: u64 = 512 << 10;

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
    let work = written(sender, write);
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
    work
}

/// Has `write` write an archive, as fast as its pieces are taken.
async fn written(
    sender: mpsc::Sender<Vec<u8>>,
    write: impl FnOnce(&mut Pipe) -> Result<(), Error> + Send + 'static,
) -> Result<(), Error> {
    let work = at_clients_pace(move || {
        let mut pipe = Pipe {
            sender,
            buffer: Vec::with_capacity(1 << 20),
        };
        write(&mut pipe)?;
        std::io::Write::flush(&mut pipe).map_err(Error::io("send an archive"))
    });
    work.await.map_err(Error::io("send an archive"))?
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
    let describe = described(root.clone(), epoch, sender.clone());
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
            let paths = paths.map_err(|error| Error::Failed(error.to_string()))?;
            let paths = paths.map_err(Error::io("read what was built"))??;
            while let Some(number) = waiting.recv().await {
                contents(&root, &paths, number, &sender).await?;
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

/// Describes the tree below `root` as fast as the client takes it, from now on; its paths by number.
fn described(
    root: Arc<Root>,
    epoch: Option<i64>,
    sender: mpsc::Sender<Packet>,
) -> JoinHandle<io::Result<Result<Vec<PathBuf>, Error>>> {
    tokio::spawn(at_clients_pace(move || {
        let mut walk = Walk {
            sender,
            epoch,
            paths: Vec::new(),
            seen: HashMap::new(),
        };
        walk.folder(root.as_fd(), &mut PathBuf::new())?;
        walk.send(None)?;
        Ok(walk.paths)
    }))
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

/// Sends the file `number`. No thread waits for the client.
async fn contents(
    root: &Arc<Root>,
    paths: &[PathBuf],
    number: u32,
    sender: &mpsc::Sender<Packet>,
) -> Result<(), Error> {
    let path = paths.get(number as usize);
    let path = path.ok_or_else(|| Error::Invalid(format!("invalid file id {number}")))?;
    let failed = Error::io(&format!("read {}", path.display()));
    let (root, path) = (root.clone(), path.clone());
    let mut file = on_the_disk(move || {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        root.open_at(&path, flags, Mode::empty()).map(File::from)
    })
    .await
    .map_err(&failed)?;
    loop {
        let piece;
        (file, piece) = on_the_disk(move || {
            let mut piece = Vec::new();
            file.by_ref().take(AT_ONCE).read_to_end(&mut piece)?;
            Ok((file, piece))
        })
        .await
        .map_err(&failed)?;
        for data in piece.chunks(CHUNK) {
            send_data(sender, number, data).await?;
        }
        if piece.is_empty() {
            return send_data(sender, number, &[]).await;
        }
    }
}

async fn send_data(sender: &mpsc::Sender<Packet>, id: u32, data: &[u8]) -> Result<(), Error> {
    let packet = Packet {
        r#type: PacketType::PacketData.into(),
        id,
        data: data.to_vec(),
        ..Packet::default()
    };
    let sent = sender.send(packet).await;
    sent.map_err(|_| Error::Failed("the client is gone".to_owned()))
}

async fn on_the_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write as _;

    use super::super::narrow::{assert_a_thread_is_free, narrow};
    use super::*;

    #[test]
    fn an_archive_that_nobody_takes_holds_none_of_the_runtimes_threads() {
        narrow().block_on(async {
            let (sender, mut pieces) = mpsc::channel(1);
            let work = |pipe: &mut Pipe| {
                let zeros = vec![0; 5 << 20];
                pipe.write_all(&zeros).map_err(Error::io("write"))?;
                pipe.write_all(&zeros).map_err(Error::io("write"))
            };
            let work = tokio::spawn(written(sender, work));
            assert_a_thread_is_free().await;
            assert!(!work.is_finished());
            let mut length = 0;
            while let Some(piece) = pieces.recv().await {
                length += piece.len();
            }
            work.await.unwrap().unwrap();
            assert_eq!(length, 10 << 20);
        });
    }

    #[test]
    fn files_that_nobody_takes_hold_none_of_the_runtimes_threads() {
        let dir = tempfile::tempdir().unwrap();
        let large: Vec<u8> = (0..2_000_000_u32).map(|number| number as u8).collect();
        std::fs::write(dir.path().join("a"), &large).unwrap();
        std::fs::write(dir.path().join("b"), "").unwrap();
        narrow().block_on(async {
            let root = Arc::new(Root::open(dir.path()).unwrap());
            let (sender, mut packets) = mpsc::channel(1);
            let paths = described(root.clone(), None, sender.clone());
            assert_a_thread_is_free().await;
            assert!(!paths.is_finished());
            for path in ["a", "b"] {
                let packet: Packet = packets.recv().await.unwrap();
                assert_eq!(packet.stat.unwrap().path, path);
            }
            assert!(packets.recv().await.unwrap().stat.is_none());
            let paths = paths.await.unwrap().unwrap().unwrap();
            let sending = tokio::spawn(async move {
                contents(&root, &paths, 0, &sender).await?;
                contents(&root, &paths, 1, &sender).await
            });
            assert_a_thread_is_free().await;
            assert!(!sending.is_finished());
            let (mut sent, mut ends) = (Vec::new(), Vec::new());
            while let Some(packet) = packets.recv().await {
                assert!(packet.data.len() <= CHUNK);
                if packet.data.is_empty() {
                    ends.push(packet.id);
                }
                sent.extend(packet.data);
            }
            sending.await.unwrap().unwrap();
            assert!(sent == large);
            assert_eq!(ends, [0, 1]);
        });
    }
}
