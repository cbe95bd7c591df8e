//! The mount API by descriptor (fsopen(2), open_tree(2), move_mount(2), mount_setattr(2)).
//!
//! Everything here works on descriptors: a mount is made detached, gets its attributes, and is attached to a
//! target that was opened and verified before. No path is looked up twice.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::{Errno, Result};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    move_mount, open_tree,
};

use crate::process::check;

/// Attributes of a mount (mount_setattr(2)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear.
    pub clear: u64,
    /// Propagation to change to (`MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`, `MS_UNBINDABLE`), or 0.
    pub propagation: u64,
}

impl Attributes {
    /// `MOUNT_ATTR_RDONLY`
    pub const RDONLY: u64 = 0x1;
    /// `MOUNT_ATTR_NOSUID`
    pub const NOSUID: u64 = 0x2;
    /// `MOUNT_ATTR_NODEV`
    pub const NODEV: u64 = 0x4;
    /// `MOUNT_ATTR_NOEXEC`
    pub const NOEXEC: u64 = 0x8;
    /// `MOUNT_ATTR__ATIME`, the mask that must be cleared to choose one of the next.
    pub const ATIME: u64 = 0x70;
    /// `MOUNT_ATTR_NOATIME`
    pub const NOATIME: u64 = 0x10;
    /// `MOUNT_ATTR_STRICTATIME`
    pub const STRICTATIME: u64 = 0x20;
    /// `MOUNT_ATTR_NODIRATIME`
    pub const NODIRATIME: u64 = 0x80;
    /// `MOUNT_ATTR_NOSYMFOLLOW`
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
    /// `MS_UNBINDABLE`
    pub const UNBINDABLE: u64 = libc::MS_UNBINDABLE;
    /// `MS_PRIVATE`
    pub const PRIVATE: u64 = libc::MS_PRIVATE;
    /// `MS_SLAVE`
    pub const SLAVE: u64 = libc::MS_SLAVE;
    /// `MS_SHARED`
    pub const SHARED: u64 = libc::MS_SHARED;

    /// Only read-only set.
    pub fn read_only() -> Self {
        Self {
            set: Self::RDONLY,
            ..Self::default()
        }
    }

    /// Only the propagation changed.
    pub fn propagation(propagation: u64) -> Self {
        Self {
            propagation,
            ..Self::default()
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes the attributes of the mount whose root `mount` is; of all below it too when `recursive`.
///
/// # Errors
/// As mount_setattr(2): `EINVAL` if `mount` is not the root of a mount.
pub fn set_attributes(mount: impl AsFd, attributes: Attributes, recursive: bool) -> Result<()> {
    if attributes.is_empty() {
        return Ok(());
    }
    let attr = libc::mount_attr {
        attr_set: attributes.set,
        attr_clr: attributes.clear,
        propagation: attributes.propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, `attr` lives through the call and its true size is given.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(&attr),
            size_of::<libc::mount_attr>(),
        )
    })
}

/// One option of a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsOption {
    /// A word without a value (`ro`, `newinstance`).
    Flag(String),
    /// `key=value`.
    Value(String, String),
}

impl FsOption {
    /// Reads `key` or `key=value`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => Self::Value(key.to_owned(), value.to_owned()),
            None => Self::Flag(text.to_owned()),
        }
    }
}

/// The kernel's own limit of a string in fsconfig(2), with its final NUL.
const STRING_LIMIT: usize = 256;

/// Makes a detached mount of a new file system `kind`; `attributes` are `MOUNT_ATTR_*` of [`Attributes`].
///
/// # Errors
/// `ENODEV` if the kernel does not know the kind; `EINVAL` for an option it does not know.
pub fn new(kind: &str, options: &[FsOption], attributes: u64) -> Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for option in options {
        match option {
            FsOption::Flag(key) => fsconfig_set_flag(&context, key.as_str())?,
            FsOption::Value(key, value) => {
                fsconfig_set_string(&context, key.as_str(), value.as_str())?;
            }
        }
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::from_bits_retain(attributes as u32),
    )
}

/// Makes a detached overlay mount. `lowers`: the topmost first. Without `upper` and `work` it is read-only.
///
/// # Errors
/// `EINVAL` before Linux 6.5, which cannot take layers one by one; fall back on [`overlay_data`] then.
pub fn new_overlay(
    lowers: &[impl AsRef<Path>],
    writable: Option<(&Path, &Path)>,
) -> Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for lower in lowers {
        set_layer(&context, "lowerdir+", lower.as_ref())?;
    }
    if let Some((upper, work)) = writable {
        set_layer(&context, "upperdir", upper)?;
        set_layer(&context, "workdir", work)?;
        // As Docker: an index would refuse layers that were moved; a kernel without the option needs no `off`.
        let _ = fsconfig_set_string(&context, "index", "off");
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )
}

fn set_layer(context: &OwnedFd, key: &str, path: &Path) -> Result<()> {
    if path.as_os_str().len() < STRING_LIMIT {
        return fsconfig_set_string(context, key, path);
    }
    // Longer paths go by descriptor, which Linux takes from 6.13 on.
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    let layer = rustix::fs::open(path, flags | rustix::fs::OFlags::CLOEXEC, 0.into())?;
    fsconfig_set_fd(context, key, layer)
}

/// The option string of mount(2) for the same overlay as [`new_overlay`].
pub fn overlay_data(lowers: &[impl AsRef<Path>], writable: Option<(&Path, &Path)>) -> String {
    // A colon parts the layers, a comma the options, a backslash escapes both.
    let escape = |path: &Path| {
        let text = path.to_string_lossy().replace('\\', "\\\\");
        text.replace(':', "\\:").replace(',', "\\,")
    };
    let lowers: Vec<String> = lowers.iter().map(|path| escape(path.as_ref())).collect();
    let mut data = format!("lowerdir={}", lowers.join(":"));
    if let Some((upper, work)) = writable {
        data.push_str(&format!(
            ",upperdir={},workdir={}",
            escape(upper),
            escape(work)
        ));
    }
    data
}

/// A detached copy of the mount at `source`, beginning at exactly that folder or file (a bind mount not yet
/// attached). `recursive` takes the mounts below along.
///
/// # Errors
/// As open_tree(2).
pub fn clone_path(source: &Path, recursive: bool) -> Result<OwnedFd> {
    open_tree(CWD, source, clone_flags(recursive))
}

/// As [`clone_path`], of what an open descriptor shows.
///
/// # Errors
/// As open_tree(2): `EINVAL` if the descriptor belongs to a mount outside the caller's mount namespace.
pub fn clone_fd(source: impl AsFd, recursive: bool) -> Result<OwnedFd> {
    open_tree(
        source,
        "",
        clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH,
    )
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags | OpenTreeFlags::AT_RECURSIVE
    } else {
        flags
    }
}

/// Attaches the detached `mount` on top of what `target` shows. `mount` goes on to name the mount's root.
///
/// # Errors
/// `ENOTDIR` if one is a folder and the other not; else as move_mount(2).
pub fn attach(mount: impl AsFd, target: impl AsFd) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", target, "", flags)
}

/// Makes `new_root` (a folder that is the root of a mount) the root of the mount namespace and lets go of all
/// that was there before, as runc does it: both names are `.`, so that nothing needs a folder to be put in.
///
/// # Errors
/// As pivot_root(2).
pub fn pivot(new_root: impl AsFd) -> Result<()> {
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, 0.into())?;
    rustix::process::fchdir(&new_root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::process::fchdir(&old)?;
    // Nothing that is unmounted here may be unmounted on the host.
    set_attributes(&old, Attributes::propagation(Attributes::SLAVE), true)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")
}

/// Whether `fd` is on a file system with this magic number (statfs(2)).
///
/// # Errors
/// As fstatfs(2).
pub fn is_on(fd: impl AsFd, magic: u64) -> Result<bool> {
    Ok(rustix::fs::fstatfs(fd)?.f_type as u64 == magic)
}

/// `PROC_SUPER_MAGIC`
pub const PROC_MAGIC: u64 = libc::PROC_SUPER_MAGIC as u64;
/// `DEVPTS_SUPER_MAGIC`
pub const DEVPTS_MAGIC: u64 = 0x1cd1;
/// `CGROUP2_SUPER_MAGIC`
pub const CGROUP2_MAGIC: u64 = libc::CGROUP2_SUPER_MAGIC as u64;

/// Opens `/dev/null` for binding and makes sure that it is the real one (character device 1:3).
///
/// # Errors
/// `ENODEV` if `null` is something else.
pub fn verify_null(null: impl AsFd) -> Result<()> {
    let stat = rustix::fs::fstat(null)?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    let real =
        kind == rustix::fs::FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
    if real { Ok(()) } else { Err(Errno::NODEV) }
}
