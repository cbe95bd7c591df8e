//! How an archive is compressed, by its first bytes: names and media types in the wild are wrong.

use std::io::{self, BufReader, Cursor, Read};

/// What compresses an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip, one member or several.
    Gzip,
    /// Zstandard, one frame or several.
    Zstd,
    /// bzip2, one stream or several.
    Bzip2,
    /// xz, one stream or several.
    Xz,
}

/// How many bytes [`detect`] looks at.
const MAGIC: usize = 6;
/// The most memory that an xz stream may want, in KiB; the largest preset of `xz` wants 65 MiB.
const XZ_MEMORY_KIB: u32 = 128 * 1024;

/// What compresses an archive that begins with `start`.
pub fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        // A skippable frame, as zstd:chunked and pzstd write them.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        _ => Compression::None,
    }
}

type Source<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

/// Reads the uncompressed bytes of an archive.
pub struct Decompressor<R: Read>(Kind<R>);

enum Kind<R: Read> {
    None(Source<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<Source<R>>>),
    Xz(Box<lzma_rust2::XzReader<Source<R>>>),
}

/// Finds out how `reader` is compressed, and returns what reads its uncompressed bytes.
///
/// A zstd frame that wants a window above 128 MiB is an error when it is read, and so is an xz stream that wants more than
/// 128 MiB of memory.
///
/// # Errors
/// Those of `reader`.
pub fn decompress<R: Read>(mut reader: R) -> io::Result<Decompressor<R>> {
    let mut start = Vec::with_capacity(MAGIC);
    // Not `read_exact`: an empty layer is shorter.
    (&mut reader).take(MAGIC as u64).read_to_end(&mut start)?;
    let compression = detect(&start);
    let source = BufReader::with_capacity(64 * 1024, Cursor::new(start).chain(reader));
    Ok(Decompressor(match compression {
        Compression::None => Kind::None(source),
        Compression::Gzip => Kind::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(source))),
        Compression::Zstd => {
            Kind::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(source)?))
        }
        Compression::Bzip2 => Kind::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(source))),
        Compression::Xz => Kind::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(
            source,
            true,
            XZ_MEMORY_KIB,
        ))),
    }))
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::None(source) => source.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
            Kind::Bzip2(decoder) => decoder.read(buffer),
            Kind::Xz(decoder) => decoder.read(buffer),
        }
    }
}

impl<R: Read> std::fmt::Debug for Decompressor<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Kind::None(_) => "Decompressor(none)",
            Kind::Gzip(_) => "Decompressor(gzip)",
            Kind::Zstd(_) => "Decompressor(zstd)",
            Kind::Bzip2(_) => "Decompressor(bzip2)",
            Kind::Xz(_) => "Decompressor(xz)",
        })
    }
}

/// Fills `buffer` as far as the source reaches.
pub(crate) fn read_full(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
