//! Digests of files' contents, kept with the files: who wants to know whether one has changed does not read it again.
//!
//! They are for files that are replaced and never written to again. An archive cannot bring one, and they go into none.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use rustix::fs::{XattrFlags, fsetxattr, lgetxattr};
use wharf_oci::{Digest, Hasher};

/// In front of attributes that are ours.
pub(crate) const OURS: &[u8] = b"trusted.wharf.";
/// Size of the file in 8 bytes, and the SHA-256 of its content: a file that a power cut has shortened has another size.
const NAME: &str = "trusted.wharf.content";
const SIZE: usize = 8;
const LENGTH: usize = SIZE + 32;

/// A file's content on its way into it.
#[derive(Debug)]
pub struct Content {
    hasher: Hasher,
    size: u64,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            hasher: Hasher::sha256(),
            size: 0,
        }
    }
}

impl Content {
    /// The next bytes.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
    }

    /// Keeps the digest with the file that all of it is in. A file system or a user who cannot keep it does without.
    pub fn keep(self, file: impl AsFd) {
        let value = value_of(self.size, &self.hasher.finish());
        // It is only a cache.
        let _ = fsetxattr(file, NAME, &value, XattrFlags::empty());
    }
}

fn value_of(size: u64, digest: &Digest) -> Vec<u8> {
    [&size.to_le_bytes()[..], digest.as_bytes()].concat()
}

/// The SHA-256 of the content of the regular file `name` in `dir`, which has `size` bytes; `None` if it was not kept. Who asks must
/// know that nobody has written to the file since.
pub fn kept_content(dir: BorrowedFd<'_>, name: &[u8], size: u64) -> Option<[u8; 32]> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let mut value = [0; LENGTH];
    match lgetxattr(&path[..], NAME, &mut value[..]) {
        Ok(LENGTH) if value[..SIZE] == size.to_le_bytes() => value[SIZE..].try_into().ok(),
        _ => None,
    }
}
