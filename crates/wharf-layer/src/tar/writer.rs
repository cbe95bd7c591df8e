//! Writes members: ustar headers, with an extended header in front where one says more.

use std::io::{self, Read, Write};

use super::{BLOCK_SIZE, Time, Xattrs};

/// What a member's header says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meta<'a> {
    /// Type flag.
    pub(crate) flag: u8,
    pub(crate) path: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) xattrs: Xattrs,
}

/// An archive in the making.
pub(crate) struct Writer<W> {
    out: W,
    /// Bytes that were written.
    pub(crate) written: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W) -> Writer<W> {
        Writer { out, written: 0 }
    }

    /// Writes a member with `meta.size` bytes of `data`. A file that got shorter is filled up with zeros.
    pub(crate) fn append(&mut self, meta: &Meta<'_>, data: impl Read) -> io::Result<()> {
        let records = records_of(meta);
        if !records.is_empty() {
            let extended = Meta {
                flag: b'x',
                path: b"PaxHeaders/member",
                mode: 0o644,
                size: records.len() as u64,
                ..Meta::default()
            };
            self.put(&header(&extended))?;
            self.put(&records)?;
            self.pad(records.len() as u64)?;
        }
        self.put(&header(meta))?;
        let copied = io::copy(&mut data.take(meta.size), &mut self.out)?;
        io::copy(&mut io::repeat(0).take(meta.size - copied), &mut self.out)?;
        self.written += meta.size;
        self.pad(meta.size)
    }

    /// Writes the end mark, and returns what was written to.
    pub(crate) fn finish(mut self) -> io::Result<(W, u64)> {
        self.put(&[0; BLOCK_SIZE * 2])?;
        self.out.flush()?;
        Ok((self.out, self.written))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = size.next_multiple_of(BLOCK_SIZE as u64) - size;
        self.put(&[0; BLOCK_SIZE][..usize::try_from(rest).unwrap_or(0)])
    }
}

/// The extended header's records: everything that the header itself has no room for.
fn records_of(meta: &Meta<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    if meta.path.len() > 100 {
        push(&mut records, b"path", meta.path);
    }
    if meta.link.len() > 100 {
        push(&mut records, b"linkpath", meta.link);
    }
    if meta.size > MAX_12 {
        push(&mut records, b"size", meta.size.to_string().as_bytes());
    }
    if u64::from(meta.uid) > MAX_8 {
        push(&mut records, b"uid", meta.uid.to_string().as_bytes());
    }
    if u64::from(meta.gid) > MAX_8 {
        push(&mut records, b"gid", meta.gid.to_string().as_bytes());
    }
    let Time { seconds, nanos } = meta.mtime;
    if nanos != 0 || u64::try_from(seconds).is_err() || seconds.unsigned_abs() > MAX_12 {
        push(&mut records, b"mtime", decimal(meta.mtime).as_bytes());
    }
    for (name, value) in &meta.xattrs {
        push(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// Largest numbers of the octal fields of 12 and of 8 bytes.
const MAX_12: u64 = 0o777_7777_7777;
const MAX_8: u64 = 0o777_7777;

fn decimal(time: Time) -> String {
    match (time.seconds, time.nanos) {
        (seconds, 0) => seconds.to_string(),
        (seconds, nanos) if seconds < 0 => {
            format!(
                "-{}.{:09}",
                (seconds + 1).unsigned_abs(),
                1_000_000_000 - nanos
            )
        }
        (seconds, nanos) => format!("{seconds}.{nanos:09}"),
    }
}

/// A record begins with its own length, the digits of which count.
fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length += 1;
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn header(meta: &Meta<'_>) -> [u8; BLOCK_SIZE] {
    let mut block = [0; BLOCK_SIZE];
    let mut text = |at: usize, room: usize, value: &[u8]| {
        let value = &value[..value.len().min(room)];
        block[at..at + value.len()].copy_from_slice(value);
    };
    text(0, 100, meta.path);
    text(157, 100, meta.link);
    text(257, 8, b"ustar\x0000");
    let mut number = |at: usize, room: usize, value: u64, max: u64| {
        let value = if value > max { 0 } else { value };
        let digits = format!("{value:0width$o}", width = room - 1);
        block[at..at + room - 1].copy_from_slice(digits.as_bytes());
    };
    number(100, 8, meta.mode.into(), MAX_8);
    number(108, 8, meta.uid.into(), MAX_8);
    number(116, 8, meta.gid.into(), MAX_8);
    number(124, 12, meta.size, MAX_12);
    number(
        136,
        12,
        u64::try_from(meta.mtime.seconds).unwrap_or(0),
        MAX_12,
    );
    number(329, 8, meta.major.into(), MAX_8);
    number(337, 8, meta.minor.into(), MAX_8);
    block[156] = meta.flag;
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}
