//! Writes a folder as an archive: `export`, `diff`, `commit`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, lgetxattr, llistxattr, major, minor, openat,
    readlinkat, statat,
};
use rustix::io::Errno;

use crate::error::at;
use crate::tar::{Meta, Time, Writer, Xattrs};
use crate::tree::open_dir;
use crate::{IdMaps, LayerError, OVERLAY_OPAQUE, WHITEOUT, WHITEOUT_OPAQUE};

/// Deepest tree that is packed; each level holds a descriptor.
const MAX_DEPTH: usize = 400;

/// How a folder is read.
#[derive(Debug, Clone, Default)]
pub struct PackOptions {
    /// The folder is an overlay's upper: its marks for deleted things become names (`.wh.x`, `.wh..wh..opq`).
    pub from_overlay: bool,
    /// Times are cut off to whole seconds, as Docker has them in its archives.
    pub whole_seconds: bool,
    /// The archive's owners are to be those of a user namespace.
    pub ids: Option<IdMaps>,
    /// What times the archive's members have.
    pub times: Times,
}

/// What times files have in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Times {
    /// Their own.
    #[default]
    Own,
    /// Their own, but none after this, in seconds since 1970.
    Until(i64),
    /// This, in seconds since 1970.
    At(i64),
}

impl Times {
    fn of(self, own: Time) -> Time {
        let fixed = |seconds| Time { seconds, nanos: 0 };
        match self {
            Self::Own => own,
            Self::Until(latest) if own.seconds < latest => own,
            Self::Until(second) | Self::At(second) => fixed(second),
        }
    }
}

/// What [`pack`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Size of the archive in bytes.
    pub size: u64,
    /// Members of the archive.
    pub files: u64,
}

/// Writes everything below `root` to `out` as an uncompressed archive, in the order of names, so that the same tree is always
/// the same archive. The root itself is left out, and so are sockets. What goes away meanwhile is left out, too.
///
/// Of the extended attributes, `security.capability` and `user.*` are kept.
///
/// # Errors
/// A [`LayerError`]: what cannot be read or written; a tree deeper than 400 folders.
pub fn pack(
    root: BorrowedFd<'_>,
    out: impl Write,
    options: &PackOptions,
) -> Result<Packed, LayerError> {
    pack_only(root, out, options, &|_, _| true)
}

/// As [`pack`], but only what `wanted` says, which is asked with the path and the attributes of each member; what is
/// below a folder that is not wanted is left out with it.
///
/// # Errors
/// As [`pack`].
pub fn pack_only(
    root: BorrowedFd<'_>,
    out: impl Write,
    options: &PackOptions,
    wanted: &dyn Fn(&[u8], &Stat) -> bool,
) -> Result<Packed, LayerError> {
    let mut packer = Packer::new(archive(out), options.clone(), wanted);
    let top = open_dir(root, b".").map_err(at("open folder", b"."))?;
    packer.folder(top.as_fd(), &mut Vec::new(), 0)?;
    packer.finish()
}

/// Shows everything below `root` to `sink`, in the order of names.
pub(crate) fn show(
    root: BorrowedFd<'_>,
    sink: &mut impl Sink,
    options: &PackOptions,
    wanted: &dyn Fn(&[u8], &Stat) -> bool,
) -> Result<(), LayerError> {
    let mut packer = Packer::new(sink, options.clone(), wanted);
    let top = open_dir(root, b".").map_err(at("open folder", b"."))?;
    packer.folder(top.as_fd(), &mut Vec::new(), 0)
}

/// Writes `name` in `dir` (a link as a link; `.` for the folder itself), and what is below it, under the name `to`
/// (`/` for the top of everything), as `docker cp` has it; owners as `ids` has them ([`PackOptions::ids`]).
///
/// # Errors
/// As [`pack`]; `NotFound` in it if nothing is there.
pub fn pack_path(
    dir: BorrowedFd<'_>,
    name: &[u8],
    to: &[u8],
    ids: Option<IdMaps>,
    out: impl Write,
) -> Result<Packed, LayerError> {
    let mut packer = Packer::new(archive(out), whole_seconds(ids), &|_, _| true);
    packer.path(dir, name, to)?;
    packer.finish()
}

/// Shows `name` in `dir`, and what is below it, to `sink` under the name `to`.
pub(crate) fn show_path(
    dir: BorrowedFd<'_>,
    name: &[u8],
    to: &[u8],
    sink: &mut impl Sink,
) -> Result<(), LayerError> {
    Packer::new(sink, whole_seconds(None), &|_, _| true).path(dir, name, to)
}

fn whole_seconds(ids: Option<IdMaps>) -> PackOptions {
    PackOptions {
        whole_seconds: true,
        ids,
        ..PackOptions::default()
    }
}

/// Who takes members as they come.
pub(crate) trait Sink {
    /// The next member; `content` of a regular file, whose size `meta` says.
    fn take(&mut self, meta: &Meta<'_>, content: Option<File>) -> Result<(), LayerError>;
}

type Archive<W> = Writer<io::BufWriter<W>>;

fn archive<W: Write>(out: W) -> Archive<W> {
    Writer::new(io::BufWriter::with_capacity(256 * 1024, out))
}

impl<W: Write> Sink for Archive<W> {
    fn take(&mut self, meta: &Meta<'_>, content: Option<File>) -> Result<(), LayerError> {
        let taken = match content {
            Some(file) => self.append(meta, file),
            None => self.append(meta, io::empty()),
        };
        taken.map_err(LayerError::Write)
    }
}

impl<S: Sink> Sink for &mut S {
    fn take(&mut self, meta: &Meta<'_>, content: Option<File>) -> Result<(), LayerError> {
        (**self).take(meta, content)
    }
}

struct Packer<'a, S> {
    sink: S,
    options: PackOptions,
    wanted: &'a dyn Fn(&[u8], &Stat) -> bool,
    /// First name of everything that has several.
    links: HashMap<(u64, u64), Vec<u8>>,
    files: u64,
}

impl<W: Write> Packer<'_, Archive<W>> {
    fn finish(self) -> Result<Packed, LayerError> {
        let files = self.files;
        let (_, size) = self.sink.finish().map_err(LayerError::Write)?;
        Ok(Packed { size, files })
    }
}

impl<'a, S: Sink> Packer<'a, S> {
    fn new(sink: S, options: PackOptions, wanted: &'a dyn Fn(&[u8], &Stat) -> bool) -> Self {
        Packer {
            sink,
            options,
            wanted,
            links: HashMap::new(),
            files: 0,
        }
    }

    /// `name` in `dir`, under the name `to`.
    fn path(&mut self, dir: BorrowedFd<'_>, name: &[u8], to: &[u8]) -> Result<(), LayerError> {
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(at("look at", name))?;
        let mut path = match to {
            // A folder's name gets its slash later.
            b"/" => Vec::new(),
            to => to.to_vec(),
        };
        self.entry(dir, name, &stat, &mut path, 0)
    }

    /// Everything in the folder `dir`, whose path (with a slash at its end, or empty) is `path`.
    fn folder(
        &mut self,
        dir: BorrowedFd<'_>,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), LayerError> {
        if depth > MAX_DEPTH {
            return Err(LayerError::Limit("folders within folders"));
        }
        let length = path.len();
        for name in names(dir).map_err(at("read folder", path))? {
            path.extend_from_slice(&name);
            match statat(dir, &name[..], AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => {}
                Err(error) => return Err(at("look at", path)(error)),
                Ok(stat) if !(self.wanted)(path, &stat) => {}
                Ok(stat) => self.entry(dir, &name, &stat, path, depth)?,
            }
            path.truncate(length);
        }
        Ok(())
    }

    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        path: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), LayerError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if self.options.from_overlay && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            let at = path.len() - name.len();
            path.splice(at..at, WHITEOUT.iter().copied());
            return self.mark(path, stat);
        }
        if kind == FileType::Socket {
            return Ok(());
        }
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode).cloned() {
                let meta = Meta {
                    flag: b'1',
                    link: &first,
                    ..self.meta_of(path, stat)
                };
                return self.append(&meta, None);
            }
            self.links.insert(inode, path.clone());
        }
        let xattrs = kept_xattrs(dir, name).map_err(at("read attributes of", path))?;
        if kind == FileType::Directory {
            return self.directory(dir, name, stat, path, depth, xattrs);
        }
        let mut link = Vec::new();
        let mut content = None;
        let flag = match kind {
            FileType::Symlink => {
                link = match readlinkat(dir, name, Vec::new()) {
                    Err(Errno::NOENT) => return Ok(()),
                    other => other.map_err(at("read link", path))?.into_bytes(),
                };
                b'2'
            }
            FileType::CharacterDevice => b'3',
            FileType::BlockDevice => b'4',
            FileType::Fifo => b'6',
            _ => {
                content = match open_file(dir, name) {
                    Ok(Some(file)) => Some(file),
                    // Gone, or something else by now.
                    Ok(None) | Err(Errno::NOENT) => return Ok(()),
                    Err(error) => return Err(at("open", path)(error)),
                };
                b'0'
            }
        };
        let size = if flag == b'0' {
            u64::try_from(stat.st_size).unwrap_or(0)
        } else {
            0
        };
        let meta = Meta {
            flag,
            link: &link,
            size,
            xattrs,
            ..self.meta_of(path, stat)
        };
        self.append(&meta, content)
    }

    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        stat: &Stat,
        path: &mut Vec<u8>,
        depth: usize,
        xattrs: Xattrs,
    ) -> Result<(), LayerError> {
        let child = match open_dir(dir, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(at("open folder", path))?,
        };
        path.push(b'/');
        let meta = Meta {
            flag: b'5',
            xattrs,
            ..self.meta_of(path, stat)
        };
        self.append(&meta, None)?;
        if self.options.from_overlay && is_opaque(child.as_fd()) {
            let length = path.len();
            path.extend_from_slice(WHITEOUT_OPAQUE);
            self.mark(path, stat)?;
            path.truncate(length);
        }
        self.folder(child.as_fd(), path, depth + 1)
    }

    /// An empty file whose name says everything.
    fn mark(&mut self, path: &[u8], stat: &Stat) -> Result<(), LayerError> {
        let meta = Meta {
            flag: b'0',
            mode: 0o600,
            major: 0,
            minor: 0,
            ..self.meta_of(path, stat)
        };
        self.append(&meta, None)
    }

    fn append(&mut self, meta: &Meta<'_>, content: Option<File>) -> Result<(), LayerError> {
        self.files += 1;
        let mut meta = meta.clone();
        meta.mtime = self.options.times.of(meta.mtime);
        if self.options.whole_seconds {
            meta.mtime.nanos = 0;
        }
        self.sink.take(&meta, content)
    }

    fn meta_of<'p>(&self, path: &'p [u8], stat: &Stat) -> Meta<'p> {
        let is_device = matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        );
        let device = if is_device { stat.st_rdev } else { 0 };
        let own = (stat.st_uid, stat.st_gid);
        let (uid, gid) = self.options.ids.as_ref().map_or(own, |ids| ids.inside(own));
        Meta {
            path,
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: Time {
                seconds: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            },
            major: major(device),
            minor: minor(device),
            ..Meta::default()
        }
    }
}

/// Opens a regular file that others may be replacing at this moment: a device in its place is never opened, as that
/// alone can have effects, and what it holds is not the container's.
fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<File>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = openat(dir, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(|fd| Some(File::from(fd)))
}

/// The names in a folder, in order.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn is_opaque(dir: BorrowedFd<'_>) -> bool {
    let mut value = [0_u8; 1];
    rustix::fs::fgetxattr(dir, OVERLAY_OPAQUE, &mut value)
        .is_ok_and(|size| size == 1 && value == *b"y")
}

fn is_kept(name: &[u8]) -> bool {
    name == b"security.capability"
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

/// The extended attributes of `name` in `dir` that go into an archive, sorted: `security.capability` and `user.*`. Also of
/// what must not be opened, so by name; a link is not followed.
///
/// # Errors
/// The kernel's.
pub fn kept_xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Xattrs, Errno> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let list = match grown(|buffer| llistxattr(&path[..], buffer)) {
        Err(Errno::NOTSUP | Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = Vec::new();
    for attribute in list.split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        match grown(|buffer| lgetxattr(&path[..], attribute, buffer)) {
            Err(Errno::NODATA | Errno::NOENT) => {}
            value => all.push((attribute.to_vec(), value?)),
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Reads with a small buffer, and with the largest that the kernel ever fills if that is not enough.
fn grown(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    let length = match read(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.resize(64 * 1024, 0);
            read(&mut buffer)?
        }
        other => other?,
    };
    buffer.truncate(length);
    Ok(buffer)
}
