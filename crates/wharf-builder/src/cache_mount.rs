//! `RUN --mount=type=cache`: folders that stay from build to build.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation};
use rustix::io::Errno;

use crate::BuildError;

/// The folder of a cache below `base`; with `locked` after everyone else, with `private` one that nobody else uses now.
/// A new one has the mode and the owner of `looks`, and what `fill` puts into it; it is there with all that, or not at all.
/// It is in use while the file lives. Blocks.
///
/// # Errors
/// If it cannot be made, or the sharing mode is none.
pub fn take(
    base: &Path,
    name: &str,
    sharing: &str,
    looks: (u32, (u32, u32)),
    fill: Fill<'_>,
) -> Result<(PathBuf, File), BuildError> {
    let failed = BuildError::io("open a cache mount");
    let looks = (looks, fill);
    let taken = match sharing {
        // Shared with others that mount it, not with a prune.
        "shared" => hold(&base.join(name), FlockOperation::LockShared, looks),
        "locked" => hold(&base.join(name), FlockOperation::LockExclusive, looks),
        "private" => (0u64..)
            .map(|number| {
                let cache = base.join(format!("{name}-{number}"));
                hold(&cache, FlockOperation::NonBlockingLockExclusive, looks)
            })
            .find(|held| !matches!(held, Err(error) if is_held(error)))
            .unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into())),
        other => {
            return Err(BuildError::Invalid(format!(
                "unsupported sharing value {other:?}"
            )));
        }
    };
    taken.map_err(failed)
}

/// Puts into the folder of a new cache what it begins with.
type Fill<'a> = &'a dyn Fn(&Path) -> io::Result<()>;
/// Mode and owner of a new cache, and what it begins with.
type New<'a> = ((u32, (u32, u32)), Fill<'a>);

/// Takes the cache `name` away, into `trash` on the same file system, unless somebody has it mounted; whether it is gone.
///
/// # Errors
/// The disk's.
pub fn remove(base: &Path, name: &str, trash: &Path) -> Result<bool, BuildError> {
    let failed = BuildError::io("remove a cache mount");
    let cache = base.join(name);
    // Held until it is out of the way: who waits for it finds that it has another one then.
    let lock = match hold_to_remove(&cache).map_err(&failed)? {
        Held::Here(lock) => lock,
        Held::Elsewhere => return Ok(false),
        // Who makes one of this name by now has another.
        Held::Gone => return Ok(true),
    };
    std::fs::rename(&cache, trash.join("cache")).map_err(failed)?;
    drop(lock);
    Ok(true)
}

/// Who has a cache that is to go.
enum Held {
    Here(File),
    Elsewhere,
    Gone,
}

/// Locks a cache that is to go, if nobody has it. One that lacks its lock, as nobody has mounted it yet or a kill came in between, gets one: else somebody could mount it meanwhile.
fn hold_to_remove(cache: &Path) -> io::Result<Held> {
    loop {
        let lock = match open_lock(cache) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Held::Gone),
            other => other?,
        };
        match lock_by(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if is_held(&error) => return Ok(Held::Elsewhere),
            other => other?,
        }
        // Else it is the lock of one that was removed, and another is in its place.
        if is_lock_of(&lock, cache)? {
            return Ok(Held::Here(lock));
        }
    }
}

const LOCK: &str = "lock";

fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn lock_by(lock: &File, operation: FlockOperation) -> io::Result<()> {
    Ok(rustix::fs::flock(lock, operation)?)
}

/// Makes a cache if it is not there, and locks it. What was removed between the one and the other is made again.
fn hold(cache: &Path, operation: FlockOperation, new: New<'_>) -> io::Result<(PathBuf, File)> {
    loop {
        let (folder, lock) = match make(cache, new) {
            // It was taken away in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !cache.exists() => continue,
            other => other?,
        };
        lock_by(&lock, operation)?;
        if is_lock_of(&lock, cache)? {
            return Ok((folder, lock));
        }
    }
}

/// The lock of a cache, made if it is not there. Its time says when somebody mounted the cache last, and stays.
fn open_lock(cache: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    options.open(cache.join(LOCK))
}

/// Whether the cache still has this lock: it may have been removed, and made again.
fn is_lock_of(lock: &File, cache: &Path) -> io::Result<bool> {
    let own = lock.metadata()?;
    match std::fs::metadata(cache.join(LOCK)) {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn make(cache: &Path, ((mode, (uid, gid)), fill): New<'_>) -> io::Result<(PathBuf, File)> {
    let folder = cache.join("data");
    std::fs::create_dir_all(cache.parent().unwrap_or(cache))?;
    if let Err(error) = std::fs::create_dir(cache)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    if !folder.try_exists()? {
        // Under another name first: who kills us leaves no half of one.
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(cache)?;
        std::os::unix::fs::chown(&new, Some(uid), Some(gid))?;
        fill(new.path())?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))?;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(CWD, new.path(), CWD, &folder, flags) {
            Ok(()) => drop(new.keep()),
            // Somebody else was first.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let lock = File::create(cache.join(LOCK))?;
    Ok((folder, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: (u32, (u32, u32)) = (0o700, (0, 0));

    fn empty(_: &Path) -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn a_cache_is_there_with_all_it_begins_with_or_not_at_all() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let half = |folder: &Path| {
            std::fs::write(folder.join("half"), "x")?;
            Err(io::Error::other("no more"))
        };
        assert!(take(dir.path(), "a", "shared", NEW, &half).is_err());
        assert!(!dir.path().join("a/data").exists());
        let whole = |folder: &Path| std::fs::write(folder.join("whole"), "x");
        let looks = (0o1750, (7, 8));
        let (folder, _lock) = take(dir.path(), "a", "shared", looks, &whole).unwrap();
        let names = std::fs::read_dir(&folder)
            .unwrap()
            .map(|one| one.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["whole"]);
        let stat = folder.metadata().unwrap();
        assert_eq!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid()),
            (0o1750, 7, 8)
        );
        // One that is there is not filled again, though it is empty.
        std::fs::remove_file(folder.join("whole")).unwrap();
        take(dir.path(), "a", "shared", looks, &whole).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }

    #[test]
    fn a_cache_that_is_mounted_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (base, trash) = (dir.path().join("base"), dir.path().join("trash"));
        std::fs::create_dir(&trash).unwrap();
        for sharing in ["shared", "locked"] {
            let (folder, lock) = take(&base, "a", sharing, NEW, &empty).unwrap();
            std::fs::write(folder.join("f"), "kept").unwrap();
            assert!(!remove(&base, "a", &trash).unwrap(), "{sharing}");
            assert_eq!(std::fs::read(folder.join("f")).unwrap(), b"kept");
            drop(lock);
        }
        assert!(remove(&base, "a", &trash).unwrap());
        assert!(!base.join("a").exists() && trash.join("cache/data/f").exists());
        assert!(remove(&base, "a", &trash).unwrap(), "it is gone already");
    }

    /// Whoever mounts it while it is removed has to wait: both hold the one lock.
    #[test]
    fn a_cache_without_a_lock_is_removed_under_one() {
        let dir = tempfile::tempdir().unwrap();
        let (base, trash) = (dir.path().join("base"), dir.path().join("trash"));
        std::fs::create_dir(&trash).unwrap();
        std::fs::create_dir_all(base.join("a/data")).unwrap();
        assert!(remove(&base, "a", &trash).unwrap());
        assert!(!base.join("a").exists() && trash.join("cache/lock").exists());
    }

    /// As above, with both at it: who was given a cache has the one that is there.
    #[test]
    fn what_is_mounted_while_caches_go_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        let (told, rounds) = std::sync::mpsc::channel::<String>();
        let remover = {
            let (base, trash) = (base.clone(), dir.path().to_owned());
            std::thread::spawn(move || {
                for name in rounds {
                    let trash = trash.join(format!("trash-{name}"));
                    std::fs::create_dir(&trash).unwrap();
                    remove(&base, &name, &trash).unwrap();
                }
            })
        };
        for round in 0..300 {
            let name = round.to_string();
            std::fs::create_dir_all(base.join(&name).join("data")).unwrap();
            told.send(name.clone()).unwrap();
            let (folder, lock) = take(&base, &name, "locked", NEW, &empty).unwrap();
            let cache = folder.parent().unwrap();
            assert!(is_lock_of(&lock, cache).unwrap(), "{round}");
        }
        drop(told);
        remover.join().unwrap();
    }

    /// Whoever has opened the lock of a cache that is removed then makes another one.
    #[test]
    fn who_waits_for_a_cache_that_is_removed_gets_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let (base, trash) = (dir.path().join("base"), dir.path().join("trash"));
        std::fs::create_dir(&trash).unwrap();
        let (folder, lock) = take(&base, "a", "locked", NEW, &empty).unwrap();
        std::fs::write(folder.join("f"), "old").unwrap();
        let (told, waits) = std::sync::mpsc::channel();
        let waiting = {
            let base = base.clone();
            std::thread::spawn(move || {
                told.send(rustix::thread::gettid()).unwrap();
                take(&base, "a", "locked", NEW, &empty).unwrap()
            })
        };
        let thread = waits.recv().unwrap().as_raw_nonzero();
        // It waits where it says that it does: in the kernel, for the lock.
        let stack = format!("/proc/self/task/{thread}/syscall");
        let flock = format!("{} ", libc_flock());
        while !std::fs::read_to_string(&stack).unwrap().starts_with(&flock) {
            std::thread::yield_now();
        }
        std::fs::rename(base.join("a"), trash.join("cache")).unwrap();
        drop(lock);
        let (folder, _lock) = waiting.join().unwrap();
        assert!(folder.exists() && !folder.join("f").exists());
    }

    /// The number of `flock(2)`.
    const fn libc_flock() -> u32 {
        if cfg!(target_arch = "x86_64") { 73 } else { 32 }
    }

    #[test]
    fn private_caches_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let name = |folder: &Path| folder.parent().unwrap().file_name().unwrap().to_owned();
        let (one, held) = take(dir.path(), "p", "private", NEW, &empty).unwrap();
        let (other, _also) = take(dir.path(), "p", "private", NEW, &empty).unwrap();
        assert_eq!((name(&one), name(&other)), ("p-0".into(), "p-1".into()));
        drop(held);
        let (again, _held) = take(dir.path(), "p", "private", NEW, &empty).unwrap();
        assert_eq!(again, one);
        assert!(take(dir.path(), "p", "other", NEW, &empty).is_err());
    }
}
