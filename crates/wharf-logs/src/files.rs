//! The files of one log, and how to open them while a writer rotates them.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The name of the `number`th older file of the log at `path`.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// A log file by descriptor; its inode number is what it is known by, as its name changes.
pub(crate) struct LogFile {
    pub(crate) file: File,
    pub(crate) inode: u64,
}

impl LogFile {
    /// The file at `path`, or `None` if there is none.
    pub(crate) fn open(path: &Path) -> std::io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata()?.ino();
                Ok(Some(Self { file, inode }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// All files of the log at `path`, oldest first.
///
/// Files only ever move to higher numbers. So opening upwards, newest first, never misses one; one that
/// moved while we looked is met twice, and known by its inode.
pub(crate) fn open_all(path: &Path) -> std::io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    let mut missing = 0;
    for number in 0.. {
        let name = match number {
            0 => path.to_owned(),
            _ => rotated(path, number),
        };
        match LogFile::open(&name)? {
            Some(file) if files.iter().any(|seen| seen.inode == file.inode) => {}
            Some(file) => files.push(file),
            None => missing += 1,
        }
        // In the middle of a rotation one number is vacant; two in a row mean the end.
        if missing == 2 {
            break;
        }
    }
    files.reverse();
    Ok(files)
}
