//! What is in an archive that is being loaded: its lists, its documents, and where its layers are. Nothing is unpacked here.

use std::io::Read as _;

use bytes::Bytes;
use serde::Deserialize;
use wharf_oci::{
    Descriptor, Digest, Document, Hasher, Index, MAX_CONFIG_SIZE, MAX_MANIFEST_SIZE, Manifest,
    Platform, Reference, media_type,
};

use crate::ImageError;
use crate::spool::Spool;

const MAX_LIST_SIZE: u64 = 16 * 1024 * 1024;
/// What builders say of an image is small.
const MAX_EXTRA_SIZE: u64 = 32 * 1024 * 1024;

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    // Go takes names by any case, and writers have theirs.
    #[serde(alias = "config")]
    config: String,
    #[serde(default, alias = "repoTags", alias = "repotags")]
    repo_tags: Option<Vec<String>>,
    #[serde(default, alias = "layers")]
    layers: Option<Vec<String>>,
    #[serde(default, alias = "parent")]
    parent: Option<Digest>,
}

/// A part of the spool: offset and size.
pub(crate) type Place = (u64, u64);

/// The layers of an image, bottom first.
pub(crate) enum Layers {
    /// Members of Docker's archive by name; what they are is seen from their content. One that is not in the archive may be a layer
    /// that is here.
    Places(Vec<(String, Option<Place>)>),
    /// Blobs as the manifest has them, and where they are; those that are not in the archive may be in the store.
    Blobs(Vec<(Descriptor, Option<Place>)>),
}

/// An image for one platform as the archive describes it.
pub(crate) struct FoundImage {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Layers,
    pub(crate) manifest: Option<(Descriptor, Bytes)>,
    pub(crate) extras: Vec<(Descriptor, Bytes)>,
}

/// An image with all its platforms and names.
pub(crate) struct Found {
    pub(crate) images: Vec<FoundImage>,
    pub(crate) names: Vec<Reference>,
    pub(crate) parent: Option<Digest>,
    pub(crate) index: Option<(Descriptor, Bytes)>,
}

/// The images of an archive, in its order, or what is wrong with one; of those for several platforms only `platforms`, unless there are none.
pub(crate) fn images(
    spool: &Spool,
    platforms: &[Platform],
) -> Result<Vec<Result<Found, ImageError>>, ImageError> {
    let items: Option<Vec<Item>> = match spool.small("manifest.json", MAX_LIST_SIZE)? {
        Some(list) => {
            let items = serde_json::from_slice::<Option<Vec<Item>>>(&list);
            let items =
                items.map_err(|error| ImageError::Archive(format!("manifest.json: {error}")))?;
            let null = "invalid manifest, manifest cannot be null (but can be [])";
            Some(items.ok_or_else(|| ImageError::Unloadable(null.to_owned()))?)
        }
        None => None,
    };
    if let Some(bytes) = spool.small("index.json", MAX_MANIFEST_SIZE)? {
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| ImageError::Archive(format!("index.json: {error}")))?;
        if !index.manifests.is_empty() {
            return Ok(from_index(
                spool,
                &index,
                items.unwrap_or_default(),
                platforms,
            ));
        }
    }
    let Some(items) = items else {
        let what = "there is neither a manifest.json nor an index.json in it";
        return Err(ImageError::Archive(what.to_owned()));
    };
    let found = items.into_iter().map(|item| {
        let found = from_item(spool, item)?;
        check_platform(&found, platforms)?;
        Ok(found)
    });
    Ok(found.collect())
}

/// An image that is for one platform only must be for one that was asked for.
fn check_platform(found: &Found, platforms: &[Platform]) -> Result<(), ImageError> {
    let Some(wanted) = platforms.first() else {
        return Ok(());
    };
    for image in &found.images {
        let config = wharf_oci::ImageConfig::parse(image.config.clone())?;
        let platform = config.platform();
        if !platforms.iter().any(|wanted| wanted.matches(&platform)) {
            let name = found.names.first().map(Reference::familiar);
            return Err(ImageError::OtherPlatform {
                reference: name.unwrap_or_else(|| config.digest().to_string()),
                found: platform.to_string(),
                wanted: wanted.to_string(),
            });
        }
    }
    Ok(())
}

fn from_item(spool: &Spool, item: Item) -> Result<Found, ImageError> {
    let config = spool
        .small(&item.config, MAX_CONFIG_SIZE)?
        .ok_or_else(|| missing(&item.config))?;
    let layers = item
        .layers
        .unwrap_or_default()
        .into_iter()
        .map(|name| {
            let place = spool.find(&name);
            (name, place)
        })
        .collect();
    let names = item
        .repo_tags
        .unwrap_or_default()
        .iter()
        .map(|tag| match Reference::parse_normalized(tag) {
            Ok(name) if name.tag().is_some() && name.digest().is_none() => Ok(name),
            Ok(_) => Err(ImageError::Unloadable(format!("invalid tag {tag:?}"))),
            Err(error) => Err(ImageError::Unloadable(error.to_string())),
        })
        .collect::<Result<_, _>>()?;
    Ok(Found {
        images: vec![FoundImage {
            config,
            layers: Layers::Places(layers),
            manifest: None,
            extras: Vec::new(),
        }],
        names,
        parent: item.parent,
        index: None,
    })
}

/// The images of an OCI layout (image layout specification): its entries, those of one digest taken together.
fn from_index(
    spool: &Spool,
    index: &Index,
    items: Vec<Item>,
    platforms: &[Platform],
) -> Vec<Result<Found, ImageError>> {
    let mut all: Vec<(Digest, Result<Found, ImageError>)> = Vec::new();
    for entry in &index.manifests {
        let names = name_of(entry);
        if let Some((_, found)) = all.iter_mut().find(|(digest, _)| *digest == entry.digest) {
            if let Ok(found) = found {
                found.names.extend(names);
            }
            continue;
        }
        // A builder's statements are listed beside the images by some tools.
        if entry.is_attestation() {
            continue;
        }
        let found = from_entry(spool, entry, names.into_iter().collect(), platforms);
        all.push((entry.digest, found));
    }
    // Only Docker's own list knows of parents.
    for item in items {
        let of = |found: &&mut Found| {
            let mut images = found.images.iter();
            images.any(|image| item.config.ends_with(&Digest::sha256(&image.config).hex()))
        };
        let mut found = all.iter_mut().filter_map(|(_, found)| found.as_mut().ok());
        if let Some(found) = found.find(of) {
            found.parent = item.parent;
        }
    }
    all.into_iter().map(|(_, found)| found).collect()
}

fn from_entry(
    spool: &Spool,
    entry: &Descriptor,
    names: Vec<Reference>,
    platforms: &[Platform],
) -> Result<Found, ImageError> {
    let (raw, document) = document_of(spool, entry)?;
    let index = match document {
        Document::Manifest(manifest) => {
            let found = Found {
                images: vec![from_manifest(spool, raw, manifest)?],
                names,
                parent: None,
                index: None,
            };
            check_platform(&found, platforms)?;
            return Ok(found);
        }
        Document::Index(index) => index,
    };
    let mut images = Vec::new();
    for entry in chosen(spool, &index, &names, platforms)? {
        match document_of(spool, entry)? {
            (raw, Document::Manifest(manifest)) => {
                let extras = statements(spool, &index, &raw.0.digest);
                let mut image = from_manifest(spool, raw, manifest)?;
                image.extras = extras;
                images.push(image);
            }
            (_, Document::Index(_)) => {
                return Err(ImageError::Archive("an index within an index".to_owned()));
            }
        }
    }
    Ok(Found {
        images,
        names,
        parent: None,
        index: Some(raw),
    })
}

/// The images of an index that are wanted, and are in the archive.
fn chosen<'a>(
    spool: &Spool,
    index: &'a Index,
    names: &[Reference],
    platforms: &[Platform],
) -> Result<Vec<&'a Descriptor>, ImageError> {
    let here = |entry: &&Descriptor| spool.find(&blob_name(&entry.digest)).is_some();
    let no_image = |wanted: String| ImageError::NoPlatform {
        reference: names.first().map_or_else(String::new, Reference::familiar),
        wanted,
    };
    if platforms.is_empty() {
        let is_image = |entry: &&Descriptor| {
            let foreign = entry.platform.as_ref().is_some_and(|p| p.os != "linux");
            !entry.is_attestation() && !foreign
        };
        let all: Vec<_> = index
            .manifests
            .iter()
            .filter(is_image)
            .filter(here)
            .collect();
        return match all.is_empty() {
            true => Err(no_image(Platform::host().to_string())),
            false => Ok(all),
        };
    }
    let best = |wanted: &Platform| {
        let found = index.select(wanted).into_iter().find(|entry| here(entry));
        found.ok_or_else(|| no_image(wanted.to_string()))
    };
    platforms.iter().map(best).collect()
}

fn from_manifest(
    spool: &Spool,
    raw: (Descriptor, Bytes),
    manifest: Manifest,
) -> Result<FoundImage, ImageError> {
    if !media_type::is_config(&manifest.config.media_type) {
        return Err(ImageError::NotAnImage(manifest.config.media_type));
    }
    let config = blob(spool, &manifest.config.digest, MAX_CONFIG_SIZE)?;
    let layers = manifest.layers.into_iter().map(|layer| {
        let place = spool.find(&blob_name(&layer.digest));
        match place {
            Some((_, size)) if size != layer.size => Err(ImageError::Archive(format!(
                "{} has {size} bytes, not {}",
                blob_name(&layer.digest),
                layer.size
            ))),
            None if !media_type::is_foreign_layer(&layer.media_type) => {
                Err(missing(&blob_name(&layer.digest)))
            }
            place => Ok((layer, place)),
        }
    });
    Ok(FoundImage {
        config,
        layers: Layers::Blobs(layers.collect::<Result<_, _>>()?),
        manifest: Some(raw),
        extras: Vec::new(),
    })
}

/// What builders say of an image, as far as the archive has it.
fn statements(spool: &Spool, index: &Index, image: &Digest) -> Vec<(Descriptor, Bytes)> {
    let text = image.to_string();
    let about = |entry: &&Descriptor| {
        let of = entry.annotations.get("vnd.docker.reference.digest");
        entry.is_attestation() && of == Some(&text)
    };
    let mut all = Vec::new();
    for entry in index.manifests.iter().filter(about) {
        let Ok((raw, Document::Manifest(manifest))) = document_of(spool, entry) else {
            continue;
        };
        all.push(raw);
        for part in manifest.layers.into_iter().chain([manifest.config]) {
            if let Ok(bytes) = blob(spool, &part.digest, MAX_EXTRA_SIZE) {
                all.push((part, bytes.into()));
            }
        }
    }
    all
}

/// The name of an entry: containerd's annotation has the whole name; the specification's may be a tag only, which names
/// nothing.
fn name_of(entry: &Descriptor) -> Option<Reference> {
    let annotation = |key: &str| entry.annotations.get(key);
    annotation("io.containerd.image.name")
        .or_else(|| {
            let name = annotation("org.opencontainers.image.ref.name")?;
            name.contains([':', '/']).then_some(name)
        })
        .and_then(|name| Reference::parse_normalized(name).ok())
        .filter(|name| name.digest().is_none())
        .map(Reference::with_default_tag)
}

type Raw = (Descriptor, Bytes);

fn document_of(spool: &Spool, descriptor: &Descriptor) -> Result<(Raw, Document), ImageError> {
    let bytes = blob(spool, &descriptor.digest, MAX_MANIFEST_SIZE)?;
    let document = Document::parse(&bytes, Some(&descriptor.media_type))
        .map_err(|error| ImageError::Archive(wharf_sys::words::chain(&error)))?;
    let size = bytes.len() as u64;
    let plain = Descriptor::new(document.media_type(), descriptor.digest, size);
    Ok(((plain, bytes.into()), document))
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

pub(crate) fn missing(name: &str) -> ImageError {
    ImageError::Archive(format!("open {name}: no such file or directory"))
}

/// The descriptor of a layer in the spool. An uncompressed layer's digest is its diff id; a compressed one is read.
pub(crate) fn describe(
    spool: &Spool,
    (offset, size): Place,
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
