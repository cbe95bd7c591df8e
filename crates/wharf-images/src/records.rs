//! What is on disk about images, and the copy of it in memory that everything reads.
//!
//! Two tables: `image` by id, and `image_name` by full reference. A change is one transaction first and memory
//! second, so a kill between the two loses nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use wharf_content::ContentError;
use wharf_oci::{ChainId, Descriptor, Digest, ImageConfig, Reference};
use wharf_records::{Db, Table};

use crate::{Image, ImageError};

const IMAGES: Table<ImageRecord> = Table::new("image", 1);
const NAMES: Table<NameRecord> = Table::new("image_name", 1);

/// An image, at its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The image that it was built from here.
    pub(crate) parent: Option<Digest>,
    /// Its manifest; a blob of ours.
    pub(crate) manifest: Option<Descriptor>,
    /// The index that led to it; a blob of ours.
    pub(crate) index: Option<Descriptor>,
    /// Its layers, bottom first.
    pub(crate) layers: Vec<LayerRecord>,
    /// Milliseconds since 1970.
    pub(crate) last_tagged: Option<u64>,
    /// Whether it is pushed as it came, byte for byte.
    #[serde(default)]
    pub(crate) as_it_came: bool,
    /// Other blobs that are kept with it: what builders say of it.
    #[serde(default)]
    pub(crate) extras: Vec<Descriptor>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The blob that it came from. It may be absent: a layer that was here already is not fetched for it.
    pub(crate) blob: Descriptor,
    /// Then the blob of the same layer that is here, of another image or of another pull; it stays for this one too.
    #[serde(default)]
    pub(crate) twin: Option<Descriptor>,
    /// Sum of the sizes of its files, in bytes.
    pub(crate) size: u64,
}

/// What a name means, at the full reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// The image's id.
    pub(crate) image: Digest,
}

/// An image in memory.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: ImageRecord,
    pub(crate) config: ImageConfig,
    pub(crate) chain: Vec<ChainId>,
}

impl Entry {
    pub(crate) fn new(record: ImageRecord, config: ImageConfig) -> Entry {
        let chain = config.chain();
        Entry {
            record,
            config,
            chain,
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.record.layers.iter().map(|layer| layer.size).sum()
    }

    /// When the image was made; the beginning of 1970 if it does not say so.
    pub(crate) fn created(&self) -> jiff::Timestamp {
        let created = self.config.created.as_deref().unwrap_or_default();
        created.parse().unwrap_or_default()
    }
}

/// All images and names.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) images: HashMap<Digest, Arc<Entry>>,
    /// By [`crate::lookup::key_of`].
    pub(crate) names: HashMap<Reference, Digest>,
    /// Images that nobody finds, because their configuration could not be read; what they need stays all the same.
    pub(crate) unreadable: HashMap<Digest, Unreadable>,
    /// Names of those.
    pub(crate) lost_names: HashMap<Reference, Digest>,
}

/// An image without its configuration.
#[derive(Debug)]
pub(crate) struct Unreadable {
    record: ImageRecord,
    /// It is not there: the image has to be pulled again, and its layers cannot be known. Else it may be read next time.
    pub(crate) gone: bool,
}

/// A change of names and images that happens as a whole or not at all.
#[derive(Debug, Default)]
pub(crate) struct Change {
    pub(crate) put_images: Vec<Entry>,
    pub(crate) delete_images: Vec<Digest>,
    pub(crate) put_names: Vec<(Reference, Digest)>,
    pub(crate) delete_names: Vec<Reference>,
}

impl State {
    /// Reads everything. `config` fetches the bytes of a configuration.
    pub(crate) fn open(
        db: &Db,
        config: impl Fn(&Digest) -> Result<Vec<u8>, ContentError>,
    ) -> Result<State, ImageError> {
        let (images, names) =
            db.read(|tx| -> Result<_, ImageError> { Ok((IMAGES.all(tx)?, NAMES.all(tx)?)) })?;
        let mut state = State::default();
        for (key, record) in images {
            match Digest::parse(&key) {
                Ok(id) => state.read(id, record, config(&id)),
                Err(error) => tracing::warn!(image = key, %error, "a record of no image"),
            }
        }
        for (key, record) in names {
            let Ok(name) = Reference::parse_normalized(&key) else {
                continue;
            };
            if state.images.contains_key(&record.image) {
                state.names.insert(name, record.image);
            } else {
                state.lost_names.insert(name, record.image);
            }
        }
        Ok(state)
    }

    /// A lost blob must not keep the daemon from starting; and a disk that cannot be read now, or a program that reads less
    /// than the one before, must not cost an image.
    fn read(&mut self, id: Digest, record: ImageRecord, config: Result<Vec<u8>, ContentError>) {
        let gone = matches!(config, Err(ContentError::NotFound(_)));
        let parsed = config
            .map_err(|error| ImageError::content("read", &error))
            .and_then(|bytes| Ok(ImageConfig::parse(bytes)?));
        match parsed {
            Ok(config) => {
                let entry = Arc::new(Entry::new(record, config));
                self.images.insert(id, entry);
            }
            Err(error) => {
                tracing::warn!(image = %id, %error, "image is unusable and left out");
                self.unreadable.insert(id, Unreadable { record, gone });
            }
        }
    }

    /// Makes a change durable, and then visible.
    pub(crate) fn apply(&mut self, db: &Db, change: Change) -> Result<(), ImageError> {
        db.write(|tx| -> Result<(), ImageError> {
            for name in &change.delete_names {
                NAMES.delete(tx, &name.to_string())?;
            }
            for id in &change.delete_images {
                IMAGES.delete(tx, &id.to_string())?;
            }
            for entry in &change.put_images {
                IMAGES.put(tx, &entry.config.digest().to_string(), &entry.record)?;
            }
            for (name, image) in &change.put_names {
                NAMES.put(tx, &name.to_string(), &NameRecord { image: *image })?;
            }
            Ok(())
        })?;
        for name in &change.delete_names {
            self.names.remove(name);
            self.lost_names.remove(name);
        }
        for id in &change.delete_images {
            self.images.remove(id);
            self.unreadable.remove(id);
        }
        for (name, _) in &change.put_names {
            self.lost_names.remove(name);
        }
        for entry in change.put_images {
            let id = entry.config.digest();
            self.images.insert(id, Arc::new(entry));
            if self.unreadable.remove(&id).is_some() {
                // It is back, with all its names.
                let back = self.lost_names.extract_if(|_, image| *image == id);
                self.names.extend(back);
            }
        }
        self.names.extend(change.put_names);
        Ok(())
    }

    /// The names of an image in the order of their texts: tags before digests.
    pub(crate) fn names_of(&self, id: &Digest) -> Vec<Reference> {
        let mut names: Vec<Reference> = self
            .names
            .iter()
            .filter(|(_, image)| *image == id)
            .map(|(name, _)| name.clone())
            .collect();
        names.sort_by_cached_key(Reference::to_string);
        names
    }

    /// Images that have this one as parent.
    pub(crate) fn has_children(&self, id: &Digest) -> bool {
        self.images
            .values()
            .any(|entry| entry.record.parent == Some(*id))
    }

    /// Images that have this one as parent, or none.
    pub(crate) fn children(&self, parent: Option<&Digest>) -> Vec<Image> {
        let children = self.images.iter();
        let children = children.filter(|(_, entry)| entry.record.parent.as_ref() == parent);
        children.filter_map(|(id, _)| self.view(id)).collect()
    }

    /// The view of an image that callers get.
    pub(crate) fn view(&self, id: &Digest) -> Option<Image> {
        let entry = self.images.get(id)?;
        let mut names = self.names_of(id);
        if names.is_empty() {
            // A platform of an image goes by the names of the image.
            let others = self.variants(id).into_iter();
            names = others.flat_map(|other| self.names_of(&other)).collect();
        }
        let (digests, tags): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.digest().is_some());
        let familiar = |names: Vec<Reference>| names.iter().map(Reference::familiar).collect();
        Some(Image {
            id: *id,
            config: entry.config.clone(),
            chain: entry.chain.clone(),
            size: entry.size(),
            repo_tags: familiar(tags),
            repo_digests: familiar(digests),
            parent: entry.record.parent,
            created: entry.config.created.clone().unwrap_or_default(),
            last_tagged: entry
                .record
                .last_tagged
                .map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
            manifest: entry.record.manifest.clone(),
            index: entry.record.index.clone(),
        })
    }

    /// Every blob that an image needs.
    pub(crate) fn blobs(&self) -> HashSet<Digest> {
        let mut blobs = HashSet::new();
        let readable = self.images.iter().map(|(id, entry)| (id, &entry.record));
        let others = self.unreadable.iter();
        let others = others.map(|(id, unreadable)| (id, &unreadable.record));
        for (id, record) in readable.chain(others) {
            blobs.insert(*id);
            let documents = record.manifest.iter().chain(&record.index);
            let documents = documents.chain(&record.extras);
            let layers = record.layers.iter();
            let layers = layers.flat_map(|layer| layer.twin.iter().chain([&layer.blob]));
            blobs.extend(documents.chain(layers).map(|descriptor| descriptor.digest));
        }
        blobs
    }

    /// Whether there are images whose layers are not known, but are to stay.
    pub(crate) fn has_unknown_layers(&self) -> bool {
        self.unreadable.values().any(|image| !image.gone)
    }

    /// The names of an unreadable image.
    pub(crate) fn lost_names_of(&self, id: &Digest) -> Vec<Reference> {
        let names = self.lost_names.iter();
        let of_it = names.filter(|(_, image)| *image == id);
        of_it.map(|(name, _)| name.clone()).collect()
    }

    /// The blob of a layer of any image.
    pub(crate) fn blob_of(&self, chain: &ChainId) -> Option<Descriptor> {
        self.images.values().find_map(|entry| {
            let at = entry.chain.iter().position(|one| one == chain)?;
            Some(entry.record.layers.get(at)?.blob.clone())
        })
    }

    /// Every layer that an image needs.
    pub(crate) fn chains(&self) -> HashSet<ChainId> {
        self.images
            .values()
            .flat_map(|entry| entry.chain.iter().copied())
            .collect()
    }
}

/// Images, and what names mean.
pub(crate) type Keys = (Vec<Digest>, Vec<(Reference, Digest)>);

/// The keys of all records, also of those that could not be read into memory: images, and what names mean.
pub(crate) fn all_keys(db: &Db) -> Result<Keys, ImageError> {
    let (images, names) =
        db.read(|tx| -> Result<_, ImageError> { Ok((IMAGES.all(tx)?, NAMES.all(tx)?)) })?;
    let images = images.into_iter();
    let ids = images.filter_map(|(key, _)| Digest::parse(&key).ok());
    let names = names.into_iter().filter_map(|(key, record)| {
        let name = Reference::parse_normalized(&key).ok()?;
        Some((name, record.image))
    });
    Ok((ids.collect(), names.collect()))
}

/// Now, as records have it.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
