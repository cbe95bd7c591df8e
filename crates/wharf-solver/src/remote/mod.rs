//! Caches in registries, in images and in folders of clients: what was done elsewhere, with its layers.
//!
//! The documents are BuildKit's (`cache/remotecache/v1`): records of steps that point to chains of layers. The keys in
//! them are ours: a cache of another builder is read and helps nothing.

mod read;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wharf_builder::StorePlace;
use wharf_distribution::Source;
use wharf_oci::{Descriptor, Digest};

use crate::solver::Once;
use crate::{CacheOption, Ref, SolveError};

/// The type of a cache's configuration.
const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
/// Where an image's configuration has its cache.
const INLINE: &str = "moby.buildkit.cache.v0";

/// A cache as a document.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Document {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    layers: Vec<CacheLayer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    records: Vec<CacheRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheLayer {
    blob: Option<Digest>,
    #[serde(default)]
    parent: i64,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Annotations {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: Digest,
    #[serde(default)]
    size: u64,
    /// When it was made: the images that it comes to are the same then.
    #[serde(rename = "createdAt", default)]
    created: Option<jiff::Timestamp>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheRecord {
    digest: Digest,
    /// Named so in BuildKit's documents: its results.
    #[serde(rename = "layers", default)]
    results: Vec<CacheResult>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CacheResult {
    layer: usize,
}

/// Where a cache is.
enum Place {
    Registry(Box<Source>),
    /// In a folder of the client's.
    Client(StorePlace),
}

/// A folder of the client's with a cache in it, as its session names it.
fn folder(cache: &CacheOption, key: &str, what: &str) -> Result<StorePlace, SolveError> {
    let path = cache.attrs.get(key).filter(|path| !path.is_empty());
    let path =
        path.ok_or_else(|| SolveError::Invalid(format!("local cache {what} requires {key}")))?;
    Ok(StorePlace {
        session: String::new(),
        store: format!("local:{path}"),
    })
}

/// A step that this build has done, or has found done.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    /// What it is known by.
    pub(crate) keys: Vec<Digest>,
    /// What came out of it. It is held: no prune takes it away before it is written.
    pub(crate) tree: Ref,
}

/// A layer of a cache.
#[derive(Clone)]
struct Known {
    blob: Descriptor,
    diff_id: Digest,
    /// Seconds since 1970.
    created: Option<i64>,
    parent: Option<usize>,
}

/// A cache that was read.
pub(crate) struct Imported {
    place: Place,
    layers: Vec<Known>,
    records: HashMap<Digest, usize>,
}

impl Imported {
    fn of(place: Place, document: &Document, blobs: &HashMap<Digest, Descriptor>) -> Self {
        let mut layers = Vec::new();
        let mut places: Vec<Option<usize>> = Vec::new();
        for layer in &document.layers {
            let known = layer.annotations.as_ref().and_then(|about| {
                let blob = blobs
                    .get(&about.diff_id)
                    .or_else(|| blobs.get(layer.blob.as_ref()?))?;
                let parent = match usize::try_from(layer.parent) {
                    // One that is not there itself is no parent.
                    Ok(parent) => Some(places.get(parent).copied().flatten()?),
                    Err(_) => None,
                };
                Some(Known {
                    blob: blob.clone(),
                    diff_id: about.diff_id,
                    created: about.created.map(jiff::Timestamp::as_second),
                    parent,
                })
            });
            places.push(known.is_some().then_some(layers.len()));
            layers.extend(known);
        }
        let records = document.records.iter().filter_map(|record| {
            let result = record.results.first()?;
            Some((record.digest, places.get(result.layer).copied().flatten()?))
        });
        Self {
            place,
            records: records.collect(),
            layers,
        }
    }

    /// The layers of a step, bottom first.
    fn chain(&self, key: &Digest) -> Option<Vec<Known>> {
        let mut at = Some(*self.records.get(key)?);
        let mut chain = Vec::new();
        while let Some(number) = at {
            // A parent always comes before: this ends.
            let known = self.layers.get(number)?;
            chain.push(known.clone());
            at = known.parent;
        }
        chain.reverse();
        Some(chain)
    }
}

/// Caches that are read and steps that are noted, of one job.
#[derive(Default)]
pub(crate) struct Imports {
    /// Places that were read; who comes meanwhile waits.
    places: Once<()>,
    inner: std::sync::Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    read: Vec<Arc<Imported>>,
    noted: Vec<Noted>,
}

impl Imports {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&self, read: Imported) {
        self.lock().read.push(Arc::new(read));
    }

    fn all(&self) -> Vec<Arc<Imported>> {
        self.lock().read.clone()
    }

    fn note(&self, noted: Noted) {
        self.lock().noted.push(noted);
    }

    fn noted(&self) -> Vec<Noted> {
        self.lock().noted.clone()
    }
}
