//! Trees of files that are ours, by descriptor.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chmodat, chownat, linkat,
    mkdirat, openat, statat, unlinkat, utimensat,
};
use rustix::io::Errno;

/// The names in a folder, sorted.
pub(crate) fn names(folder: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    let readable = openat(
        folder,
        c".",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    for entry in Dir::read_from(readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A folder in a folder, never through a link.
pub(crate) fn folder(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

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
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            linkat(from, name, to, name, AtFlags::empty())?;
            continue;
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

/// Bytes of the files below a folder. It may be changing: what is gone counts nothing.
pub(crate) fn size(at: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = 0;
    for name in names(at)? {
        bytes += match size_of(at, &name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?,
        };
    }
    Ok(bytes)
}

fn size_of(at: BorrowedFd<'_>, name: &[u8]) -> io::Result<u64> {
    let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => match folder(at, name) {
            // It has become something else.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(0),
            inner => size(inner?.as_fd()),
        },
        _ => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `names` was asked before, and somebody removes files now.
    #[test]
    fn what_is_gone_is_told_from_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "four").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(size(root.as_fd()).unwrap(), 4 + 1);
        let gone = size_of(root.as_fd(), b"gone").unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        // A folder that was removed while it was open has no names.
        let inner = folder(&root, b"d").unwrap();
        std::fs::remove_dir_all(dir.path().join("d")).unwrap();
        assert_eq!(size(inner.as_fd()).unwrap(), 0);
    }
}
