//! Makes one member after the other below a folder.

use std::fs::File;
use std::io::{BufRead, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timestamps, linkat, makedev, mkdirat, mknodat, openat, statat,
    symlinkat,
};
use rustix::io::Errno;

use crate::attributes::{
    first_mode, set_by_fd, set_by_name, set_by_second_name, set_times, times_of,
};
use crate::content::Content;
use crate::error::{at, path_of};
use crate::tar::{Archive, Kind, Member};
use crate::tree::{Tree, Was, open_dir, set_opaque};
use crate::{Applied, ApplyOptions, LayerError, WHITEOUT, WHITEOUT_META, WHITEOUT_OPAQUE, plain};

/// Most bytes of folder names whose times wait to be set.
const MAX_WAITING: usize = 256 * 1024 * 1024;

/// Unpacks the archive in `input` below `target`.
pub(crate) fn extract(
    input: impl BufRead,
    target: BorrowedFd<'_>,
    options: &ApplyOptions,
) -> Result<Applied, LayerError> {
    let is_layer = options.plain.is_none();
    let mut archive = Archive::new(input, options.max_bytes, is_layer);
    let mut extractor = Extractor::new(target, options);
    while let Some(member) = archive.next_member()? {
        extractor.member(&mut archive, &member, options)?;
    }
    let (uncompressed_size, files) = extractor.finish();
    Ok(Applied {
        uncompressed_size,
        files,
        diff_id: archive.finish()?,
    })
}

/// Where the content of a file comes from.
pub(crate) trait Contents {
    /// Writes all of it into an empty file, and what of it is to be known to `content`.
    fn fill(
        &mut self,
        file: &mut File,
        member: &Member,
        path: &[u8],
        content: Option<&mut Content>,
    ) -> Result<(), LayerError>;
}

impl<R: BufRead> Contents for Archive<R> {
    fn fill(
        &mut self,
        file: &mut File,
        member: &Member,
        path: &[u8],
        mut content: Option<&mut Content>,
    ) -> Result<(), LayerError> {
        let Some(pieces) = &member.sparse else {
            return self.data(|piece| {
                if let Some(content) = &mut content {
                    content.update(piece);
                }
                file.write_all(piece).map_err(at("write file", path))
            });
        };
        write_pieces(self, file, pieces, path)?;
        file.set_len(member.size).map_err(at("write file", path))
    }
}

/// Makes members below a folder.
pub(crate) struct Extractor<'a> {
    tree: Tree<'a>,
    /// Folders, whose times change as long as something is made in them.
    waiting: Vec<(Vec<u8>, Timestamps)>,
    waiting_bytes: usize,
    size: u64,
    files: u64,
}

/// Where a member goes: the open folder and the last name.
pub(crate) struct Place<'p> {
    parent: Rc<OwnedFd>,
    pub(crate) path: &'p [u8],
    pub(crate) name: &'p [u8],
}

impl Place<'_> {
    fn parent(&self) -> BorrowedFd<'_> {
        self.parent.as_fd()
    }
}

impl<'a> Extractor<'a> {
    pub(crate) fn new(target: BorrowedFd<'a>, options: &ApplyOptions) -> Self {
        Self {
            tree: Tree::new(target, plain::folder(options)),
            waiting: Vec::new(),
            waiting_bytes: 0,
            size: 0,
            files: 0,
        }
    }

    /// The sum of the sizes of the files, and the number of members.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        self.set_waiting_times();
        (self.size, self.files)
    }

    /// Makes the next member.
    pub(crate) fn member(
        &mut self,
        contents: &mut impl Contents,
        member: &Member,
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        self.files += 1;
        self.place_member(contents, member, options)?;
        match self.files + self.tree.implied > options.max_entries {
            true => Err(LayerError::Limit("members")),
            false => Ok(()),
        }
    }

    fn place_member(
        &mut self,
        contents: &mut impl Contents,
        member: &Member,
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        let named = plain::renamed(&member.path, options);
        let path = clean(&named).ok_or_else(|| LayerError::Outside(path_of(&member.path)))?;
        if member.kind == Kind::Label {
            return Ok(());
        }
        // The root itself is not the archive's: Docker leaves it as it is, too.
        if path.is_empty() {
            return self.top(member, options);
        }
        let (parent, name) = split(&path);
        if let Some(plain) = &options.plain {
            let place = Place {
                parent: self.tree.find_or_make(parent)?,
                path: &path,
                name,
            };
            plain::check(plain, place.parent(), &place, member)?;
            let member = plain::adapted(plain, member, options)?;
            return self.make(contents, &place, &member, options);
        }
        if name == WHITEOUT_OPAQUE {
            return self.opaque(parent);
        }
        if name.starts_with(WHITEOUT_META) || path.starts_with(WHITEOUT_META) {
            return Ok(());
        }
        let place = Place {
            parent: self.tree.find_or_make(parent)?,
            path: &path,
            name,
        };
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&Place {
                name: hidden,
                ..place
            });
        }
        self.make(contents, &place, member, options)
    }

    /// What an archive says of where it goes: nothing that counts, but of `/`, which Docker does not take for `.` (Go's
    /// `filepath.Clean`).
    fn top(&mut self, member: &Member, options: &ApplyOptions) -> Result<(), LayerError> {
        let Some(plain) = options.plain.as_ref().filter(|one| one.rename.is_none()) else {
            return Ok(());
        };
        if member.kind != Kind::Dir || !member.path.starts_with(b"/") {
            return Ok(());
        }
        let member = plain::adapted(plain, member, options)?;
        let folder = self.tree.find_or_make(b"")?;
        set_by_fd(folder.as_fd(), &member)
    }

    fn make(
        &mut self,
        contents: &mut impl Contents,
        place: &Place<'_>,
        member: &Member,
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        match member.kind {
            Kind::File => {
                let keeps = options.plain.as_ref().is_some_and(|one| one.keeps_contents);
                self.file(contents, place, member, keeps)
            }
            Kind::Dir => self.dir(place, member),
            Kind::Symlink => self.symlink(place, member),
            Kind::HardLink => self.hard_link(place, member),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.node(place, member, options),
            Kind::Label => Ok(()),
            Kind::Unknown(kind) => Err(LayerError::UnknownType {
                path: path_of(&member.path),
                kind,
            }),
        }
    }

    /// Runs `make`, and once more when what was in the way is gone. Says what was in the way.
    fn place<T>(
        &mut self,
        place: &Place<'_>,
        operation: &'static str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> Result<(T, Was), LayerError> {
        let fault = |error: Errno| at(operation, place.path)(error);
        match make(place.parent(), place.name) {
            Err(Errno::EXIST) => {}
            other => return other.map(|made| (made, Was::Nothing)).map_err(fault),
        }
        let was = self
            .tree
            .make_free(place.parent(), place.name)
            .map_err(fault)?;
        make(place.parent(), place.name)
            .map(|made| (made, was))
            .map_err(fault)
    }

    fn file(
        &mut self,
        contents: &mut impl Contents,
        place: &Place<'_>,
        member: &Member,
        keeps: bool,
    ) -> Result<(), LayerError> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = first_mode(member);
        let (fd, _) = self.place(place, "make file", |parent, name| {
            openat(parent, name, flags, mode)
        })?;
        let mut file = File::from(fd);
        // What has holes is read again by who wants to know what is in it.
        let mut content = (keeps && member.sparse.is_none()).then(Content::default);
        contents.fill(&mut file, member, place.path, content.as_mut())?;
        if let Some(content) = content {
            content.keep(&file);
        }
        set_by_fd(file.as_fd(), member)?;
        set_times(file.as_fd(), &times_of(member)).map_err(at("set the time of", place.path))?;
        self.size = self.size.saturating_add(member.size);
        Ok(())
    }

    fn dir(&mut self, place: &Place<'_>, member: &Member) -> Result<(), LayerError> {
        let fault = |error: Errno| at("make folder", place.path)(error);
        let make = |parent: BorrowedFd<'_>, name: &[u8]| {
            match mkdirat(parent, name, first_mode(member)) {
                // A folder that is there stays, with what is in it.
                Err(Errno::EXIST) => match open_dir(parent, name) {
                    Err(Errno::NOTDIR | Errno::LOOP) => Err(Errno::EXIST),
                    other => other,
                },
                other => other.and_then(|()| open_dir(parent, name)),
            }
        };
        let (dir, was) = self.place(place, "make folder", make)?;
        if was == Was::Whiteout {
            set_opaque(&dir).map_err(fault)?;
        }
        set_by_fd(dir.as_fd(), member)?;
        self.tree.remember(place.path, &Rc::new(dir));
        self.waiting_bytes += place.path.len() + size_of::<(Vec<u8>, Timestamps)>();
        if self.waiting_bytes > MAX_WAITING {
            return Err(LayerError::Limit("folders"));
        }
        self.waiting.push((place.path.to_vec(), times_of(member)));
        Ok(())
    }

    fn symlink(&mut self, place: &Place<'_>, member: &Member) -> Result<(), LayerError> {
        let target = &member.link[..];
        self.place(place, "make symbolic link", |parent, name| {
            symlinkat(target, parent, name)
        })?;
        set_by_name(place.parent(), place.name, member, false)
    }

    /// A second name.
    fn hard_link(&mut self, place: &Place<'_>, member: &Member) -> Result<(), LayerError> {
        let outside = || LayerError::Outside(path_of(&member.link));
        let target = clean(&member.link)
            .filter(|path| !path.is_empty())
            .ok_or_else(outside)?;
        if target == place.path {
            return Ok(());
        }
        let (folder, file) = split(&target);
        let folder = self
            .tree
            .find(folder)
            .map_err(at("find the target of hard link", place.path))?;
        let link = |parent: BorrowedFd<'_>, name: &[u8]| {
            linkat(&*folder, file, parent, name, AtFlags::empty())
        };
        self.place(place, "make hard link", link)?;
        set_by_second_name(place.parent(), place.name, member)
    }

    fn node(
        &mut self,
        place: &Place<'_>,
        member: &Member,
        options: &ApplyOptions,
    ) -> Result<(), LayerError> {
        let kind = match member.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        if options.skip_devices && kind != FileType::Fifo {
            return Ok(());
        }
        let device = makedev(member.major, member.minor);
        let make = |parent: BorrowedFd<'_>, name: &[u8]| {
            mknodat(parent, name, kind, Mode::RUSR | Mode::WUSR, device)
        };
        self.place(place, "make device", make)?;
        set_by_name(place.parent(), place.name, member, true)
    }

    /// Hides what lower layers have under this name. What this layer itself has there stays, whichever of the
    /// two comes first in the archive.
    fn whiteout(&mut self, place: &Place<'_>) -> Result<(), LayerError> {
        if matches!(place.name, b"" | b"." | b"..") {
            return Err(LayerError::Outside(path_of(place.path)));
        }
        let fault = |error: Errno| at("make whiteout", place.path)(error);
        let made = mknodat(
            place.parent(),
            place.name,
            FileType::CharacterDevice,
            Mode::empty(),
            makedev(0, 0),
        );
        if made != Err(Errno::EXIST) {
            return made.map_err(fault);
        }
        let stat = statat(place.parent(), place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            open_dir(place.parent(), place.name)
                .and_then(set_opaque)
                .map_err(fault)?;
        }
        Ok(())
    }

    fn opaque(&mut self, path: &[u8]) -> Result<(), LayerError> {
        let dir = self.tree.find_or_make(path)?;
        set_opaque(&*dir).map_err(at("make opaque", path))
    }

    fn set_waiting_times(&mut self) {
        for (path, times) in std::mem::take(&mut self.waiting) {
            let (parent, name) = split(&path);
            // What is no folder any more was replaced by a later member, which set its own times.
            if let Ok(parent) = self.tree.find(parent)
                && let Ok(dir) = open_dir(&*parent, name)
            {
                let _ = set_times(dir.as_fd(), &times);
            }
        }
    }
}

/// Writes the pieces of a sparse file to their places.
fn write_pieces<R: BufRead>(
    archive: &mut Archive<R>,
    file: &File,
    pieces: &[(u64, u64)],
    path: &[u8],
) -> Result<(), LayerError> {
    let mut pieces = pieces.iter().copied();
    let (mut offset, mut left) = (0, 0);
    archive.data(|mut bytes| {
        while !bytes.is_empty() {
            while left == 0 {
                // The map was found to be as long as the data.
                let Some(next) = pieces.next() else {
                    return Ok(());
                };
                (offset, left) = next;
            }
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all_at(&bytes[..count], offset)
                .map_err(at("write file", path))?;
            (offset, left) = (offset + count as u64, left - count as u64);
            bytes = &bytes[count..];
        }
        Ok(())
    })
}

/// The path without empty components, `.` and `..`; relative to the root. `None` if it leads above the root.
pub(crate) fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

/// Folder and last name of a cleaned path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_names() {
        let cleaned =
            |path: &str| clean(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(cleaned("./a//b/./c/").as_deref(), Some("a/b/c"));
        assert_eq!(cleaned("/a/../b").as_deref(), Some("b"));
        assert_eq!(cleaned("./").as_deref(), Some(""));
        assert_eq!(cleaned("a/../../b"), None);
        assert_eq!(cleaned("/.."), None);
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"c"), (&b""[..], &b"c"[..]));
    }
}
