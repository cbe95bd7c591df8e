//! The mount API of Linux 5.2 and later: mounts are made detached, changed by descriptor and then attached.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree,
};
use rustix::process::fchdir;

use crate::process::{acting_as, namespace, on_a_thread, unshare};
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

/// `CLONE_FS` (`clone(2)`): a thread with a working folder of its own.
const OWN_FOLDER: u64 = 0x200;

/// Gives the overlay of the folders `lowers` (topmost first), and of an upper and a work folder if it is to be written to, as
/// a detached mount with the [`attr`] bits `attributes`.
///
/// # Errors
/// The kernel's. Before Linux 6.7 the names of all layers have to fit into 255 bytes; by descriptors, as they are given
/// then, that is some 80 layers.
pub fn layers(
    lowers: &[&Path],
    upper: Option<(&Path, &Path)>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    match one_by_one(lowers, upper, attributes) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => on_a_thread(|| {
            unshare(OWN_FOLDER)?;
            by_descriptors(lowers, upper, attributes)
        }),
        made => made,
    }
}

/// As [`layers`], for a process that has a single thread and may not have more: it changes its working folder for a moment.
///
/// # Errors
/// As [`layers`].
pub fn layers_without_threads(
    lowers: &[&Path],
    upper: Option<(&Path, &Path)>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    match one_by_one(lowers, upper, attributes) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            let own = folder(Path::new("."))?;
            let made = by_descriptors(lowers, upper, attributes);
            fchdir(&own)?;
            made
        }
        made => made,
    }
}

/// Each layer in a word of its own: neither a page's size nor a `:` in a path limits them (Linux 6.7).
fn one_by_one(
    lowers: &[&Path],
    upper: Option<(&Path, &Path)>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    let lowers = lowers.iter().map(|lower| ("lowerdir+", *lower));
    let upper = upper.map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
    let words = lowers.chain(upper.into_iter().flatten());
    let words: Vec<FsOption<'_>> = words
        .map(|(key, path)| Ok((key, Some(text(path)?))))
        .collect::<io::Result<_>>()?;
    filesystem("overlay", &words, attributes)
}

fn by_descriptors(
    lowers: &[&Path],
    upper: Option<(&Path, &Path)>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    let lowers: Vec<OwnedFd> = lowers
        .iter()
        .map(|path| folder(path))
        .collect::<io::Result<_>>()?;
    let upper = upper.map(|(upper, work)| Ok::<_, io::Error>((folder(upper)?, folder(work)?)));
    let upper = upper.transpose()?;
    by_numbers(
        &lowers,
        upper.as_ref().map(|(upper, work)| (upper, work)),
        attributes,
    )
}

/// The layers are named by the numbers of their descriptors, in the folder that has those as names. The caller has a working
/// folder of its own, which this changes.
fn by_numbers(
    lowers: &[OwnedFd],
    upper: Option<(&OwnedFd, &OwnedFd)>,
    attributes: u64,
) -> io::Result<OwnedFd> {
    let number = |layer: &OwnedFd| layer.as_raw_fd().to_string();
    let joined = lowers.iter().map(number).collect::<Vec<_>>().join(":");
    if joined.len() > LONGEST_VALUE {
        let count = lowers.len();
        return Err(io::Error::other(format!(
            "{count} layers are too many before Linux 6.7"
        )));
    }
    let upper = upper.map(|(upper, work)| (number(upper), number(work)));
    let mut words: Vec<FsOption<'_>> = vec![("lowerdir", Some(joined.as_str()))];
    if let Some((upper, work)) = &upper {
        words.extend([
            ("upperdir", Some(upper.as_str())),
            ("workdir", Some(work.as_str())),
        ]);
    }
    rustix::process::chdir("/proc/thread-self/fd")?;
    filesystem("overlay", &words, attributes)
}

/// `fsconfig(2)` takes no value of more bytes.
const LONGEST_VALUE: usize = 255;

fn folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn text(path: &Path) -> io::Result<&str> {
    let refused = || io::Error::other(format!("{} is not UTF-8", path.display()));
    path.to_str().ok_or_else(refused)
}

/// The overlay of folders by descriptor, of mounts with mapped owners or not, which may be attached nowhere (Linux 6.13).
fn overlay(lowers: &[OwnedFd], upper: Option<(&OwnedFd, &OwnedFd)>) -> io::Result<OwnedFd> {
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
    let bound = bind_path(text(folder)?, false)?;
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

/// As [`layers`], of folders that all are mapped by `user`, as by [`mapped`]; `root` are the ids of its root. Upper and work
/// folder are neighbours.
///
/// # Errors
/// The kernel's; it wants Linux 5.19.
pub fn mapped_overlay(
    lowers: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    user: BorrowedFd<'_>,
    root: (u32, u32),
) -> io::Result<OwnedFd> {
    let made = Mapped::of(lowers, upper, user)?;
    // Overlay makes files of its own as whoever mounts it, and only who has an id there can make any.
    let at_once = acting_as(root.0, root.1, || {
        let upper = made.upper()?;
        overlay(
            &made.lowers,
            upper.as_ref().map(|(upper, work)| (upper, work)),
        )
    });
    // Before Linux 6.13: EBADF, as `fsconfig` takes no `O_PATH` descriptors, or EINVAL, as overlay takes none at all.
    let is_old = |error: &io::Error| {
        let takes_none = error.kind() == io::ErrorKind::InvalidInput;
        takes_none || Errno::from_io_error(error) == Some(Errno::BADF)
    };
    match at_once {
        Err(error) if is_old(&error) => on_a_thread(|| made.attached(lowers, root)),
        made => made,
    }
}

/// Layers as mounts with mapped owners.
struct Mapped<'a> {
    lowers: Vec<OwnedFd>,
    /// The folder that upper and work folder are in, as both must be of one mount; and their names below it.
    upper: Option<(Root, &'a Path, &'a Path)>,
}

impl<'a> Mapped<'a> {
    fn of(
        lowers: &[PathBuf],
        upper: Option<(&'a Path, &'a Path)>,
        user: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let lowers = lowers.iter().map(|lower| mapped(lower, user));
        let lowers = lowers.collect::<io::Result<_>>()?;
        let upper = upper.map(|(upper, work)| {
            let both = upper.parent().filter(|parent| work.starts_with(parent));
            let apart = || io::Error::other("upper and work folders are not neighbours");
            let both = both.ok_or_else(apart)?;
            let below = |path: &'a Path| path.strip_prefix(both).unwrap_or(path);
            let folders = Root::from_fd(mapped(both, user)?);
            Ok::<_, io::Error>((folders, below(upper), below(work)))
        });
        let upper = upper.transpose()?;
        Ok(Self { lowers, upper })
    }

    fn upper(&self) -> io::Result<Option<(OwnedFd, OwnedFd)>> {
        let Some((folders, upper, work)) = &self.upper else {
            return Ok(None);
        };
        Ok(Some((folders.find(upper)?, folders.find(work)?)))
    }

    /// Before Linux 6.13 layers must be attached where the overlay is mounted. So they are, in a mount namespace of this
    /// thread's own, which ends with it; the overlay holds them. Their place is a tmpfs over one of the folders.
    fn attached(&self, names: &[PathBuf], root: (u32, u32)) -> io::Result<OwnedFd> {
        unshare(namespace::MOUNT)?;
        let private = Change {
            propagation: Some(Propagation::Private),
            recursive: true,
            ..Change::default()
        };
        change_path("/", private)?;
        let cover = names.first().map_or(Path::new("/"), PathBuf::as_path);
        let place = filesystem("tmpfs", &[], 0)?;
        attach(&place, folder(cover)?)?;
        let folders = self.upper.iter().map(|(folders, ..)| folders.as_fd());
        let mounts = self.lowers.iter().map(|lower| lower.as_fd()).chain(folders);
        for (number, mounted) in mounts.enumerate() {
            let name = number.to_string();
            rustix::fs::mkdirat(&place, &name, Mode::RWXU)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            attach(
                mounted,
                rustix::fs::openat(&place, &name, flags, Mode::empty())?,
            )?;
        }
        acting_as(root.0, root.1, || {
            let upper = self.upper()?;
            by_numbers(
                &self.lowers,
                upper.as_ref().map(|(upper, work)| (upper, work)),
                0,
            )
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders `0` to `count`, each with a file of its name and one that all have; and an upper and a work folder.
    fn folders(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
        let base = tempfile::tempdir().expect("a folder");
        let path = |number: usize| base.path().join(format!("a-long:name-of-layer-{number}"));
        for number in 0..count {
            std::fs::create_dir(path(number)).expect("a layer");
            std::fs::write(path(number).join(number.to_string()), "").expect("a file");
            std::fs::write(path(number).join("all"), number.to_string()).expect("a file");
        }
        for name in ["upper", "work"] {
            std::fs::create_dir(base.path().join(name)).expect(name);
        }
        let all = (0..count).map(path).collect();
        (base, all)
    }

    fn check(tree: OwnedFd, count: usize) {
        use std::io::Read as _;
        let root = Root::from_fd(tree);
        let open = |name: &str| root.open_at(Path::new(name), OFlags::RDONLY, Mode::empty());
        let mut all = String::new();
        let mut file = std::fs::File::from(open("all").expect("all"));
        file.read_to_string(&mut all).expect("read");
        assert_eq!(all, "0", "the topmost layer counts");
        for number in 0..count {
            open(&number.to_string()).expect("a file of a layer");
        }
    }

    #[test]
    fn layers_by_name_and_as_older_kernels_want_them() {
        const COUNT: usize = 40;
        let (base, lowers) = folders(COUNT);
        let lowers: Vec<&Path> = lowers.iter().map(PathBuf::as_path).collect();
        let (upper, work) = (base.path().join("upper"), base.path().join("work"));
        let upper = Some((upper.as_path(), work.as_path()));
        check(layers(&lowers, upper, 0).expect("by name"), COUNT);
        let before = std::env::current_dir().expect("a folder");
        let old = on_a_thread(|| {
            unshare(OWN_FOLDER)?;
            by_descriptors(&lowers, upper, 0)
        });
        check(old.expect("by number"), COUNT);
        let read_only = on_a_thread(|| {
            unshare(OWN_FOLDER)?;
            by_descriptors(&lowers, None, attr::RDONLY)
        });
        check(read_only.expect("read-only"), COUNT);
        assert_eq!(std::env::current_dir().expect("a folder"), before);
    }

    /// A user namespace whose ids begin at 100,000 outside. By a program, as a process with threads makes none.
    fn user_namespace() -> OwnedFd {
        use std::io::Read as _;
        use std::process::{Command, Stdio};
        let mut child = Command::new("unshare")
            .args(["--user", "sh", "-c", "echo; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut said = child.stdout.take().expect("its output");
        said.read_exact(&mut [0; 1])
            .expect("a word once it is inside");
        let of = |file: &str| format!("/proc/{}/{file}", child.id());
        for file in ["uid_map", "gid_map"] {
            std::fs::write(of(file), "0 100000 65536").expect(file);
        }
        let made = std::fs::File::open(of("ns/user")).expect("a namespace");
        drop(child.stdin.take());
        child.wait().expect("its end");
        made.into()
    }

    #[test]
    fn mapped_layers_at_once_and_as_older_kernels_want_them() {
        use std::os::unix::fs::MetadataExt as _;
        const COUNT: usize = 5;
        let (base, lowers) = folders(COUNT);
        let (upper, work) = (base.path().join("upper"), base.path().join("work"));
        let upper = Some((upper.as_path(), work.as_path()));
        let (user, root) = (user_namespace(), (100_000, 100_000));
        let before = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let at_once = mapped_overlay(&lowers, upper, user.as_fd(), root).expect("at once");
        let made = Mapped::of(&lowers, upper, user.as_fd()).expect("layers");
        drop(at_once);
        let old = on_a_thread(|| made.attached(&lowers, root)).expect("attached");
        let tree = Root::from_fd(old.try_clone().expect("a descriptor"));
        let new = acting_as(root.0, root.1, || {
            let flags = OFlags::WRONLY | OFlags::CREATE;
            tree.open_at(Path::new("new"), flags, Mode::RUSR)
        });
        let new = std::fs::File::from(new.expect("write"));
        assert_eq!(new.metadata().expect("stat").uid(), 100_000);
        // What is on disk is the container's.
        let on_disk = std::fs::metadata(base.path().join("upper/new")).expect("stat");
        assert_eq!(on_disk.uid(), 0);
        check(old, COUNT);
        let after = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert_eq!(after, before, "nothing is seen outside");
    }
}
