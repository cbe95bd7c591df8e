//! Images into an archive: an OCI layout with Docker's `manifest.json` and `repositories` beside it, which every
//! Docker can load. Layers are the blobs as they came, so what was pulled comes out with the digests it had.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use wharf_oci::{Descriptor, Digest, Index, Manifest, Reference, media_type};

use crate::ImageError;
use crate::records::{Entry, State};
use crate::store::Images;

/// An image that goes into the archive, and the names that go with it.
pub(crate) struct Picked {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifest: (Descriptor, Vec<u8>),
    pub(crate) names: Vec<Reference>,
}

impl Images {
    /// Writes images to `out` as `docker save` does. A name takes itself along, a repository without a tag all its
    /// tags, an id no name. Blocks on the disk and on `out`; the images must stay meanwhile ([`Images::pin`]).
    ///
    /// # Errors
    /// If there is no such image (then nothing was written), a blob is not there, or `out` fails.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<(), ImageError> {
        let picked = self.pick(names)?;
        let mut archive = tar::Builder::new(out);
        let mut written = HashSet::new();
        for image in &picked {
            for layer in &image.layers {
                if written.insert(layer.digest) {
                    let file = self.stores().open(&layer.digest)?;
                    append(&mut archive, &blob_name(&layer.digest), layer.size, file)?;
                }
            }
            let config = Digest::sha256(&image.config);
            for (digest, bytes) in [
                (&config, &image.config),
                (&image.manifest.0.digest, &image.manifest.1),
            ] {
                if written.insert(*digest) {
                    append_bytes(&mut archive, &blob_name(digest), bytes)?;
                }
            }
        }
        append_bytes(&mut archive, "index.json", &index(&picked)?)?;
        append_bytes(&mut archive, "manifest.json", &list(&picked)?)?;
        append_bytes(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion":"1.0.0"}"#,
        )?;
        append_bytes(&mut archive, "repositories", &repositories(&picked)?)?;
        archive.finish().map_err(failed)
    }

    fn pick(&self, names: &[String]) -> Result<Vec<Picked>, ImageError> {
        let state = self.read();
        let mut order: Vec<Digest> = Vec::new();
        let mut tags: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for text in names {
            for (id, name) in meant(&state, text)? {
                if !order.contains(&id) {
                    order.push(id);
                }
                let known = tags.entry(id).or_default();
                known.extend(name.filter(|name| !known.contains(name)));
            }
        }
        order
            .into_iter()
            .map(|id| {
                let entry = state
                    .images
                    .get(&id)
                    .ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
                self.describe(&state, entry, tags.remove(&id).unwrap_or_default())
            })
            .collect()
    }

    pub(crate) fn describe(
        &self,
        state: &State,
        entry: &Entry,
        names: Vec<Reference>,
    ) -> Result<Picked, ImageError> {
        let content = &self.stores().content;
        let diff_ids = &entry.config.rootfs.diff_ids;
        let layers = entry
            .record
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(layer, diff_id)| {
                if content.contains(&layer.blob.digest) {
                    return Ok(layer.blob.clone());
                }
                // The layer was here when the image came, so its blob was not fetched: another image has one.
                twin(state, diff_id, |digest| content.contains(digest)).ok_or_else(|| {
                    ImageError::Content {
                        operation: "open",
                        message: format!("no blob for layer {diff_id}: pull the image again"),
                    }
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let same = layers
            .iter()
            .zip(&entry.record.layers)
            .all(|(found, layer)| *found == layer.blob);
        let manifest = match &entry.record.manifest {
            Some(descriptor) if same && content.contains(&descriptor.digest) => {
                let bytes = self.stores().read_config(&descriptor.digest);
                (descriptor.clone(), bytes.unwrap_or_default())
            }
            _ => {
                let config = Descriptor::of(media_type::OCI_CONFIG, entry.config.raw());
                let bytes = json(&Manifest::oci(config, layers.clone()))?;
                (Descriptor::of(media_type::OCI_MANIFEST, &bytes), bytes)
            }
        };
        Ok(Picked {
            config: entry.config.raw().to_vec(),
            layers,
            manifest,
            names,
        })
    }
}

/// What an argument of `docker save` means (moby's `image/tarexport/save.go`).
fn meant(state: &State, text: &str) -> Result<Vec<(Digest, Option<Reference>)>, ImageError> {
    if let Ok(name) = Reference::parse_normalized(text) {
        if name.is_name_only() {
            let mut tags: Vec<_> = state
                .names
                .iter()
                .filter(|(known, _)| known.name() == name.name() && known.digest().is_none())
                .map(|(known, id)| (*id, Some(known.clone())))
                .collect();
            tags.sort_by_cached_key(|(_, name)| name.as_ref().map(Reference::to_string));
            if !tags.is_empty() {
                return Ok(tags);
            }
        } else if let Some(id) = state.names.get(&crate::lookup::key_of(&name)) {
            return Ok(vec![(
                *id,
                Some(name).filter(|name| name.digest().is_none()),
            )]);
        }
    }
    Ok(vec![(state.lookup(text)?, None)])
}

/// A blob of the same layer that is here.
fn twin(state: &State, diff_id: &Digest, is_here: impl Fn(&Digest) -> bool) -> Option<Descriptor> {
    state
        .images
        .values()
        .flat_map(|entry| {
            entry
                .config
                .rootfs
                .diff_ids
                .iter()
                .zip(&entry.record.layers)
        })
        .find(|(other, layer)| *other == diff_id && is_here(&layer.blob.digest))
        .map(|(_, layer)| layer.blob.clone())
}

fn index(picked: &[Picked]) -> Result<Vec<u8>, ImageError> {
    let mut manifests = Vec::new();
    for image in picked {
        let descriptor = Descriptor {
            annotations: BTreeMap::new(),
            platform: None,
            ..image.manifest.0.clone()
        };
        if image.names.is_empty() {
            manifests.push(descriptor.clone());
        }
        manifests.extend(image.names.iter().map(|name| {
            let mut named = descriptor.clone();
            let mut annotate = |key: &str, value: String| {
                named.annotations.insert(key.to_owned(), value);
            };
            annotate("io.containerd.image.name", name.to_string());
            let tag = name.tag().unwrap_or("latest");
            annotate("org.opencontainers.image.ref.name", tag.to_owned());
            named
        }));
    }
    json(&Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests,
        annotations: BTreeMap::new(),
    })
}

fn list(picked: &[Picked]) -> Result<Vec<u8>, ImageError> {
    let items: Vec<_> = picked
        .iter()
        .map(|image| {
            let blobs = image.layers.iter().map(|layer| blob_name(&layer.digest));
            let tags: Vec<_> = image.names.iter().map(Reference::familiar).collect();
            serde_json::json!({
                "Config": blob_name(&Digest::sha256(&image.config)),
                "RepoTags": if tags.is_empty() { None } else { Some(tags) },
                "Layers": blobs.collect::<Vec<_>>(),
            })
        })
        .collect();
    json(&items)
}

/// Docker's oldest list: repository → tag → top layer.
fn repositories(picked: &[Picked]) -> Result<Vec<u8>, ImageError> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for image in picked {
        let Some(top) = image.layers.last() else {
            continue;
        };
        for name in &image.names {
            let tag = name.tag().unwrap_or("latest").to_owned();
            let tags = all.entry(name.familiar_name()).or_default();
            tags.insert(tag, top.digest.hex());
        }
    }
    json(&all)
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, ImageError> {
    serde_json::to_vec(value).map_err(|error| ImageError::content("write", &error))
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

fn append_bytes(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    bytes: &[u8],
) -> Result<(), ImageError> {
    append(archive, name, bytes.len() as u64, bytes)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    content: impl Read,
) -> Result<(), ImageError> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    archive
        .append_data(&mut header, name, content)
        .map_err(failed)
}

fn failed(error: io::Error) -> ImageError {
    ImageError::content("write archive of", &error)
}
