//! Owner, mode, times and extended attributes of what was made.
//!
//! The order matters: a change of owner clears set-id bits and capabilities, so it comes first; times come last,
//! because everything else touches them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chmod, chownat,
    fchmod, fchown, fsetxattr, fstat, futimens, lsetxattr, openat, statat, utimensat,
};
use rustix::io::Errno;

use crate::LayerError;
use crate::content::OURS;
use crate::error::{at, path_of};
use crate::tar::{Member, Time};

/// Sets everything but the times of an open file or folder. What is right already is not set again: each change is one
/// more transaction of the file system's journal, and of most files only the time is to be set.
pub(crate) fn set_by_fd(fd: BorrowedFd<'_>, member: &Member) -> Result<(), LayerError> {
    let (uid, gid) = owner(member)?;
    let stat = fstat(fd).map_err(at("look at", &member.path))?;
    let owned = stat.st_uid == uid.as_raw() && stat.st_gid == gid.as_raw();
    if !owned {
        fchown(fd, Some(uid), Some(gid)).map_err(at("set the owner of", &member.path))?;
    }
    for (name, value) in wanted_xattrs(member) {
        let set = fsetxattr(fd, name, value, XattrFlags::empty());
        tolerate(name, set).map_err(at("set an extended attribute of", &member.path))?;
    }
    // A change of owner may have cleared bits.
    if owned && stat.st_mode & 0o7777 == member.mode {
        return Ok(());
    }
    fchmod(fd, Mode::from_raw_mode(member.mode)).map_err(at("set the mode of", &member.path))
}

/// The mode to make a file or folder with, so that often none needs to be set. Set-id bits wait for the owner.
pub(crate) fn first_mode(member: &Member) -> Mode {
    Mode::from_raw_mode(member.mode & 0o777)
}

/// Sets the times of an open file or folder.
pub(crate) fn set_times(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<(), Errno> {
    futimens(fd, times)
}

/// Sets everything of a link, a device or a fifo, which must not be opened. The mode of a link cannot be set.
pub(crate) fn set_by_name(
    parent: BorrowedFd<'_>,
    name: &[u8],
    member: &Member,
    has_mode: bool,
) -> Result<(), LayerError> {
    let (uid, gid) = owner(member)?;
    chownat(
        parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .map_err(at("set the owner of", &member.path))?;
    set_xattrs_by_name(parent, name, member)?;
    if has_mode {
        set_mode(parent, name, member).map_err(at("set the mode of", &member.path))?;
    }
    utimensat(parent, name, &times_of(member), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(at("set the time of", &member.path))
}

/// Sets what a second name says of the file that it is a name of: as with Docker, the last one counts. An owner that is
/// right is not set again, as that would take the file's capabilities, which few archives repeat.
pub(crate) fn set_by_second_name(
    parent: BorrowedFd<'_>,
    name: &[u8],
    member: &Member,
) -> Result<(), LayerError> {
    let (uid, gid) = owner(member)?;
    let stat =
        statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("look at", &member.path))?;
    if stat.st_uid != uid.as_raw() || stat.st_gid != gid.as_raw() {
        chownat(
            parent,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(at("set the owner of", &member.path))?;
    }
    set_xattrs_by_name(parent, name, member)?;
    // Of a second name of a symbolic link Docker sets no more.
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Ok(());
    }
    set_mode(parent, name, member).map_err(at("set the mode of", &member.path))?;
    utimensat(parent, name, &times_of(member), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(at("set the time of", &member.path))
}

fn set_xattrs_by_name(
    parent: BorrowedFd<'_>,
    name: &[u8],
    member: &Member,
) -> Result<(), LayerError> {
    for (attribute, value) in wanted_xattrs(member) {
        // There is no setxattrat in older kernels; the last name is not followed.
        let mut path = format!("/proc/self/fd/{}/", parent.as_fd().as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        let set = lsetxattr(&path[..], attribute, value, XattrFlags::empty());
        tolerate(attribute, set).map_err(at("set an extended attribute of", &member.path))?;
    }
    Ok(())
}

/// Sets the mode of a device or a fifo. `fchmodat` would follow a link that somebody puts in its place, so it goes
/// by a descriptor, which is of what is there and of nothing else.
fn set_mode(parent: BorrowedFd<'_>, name: &[u8], member: &Member) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let node = openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&node)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    let path = format!("/proc/self/fd/{}", node.as_raw_fd());
    chmod(path, Mode::from_raw_mode(member.mode))
}

/// The last second that nanoseconds in 64 bits reach.
const LAST: i64 = i64::MAX / 1_000_000_000;

/// Times as Docker sets them: never read before it was written, and the epoch for what is before it or beyond the
/// year 2262 (moby `pkg/archive`, `boundTime`).
pub(crate) fn times_of(member: &Member) -> Timestamps {
    let spec = |time: Time| match time.seconds {
        0..LAST => Timespec {
            tv_sec: time.seconds,
            tv_nsec: time.nanos.into(),
        },
        _ => Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        },
    };
    Timestamps {
        last_access: spec(member.atime.unwrap_or_default().max(member.mtime)),
        last_modification: spec(member.mtime),
    }
}

fn owner(member: &Member) -> Result<(Uid, Gid), LayerError> {
    // The largest number means "leave it" to the kernel.
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    match (id(member.uid), id(member.gid)) {
        (Some(uid), Some(gid)) => Ok((Uid::from_raw(uid), Gid::from_raw(gid))),
        _ => Err(LayerError::Invalid {
            path: path_of(&member.path),
            what: "owner",
        }),
    }
}

/// An archive must not speak to overlay: its attributes could redirect a folder or hide what is below. Nor may it say what we
/// know of contents.
fn wanted_xattrs(member: &Member) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_refused = |name: &[u8]| {
        name.starts_with(b"trusted.overlay.")
            || name.starts_with(b"user.overlay.")
            || name.starts_with(OURS)
    };
    member
        .xattrs
        .iter()
        .map(|(name, value)| (&name[..], &value[..]))
        .filter(move |(name, _)| !is_refused(name))
}

/// What the file system does not know, and what only files can have, is left out, as by Docker.
fn tolerate(name: &[u8], set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(Errno::NOTSUP) => Ok(()),
        Err(Errno::PERM) if name.starts_with(b"user.") => Ok(()),
        other => other,
    }
}
