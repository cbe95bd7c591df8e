//! Patterns of what is copied, and of what is not.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use wharf_dockerfile::Ignore;
use wharf_images::glob;
use wharf_sys::root::Root;

use crate::BuildError;
use crate::hash::Wanted;
use crate::tree;

/// `--exclude`.
#[derive(Debug)]
pub struct Exclude(Option<Ignore>);

impl Exclude {
    /// Of patterns.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn new(patterns: &[String]) -> Result<Self, BuildError> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let ignore = Ignore::new(patterns.iter().map(String::as_str));
        let ignore = ignore.map_err(|error| BuildError::Invalid(error.to_string()))?;
        Ok(Self(Some(ignore)))
    }
}

impl Wanted for Exclude {
    fn wants(&self, path: &[u8]) -> bool {
        let Some(ignore) = &self.0 else {
            return true;
        };
        !ignore.ignores(&String::from_utf8_lossy(path))
    }
}

/// Every path that fits the pattern, from the top of the tree, in the order of a walk.
///
/// # Errors
/// The kernel's.
pub fn paths(root: &Root, pattern: &str) -> std::io::Result<Vec<PathBuf>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let folder = root.open_at(Path::new("."), flags, Mode::empty())?;
    let mut found = Vec::new();
    matching(folder.as_fd(), pattern, &mut Vec::new(), &mut found)?;
    Ok(found)
}

/// Whether it is a pattern.
pub fn has_wildcards(text: &str) -> bool {
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// Every path of the tree that fits the pattern, in the order of a walk.
fn matching(
    folder: BorrowedFd<'_>,
    pattern: &str,
    path: &mut Vec<u8>,
    found: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    // No deeper than the pattern is: a star does not cross a slash.
    let depth = path.iter().filter(|byte| **byte == b'/').count();
    if depth > pattern.matches('/').count() {
        return Ok(());
    }
    let length = path.len();
    for name in tree::names(folder)? {
        path.extend_from_slice(&name);
        if glob::matches(pattern, &String::from_utf8_lossy(path)) {
            found.push(PathBuf::from(OsStr::from_bytes(path)));
        }
        let stat = statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let child = tree::folder(folder, &name)?;
            path.push(b'/');
            matching(child.as_fd(), pattern, path, found)?;
        }
        path.truncate(length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_find_files_and_links() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        for name in ["a.txt", "b.txt", "d/c.txt", "d/e/f.txt"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let found = |pattern: &str| -> Vec<String> {
            let found = paths(&root, pattern).unwrap();
            found
                .iter()
                .map(|path| path.display().to_string())
                .collect()
        };
        assert_eq!(found("*.txt"), ["a.txt", "b.txt"]);
        assert_eq!(found("*/*.txt"), ["d/c.txt"]);
        assert_eq!(found("o*"), ["out"]);
        assert!(found("x*").is_empty() && found("out/*").is_empty());
        let exclude = Exclude::new(&["**/b.*".to_owned()]).unwrap();
        assert!(exclude.wants(b"a.txt") && !exclude.wants(b"b.txt"));
    }
}
