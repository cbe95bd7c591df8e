//! What a client says of a file, checked: it may say anything.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bollard_buildkit_proto::fsutil::types::Stat;

use crate::error::Error;

// Go's `fs.FileMode`.
pub(crate) const FOLDER: u32 = 1 << 31;
pub(crate) const LINK: u32 = 1 << 27;
pub(crate) const DEVICE: u32 = 1 << 26;
pub(crate) const FIFO: u32 = 1 << 25;
pub(crate) const SOCKET: u32 = 1 << 24;
pub(crate) const SETUID: u32 = 1 << 23;
pub(crate) const SETGID: u32 = 1 << 22;
pub(crate) const CHARACTER: u32 = 1 << 21;
pub(crate) const STICKY: u32 = 1 << 20;

/// The most entries of a tree.
const MOST: u32 = 5_000_000;

/// The most bytes that all entries together say of themselves: their names, links and attributes are held in memory.
const MOST_SAID: usize = 1 << 30;
/// The most bytes of attributes of one entry: the kernel has no more.
const MOST_ATTRIBUTES: usize = 64 << 10;
/// The most attributes of one entry: no file system that we know has more.
const COUNT_ATTRIBUTES: usize = 1_000;
/// The longest name of an attribute (`XATTR_NAME_MAX`).
const LONGEST_ATTRIBUTE: usize = 255;

/// One entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Below the tree's root, without `.` and `..`.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// Permissions, as the kernel has them.
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    /// Nanoseconds since 1970.
    pub(crate) modified: i64,
    pub(crate) xattrs: Vec<(String, Vec<u8>)>,
}

/// What it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    /// With its size in bytes.
    File(u64),
    Link(String),
    /// Another name of a file that came before.
    Same(PathBuf),
    Fifo,
    /// A device or a socket: nothing for an image.
    Other,
}

/// Takes the entries of a tree in their order: a name only once, and only in a folder that came before it.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    count: u32,
    /// Bytes that they said of themselves.
    said: usize,
    last: Option<PathBuf>,
    /// The folders from the root to the last entry.
    folders: Vec<PathBuf>,
}

impl Entries {
    /// Takes the next one; its number, and what it is.
    ///
    /// # Errors
    /// If it is not what may come next.
    pub(crate) fn take(&mut self, stat: Stat) -> Result<(u32, Entry), Error> {
        let entry = Entry::read(stat)?;
        let shown = entry.path.display();
        if let Some(last) = &self.last
            && compare(last, &entry.path) != Ordering::Less
        {
            return Err(Error::Invalid(format!("changes out of order: {shown}")));
        }
        let parent = entry.path.parent().unwrap_or(Path::new(""));
        // Each is in the one before it.
        while self
            .folders
            .last()
            .is_some_and(|folder| !parent.starts_with(folder))
        {
            self.folders.pop();
        }
        let known = parent == Path::new("") || self.folders.last().is_some_and(|at| at == parent);
        if !known {
            return Err(Error::Invalid(format!("invalid order: {shown}")));
        }
        if entry.kind == Kind::Folder {
            self.folders.push(entry.path.clone());
        }
        if self.count == MOST {
            return Err(Error::Invalid("too many files".to_owned()));
        }
        self.said = self.said.saturating_add(entry.said());
        if self.said > MOST_SAID {
            return Err(Error::Invalid("too much is said of files".to_owned()));
        }
        let number = self.count;
        self.count += 1;
        self.last = Some(entry.path.clone());
        Ok((number, entry))
    }
}

/// The order of a walk: what is in a folder comes right after it.
pub(crate) fn compare(one: &Path, other: &Path) -> Ordering {
    letters(one).cmp(letters(other))
}

/// As its components compare: a slash comes before whatever a name goes on with.
fn letters(path: &Path) -> impl Iterator<Item = u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    bytes.map(|byte| match byte {
        b'/' => 0,
        byte => *byte,
    })
}

/// Checks that `text` stays below a root by its words alone.
fn inside(text: &str) -> Result<PathBuf, Error> {
    let bad = |name: &str| matches!(name, "" | "." | "..") || name.len() > 255;
    if text.len() > 4095 || text.contains('\0') || text.split('/').any(bad) {
        return Err(Error::Invalid(format!("invalid path {text:?}")));
    }
    Ok(PathBuf::from(OsStr::from_bytes(text.as_bytes())))
}

impl Entry {
    /// Bytes that it takes in memory, beside what all take.
    fn said(&self) -> usize {
        let link = match &self.kind {
            Kind::Link(link) => link.len(),
            Kind::Same(path) => path.as_os_str().len(),
            _ => 0,
        };
        let attributes = self
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len());
        self.path.as_os_str().len() + link + attributes.sum::<usize>()
    }

    fn read(stat: Stat) -> Result<Self, Error> {
        let path = inside(&stat.path)?;
        let mut mode = stat.mode & 0o777;
        for (theirs, ours) in [(SETUID, 0o4000), (SETGID, 0o2000), (STICKY, 0o1000)] {
            if stat.mode & theirs != 0 {
                mode |= ours;
            }
        }
        let kind = match stat.mode & (FOLDER | LINK | DEVICE | FIFO | SOCKET) {
            FOLDER => Kind::Folder,
            LINK => {
                if stat.linkname.is_empty() || stat.linkname.contains('\0') {
                    return Err(Error::Invalid(format!("invalid link {:?}", stat.path)));
                }
                Kind::Link(stat.linkname)
            }
            FIFO => Kind::Fifo,
            0 if stat.linkname.is_empty() => Kind::File(stat.size.try_into().unwrap_or(0)),
            0 => Kind::Same(inside(&stat.linkname)?),
            _ => Kind::Other,
        };
        let xattrs = attributes(&stat.path, stat.xattrs)?;
        if let Kind::Link(link) = &kind
            && link.len() > 4095
        {
            return Err(Error::Invalid(format!("invalid link {:?}", stat.path)));
        }
        Ok(Self {
            path,
            kind,
            mode,
            owner: (stat.uid, stat.gid),
            modified: stat.mod_time,
            xattrs,
        })
    }
}

/// The attributes that are kept, in their order: what the kernel would take.
fn attributes(path: &str, said: HashMap<String, Vec<u8>>) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut kept: Vec<_> = said.into_iter().collect();
    kept.retain(|(name, _)| name == "security.capability" || name.starts_with("user."));
    let bad = |name: &str| name == "user." || name.contains('\0') || name.len() > LONGEST_ATTRIBUTE;
    if let Some((name, _)) = kept.iter().find(|(name, _)| bad(name)) {
        return Err(Error::Invalid(format!(
            "invalid attribute {name:?} of {path:?}"
        )));
    }
    let bytes = kept.iter().map(|(name, value)| name.len() + value.len());
    if bytes.sum::<usize>() > MOST_ATTRIBUTES || kept.len() > COUNT_ATTRIBUTES {
        return Err(Error::Invalid(format!(
            "attributes of {path:?} are too large"
        )));
    }
    kept.sort();
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(path: &str, mode: u32) -> Stat {
        Stat {
            path: path.to_owned(),
            mode,
            ..Stat::default()
        }
    }

    fn check(stats: &[(&str, u32)]) -> Result<u32, String> {
        let mut entries = Entries::default();
        for (path, mode) in stats {
            let taken = entries.take(stat(path, *mode));
            taken.map_err(|error| error.to_string())?;
        }
        Ok(entries.count)
    }

    #[test]
    fn a_tree_comes_in_order() {
        let tree = [
            ("a", FOLDER | 0o755),
            ("a/b", FOLDER),
            ("a/b/c", 0o644),
            ("a/d", 0o644),
            ("a.b", 0o644),
            ("b", LINK),
        ];
        let mut entries = Entries::default();
        for (path, mode) in tree {
            let mut stat = stat(path, mode);
            if mode == LINK {
                stat.linkname = "/etc/passwd".to_owned();
            }
            entries.take(stat).unwrap();
        }
        assert_eq!(entries.count, 6);
    }

    #[test]
    fn what_would_leave_the_tree_is_refused() {
        for path in [
            "/etc/x",
            "../x",
            "a/../../x",
            "a//b",
            "",
            ".",
            "a/.",
            "a\0b",
        ] {
            let error = check(&[("a", FOLDER), (path, 0o644)]).unwrap_err();
            assert!(error.starts_with("invalid path"), "{path}: {error}");
        }
        let mut hard = stat("h", 0o644);
        hard.linkname = "../../etc/shadow".to_owned();
        assert!(Entries::default().take(hard).is_err());
    }

    #[test]
    fn nothing_comes_twice_or_into_what_is_no_folder() {
        assert!(check(&[("a", 0o644), ("a", 0o644)]).is_err());
        assert!(check(&[("b", 0o644), ("a", 0o644)]).is_err());
        assert!(check(&[("a", 0o644), ("a/b", 0o644)]).is_err());
        assert!(check(&[("a/b", 0o644)]).is_err());
        assert!(check(&[("a", FOLDER), ("b", FOLDER), ("a/c", 0)]).is_err());
        // A link that the next entry would go through.
        let mut link = stat("l", LINK);
        link.linkname = "/etc".to_owned();
        let mut entries = Entries::default();
        entries.take(link).unwrap();
        assert!(entries.take(stat("l/passwd", 0o644)).is_err());
    }

    #[test]
    fn what_is_said_of_files_is_bounded() {
        let with = |bytes: usize| {
            let mut stat = stat("a", 0o644);
            stat.xattrs.insert("user.x".to_owned(), vec![0; bytes]);
            Entries::default().take(stat).map(drop)
        };
        assert!(with(60 << 10).is_ok() && with(64 << 10).is_err());
        let named = |names: &[String]| {
            let mut stat = stat("a", 0o644);
            let all = names.iter().map(|name| (name.clone(), Vec::new()));
            stat.xattrs.extend(all);
            Entries::default().take(stat).map(drop)
        };
        let many = |count: usize| {
            (0..count)
                .map(|one| format!("user.{one}"))
                .collect::<Vec<_>>()
        };
        assert!(named(&many(1_000)).is_ok() && named(&many(1_001)).is_err());
        let long = |length: usize| vec![format!("user.{}", "x".repeat(length - 5))];
        assert!(named(&long(255)).is_ok() && named(&long(256)).is_err());
        assert!(named(&["user.".to_owned()]).is_err());
        assert!(named(&["user.a\0b".to_owned()]).is_err());
        let mut long = stat("l", LINK);
        long.linkname = "x".repeat(4096);
        assert!(Entries::default().take(long).is_err());
        let mut entries = Entries {
            said: MOST_SAID - 3,
            ..Entries::default()
        };
        entries.take(stat("abc", 0o644)).unwrap();
        assert!(entries.take(stat("d", 0o644)).is_err());
    }
}
