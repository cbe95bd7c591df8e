//! Trees of files that are ours, by descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, Timespec, Timestamps, Uid, chmodat, chownat, linkat, mkdirat,
    statat, unlinkat, utimensat,
};
use rustix::io::Errno;
use wharf_builder::tree::{folder, names};

/// Removes what is at a name, with all that is in it. Nothing there is no error.
pub(crate) fn remove(parent: impl AsFd, name: &[u8]) -> io::Result<()> {
    let parent = parent.as_fd();
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let inner = folder(parent, name)?;
    for child in names(&inner)? {
        remove(&inner, &child)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

/// Removes everything below `at` that is not to be kept.
pub(crate) fn sweep(
    at: BorrowedFd<'_>,
    path: &mut PathBuf,
    keep: &dyn Fn(&Path) -> bool,
) -> io::Result<()> {
    for name in names(at)? {
        path.push(OsStr::from_bytes(&name));
        if !keep(path) {
            remove(at, &name)?;
        } else {
            let stat = statat(at, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                sweep(folder(at, &name)?.as_fd(), path, keep)?;
            }
        }
        path.pop();
    }
    Ok(())
}

/// The same tree again at `to`, whose files are the files of `from`. Neither is written to afterwards but by replacing
/// files, so neither sees what becomes of the other.
pub(crate) fn twin(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    for name in names(from)? {
        let name = &name[..];
        // What a build that is done with it takes away meanwhile (a `.dockerignore` of its own) is sent again.
        let stat = match statat(from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            match linkat(from, name, to, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
        }
        mkdirat(to, name, Mode::from_raw_mode(0o700))?;
        twin(folder(from, name)?.as_fd(), folder(to, name)?.as_fd())?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        chmodat(
            to,
            name,
            Mode::from_raw_mode(stat.st_mode & 0o7777),
            AtFlags::empty(),
        )?;
        let time = |seconds, nanoseconds| Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds as _,
        };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        utimensat(to, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
