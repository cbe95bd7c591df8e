//! A new image: an image that is here, and one layer more.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use wharf_oci::{Descriptor, Digest, Hasher, ImageConfig, Manifest, Reference, media_type};

use crate::flight::Feed;
use crate::pull::Incoming;
use crate::store::Images;
use crate::{Image, ImageError, ProgressSender};

/// An archive without a member: two blocks of zeros. A layer that changes nothing is none (Docker's `EmptyLayer`).
const EMPTY_ARCHIVE: [u8; 1024] = [0; 1024];

/// A layer's archive, written down in a file without a name.
pub struct NewLayer {
    file: Arc<File>,
    diff_id: Digest,
    size: u64,
}

impl NewLayer {
    /// Digest of the archive; `None` if there is nothing in it.
    pub fn diff_id(&self) -> Option<&Digest> {
        Some(&self.diff_id).filter(|id| **id != Digest::sha256(&EMPTY_ARCHIVE))
    }
}

impl Images {
    /// Writes a layer's archive down: what `write` gives to its writer. Blocks on the disk.
    ///
    /// # Errors
    /// Those of `write`, or of the disk.
    pub fn spool_layer<E: From<ImageError>>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<NewLayer, E> {
        let root = self.root();
        let file = tempfile::tempfile_in(root)
            .map_err(|source| ImageError::io("make a spool file in", root, source))?;
        let file = Arc::new(file);
        let mut out = Hashing {
            file: io::BufWriter::with_capacity(256 * 1024, &*file),
            hasher: Hasher::sha256(),
            size: 0,
        };
        write(&mut out)?;
        out.flush()
            .map_err(|source| ImageError::io("write a spool file in", root, source))?;
        let Hashing {
            file: writer,
            hasher,
            size,
        } = out;
        drop(writer);
        let diff_id = hasher.finish();
        Ok(NewLayer {
            file: file.clone(),
            diff_id,
            size,
        })
    }

    /// Records the image that `config` describes: all layers of `parent`, and `layer` on top unless it is empty. It
    /// gets `name`, if one is given. Nothing is visible before everything is there. Without a parent the layer is all.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`] if the parent is gone; [`ImageError::RootFsMismatch`] if `config` has other layers.
    pub async fn commit(
        &self,
        parent: Option<&Digest>,
        layer: Option<NewLayer>,
        config: Vec<u8>,
        name: Option<Reference>,
    ) -> Result<Image, ImageError> {
        let _pin = parent
            .map(|parent| self.pin(&parent.to_string()))
            .transpose()?;
        let mut layers = match parent {
            Some(parent) => self.blobs_of(parent)?,
            None => Vec::new(),
        };
        let old = layers.len();
        let layer = layer.filter(|layer| layer.diff_id().is_some());
        if let Some(layer) = &layer {
            let blob = Descriptor::new(media_type::OCI_LAYER, layer.diff_id, layer.size);
            layers.push(blob);
        }
        let config = ImageConfig::parse(config)?;
        let descriptor = Descriptor::of(media_type::OCI_CONFIG, config.raw());
        let manifest = Manifest::oci(descriptor, layers);
        let bytes =
            serde_json::to_vec(&manifest).map_err(|error| ImageError::content("write", &error))?;
        let raw = (
            Descriptor::of(media_type::OCI_MANIFEST, &bytes),
            Bytes::from(bytes),
        );
        let mut incoming = Incoming::new(config, &manifest, raw, |at| match &layer {
            Some(layer) if at >= old => Feed::Spool {
                file: layer.file.clone(),
                offset: 0,
            },
            _ => Feed::Here,
        })?;
        incoming.parent = parent.copied();
        let names = name.into_iter().collect();
        let (image, _) = self
            .bring_in(incoming, names, &ProgressSender::discard())
            .await?;
        Ok(image)
    }

    /// The blobs of an image's layers, bottom first.
    fn blobs_of(&self, image: &Digest) -> Result<Vec<Descriptor>, ImageError> {
        let state = self.read();
        let entry = state.images.get(image);
        let entry = entry.ok_or_else(|| ImageError::NoSuchImage(image.to_string()))?;
        let layers = entry.record.layers.iter();
        Ok(layers.map(|layer| layer.blob.clone()).collect())
    }
}

struct Hashing<W> {
    file: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Write for Hashing<W> {
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
