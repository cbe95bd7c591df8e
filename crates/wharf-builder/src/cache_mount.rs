//! `RUN --mount=type=cache`: folders that stay from build to build.
//!
//! A cache is a folder with `data`, which is mounted, and `lock`, which whoever has it mounted holds: shared or alone, as
//! its sharing says, and alone to remove it. `data` is made under the lock, and where several hold it under `filling` too:
//! one fills, the others wait for it. It has another name until it is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use wharf_sys::trash::remove_tree;

use crate::{BuildError, Scratch};

/// Mode of a new cache, and its owner and group.
pub type CacheLooks = (u32, (u32, u32));

/// The folder of a cache below `base`; with `locked` after everyone else, with `private` one that nobody else uses now.
/// `begin` puts into the folder of a new one what it begins with, and says its mode and owner; it is there with all that, or
/// not at all. It is called once, whoever wants the cache at the same time: the others wait for it.
/// The cache is in use while the file lives. Blocks.
///
/// # Errors
/// If it cannot be made, or the sharing mode is none.
pub fn take(
    base: &Path,
    name: &str,
    sharing: &str,
    begin: &dyn Fn(&Path) -> io::Result<CacheLooks>,
) -> Result<(PathBuf, File), BuildError> {
    let failed = BuildError::io("open a cache mount");
    let taken = match sharing {
        // Shared with others that mount it, not with a prune.
        "shared" => hold(&base.join(name), FlockOperation::LockShared, begin),
        "locked" => hold(&base.join(name), FlockOperation::LockExclusive, begin),
        "private" => (0u64..)
            .map(|number| {
                let cache = base.join(format!("{name}-{number}"));
                hold(&cache, FlockOperation::NonBlockingLockExclusive, begin)
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

/// What a new cache begins with.
type Begin<'a> = &'a dyn Fn(&Path) -> io::Result<CacheLooks>;

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
/// Held by who fills a new cache.
const FILLING: &str = "filling";
/// What is mounted.
const DATA: &str = "data";
/// How the folder of one begins that is not whole yet.
const NEW: &str = "new-";

fn is_held(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn lock_by(lock: &File, operation: FlockOperation) -> io::Result<()> {
    Ok(rustix::fs::flock(lock, operation)?)
}

/// Locks a cache, and makes it if it is not there. What was removed between the one and the other is made again.
fn hold(cache: &Path, operation: FlockOperation, begin: Begin<'_>) -> io::Result<(PathBuf, File)> {
    loop {
        match std::fs::create_dir_all(cache) {
            // It was there, and was taken away before it was looked at.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !cache.is_file() => {
                continue;
            }
            other => other?,
        }
        let lock = match open_lock(cache) {
            // It was taken away in between.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        lock_by(&lock, operation)?;
        if is_lock_of(&lock, cache)? {
            used(&lock)?;
            return Ok((filled(cache, begin)?, lock));
        }
    }
}

/// The cache is used now, which the time of its lock says.
fn used(lock: &File) -> io::Result<()> {
    lock.set_modified(std::time::SystemTime::now())
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

/// The folder of a cache that is locked, made if it is not there.
fn filled(cache: &Path, begin: Begin<'_>) -> io::Result<PathBuf> {
    let folder = cache.join(DATA);
    if folder.try_exists()? {
        sweep(cache)?;
        return Ok(folder);
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    let filling = options.open(cache.join(FILLING))?;
    // Others may have the cache too, but one fills it. Nobody has this for longer than that takes.
    lock_by(&filling, FlockOperation::LockExclusive)?;
    sweep(cache)?;
    if !folder.try_exists()? {
        // Under another name first: who kills us leaves no half of one.
        let new = Scratch::new_in(cache, NEW)?;
        let (mode, (uid, gid)) = begin(new.path())?;
        std::os::unix::fs::chown(new.path(), Some(uid), Some(gid))?;
        std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(new.path(), &folder)?;
    }
    Ok(folder)
}

/// Removes what was not whole when its maker was killed. Nobody makes one now: that takes a lock that we have, or a cache
/// without `data`. What cannot be removed is in nobody's way: it has another name than what is mounted.
fn sweep(cache: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(cache)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(NEW) {
            continue;
        }
        match remove_tree(&entry.path()) {
            // Else somebody who has the cache too was first.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %entry.path().display(), "remove half of a cache mount");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(_: &Path) -> io::Result<CacheLooks> {
        Ok((0o700, (0, 0)))
    }

    fn names(folder: &Path) -> Vec<String> {
        let names = std::fs::read_dir(folder).unwrap();
        let names = names.map(|one| one.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_cache_is_there_with_all_it_begins_with_or_not_at_all() {
        use std::os::unix::fs::MetadataExt as _;
        let dir = tempfile::tempdir().unwrap();
        let half = |folder: &Path| {
            std::fs::write(folder.join("half"), "x")?;
            Err(io::Error::other("no more"))
        };
        assert!(take(dir.path(), "a", "shared", &half).is_err());
        assert!(!dir.path().join("a/data").exists());
        let whole = |folder: &Path| {
            std::fs::write(folder.join("whole"), "x")?;
            Ok((0o1750, (7, 8)))
        };
        let (folder, _lock) = take(dir.path(), "a", "shared", &whole).unwrap();
        assert_eq!(names(&folder), ["whole"]);
        let stat = folder.metadata().unwrap();
        assert_eq!(
            (stat.mode() & 0o7777, stat.uid(), stat.gid()),
            (0o1750, 7, 8)
        );
        // One that is there is not filled again, though it is empty.
        std::fs::remove_file(folder.join("whole")).unwrap();
        take(dir.path(), "a", "shared", &whole).unwrap();
        assert!(names(&folder).is_empty());
    }

    /// The second comes while the first one fills it.
    #[test]
    fn a_cache_is_filled_once() {
        for sharing in ["shared", "locked"] {
            let dir = tempfile::tempdir().unwrap();
            let filled = std::sync::atomic::AtomicUsize::new(0);
            let (told, waits) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                let begin = |folder: &Path| {
                    filled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    let told = told.clone();
                    let second = scope.spawn(|| {
                        told_of(told);
                        let (folder, _lock) = take(dir.path(), "a", sharing, &|_: &Path| {
                            filled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            Ok((0o755, (0, 0)))
                        })
                        .unwrap();
                        assert_eq!(names(&folder), ["whole"]);
                    });
                    wait_for_flock(waits.recv().unwrap());
                    assert!(!second.is_finished());
                    std::fs::write(folder.join("whole"), "x")?;
                    Ok((0o755, (0, 0)))
                };
                take(dir.path(), "a", sharing, &begin).unwrap();
            });
            assert_eq!(filled.into_inner(), 1, "{sharing}");
        }
    }

    /// What a killed daemon has not filled to its end.
    #[test]
    fn halves_of_caches_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("a");
        for _ in 0..2 {
            std::fs::create_dir_all(cache.join("new-1/x")).unwrap();
            take(dir.path(), "a", "shared", &empty).unwrap();
            assert!(names(&cache).iter().all(|name| !name.starts_with(NEW)));
        }
    }

    /// One that cannot be removed, as something is mounted there.
    #[test]
    fn a_half_that_stays_is_in_nobodys_way() {
        use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/new-1")).unwrap();
        wharf_sys::process::unshare(wharf_sys::process::namespace::MOUNT).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        let place = dir.path().join("a/new-1");
        mount("tmpfs", &place, "tmpfs", MountFlags::empty(), None).unwrap();
        for sharing in ["shared", "locked"] {
            take(dir.path(), "a", sharing, &empty).unwrap();
            assert_eq!(names(&dir.path().join("a"))[0], "data", "{sharing}");
        }
        assert!(place.exists());
        rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH).unwrap();
    }

    fn told_of(told: std::sync::mpsc::Sender<i32>) {
        told.send(rustix::thread::gettid().as_raw_nonzero().get())
            .unwrap();
    }

    /// Until the thread waits where it says that it does: in the kernel, for a lock.
    fn wait_for_flock(thread: i32) {
        let call = format!("/proc/self/task/{thread}/syscall");
        let flock = format!("{} ", libc_flock());
        while !std::fs::read_to_string(&call).unwrap().starts_with(&flock) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_cache_that_is_mounted_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (base, trash) = (dir.path().join("base"), dir.path().join("trash"));
        std::fs::create_dir(&trash).unwrap();
        for sharing in ["shared", "locked"] {
            let (folder, lock) = take(&base, "a", sharing, &empty).unwrap();
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
            let (folder, lock) = take(&base, &name, "locked", &empty).unwrap();
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
        let (folder, lock) = take(&base, "a", "locked", &empty).unwrap();
        std::fs::write(folder.join("f"), "old").unwrap();
        let (told, waits) = std::sync::mpsc::channel();
        let waiting = {
            let base = base.clone();
            std::thread::spawn(move || {
                told_of(told);
                take(&base, "a", "locked", &empty).unwrap()
            })
        };
        wait_for_flock(waits.recv().unwrap());
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
        let (one, held) = take(dir.path(), "p", "private", &empty).unwrap();
        let (other, _also) = take(dir.path(), "p", "private", &empty).unwrap();
        assert_eq!((name(&one), name(&other)), ("p-0".into(), "p-1".into()));
        drop(held);
        let (again, _held) = take(dir.path(), "p", "private", &empty).unwrap();
        assert_eq!(again, one);
        assert!(take(dir.path(), "p", "other", &empty).is_err());
    }
}
