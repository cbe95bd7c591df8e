//! Paths as texts: Go's `filepath`, and where a path leads.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, readlinkat};
use wharf_go::path::clean_from_top;
use wharf_sys::root::Root;

/// As many links as the kernel follows.
const MAX_LINKS: usize = 40;

/// Where a path leads when all its links are followed.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// From the root, without links.
    pub path: PathBuf,
    /// Whether something is there.
    pub exists: bool,
}

/// The clean path, with the `/` or `/.` at its end that it had (moby `PreserveTrailingDotOrSeparator`).
pub(crate) fn go_path(path: &str) -> String {
    let mut clean = clean_from_top(path);
    let is_dot = path.trim_end_matches('/').rsplit('/').next() == Some(".");
    if is_dot && path != "/" {
        if !clean.ends_with('/') {
            clean.push('/');
        }
        clean.push('.');
    }
    if path.ends_with('/') && !clean.ends_with('/') {
        clean.push('/');
    }
    clean
}

/// Go's `filepath.Split` and `filepath.Base`: the folder with its slash, and the last name (`/` of `/`).
pub(crate) fn split(path: &str) -> (&str, &str) {
    let bare = path.trim_end_matches('/');
    match bare.rfind('/') {
        _ if bare.is_empty() => ("/", "/"),
        Some(slash) => (&bare[..=slash], &bare[slash + 1..]),
        None => ("/", bare),
    }
}

/// Follows every link of `path`, each looked up inside the root. A name that does not exist, and all behind it, are
/// taken as they are. The result is a text to show and to compare: whoever opens it opens it inside the root again.
///
/// # Errors
/// The kernel's; `ELOOP` after 40 links.
pub fn resolve(root: &Root, path: &Path) -> io::Result<Resolved> {
    let mut done = PathBuf::new();
    let mut exists = true;
    let mut links = 0;
    let mut left = names(path);
    while let Some(name) = left.pop() {
        if name == b".." {
            done.pop();
            continue;
        }
        let next = done.join(OsStr::from_bytes(&name));
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let found = match exists {
            true => root.open_at(&next, flags, Mode::empty()),
            false => Err(io::ErrorKind::NotFound.into()),
        };
        let found = match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                exists = false;
                done = next;
                continue;
            }
            other => other?,
        };
        match readlinkat(&found, "", Vec::new()) {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = target.into_bytes();
                if target.starts_with(b"/") {
                    done = PathBuf::new();
                }
                left.extend(names(Path::new(OsStr::from_bytes(&target))));
            }
            // No link.
            Err(_) => done = next,
        }
    }
    Ok(Resolved {
        path: Path::new("/").join(done),
        exists,
    })
}

/// The names of a path, last one first.
fn names(path: &Path) -> Vec<Vec<u8>> {
    let bytes = path.as_os_str().as_bytes();
    let names = bytes.split(|byte| *byte == b'/');
    let names = names.filter(|name| !matches!(*name, b"" | b"."));
    let mut names: Vec<_> = names.map(<[u8]>::to_vec).collect();
    names.reverse();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn ends_of_paths_are_kept() {
        let all = ["/", "d", "/d/", "/d/.", "/d/..", "/a/../d//", ".", "/."];
        let kept = ["/", "/d", "/d/", "/d/.", "/", "/d/", "/.", "/."];
        assert_eq!(all.map(go_path), kept);
        assert_eq!(split("/d/f"), ("/d/", "f"));
        assert_eq!(split("/d/"), ("/", "d"));
        assert_eq!(split("/d/."), ("/d/", "."));
        assert_eq!(split("/"), ("/", "/"));
    }

    #[test]
    fn links_are_followed_inside() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("d/e")).unwrap();
        symlink("/d", dir.path().join("abs")).unwrap();
        symlink("../../../../d/e", dir.path().join("d/up")).unwrap();
        symlink("nowhere/x", dir.path().join("broken")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let text = |path: &str| {
            let found = resolve(&root, Path::new(path)).unwrap();
            (found.path.display().to_string(), found.exists)
        };
        assert_eq!(text("abs/e"), ("/d/e".to_owned(), true));
        assert_eq!(text("/d/up/../up"), ("/d/e".to_owned(), true));
        assert_eq!(text("broken"), ("/nowhere/x".to_owned(), false));
        assert_eq!(text("/etc/../.."), ("/".to_owned(), false));
        assert!(resolve(&root, Path::new("loop")).is_err());
    }
}
