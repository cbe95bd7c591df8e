//! An archive on its way in: its members in one file without a name, so that a kill leaves nothing.
//!
//! The order of members is free, and layers come before the list that says what they are; so the archive is
//! written down once, and its layers are then unpacked side by side out of it. Member names are only ever keys of
//! a map, never paths of this machine.

use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ImageError;
use crate::unpack::SliceReader;

/// An archive with more members than this is not an image.
const MAX_MEMBERS: usize = 100_000;
/// What precedes a member and speaks of it (long names, extended headers) is held in memory, and has so many bytes at most.
const MAX_HEAD: u64 = 4 << 20;
/// So many bytes at most are held of the names of an archive's members, and of its documents, each as often as another one
/// names it.
const MAX_HELD: u64 = 512 << 20;

/// The members of an archive.
pub(crate) struct Spool {
    pub(crate) file: Arc<File>,
    members: HashMap<String, Member>,
    /// Bytes of documents that may still be read.
    room: Mutex<u64>,
}

/// Where a member's content is.
#[derive(Debug, Clone)]
pub(crate) enum Member {
    /// In the spool file.
    Content {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        size: u64,
    },
    /// In another member. Docker before 25 writes a repeated layer so.
    Link(String),
}

impl Member {
    fn link(&self) -> Option<&str> {
        match self {
            Self::Content { .. } => None,
            Self::Link(target) => Some(target),
        }
    }
}

impl Spool {
    /// Reads a tar archive, compressed or not, to its end.
    pub(crate) fn read(archive: impl Read, root: &Path) -> Result<Spool, ImageError> {
        let file = tempfile::tempfile_in(root)
            .map_err(|source| ImageError::io("make a spool file in", root, source))?;
        let broken = |error: io::Error| ImageError::Archive(wharf_sys::words::chain(&error));
        let spooled = |source| ImageError::io("write a spool file in", root, source);
        let plain = wharf_layer::decompress(archive).map_err(broken)?;
        let mut writer = io::BufWriter::with_capacity(256 * 1024, &file);
        let mut members = HashMap::new();
        let mut end = 0;
        let (left, mut room) = (Rc::new(Cell::new(MAX_HEAD)), MAX_HELD);
        let bounded = Bounded {
            reader: plain,
            left: left.clone(),
        };
        let mut tar = tar::Archive::new(bounded);
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            left.set(u64::MAX);
            // What is not taken of it is only gone past.
            let mut unread = entry.size();
            if members.len() == MAX_MEMBERS {
                return Err(ImageError::Archive("too many members".to_owned()));
            }
            let name = normalize(&String::from_utf8_lossy(&entry.path_bytes()), "");
            let member = match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = copy(&mut entry, &mut writer, &broken, &spooled)?;
                    let offset = end;
                    end += size;
                    unread = 0;
                    Member::Content { offset, size }
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let folder = match entry.header().entry_type() {
                        tar::EntryType::Symlink => name.rsplit_once('/').map_or("", |(f, _)| f),
                        _ => "",
                    };
                    Member::Link(normalize(&String::from_utf8_lossy(&target), folder))
                }
                _ => {
                    left.set(unread.saturating_add(MAX_HEAD));
                    continue;
                }
            };
            let held = name.len() + member.link().map_or(0, str::len);
            let rest = room.checked_sub(held as u64);
            room = rest.ok_or_else(|| {
                ImageError::Archive("the names of its members are too long".to_owned())
            })?;
            members.insert(name, member);
            left.set(unread.saturating_add(MAX_HEAD));
        }
        left.set(u64::MAX);
        // Behind the end marker there is padding; a sender must be able to finish, or it sees a broken pipe.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
        writer.flush().map_err(spooled)?;
        drop(writer);
        Ok(Spool {
            file: Arc::new(file),
            members,
            room: Mutex::new(room),
        })
    }

    /// Where the content of a member is: offset and size.
    pub(crate) fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normalize(name, "");
        // A chain of links is short, or a loop.
        for _ in 0..8 {
            match self.members.get(&name)? {
                Member::Content { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name = target.clone(),
            }
        }
        None
    }

    /// A small member as a whole; `None` if it is not there.
    pub(crate) fn small(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ImageError> {
        let Some((at, left)) = self.find(name) else {
            return Ok(None);
        };
        if left > limit {
            return Err(ImageError::Archive(format!("{name} is too large")));
        }
        self.take_room(left)?;
        let mut bytes = Vec::new();
        self.slice(at, left)
            .read_to_end(&mut bytes)
            .map_err(|error| ImageError::Archive(error.to_string()))?;
        Ok(Some(bytes))
    }

    fn take_room(&self, bytes: u64) -> Result<(), ImageError> {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let left = room.checked_sub(bytes);
        *room = left.ok_or_else(|| {
            ImageError::Archive("its documents are too large together".to_owned())
        })?;
        Ok(())
    }

    /// A reader of a part of the spool.
    pub(crate) fn slice(&self, at: u64, left: u64) -> SliceReader {
        SliceReader {
            file: self.file.clone(),
            at,
            left,
        }
    }
}

/// An archive that gives no more than is expected of it next.
struct Bounded<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(io::Error::other("a header is too long"));
        }
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.reader.read(&mut buffer[..length])?;
        self.left.set(left - count as u64);
        Ok(count)
    }
}

/// Copies, and tells a broken archive from a full disk.
fn copy(
    entry: &mut impl Read,
    writer: &mut impl Write,
    broken: &dyn Fn(io::Error) -> ImageError,
    spooled: &dyn Fn(io::Error) -> ImageError,
) -> Result<u64, ImageError> {
    let mut buffer = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        let count = entry.read(&mut buffer).map_err(broken)?;
        if count == 0 {
            return Ok(size);
        }
        writer.write_all(&buffer[..count]).map_err(spooled)?;
        size += count as u64;
    }
}

/// `./a/../b/` seen from `folder`, as a key. What leads above the top stays at the top.
fn normalize(name: &str, folder: &str) -> String {
    let from = if name.starts_with('/') { "" } else { folder };
    wharf_go::path::names(&format!("/{from}/{name}")).join("/")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{MAX_HEAD, MAX_HELD, Spool, normalize};

    fn header(kind: tar::EntryType, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path("x").unwrap();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    /// Names and extended headers are held in memory: one without an end is not read to its end.
    #[test]
    fn a_header_that_does_not_end_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let long = MAX_HEAD * 16;
        for kind in [
            tar::EntryType::GNULongName,
            tar::EntryType::GNULongLink,
            tar::EntryType::XHeader,
        ] {
            let mut read = 0;
            let archive = header(kind, long);
            let zeros = std::io::repeat(0).take(long);
            let counted = std::io::Read::chain(&archive[..], zeros);
            let counted = Counted(counted, &mut read);
            let error = Spool::read(counted, root.path()).err().unwrap().to_string();
            assert!(error.contains("a header is too long"), "{kind:?}: {error}");
            assert!(read < MAX_HEAD * 2, "{kind:?}: {read}");
        }
        // Content may be as long as it is, whether it is taken or not.
        for kind in [tar::EntryType::Regular, tar::EntryType::XGlobalHeader] {
            let size = MAX_HEAD * 3;
            let mut archive = header(kind, size);
            archive.resize(archive.len() + size as usize, 1);
            archive.extend(header(tar::EntryType::Regular, 0));
            archive.resize(archive.len() + 1024, 0);
            Spool::read(&archive[..], root.path()).unwrap();
        }
    }

    struct Counted<'a, R>(R, &'a mut u64);

    impl<R: std::io::Read> std::io::Read for Counted<'_, R> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            *self.1 += count as u64;
            Ok(count)
        }
    }

    /// One document that is named over and over is held as often.
    #[test]
    fn documents_are_bounded_all_together() {
        let root = tempfile::tempdir().unwrap();
        let size = 8 << 20;
        let mut archive = header(tar::EntryType::Regular, size);
        archive.resize(archive.len() + size as usize, b' ');
        archive.resize(archive.len() + 1024, 0);
        let spool = Spool::read(&archive[..], root.path()).unwrap();
        let mut held = 0;
        let error = loop {
            match spool.small("x", size) {
                Ok(bytes) => held += bytes.unwrap().len() as u64,
                Err(error) => break error.to_string(),
            }
            assert!(held <= MAX_HELD);
        };
        assert!(error.contains("documents are too large"), "{error}");
        // But for the member's name.
        assert_eq!(held, MAX_HELD - size);
    }

    #[test]
    fn names_become_keys() {
        assert_eq!(normalize("./manifest.json", ""), "manifest.json");
        assert_eq!(normalize("../b/layer.tar", "a"), "b/layer.tar");
        assert_eq!(normalize("/x//y/", "a"), "x/y");
        assert_eq!(normalize("../../../etc/passwd", ""), "etc/passwd");
    }
}
