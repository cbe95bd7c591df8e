//! The rules of `cp` for paths: what a source and a destination mean by the way they are written and by what is
//! there (moby `pkg/archive/copy.go`, and Go's `path/filepath` below it). Texts only, but for links of this machine.

use std::path::Path;

/// How many links in a row a destination may have.
const MAX_LINKS: usize = 10;

/// What is at one end of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// Its path.
    pub path: String,
    /// Whether something is there.
    pub exists: bool,
    /// Whether that is a folder.
    pub is_dir: bool,
    /// The name that a source goes by, where links have been followed to another.
    pub rebase: String,
}

pub use wharf_go::path::clean;

/// Go's `filepath.Base`.
pub fn base(path: &str) -> &str {
    let bare = path.trim_end_matches('/');
    match (path, bare) {
        ("", _) => ".",
        (_, "") => "/",
        _ => bare.rsplit('/').next().unwrap_or(bare),
    }
}

/// Go's `filepath.Dir`.
pub fn dir(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |slash| slash + 1)])
}

fn ends_with_separator(path: &str) -> bool {
    path.ends_with('/')
}

/// Whether the last name is `.`: what is in a folder is meant, not the folder.
pub fn means_content(path: &str) -> bool {
    base(path) == "."
}

/// Whether the path can only be a folder's.
fn asserts_folder(path: &str) -> bool {
    ends_with_separator(path) || means_content(path)
}

/// The clean path, with the `/` or `/.` that the written one ends with.
pub fn keep_end(clean: &str, written: &str) -> String {
    let mut path = clean.to_owned();
    if !means_content(&path) && means_content(written) {
        if !ends_with_separator(&path) {
            path.push('/');
        }
        path.push('.');
    }
    if !ends_with_separator(&path) && ends_with_separator(written) {
        path.push('/');
    }
    path
}

/// The folder of a path, and the name in it; `.` if the folder's content is meant.
pub fn split(path: &str) -> (String, String) {
    let mut cleaned = clean(path);
    if means_content(path) {
        cleaned.push_str("/.");
    }
    // Not cleaned again, which would lose the dot.
    let folder = match cleaned.rfind('/') {
        Some(0) => "/".to_owned(),
        Some(slash) => cleaned[..slash].to_owned(),
        None => ".".to_owned(),
    };
    (folder, base(&cleaned).to_owned())
}

/// A link's target, from the folder that the link is in.
pub fn joined(link: &str, target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => clean(&format!("{}/{target}", split(link).0)),
    }
}

/// The resolved path with the written one's end, and the name of the written one if it has another now.
pub fn rebased(written: &str, resolved: &str) -> (String, String) {
    let mut path = resolved.to_owned();
    if means_content(written) && !means_content(&path) {
        path.push_str("/.");
    }
    if ends_with_separator(written) && !ends_with_separator(&path) {
        path.push('/');
    }
    let rebase = match base(written) == base(&path) {
        true => String::new(),
        false => base(written).to_owned(),
    };
    (path, rebase)
}

/// `CONTAINER:PATH`, or a path of this machine.
pub fn argument(text: &str) -> (&str, &str) {
    if text.starts_with('/') {
        return ("", text);
    }
    match text.split_once(':') {
        Some((container, path)) if !container.starts_with('.') => (container, path),
        _ => ("", text),
    }
}

/// Where an archive of `source` is unpacked so that it ends at `destination`, and the name that its top gets, if it
/// gets another.
///
/// # Errors
/// Docker's words for what cannot be.
pub fn plan(source: &End, destination: &End) -> Result<(String, Option<String>), String> {
    let (folder, name) = split(&destination.path);
    match (destination.exists, source.is_dir) {
        (true, _) if destination.is_dir => Ok((destination.path.clone(), None)),
        (true, true) => Err("cannot copy directory".to_owned()),
        (false, false) if asserts_folder(&destination.path) => Err("no such directory".to_owned()),
        _ => Ok((folder, Some(name))),
    }
}

/// A path of this machine as an absolute one, its end kept.
pub fn absolute(path: &str) -> std::io::Result<String> {
    let whole = match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("{}/{path}", std::env::current_dir()?.display()),
    };
    Ok(keep_end(&clean(&whole), path))
}

/// A source on this machine. Links are followed in the folders above it, and at its end with `follow`.
///
/// # Errors
/// Docker's words.
pub fn source(path: &str, follow: bool) -> Result<End, String> {
    let (resolved, rebase) = match follow {
        true => {
            let real = real(path)?;
            rebased(path, &real)
        }
        false => {
            let slash = path.rfind('/').map_or(0, |slash| slash + 1);
            let (folder, name) = path.split_at(slash);
            let resolved = format!("{}/{name}", real(folder)?.trim_end_matches('/'));
            let other = ends_with_separator(path) && base(path) != base(&resolved);
            let rebase = if other {
                base(path).to_owned()
            } else {
                String::new()
            };
            (resolved, rebase)
        }
    };
    let found = std::fs::symlink_metadata(&resolved).map_err(|error| missing(&resolved, &error))?;
    Ok(End {
        path: resolved,
        exists: true,
        is_dir: found.is_dir(),
        rebase,
    })
}

/// A destination on this machine, at the end of its links; its folder must be there.
///
/// # Errors
/// Docker's words.
pub fn destination(written: &str) -> Result<End, String> {
    let mut path = written.to_owned();
    for _ in 0..=MAX_LINKS {
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target = std::fs::read_link(&path).map_err(|error| missing(&path, &error))?;
                path = joined(&path, &target.to_string_lossy());
            }
            Ok(found) => {
                return Ok(End {
                    path,
                    exists: true,
                    is_dir: found.is_dir(),
                    rebase: String::new(),
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let folder = split(&path).0;
                return match std::fs::metadata(&folder) {
                    Ok(found) if found.is_dir() => Ok(End {
                        path,
                        ..End::default()
                    }),
                    Ok(_) => Err("not a directory".to_owned()),
                    Err(error) => Err(missing(&folder, &error).replacen("lstat", "stat", 1)),
                };
            }
            Err(error) => return Err(missing(&path, &error)),
        }
    }
    Err(format!("too many symlinks in {written}"))
}

/// Go's `filepath.EvalSymlinks`.
fn real(path: &str) -> Result<String, String> {
    match std::fs::canonicalize(path) {
        Ok(real) => Ok(real.to_string_lossy().into_owned()),
        Err(error) => {
            // The words name what is missing: the first of the path's folders that is.
            let mut above: Vec<&Path> = Path::new(path).ancestors().collect();
            above.reverse();
            let gone = above
                .into_iter()
                .find(|path| path.symlink_metadata().is_err());
            let gone = gone.map_or_else(|| path.to_owned(), |path| path.display().to_string());
            Err(missing(&gone, &error))
        }
    }
}

fn missing(path: &str, error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotADirectory => "not a directory".to_owned(),
        _ => format!("lstat {path}: {}", crate::options::env::reason(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_gos() {
        for (path, cleaned, last, folder) in [
            ("", ".", ".", "."),
            ("/", "/", "/", "/"),
            ("a/b/../c/", "a/c", "c", "a/c"),
            ("../..//x", "../../x", "x", "../.."),
            ("/../a/.", "/a", ".", "/a"),
        ] {
            assert_eq!(
                (clean(path).as_str(), base(path)),
                (cleaned, last),
                "{path}"
            );
            assert_eq!(dir(path), folder, "{path}");
        }
        let both = |path: &str| {
            let (folder, name) = split(path);
            format!("{folder} {name}")
        };
        let all = ["/a/b", "/a/b/", "/a/b/.", "/", "x", ".", "/."].map(both);
        assert_eq!(all, ["/a b", "/a b", "/a/b .", "/ /", ". x", ". .", "/ ."]);
        assert_eq!(keep_end("/a", "a/."), "/a/.");
        assert_eq!(keep_end("/a", "a/"), "/a/");
    }

    #[test]
    fn arguments_name_a_container_or_not() {
        assert_eq!(argument("c:/x"), ("c", "/x"));
        assert_eq!(argument("c:x:y"), ("c", "x:y"));
        assert_eq!(argument("./c:x"), ("", "./c:x"));
        assert_eq!(argument("/c:x"), ("", "/c:x"));
        assert_eq!(argument("x"), ("", "x"));
    }

    #[test]
    fn a_copy_ends_where_docker_lets_it_end() {
        let end = |path: &str, exists: bool, is_dir: bool| End {
            path: path.to_owned(),
            exists,
            is_dir,
            rebase: String::new(),
        };
        let (file, folder) = (end("/s/f", true, false), end("/s/d", true, true));
        let to = |source: &End, destination: End| match plan(source, &destination) {
            Ok((folder, name)) => format!("{folder} {}", name.unwrap_or_default()),
            Err(error) => error,
        };
        assert_eq!(to(&file, end("/t", true, true)), "/t ");
        assert_eq!(to(&file, end("/t/x", true, false)), "/t x");
        assert_eq!(to(&file, end("/t/x", false, false)), "/t x");
        assert_eq!(to(&file, end("/t/x/", false, false)), "no such directory");
        assert_eq!(to(&folder, end("/t", true, true)), "/t ");
        assert_eq!(
            to(&folder, end("/t/x", true, false)),
            "cannot copy directory"
        );
        assert_eq!(to(&folder, end("/t/x/", false, false)), "/t x");
    }

    #[test]
    fn links_of_this_machine_are_followed_as_asked() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap().display().to_string();
        std::fs::create_dir(format!("{top}/d")).unwrap();
        std::fs::write(format!("{top}/d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d/f", format!("{top}/l")).unwrap();
        std::os::unix::fs::symlink("d/new", format!("{top}/hanging")).unwrap();
        let link = source(&format!("{top}/l"), false).unwrap();
        assert_eq!((link.path, link.rebase.as_str()), (format!("{top}/l"), ""));
        let file = source(&format!("{top}/l"), true).unwrap();
        assert_eq!(
            (file.path, file.rebase.as_str()),
            (format!("{top}/d/f"), "l")
        );
        let gone = source(&format!("{top}/none"), false).unwrap_err();
        assert_eq!(gone, format!("lstat {top}/none: no such file or directory"));
        assert_eq!(
            source(&format!("{top}/d/f/"), false).unwrap_err(),
            "not a directory"
        );
        let end = destination(&format!("{top}/hanging")).unwrap();
        assert_eq!((end.path, end.exists), (format!("{top}/d/new"), false));
        assert!(destination(&format!("{top}/none/x")).is_err());
    }
}
