//! Archives made by hand, of whatever a hostile hand would make.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use wharf_layer::{Applied, ApplyOptions, LayerError, apply};

/// One header as it goes into the archive.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    pub(crate) flag: u8,
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) device: (u32, u32),
    pub(crate) pax: Vec<(String, Vec<u8>)>,
    /// Size in the header when it is not that of the data.
    pub(crate) size: Option<u64>,
}

pub(crate) fn entry(flag: u8, path: &str) -> Entry {
    Entry {
        flag,
        path: path.into(),
        mode: 0o755,
        ..Entry::default()
    }
}

pub(crate) fn file(path: &str, data: &str) -> Entry {
    Entry {
        data: data.into(),
        mode: 0o644,
        ..entry(b'0', path)
    }
}

pub(crate) fn dir(path: &str) -> Entry {
    entry(b'5', path)
}

pub(crate) fn symlink(path: &str, target: &str) -> Entry {
    Entry {
        link: target.into(),
        ..entry(b'2', path)
    }
}

pub(crate) fn hard_link(path: &str, target: &str) -> Entry {
    Entry {
        link: target.into(),
        ..entry(b'1', path)
    }
}

impl Entry {
    pub(crate) fn pax(mut self, key: &str, value: &[u8]) -> Entry {
        self.pax.push((key.to_owned(), value.to_vec()));
        self
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if !self.pax.is_empty() {
            let mut records = Vec::new();
            for (key, value) in &self.pax {
                let rest = key.len() + value.len() + 3;
                let length = (rest + 1..)
                    .find(|n| rest + n.to_string().len() == *n)
                    .unwrap();
                write!(records, "{length} {key}=").unwrap();
                records.extend_from_slice(value);
                records.push(b'\n');
            }
            Entry {
                data: records,
                ..entry(b'x', "pax")
            }
            .write(out);
        }
        let mut block = [0_u8; 512];
        block[..self.path.len()].copy_from_slice(&self.path);
        block[157..157 + self.link.len()].copy_from_slice(&self.link);
        let size = self.size.unwrap_or(self.data.len() as u64);
        for (at, text) in [
            (100, format!("{:07o}", self.mode)),
            (108, format!("{:07o}", self.uid)),
            (116, format!("{:07o}", self.uid)),
            (124, format!("{size:011o}")),
            (136, format!("{:011o}", 1_000_000_000)),
            (257, "ustar\x0000".to_owned()),
            (329, format!("{:07o}", self.device.0)),
            (337, format!("{:07o}", self.device.1)),
        ] {
            block[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        block[156] = self.flag;
        seal(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// Sets the checksum.
pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

pub(crate) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        entry.write(&mut out);
    }
    out.resize(out.len() + 1024, 0);
    out
}

pub(crate) fn unpack(archive: &[u8], target: &Path) -> Result<Applied, LayerError> {
    unpack_with(archive, target, &ApplyOptions::default())
}

pub(crate) fn unpack_with(
    archive: &[u8],
    target: &Path,
    options: &ApplyOptions,
) -> Result<Applied, LayerError> {
    apply(archive, File::open(target).unwrap().as_fd(), options)
}
