//! One layer as one stream: bytes → blob with its digest → decompressed → diff id → files.
//!
//! Runs on a blocking thread. Each byte is read once, and what is unpacked is what was hashed. Nothing is visible
//! before both digests are right: the blob is committed first, the directory after it, so that a kill between the
//! two costs an unpacking and no download.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use wharf_content::{Content, Ingest};
use wharf_distribution::RegistryError;
use wharf_layer::ApplyOptions;
use wharf_oci::{ChainId, Descriptor, Digest, MAX_CONFIG_SIZE};
use wharf_snapshots::Snapshots;

use crate::ImageError;

/// Bytes that are asked of the source, and written to the blob, at a time.
const READ_SIZE: usize = 128 * 1024;

/// What a layer is, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct LayerPlan {
    /// The blob.
    pub(crate) blob: Descriptor,
    /// Digest of its uncompressed content.
    pub(crate) diff_id: Digest,
    /// Its place in the stack.
    pub(crate) chain: ChainId,
}

/// The stores that a layer goes to.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) content: Content,
    pub(crate) snapshots: Snapshots,
}

/// What is gone for everybody, but not from the disk before it is dropped.
#[must_use = "to drop it blocks"]
pub(crate) struct Garbage {
    layers: u64,
    blobs: wharf_content::Garbage,
}

impl Garbage {
    /// Bytes that are free again.
    pub(crate) fn freed(&self) -> u64 {
        self.layers + self.blobs.freed()
    }
}

impl Stores {
    /// The ingest of a layer's blob. Bytes of an earlier attempt may be in it.
    pub(crate) fn begin(&self, blob: &Descriptor) -> Result<Ingest, ImageError> {
        self.content
            .ingest(&blob.digest, Some(blob.size))
            .map_err(|error| ImageError::content("write", &error))
    }

    /// Unpacks a layer, and keeps its blob by `ingest` (not if it is kept already). `source` brings what the
    /// ingest does not have yet; `kept` is told how many bytes of the blob outlive this process, as they grow.
    pub(crate) fn unpack(
        &self,
        plan: &LayerPlan,
        source: impl Read,
        ingest: Option<Ingest>,
        kept: impl FnMut(u64),
    ) -> Result<(), ImageError> {
        let stage = self
            .snapshots
            .stage_layer()
            .map_err(|error| ImageError::unpack(&error))?;
        // What an earlier attempt left of the blob is read from there, and only the rest is kept anew.
        let past = match &ingest {
            Some(ingest) if ingest.offset() > 0 => Some(
                ingest
                    .partial()
                    .map_err(|error| ImageError::content("read", &error))?
                    .take(ingest.offset()),
            ),
            _ => None,
        };
        // Large reads, because each of them is a write to the blob.
        let tee = Tee {
            past,
            source,
            ingest,
            kept,
            failure: None,
        };
        let mut tee = io::BufReader::with_capacity(READ_SIZE, tee);
        let applied = wharf_layer::apply(&mut tee, stage.dirfd(), &ApplyOptions::default());
        // What follows the end of the archive belongs to the blob, and a blob that is not what it should be
        // is the better explanation for an archive that is broken.
        let drained = io::copy(&mut tee, &mut io::sink());
        let tee = tee.into_inner();
        if let Some(failure) = tee.failure {
            return Err(failure);
        }
        drained.map_err(|error| ImageError::unpack(&error))?;
        if let Some(ingest) = tee.ingest {
            commit(ingest, &plan.blob.digest, "filesystem layer")?;
        }
        let applied = applied.map_err(|error| ImageError::unpack(&error))?;
        if applied.diff_id != Some(plan.diff_id) {
            let found = applied.diff_id.map(|digest| digest.to_string());
            return Err(ImageError::DiffId {
                blob: plan.blob.digest.to_string(),
                expected: plan.diff_id.to_string(),
                found: found.unwrap_or_default(),
            });
        }
        stage
            .commit(&plan.chain, applied.uncompressed_size)
            .map_err(|error| ImageError::unpack(&error))
    }

    /// Unpacks a layer whose blob is here.
    pub(crate) fn unpack_local(&self, plan: &LayerPlan) -> Result<(), ImageError> {
        self.unpack(plan, self.open(&plan.blob.digest)?, None, |_| {})
    }

    /// A blob that is here.
    pub(crate) fn open(&self, digest: &Digest) -> Result<File, ImageError> {
        self.content
            .open_blob(digest)
            .map_err(|error| ImageError::content("open", &error))
    }

    /// The bytes of a configuration that is here.
    pub(crate) fn read_config(&self, digest: &Digest) -> Option<Vec<u8>> {
        if !self.content.contains(digest) {
            return None;
        }
        self.content.read_small(digest, MAX_CONFIG_SIZE).ok()
    }

    /// Sum of the sizes of a layer's files, in bytes.
    pub(crate) fn layer_size(&self, chain: &ChainId) -> Result<u64, ImageError> {
        self.snapshots
            .layer_usage(chain)
            .map_err(|error| ImageError::unpack(&error))
    }

    /// Bytes that all blobs take.
    pub(crate) fn content_usage(&self) -> Result<u64, ImageError> {
        self.content
            .usage()
            .map_err(|error| ImageError::content("measure", &error))
    }

    /// Takes away all blobs and layers but these; all layers stay if it is not known which ones are needed.
    pub(crate) fn collect(
        &self,
        blobs: &HashSet<Digest>,
        chains: Option<&HashSet<ChainId>>,
    ) -> Result<Garbage, ImageError> {
        let layers = match chains {
            Some(chains) => self.snapshots.collect(chains),
            None => Ok(0),
        };
        let layers = layers.map_err(|error| ImageError::unpack(&error))?;
        let blobs = self
            .content
            .collect(blobs)
            .map_err(|error| ImageError::content("collect", &error))?;
        Ok(Garbage { layers, blobs })
    }

    /// Keeps a small blob.
    pub(crate) fn keep(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ImageError> {
        if self.content.contains(digest) {
            return Ok(());
        }
        let mut ingest = self
            .content
            .ingest(digest, Some(bytes.len() as u64))
            .map_err(|error| ImageError::content("write", &error))?;
        let done = usize::try_from(ingest.offset())
            .unwrap_or(0)
            .min(bytes.len());
        ingest
            .write(&bytes[done..])
            .map_err(|error| ImageError::content("write", &error))?;
        commit(ingest, digest, "blob")
    }
}

fn commit(ingest: Ingest, digest: &Digest, what: &'static str) -> Result<(), ImageError> {
    ingest.commit().map_err(|error| match error {
        wharf_content::ContentError::DigestMismatch { found, .. } => {
            ImageError::Registry(RegistryError::DigestMismatch {
                what,
                expected: *digest,
                found: found.to_string(),
            })
        }
        error => ImageError::content("commit", &error),
    })
}

/// Hands on what it reads, and keeps a copy as blob.
struct Tee<R, K> {
    /// Bytes that are kept already; they come first.
    past: Option<io::Take<File>>,
    source: R,
    ingest: Option<Ingest>,
    /// Told how much is kept.
    kept: K,
    /// Why the copy could not be kept.
    failure: Option<ImageError>,
}

impl<R: Read, K: FnMut(u64)> Read for Tee<R, K> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(past) = &mut self.past {
            let count = past.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            self.past = None;
        }
        let count = self.source.read(buffer)?;
        if count > 0
            && let Some(ingest) = &mut self.ingest
        {
            if let Err(error) = ingest.write(&buffer[..count]) {
                self.failure = Some(ImageError::content("write", &error));
                return Err(io::Error::other("the blob cannot be kept"));
            }
            (self.kept)(ingest.offset());
        }
        Ok(count)
    }
}

/// What comes over a channel from the network's side.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// All bytes came.
    End,
}

/// The reading end of such a channel. A sender that goes away before the end is an error, not an end.
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl PieceReader {
    pub(crate) fn new(pieces: mpsc::Receiver<Piece>) -> PieceReader {
        PieceReader {
            pieces,
            current: Bytes::new(),
            ended: false,
        }
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                None => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionAborted,
                        "transfer was given up",
                    ));
                }
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// A part of a file, read without moving the file's own position.
pub(crate) struct SliceReader {
    pub(crate) file: Arc<File>,
    pub(crate) at: u64,
    pub(crate) left: u64,
}

impl Read for SliceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read_at(&mut buffer[..limit], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}
