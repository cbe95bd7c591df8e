//! A blob on its way in.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};

use wharf_oci::{Digest, Hasher};

use crate::error::io_at;
use crate::store::flat_name;
use crate::{Content, ContentError};

const BUFFER: usize = 256 * 1024;

/// A blob that is being written. Dropping it keeps what came, and the next ingest of the same digest goes on there.
#[derive(Debug)]
pub struct Ingest {
    content: Content,
    expected: Digest,
    size: Option<u64>,
    file: File,
    hasher: Hasher,
    offset: u64,
    /// What came is of no use to the next attempt.
    spoilt: bool,
}

impl Content {
    /// Begins the blob `expected`, or goes on behind what an earlier attempt left of it; see [`Ingest::offset`].
    ///
    /// # Errors
    /// [`ContentError::Exists`] if the blob is here, [`ContentError::Busy`] if somebody else is at it, or the system's.
    pub fn ingest(&self, expected: &Digest, size: Option<u64>) -> Result<Ingest, ContentError> {
        if !self.state().busy.insert(*expected) {
            return Err(ContentError::Busy(*expected));
        }
        // Looked at behind the gate: the one before us may just have committed.
        let begun = match self.look(expected) {
            Err(error) => Err(error),
            Ok(()) if self.contains(expected) => Err(ContentError::Exists(*expected)),
            Ok(()) => self.begin(expected, size),
        };
        match begun {
            Ok((file, hasher, offset)) => Ok(Ingest {
                content: self.clone(),
                expected: *expected,
                size,
                file,
                hasher,
                offset,
                spoilt: false,
            }),
            Err(error) => {
                self.state().busy.remove(expected);
                Err(error)
            }
        }
    }

    fn begin(
        &self,
        expected: &Digest,
        size: Option<u64>,
    ) -> Result<(File, Hasher, u64), ContentError> {
        let path = self.partial_path(expected);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_at("open", &path))?;
        let there = file.metadata().map_err(io_at("look at", &path))?.len();
        if size.is_some_and(|size| there > size) {
            file.set_len(0).map_err(io_at("truncate", &path))?;
        }
        let mut hasher = Hasher::new(expected.algorithm());
        let mut offset = 0;
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok((file, hasher, offset)),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(io_at("read", &path)(error)),
            };
            hasher.update(&buffer[..count]);
            offset += count as u64;
        }
    }
}

impl Ingest {
    /// How many bytes are here already: where a transfer goes on.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Which blob this will be.
    pub fn digest(&self) -> &Digest {
        &self.expected
    }

    /// Opens what is here already for reading, from the first byte on; it ends at [`Ingest::offset`] or later.
    ///
    /// # Errors
    /// The system's.
    pub fn partial(&self) -> Result<File, ContentError> {
        let path = self.content.partial_path(&self.expected);
        File::open(&path).map_err(io_at("open", &path))
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// [`ContentError::SizeMismatch`] for more than announced, or the system's. When the disk is full, what came is given
    /// up at the end of the ingest, so that the rest of the system has room again.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), ContentError> {
        let total = self.offset + bytes.len() as u64;
        if let Some(expected) = self.size.filter(|size| total > *size) {
            self.spoilt = true;
            return Err(self.size_mismatch(expected, total));
        }
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(count) => {
                    // Hashed after it was written, so that offset, hash and file agree whatever fails.
                    self.hasher.update(&bytes[..count]);
                    self.offset += count as u64;
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let path = self.content.partial_path(&self.expected);
                    let error = io_at("write", &path)(error);
                    self.spoilt = error.is_disk_full();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Throws away what came and begins again, as for a server that cannot go on in the middle.
    ///
    /// # Errors
    /// The system's.
    pub fn restart(&mut self) -> Result<(), ContentError> {
        let path = self.content.partial_path(&self.expected);
        self.file.set_len(0).map_err(io_at("truncate", &path))?;
        io::Seek::rewind(&mut self.file).map_err(io_at("rewind", &path))?;
        self.hasher = Hasher::new(self.expected.algorithm());
        self.offset = 0;
        self.spoilt = false;
        Ok(())
    }

    /// Makes the blob visible if its bytes are right.
    ///
    /// # Errors
    /// [`ContentError::SizeMismatch`] if bytes are missing (they stay for another attempt),
    /// [`ContentError::DigestMismatch`] if they are wrong (they are thrown away), or the system's.
    pub fn commit(mut self) -> Result<(), ContentError> {
        if let Some(expected) = self.size.filter(|size| self.offset != *size) {
            return Err(self.size_mismatch(expected, self.offset));
        }
        let found = std::mem::take(&mut self.hasher).finish();
        if found != self.expected {
            self.spoilt = true;
            return Err(ContentError::DigestMismatch {
                expected: self.expected,
                found: found.to_string(),
            });
        }
        let name = flat_name(&self.expected);
        let path = self.content.path(&self.expected);
        self.content
            .shared
            .settle
            .begin(&name)
            .map_err(io_at("mark as new", &path))?;
        fs::rename(self.content.partial_path(&self.expected), &path).map_err(io_at("commit", &path))
    }

    fn size_mismatch(&self, expected: u64, found: u64) -> ContentError {
        ContentError::SizeMismatch {
            digest: self.expected,
            expected,
            found,
        }
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        if self.spoilt || self.offset == 0 {
            let path = self.content.partial_path(&self.expected);
            // An empty file that stays is an empty part; and one that was committed has another name now.
            let _ = fs::remove_file(path);
        }
        self.content.state().busy.remove(&self.expected);
    }
}
