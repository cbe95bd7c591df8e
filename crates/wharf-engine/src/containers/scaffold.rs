//! What dockerd's layer of its own between image and container has, and programs look for (moby `daemon/initlayer`).

use std::path::Path;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    futimens, mkdirat, openat, statat, symlinkat, utimensat,
};
use rustix::io::{Errno, Result};
use wharf_snapshots::Rootfs;

use super::Layers;
use crate::EngineError;

/// The link that [`make`] makes.
pub(crate) const MTAB: &str = "/etc/mtab";
/// The nanoseconds in the time of that link: one that a container has put in its place, which is what the container has
/// written, has others.
const MARK: i64 = 271_828_182;

/// Makes `/.dockerenv`, by which programs know that they are in a container, and `/etc/mtab`, by which older ones know what
/// is mounted, in a fresh writable layer. What the image has stays.
///
/// # Errors
/// If the layers cannot be read or written.
pub(crate) fn make(rootfs: &Rootfs) -> std::result::Result<(), EngineError> {
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
    if etc.as_ref().is_some_and(|stat| !is_folder(stat)) || layers.below(Path::new(MTAB)).is_some()
    {
        return Ok(());
    }
    mkdirat(&layers.upper, "etc", Mode::from_raw_mode(0o755))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(&layers.upper, "etc", flags, Mode::empty())?;
    symlinkat("/proc/mounts", &folder, "mtab")?;
    mark(&folder)?;
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

fn mark(folder: impl std::os::fd::AsFd) -> Result<()> {
    let made = statat(&folder, "mtab", AtFlags::SYMLINK_NOFOLLOW)?;
    let time = |seconds| Timespec {
        tv_sec: seconds,
        tv_nsec: MARK as _,
    };
    let times = Timestamps {
        last_access: time(made.st_atime),
        last_modification: time(made.st_mtime),
    };
    utimensat(folder, "mtab", &times, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether what is at `path` in a writable layer, and not in the layers below, is the link of [`make`].
pub(crate) fn is_link(path: &Path, stat: &Stat) -> bool {
    path == Path::new(MTAB)
        && FileType::from_raw_mode(stat.st_mode) == FileType::Symlink
        && i64::try_from(stat.st_mtime_nsec) == Ok(MARK)
}

/// The link of [`make`] in a writable layer, if it is still there.
pub(crate) fn link(rootfs: &Rootfs) -> Option<Stat> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = rustix::fs::open(&rootfs.upper, flags, Mode::empty()).ok()?;
    let folder = openat(upper, "etc", flags, Mode::empty()).ok()?;
    let stat = statat(folder, "mtab", AtFlags::SYMLINK_NOFOLLOW).ok()?;
    is_link(Path::new(MTAB), &stat).then_some(stat)
}

/// Bytes of what [`make`] has made: nothing that the container wrote.
pub(super) fn size(rootfs: &Rootfs) -> u64 {
    link(rootfs).map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_the_containers_own_is_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["lower/etc", "upper"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let rootfs = Rootfs {
            lowers: vec![at("lower")],
            upper: at("upper"),
            work: at("work"),
        };
        make(&rootfs).unwrap();
        let layers = Layers::open(&rootfs).unwrap();
        let shown = || {
            let stat = rustix::fs::lstat(at("upper/etc/mtab")).unwrap();
            !layers.is_scaffold(Path::new(MTAB), &stat)
        };
        assert!(!shown() && size(&rootfs) == 12);
        // `ln -sf /proc/mounts /etc/mtab`
        std::fs::remove_file(at("upper/etc/mtab")).unwrap();
        std::os::unix::fs::symlink("/proc/mounts", at("upper/etc/mtab")).unwrap();
        assert!(shown() && size(&rootfs) == 0);
    }
}
