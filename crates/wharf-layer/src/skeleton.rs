//! Archives without what lies unpacked already.
//!
//! A skeleton is an archive's bytes but for the contents of files that the folder has in which the archive was unpacked: headers, padding, the
//! files that others have replaced. With that folder it gives the archive again, byte for byte, whoever wrote it. Nothing of it
//! is taken on trust: who reads one compares the digest.
//!
//! ```text
//! zstd( piece... )     piece = 0, length, that many bytes       as they stand in the archive
//!                            | 1, length, length of the path, path  a file of the folder, which has that many bytes
//! ```
//! Numbers have eight bytes, the lowest first.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};

use crate::LayerError;
use crate::error::at;
use crate::extract::{clean, split};
use crate::tar::{Archive, Kind};
use crate::tree::Tree;

const LITERAL: u8 = 0;
const FILE: u8 = 1;
/// A smaller file is not worth being looked for.
const MIN_FILE: u64 = 128;
/// Linux has no longer paths.
const MAX_PATH: u64 = 64 * 1024;
const BUFFER: usize = 256 * 1024;

/// Writes the skeleton of `archive` (a layer, not compressed), which was unpacked in `folder`.
///
/// # Errors
/// A [`LayerError`]: if the archive cannot be read, or the skeleton not written.
pub fn write_skeleton(
    archive: &File,
    folder: BorrowedFd<'_>,
    out: impl Write,
) -> Result<(), LayerError> {
    let mut out = zstd::Encoder::new(out, 0).map_err(LayerError::Write)?;
    let mut tree = Tree::new(folder, Vec::new());
    let input = BufReader::with_capacity(
        BUFFER,
        From {
            file: archive,
            at: 0,
        },
    );
    let mut members = Archive::new(input, u64::MAX, false);
    let mut done = 0;
    while let Some(member) = members.next_member()? {
        if member.kind != Kind::File || member.sparse.is_some() || member.size < MIN_FILE {
            continue;
        }
        let start = members.position();
        let Some(path) = clean(&member.path) else {
            continue;
        };
        let Some(file) = open(&mut tree, &path, member.size) else {
            continue;
        };
        if !is_same(archive, start, &file, member.size).map_err(LayerError::Read)? {
            continue;
        }
        literal(&mut out, archive, done, start)?;
        number(&mut out, FILE, member.size)?;
        out.write_all(&(path.len() as u64).to_le_bytes())
            .and_then(|()| out.write_all(&path))
            .map_err(LayerError::Write)?;
        done = start + member.size;
    }
    let end = archive.metadata().map_err(LayerError::Read)?.len();
    literal(&mut out, archive, done, end)?;
    out.finish().map(drop).map_err(LayerError::Write)
}

/// Writes the archive whose skeleton this is, with the files of `folder`.
///
/// # Errors
/// A [`LayerError`]: if the skeleton is damaged, or a file is not there or has another size. Whether the contents are those of then, only
/// the digest of what was written can tell.
pub fn read_skeleton(
    skeleton: impl Read,
    folder: BorrowedFd<'_>,
    out: &mut dyn Write,
) -> Result<(), LayerError> {
    let mut input = BufReader::new(zstd::Decoder::new(skeleton).map_err(LayerError::Read)?);
    let mut tree = Tree::new(folder, Vec::new());
    let mut kind = [0];
    while input.read(&mut kind).map_err(LayerError::read)? == 1 {
        let length = take_number(&mut input)?;
        match kind[0] {
            LITERAL => copy(&mut input, length, out)?,
            FILE => {
                let path_length = take_number(&mut input)?;
                if path_length > MAX_PATH {
                    return Err(LayerError::Limit("bytes in a path"));
                }
                let mut path = Vec::new();
                let mut head = (&mut input).take(path_length);
                head.read_to_end(&mut path).map_err(LayerError::read)?;
                let Some(file) = open(&mut tree, &path, length) else {
                    let changed = io::Error::other("not there as it was unpacked");
                    return Err(at("read", &path)(changed));
                };
                copy(&mut &file, length, out)?;
            }
            _ => return Err(LayerError::Truncated),
        }
    }
    Ok(())
}

/// A file of the folder, if it is one and has this size.
fn open(tree: &mut Tree<'_>, path: &[u8], size: u64) -> Option<File> {
    let (parent, name) = split(path);
    let parent = tree.find(parent).ok()?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(parent.as_fd(), name, flags, Mode::empty()).ok()?;
    let stat = fstat(&file).ok()?;
    let is_it = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    (is_it && u64::try_from(stat.st_size) == Ok(size)).then(|| File::from(file))
}

/// Whether `size` bytes of the archive are the file's.
fn is_same(archive: &File, start: u64, file: &File, size: u64) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut done = 0;
    while done < size {
        let count = usize::try_from(size - done).unwrap_or(BUFFER).min(BUFFER);
        archive.read_exact_at(&mut ours[..count], start + done)?;
        match file.read_exact_at(&mut theirs[..count], done) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if ours[..count] != theirs[..count] {
            return Ok(false);
        }
        done += count as u64;
    }
    Ok(true)
}

fn literal(out: &mut impl Write, archive: &File, from: u64, to: u64) -> Result<(), LayerError> {
    if from == to {
        return Ok(());
    }
    number(out, LITERAL, to - from)?;
    copy(
        &mut From {
            file: archive,
            at: from,
        },
        to - from,
        out,
    )
}

fn number(out: &mut impl Write, kind: u8, number: u64) -> Result<(), LayerError> {
    out.write_all(&[kind])
        .and_then(|()| out.write_all(&number.to_le_bytes()))
        .map_err(LayerError::Write)
}

fn take_number(input: &mut impl Read) -> Result<u64, LayerError> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes).map_err(LayerError::read)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Copies so many bytes and not one less.
fn copy(
    input: &mut impl Read,
    mut length: u64,
    out: &mut (impl Write + ?Sized),
) -> Result<(), LayerError> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(BUFFER).min(BUFFER)];
    while length > 0 {
        let count = usize::try_from(length).unwrap_or(BUFFER).min(BUFFER);
        let piece = &mut buffer[..count];
        input.read_exact(piece).map_err(LayerError::read)?;
        out.write_all(piece).map_err(LayerError::Write)?;
        length -= count as u64;
    }
    Ok(())
}

/// A file from a place on; the file's own place does not count.
struct From<'a> {
    file: &'a File,
    at: u64,
}

impl Read for From<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
