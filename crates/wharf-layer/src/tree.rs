//! The folder that is unpacked into: how a path becomes a folder's descriptor, and how a place is made free.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fchmod, fsetxattr, mkdirat,
    openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::at;
use crate::{LayerError, OVERLAY_OPAQUE};

/// More open folders than this are not worth their descriptors.
const CACHE: usize = 64;
/// Deepest tree that a member can replace.
const MAX_DEPTH: usize = 200;

/// What was in a place that had to be made free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Was {
    Nothing,
    /// Overlay's mark for something deleted.
    Whiteout,
    Other,
}

/// The root, and folders below it that were used lately.
pub(crate) struct Tree<'a> {
    root: BorrowedFd<'a>,
    /// Folder below the root that all paths begin at, as bytes without slashes at the ends.
    folder: Vec<u8>,
    /// By their cleaned path. Emptied when a folder or a link goes, as a path could then mean something else.
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    /// Folders that were made although no member named them.
    pub(crate) implied: u64,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: BorrowedFd<'a>, folder: Vec<u8>) -> Tree<'a> {
        Tree {
            root,
            folder,
            open: HashMap::new(),
            implied: 0,
        }
    }

    /// The folder `path` (cleaned), if there is one. Links in it are followed, but not out of the root.
    pub(crate) fn find(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        if let Some(dir) = self.open.get(path) {
            return Ok(Rc::clone(dir));
        }
        let name = match (&self.folder[..], path) {
            (b"", b"") => b".".to_vec(),
            (b"", path) => path.to_vec(),
            (folder, b"") => folder.to_vec(),
            (folder, path) => [folder, b"/", path].concat(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let dir = loop {
            match openat2(self.root, &name[..], flags, Mode::empty(), resolve) {
                // Something was renamed somewhere while the kernel looked; it asks to be asked again.
                Err(Errno::AGAIN) => {}
                other => break Rc::new(other?),
            }
        };
        self.remember(path, &dir);
        Ok(dir)
    }

    /// The folder `path` (cleaned), made with those above it where they are missing.
    pub(crate) fn find_or_make(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>, LayerError> {
        match self.find(path) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            other => return other.map_err(at("open folder", path)),
        }
        let mut dir = self.find(b"").map_err(at("open folder", b"."))?;
        let mut done = 0;
        while done < path.len() {
            let from = if done == 0 { 0 } else { done + 1 };
            let to = path[from..]
                .iter()
                .position(|byte| *byte == b'/')
                .map_or(path.len(), |i| from + i);
            dir = match self.find(&path[..to]) {
                Err(Errno::NOENT | Errno::NOTDIR) => {
                    self.implied += 1;
                    self.make(&dir, &path[from..to])
                        .map_err(at("make folder", &path[..to]))?
                }
                other => other.map_err(at("open folder", &path[..to]))?,
            };
            done = to;
        }
        Ok(dir)
    }

    /// A folder that no member described; a whiteout in its place becomes an opaque folder. It is root's, with mode 0755 and
    /// nothing else, whatever a lower layer has there: so does dockerd with overlay2 (moby `pkg/archive`,
    /// `ImpliedDirectoryMode`; seen with 26.1: `n/untouched` in the conformance suite's `trees/golden.txt`), and
    /// the same image has the same root with both. containerd takes them from below.
    fn make(&mut self, parent: &OwnedFd, name: &[u8]) -> Result<Rc<OwnedFd>, Errno> {
        let was_whiteout = match mkdirat(parent, name, Mode::RWXU) {
            Err(Errno::EXIST) if is_whiteout(parent, name)? => {
                unlinkat(parent, name, AtFlags::empty())?;
                mkdirat(parent, name, Mode::RWXU)?;
                true
            }
            // A file or a link that leads nowhere.
            Err(Errno::EXIST) => return Err(Errno::NOTDIR),
            other => {
                other?;
                false
            }
        };
        let dir = open_dir(parent, name)?;
        fchmod(&dir, Mode::from_raw_mode(0o755))?;
        if was_whiteout {
            set_opaque(&dir)?;
        }
        Ok(Rc::new(dir))
    }

    /// Keeps an open folder for later use.
    pub(crate) fn remember(&mut self, path: &[u8], dir: &Rc<OwnedFd>) {
        if self.open.len() >= CACHE {
            self.open.clear();
        }
        self.open.insert(path.to_vec(), Rc::clone(dir));
    }

    /// Deletes what is at `name` in `parent`, a whole tree if need be. Links are deleted, not followed.
    pub(crate) fn make_free(&mut self, parent: BorrowedFd<'_>, name: &[u8]) -> Result<Was, Errno> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Was::Nothing),
            other => other?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                self.open.clear();
                remove_tree(parent, name, 0)?;
                Ok(Was::Other)
            }
            kind => {
                if kind == FileType::Symlink {
                    self.open.clear();
                }
                unlinkat(parent, name, AtFlags::empty())?;
                let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
                Ok(if whiteout { Was::Whiteout } else { Was::Other })
            }
        }
    }
}

/// Opens the folder `name` in `parent`; not through a link.
pub(crate) fn open_dir(parent: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Marks a folder as hiding everything that lower layers have in its place.
pub(crate) fn set_opaque(dir: impl AsFd) -> Result<(), Errno> {
    fsetxattr(dir, OVERLAY_OPAQUE, b"y", XattrFlags::empty())
}

/// Whether `name` is overlay's mark for something deleted.
pub(crate) fn is_whiteout(parent: impl AsFd, name: &[u8]) -> Result<bool, Errno> {
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
}

fn remove_tree(parent: BorrowedFd<'_>, name: &[u8], depth: usize) -> Result<(), Errno> {
    if depth > MAX_DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let dir = open_dir(parent, name)?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let child = entry.file_name().to_bytes();
        match (child, entry.file_type()) {
            (b"." | b"..", _) => {}
            (_, FileType::Directory) => remove_tree(dir.as_fd(), child, depth + 1)?,
            _ => unlinkat(&dir, child, AtFlags::empty())?,
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}
