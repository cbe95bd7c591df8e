//! Images from an archive that `docker save` and its relatives wrote: of Docker before 25 (a folder per layer), an OCI
//! layout with a `manifest.json` beside it (Docker 25 and later, ours), or either alone (skopeo, podman, buildah).
//!
//! Where both lists are there the layout is read, as it has the manifests and indexes that the images came with.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_oci::{Descriptor, Digest, ImageConfig, Manifest, Platform, Reference, media_type};

use crate::archive::{self, Found, FoundImage, Layers, Place};
use crate::flight::Feed;
use crate::pull::Incoming;
use crate::spool::Spool;
use crate::store::{Images, Lease};
use crate::work::{at_clients_pace, blocking};
use crate::{ImageError, Progress, ProgressSender};

impl Images {
    /// Loads all images of an archive, compressed or not; their ids, in order. Of an image for several platforms those
    /// that are asked for, or all that are in the archive.
    ///
    /// # Errors
    /// [`ImageError::Archive`] for what is not such an archive; images before the broken one stay.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        platforms: &[Platform],
        progress: ProgressSender,
    ) -> Result<Vec<Digest>, ImageError> {
        let archive = SyncIoBridge::new(archive);
        let (root, platforms) = (self.root().to_owned(), platforms.to_vec());
        let read = move || {
            let spool = Spool::read(archive, &root)?;
            let found = archive::images(&spool, &platforms)?;
            Ok::<_, ImageError>((Arc::new(spool), found))
        };
        let read = at_clients_pace(read).await;
        let (spool, all) = read.map_err(|error| ImageError::Panicked(error.to_string()))??;
        let mut ids = Vec::new();
        for found in all {
            ids.push(self.load_one(&spool, found?, &progress).await?);
        }
        Ok(ids)
    }

    /// Loads the platforms of one image, the best for this machine last, so that names mean it.
    async fn load_one(
        &self,
        spool: &Arc<Spool>,
        found: Found,
        progress: &ProgressSender,
    ) -> Result<Digest, ImageError> {
        let Found {
            images,
            names,
            parent,
            index,
        } = found;
        let (store, spool) = (self.clone(), spool.clone());
        // Compressed layers are read to know what they are.
        let described = move || {
            let one = |image: FoundImage| {
                let config = configuration(&image.config)?;
                let lease = store.lease_of(&config, &image.layers);
                Ok((store.incoming(&spool, config, image)?, lease))
            };
            images.into_iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let described = blocking(described).await?;
        let (mut all, _leases): (Vec<_>, Vec<_>) = described.into_iter().unzip();
        for incoming in &mut all {
            incoming.index.clone_from(&index);
            incoming.parent = parent.filter(|parent| self.read().images.contains_key(parent));
        }
        let host = Platform::host();
        all.sort_by_key(|incoming| {
            let rank = host.preference(&incoming.config.platform());
            std::cmp::Reverse(rank.unwrap_or(usize::MAX))
        });
        let Some(id) = all.last().map(|incoming| incoming.config.digest()) else {
            return Err(ImageError::Archive(
                "an image without a manifest".to_owned(),
            ));
        };
        self.warn_of_renames(&names, &id, progress);
        for incoming in all {
            self.bring_in(incoming, names.clone(), progress).await?;
        }
        if names.is_empty() {
            progress.send(Progress::LoadedId(id));
        }
        for name in &names {
            progress.send(Progress::LoadedName(name.familiar()));
        }
        Ok(id)
    }

    fn warn_of_renames(&self, names: &[Reference], id: &Digest, progress: &ProgressSender) {
        let state = self.read();
        for name in names {
            if let Some(old) = state.names.get(name).filter(|old| *old != id) {
                progress.send(Progress::RenamedOld {
                    name: name.familiar(),
                    id: *old,
                });
            }
        }
    }

    /// From here on until the image is recorded, nobody collects those of its layers that are here and that the archive may
    /// lack, nor what they are packed into.
    fn lease_of(&self, config: &ImageConfig, layers: &Layers) -> Lease {
        let chains = config.chain();
        let mut blobs = config.rootfs.diff_ids.clone();
        let known = chains.iter().filter_map(|chain| self.known_blob(chain));
        blobs.extend(known.map(|blob| blob.digest));
        if let Layers::Blobs(layers) = layers {
            blobs.extend(layers.iter().map(|(blob, _)| blob.digest));
        }
        self.lease(blobs, chains)
    }

    /// An image of the archive as one that is to be brought in. Blocks.
    fn incoming(
        &self,
        spool: &Spool,
        config: ImageConfig,
        image: FoundImage,
    ) -> Result<Incoming, ImageError> {
        let FoundImage {
            config: _,
            layers,
            manifest,
            extras,
        } = image;
        let count = match &layers {
            Layers::Places(places) => places.len(),
            Layers::Blobs(blobs) => blobs.len(),
        };
        let expected = config.rootfs.diff_ids.len();
        if count != expected {
            return Err(ImageError::Unloadable(format!(
                "invalid manifest, layers length mismatch: expected {count}, got {expected}"
            )));
        }
        let (descriptors, places): (Vec<_>, Vec<_>) = match layers {
            Layers::Blobs(blobs) => blobs.into_iter().unzip(),
            Layers::Places(places) => self.described(spool, &config, places)?.into_iter().unzip(),
        };
        let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, config.raw());
        let document = Manifest::oci(config_descriptor, descriptors);
        // What has a manifest has a digest that people know it by, and goes on with it: as with Docker's containerd store.
        let as_it_came = manifest.is_some();
        let raw = match manifest {
            Some(raw) => raw,
            None => {
                let bytes = serde_json::to_vec(&document)
                    .map_err(|error| ImageError::content("write", &error))?;
                let descriptor = Descriptor::of(media_type::OCI_MANIFEST, &bytes);
                (descriptor, Bytes::from(bytes))
            }
        };
        let made = Incoming::new(config, &document, raw, |at| match places[at] {
            Some((offset, _)) => Feed::Spool {
                file: Arc::clone(&spool.file),
                offset,
            },
            None => Feed::Here,
        });
        Ok(Incoming {
            extras,
            as_it_came,
            ..made?
        })
    }

    /// What the members are that the layers are in. dockerd looks for one only if it lacks the layer: docker-squash names members that
    /// its archive does not have.
    fn described(
        &self,
        spool: &Spool,
        config: &ImageConfig,
        places: Vec<(String, Option<Place>)>,
    ) -> Result<Vec<(Descriptor, Option<Place>)>, ImageError> {
        let layers = config.chain().into_iter().zip(&config.rootfs.diff_ids);
        let all = places.into_iter().zip(layers);
        all.map(|((name, place), (chain, diff_id))| {
            let descriptor = match place {
                Some(place) => archive::describe(spool, place, diff_id)?,
                None if self.stores().snapshots.has(&chain) => {
                    // A folder may outlive its blob, until the container is gone that it stays for.
                    self.layer_blob(&chain, diff_id)
                        .map_err(|error| match error {
                            ImageError::Content { .. } => archive::missing(&name),
                            other => other,
                        })?
                }
                None => return Err(archive::missing(&name)),
            };
            Ok((descriptor, place))
        })
        .collect()
    }
}

/// A configuration as dockerd takes one, in the order in which it looks.
fn configuration(bytes: &[u8]) -> Result<ImageConfig, ImageError> {
    #[derive(serde::Deserialize)]
    struct Keys {
        rootfs: Option<serde::de::IgnoredAny>,
    }
    let config = ImageConfig::parse(bytes.to_vec())?;
    let unloadable = |what: &str| Err(ImageError::Unloadable(what.to_owned()));
    if !serde_json::from_slice::<Keys>(bytes).is_ok_and(|keys| keys.rootfs.is_some()) {
        return unloadable("invalid image JSON, no RootFS key");
    }
    let os = config.platform().os;
    if os != "linux" {
        return unloadable(&format!("cannot load {os} image on linux"));
    }
    let steps = config.history.iter().filter(|step| !step.empty_layer);
    match steps.count() > config.rootfs.diff_ids.len() {
        true => Err(ImageError::HistoryMismatch),
        false => Ok(config),
    }
}
