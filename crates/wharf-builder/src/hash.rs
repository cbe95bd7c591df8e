//! Digests of files by what they are, not by when they were written: the keys of copied files in the cache.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, openat, readlinkat, statat};
use sha2::{Digest as _, Sha256};
use wharf_layer::kept_content;
use wharf_sys::root::Root;

use crate::{Selection, tree};

/// What of files counts.
#[derive(Clone, Copy, Debug)]
pub struct Counting<'a> {
    /// Whether it is a folder that a client has sent: owners do not count, and what is kept of contents is right, as nobody writes
    /// to its files.
    pub is_client: bool,
    /// Which of those below the top are taken.
    pub selection: &'a Selection,
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

/// Whether something in the folder is taken.
fn walk(
    hasher: &mut Sha256,
    folder: BorrowedFd<'_>,
    path: &mut Vec<u8>,
    counting: Counting<'_>,
    depth: usize,
) -> io::Result<bool> {
    if depth > tree::MAX_DEPTH {
        return Err(tree::too_deep());
    }
    let length = path.len();
    let mut any = false;
    for name in tree::names(folder)? {
        path.extend_from_slice(&name);
        let taken = counting.selection.takes(path);
        if taken || counting.selection.is_deep() {
            let stat = statat(folder, &name[..], AtFlags::SYMLINK_NOFOLLOW)?;
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if taken {
                entry(hasher, folder, &name, &stat, path, counting)?;
            }
            let mut inside = false;
            if is_folder {
                let child = tree::folder(folder, &name)?;
                path.push(b'/');
                inside = walk(hasher, child.as_fd(), path, counting, depth + 1)?;
                path.pop();
            }
            // It comes along with what is in it.
            if inside && !taken {
                entry(hasher, folder, &name, &stat, path, counting)?;
            }
            any |= taken || inside;
        }
        path.truncate(length);
    }
    Ok(any)
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
    if !counting.is_client {
        field(&stat.st_uid.to_le_bytes());
        field(&stat.st_gid.to_le_bytes());
    }
    for (attribute, value) in wharf_layer::kept_xattrs(parent, name)? {
        field(&attribute);
        field(&value);
    }
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => field(readlinkat(parent, name, Vec::new())?.as_bytes()),
        FileType::CharacterDevice | FileType::BlockDevice => field(&stat.st_rdev.to_le_bytes()),
        FileType::RegularFile => {
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            let kept = counting.is_client.then(|| kept_content(parent, name, size));
            match kept.flatten() {
                Some(digest) => field(&digest),
                None => field(&content(parent, name)?),
            }
        }
        _ => {}
    }
    Ok(())
}

/// The SHA-256 of what is in a file.
fn content(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<[u8; 32]> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, name, flags, Mode::empty())?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_names_and_modes_count_and_times_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("d/f");
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(&file, "x").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let counting = Counting {
            is_client: true,
            selection: &Selection::default(),
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
    /// Files of a client are replaced and never written to.
    #[test]
    fn what_is_kept_of_contents_counts_for_a_clients_files_alone() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let digest = |is_client| {
            let selection = Selection::default();
            let counting = Counting {
                is_client,
                selection: &selection,
            };
            of(&root, Path::new("."), counting).unwrap()
        };
        std::fs::write(dir.path().join("f"), "one").unwrap();
        let (client, other) = (digest(true), digest(false));
        let mut content = wharf_layer::Content::default();
        content.update(b"one");
        content.keep(std::fs::File::open(dir.path().join("f")).unwrap());
        assert_eq!(
            (digest(true), digest(false)),
            (client.clone(), other.clone())
        );
        std::fs::write(dir.path().join("f"), "two").unwrap();
        assert_eq!(digest(true), client);
        assert_ne!(digest(false), other);
    }

    /// The digest changes with what a copy takes, and with nothing else.
    #[test]
    fn what_patterns_choose_counts_and_the_rest_does_not() {
        let of = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
        for (include, exclude, file, counts) in [
            (&["x/a.txt"][..], &[][..], "x/a.txt", true),
            (&["x/a.txt"], &[], "x/b.md", false),
            (&["**/*.md"], &[], "x/b.md", true),
            (&["**/*.md"], &[], "x/a.txt", false),
            (&[], &["x"], "x/a.txt", false),
            (&[], &["x", "!x/a.txt"], "x/a.txt", true),
            (&[], &["x", "!x/a.txt"], "x/b.md", false),
            (&["x"], &["**/*.md"], "x/a.txt", true),
            (&["x"], &["**/*.md"], "x/b.md", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("x")).unwrap();
            for name in ["x/a.txt", "x/b.md"] {
                std::fs::write(dir.path().join(name), "one").unwrap();
            }
            let root = Root::open(dir.path()).unwrap();
            let selection = Selection::new(&of(include), &of(exclude)).unwrap();
            let counting = Counting {
                is_client: true,
                selection: &selection,
            };
            let digest = || super::of(&root, Path::new("."), counting).unwrap();
            let first = digest();
            std::fs::write(dir.path().join(file), "two").unwrap();
            assert_eq!(digest() != first, counts, "{include:?} {exclude:?} {file}");
        }
    }

    #[test]
    fn attributes_that_are_copied_count() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let counting = Counting {
            is_client: true,
            selection: &Selection::default(),
        };
        let digest = || of(&root, Path::new("."), counting).unwrap();
        let set = |name: &str, value: &[u8]| {
            rustix::fs::setxattr(&file, name, value, rustix::fs::XattrFlags::empty()).unwrap();
            digest()
        };
        let bare = digest();
        let one = set("user.one", b"1");
        let other = set("user.one", b"2");
        assert!(bare != one && one != other);
        // It is not copied.
        assert_eq!(set("trusted.other", b"x"), other);
    }
}
