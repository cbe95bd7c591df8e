//! A fresh volume is filled with what the image has at its place (moby `container.CopyImagePathContent`).
//!
//! The image is seen through a detached, read-only overlay mount, which never appears in the host's mount table,
//! and every path in it is opened by `openat2` inside its root (Invariant 9).

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::{Errno, Result};
use wharf_snapshots::Rootfs;
use wharf_sys::mount::attr;

use crate::{EngineError, MountPoint};

/// How many folders within each other are copied: each has two descriptors while what is in it is.
const MAX_DEPTH: usize = 400;

/// Fills the empty folder `volume` (or the sub-path of it that `mount` names) from the image. A volume with anything
/// in it stays as it is, and so does the owner of one that `keep_owner` speaks of.
pub(crate) fn fill(
    rootfs: &Rootfs,
    mount: &MountPoint,
    volume: &Path,
    keep_owner: bool,
) -> std::result::Result<(), EngineError> {
    let failed = |error: Errno| EngineError::io("fill volume", volume)(error.into());
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let to = rustix::fs::open(volume, flags, Mode::empty()).map_err(failed)?;
    let to = match open_below(&to, &mount.subpath, ResolveFlags::BENEATH) {
        Ok(to) => to,
        // The start says that the sub-path is not there, or no folder.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::XDEV | Errno::LOOP) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !is_empty(&to).map_err(failed)? {
        return Ok(());
    }
    let root = self::mount(rootfs).map_err(EngineError::io("fill volume", volume))?;
    let from = match open_below(&root, &mount.destination, ResolveFlags::IN_ROOT) {
        Ok(from) => from,
        // Nothing there, or no folder: nothing to copy.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let (from, to) = copy_tree(from, to).map_err(failed)?;
    match keep_owner {
        true => Ok(()),
        false => from
            .fd()
            .and_then(|from| copy_owner(from, to.as_fd()))
            .map_err(failed),
    }
}

fn open_below(folder: &OwnedFd, path: &str, resolve: ResolveFlags) -> Result<OwnedFd> {
    let path = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)
}

fn is_empty(folder: &OwnedFd) -> Result<bool> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All layers as one, read-only and attached nowhere.
pub(crate) fn mount(rootfs: &Rootfs) -> std::io::Result<OwnedFd> {
    // An overlay without an upper folder wants two lower ones; the container's own layer is one of them.
    let all: Vec<&Path> = std::iter::once(&rootfs.upper)
        .chain(&rootfs.lowers)
        .map(PathBuf::as_path)
        .collect();
    wharf_sys::mount::layers(&all, None, attr::RDONLY | attr::NODEV)
}

/// Copies all that is in `from`, and hands both folders back.
fn copy_tree(from: OwnedFd, to: OwnedFd) -> Result<(Dir, OwnedFd)> {
    let mut above: Vec<(Dir, OwnedFd)> = Vec::new();
    let mut now = (Dir::new(from)?, to);
    loop {
        let Some(entry) = now.0.next().transpose()? else {
            let Some(parent) = above.pop() else {
                return Ok(now);
            };
            copy_owner(now.0.fd()?, now.1.as_fd())?;
            now = parent;
            continue;
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        if let Some(below) = copy_entry(now.0.fd()?, now.1.as_fd(), name)? {
            if above.len() == MAX_DEPTH {
                return Err(Errno::NAMETOOLONG);
            }
            above.push(std::mem::replace(&mut now, below));
        }
    }
}

/// Copies one entry. A folder is only made: it is returned, to be filled, and given its owner after that.
fn copy_entry(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<Option<(Dir, OwnedFd)>> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    let mode = Mode::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let from = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let to = rustix::fs::openat(to, name, flags, Mode::empty())?;
            return Ok(Some((Dir::new(from)?, to)));
        }
        FileType::RegularFile => return copy_file(from, to, name).map(|()| None),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
        }
        // A socket is only ever its listener's.
        FileType::Socket => return Ok(None),
        _ => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    rustix::fs::chownat(
        to,
        name,
        uid(stat.st_uid),
        gid(stat.st_gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    rustix::fs::utimensat(to, name, &times_of(&stat), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(None)
}

fn copy_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
    let flags = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let to = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
    let (mut from, mut to) = (File::from(from), File::from(to));
    let copied = std::io::copy(&mut from, &mut to);
    copied.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    copy_owner(from.as_fd(), to.as_fd())
}

/// Owner, extended attributes, mode and times; in this order, as a change of owner clears set-user-id.
fn copy_owner(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, uid(stat.st_uid), gid(stat.st_gid))?;
    copy_attributes(from, to)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode))?;
    rustix::fs::futimens(to, &times_of(&stat))
}

fn times_of(stat: &rustix::fs::Stat) -> rustix::fs::Timestamps {
    let time = |seconds: i64, nanos: u64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    rustix::fs::Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

fn copy_attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut names = vec![0; 64 * 1024];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error),
    };
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        // The overlay's own marks mean nothing outside of it.
        if name.starts_with(b"trusted.overlay.") {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        let name = OsStr::from_bytes(name);
        let length = rustix::fs::fgetxattr(from, name, &mut value[..])?;
        match rustix::fs::fsetxattr(to, name, &value[..length], rustix::fs::XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn uid(raw: u32) -> Option<Uid> {
    Some(Uid::from_raw(raw))
}

fn gid(raw: u32) -> Option<Gid> {
    Some(Gid::from_raw(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = rustix::fs::openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(at, "bottom", flags, Mode::RUSR).unwrap();
        dir
    }

    fn copied(levels: usize) -> (Result<()>, tempfile::TempDir) {
        let (from, to) = (nested(levels), tempfile::tempdir().unwrap());
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |dir: &tempfile::TempDir| rustix::fs::open(dir.path(), flags, Mode::empty());
        let (opened, target) = (open(&from).unwrap(), open(&to).unwrap());
        let done = copy_tree(opened, target).map(drop);
        // What is so deep is not deleted by everybody.
        let top = File::open(from.path()).unwrap();
        wharf_sys::trash::remove(top.as_fd(), OsStr::new("d")).unwrap();
        (done, to)
    }

    #[test]
    fn a_tree_is_copied_to_its_bottom() {
        let (done, to) = copied(150);
        done.unwrap();
        let bottom = format!("{}bottom", "d/".repeat(150));
        assert!(to.path().join(bottom).is_file());
    }

    #[test]
    fn links_keep_their_times() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |dir: &tempfile::TempDir| rustix::fs::open(dir.path(), flags, Mode::empty());
        let (source, target) = (open(&from).unwrap(), open(&to).unwrap());
        std::os::unix::fs::symlink("nowhere", from.path().join("l")).unwrap();
        let long_ago = rustix::fs::Timespec {
            tv_sec: 1000,
            tv_nsec: 5,
        };
        let times = rustix::fs::Timestamps {
            last_access: long_ago,
            last_modification: long_ago,
        };
        rustix::fs::utimensat(&source, "l", &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        copy_tree(source, target).unwrap();
        let copy = std::fs::symlink_metadata(to.path().join("l")).unwrap();
        let (seconds, nanos) = (
            std::os::unix::fs::MetadataExt::mtime(&copy),
            std::os::unix::fs::MetadataExt::mtime_nsec(&copy),
        );
        assert_eq!((seconds, nanos), (1000, 5));
    }

    #[test]
    fn one_that_is_too_deep_is_refused() {
        let (done, _to) = copied(1500);
        assert_eq!(done, Err(Errno::NAMETOOLONG));
    }
}
