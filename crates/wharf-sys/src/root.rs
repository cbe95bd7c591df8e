//! Paths inside a container's root, resolved by descriptor.
//!
//! Every path goes through `openat2(2)` with `RESOLVE_IN_ROOT`: symbolic links, absolute ones and `..` among
//! them, end inside; links of `/proc` that lead anywhere (`RESOLVE_NO_MAGICLINKS`) are refused.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    FileType, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, mkdirat, openat,
    openat2,
};
use rustix::io::Errno;

/// How often a walk is begun anew (as filepath-securejoin, which runc uses).
const TRIES: u32 = 128;

/// A folder that paths are resolved beneath.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens the folder `path` as a root.
    ///
    /// # Errors
    /// If it is no folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// The folder behind `fd` as a root.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens what is at `path`. Links are followed inside the root; with `O_NOFOLLOW` in `flags` not the last.
    ///
    /// # Errors
    /// The kernel's; `EAGAIN` if somebody renames all the time, or has a lease on the file that `O_NONBLOCK` does not wait for.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&self.0, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::INTR) => {}
                // A rename somewhere while `..` was being walked: the kernel asks to try again.
                Err(Errno::AGAIN) if tries < TRIES => tries += 1,
                other => return Ok(other?),
            }
        }
    }

    /// An `O_PATH` descriptor of what is at `path`.
    ///
    /// # Errors
    /// The kernel's.
    pub fn find(&self, path: &Path) -> io::Result<OwnedFd> {
        self.open_at(path, OFlags::PATH, Mode::empty())
    }

    /// Makes the folder `path` and those above it that are missing, and returns an `O_PATH` descriptor of it.
    /// Links on the way are followed inside the root.
    ///
    /// # Errors
    /// The kernel's: `ENOTDIR` if something else is in the way.
    pub fn mkdir_all(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_at(path, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(made) = self.mkdir_last(path, mode) {
            return Ok(made);
        }
        let mut walked = PathBuf::new();
        let mut current = self.open_at(Path::new("/"), flags, Mode::empty())?;
        for name in normal(path) {
            walked.push(name);
            current = match self.open_at(&walked, flags, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.mkdir(&current, &mut walked, name, mode)?
                }
                other => other?,
            };
        }
        Ok(current)
    }

    /// Makes the last folder of `path`, where those above it are there, which is most often so. `None`: somebody must walk.
    fn mkdir_last(&self, path: &Path, mode: Mode) -> Option<OwnedFd> {
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        let (above, name) = path.parent().zip(path.file_name())?;
        if !path.components().all(plain) {
            return None;
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        // A relative path begins at the root too.
        let above = Path::new("/").join(above);
        let above = self.open_at(&above, flags, Mode::empty()).ok()?;
        // A link that leads nowhere stands in the way of both.
        mkdirat(above, name, mode).ok()?;
        self.open_at(path, flags, Mode::empty()).ok()
    }

    /// Makes `name` in `parent`; a link that hangs in the air there gets its target made.
    fn mkdir(
        &self,
        parent: &OwnedFd,
        walked: &mut PathBuf,
        name: &OsStr,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        match mkdirat(parent, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_at(walked, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes()));
                let whole = walked.parent().unwrap_or(Path::new("")).join(target);
                if whole.components().count() > 255 {
                    return Err(Errno::LOOP.into());
                }
                *walked = normal(&whole).collect();
                self.mkdir_all(walked, mode)
            }
            other => other,
        }
    }

    /// Makes the file `path` (and folders above it) if nothing is there, and returns an `O_PATH` descriptor.
    ///
    /// # Errors
    /// The kernel's.
    pub fn touch(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        match self.find(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        if let Some(parent) = path.parent() {
            self.mkdir_all(parent, Mode::from_raw_mode(0o755))?;
        }
        self.open_at(
            path,
            OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK,
            mode,
        )?;
        self.find(path)
    }

    /// Opens a regular file for reading, and nothing else: to open a device alone can have effects, and a FIFO may hang us.
    /// `more` are further flags, such as [`OFlags::NOFOLLOW`].
    ///
    /// # Errors
    /// The kernel's; `InvalidData` if it is no regular file.
    pub fn open_regular(&self, path: &Path, more: OFlags) -> io::Result<OwnedFd> {
        let found = self.open_at(path, OFlags::PATH | more, Mode::empty())?;
        let key = |file: &OwnedFd| -> io::Result<_> {
            let stat = fstat(file)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Ok((stat.st_dev, stat.st_ino)),
                _ => Err(io::Error::from(io::ErrorKind::InvalidData)),
            }
        };
        let is = key(&found)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match open_again(&found, flags) {
            Ok(opened) => opened,
            // Inside a container there may be no procfs, or not one of ours. Then it is opened by its name, and with it what has taken
            // its place meanwhile: something of the container's own.
            Err(_) => self.open_at(path, flags | more, Mode::empty())?,
        };
        match key(&opened)? == is {
            true => Ok(opened),
            false => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }

    /// Reads a small file, at most `limit` bytes of it.
    ///
    /// # Errors
    /// The kernel's; `InvalidData` if it is no regular file or longer.
    pub fn read_small(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        use std::io::Read as _;
        let file = self.open_regular(path, OFlags::empty())?;
        let mut bytes = Vec::new();
        std::fs::File::from(file)
            .take(limit + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        Ok(bytes)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The names of `path`, `..` taken back lexically, as `RESOLVE_IN_ROOT` does at the top.
fn normal(path: &Path) -> impl Iterator<Item = &OsStr> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::ParentDir => drop(names.pop()),
            _ => {}
        }
    }
    names.into_iter()
}

/// Opens what an `O_PATH` descriptor stands for, and nothing that is called like it: by way of `/proc`, if a procfs is there. What else a
/// container may have there is not asked.
fn open_again(found: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let descriptors = rustix::fs::open("/proc/self/fd", folder, Mode::empty())?;
    match fstatfs(&descriptors)?.f_type == PROC_SUPER_MAGIC {
        true => Ok(openat(
            &descriptors,
            found.as_raw_fd().to_string(),
            flags,
            Mode::empty(),
        )?),
        false => Err(io::ErrorKind::Unsupported.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn scratch() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path().join("root");
        std::fs::create_dir(&root).expect("mkdir");
        let root = Root::open(&root).expect("open");
        (dir, root)
    }

    #[test]
    fn links_and_dots_end_inside() {
        let (dir, root) = scratch();
        symlink("/../../../outside", dir.path().join("root/link")).expect("symlink");
        root.mkdir_all(Path::new("link/../a/../../b"), Mode::from_raw_mode(0o755))
            .expect("mkdir");
        root.mkdir_all(Path::new("/link/below"), Mode::from_raw_mode(0o755))
            .expect("mkdir");
        root.touch(Path::new("/link/file"), Mode::from_raw_mode(0o644))
            .expect("touch");
        assert!(!dir.path().join("outside").exists());
        assert!(dir.path().join("root/outside/below").is_dir());
        assert!(dir.path().join("root/outside/file").is_file());
        assert!(dir.path().join("root/b").is_dir());
    }

    #[test]
    fn a_loop_of_links_is_an_error() {
        let (dir, root) = scratch();
        symlink("b", dir.path().join("root/a")).expect("symlink");
        symlink("a", dir.path().join("root/b")).expect("symlink");
        assert!(
            root.mkdir_all(Path::new("a/x"), Mode::from_raw_mode(0o755))
                .is_err()
        );
    }

    #[test]
    fn a_fifo_or_a_giant_is_no_small_file() {
        let (dir, root) = scratch();
        let fifo = dir.path().join("root/fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .expect("fifo");
        assert!(root.read_small(Path::new("fifo"), 10).is_err());
        // Whoever has a FIFO open for reading lets a writer in.
        let writer = OFlags::WRONLY | OFlags::NONBLOCK;
        let opened = rustix::fs::open(&fifo, writer, Mode::empty());
        assert_eq!(opened.expect_err("a reader"), Errno::NXIO);
        std::fs::write(dir.path().join("root/file"), "0123456789+").expect("write");
        assert!(root.read_small(Path::new("file"), 10).is_err());
        assert_eq!(
            root.read_small(Path::new("file"), 11).expect("read").len(),
            11
        );
    }
}
