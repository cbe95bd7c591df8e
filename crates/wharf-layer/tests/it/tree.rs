//! A tree as text, every attribute of it, to compare trees by.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};

/// Path below the root → everything that can be seen of it.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    walk(root, root, &mut all, &mut inodes);
    all
}

fn walk(
    root: &Path,
    dir: &Path,
    all: &mut BTreeMap<PathBuf, String>,
    inodes: &mut BTreeMap<u64, PathBuf>,
) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let kind = metadata.file_type();
        let relative = path.strip_prefix(root).unwrap().to_owned();
        let first = inodes
            .entry(metadata.ino())
            .or_insert_with(|| relative.clone())
            .clone();
        let mut text = format!(
            "{:o} {}:{} {}.{:09}",
            metadata.mode(),
            metadata.uid(),
            metadata.gid(),
            metadata.mtime(),
            metadata.mtime_nsec(),
        );
        if kind.is_char_device() || kind.is_block_device() {
            text += &format!(" device {:x}", metadata.rdev());
        } else if kind.is_symlink() {
            text += &format!(" -> {}", fs::read_link(&path).unwrap().display());
        } else if kind.is_file() {
            text += &format!(" {:?}", fs::read(&path).unwrap());
        }
        if first != relative {
            text += &format!(" is {}", first.display());
        }
        for (name, value) in xattrs(&path) {
            text += &format!(" {}={value:?}", name.display());
        }
        all.insert(relative, text);
        if kind.is_dir() {
            walk(root, &path, all, inodes);
        }
    }
}

fn xattrs(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut list = [0_u8; 4096];
    let length = llistxattr(path, &mut list).unwrap_or(0);
    let names = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let mut value = [0_u8; 4096];
            let length = lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value).unwrap();
            (OsString::from_vec(name.to_vec()), value[..length].to_vec())
        })
        .collect()
}
