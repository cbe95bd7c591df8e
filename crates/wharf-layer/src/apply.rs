//! Unpacks an archive: the thread that calls reads and inflates, a second one hashes and writes.

use std::io::{self, Cursor, Read};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::thread;

use wharf_oci::Digest;

use crate::compression::{decompress, read_full};
use crate::extract::extract;
use crate::pipe::{BLOCK, pipe};
use crate::{IdMaps, LayerError};

/// What an archive may have, and what need not be made.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Most bytes of the uncompressed archive.
    pub max_bytes: u64,
    /// Most members, folders that are only implied included.
    pub max_entries: u64,
    /// Leave out devices: what is unpacked for us to read is to have none that we could open.
    pub skip_devices: bool,
    /// The archive is no layer but plain files (`docker cp`): names of whiteouts mean nothing.
    pub plain: Option<Plain>,
}

/// How an archive is unpacked that is no layer.
#[derive(Debug, Clone, Default)]
pub struct Plain {
    /// Folder below the target that everything goes into. Links in it are followed, but not out of the target.
    pub folder: PathBuf,
    /// Owner and group of everything, instead of the archive's.
    pub owner: Option<(u32, u32)>,
    /// Permissions of all files and folders, instead of the archive's.
    pub mode: Option<u32>,
    /// Files are no longer set-user-ID or set-group-ID, as after a change of their owner (chown(2)).
    pub drops_set_id: bool,
    /// When all of it was modified, in nanoseconds since 1970, instead of the archive's times.
    pub modified: Option<i64>,
    /// Refuse to replace a folder by something else, and the reverse.
    pub keep_kinds: bool,
    /// Members at or below the first path go to the second one.
    pub rename: Option<(PathBuf, PathBuf)>,
    /// The archive's owners, and [`Plain::owner`], are those of a user namespace.
    pub ids: Option<IdMaps>,
    /// Files get the digests of their contents ([`crate::kept_content`]): nobody is going to write to them.
    pub keeps_contents: bool,
}

impl Default for ApplyOptions {
    /// 256 GiB and ten million members: above any image, below what a small archive can be blown up to.
    fn default() -> ApplyOptions {
        ApplyOptions {
            max_bytes: 256 << 30,
            max_entries: 10_000_000,
            skip_devices: false,
            plain: None,
        }
    }
}

/// What [`apply`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the uncompressed archive, to its last byte; none of plain files.
    pub diff_id: Option<Digest>,
    /// Sum of the sizes of the files, in bytes, holes included.
    pub uncompressed_size: u64,
    /// Members of the archive.
    pub files: u64,
}

/// Unpacks the layer archive in `reader`, compressed or not, below `target`, in overlay's form.
///
/// `target` should be empty and nobody else's: what is there already can be replaced by members. On an error it
/// has what was unpacked until then, for the caller to throw away. Nothing outside of it is touched,
/// whatever is in the archive.
///
/// # Errors
/// A [`LayerError`].
pub fn apply(
    reader: impl Read,
    target: BorrowedFd<'_>,
    options: &ApplyOptions,
) -> Result<Applied, LayerError> {
    let mut plain = decompress(reader).map_err(unwrap_compression)?;
    let mut first = vec![0; BLOCK];
    let count = read_full(&mut plain, &mut first).map_err(LayerError::read)?;
    first.truncate(count);
    if count < BLOCK {
        // Not worth a thread.
        return extract(Cursor::new(first), target, options);
    }
    thread::scope(|scope| {
        let (pump, blocks) = pipe(first);
        let worker = thread::Builder::new()
            .name("unpack".into())
            .spawn_scoped(scope, || extract(blocks, target, options))
            .map_err(LayerError::Read)?;
        pump.run(&mut plain);
        match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// The error that says that a compression is unknown, from inside the one of the reader.
fn unwrap_compression(error: io::Error) -> LayerError {
    match error.downcast::<LayerError>() {
        Ok(inner) => inner,
        Err(error) => LayerError::read(error),
    }
}
