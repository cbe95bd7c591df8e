//! Compression, digests, and streams that break.

use std::io::{self, Read, Write};

use flate2::Compression;
use wharf_layer::{LayerError, apply, decompress, detect};
use wharf_oci::Digest;

use crate::build::{Entry, archive, file, unpack};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Larger than what fits into the blocks between the threads.
fn large() -> Vec<u8> {
    let noise: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let mut bytes = archive(&[
        Entry {
            data: noise,
            ..file("noise", "")
        },
        file("after", "after"),
    ]);
    // Many tools pad to 10 KiB; the padding belongs to the digest.
    bytes.resize(bytes.len().next_multiple_of(10240), 0);
    bytes
}

#[test]
fn every_compression_gives_the_same_layer() {
    let plain = large();
    let mut members = gzip(&plain[..100_000]);
    members.extend(gzip(&plain[100_000..]));
    let mut frames = vec![0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    frames.extend(zstd::encode_all(&plain[..50], 3).unwrap());
    frames.extend(zstd::encode_all(&plain[50..], 3).unwrap());
    for packed in [plain.clone(), gzip(&plain), members, frames] {
        let target = tempfile::tempdir().unwrap();
        let applied = unpack(&packed, target.path()).unwrap();
        assert_eq!(applied.diff_id, Some(Digest::sha256(&plain)));
        assert_eq!(applied.uncompressed_size, 3_000_005);
        assert_eq!(applied.files, 2);
        assert_eq!(
            std::fs::read(target.path().join("after")).unwrap(),
            b"after"
        );
        let mut again = Vec::new();
        decompress(&packed[..])
            .unwrap()
            .read_to_end(&mut again)
            .unwrap();
        assert_eq!(again, plain);
    }
}

#[test]
fn empty_layers_are_layers() {
    for plain in [vec![], vec![0; 1024]] {
        let target = tempfile::tempdir().unwrap();
        for packed in [
            plain.clone(),
            gzip(&plain),
            zstd::encode_all(&plain[..], 1).unwrap(),
        ] {
            let applied = unpack(&packed, target.path()).unwrap();
            assert_eq!(applied.diff_id, Some(Digest::sha256(&plain)));
            assert_eq!(applied.files, 0);
        }
    }
}

#[test]
fn truncation_is_an_error_wherever_it_is() {
    let plain = archive(&[file("a", &"x".repeat(2000)), file("b", "y")]);
    let target = tempfile::tempdir().unwrap();
    // Behind a member's data an archive may end, with its padding or without: Go's reader takes that, too.
    let first = 512 + 2000..=512 + 2048;
    let second = 512 + 2048 + 513..=512 + 2048 + 1024;
    for length in (0..plain.len() - 1024).step_by(37) {
        let result = unpack(&plain[..length], target.path());
        match length == 0 || first.contains(&length) || second.contains(&length) {
            true => assert!(result.is_ok(), "{length}"),
            false => assert!(
                matches!(result, Err(LayerError::Truncated)),
                "{length}: {result:?}"
            ),
        }
    }
    let large = large();
    for packed in [
        gzip(&large),
        zstd::encode_all(&large[..], 1).unwrap(),
        large,
    ] {
        for length in [packed.len() / 2, packed.len() / 3] {
            let result = unpack(&packed[..length], target.path());
            assert!(matches!(result, Err(LayerError::Truncated)), "{result:?}");
        }
    }
}

#[test]
fn damage_is_an_error() {
    let mut packed = gzip(&large());
    let middle = packed.len() / 2;
    for byte in &mut packed[middle..middle + 64] {
        *byte ^= 0x55;
    }
    let target = tempfile::tempdir().unwrap();
    assert!(unpack(&packed, target.path()).is_err());
    for start in [&b"BZh91AY"[..], b"\xfd7zXZ\0\0"] {
        assert!(unpack(start, target.path()).is_err());
    }
    assert_eq!(detect(b""), wharf_layer::Compression::None);
    let html = b"<html>this is no archive</html>".repeat(40);
    assert!(matches!(
        unpack(&html, target.path()),
        Err(LayerError::Header { .. })
    ));
}

/// What xz 5.4 and bzip2 1.0 made of a line.
const XZ: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a301001c68656c6c6f2066726f6d206120636f6d707265737365642066696c650a00000000ac707af9f29494ad0001351d441bb1e11fb6f37d010000000004595a";
const BZIP2: &str = "425a6839314159265359ddb2ed2d0000075180001040002f66d800200021a8193d4c690a60001a38f2e1a6e6d845227c33d4acd1f8bb9229c28486ed976968";

#[test]
fn xz_and_bzip2_are_read_in_process() {
    let bytes = |hex: &str| -> Vec<u8> {
        let pairs = (0..hex.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    for packed in [XZ, BZIP2] {
        let packed = bytes(packed);
        let line = "hello from a compressed file\n";
        // Both tools write one stream behind the other when files are put together.
        for (times, expected) in [(1, line.to_owned()), (2, line.repeat(2))] {
            let mut text = String::new();
            wharf_layer::decompress(&packed.repeat(times)[..])
                .unwrap()
                .read_to_string(&mut text)
                .unwrap();
            assert_eq!(text, expected);
        }
        let cut = &packed[..packed.len() - 5];
        let mut rest = Vec::new();
        let read =
            wharf_layer::decompress(cut).and_then(|mut reader| reader.read_to_end(&mut rest));
        assert!(read.is_err());
    }
}

/// Fails after some bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "reset"));
        }
        let count = buffer.len().min(self.0);
        buffer[..count].fill(0);
        self.0 -= count;
        Ok(count)
    }
}

#[test]
fn errors_of_the_source_come_through() {
    use std::os::fd::AsFd as _;
    let target = tempfile::tempdir().unwrap();
    let folder = std::fs::File::open(target.path()).unwrap();
    for after in [0, 3, 1000, 5 << 20] {
        let source = large().chain_failing(after);
        match apply(
            source,
            folder.as_fd(),
            &wharf_layer::ApplyOptions::default(),
        ) {
            Err(LayerError::Read(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset)
            }
            other => panic!("{after}: {other:?}"),
        }
    }
}

trait ChainFailing {
    fn chain_failing(self, after: usize) -> Box<dyn Read>;
}

impl ChainFailing for Vec<u8> {
    fn chain_failing(mut self, after: usize) -> Box<dyn Read> {
        if after < self.len() {
            self.truncate(after);
            return Box::new(io::Cursor::new(self).chain(Failing(0)));
        }
        let more = after - self.len();
        Box::new(io::Cursor::new(self).chain(Failing(more)))
    }
}
