//! Folders of the client (`local` sources), kept from build to build so that only what has changed is sent.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bollard_buildkit_proto::fsutil::types::Packet;
use bollard_buildkit_proto::moby::filesync::packet::file_sync_client::FileSyncClient;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::{Mode, OFlags};
use sha2::Digest as _;
use tokio::sync::{OwnedMutexGuard, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status};
use wharf_builder::Scratch;
use wharf_images::at_clients_pace;
use wharf_sys::root::Root;
use wharf_sys::trash::remove_tree;

use super::receive::{Ended, Receiver};
use super::{Session, origin, tree};
use crate::error::Error;

const SYNC: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// The largest message of a client.
const LARGEST: usize = 4 << 20;
/// Packets that are handed on at once, and bytes of files in them (but for the last of them): to wake a thread for each takes longer
/// than what it does with it.
const AT_ONCE: usize = 512;
const BYTES: usize = 1 << 20;

/// What is wanted of a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Local {
    /// The client's name of it.
    pub(crate) name: String,
    /// What it is for: the same folder is kept apart for different uses, which want different parts of it.
    pub(crate) purpose: String,
    /// Only these.
    pub(crate) include: Vec<String>,
    /// Not these: the patterns of a `.dockerignore`.
    pub(crate) exclude: Vec<String>,
    /// Only these, and what links among them lead to.
    pub(crate) follow: Vec<String>,
}

/// The folders that are kept. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Contexts {
    folder: PathBuf,
    locks: Arc<Mutex<HashMap<String, Lock>>>,
}

/// Who brings a kept folder in line has it.
type Lock = Arc<tokio::sync::Mutex<Use>>;

/// Whether somebody reads a kept folder.
#[derive(Debug, Default)]
struct Use {
    user: Weak<User>,
}

/// A build that reads a kept folder. It holds the lock's place among the others, not the lock.
#[derive(Debug)]
struct User(#[expect(dead_code, reason = "it is only held")] Lock);

/// A folder that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its name here.
    pub(crate) key: String,
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// When it was used last.
    pub(crate) used: std::time::SystemTime,
}

impl Contexts {
    /// Kept in `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            locks: Arc::default(),
        }
    }

    /// Fetches a folder of the client. While a build has it, it stays as it is: another one gets a twin of it in a folder that
    /// `aside` makes on the same file system. `progress` is told how many bytes have come.
    ///
    /// # Errors
    /// If the client does not let have it, or says what it may not.
    pub(crate) async fn fetch(
        &self,
        session: &Session,
        local: &Local,
        aside: impl Fn() -> Result<Scratch, Error>,
        progress: impl FnMut(u64) + Send + 'static,
    ) -> Result<wharf_builder::Local, Error> {
        let key = match session.shared_key.as_str() {
            "" => session.id.as_str(),
            key => key,
        };
        let key = wharf_builder::hash::hex(&sha2::Sha256::digest(format!(
            "{}\0{}\0{key}",
            local.name, local.purpose
        )));
        let mut held = self.lock(&key).await;
        let place = self.folder.join(&key);
        let (files, keep): (PathBuf, Arc<dyn Debug + Send + Sync>) = match held.user.upgrade() {
            Some(_) => {
                let twin = aside()?;
                let files = twin.path().join("files");
                twin_of(&place.join("files"), &files).await?;
                (files, Arc::new(twin))
            }
            None => {
                let user = Arc::new(User(OwnedMutexGuard::mutex(&held).clone()));
                held.user = Arc::downgrade(&user);
                (place.join("files"), user)
            }
        };
        let held = Arc::new(held);
        let receiver = {
            let (files, beside) = (files.clone(), files.with_file_name("beside"));
            move |requests| {
                let opened = opened(&files, &beside);
                let (root, beside) = opened.map_err(Error::io("open the kept folder"))?;
                Ok(Receiver::new(root, beside, requests))
            }
        };
        sync(session, local, (receiver, held.clone()), progress).await?;
        let used = std::fs::File::open(&place);
        let used = used.and_then(|place| place.set_modified(std::time::SystemTime::now()));
        used.map_err(Error::io("take over the files"))?;
        Ok(wharf_builder::Local {
            folder: files,
            keep,
        })
    }

    async fn lock(&self, key: &str) -> OwnedMutexGuard<Use> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(key.to_owned()).or_default().clone()
        };
        lock.lock_owned().await
    }

    /// The folders that are kept. Blocks.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn list(&self) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(kept),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let files = Root::open(&entry.path().join("files"));
            let Ok(files) = files else { continue };
            // One may be forgotten meanwhile.
            let Ok(used) = entry.metadata().and_then(|meta| meta.modified()) else {
                continue;
            };
            kept.push(Kept {
                key: entry.file_name().to_string_lossy().into_owned(),
                bytes: wharf_builder::tree::size(files.as_fd())?,
                used,
            });
        }
        Ok(kept)
    }

    /// Forgets one that nobody uses now; whether it is gone.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) async fn forget(&self, key: &str) -> Result<bool, Error> {
        let lock = {
            let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(key.to_owned()).or_default().clone()
        };
        let Ok(held) = lock.try_lock_owned() else {
            return Ok(false);
        };
        if held.user.strong_count() > 0 {
            return Ok(false);
        }
        let place = self.folder.join(key);
        let remove = move || {
            let _held = held;
            remove_tree(&place)
        };
        let removed = tokio::task::spawn_blocking(remove).await;
        let removed = removed.map_err(|error| Error::Failed(error.to_string()))?;
        removed.map_err(Error::io("remove a kept folder"))?;
        Ok(true)
    }
}

/// The right to a kept folder. A thread that works on it has its own share of it, as it goes on when nobody waits any more.
type Held = Arc<OwnedMutexGuard<Use>>;

/// Opens a kept folder and the one beside it, which gets rid of what a transfer that was cut off has left. Blocks.
fn opened(files: &Path, beside: &Path) -> io::Result<(Root, OwnedFd)> {
    match remove_tree(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::create_dir_all(files)?;
    std::fs::create_dir_all(beside)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let beside = rustix::fs::open(beside, flags, Mode::empty())?;
    Ok((Root::open(files)?, beside))
}

/// Makes `to` the same tree as `from`.
async fn twin_of(from: &Path, to: &Path) -> Result<(), Error> {
    let (from, to) = (from.to_owned(), to.to_owned());
    let work = move || -> io::Result<()> {
        std::fs::create_dir_all(&to)?;
        let (from, to) = (Root::open(&from)?, Root::open(&to)?);
        tree::twin(from.as_fd(), to.as_fd())
    };
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Error::Failed(error.to_string()))?;
    done.map_err(Error::io("take over the files"))
}

async fn sync(
    session: &Session,
    local: &Local,
    (receiver, held): (
        impl FnOnce(mpsc::UnboundedSender<Packet>) -> Result<Receiver, Error>,
        Held,
    ),
    progress: impl FnMut(u64) + Send + 'static,
) -> Result<(), Error> {
    let channel = session.service(SYNC);
    let channel = channel.map_err(|_| Error::Invalid("no local sources enabled".to_owned()))?;
    let (requests, requested) = mpsc::unbounded_channel();
    let receiver = receiver(requests)?;
    let mut request = Request::new(UnboundedReceiverStream::new(requested));
    let metadata = request.metadata_mut();
    let names = std::slice::from_ref(&local.name);
    for (key, values) in [
        ("dir-name", names),
        ("include-patterns", &local.include[..]),
        ("exclude-patterns", &local.exclude[..]),
        ("followpaths", &local.follow[..]),
    ] {
        insert(metadata, key, values)?;
    }
    let client = FileSyncClient::with_origin(channel, origin());
    let mut client = client.max_decoding_message_size(LARGEST);
    let mut packets = client
        .diff_copy(request)
        .await
        .map_err(Error::Client)?
        .into_inner();
    let (sender, received) = mpsc::channel(4);
    let work = receive(held, receiver, received, progress);
    let mut broken = None;
    while broken.is_none()
        && let Some(first) = packets.next().await
    {
        let several;
        (several, broken) = at_once(first, &mut packets);
        if sender.send(several).await.is_err() {
            break;
        }
    }
    drop(sender);
    let done = work.await;
    let done = done.map_err(|error| Error::Failed(error.to_string()))?;
    match (done.map_err(Error::io("receive files"))??, broken) {
        (Ended::Whole, _) => Ok(()),
        (Ended::Cut(_), Some(status)) => Err(Error::Client(status)),
        (Ended::Cut(error), None) => Err(error),
    }
}

/// A packet, and those that are here already; and why there are no more, if something broke.
fn at_once(
    first: Result<Packet, Status>,
    packets: &mut (impl Stream<Item = Result<Packet, Status>> + Unpin),
) -> (Vec<Packet>, Option<Status>) {
    let (mut several, mut bytes) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(packet) = next {
        match packet {
            Ok(packet) => {
                bytes += packet.data.len();
                several.push(packet);
            }
            Err(status) => return (several, Some(status)),
        }
        if several.len() == AT_ONCE || bytes >= BYTES {
            break;
        }
        next = packets.next().now_or_never().flatten();
    }
    (several, None)
}

/// Takes packets until they end, as fast as they come.
fn receive(
    held: Held,
    receiver: Receiver,
    mut received: mpsc::Receiver<Vec<Packet>>,
    progress: impl FnMut(u64) + Send + 'static,
) -> JoinHandle<io::Result<Result<Ended, Error>>> {
    tokio::spawn(at_clients_pace(move || {
        let _held = held;
        receiver.run(&mut received, progress)
    }))
}

/// As BuildKit puts lists into headers: what is not ASCII makes all of them escaped.
fn insert(
    metadata: &mut tonic::metadata::MetadataMap,
    key: &'static str,
    values: &[String],
) -> Result<(), Error> {
    let plain = |text: &String| text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let escaped = !values.iter().all(plain);
    for value in values {
        let value = match escaped {
            true => utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
            false => value.clone(),
        };
        let value = MetadataValue::try_from(value);
        let value = value.map_err(|_| Error::Invalid(format!("invalid value of {key}")))?;
        metadata.append(key, value);
    }
    if escaped {
        let name = match key {
            "dir-name" => "dir-name-encoded",
            "include-patterns" => "include-patterns-encoded",
            "exclude-patterns" => "exclude-patterns-encoded",
            _ => "followpaths-encoded",
        };
        metadata.insert(name, MetadataValue::from_static("1"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::narrow::{assert_a_thread_is_free, narrow};
    use super::*;

    /// The next build of this folder would find another one's thread at work in it.
    #[tokio::test]
    async fn a_folder_is_locked_until_nobody_writes_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let beside = std::fs::File::open(dir.path()).unwrap().into();
        let contexts = Contexts::new(dir.path().to_owned());
        let held = Arc::new(contexts.lock("k").await);
        let (requests, _requested) = mpsc::unbounded_channel();
        let (sender, received) = mpsc::channel(1);
        let thread = receive(
            held,
            Receiver::new(root, beside, requests),
            received,
            |_| {},
        );
        // The build is given up.
        drop(thread);
        assert!(contexts.lock("k").now_or_never().is_none());
        assert!(!contexts.forget("k").await.unwrap());
        drop(sender);
        contexts.lock("k").await;
    }

    #[test]
    fn a_client_that_sends_nothing_holds_none_of_the_runtimes_threads() {
        let dir = tempfile::tempdir().unwrap();
        narrow().block_on(async {
            let root = Root::open(dir.path()).unwrap();
            let beside = std::fs::File::open(dir.path()).unwrap().into();
            let contexts = Contexts::new(dir.path().to_owned());
            let held = Arc::new(contexts.lock("k").await);
            let (requests, _requested) = mpsc::unbounded_channel();
            let (sender, received) = mpsc::channel(1);
            let receiver = Receiver::new(root, beside, requests);
            let work = receive(held, receiver, received, |_| {});
            assert_a_thread_is_free().await;
            drop(sender);
            assert!(matches!(work.await.unwrap().unwrap(), Ok(Ended::Cut(_))));
        });
    }

    /// A build reads it, though nobody brings it in line now.
    #[tokio::test]
    async fn a_folder_that_is_read_is_not_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("k")).unwrap();
        let contexts = Contexts::new(dir.path().to_owned());
        let user = {
            let mut held = contexts.lock("k").await;
            let user = Arc::new(User(OwnedMutexGuard::mutex(&held).clone()));
            held.user = Arc::downgrade(&user);
            user
        };
        // Somebody else's lock is of the same folder.
        contexts.lock("other").await;
        assert!(contexts.lock("k").await.user.upgrade().is_some());
        assert!(!contexts.forget("k").await.unwrap());
        drop(user);
        assert!(contexts.forget("k").await.unwrap());
    }
}
