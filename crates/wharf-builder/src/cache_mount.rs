//! `RUN --mount=type=cache`: folders that stay from build to build.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::BuildError;

/// The folder of a cache below `base`; with `locked` after everyone else, with `private` one that nobody else uses now.
/// It is in use while the file lives. Blocks.
///
/// # Errors
/// If it cannot be made, or the sharing mode is none.
pub fn take(
    base: &Path,
    name: &str,
    sharing: &str,
    mode: u32,
    owner: (u32, u32),
) -> Result<(PathBuf, Option<File>), BuildError> {
    let failed = BuildError::io("open a cache mount");
    let looks = (mode, owner);
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
    let (folder, lock) = taken.map_err(failed)?;
    Ok((folder, Some(lock)))
}

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
fn hold(
    cache: &Path,
    operation: FlockOperation,
    looks: (u32, (u32, u32)),
) -> io::Result<(PathBuf, File)> {
    loop {
        let (folder, lock) = match make(cache, looks) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
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

fn make(cache: &Path, (mode, (uid, gid)): (u32, (u32, u32))) -> io::Result<(PathBuf, File)> {
    let folder = cache.join("data");
    std::fs::create_dir_all(cache)?;
    match std::fs::create_dir(&folder) {
        Ok(()) => {
            std::os::unix::fs::chown(&folder, Some(uid), Some(gid))?;
            std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let lock = File::create(cache.join(LOCK))?;
    Ok((folder, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (u32, u32) = (0, 0);

    #[test]
    fn a_cache_that_is_mounted_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (base, trash) = (dir.path().join("base"), dir.path().join("trash"));
        std::fs::create_dir(&trash).unwrap();
        for sharing in ["shared", "locked"] {
            let (folder, lock) = take(&base, "a", sharing, 0o700, ROOT).unwrap();
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
            let (folder, lock) = take(&base, &name, "locked", 0o700, ROOT).unwrap();
            let cache = folder.parent().unwrap();
            assert!(is_lock_of(&lock.unwrap(), cache).unwrap(), "{round}");
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
        let (folder, lock) = take(&base, "a", "locked", 0o700, ROOT).unwrap();
        std::fs::write(folder.join("f"), "old").unwrap();
        let (told, waits) = std::sync::mpsc::channel();
        let waiting = {
            let base = base.clone();
            std::thread::spawn(move || {
                told.send(rustix::thread::gettid()).unwrap();
                take(&base, "a", "locked", 0o700, ROOT).unwrap()
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
        let (one, held) = take(dir.path(), "p", "private", 0o700, ROOT).unwrap();
        let (other, _also) = take(dir.path(), "p", "private", 0o700, ROOT).unwrap();
        assert_eq!((name(&one), name(&other)), ("p-0".into(), "p-1".into()));
        drop(held);
        let (again, _held) = take(dir.path(), "p", "private", 0o700, ROOT).unwrap();
        assert_eq!(again, one);
        assert!(take(dir.path(), "p", "other", 0o700, ROOT).is_err());
    }
}
