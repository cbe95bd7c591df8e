//! Patterns of what is copied, and of what is not.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use wharf_dockerfile::Ignore;
use wharf_images::glob;
use wharf_sys::root::Root;

use crate::{BuildError, tree};

/// Which files a copy takes: those that `include` names (all, if it names none) and `exclude` does not. A path is named
/// by a pattern that fits it or a folder above it; the last one that does decides, as in a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    include: Option<Ignore>,
    exclude: Option<Ignore>,
}

impl Selection {
    /// Of patterns.
    ///
    /// # Errors
    /// If one is malformed.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self, BuildError> {
        let read = |patterns: &[String]| {
            let ignore = Ignore::new(patterns.iter().map(String::as_str));
            let ignore = ignore.map_err(|error| BuildError::Invalid(error.to_string()));
            (!patterns.is_empty()).then_some(ignore).transpose()
        };
        Ok(Self {
            include: read(include)?,
            exclude: read(exclude)?,
        })
    }

    /// Whether what is at `path`, relative to the folder that is copied, is taken for its own sake.
    pub fn takes(&self, path: &[u8]) -> bool {
        let path = String::from_utf8_lossy(path);
        let included = self.include.as_ref().is_none_or(|one| one.ignores(&path));
        included && !self.excludes(&path)
    }

    /// Whether in a folder that is not taken something may be taken all the same.
    pub fn is_deep(&self) -> bool {
        let exceptions = self.exclude.as_ref().is_some_and(Ignore::has_exceptions);
        self.include.is_some() || exceptions
    }

    /// Whether a file is taken that a copy names itself, or by a pattern: `COPY --exclude=*.txt d* /d/`. A pattern or an
    /// exception may name it by its name or by its path; as elsewhere, the last one that does decides.
    pub fn takes_named(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let path = path.to_string_lossy();
        let exclude = self.exclude.as_ref();
        !exclude.is_some_and(|one| one.ignores_any(&[&name, &path]))
    }

    fn excludes(&self, path: &str) -> bool {
        self.exclude.as_ref().is_some_and(|one| one.ignores(path))
    }

    /// Every path below the folder that is taken, with the folders above it. Asked for only if a walk that leaves out
    /// what is not taken would leave out too much ([`Selection::is_deep`]).
    ///
    /// # Errors
    /// The kernel's; folders deeper than 400.
    pub fn paths(&self, folder: BorrowedFd<'_>) -> io::Result<HashSet<Vec<u8>>> {
        let mut found = HashSet::new();
        self.collect(folder, &mut Vec::new(), &mut found, 0)?;
        Ok(found)
    }

    /// Whether something in the folder is taken.
    fn collect(
        &self,
        folder: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        found: &mut HashSet<Vec<u8>>,
        depth: usize,
    ) -> io::Result<bool> {
        if depth > tree::MAX_DEPTH {
            return Err(tree::too_deep());
        }
        let length = path.len();
        let mut any = false;
        for name in tree::names(folder)? {
            path.extend_from_slice(&name);
            let stat = statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            let mut taken = self.takes(path);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let child = tree::folder(folder, &name)?;
                let own = path.len();
                path.push(b'/');
                taken |= self.collect(child.as_fd(), path, found, depth + 1)?;
                path.truncate(own);
            }
            if taken {
                found.insert(path.clone());
                any = true;
            }
            path.truncate(length);
        }
        Ok(any)
    }
}

/// Every path that fits the pattern, from the top of the tree, in the order of a walk.
///
/// # Errors
/// The kernel's.
pub fn paths(root: &Root, pattern: &str) -> io::Result<Vec<PathBuf>> {
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
) -> io::Result<()> {
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
    }

    fn taken(include: &[&str], exclude: &[&str]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        std::fs::create_dir_all(dir.path().join("x")).unwrap();
        for name in ["a.txt", "d/c.txt", "d/e/f.md", "x/g.txt"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let of = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&of(include), &of(exclude)).unwrap();
        let folder = std::fs::File::open(dir.path()).unwrap();
        let found = selection.paths(folder.as_fd()).unwrap().into_iter();
        let mut found: Vec<String> = found.map(|path| String::from_utf8(path).unwrap()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn what_is_taken_comes_with_the_folders_above_it() {
        assert_eq!(taken(&["d/e"], &[]), ["d", "d/e", "d/e/f.md"]);
        assert_eq!(taken(&["**/*.md"], &[]), ["d", "d/e", "d/e/f.md"]);
        assert_eq!(
            taken(&[], &["d", "!d/e", "*.txt"]),
            ["d", "d/e", "d/e/f.md", "x", "x/g.txt"]
        );
        assert_eq!(taken(&["d"], &["d/e"]), ["d", "d/c.txt"]);
        assert!(taken(&["none"], &[]).is_empty());
        assert!(Selection::new(&[], &["[".to_owned()]).is_err());
    }

    #[test]
    fn a_named_file_is_excluded_by_its_name_or_its_path() {
        let exclude = |text: &str| Selection::new(&[], &[text.to_owned()]).unwrap();
        assert!(!exclude("*.txt").takes_named(Path::new("d/home.txt")));
        assert!(!exclude("d/*").takes_named(Path::new("d/home.txt")));
        assert!(exclude("*.md").takes_named(Path::new("d/home.txt")));
        // What excludes it in one form, and what brings it back in the other.
        for (patterns, is_taken) in [
            (["*.txt", "!d/home.txt"], true),
            (["d/*", "!home.txt"], true),
            (["!home.txt", "d/*"], false),
            (["d/*", "!other.txt"], false),
        ] {
            let exclude = Selection::new(&[], &patterns.map(str::to_owned)).unwrap();
            let path = Path::new("d/home.txt");
            assert_eq!(exclude.takes_named(path), is_taken, "{patterns:?}");
        }
    }
}
