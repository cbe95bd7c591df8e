//! The archive that a client sends: unpacked in memory if it is small, as most builds need it for a moment only.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::XattrFlags;
use tempfile::TempDir;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_builder::transfer::chain;
use wharf_builder::{BuildError, Local};
use wharf_layer::{ApplyOptions, LayerError, Plain, apply};
use wharf_sys::root::Root;

use crate::solver::Shared;

/// The largest archive that is unpacked in memory, in bytes; and how many times of it there must be room for.
const SMALL: u64 = 256 << 20;
const ROOM: u64 = 8;
/// The most members of such an archive.
const FEW: u64 = 100_000;
/// What `statfs` says of memory (`TMPFS_MAGIC`).
const TMPFS: i128 = 0x0102_1994;
const BUFFER: usize = 256 << 10;

/// A folder that is removed when nobody has it any more, by a thread of its own: there may be much in it.
#[derive(Debug)]
struct Passing(Option<TempDir>);

impl Drop for Passing {
    fn drop(&mut self) {
        let folder = self.0.take();
        let thread = std::thread::Builder::new().name("remove".to_owned());
        // Where there is no thread to be had, it goes with the closure.
        let _ = thread.spawn(move || drop(folder));
    }
}

/// Unpacks an archive of plain files into a folder of its own. Nothing at all is an empty folder.
///
/// # Errors
/// If it is none, or the disk refuses.
pub(super) async fn unpack(
    archive: Box<dyn AsyncRead + Send + Unpin>,
    shared: Arc<Shared>,
) -> Result<Local, BuildError> {
    let mut archive = SyncIoBridge::new(archive);
    let work = move || {
        let unpacked = received(&mut archive, &shared);
        if unpacked.is_err() {
            // A client that is still sending does not read why; and what it sends is not wanted any more.
            let _ = io::copy(&mut archive, &mut io::sink());
        }
        unpacked
    };
    let done = wharf_images::at_clients_pace(work).await;
    done.map_err(|error| BuildError::Failed(error.to_string()))?
}

fn received(archive: &mut impl Read, shared: &Shared) -> Result<Local, BuildError> {
    let Some((memory, room)) = in_memory(shared) else {
        return placed(archive, shared.scratch()?);
    };
    let mut spool = spooled(archive, room, memory.path()).map_err(unread)?;
    let is_whole = spool.metadata().map_err(unread)?.len() < room;
    if is_whole {
        // Neither does one fill the memory whose compression says nothing of its size.
        let options = ApplyOptions {
            max_bytes: room,
            max_entries: FEW,
            ..options()
        };
        match extract(&mut spool, memory.path(), &options) {
            Err(LayerError::Member { .. } | LayerError::Limit(_)) => {}
            other => return other.map_err(told).map(|()| local(memory)),
        }
        // It is on the disk that errors mean something, and there is more room.
        drop(memory);
    }
    spool.rewind().map_err(unread)?;
    placed(spool.chain(archive), shared.scratch()?)
}

/// A folder in memory, and the size of the largest archive that it is for; `None` if there is no such folder.
fn in_memory(shared: &Shared) -> Option<(TempDir, u64)> {
    let folder = shared.volatile().ok()?;
    let stat = rustix::fs::statfs(folder.path()).ok()?;
    if i128::from(stat.f_type) != TMPFS {
        return None;
    }
    // Older kernels keep no attributes of users there.
    let attribute = "user.wharf";
    rustix::fs::setxattr(folder.path(), attribute, b"", XattrFlags::empty()).ok()?;
    rustix::fs::removexattr(folder.path(), attribute).ok()?;
    let free = stat
        .f_bavail
        .saturating_mul(u64::try_from(stat.f_bsize).ok()?);
    Some((folder, SMALL.min(free / ROOM)))
}

/// The first bytes of an archive, at most so many, in a file without a name.
fn spooled(archive: &mut impl Read, most: u64, folder: &Path) -> io::Result<File> {
    let mut spool = BufWriter::with_capacity(BUFFER, tempfile::tempfile_in(folder)?);
    io::copy(&mut archive.take(most), &mut spool)?;
    spool.flush()?;
    let mut spool = spool.into_inner().map_err(io::IntoInnerError::into_error)?;
    spool.rewind()?;
    Ok(spool)
}

fn placed(mut archive: impl Read, folder: TempDir) -> Result<Local, BuildError> {
    extract(&mut archive, folder.path(), &options()).map_err(told)?;
    Ok(local(folder))
}

fn local(folder: TempDir) -> Local {
    Local {
        folder: folder.path().to_owned(),
        keep: Arc::new(Passing(Some(folder))),
    }
}

fn options() -> ApplyOptions {
    ApplyOptions {
        skip_devices: true,
        plain: Some(Plain {
            keeps_contents: true,
            ..Plain::default()
        }),
        ..ApplyOptions::default()
    }
}

fn extract(
    archive: &mut impl Read,
    folder: &Path,
    options: &ApplyOptions,
) -> Result<(), LayerError> {
    let root = Root::open(folder).map_err(LayerError::Read)?;
    let mut first = [0; 1];
    if archive.read(&mut first).map_err(LayerError::Read)? == 0 {
        return Ok(());
    }
    apply(first.chain(archive), root.as_fd(), options).map(drop)
}

fn unread(error: io::Error) -> BuildError {
    BuildError::Failed(format!("error reading the build context: {error}"))
}

fn told(error: LayerError) -> BuildError {
    BuildError::Failed(match error {
        // As Go's reader of archives says it.
        LayerError::Truncated => "unexpected EOF".to_owned(),
        LayerError::Header { .. } => "archive/tar: invalid tar header".to_owned(),
        LayerError::Read(error) => return unread(error),
        error => format!("Error processing tar file: {}", chain(&error)),
    })
}
