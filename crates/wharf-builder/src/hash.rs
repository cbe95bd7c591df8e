//! Digests of files by what they are, not by when they were written: the keys of copied files in the cache.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};
use wharf_sys::root::Root;

use crate::tree;

/// Deepest tree; each level holds a descriptor.
const MAX_DEPTH: usize = 400;

/// What of a file's attributes counts.
#[derive(Clone, Copy, Debug)]
pub struct Counting<'a> {
    /// Whether its owner will be kept.
    pub owner: bool,
    /// Which paths below the top are taken at all.
    pub wanted: &'a dyn Wanted,
}

/// Tells what is left out.
pub trait Wanted: std::fmt::Debug + Sync {
    /// Whether what is at `path`, relative to the top that is copied, is copied too.
    fn wants(&self, path: &[u8]) -> bool;
}

/// The digest of what is at `path`, which has no link on its way, in hexadecimal.
///
/// # Errors
/// The kernel's; a tree deeper than 400 folders.
pub fn of(root: &Root, path: &Path, counting: Counting<'_>) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let found = root.open_at(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
    let stat = rustix::fs::fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let folder = root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        walk(&mut hasher, folder.as_fd(), &mut Vec::new(), counting, 0)?;
    } else {
        let parent = path.parent().unwrap_or(Path::new("."));
        let parent = if parent == Path::new("") {
            Path::new(".")
        } else {
            parent
        };
        let parent = root.open_at(parent, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let name = path.file_name().unwrap_or_default();
        use std::os::unix::ffi::OsStrExt as _;
        entry(
            &mut hasher,
            parent.as_fd(),
            name.as_bytes(),
            &stat,
            b"",
            counting,
        )?;
    }
    Ok(hex(&hasher.finalize()))
}

/// Of several digests one.
pub fn joined(parts: &[String]) -> String {
    hex(&Sha256::digest(parts.join(",").as_bytes()))
}

/// In hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn walk(
    hasher: &mut Sha256,
    folder: BorrowedFd<'_>,
    path: &mut Vec<u8>,
    counting: Counting<'_>,
    depth: usize,
) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("folders within folders"));
    }
    let length = path.len();
    for name in tree::names(folder)? {
        path.extend_from_slice(&name);
        if counting.wanted.wants(path) {
            let stat = statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            entry(hasher, folder, &name, &stat, path, counting)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let child = tree::folder(folder, &name)?;
                path.push(b'/');
                walk(hasher, child.as_fd(), path, counting, depth + 1)?;
            }
        }
        path.truncate(length);
    }
    Ok(())
}

fn entry(
    hasher: &mut Sha256,
    parent: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
    path: &[u8],
    counting: Counting<'_>,
) -> io::Result<()> {
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(path);
    field(&stat.st_mode.to_le_bytes());
    if counting.owner {
        field(&stat.st_uid.to_le_bytes());
        field(&stat.st_gid.to_le_bytes());
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => field(readlinkat(parent, name, Vec::new())?.as_bytes()),
        FileType::CharacterDevice | FileType::BlockDevice => field(&stat.st_rdev.to_le_bytes()),
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(openat(parent, name, flags, Mode::empty())?);
            let mut inner = Sha256::new();
            let mut buffer = vec![0; 128 * 1024];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    count => inner.update(&buffer[..count]),
                }
            }
            field(&inner.finalize());
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct All;
    impl Wanted for All {
        fn wants(&self, _: &[u8]) -> bool {
            true
        }
    }

    #[test]
    fn content_names_and_modes_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d/f");
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(&file, "x").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let counting = Counting {
            owner: false,
            wanted: &All,
        };
        let digest = || of(&root, Path::new("d"), counting).unwrap();
        let first = digest();
        std::fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        assert_eq!(digest(), first);
        std::fs::write(&file, "y").unwrap();
        let second = digest();
        assert_ne!(second, first);
        std::fs::rename(&file, dir.path().join("d/g")).unwrap();
        assert_ne!(digest(), second);
    }
}
