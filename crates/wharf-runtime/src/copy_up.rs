//! `tmpcopyup`: a new tmpfs begins with what the image has at its place. Everything goes by descriptor and no link
//! is followed.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, chownat, fchmod, fchown, fstat, makedev, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat,
};
use rustix::fs::{Gid, Uid};

/// Copies what is in `from` to `to`, owners and modes with it.
pub(crate) fn copy(from: impl AsFd, to: impl AsFd) -> io::Result<()> {
    // What is given may stand for a place only (`O_PATH`).
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(from, ".", flags, Mode::empty())?;
    let to = openat(to, ".", flags, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        one(&folder, to.as_fd(), name)?;
    }
    let stat = fstat(&folder)?;
    own(&to, &stat)
}

fn one(from: &OwnedFd, to: std::os::fd::BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = openat(from, name, flags, Mode::empty())?;
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            copy(below, openat(to, name, flags, Mode::empty())?)
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut source = std::fs::File::from(openat(from, name, flags, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let new = openat(to, name, flags, Mode::from_raw_mode(0o600))?;
            let mut new = std::fs::File::from(new);
            io::copy(&mut source, &mut new)?;
            own(&new.into(), &stat)
        }
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new())?;
            symlinkat(target, to, name)?;
            chown(to, name, &stat)
        }
        kind => {
            let (major, minor) = (
                rustix::fs::major(stat.st_rdev),
                rustix::fs::minor(stat.st_rdev),
            );
            mknodat(to, name, kind, mode, makedev(major, minor))?;
            chown(to, name, &stat)
        }
    }
}

fn own(file: &OwnedFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchown(file, Some(uid), Some(gid))?;
    // After the owner, whose change takes bits away.
    Ok(fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o7777))?)
}

fn chown(folder: std::os::fd::BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    Ok(chownat(
        folder,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
