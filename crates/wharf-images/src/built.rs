//! Layers that builds made, or stand on: kept without an image, until the build cache forgets them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wharf_layer::{PackOptions, Times};
use wharf_oci::{ChainId, Descriptor, Digest, ImageConfig, Manifest, Reference, media_type};
use wharf_records::{Db, Table};

use crate::flight::Feed;
use crate::pull::Incoming;
use crate::store::Images;
use crate::{Image, ImageError, ProgressSender};

const BUILT: Table<BuiltLayer> = Table::new("built-layer", 1);

/// A layer that is kept for the build cache, at the name of its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// Digest of its uncompressed archive.
    pub diff_id: Digest,
    /// Sum of the sizes of its files, in bytes.
    pub size: u64,
    /// The blob that it was unpacked from; none for a layer that a build made.
    pub blob: Option<Descriptor>,
}

/// The kept layers in memory.
#[derive(Debug, Default)]
pub(crate) struct Built(HashMap<ChainId, BuiltLayer>);

impl Built {
    pub(crate) fn open(db: &Db) -> Result<Built, ImageError> {
        let records = db.read(|tx| BUILT.all(tx))?;
        let parsed = records.into_iter().filter_map(|(key, layer)| {
            let chain = Digest::parse(&key).ok()?;
            Some((ChainId(chain), layer))
        });
        Ok(Built(parsed.collect()))
    }

    pub(crate) fn chains(&self) -> impl Iterator<Item = ChainId> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> + '_ {
        let blobs = self.0.values().filter_map(|layer| layer.blob.as_ref());
        blobs.map(|blob| blob.digest)
    }
}

/// While it lives, these layers are not collected.
pub struct LayerHold {
    _lease: crate::store::Lease,
}

impl std::fmt::Debug for LayerHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LayerHold")
    }
}

impl Images {
    /// Keeps layers without an image, from now on and beyond the daemon's end. To be called before their folders are
    /// made: a record without a folder is no harm.
    ///
    /// # Errors
    /// If they cannot be recorded.
    pub fn keep_layers(&self, layers: &[(ChainId, BuiltLayer)]) -> Result<(), ImageError> {
        let mut built = self.built();
        let new: Vec<_> = layers
            .iter()
            .filter(|(chain, _)| !built.0.contains_key(chain))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        self.db().write(|tx| {
            for (chain, layer) in &new {
                BUILT.put(tx, &chain.to_string(), layer)?;
            }
            Ok::<_, wharf_records::RecordError>(())
        })?;
        built.0.extend(new.into_iter().cloned());
        Ok(())
    }

    /// Keeps no layers any more but these, and deletes what nothing needs then. Bytes that are free again. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// If records or files cannot be changed.
    pub fn forget_layers(&self, keep: &HashSet<ChainId>) -> Result<u64, ImageError> {
        {
            let mut built = self.built();
            let gone: Vec<ChainId> = built.chains().filter(|one| !keep.contains(one)).collect();
            self.db().write(|tx| {
                for chain in &gone {
                    BUILT.delete(tx, &chain.to_string())?;
                }
                Ok::<_, wharf_records::RecordError>(())
            })?;
            for chain in gone {
                built.0.remove(&chain);
            }
        }
        self.collect()
    }

    /// Whether the layer's folder is here.
    pub fn has_layer(&self, chain: &ChainId) -> bool {
        self.stores().snapshots.has(chain)
    }

    /// The layers that images have.
    pub fn image_layers(&self) -> HashSet<ChainId> {
        self.read().chains()
    }

    /// Holds layers as long as the hold lives.
    pub fn hold_layers(&self, chains: &[ChainId]) -> LayerHold {
        let _lease = self.lease(Vec::new(), chains.to_vec());
        LayerHold { _lease }
    }

    /// The layers of an image with their blobs, bottom first.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`].
    pub fn layers_of(&self, image: &Digest) -> Result<Vec<(ChainId, BuiltLayer)>, ImageError> {
        let state = self.read();
        let entry = state.images.get(image);
        let entry = entry.ok_or_else(|| ImageError::NoSuchImage(image.to_string()))?;
        let diff_ids = entry.config.rootfs.diff_ids.iter();
        let layers = entry.record.layers.iter();
        let all = entry.chain.iter().zip(diff_ids).zip(layers);
        let all = all.map(|((chain, diff_id), layer)| {
            let built = BuiltLayer {
                diff_id: *diff_id,
                size: layer.size,
                blob: Some(layer.blob.clone()),
            };
            (*chain, built)
        });
        Ok(all.collect())
    }

    /// The blob of a layer: the one that it came from, or its folder as an archive. `chain` is the name of its folder.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// If the folder is not here, or is not any more what `diff_id` says.
    pub fn layer_blob(&self, chain: &ChainId, diff_id: &Digest) -> Result<Descriptor, ImageError> {
        let known = self.known_blob(chain);
        let stores = self.stores();
        if let Some(blob) = known.filter(|blob| stores.content.contains(&blob.digest)) {
            return Ok(blob);
        }
        if stores.content.contains(diff_id) {
            let size = stores.content.size(diff_id);
            let size = size.map_err(|error| ImageError::content("measure", &error))?;
            return Ok(Descriptor::new(media_type::OCI_LAYER, *diff_id, size));
        }
        // Its bytes are deterministic: what an earlier attempt left is written anew, and what another build has
        // written meanwhile is the same.
        let _hold = self.keep_blob(diff_id, &mut |out| {
            let packed = self.pack_layer(chain, Times::Own, out);
            packed.map_err(io::Error::other)
        })?;
        let size = stores.content.size(diff_id);
        let size = size.map_err(|error| ImageError::content("measure", &error))?;
        Ok(Descriptor::new(media_type::OCI_LAYER, *diff_id, size))
    }

    /// The blob that a layer came from; it may not be here any more.
    pub(crate) fn known_blob(&self, chain: &ChainId) -> Option<Descriptor> {
        let built = self.built();
        let known = built.0.get(chain).and_then(|layer| layer.blob.clone());
        drop(built);
        known.or_else(|| self.read().blob_of(chain))
    }

    /// Writes a layer's folder as an archive, with these times. Blocks on the disk.
    ///
    /// # Errors
    /// If the folder is not here, or cannot be written.
    pub fn pack_layer(
        &self,
        chain: &ChainId,
        times: Times,
        out: &mut dyn io::Write,
    ) -> Result<(), ImageError> {
        let path = self.stores().snapshots.layer_path(chain);
        let path = path.map_err(|error| ImageError::unpack(&error))?;
        let folder = File::open(&path).map_err(|error| ImageError::io("open", &path, error))?;
        let options = PackOptions { times, ..PACKED };
        let packed = wharf_layer::pack(folder.as_fd(), out, &options);
        packed.map(drop).map_err(|error| ImageError::unpack(&error))
    }

    /// A blob that is here.
    ///
    /// # Errors
    /// If it is not.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ImageError> {
        self.stores().open(digest)
    }

    /// Records the image that `config` describes, of layers that are here: the name of each one's folder, bottom first.
    /// `parent` is the image that it was built from. Nothing is visible before everything is there.
    ///
    /// # Errors
    /// [`ImageError::RootFsMismatch`] if `config` has other layers; if a layer is not here.
    pub async fn assemble(
        &self,
        layers: &[ChainId],
        config: Vec<u8>,
        names: Vec<Reference>,
        parent: Option<Digest>,
    ) -> Result<Image, ImageError> {
        let _pin = parent
            .map(|parent| self.pin(&parent.to_string()))
            .transpose()?;
        let config = ImageConfig::parse(config)?;
        let diff_ids = config.rootfs.diff_ids.clone();
        if diff_ids.len() != layers.len() {
            return Err(ImageError::RootFsMismatch);
        }
        // Until the image is recorded, nobody collects what it needs.
        let _lease = self.lease(diff_ids.clone(), layers.to_vec());
        let (images, folders) = (self.clone(), layers.to_vec());
        let blobs = crate::work::blocking(move || {
            let pairs = folders.iter().zip(&diff_ids);
            let blobs = pairs.map(|(chain, diff_id)| images.layer_blob(chain, diff_id));
            blobs.collect::<Result<Vec<_>, _>>()
        });
        let blobs = blobs.await?;
        let descriptor = Descriptor::of(media_type::OCI_CONFIG, config.raw());
        let manifest = Manifest::oci(descriptor, blobs);
        let bytes =
            serde_json::to_vec(&manifest).map_err(|error| ImageError::content("write", &error))?;
        let raw = (
            Descriptor::of(media_type::OCI_MANIFEST, &bytes),
            Bytes::from(bytes),
        );
        let mut incoming = Incoming::new(config, &manifest, raw, |_| Feed::Here)?;
        incoming.parent = parent;
        let progress = ProgressSender::discard();
        let (image, _) = self.bring_in(incoming, names, &progress).await?;
        Ok(image)
    }
}

/// How a layer is packed wherever its digest is asked for.
pub const PACKED: PackOptions = PackOptions {
    from_overlay: true,
    whole_seconds: true,
    ids: None,
    times: Times::Own,
};

/// A blob that is being written.
pub(crate) struct Blob<'a>(pub(crate) &'a mut wharf_content::Ingest);

impl Write for Blob<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
