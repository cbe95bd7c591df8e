//! A folder whose insides are resolved by descriptor.

use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat};
use rustix::io::{Errno, Result};

/// How often a lookup is repeated that the kernel gave up because something was renamed meanwhile (`EAGAIN`).
const RETRIES: usize = 128;
/// As many links as the kernel follows in one path.
const LINKS: usize = 40;

/// A folder that is a root: an absolute path, an absolute symbolic link or `..` inside it never leads out of
/// it, and no link of `/proc` is followed by magic (`openat2` with `RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS`).
///
/// It is safe against somebody who renames and replaces things inside meanwhile: all results are descriptors.
#[derive(Debug)]
pub struct Root {
    folder: OwnedFd,
}

impl From<OwnedFd> for Root {
    /// `folder` is an open folder; `O_PATH` is enough.
    fn from(folder: OwnedFd) -> Self {
        Self { folder }
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

impl Root {
    /// Opens the host folder at `path` as a root.
    ///
    /// # Errors
    /// If it is not there or no folder.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path.as_ref(), flags, Mode::empty()).map(Self::from)
    }

    /// Opens `path` inside with `flags`; the last part is followed if it is a symbolic link, unless the flags
    /// have `O_NOFOLLOW`. Close-on-exec is added. `mode` counts only for `O_CREAT`.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_file(&self, path: impl AsRef<Path>, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
        self.resolve(path.as_ref(), flags, mode, ResolveFlags::empty())
    }

    /// Opens `path` inside as `O_PATH`, following a final symbolic link.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_path(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open_file(path, OFlags::PATH, Mode::empty())
    }

    /// Opens `path` inside as `O_PATH`; a final symbolic link is opened itself.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_path_nofollow(&self, path: impl AsRef<Path>) -> Result<OwnedFd> {
        self.open_file(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
    }

    /// Opens `path` inside and refuses every symbolic link in it (`ELOOP`).
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_without_links(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        self.resolve(
            path.as_ref(),
            flags,
            Mode::empty(),
            ResolveFlags::NO_SYMLINKS,
        )
    }

    /// Opens `path` inside without leaving the mount of the root itself (`EXDEV`) and without any link: for
    /// files of a private procfs that nobody can have mounted over.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn open_same_mount(&self, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd> {
        let strict = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        self.resolve(path.as_ref(), flags, Mode::empty(), strict)
    }

    fn resolve(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        strict: ResolveFlags,
    ) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | strict;
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let mut result = Err(Errno::AGAIN);
        for _ in 0..RETRIES {
            result = openat2(&self.folder, path, flags | OFlags::CLOEXEC, mode, resolve);
            if !matches!(result, Err(Errno::AGAIN)) {
                break;
            }
        }
        result
    }

    /// Makes the folder `path` inside, with all above it, each with `mode`, and opens it (`O_PATH`). A symbolic
    /// link on the way that leads to nothing gets its target made, inside the root as well.
    ///
    /// # Errors
    /// `ENOTDIR` if something on the way is no folder; `ELOOP` for more than 40 such links; as mkdirat(2).
    pub fn mkdir_all(&self, path: impl AsRef<Path>, mode: Mode) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.open_dir(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let mut todo: PathBuf = path.to_owned();
        for _ in 0..LINKS {
            match self.make_until_link(&todo, mode)? {
                Made::Folder(folder) => return Ok(folder),
                Made::Link(instead) => todo = instead,
            }
        }
        Err(Errno::LOOP)
    }

    fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        self.open_file(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
    }

    fn make_until_link(&self, path: &Path, mode: Mode) -> Result<Made> {
        let mut current = self.open_dir(Path::new("."))?;
        let mut prefix = PathBuf::new();
        let mut parts = path.components();
        while let Some(part) = parts.next() {
            let name = match part {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            };
            let above = prefix.clone();
            prefix.push(name);
            // The prefix is looked up from the root each time, as only that keeps `..` and links inside.
            current = match self.open_dir(&prefix) {
                Err(Errno::NOENT) => match make_one(&current, name, mode)? {
                    Made::Folder(folder) => folder,
                    Made::Link(target) => {
                        let instead = above.join(target).join(parts.as_path());
                        return Ok(Made::Link(instead));
                    }
                },
                found => found?,
            };
        }
        Ok(Made::Folder(current))
    }

    /// Opens the folder that holds `path` and gives its last name with it, for calls that act on a name
    /// (`unlinkat`, `symlinkat`, `mknodat`). The folders above are made with mode 0755 if they are missing.
    ///
    /// # Errors
    /// `EINVAL` if the path ends in `..` or names the root itself; else as [`Root::mkdir_all`].
    pub fn parent_of(&self, path: impl AsRef<Path>) -> Result<(OwnedFd, OsString)> {
        let path = path.as_ref();
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new("."));
        let folder = self.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
        Ok((folder, name.to_owned()))
    }

    /// Opens the file `path` inside (`O_PATH`, links followed); makes an empty one with `mode` and the folders
    /// above it if it is missing.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn make_file(&self, path: impl AsRef<Path>, mode: Mode) -> Result<OwnedFd> {
        let path = path.as_ref();
        match self.open_path(path) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let (folder, name) = self.parent_of(path)?;
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(&folder, &name, flags, mode) {
            Ok(_) | Err(Errno::EXIST) => self.open_path(path),
            Err(error) => Err(error),
        }
    }

    /// Reads the regular file `path` inside, at most `limit` bytes.
    ///
    /// # Errors
    /// `EINVAL` if it is no regular file, `EFBIG` if it is longer than `limit`; else as openat2(2).
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>> {
        // O_NONBLOCK: an open of a FIFO must not wait for a writer.
        let file = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::from(file)
            .take(limit + 1)
            .read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if bytes.len() as u64 > limit {
            Err(Errno::FBIG)
        } else {
            Ok(bytes)
        }
    }
}

enum Made {
    Folder(OwnedFd),
    /// There is a symbolic link to nothing; this is the path to make instead.
    Link(PathBuf),
}

fn make_one(folder: &OwnedFd, name: &OsStr, mode: Mode) -> Result<Made> {
    match mkdirat(folder, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(made) => Ok(Made::Folder(made)),
        Err(error @ (Errno::NOTDIR | Errno::LOOP)) => {
            let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                return Err(error);
            }
            let target = rustix::fs::readlinkat(folder, name, Vec::new())?;
            let target = OsString::from_vec(target.into_bytes());
            // An absolute target begins at the root: `join` of it replaces what was before, and the lookup of it
            // stays inside, as every lookup does.
            debug_assert!(!target.as_bytes().is_empty());
            Ok(Made::Link(PathBuf::from(target)))
        }
        Err(error) => Err(error),
    }
}
