//! The blobs of layers, compressed as an exporter is asked to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use wharf_builder::Scratch;
use wharf_images::BlobHold;
use wharf_oci::{Descriptor, Digest, Hasher, media_type};

use crate::attributes::is_on;
use crate::{Job, Ref, SolveError};

/// What compresses a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    None,
    Gzip,
    Zstd,
}

impl Kind {
    /// What has compressed a blob of this type.
    fn of(media_type: &str) -> Self {
        if media_type.ends_with("gzip") {
            return Self::Gzip;
        }
        match media_type.ends_with("zstd") {
            true => Self::Zstd,
            false => Self::None,
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::None => media_type::OCI_LAYER,
            Self::Gzip => media_type::OCI_LAYER_GZIP,
            Self::Zstd => media_type::OCI_LAYER_ZSTD,
        }
    }
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compression {
    kind: Kind,
    level: Option<i32>,
    /// Those too that are compressed already: what comes from elsewhere.
    force: bool,
}

impl Compression {
    /// Reads `compression`, `compression-level` and `force-compression`. What goes to a registry is compressed, as
    /// BuildKit has it; what stays here is not.
    ///
    /// # Errors
    /// If one is none that is known, or that is not built.
    pub(crate) fn read(attrs: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        let default = match is_on(attrs, "push")? {
            true => Kind::Gzip,
            false => Kind::None,
        };
        Self::with(attrs, default)
    }

    /// Reads those of a cache.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn of_cache(attrs: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        Self::with(attrs, Kind::Gzip)
    }

    fn with(attrs: &BTreeMap<String, String>, default: Kind) -> Result<Self, SolveError> {
        let kind = match attrs.get("compression").map_or("", String::as_str) {
            "" => default,
            "uncompressed" => Kind::None,
            "gzip" => Kind::Gzip,
            "zstd" => Kind::Zstd,
            "estargz" => {
                return Err(SolveError::NotImplemented(
                    "layer compression type estargz is not built".to_owned(),
                ));
            }
            other => {
                return Err(SolveError::Invalid(format!(
                    "unsupported layer compression type {other}"
                )));
            }
        };
        let level = attrs.get("compression-level").map(|text| {
            let highest = if kind == Kind::Zstd { 22 } else { 9 };
            let level = text
                .parse()
                .ok()
                .filter(|level| (0..=highest).contains(level));
            level.ok_or_else(|| SolveError::Invalid(format!("invalid compression-level {text:?}")))
        });
        Ok(Self {
            kind,
            level: level.transpose()?,
            force: is_on(attrs, "force-compression")?,
        })
    }

    /// Whether layers are what they are, whatever they are.
    pub(crate) fn is_nothing(self) -> bool {
        self.kind == Kind::None && !self.force
    }

    /// Whether a blob stays as it is.
    fn keeps(self, blob: &Descriptor, is_plain: bool) -> bool {
        let own = if is_plain {
            Kind::None
        } else {
            Kind::of(&blob.media_type)
        };
        match own {
            Kind::None => self.kind == Kind::None,
            // What is compressed already stays as it came.
            _ if !self.force => true,
            own => own == self.kind && self.level.is_none(),
        }
    }
}

/// The blobs of a tree's layers, and what keeps those that were made for it. Blocks.
///
/// # Errors
/// If a layer is not there, or a blob cannot be written.
pub(crate) fn blobs_of(
    job: &Job,
    tree: &Ref,
    compression: Compression,
) -> Result<(Vec<Descriptor>, Vec<BlobHold>), SolveError> {
    let store = job.engine().images.store();
    let (mut blobs, mut holds) = (Vec::new(), Vec::new());
    for layer in tree.layers() {
        holds.push(store.hold_blob(&layer.diff_id));
        let blob = store.layer_blob(&layer.chain, &layer.diff_id)?;
        holds.push(store.hold_blob(&blob.digest));
        if compression.keeps(&blob, blob.digest == layer.diff_id) {
            blobs.push(of_the_oci(blob));
            continue;
        }
        let (blob, hold) = compressed(job, &blob.digest, compression)?;
        blobs.push(blob);
        holds.push(hold);
    }
    Ok((blobs, holds))
}

/// The blob by the OCI's name of its type: its manifest is one of the OCI's, whoever made the layer.
fn of_the_oci(blob: Descriptor) -> Descriptor {
    let kind = match blob.media_type.as_str() {
        media_type::DOCKER_LAYER => media_type::OCI_LAYER,
        media_type::DOCKER_LAYER_GZIP => media_type::OCI_LAYER_GZIP,
        media_type::DOCKER_LAYER_ZSTD => media_type::OCI_LAYER_ZSTD,
        media_type::DOCKER_LAYER_FOREIGN => media_type::OCI_LAYER_FOREIGN_GZIP,
        _ => return blob,
    };
    Descriptor {
        media_type: kind.to_owned(),
        ..blob
    }
}

/// A blob, compressed anew.
fn compressed(
    job: &Job,
    blob: &Digest,
    compression: Compression,
) -> Result<(Descriptor, BlobHold), SolveError> {
    let failed = SolveError::io("compress a layer");
    let source = job.engine().images.store().open_blob(blob)?;
    let mut source = wharf_layer::decompress(source).map_err(&failed)?;
    let mut out = NewBlob::begin(job)?;
    match compression.kind {
        Kind::None => drop(io::copy(&mut source, &mut out).map_err(&failed)?),
        Kind::Zstd => {
            let level = compression.level.unwrap_or(3);
            let mut encoder = zstd::Encoder::new(&mut out, level).map_err(&failed)?;
            io::copy(&mut source, &mut encoder).map_err(&failed)?;
            encoder.finish().map_err(&failed)?;
        }
        Kind::Gzip => {
            let level = compression
                .level
                .and_then(|level| u32::try_from(level).ok());
            let level = level.map_or_else(flate2::Compression::default, flate2::Compression::new);
            // Without a name and a time: the same layer is the same bytes.
            let mut encoder = flate2::write::GzEncoder::new(&mut out, level);
            io::copy(&mut source, &mut encoder).map_err(&failed)?;
            encoder.finish().map_err(&failed)?;
        }
    }
    out.keep(job, compression.kind.media_type())
}

/// A blob whose name is known only when it is written.
pub(super) struct NewBlob {
    file: File,
    hasher: Hasher,
    size: u64,
    _dir: Scratch,
}

impl NewBlob {
    pub(super) fn begin(job: &Job) -> Result<Self, SolveError> {
        let dir = job.scratch()?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(dir.path().join("layer"));
        Ok(Self {
            file: file.map_err(SolveError::io("write a layer"))?,
            hasher: Hasher::sha256(),
            size: 0,
            _dir: dir,
        })
    }

    /// It is a blob of the store from now on, while the hold lives.
    pub(super) fn keep(
        self,
        job: &Job,
        media_type: &str,
    ) -> Result<(Descriptor, BlobHold), SolveError> {
        let digest = self.hasher.finish();
        let (mut file, size) = (self.file, self.size);
        let hold = job
            .engine()
            .images
            .store()
            .keep_blob(&digest, &mut |blob| {
                file.seek(SeekFrom::Start(0))?;
                io::copy(&mut (&file).take(size), blob).map(drop)
            })?;
        Ok((Descriptor::new(media_type, digest, size), hold))
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attrs: &[(&str, &str)]) -> Result<Compression, SolveError> {
        let attrs = attrs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Compression::read(&attrs.collect())
    }

    #[test]
    fn what_comes_from_elsewhere_is_compressed_anew_only_by_force() {
        let blob = |kind| Descriptor::new(kind, Digest::sha256(b""), 0);
        let (gzip, plain) = (
            blob(media_type::OCI_LAYER_GZIP),
            blob(media_type::OCI_LAYER),
        );
        let zstd = read(&[("compression", "zstd")]).unwrap();
        assert!(zstd.keeps(&gzip, false) && !zstd.keeps(&plain, true));
        let forced = [("compression", "zstd"), ("force-compression", "true")];
        assert!(!read(&forced).unwrap().keeps(&gzip, false));
        let forced = read(&[("compression", "gzip"), ("force-compression", "true")]).unwrap();
        assert!(forced.keeps(&gzip, false) && !forced.keeps(&plain, true));
        assert!(
            read(&[]).unwrap().is_nothing() && !read(&[("push", "true")]).unwrap().is_nothing()
        );
    }

    #[test]
    fn levels_are_those_of_the_compressor() {
        let level = |kind, level| read(&[("compression", kind), ("compression-level", level)]);
        assert!(level("zstd", "19").is_ok() && level("gzip", "9").is_ok());
        assert!(level("gzip", "10").is_err() && level("zstd", "x").is_err());
        assert!(read(&[("compression", "estargz")]).is_err());
    }
}
