//! Images into an archive: an OCI layout with Docker's `manifest.json` and `repositories` beside it, which every
//! Docker can load. Layers are the blobs as they came, so what was pulled comes out with the digests it had.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};

use wharf_oci::{Descriptor, Digest, Document, Index, Manifest, Platform, Reference, media_type};

use crate::ImageError;
use crate::records::{Entry, State};
use crate::store::Images;

/// An image for one platform that goes out.
pub(crate) struct Picked {
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Descriptor>,
    pub(crate) manifest: (Descriptor, Vec<u8>),
    /// Whether it is pushed byte for byte as it came.
    pub(crate) as_it_came: bool,
    /// Other blobs that are kept with it, as far as they are here.
    pub(crate) extras: Vec<Descriptor>,
}

/// An image with the platforms that go into the archive, and the names that go with it.
struct Group {
    /// The best for this machine first.
    images: Vec<Picked>,
    /// The index, if more than one platform goes, or all that it has.
    index: Option<(Descriptor, Vec<u8>)>,
    names: Vec<Reference>,
}

impl Images {
    /// Writes images to `out` as `docker save` does. A name takes itself along, a repository without a tag all its
    /// tags, an id no name; of an image for several platforms those that are asked for go, or all that are here. Blocks
    /// on the disk and on `out`; the images must stay meanwhile ([`Images::pin`]).
    ///
    /// # Errors
    /// If there is no such image (then nothing was written), a blob is not there, or `out` fails.
    pub fn save(
        &self,
        names: &[String],
        platforms: &[Platform],
        out: impl Write,
    ) -> Result<(), ImageError> {
        self.archive(&self.pick(names, platforms)?, out)
    }

    /// As [`Images::save`], of one image, under names that it need not have here.
    ///
    /// # Errors
    /// As [`Images::save`].
    pub fn save_as(
        &self,
        id: &Digest,
        names: &[Reference],
        out: impl Write,
    ) -> Result<(), ImageError> {
        let mut groups = self.pick(&[id.to_string()], &[])?;
        for group in &mut groups {
            group.names = names.to_vec();
        }
        self.archive(&groups, out)
    }

    fn archive(&self, groups: &[Group], out: impl Write) -> Result<(), ImageError> {
        let mut archive = tar::Builder::new(out);
        for folder in ["blobs/", "blobs/sha256/"] {
            append_folder(&mut archive, folder)?;
        }
        let mut written = HashSet::new();
        for group in groups {
            for image in &group.images {
                self.append_image(&mut archive, &mut written, image)?;
            }
            if let Some((descriptor, bytes)) = &group.index
                && written.insert(descriptor.digest)
            {
                append_bytes(&mut archive, &blob_name(&descriptor.digest), bytes)?;
            }
        }
        append_bytes(&mut archive, "index.json", &index(groups)?)?;
        append_bytes(&mut archive, "manifest.json", &list(groups)?)?;
        append_bytes(
            &mut archive,
            "oci-layout",
            br#"{"imageLayoutVersion": "1.0.0"}"#,
        )?;
        append_bytes(&mut archive, "repositories", &repositories(groups)?)?;
        archive.finish().map_err(failed)
    }

    /// Fails as [`Images::save`] would before its first byte.
    ///
    /// # Errors
    /// As [`Images::save`].
    pub fn check_save(&self, names: &[String], platforms: &[Platform]) -> Result<(), ImageError> {
        self.pick(names, platforms).map(drop)
    }

    fn append_image(
        &self,
        archive: &mut tar::Builder<impl Write>,
        written: &mut HashSet<Digest>,
        image: &Picked,
    ) -> Result<(), ImageError> {
        for blob in image.layers.iter().chain(&image.extras) {
            if written.insert(blob.digest) {
                let file = self.stores().open(&blob.digest)?;
                append(archive, &blob_name(&blob.digest), blob.size, file)?;
            }
        }
        let config = Digest::sha256(&image.config);
        for (digest, bytes) in [
            (&config, &image.config),
            (&image.manifest.0.digest, &image.manifest.1),
        ] {
            if written.insert(*digest) {
                append_bytes(archive, &blob_name(digest), bytes)?;
            }
        }
        Ok(())
    }

    fn pick(&self, names: &[String], platforms: &[Platform]) -> Result<Vec<Group>, ImageError> {
        let state = self.read();
        let mut order: Vec<Vec<Digest>> = Vec::new();
        let mut tags: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for text in names {
            for (id, name) in meant(&state, text)? {
                let images = wanted(&state, text, &id, name.as_ref(), platforms)?;
                let first = images[0];
                if !order.contains(&images) {
                    order.push(images);
                }
                let known = tags.entry(first).or_default();
                known.extend(name.filter(|name| !known.contains(name)));
            }
        }
        let describe = |id: &Digest| {
            let entry = state.images.get(id);
            let entry = entry.ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
            self.describe(&state, entry)
        };
        let group = |ids: Vec<Digest>| {
            let images = ids.iter().map(describe).collect::<Result<Vec<_>, _>>()?;
            let index = state.images.get(&ids[0]).and_then(|entry| {
                let descriptor = entry.record.index.clone()?;
                let bytes = self.stores().read_config(&descriptor.digest)?;
                Some((descriptor, bytes))
            });
            let index = index.filter(|(_, bytes)| images.len() > 1 || is_all(bytes, &images));
            Ok(Group {
                images,
                index,
                names: tags.remove(&ids[0]).unwrap_or_default(),
            })
        };
        order.into_iter().map(group).collect()
    }

    pub(crate) fn describe(&self, state: &State, entry: &Entry) -> Result<Picked, ImageError> {
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
                let is_here = |twin: &&Descriptor| content.contains(&twin.digest);
                if let Some(twin) = layer.twin.as_ref().filter(is_here) {
                    return Ok(twin.clone());
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
            as_it_came: entry.record.as_it_came && same,
            manifest,
            extras: entry
                .record
                .extras
                .iter()
                .filter(|extra| content.contains(&extra.digest))
                .cloned()
                .collect(),
        })
    }
}

/// Whether an index has no other images than these: builders write one for a single platform, too, to have their statements in it.
fn is_all(index: &[u8], images: &[Picked]) -> bool {
    let Ok(Document::Index(index)) = Document::parse(index, None) else {
        return false;
    };
    let mut others = index.manifests.iter().filter(|one| !one.is_attestation());
    others.all(|one| {
        let mut goes = images.iter();
        goes.any(|image| image.manifest.0.digest == one.digest)
    })
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
    let id = state.lookup(text).map_err(|error| match error {
        // Here dockerd names it as it was asked for.
        ImageError::NoSuchImage(_) => ImageError::NoSuchImage(text.to_owned()),
        other => other,
    })?;
    Ok(vec![(id, None)])
}

/// A blob of the same layer that is here.
pub(crate) fn twin(
    state: &State,
    diff_id: &Digest,
    is_here: impl Fn(&Digest) -> bool,
) -> Option<Descriptor> {
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
        .filter(|(other, _)| *other == diff_id)
        .flat_map(|(_, layer)| layer.twin.iter().chain([&layer.blob]))
        .find(|blob| is_here(&blob.digest))
        .cloned()
}

/// The images that go for one name or id: those for the platforms that are asked for, or all that are here.
fn wanted(
    state: &State,
    text: &str,
    id: &Digest,
    name: Option<&Reference>,
    platforms: &[Platform],
) -> Result<Vec<Digest>, ImageError> {
    if platforms.is_empty() {
        return Ok(state.variants(id));
    }
    let text = name.map_or_else(|| text.to_owned(), Reference::to_string);
    let mut images = Vec::new();
    for platform in platforms {
        let image = state.lookup_for(&text, Some(platform))?;
        if !images.contains(&image) {
            images.push(image);
        }
    }
    Ok(images)
}

/// `index.json`: an entry for each name, or one for an image without a name.
fn index(groups: &[Group]) -> Result<Vec<u8>, ImageError> {
    let mut manifests = Vec::new();
    for group in groups {
        // Without its index each platform stands for itself.
        let documents: Vec<&Descriptor> = match &group.index {
            Some((descriptor, _)) => vec![descriptor],
            None => group.images.iter().map(|image| &image.manifest.0).collect(),
        };
        for document in documents {
            let descriptor = Descriptor::new(&document.media_type, document.digest, document.size);
            if group.names.is_empty() {
                manifests.push(descriptor.clone());
            }
            manifests.extend(group.names.iter().map(|name| named(&descriptor, name)));
        }
    }
    json(&Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests,
        annotations: BTreeMap::new(),
    })
}

fn named(descriptor: &Descriptor, name: &Reference) -> Descriptor {
    let mut named = descriptor.clone();
    let mut annotate = |key: &str, value: String| {
        named.annotations.insert(key.to_owned(), value);
    };
    annotate("io.containerd.image.name", name.to_string());
    let tag = name.tag().unwrap_or("latest");
    annotate("org.opencontainers.image.ref.name", tag.to_owned());
    named
}

/// `manifest.json`, for those who know no index: the image for this machine.
fn list(groups: &[Group]) -> Result<Vec<u8>, ImageError> {
    let items: Vec<_> = groups
        .iter()
        .flat_map(|group| group.images.first().map(|image| (group, image)))
        .map(|(group, image)| {
            let blobs = image.layers.iter().map(|layer| blob_name(&layer.digest));
            let tags: Vec<_> = group.names.iter().map(Reference::familiar).collect();
            let sources = image.layers.iter().map(|layer| {
                let descriptor = Descriptor::new(&layer.media_type, layer.digest, layer.size);
                (layer.digest.to_string(), descriptor)
            });
            serde_json::json!({
                "Config": blob_name(&Digest::sha256(&image.config)),
                "RepoTags": if tags.is_empty() { None } else { Some(tags) },
                "Layers": blobs.collect::<Vec<_>>(),
                "LayerSources": sources.collect::<BTreeMap<_, _>>(),
            })
        })
        .collect();
    json(&items)
}

/// Docker's oldest list: repository → tag → top layer.
fn repositories(groups: &[Group]) -> Result<Vec<u8>, ImageError> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for group in groups {
        let Some(top) = group.images.first().and_then(|image| image.layers.last()) else {
            continue;
        };
        for name in &group.names {
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

fn append_folder(archive: &mut tar::Builder<impl Write>, name: &str) -> Result<(), ImageError> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    header.set_mtime(0);
    let empty: &[u8] = &[];
    archive
        .append_data(&mut header, name, empty)
        .map_err(failed)
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
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    let mut content = content.take(size);
    archive
        .append_data(&mut header, name, &mut content)
        .map_err(failed)?;
    // The header has promised so many bytes; what follows fewer of them would be read as the rest.
    match content.limit() {
        0 => Ok(()),
        missing => Err(ImageError::Content {
            operation: "read",
            message: format!("{name} lacks {missing} of its {size} bytes: pull the image again"),
        }),
    }
}

fn failed(error: io::Error) -> ImageError {
    ImageError::content("write archive of", &error)
}
