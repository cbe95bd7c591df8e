//! What the sources of a `COPY` or `ADD` mean: files, folders, patterns, here-documents, addresses.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use tempfile::TempDir;
use wharf_dockerfile::Ignore;
use wharf_engine::resolve;
use wharf_images::glob;
use wharf_sys::root::Root;

use crate::hash::{self, Counting, Wanted};
use crate::{BuildError, transfer};

/// One thing to copy.
pub(crate) struct Item {
    pub(crate) root: Arc<Root>,
    /// Below the root, without a link on the way.
    pub(crate) path: PathBuf,
    /// As it was asked for: gives the name in a folder, and the folders of `--parents`.
    pub(crate) asked: PathBuf,
    pub(crate) is_folder: bool,
    /// Archives in it are not unpacked: it comes from an address.
    pub(crate) fetched: bool,
    /// `file:…`, `dir:…`.
    pub(crate) hash: String,
    /// Keeps the file of a here-document or of an address.
    pub(crate) _keep: Option<Arc<TempDir>>,
}

/// The tree that sources are taken from.
pub(crate) struct Tree<'a> {
    pub(crate) root: &'a Arc<Root>,
    /// Whether it is the build's context: errors speak of `.dockerignore` then.
    pub(crate) is_context: bool,
    /// Whether owners are kept.
    pub(crate) keep_owner: bool,
    pub(crate) exclude: &'a Exclude,
}

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

impl Tree<'_> {
    /// What `asked` means: one thing, or all that a pattern fits, in order. Blocks on the disk.
    pub(crate) fn find(&self, asked: &str) -> Result<Vec<Item>, BuildError> {
        let clean = asked.trim_start_matches('/');
        let clean = clean.strip_prefix("./").unwrap_or(clean);
        if !has_wildcards(clean) {
            return Ok(vec![self.item(Path::new(clean))?]);
        }
        let found = paths(self.root, clean).map_err(BuildError::io("read the build context"))?;
        let wanted = found
            .iter()
            .filter(|path| self.exclude.wants(path.as_os_str().as_bytes()));
        wanted.map(|path| self.item(path)).collect()
    }

    fn item(&self, asked: &Path) -> Result<Item, BuildError> {
        let missing = |path: &Path| {
            let path = path.strip_prefix("/").unwrap_or(path).display();
            let text = match self.is_context {
                true => format!(
                    "file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
                ),
                false => format!("stat {path}: file does not exist"),
            };
            let path = path.to_string();
            BuildError::Missing { path, text }
        };
        let io = |error: std::io::Error| {
            BuildError::Failed(format!("stat {}: {error}", asked.display()))
        };
        let resolved = resolve(self.root, asked).map_err(io)?;
        if !resolved.exists {
            return Err(missing(asked));
        }
        let path = resolved.path;
        let path = path.strip_prefix("/").unwrap_or(&path).to_owned();
        let path = if path == Path::new("") {
            PathBuf::from(".")
        } else {
            path
        };
        let found = self
            .root
            .open_at(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty());
        let stat = found
            .and_then(|found| Ok(rustix::fs::fstat(found)?))
            .map_err(io)?;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let counting = Counting {
            owner: self.keep_owner,
            wanted: self.exclude,
        };
        let digest = hash::of(self.root, &path, counting).map_err(io)?;
        let kind = if is_folder { "dir" } else { "file" };
        Ok(Item {
            root: self.root.clone(),
            path,
            asked: asked.to_owned(),
            is_folder,
            fetched: false,
            hash: format!("{kind}:{digest}"),
            _keep: None,
        })
    }
}

/// A file in a folder of its own: of a here-document, or downloaded.
pub(crate) fn own_file(folder: TempDir, name: &str, fetched: bool) -> Result<Item, BuildError> {
    let io = BuildError::io("read what a step brings in");
    let root = Arc::new(Root::open(folder.path()).map_err(&io)?);
    let nothing = Exclude(None);
    let counting = Counting {
        owner: false,
        wanted: &nothing,
    };
    let digest = hash::of(&root, Path::new(name), counting).map_err(&io)?;
    Ok(Item {
        root,
        path: PathBuf::from(name),
        asked: PathBuf::from(name),
        is_folder: false,
        fetched,
        hash: format!("file:{digest}"),
        _keep: Some(Arc::new(folder)),
    })
}

/// A folder below one of our own: a repository.
pub(crate) fn own_folder(folder: TempDir, inside: &Path) -> Result<Item, BuildError> {
    let io = BuildError::io("read what a step brings in");
    let root = Arc::new(Root::open(folder.path()).map_err(&io)?);
    let path = resolve(&root, inside).map_err(&io)?.path;
    let path = path.strip_prefix("/").unwrap_or(&path).to_owned();
    let nothing = Exclude(None);
    let counting = Counting {
        owner: false,
        wanted: &nothing,
    };
    let digest = hash::of(&root, &path, counting).map_err(&io)?;
    Ok(Item {
        is_folder: transfer::is_folder(&root, &path),
        root,
        asked: path.clone(),
        path,
        fetched: true,
        hash: format!("dir:{digest}"),
        _keep: Some(Arc::new(folder)),
    })
}

/// The key of all of them together.
pub(crate) fn hash_of(items: &[Item]) -> String {
    match items {
        [one] => one.hash.clone(),
        _ => {
            let parts: Vec<String> = items.iter().map(|item| item.hash.clone()).collect();
            format!("multi:{}", hash::joined(&parts))
        }
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
    for name in hash::names(folder)? {
        path.extend_from_slice(&name);
        if glob::matches(pattern, &String::from_utf8_lossy(path)) {
            found.push(PathBuf::from(OsStr::from_bytes(path)));
        }
        let stat = statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            let child = hash::open_folder(folder, &name)?;
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
        let root = Arc::new(Root::open(dir.path()).unwrap());
        let exclude = Exclude::new(&["**/b.*".to_owned()]).unwrap();
        let tree = Tree {
            root: &root,
            is_context: true,
            keep_owner: false,
            exclude: &exclude,
        };
        let paths = |pattern: &str| -> Vec<String> {
            let items = tree.find(pattern).unwrap();
            items
                .iter()
                .map(|item| item.path.display().to_string())
                .collect()
        };
        assert_eq!(paths("*.txt"), ["a.txt"]);
        assert_eq!(paths("*/*.txt"), ["d/c.txt"]);
        assert_eq!(paths("./d"), ["d"]);
        assert_eq!(paths("/"), ["."]);
        assert!(paths("x*").is_empty());
        // The link ends inside, where there is no such thing.
        let error = tree.find("out/passwd").err().unwrap().to_string();
        assert!(
            error.contains("excluded by .dockerignore: stat out/passwd"),
            "{error}"
        );
    }
}
