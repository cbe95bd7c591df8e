//! Deleting what somebody else made, however it is made.
//!
//! A container can nest folders deeper than a process has stack and descriptors, mark files immutable, and leave what
//! cannot be deleted at all. None of it may take the process down, or keep the rest from being deleted.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Dir, FileType, IFlags, Mode, OFlags, ResolveFlags, ioctl_getflags, ioctl_setflags,
    openat2, renameat, unlinkat,
};
use rustix::io::Errno;

/// Below this many levels a folder is moved up, and deleted in a round of its own.
const MAX_DEPTH: usize = 100;

/// What keeps a file from being deleted (`chattr(1)`).
const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

/// Makes the names of what is moved up.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Deletes `name` in `trash`, a folder of the caller's own, whatever it is: with what is below it, and without following
/// links or entering mounts. What can be deleted is, though something else cannot. Folders that are nested deeper than
/// 100 levels are moved into `trash` meanwhile, as `.deep-…`; after a kill they are found there.
///
/// # Errors
/// The system's first; `NotFound` if there is no `name`. What could not be deleted stays.
pub fn remove(trash: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut sweep = Sweep::into(trash);
    let removed = sweep.remove(trash, name, 0);
    sweep.finish();
    // A folder that could not be emptied cannot be deleted; why it could not is the reason.
    match sweep.refused {
        Some(error) => Err(error.into()),
        None => Ok(removed?),
    }
}

/// As [`remove`], without a trash: folders that are nested deep are moved into `path` itself, so that after a kill all that is left
/// has its name.
///
/// # Errors
/// Those of [`remove`]; `InvalidInput` for a path without a name.
pub fn remove_tree(path: &std::path::Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = match parent.as_os_str().is_empty() {
        true => std::path::Path::new("."),
        false => parent,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty())?;
    if let Ok(folder) = open(parent.as_fd(), name, OFlags::DIRECTORY) {
        let mut sweep = Sweep::into(folder.as_fd());
        // What this could not delete, the following cannot either, and says so.
        let _ = sweep.empty(folder.as_fd(), 0);
        sweep.finish();
    }
    remove(parent.as_fd(), name)
}

/// Sees to it that one thread at a time empties a trash, and that it looks again for what is thrown away meanwhile.
#[derive(Debug, Default)]
pub struct Sweeper(AtomicU8);

/// Nobody sweeps.
const IDLE: u8 = 0;
/// Somebody does, and knows of all that was thrown away.
const SWEEPS: u8 = 1;
/// Somebody does, and has to do so again.
const AGAIN: u8 = 2;

impl Sweeper {
    /// Something was thrown away. Whether it is the caller who sees to it that a thread does [`Sweeper::run`], or says
    /// [`Sweeper::give_up`].
    pub fn ask(&self) -> bool {
        self.0.swap(AGAIN, Ordering::AcqRel) == IDLE
    }

    /// Sweeps until nothing was thrown away since the last sweep began. After a panic, whoever asks next sweeps.
    pub fn run(&self, mut sweep: impl FnMut()) {
        let panicked = GiveUp(self);
        loop {
            // Whatever was thrown away before an `ask` that this takes note of is seen by this sweep.
            self.0.swap(SWEEPS, Ordering::AcqRel);
            sweep();
            let done = self
                .0
                .compare_exchange(SWEEPS, IDLE, Ordering::AcqRel, Ordering::Acquire);
            if done.is_ok() {
                // Somebody else may sweep by now.
                std::mem::forget(panicked);
                return;
            }
        }
    }

    /// Nobody sweeps, as there is no thread to be had: whoever asks next does.
    pub fn give_up(&self) {
        self.0.store(IDLE, Ordering::Release);
    }
}

/// Gives up when it is dropped.
struct GiveUp<'a>(&'a Sweeper);

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

struct Sweep<'a> {
    top: BorrowedFd<'a>,
    /// What is still to be deleted, by its name in `top`.
    moved: Vec<String>,
    /// The first error below a folder.
    refused: Option<Errno>,
}

impl<'a> Sweep<'a> {
    fn into(top: BorrowedFd<'a>) -> Self {
        Self {
            top,
            moved: Vec::new(),
            refused: None,
        }
    }

    /// Deletes what was moved up.
    fn finish(&mut self) {
        while let Some(name) = self.moved.pop() {
            match self.remove(self.top, name.as_ref(), 0) {
                // Somebody else empties this trash, too.
                Err(Errno::NOENT) | Ok(()) => {}
                Err(error) => self.note(error),
            }
        }
    }

    fn note(&mut self, error: Errno) {
        self.refused.get_or_insert(error);
    }

    fn remove(&mut self, parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> Result<(), Errno> {
        match unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            // Linux looks at the marks before it looks for a folder.
            Err(Errno::PERM) => {
                unlock(parent, name);
                match unlinkat(parent, name, AtFlags::empty()) {
                    Err(Errno::ISDIR) => {}
                    other => return other,
                }
            }
            other => return other,
        }
        if depth > MAX_DEPTH {
            return self.move_up(parent, name);
        }
        let folder = open(parent, name, OFlags::DIRECTORY)?;
        self.empty(folder.as_fd(), depth)?;
        unlinkat(parent, name, AtFlags::REMOVEDIR)
    }

    /// Deletes what is in `folder`. What cannot be deleted is noted: the folder's own removal fails then.
    fn empty(&mut self, folder: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let child = entry.file_name();
            if matches!(child.to_bytes(), b"." | b"..") {
                continue;
            }
            match self.remove(folder, OsStr::from_bytes(child.to_bytes()), depth + 1) {
                Err(Errno::NOENT) | Ok(()) => {}
                Err(error) => self.note(error),
            }
        }
        Ok(())
    }

    fn move_up(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let fresh = format!(".deep-{number}");
            match renameat(parent, name, self.top, &fresh) {
                // An earlier process left it. At most an empty folder is replaced.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Ok(()) => {
                    self.moved.push(fresh);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes the marks off a file or a folder, and off the folder it is in. Who may not learns it from the next attempt.
fn unlock(parent: BorrowedFd<'_>, name: &OsStr) {
    let _ = clear_locks(parent);
    let is_marked = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        // Nothing else can have marks, and to open it could do something.
        let kind = FileType::from_raw_mode(stat.st_mode);
        matches!(kind, FileType::RegularFile | FileType::Directory)
    });
    if is_marked && let Ok(file) = open(parent, name, OFlags::NONBLOCK) {
        let _ = clear_locks(file.as_fd());
    }
}

fn clear_locks(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = ioctl_getflags(file)?;
    match flags.intersects(LOCKS) {
        true => ioctl_setflags(file, flags.difference(LOCKS)),
        false => Ok(()),
    }
}

fn open(parent: BorrowedFd<'_>, name: &OsStr, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | more;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    openat2(parent, name, flags, Mode::empty(), resolve)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;

    use super::*;

    fn nest(folder: &Path, levels: usize) {
        let mut at = OwnedFd::from(File::open(folder).unwrap());
        for _ in 0..levels {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = open(at.as_fd(), OsStr::new("d"), OFlags::DIRECTORY).unwrap();
        }
    }

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    /// Whoever is killed in the midst leaves what it moved where the next one looks.
    #[test]
    fn what_is_nested_deep_stays_within_its_tree() {
        let world = tempfile::tempdir().unwrap();
        let tree = world.path().join("tree");
        fs::create_dir(&tree).unwrap();
        nest(&tree, 3 * MAX_DEPTH);
        let folder = File::open(&tree).unwrap();
        let mut sweep = Sweep::into(folder.as_fd());
        sweep.empty(folder.as_fd(), 0).unwrap();
        assert_eq!(
            (sweep.moved.len(), count(&tree), count(world.path())),
            (1, 1, 1)
        );
        remove_tree(&tree).unwrap();
        assert_eq!(count(world.path()), 0);
    }

    #[test]
    fn whoever_sweeps_looks_again_for_what_came_meanwhile() {
        let sweeper = Sweeper::default();
        assert!(sweeper.ask());
        assert!(!sweeper.ask());
        let mut sweeps = 0;
        sweeper.run(|| {
            sweeps += 1;
            if sweeps < 4 {
                // Each of them comes when this sweep has seen all.
                assert!(!sweeper.ask());
            }
        });
        assert_eq!(sweeps, 4);
        assert!(sweeper.ask());
        sweeper.give_up();
        assert!(sweeper.ask());
    }

    #[test]
    fn after_a_panic_whoever_asks_next_sweeps() {
        let sweeper = Sweeper::default();
        assert!(sweeper.ask());
        let run = std::panic::AssertUnwindSafe(|| sweeper.run(|| panic!("oh")));
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(sweeper.ask());
    }

    #[test]
    fn deep_trees_go_and_what_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("keep"), "").unwrap();
        fs::create_dir(dir.path().join("one")).unwrap();
        // Of an earlier process.
        fs::create_dir_all(dir.path().join(".deep-0/full")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("one/link")).unwrap();
        nest(&dir.path().join("one"), 2_000);
        let top = File::open(dir.path()).unwrap();
        remove(top.as_fd(), OsStr::new("one")).unwrap();
        assert_eq!(count(dir.path()), 1);
        assert!(outside.path().join("keep").exists());
        let none = remove(top.as_fd(), OsStr::new("one")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn marks_are_taken_off() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("one/folder");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let mark = |path: &Path, flag| {
            let file = File::open(path).unwrap();
            let flags = ioctl_getflags(&file)?;
            ioctl_setflags(&file, flags | flag)
        };
        // Only root may, and not every file system can.
        if mark(&folder.join("file"), IFlags::IMMUTABLE).is_err() {
            return;
        }
        mark(&folder, IFlags::APPEND).unwrap();
        mark(&dir.path().join("one"), IFlags::IMMUTABLE).unwrap();
        let top = File::open(dir.path()).unwrap();
        remove(top.as_fd(), OsStr::new("one")).unwrap();
        assert_eq!(count(dir.path()), 0);
    }

    #[test]
    fn what_cannot_be_deleted_keeps_nothing_else_from_it() {
        let name = "trash::tests::what_cannot_be_deleted_keeps_nothing_else_from_it";
        if !wharf_testkit::own::in_own_mounts(name) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let held = dir.path().join("one/held");
        fs::create_dir_all(&held).unwrap();
        nest(&dir.path().join("one"), 300);
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &held, "tmpfs", flags, None).unwrap();
        let top = File::open(dir.path()).unwrap();
        let refused = remove(top.as_fd(), OsStr::new("one")).unwrap_err();
        // Why, not that its folder is not empty; and what was moved up from the depth is gone.
        assert_eq!(refused.kind(), io::ErrorKind::CrossesDevices);
        assert_eq!((count(dir.path()), count(&dir.path().join("one"))), (1, 1));
        rustix::mount::unmount(&held, rustix::mount::UnmountFlags::empty()).unwrap();
        remove(top.as_fd(), OsStr::new("one")).unwrap();
        assert_eq!(count(dir.path()), 0);
    }
}
