//! An archive on its way in: its members in one file without a name, so that a kill leaves nothing.
//!
//! The order of members is free, and layers come before the list that says what they are; so the archive is
//! written down once, and its layers are then unpacked side by side out of it. Member names are only ever keys of
//! a map, never paths of this machine.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use crate::ImageError;
use crate::unpack::SliceReader;

/// An archive with more members than this is not an image.
const MAX_MEMBERS: usize = 100_000;

/// The members of an archive.
pub(crate) struct Spool {
    pub(crate) file: Arc<File>,
    members: HashMap<String, Member>,
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

impl Spool {
    /// Reads a tar archive, compressed or not, to its end.
    pub(crate) fn read(archive: impl Read, root: &Path) -> Result<Spool, ImageError> {
        let file = tempfile::tempfile_in(root)
            .map_err(|source| ImageError::io("make a spool file in", root, source))?;
        let broken = |error: io::Error| ImageError::Archive(crate::error::chain(&error));
        let spooled = |source| ImageError::io("write a spool file in", root, source);
        let plain = wharf_layer::decompress(archive).map_err(broken)?;
        let mut writer = io::BufWriter::with_capacity(256 * 1024, &file);
        let mut members = HashMap::new();
        let mut end = 0;
        let mut tar = tar::Archive::new(plain);
        for entry in tar.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            if members.len() == MAX_MEMBERS {
                return Err(ImageError::Archive("too many members".to_owned()));
            }
            let name = normalize(&String::from_utf8_lossy(&entry.path_bytes()), "");
            let member = match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    let size = copy(&mut entry, &mut writer, &broken, &spooled)?;
                    let offset = end;
                    end += size;
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
                _ => continue,
            };
            members.insert(name, member);
        }
        // Behind the end marker there is padding; a sender must be able to finish, or it sees a broken pipe.
        io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(broken)?;
        writer.flush().map_err(spooled)?;
        drop(writer);
        Ok(Spool {
            file: Arc::new(file),
            members,
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
        let mut bytes = Vec::new();
        self.slice(at, left)
            .read_to_end(&mut bytes)
            .map_err(|error| ImageError::Archive(error.to_string()))?;
        Ok(Some(bytes))
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
    let mut parts: Vec<&str> = Vec::new();
    let from = if name.starts_with('/') { "" } else { folder };
    for part in from.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn names_become_keys() {
        assert_eq!(normalize("./manifest.json", ""), "manifest.json");
        assert_eq!(normalize("../b/layer.tar", "a"), "b/layer.tar");
        assert_eq!(normalize("/x//y/", "a"), "x/y");
        assert_eq!(normalize("../../../etc/passwd", ""), "etc/passwd");
    }
}
