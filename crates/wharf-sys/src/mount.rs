//! The mount API of Linux 5.2 and later: mounts are made detached, changed by descriptor and then attached.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};

use crate::process::acting_as;
use crate::root::Root;

/// `MOUNT_ATTR_*` (`linux/mount.h`).
pub mod attr {
    /// Read-only.
    pub const RDONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NOSUID: u64 = 0x2;
    /// No devices.
    pub const NODEV: u64 = 0x4;
    /// No programs.
    pub const NOEXEC: u64 = 0x8;
    /// The bits of the access-time mode.
    pub const ATIME_MASK: u64 = 0x70;
    /// Access times as `relatime`.
    pub const RELATIME: u64 = 0x0;
    /// No access times.
    pub const NOATIME: u64 = 0x10;
    /// Every access time.
    pub const STRICTATIME: u64 = 0x20;
    /// No access times of directories.
    pub const NODIRATIME: u64 = 0x80;
    /// Mapped owners.
    pub const IDMAP: u64 = 0x10_0000;
    /// No symbolic links.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// Gives the overlay of `lowers` (topmost first), and of an upper and a work folder if it is to be written to, as a detached
/// mount; each is a folder by descriptor, of a mount with mapped owners or not (Linux 6.13).
///
/// # Errors
/// The kernel's.
pub fn overlay(lowers: &[OwnedFd], upper: Option<(&OwnedFd, &OwnedFd)>) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let configure = || -> rustix::io::Result<()> {
        for lower in lowers {
            fsconfig_set_fd(&context, "lowerdir+", lower)?;
        }
        if let Some((upper, work)) = upper {
            fsconfig_set_fd(&context, "upperdir", upper)?;
            fsconfig_set_fd(&context, "workdir", work)?;
        }
        fsconfig_create(&context)
    };
    configure().map_err(|error| with_words(&context, error.into()))?;
    let none = MountAttrFlags::empty();
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, none)
        .map_err(|error| with_words(&context, error.into()))
}

/// A detached mount of `folder` whose owners are mapped by the user namespace `user`: what is 0 on disk is its root's (Linux
/// 5.12). What is mounted below is left out.
///
/// # Errors
/// The kernel's: not all file systems can.
pub fn mapped(folder: &Path, user: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = folder
        .to_str()
        .ok_or_else(|| io::Error::other(format!("{} is not UTF-8", folder.display())))?;
    let bound = bind_path(path, false)?;
    map_owners(&bound, user, false)?;
    Ok(bound)
}

/// Maps the owners on a detached mount by the user namespace `user`.
///
/// # Errors
/// As [`mapped`].
pub fn map_owners(mounted: impl AsFd, user: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let map = Change {
        set: attr::IDMAP,
        user_namespace: Some(user),
        recursive,
        ..Change::default()
    };
    change(mounted, map)
}

/// As [`overlay`], of folders that all are mapped by `user`, as by [`mapped`]; `root` are the ids of its root. Upper and work
/// folder are neighbours.
///
/// # Errors
/// The kernel's.
pub fn mapped_overlay(
    lowers: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    user: BorrowedFd<'_>,
    root: (u32, u32),
) -> io::Result<OwnedFd> {
    let lowers: Vec<OwnedFd> = lowers
        .iter()
        .map(|lower| mapped(lower, user))
        .collect::<Result<_, _>>()?;
    let Some((upper, work)) = upper else {
        return overlay(&lowers, None);
    };
    // Both must be of one mount.
    let both = upper.parent().filter(|parent| work.starts_with(parent));
    let both = both.ok_or_else(|| io::Error::other("upper and work folders are not neighbours"))?;
    let folders = Root::from_fd(mapped(both, user)?);
    let below = |path: &Path| folders.find(path.strip_prefix(both).unwrap_or(path));
    let (upper, work) = (below(upper)?, below(work)?);
    // Overlay makes files of its own as whoever mounts it, and only who has an id there can make any.
    acting_as(root.0, root.1, || overlay(&lowers, Some((&upper, &work))))
}

/// How mounts below a mount spread (`mount(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Both ways.
    Shared,
    /// From the peers to here only.
    Slave,
    /// Not at all.
    Private,
    /// Not at all, and it cannot be bound.
    Unbindable,
}

impl Propagation {
    fn bits(self) -> u64 {
        match self {
            Self::Shared => libc::MS_SHARED,
            Self::Slave => libc::MS_SLAVE,
            Self::Private => libc::MS_PRIVATE,
            Self::Unbindable => libc::MS_UNBINDABLE,
        }
    }
}

/// An option of a filesystem: a flag, or a key with its value.
pub type FsOption<'a> = (&'a str, Option<&'a str>);

/// Makes a detached mount of a new filesystem of type `kind`. `attributes` are [`attr`] bits.
///
/// # Errors
/// The kernel's, with its own words where it has left some on the context (`fsopen(2)`).
pub fn filesystem(kind: &str, options: &[FsOption<'_>], attributes: u64) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let made = configure(&context, options);
    made.map_err(|error| with_words(&context, error.into()))?;
    let attributes = MountAttrFlags::from_bits_retain(attributes as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|error| with_words(&context, error.into()))
}

fn configure(context: &OwnedFd, options: &[FsOption<'_>]) -> rustix::io::Result<()> {
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(context, *key, *value)?,
            None => fsconfig_set_flag(context, *key)?,
        }
    }
    fsconfig_create(context)
}

/// A filesystem context keeps the kernel's explanations as lines `e message`.
fn with_words(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut words = String::new();
    let mut buffer = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        if let Some(said) = line.strip_prefix("e ") {
            words.push_str(said.trim_end());
        }
    }
    match words.is_empty() {
        true => error,
        false => io::Error::new(error.kind(), format!("{words}: {error}")),
    }
}

/// A detached copy of the mount that `path` beneath `dir` is on, from that path down.
///
/// # Errors
/// The kernel's.
pub fn bind(dir: impl AsFd, path: &str, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(dir, path, flags)?)
}

/// As [`bind`], of a path of this process's own.
///
/// # Errors
/// The kernel's.
pub fn bind_path(path: &str, recursive: bool) -> io::Result<OwnedFd> {
    bind(CWD, path, recursive)
}

/// Attaches the detached mount `mount` on what `target` (an `O_PATH` descriptor) stands for.
///
/// # Errors
/// The kernel's.
pub fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// `struct mount_attr` (Linux 5.12).
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// What is to change on a mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// [`attr`] bits that are set.
    pub set: u64,
    /// [`attr`] bits that are cleared.
    pub clear: u64,
    /// How mounts spread from now on.
    pub propagation: Option<Propagation>,
    /// The user namespace whose mapping the mount gets, with [`attr::IDMAP`].
    pub user_namespace: Option<BorrowedFd<'a>>,
    /// Everything mounted below it too.
    pub recursive: bool,
}

/// `mount_setattr(2)` on the mount that `mount` stands for.
///
/// # Errors
/// The kernel's.
pub fn change(mount: impl AsFd, change: Change<'_>) -> io::Result<()> {
    change_at(
        mount.as_fd().as_raw_fd(),
        c"",
        libc::AT_EMPTY_PATH as u32,
        change,
    )
}

/// `mount_setattr(2)` on the mount at `path` of this process.
///
/// # Errors
/// The kernel's.
pub fn change_path(path: &str, change: Change<'_>) -> io::Result<()> {
    let path = CString::new(path).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    change_at(libc::AT_FDCWD, &path, 0, change)
}

fn change_at(dir: i32, path: &std::ffi::CStr, flags: u32, change: Change<'_>) -> io::Result<()> {
    let mut attributes = MountAttr {
        set: change.set,
        clear: change.clear,
        propagation: change.propagation.map_or(0, Propagation::bits),
        user_namespace: 0,
    };
    if let Some(user_namespace) = change.user_namespace {
        attributes.user_namespace = user_namespace.as_raw_fd() as u64;
    }
    let recursive = if change.recursive {
        libc::AT_RECURSIVE as u32
    } else {
        0
    };
    // SAFETY: `path` is a C string, `attributes` a whole mount_attr; both live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags | recursive,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
