//! The tar format: ustar, GNU and PAX, read as Go's `archive/tar` reads it.

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub(crate) use reader::Archive;
pub(crate) use writer::{Meta, Writer};

/// Size of a header, and what data is padded to.
pub(crate) const BLOCK_SIZE: usize = 512;

/// Longest extended header, long name or map of a sparse file, in bytes. Go's limit for the first two.
const MAX_SPECIAL: u64 = 1024 * 1024;

/// Most headers that precede a member and speak of it, itself included; writers use three or four.
const MAX_BEFORE: usize = 100;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Dir,
    Fifo,
    /// A label of a volume; says nothing.
    Label,
    Unknown(u8),
}

impl Kind {
    /// By the type flag of a header (`tar(5)`).
    pub(crate) fn of(flag: u8) -> Self {
        match flag {
            0 | b'0' | b'7' | b'S' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Dir,
            b'6' => Self::Fifo,
            b'V' => Self::Label,
            flag => Self::Unknown(flag),
        }
    }
}

/// A moment: seconds since 1970 and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Time {
    /// Of nanoseconds since 1970.
    pub(crate) fn of_nanos(nanos: i64) -> Self {
        Self {
            seconds: nanos.div_euclid(1_000_000_000),
            // Less than a second of them.
            nanos: u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0),
        }
    }
}

/// Extended attributes: names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// One member, without its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    /// Name as it stands in the archive. Never empty of meaning, never trusted.
    pub(crate) path: Vec<u8>,
    /// Target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Size of the file in bytes, holes included.
    pub(crate) size: u64,
    /// Where the data goes, as (offset, length); `None` for all of it in one piece.
    pub(crate) sparse: Option<Vec<(u64, u64)>>,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) xattrs: Xattrs,
}
