//! Folders by descriptor, never through a link.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

/// The most folders within folders that anything here walks; each holds a descriptor. Deeper than that nobody's tools reach.
pub const MAX_DEPTH: usize = 400;

/// What is said of a tree that is deeper than [`MAX_DEPTH`].
pub fn too_deep() -> io::Error {
    io::Error::other("folders within folders")
}

/// The names in a folder, sorted. It need not be open for reading.
///
/// # Errors
/// The kernel's.
pub fn names(folder: impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut names = Vec::new();
    for entry in Dir::new(openat(folder, c".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A folder in a folder.
///
/// # Errors
/// The kernel's.
pub fn folder(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Bytes of the files below a folder. It may be changing: what is gone counts nothing.
///
/// # Errors
/// The kernel's.
pub fn size(at: BorrowedFd<'_>) -> io::Result<u64> {
    size_below(at, 0)
}

fn size_below(at: BorrowedFd<'_>, depth: usize) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    for name in names(at)? {
        bytes = bytes.saturating_add(match size_of(at, &name, depth) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            other => other?,
        });
    }
    Ok(bytes)
}

fn size_of(at: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<u64> {
    let stat = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory if depth == MAX_DEPTH => Ok(0),
        FileType::Directory => match folder(at, name) {
            // It has become something else.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(0),
            inner => size_below(inner?.as_fd(), depth + 1),
        },
        _ => Ok(u64::try_from(stat.st_size).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `names` was asked before, and somebody removes files now.
    #[test]
    fn what_is_gone_is_told_from_what_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "four").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        let root = std::fs::File::open(dir.path()).unwrap();
        assert_eq!(size(root.as_fd()).unwrap(), 4 + 1);
        let gone = size_of(root.as_fd(), b"gone", 0).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        // A folder that was removed while it was open has no names.
        let inner = folder(&root, b"d").unwrap();
        std::fs::remove_dir_all(dir.path().join("d")).unwrap();
        assert_eq!(size(inner.as_fd()).unwrap(), 0);
    }
}
