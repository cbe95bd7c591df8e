//! The files of one log, and how to open them while a writer rotates them.
//!
//! Number 0 is the file that is written; the others are `NAME.1`, `NAME.2` … or, compressed, `NAME.1.gz`. A file only
//! ever moves to higher numbers, or goes.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

/// The name of the `number`th older file of the log at `path`.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The name of a rotated file once it is compressed.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    name.into()
}

/// What a file is known by however it is renamed or compressed: inode and time of birth. The inode alone would not do,
/// as the next file may get that of one that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    inode: u64,
    born: u128,
}

impl Identity {
    /// By statx(2) itself: the standard library asks for the time of birth with glibc alone.
    pub(crate) fn of(file: &File) -> std::io::Result<Self> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME;
        let found = rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, wanted)?;
        let known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = Duration::new(
            found.stx_btime.tv_sec.unsigned_abs(),
            found.stx_btime.tv_nsec,
        );
        Ok(Self {
            inode: found.stx_ino,
            born: if known { born.as_nanos() } else { 0 },
        })
    }

    /// As it stands in the comment of a gzip header.
    pub(crate) fn to_comment(self) -> String {
        format!("wharf {} {}", self.inode, self.born)
    }

    fn from_comment(comment: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(comment).ok()?;
        let (inode, born) = text.strip_prefix("wharf ")?.split_once(' ')?;
        Some(Self {
            inode: inode.parse().ok()?,
            born: born.parse().ok()?,
        })
    }
}

/// A log file by descriptor.
pub(crate) struct LogFile {
    pub(crate) file: File,
    pub(crate) identity: Identity,
    compressed: bool,
}

impl LogFile {
    /// The file at `path`, or `None` if there is none.
    fn open(path: &Path) -> std::io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self {
                identity: Identity::of(&file)?,
                file,
                compressed: false,
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_compressed(path: &Path) -> std::io::Result<Option<Self>> {
        let Some(mut found) = Self::open(path)? else {
            return Ok(None);
        };
        // One that somebody else has compressed is known by itself.
        let decoder = GzDecoder::new(&found.file);
        let comment = decoder.header().and_then(|header| header.comment());
        if let Some(identity) = comment.and_then(Identity::from_comment) {
            found.identity = identity;
        }
        found.compressed = true;
        Ok(Some(found))
    }

    fn open_number(path: &Path, number: u32) -> std::io::Result<Option<Self>> {
        if number == 0 {
            return Self::open(path);
        }
        // While it is compressed it is there under both names, and the first is the whole one.
        let name = rotated(path, number);
        match Self::open(&name)? {
            Some(file) => Ok(Some(file)),
            None => Self::open_compressed(&compressed(&name)),
        }
    }

    /// Makes it readable at any offset: what is compressed is unpacked into a file without a name beside `path`.
    pub(crate) fn unpack(&mut self, path: &Path) -> std::io::Result<()> {
        use std::io::Seek as _;
        if !self.compressed {
            return Ok(());
        }
        let mut plain = nameless(path)?;
        self.file.rewind()?;
        std::io::copy(&mut GzDecoder::new(&self.file).by_ref(), &mut plain)?;
        plain.rewind()?;
        self.file = plain;
        self.compressed = false;
        Ok(())
    }
}

fn nameless(path: &Path) -> std::io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        // A file system that has no such files.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            Ok(rustix::fs::memfd_create("wharf-log", flags)?.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// The files of the log at `path` that are newer than `known`, oldest first; all if it is not among them any more.
///
/// Files only ever move to higher numbers. So opening upwards, newest first, never misses one; one that moved while we
/// looked is met twice, and known by its identity. Each rotation leaves one number vacant that wanders down, so a
/// vacancy is no end: two beside each other are, unless there was a further rotation meanwhile. Then we look again.
pub(crate) fn open_newer(path: &Path, known: Option<Identity>) -> std::io::Result<Vec<LogFile>> {
    loop {
        let mut files: Vec<LogFile> = Vec::new();
        let mut vacant = 0;
        let mut number = 0;
        while vacant < 2 {
            match LogFile::open_number(path, number)? {
                Some(file) if Some(file.identity) == known => {
                    files.reverse();
                    return Ok(files);
                }
                Some(file) => {
                    vacant = 0;
                    if !files.iter().any(|seen| seen.identity == file.identity) {
                        files.push(file);
                    }
                }
                None => vacant += 1,
            }
            number += 1;
        }
        let newest = LogFile::open(path)?.map(|file| file.identity);
        if newest == files.first().map(|file| file.identity) {
            files.reverse();
            return Ok(files);
        }
    }
}

/// Removes every file of the log at `path`, the compressed ones too, but number 0.
pub(crate) fn remove_rotated(path: &Path) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
        let rest = other.as_encoded_bytes().strip_prefix(name);
        let number = rest.and_then(|rest| rest.strip_prefix(b".".as_slice()));
        if number.is_some_and(|number| number.first().is_some_and(u8::is_ascii_digit)) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

pub(crate) fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn rename_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
