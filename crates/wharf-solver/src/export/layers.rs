//! The blobs of layers, compressed as an exporter is asked to.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _, SeekFrom, Write};

use wharf_images::BlobHold;
use wharf_oci::{Descriptor, Digest, Hasher, media_type};

use super::is_on;
use crate::{Job, Ref, SolveError};

/// How layers that were made here are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Reads `compression`. What goes to a registry is compressed, as BuildKit has it; what stays here is not.
    ///
    /// # Errors
    /// If it is none that is known, or has a setting that is not built.
    pub(crate) fn read(attrs: &BTreeMap<String, String>) -> Result<Self, SolveError> {
        for name in [
            "compression-level",
            "force-compression",
            "rewrite-timestamp",
        ] {
            let value = attrs.get(name).map(String::as_str);
            if !matches!(value, None | Some("" | "false" | "0")) {
                let text = format!("the exporter's attribute {name} is not built");
                return Err(SolveError::NotImplemented(text));
            }
        }
        match attrs.get("compression").map(String::as_str) {
            None | Some("") if is_on(attrs, "push") => Ok(Self::Gzip),
            None | Some("" | "uncompressed") => Ok(Self::None),
            Some("gzip") => Ok(Self::Gzip),
            Some("zstd") => Ok(Self::Zstd),
            Some(other) => Err(SolveError::Invalid(format!(
                "unsupported layer compression type {other}"
            ))),
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
        let is_plain = blob.digest == layer.diff_id;
        if compression == Compression::None || !is_plain {
            // What is compressed already stays as it came.
            blobs.push(blob);
            continue;
        }
        let (blob, hold) = compressed(job, &blob.digest, compression)?;
        blobs.push(blob);
        holds.push(hold);
    }
    Ok((blobs, holds))
}

fn compressed(
    job: &Job,
    plain: &Digest,
    compression: Compression,
) -> Result<(Descriptor, BlobHold), SolveError> {
    let store = job.engine().images.store();
    let failed = SolveError::io("compress a layer");
    let mut source = store.open_blob(plain)?;
    let dir = job.scratch()?;
    let path = dir.path().join("layer");
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path);
    let mut out = Hashing {
        file: file.map_err(&failed)?,
        hasher: Hasher::sha256(),
        size: 0,
    };
    let kind = match compression {
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(&mut out, 3).map_err(&failed)?;
            io::copy(&mut source, &mut encoder).map_err(&failed)?;
            encoder.finish().map_err(&failed)?;
            media_type::OCI_LAYER_ZSTD
        }
        _ => {
            let level = flate2::Compression::default();
            // Without a name and a time: the same layer is the same bytes.
            let mut encoder = flate2::write::GzEncoder::new(&mut out, level);
            io::copy(&mut source, &mut encoder).map_err(&failed)?;
            encoder.finish().map_err(&failed)?;
            media_type::OCI_LAYER_GZIP
        }
    };
    let Hashing {
        mut file,
        hasher,
        size,
    } = out;
    let digest = hasher.finish();
    let hold = store.keep_blob(&digest, &mut |blob| {
        file.seek(SeekFrom::Start(0))?;
        io::copy(&mut (&file).take(size), blob).map(drop)
    })?;
    Ok((Descriptor::new(kind, digest, size), hold))
}

struct Hashing {
    file: std::fs::File,
    hasher: Hasher,
    size: u64,
}

impl Write for Hashing {
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
