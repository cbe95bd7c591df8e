//! `diff`: what a container has changed, read from its own layer (moby `pkg/archive/changes.go`).

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, openat, openat2, statat,
};
use rustix::io::Errno;
use wharf_snapshots::Rootfs;

use super::Containers;
use crate::EngineError;

/// How a path differs from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was changed; or something below it.
    Modified,
    /// It was added.
    Added,
    /// It was deleted.
    Deleted,
}

/// A path that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// In the container, absolute.
    pub path: PathBuf,
    /// How.
    pub kind: ChangeKind,
}

impl Containers {
    /// What differs from the image, in the order of paths, folders before what is in them.
    ///
    /// # Errors
    /// If its layer cannot be read.
    pub async fn changes(&self, container: &str) -> Result<Vec<FileChange>, EngineError> {
        let entry = self.find(container)?;
        let rootfs = self.shared.snapshots.rootfs(&entry.id);
        let rootfs = rootfs.map_err(|error| EngineError::failed(&error))?;
        let upper = rootfs.upper.clone();
        let walked = tokio::task::spawn_blocking(move || walk(&rootfs));
        let walked = walked.await.map_err(|error| EngineError::failed(&error))?;
        walked.map_err(|error| EngineError::io("read", &upper)(error.into()))
    }
}

fn walk(rootfs: &Rootfs) -> Result<Vec<FileChange>, Errno> {
    let layers = Layers::open(rootfs)?;
    let mut walker = Walker {
        layers: &layers,
        changes: Vec::new(),
        changed: HashSet::new(),
    };
    walker.walk()?;
    Ok(walker.changes)
}

/// The folders of a container's layers.
pub(crate) struct Layers {
    pub(crate) upper: OwnedFd,
    lowers: Vec<OwnedFd>,
}

impl Layers {
    pub(crate) fn open(rootfs: &Rootfs) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &PathBuf| rustix::fs::open(path, flags, Mode::empty());
        Ok(Self {
            upper: open(&rootfs.upper)?,
            lowers: rootfs.lowers.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// What the image has at `path`: the topmost layer that says anything of it.
    pub(crate) fn below(&self, path: &Path) -> Option<Stat> {
        let path = path.strip_prefix("/").unwrap_or(path);
        for lower in &self.lowers {
            match self.look(lower, path) {
                Look::Nothing => {}
                Look::Hidden => return None,
                Look::Found(stat) => return Some(*stat),
            }
        }
        None
    }

    /// Which of the lower layers what is at `path` is made of, the topmost first: all that have a part of a folder, or the
    /// one that has a file.
    pub(crate) fn made_of(&self, path: &Path) -> Vec<usize> {
        let path = path.strip_prefix("/").unwrap_or(path);
        if path.as_os_str().is_empty() {
            return (0..self.lowers.len()).collect();
        }
        let mut found = Vec::new();
        for (at, lower) in self.lowers.iter().enumerate() {
            match self.look(lower, path) {
                Look::Nothing => {}
                Look::Hidden => break,
                Look::Found(stat) => {
                    found.push(at);
                    let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                    if !is_folder || hides_below(lower, path) {
                        break;
                    }
                }
            }
        }
        found
    }

    /// Name by name, as a layer may hide a folder that a lower one has. No link is followed: what overlay
    /// shows at a path has no link above it.
    fn look(&self, layer: &OwnedFd, path: &Path) -> Look {
        let mut folder: Option<OwnedFd> = None;
        let mut opaque = false;
        let mut names = path.iter().peekable();
        let absent = |opaque| if opaque { Look::Hidden } else { Look::Nothing };
        while let Some(name) = names.next() {
            let at = folder.as_ref().unwrap_or(layer);
            let Ok(stat) = statat(at, name, AtFlags::SYMLINK_NOFOLLOW) else {
                return absent(opaque);
            };
            if is_whiteout(&stat) {
                return Look::Hidden;
            }
            if names.peek().is_none() {
                return Look::Found(Box::new(stat));
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match openat(at, name, flags, Mode::empty()) {
                Ok(next) => {
                    opaque |= is_opaque(&next);
                    folder = Some(next);
                }
                // A file hides what lower layers have below its name.
                Err(_) => return Look::Hidden,
            }
        }
        absent(opaque)
    }

    /// Whether nothing of it is the container's doing: a place that the runtime made, or a folder that only such places
    /// were made in.
    pub(crate) fn is_untouched(&self, path: &Path, stat: &Stat) -> bool {
        if self.is_scaffold(path, stat) {
            return true;
        }
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let parents = [Path::new("/etc"), Path::new("/dev")];
        if !is_folder || !parents.contains(&path) {
            return false;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = path.strip_prefix("/").unwrap_or(path);
        let dir = openat(&self.upper, name, flags, Mode::empty());
        dir.is_ok_and(|dir| self.only_scaffold(&dir, path).unwrap_or(false))
    }

    /// Whether the runtime made it, empty, to mount something on it, or we did when we made the container. Docker has
    /// these in a layer of its own below the container's.
    pub(crate) fn is_scaffold(&self, path: &Path, stat: &Stat) -> bool {
        const FOLDERS: &[&str] = &[
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/dev",
            "/proc",
            "/sys",
        ];
        const FILES: &[&str] = &[
            "/etc/hosts",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/dev/console",
            "/.dockerenv",
        ];
        let is = |list: &[&str]| list.iter().any(|one| path == Path::new(one));
        let known = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => is(FOLDERS),
            FileType::RegularFile => stat.st_size == 0 && is(FILES),
            FileType::Symlink => super::scaffold::is_link(path, stat),
            _ => false,
        };
        known && self.below(path).is_none()
    }

    /// Whether everything in the folder, and something, was made by the runtime; and its mode is the image's, if that has
    /// it.
    fn only_scaffold(&self, dir: &OwnedFd, path: &Path) -> Result<bool, Errno> {
        let mut some = false;
        for entry in Dir::read_from(dir)? {
            let name = entry?.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let path = path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            let stat = statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if !self.is_scaffold(&path, &stat) {
                return Ok(false);
            }
            some = true;
        }
        let now = rustix::fs::fstat(dir)?;
        let kept = match self.below(path) {
            Some(old) => {
                (old.st_mode, old.st_uid, old.st_gid) == (now.st_mode, now.st_uid, now.st_gid)
            }
            // An image that has next to nothing: we made it.
            None => path == Path::new("/etc"),
        };
        Ok(some && kept)
    }
}

enum Look {
    /// The layer says nothing of it.
    Nothing,
    /// The layer hides what lower ones have.
    Hidden,
    Found(Box<Stat>),
}

struct Walker<'a> {
    layers: &'a Layers,
    changes: Vec<FileChange>,
    /// Folders that are in `changes`.
    changed: HashSet<PathBuf>,
}

/// A folder that is being walked. It is opened anew whenever it is looked at: a container nests folders deeper than a process
/// has stack and descriptors.
struct Level {
    path: PathBuf,
    entries: std::vec::IntoIter<(PathBuf, Stat)>,
    /// How many changes there were before what is in it.
    before: usize,
    /// Whether it is among the changes itself.
    added: bool,
}

impl Walker<'_> {
    fn walk(&mut self) -> Result<(), Errno> {
        let mut levels = vec![self.level(PathBuf::from("/"), false)?];
        while let Some(level) = levels.last_mut() {
            if let Some((path, stat)) = level.entries.next() {
                levels.extend(self.entry(path, &stat)?);
            } else if let Some(done) = levels.pop()
                && done.added
            {
                self.leave(&done)?;
            }
        }
        Ok(())
    }

    /// A folder of the container's layer, without a link or a mount on the way. A path that no process could name is an error,
    /// as with Docker.
    fn open(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        let relative = match relative.as_os_str().is_empty() {
            true => Path::new("."),
            false => relative,
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.layers.upper, relative, flags, Mode::empty(), resolve)
    }

    fn level(&self, path: PathBuf, added: bool) -> Result<Level, Errno> {
        let dir = self.open(&path)?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&dir)? {
            let name = entry?.file_name().to_owned();
            if !matches!(name.as_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut entries = Vec::new();
        for name in names {
            match statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
                // A running container deletes while we look.
                Err(Errno::NOENT) => {}
                other => {
                    let path = path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
                    entries.push((path, other?));
                }
            }
        }
        Ok(Level {
            path,
            entries: entries.into_iter(),
            before: self.changes.len(),
            added,
        })
    }

    /// Gives what is to be walked next, if it is a folder.
    fn entry(&mut self, path: PathBuf, stat: &Stat) -> Result<Option<Level>, Errno> {
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let scaffold = self.layers.is_scaffold(&path, stat);
        let before = self.changes.len();
        if is_whiteout(stat) {
            self.add(&path, ChangeKind::Deleted);
        } else if !scaffold {
            match self.layers.below(&path) {
                None => self.add(&path, ChangeKind::Added),
                Some(old) if is_folder && same(&old, stat) => {}
                Some(_) => self.add(&path, ChangeKind::Modified),
            }
        }
        if !is_folder {
            return Ok(None);
        }
        let added = self.changes.len() > before;
        if added {
            self.changed.insert(path.clone());
        }
        match self.level(path, added) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            other => other.map(Some),
        }
    }

    /// A folder whose time alone differs, because the runtime made its places in it, has not changed.
    fn leave(&mut self, level: &Level) -> Result<(), Errno> {
        let is_told = self
            .changes
            .last()
            .is_some_and(|change| change.path == level.path && change.kind != ChangeKind::Deleted);
        let no_more = self.changes.len() == level.before;
        if !is_told || !no_more {
            return Ok(());
        }
        let only_scaffold = match self.open(&level.path) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => false,
            dir => self.layers.only_scaffold(&dir?, &level.path)?,
        };
        if only_scaffold {
            self.changes.pop();
            self.changed.remove(&level.path);
        }
        Ok(())
    }

    /// With a new or deleted path, the folder that it is in has changed.
    fn add(&mut self, path: &Path, kind: ChangeKind) {
        if kind != ChangeKind::Modified
            && let Some(parent) = path.parent().filter(|parent| *parent != Path::new("/"))
            && self.changed.insert(parent.to_owned())
        {
            self.changes.push(FileChange {
                path: parent.to_owned(),
                kind: ChangeKind::Modified,
            });
        }
        self.changes.push(FileChange {
            path: path.to_owned(),
            kind,
        });
    }
}

/// Overlay's mark for something deleted.
fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether a folder of the layer, or one above it, hides what lower layers have in its place.
fn hides_below(layer: &OwnedFd, path: &Path) -> bool {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut folder: Option<OwnedFd> = None;
    for name in path {
        let at = folder.as_ref().unwrap_or(layer);
        match openat(at, name, flags, Mode::empty()) {
            Ok(next) if is_opaque(&next) => return true,
            Ok(next) => folder = Some(next),
            Err(_) => return false,
        }
    }
    false
}

pub(crate) fn is_opaque(dir: impl AsFd) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::fgetxattr(dir, "trusted.overlay.opaque", &mut value[..])
        .is_ok_and(|size| size == 1 && value == *b"y")
}

/// A folder is in the container's layer as soon as anything below it is.
fn same(old: &Stat, new: &Stat) -> bool {
    let key = |stat: &Stat| {
        let time = (stat.st_mtime, stat.st_mtime_nsec);
        (stat.st_mode, stat.st_uid, stat.st_gid, time)
    };
    key(old) == key(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of folders in folders, as many as there are `levels`.
    fn nested(folder: &Path, levels: usize) -> Rootfs {
        let part = |name: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let rootfs = Rootfs {
            lowers: vec![part("lower")],
            upper: part("upper"),
            work: part("work"),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let mut at = rustix::fs::open(&rootfs.upper, flags, Mode::empty()).unwrap();
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = openat(&at, "d", flags, Mode::empty()).unwrap();
        }
        rootfs
    }

    /// With fewer descriptors than there are levels; and deeper than a path can be named.
    #[test]
    fn nested_without_end() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let folder = tempfile::tempdir().unwrap();
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit {
            current: Some(64),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let levels = 400;
        let found = walk(&nested(&folder.path().join("a"), levels)).unwrap();
        assert_eq!(found.len(), levels);
        assert!(found.iter().all(|change| change.kind == ChangeKind::Added));
        let found = walk(&nested(&folder.path().join("b"), 3_000));
        assert_eq!(found.unwrap_err(), Errno::NAMETOOLONG);
        setrlimit(Resource::Nofile, before).unwrap();
        for name in ["a", "b"] {
            wharf_sys::trash::remove_tree(&folder.path().join(name)).unwrap();
        }
    }
}
