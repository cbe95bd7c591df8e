//! Images from an archive that `docker save` wrote: of Docker before 25 (a folder per layer), of 25 and later (an
//! OCI layout with a `manifest.json`), or a bare OCI layout.

use std::io::Read as _;

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncRead;
use tokio_util::io::SyncIoBridge;
use wharf_oci::{
    Descriptor, Digest, Document, Hasher, ImageConfig, Index, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE,
    Manifest, Platform, Reference, media_type,
};

use crate::flight::Feed;
use crate::pull::Incoming;
use crate::spool::Spool;
use crate::store::Images;
use crate::{ImageError, Progress, ProgressSender};

const MAX_LIST_SIZE: u64 = 16 * 1024 * 1024;

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
    #[serde(default)]
    parent: Option<Digest>,
}

/// An image as the archive describes it.
struct Found {
    config: Vec<u8>,
    /// Where the layers are in the spool.
    layers: Vec<(u64, u64)>,
    names: Vec<Reference>,
    parent: Option<Digest>,
}

impl Images {
    /// Loads all images of an archive, compressed or not; their ids, in order.
    ///
    /// # Errors
    /// [`ImageError::Archive`] for what is not such an archive; images before the broken one stay.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        progress: ProgressSender,
    ) -> Result<Vec<Digest>, ImageError> {
        let archive = SyncIoBridge::new(archive);
        let root = self.root().to_owned();
        let spool = tokio::task::spawn_blocking(move || Spool::read(archive, &root))
            .await
            .unwrap_or(Err(ImageError::Cancelled))?;
        let mut ids = Vec::new();
        for found in find_images(&spool)? {
            ids.push(self.load_one(&spool, found, &progress).await?);
        }
        Ok(ids)
    }

    async fn load_one(
        &self,
        spool: &Spool,
        found: Found,
        progress: &ProgressSender,
    ) -> Result<Digest, ImageError> {
        let config = ImageConfig::parse(found.config)?;
        let id = config.digest();
        if found.layers.len() != config.rootfs.diff_ids.len() {
            return Err(ImageError::Archive(format!(
                "invalid manifest, layers length mismatch: expected {}, got {}",
                found.layers.len(),
                config.rootfs.diff_ids.len()
            )));
        }
        let layers = found
            .layers
            .iter()
            .zip(&config.rootfs.diff_ids)
            .map(|(place, diff_id)| describe(spool, *place, diff_id))
            .collect::<Result<Vec<_>, _>>()?;
        let config_descriptor = Descriptor::of(media_type::OCI_CONFIG, config.raw());
        let manifest = Manifest::oci(config_descriptor, layers);
        let bytes =
            serde_json::to_vec(&manifest).map_err(|error| ImageError::content("write", &error))?;
        let raw = (
            Descriptor::of(media_type::OCI_MANIFEST, &bytes),
            Bytes::from(bytes),
        );
        let mut incoming = Incoming::new(config, &manifest, raw, |at| Feed::Spool {
            file: spool.file.clone(),
            offset: found.layers[at].0,
        })?;
        incoming.parent = found
            .parent
            .filter(|parent| self.read().images.contains_key(parent));
        self.warn_of_renames(&found.names, &id, progress);
        self.bring_in(incoming, found.names.clone(), progress)
            .await?;
        if found.names.is_empty() {
            progress.send(Progress::LoadedId(id));
        }
        for name in &found.names {
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
}

fn find_images(spool: &Spool) -> Result<Vec<Found>, ImageError> {
    if let Some(list) = spool.small("manifest.json", MAX_LIST_SIZE)? {
        let items: Vec<Item> = serde_json::from_slice(&list)
            .map_err(|error| ImageError::Archive(format!("manifest.json: {error}")))?;
        return items
            .into_iter()
            .map(|item| from_item(spool, item))
            .collect();
    }
    if let Some(index) = spool.small("index.json", MAX_MANIFEST_SIZE)? {
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| ImageError::Archive(format!("index.json: {error}")))?;
        return index
            .manifests
            .iter()
            .map(|entry| from_layout(spool, entry))
            .collect();
    }
    Err(ImageError::Archive(
        "there is neither a manifest.json nor an index.json in it".to_owned(),
    ))
}

fn from_item(spool: &Spool, item: Item) -> Result<Found, ImageError> {
    let config = spool
        .small(&item.config, MAX_CONFIG_SIZE)?
        .ok_or_else(|| missing(&item.config))?;
    let layers = item
        .layers
        .unwrap_or_default()
        .iter()
        .map(|name| spool.find(name).ok_or_else(|| missing(name)))
        .collect::<Result<_, _>>()?;
    let names = item
        .repo_tags
        .unwrap_or_default()
        .iter()
        .map(|tag| match Reference::parse_normalized(tag) {
            Ok(name) if name.tag().is_some() && name.digest().is_none() => Ok(name),
            Ok(_) => Err(ImageError::Archive(format!("invalid tag {tag:?}"))),
            Err(error) => Err(ImageError::Archive(format!("invalid tag {tag:?}: {error}"))),
        })
        .collect::<Result<_, _>>()?;
    Ok(Found {
        config,
        layers,
        names,
        parent: item.parent,
    })
}

/// An entry of an OCI layout's index (image layout specification).
fn from_layout(spool: &Spool, entry: &Descriptor) -> Result<Found, ImageError> {
    let manifest = match document(spool, entry)? {
        Document::Manifest(manifest) => manifest,
        Document::Index(index) => {
            let host = Platform::host();
            let chosen = index.select(&host).first().copied().ok_or_else(|| {
                ImageError::Archive(format!("no image for {host} in the archive"))
            })?;
            match document(spool, chosen)? {
                Document::Manifest(manifest) => manifest,
                Document::Index(_) => {
                    return Err(ImageError::Archive("an index within an index".to_owned()));
                }
            }
        }
    };
    let config = blob(spool, &manifest.config.digest, MAX_CONFIG_SIZE)?;
    let layers = manifest
        .layers
        .iter()
        .map(|layer| {
            let name = blob_name(&layer.digest);
            spool.find(&name).ok_or_else(|| missing(&name))
        })
        .collect::<Result<_, _>>()?;
    // containerd's annotation has the whole name; the specification's may be a tag only, which names nothing.
    let names = entry
        .annotations
        .get("io.containerd.image.name")
        .or_else(|| {
            let name = entry.annotations.get("org.opencontainers.image.ref.name")?;
            name.contains([':', '/']).then_some(name)
        })
        .and_then(|name| Reference::parse_normalized(name).ok())
        .filter(|name| name.digest().is_none())
        .map(Reference::with_default_tag);
    Ok(Found {
        config,
        layers,
        names: names.into_iter().collect(),
        parent: None,
    })
}

fn document(spool: &Spool, descriptor: &Descriptor) -> Result<Document, ImageError> {
    let bytes = blob(spool, &descriptor.digest, MAX_MANIFEST_SIZE)?;
    Document::parse(&bytes, Some(&descriptor.media_type))
        .map_err(|error| ImageError::Archive(crate::error::chain(&error)))
}

fn blob(spool: &Spool, digest: &Digest, limit: u64) -> Result<Vec<u8>, ImageError> {
    let name = blob_name(digest);
    let bytes = spool.small(&name, limit)?.ok_or_else(|| missing(&name))?;
    let mut hasher = Hasher::new(digest.algorithm());
    hasher.update(&bytes);
    if hasher.finish() == *digest {
        return Ok(bytes);
    }
    Err(ImageError::Archive(format!("{name} has another digest")))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

fn missing(name: &str) -> ImageError {
    ImageError::Archive(format!("open {name}: no such file or directory"))
}

/// The descriptor of a layer in the spool. An uncompressed layer's digest is its diff id; a compressed one is read.
fn describe(
    spool: &Spool,
    (offset, size): (u64, u64),
    diff_id: &Digest,
) -> Result<Descriptor, ImageError> {
    let broken = |error: std::io::Error| ImageError::Archive(error.to_string());
    let mut magic = Vec::new();
    spool
        .slice(offset, size.min(4))
        .read_to_end(&mut magic)
        .map_err(broken)?;
    let media_type = match magic[..] {
        [0x1f, 0x8b, ..] => media_type::OCI_LAYER_GZIP,
        [0x28, 0xb5, 0x2f, 0xfd] => media_type::OCI_LAYER_ZSTD,
        _ => return Ok(Descriptor::new(media_type::OCI_LAYER, *diff_id, size)),
    };
    let mut hasher = Hasher::sha256();
    std::io::copy(&mut spool.slice(offset, size), &mut hasher).map_err(broken)?;
    Ok(Descriptor::new(media_type, hasher.finish(), size))
}
