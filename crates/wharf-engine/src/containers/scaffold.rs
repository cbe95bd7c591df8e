//! What dockerd's layer of its own between image and container has, and programs look for (moby `daemon/initlayer`).

use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    futimens, mkdirat, openat, statat, symlinkat,
};
use rustix::io::{Errno, Result};
use wharf_snapshots::Rootfs;

use super::Layers;
use crate::EngineError;

/// Makes `/.dockerenv`, by which programs know that they are in a container, and `/etc/mtab`, by which older ones know what
/// is mounted, in a fresh writable layer. What the image has stays.
///
/// # Errors
/// If the layers cannot be read or written.
pub(super) fn make(rootfs: &Rootfs) -> std::result::Result<(), EngineError> {
    let failed = |error: Errno| EngineError::io("prepare", &rootfs.upper)(error.into());
    let layers = Layers::open(rootfs).map_err(failed)?;
    dockerenv(&layers).map_err(failed)?;
    mtab(&layers).map_err(failed)
}

fn dockerenv(layers: &Layers) -> Result<()> {
    if layers.below(Path::new("/.dockerenv")).is_some() {
        return Ok(());
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat(&layers.upper, ".dockerenv", flags, Mode::empty())?;
    fchmod(&file, Mode::from_raw_mode(0o755))
}

fn mtab(layers: &Layers) -> Result<()> {
    let etc = layers.below(Path::new("/etc"));
    let is_folder = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if etc.as_ref().is_some_and(|stat| !is_folder(stat))
        || layers.below(Path::new("/etc/mtab")).is_some()
    {
        return Ok(());
    }
    mkdirat(&layers.upper, "etc", Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(&layers.upper, "etc", flags, Mode::empty())?;
    symlinkat("/proc/mounts", &folder, "mtab")?;
    match etc {
        Some(below) => like(&folder, &layers.upper, &below),
        None => fchmod(&folder, Mode::from_raw_mode(0o755)),
    }
}

/// The folder `etc` of the upper layer gets the attributes of the one below, as overlay copies it up.
fn like(folder: impl std::os::fd::AsFd, upper: impl std::os::fd::AsFd, below: &Stat) -> Result<()> {
    let (user, group) = (Uid::from_raw(below.st_uid), Gid::from_raw(below.st_gid));
    chownat(
        upper,
        "etc",
        Some(user),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    fchmod(&folder, Mode::from_raw_mode(below.st_mode & 0o7777))?;
    let time = |seconds, nanos| Timespec {
        tv_sec: seconds,
        tv_nsec: nanos as _,
    };
    let times = Timestamps {
        last_access: time(below.st_atime, below.st_atime_nsec),
        last_modification: time(below.st_mtime, below.st_mtime_nsec),
    };
    futimens(folder, &times)
}

/// Bytes of what [`make`] has made: nothing that the container wrote.
pub(super) fn size(rootfs: &Rootfs) -> u64 {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = || {
        let upper = rustix::fs::open(&rootfs.upper, flags, Mode::empty())?;
        let folder = openat(upper, "etc", flags, Mode::empty())?;
        statat(folder, "mtab", AtFlags::SYMLINK_NOFOLLOW)
    };
    match found() {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            u64::try_from(stat.st_size).unwrap_or(0)
        }
        _ => 0,
    }
}
