//! Caches in registries and in images: what was done elsewhere, with its layers.
//!
//! The documents are BuildKit's (`cache/remotecache/v1`): records of steps that point to chains of layers. The keys in
//! them are ours: a cache of another builder is read and helps nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wharf_distribution::Source;
use wharf_images::{ProgressSender, PushOptions};
use wharf_oci::{Descriptor, Digest, Manifest, Platform, Reference, media_type};

use crate::cache::{Record, hold};
use crate::export::{Compression, blobs_of};
use crate::flight::Outputs;
use crate::progress::Shown;
use crate::{CacheOption, Job, Layer, Ref, SolveError, SolveResult, blocking};

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

#[derive(Debug, Serialize, Deserialize)]
struct Annotations {
    #[serde(rename = "mediaType", default)]
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: Digest,
    #[serde(default)]
    size: u64,
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

/// A step that this build has done, or has found done.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    /// What it is known by.
    pub(crate) keys: Vec<Digest>,
    /// What came out of it, bottom first.
    pub(crate) layers: Vec<Layer>,
}

/// A cache that was read.
pub(crate) struct Imported {
    source: Source,
    /// Each with its parent.
    layers: Vec<(Descriptor, Digest, Option<usize>)>,
    records: HashMap<Digest, usize>,
}

impl Imported {
    fn of(source: Source, document: &Document, blobs: &HashMap<Digest, Descriptor>) -> Self {
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
                Some((blob.clone(), about.diff_id, parent))
            });
            places.push(known.is_some().then_some(layers.len()));
            layers.extend(known);
        }
        let records = document.records.iter().filter_map(|record| {
            let result = record.results.first()?;
            Some((record.digest, places.get(result.layer).copied().flatten()?))
        });
        Self {
            source,
            records: records.collect(),
            layers,
        }
    }

    /// The layers of a step, bottom first.
    fn chain(&self, key: &Digest) -> Option<Vec<(Descriptor, Digest)>> {
        let mut at = Some(*self.records.get(key)?);
        let mut chain = Vec::new();
        while let Some(number) = at {
            // A parent always comes before: this ends.
            let (blob, diff_id, parent) = self.layers.get(number)?;
            chain.push((blob.clone(), *diff_id));
            at = *parent;
        }
        chain.reverse();
        Some(chain)
    }
}

impl Job {
    /// Reads the caches that a request names. One that cannot be had is told of, and the build goes on.
    pub(crate) async fn import_caches(&self, caches: &[CacheOption]) {
        for cache in caches {
            let place = cache.attrs.get("ref").or_else(|| cache.attrs.get("src"));
            let place = place.cloned().unwrap_or_else(|| cache.kind.clone());
            if !self.imports().is_new(&place) {
                continue;
            }
            let shown = format!("importing cache manifest from {place}");
            let mut shown = Shown::begin(self, &shown).await;
            let read = self.import(cache, &place).await;
            shown.end(read.as_ref().err()).await;
            if let Ok(read) = read {
                self.imports().add(read);
            }
        }
    }

    async fn import(&self, cache: &CacheOption, place: &str) -> Result<Imported, SolveError> {
        if cache.kind != "registry" {
            return Err(SolveError::NotImplemented(format!(
                "cache import of type {} is not built",
                cache.kind
            )));
        }
        let reference = Reference::parse_normalized(place)
            .map_err(|error| SolveError::Invalid(format!("invalid reference format: {error}")))?
            .with_default_tag();
        let failed =
            |error: wharf_distribution::RegistryError| SolveError::Failed(error.to_string());
        let registry = self.engine().images.store().registry();
        let credentials = self.client().credentials(reference.domain()).await;
        let resolved = registry
            .resolve(&reference, &Platform::host(), credentials.as_ref())
            .await
            .map_err(failed)?;
        let config = registry.small_blob(
            &resolved.source,
            &resolved.manifest.config,
            "cache configuration",
            wharf_oci::MAX_CONFIG_SIZE,
        );
        let config = config.await.map_err(failed)?;
        let (document, diff_ids) = match resolved.manifest.config.media_type.as_str() {
            CONFIG => (parse(&config)?, Vec::new()),
            _ => inline_of(&config)?,
        };
        // In a cache's own manifest layers go by their digests; in an image by their place.
        let layers = resolved.manifest.layers.iter();
        let mut blobs: HashMap<Digest, Descriptor> = layers
            .clone()
            .map(|blob| (blob.digest, blob.clone()))
            .collect();
        blobs.extend(diff_ids.into_iter().zip(layers.cloned()));
        Ok(Imported::of(resolved.source, &document, &blobs))
    }

    /// A step's result that one of the caches has. It is fetched, and known here from now on.
    pub(crate) async fn elsewhere(
        &self,
        key: &Digest,
        definition: Option<&Digest>,
        name: &str,
    ) -> Result<Option<Outputs>, SolveError> {
        let known = self.imports().all().into_iter().find_map(|imported| {
            let keys = [Some(key), definition];
            let chain = keys
                .into_iter()
                .flatten()
                .find_map(|key| imported.chain(key))?;
            Some((imported, chain))
        });
        let Some((imported, chain)) = known else {
            return Ok(None);
        };
        let store = self.engine().images.store();
        let progress = ProgressSender::discard();
        let fetched = store
            .fetch_layers(&imported.source, &chain, &progress)
            .await;
        let (layers, _hold) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                // A cache that has lost a layer is none.
                tracing::warn!(%error, step = name, "fetch from a cache");
                return Ok(None);
            }
        };
        let layers = layers.into_iter().map(|(chain, layer)| Layer {
            chain,
            diff_id: layer.diff_id,
            size: layer.size,
            blob: layer.blob,
            created: Some(Timestamp::now().as_second()),
        });
        let outputs = vec![Some(hold(store, layers.collect()))];
        let record = Record::new(&outputs, "regular", name.to_owned());
        self.solver().cache.put(key, definition, &record)?;
        Ok(Some(outputs))
    }

    /// Remembers a step for the caches that are written. Of one with several results, nobody else could make use.
    pub(crate) fn note(&self, keys: impl IntoIterator<Item = Digest>, outputs: &Outputs) {
        if self.writes_cache()
            && let [Some(tree)] = &outputs[..]
            && tree.folder().is_none()
        {
            self.imports().note(Noted {
                keys: keys.into_iter().collect(),
                layers: tree.layers().to_vec(),
            });
        }
    }

    /// The cache that an image's configuration takes along, of those steps that made its layers.
    pub(crate) fn inline_cache(&self, tree: &Ref) -> Result<Option<String>, SolveError> {
        if !self.wants_inline_cache() {
            return Ok(None);
        }
        let own: HashSet<Digest> = tree.diff_ids().into_iter().collect();
        let (document, _) = self.document(&own, &HashMap::new());
        Ok(Some(STANDARD.encode(json(&document)?)))
    }

    /// All that is noted whose layers are among `own`; the layers in their order.
    fn document(
        &self,
        own: &HashSet<Digest>,
        blobs: &HashMap<Digest, Descriptor>,
    ) -> (Document, Vec<Digest>) {
        let mut document = Document::default();
        let mut places: HashMap<Vec<Digest>, usize> = HashMap::new();
        let mut order = Vec::new();
        let mut known = HashSet::new();
        let mut all = self.imports().noted();
        // Whichever step was done first: the same steps are the same document.
        all.sort_by_cached_key(|noted| {
            let diff_ids = noted.layers.iter().map(|layer| layer.diff_id.to_string());
            diff_ids.collect::<Vec<_>>()
        });
        for noted in all {
            let diff_ids: Vec<Digest> = noted.layers.iter().map(|layer| layer.diff_id).collect();
            if diff_ids.is_empty() || !diff_ids.iter().all(|one| own.contains(one)) {
                continue;
            }
            for end in 1..=diff_ids.len() {
                let chain = diff_ids[..end].to_vec();
                if places.contains_key(&chain) {
                    continue;
                }
                let parent = places.get(&diff_ids[..end - 1]);
                let diff_id = diff_ids[end - 1];
                let blob = blobs.get(&diff_id);
                document.layers.push(CacheLayer {
                    blob: Some(blob.map_or(diff_id, |blob| blob.digest)),
                    parent: parent.map_or(-1, |at| i64::try_from(*at).unwrap_or(-1)),
                    annotations: Some(Annotations {
                        media_type: blob.map_or_else(String::new, |blob| blob.media_type.clone()),
                        diff_id,
                        size: blob.map_or(0, |blob| blob.size),
                    }),
                });
                places.insert(chain, document.layers.len() - 1);
                order.push(diff_id);
            }
            let Some(layer) = places.get(&diff_ids).copied() else {
                continue;
            };
            for digest in noted.keys {
                if known.insert(digest) {
                    let results = vec![CacheResult { layer }];
                    document.records.push(CacheRecord { digest, results });
                }
            }
        }
        document
            .records
            .sort_by_key(|record| record.digest.to_string());
        (document, order)
    }

    /// Writes a cache: `registry`, with `ref` and `mode`. Returns the exporter's response.
    ///
    /// # Errors
    /// If the registry refuses.
    pub async fn export_cache(
        &self,
        cache: &CacheOption,
        result: &SolveResult,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        if cache.kind == "inline" {
            // It went with the image.
            return Ok(BTreeMap::new());
        }
        let mut shown = Shown::begin(self, "exporting cache to registry").await;
        let written = self.to_registry(cache, result, &shown).await;
        shown.end(written.as_ref().err()).await;
        written
    }

    async fn to_registry(
        &self,
        cache: &CacheOption,
        result: &SolveResult,
        shown: &Shown,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let started = Timestamp::now();
        let place = cache.attrs.get("ref").map_or("", String::as_str);
        let reference = Reference::parse_normalized(place)
            .map_err(|error| SolveError::Invalid(format!("invalid reference format: {error}")))?
            .with_default_tag();
        let noted = self.imports().noted();
        let mut trees: Vec<Ref> = result
            .single
            .iter()
            .chain(result.refs.values())
            .cloned()
            .collect();
        if cache.attrs.get("mode").map(String::as_str) == Some("max") {
            let store = self.engine().images.store();
            trees.extend(noted.iter().map(|one| hold(store, one.layers.clone())));
        }
        let job = self.clone();
        let found = blocking(move || {
            let mut blobs: HashMap<Digest, Descriptor> = HashMap::new();
            let mut keep = Vec::new();
            for tree in trees {
                let tree = job.layered(&tree)?;
                let (own, holds) = blobs_of(&job, &tree, Compression::Gzip)?;
                blobs.extend(tree.diff_ids().into_iter().zip(own));
                keep.push((tree, holds));
            }
            Ok((blobs, keep))
        });
        let (blobs, _keep) = found.await?;
        let own = blobs.keys().copied().collect();
        let (document, order) = self.document(&own, &blobs);
        shown.did("preparing build cache for export", started).await;
        let config = json(&document)?;
        let config = (Descriptor::of(CONFIG, &config), config.into());
        let layers = order
            .iter()
            .filter_map(|diff_id| blobs.get(diff_id).cloned());
        let mut known = HashSet::new();
        let layers = layers.filter(|blob| known.insert(blob.digest)).collect();
        let manifest = json(&Manifest::oci(Descriptor::clone(&config.0), layers))?;
        let manifest = (
            Descriptor::of(media_type::OCI_MANIFEST, &manifest),
            manifest.into(),
        );
        let descriptor = serde_json::to_string(&manifest.0).unwrap_or_default();
        let text = format!("writing cache manifest {}", manifest.0.digest);
        let options = PushOptions {
            credentials: self.client().credentials(reference.domain()).await,
            ..PushOptions::default()
        };
        let started = Timestamp::now();
        let store = self.engine().images.store();
        store
            .push_document(&reference, manifest, config, options)
            .await?;
        shown.did(text, started).await;
        Ok([("cache.manifest".to_owned(), descriptor)].into())
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, SolveError> {
    serde_json::to_vec(value).map_err(|error| SolveError::Failed(error.to_string()))
}

fn parse(bytes: &[u8]) -> Result<Document, SolveError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SolveError::Failed(format!("failed to parse the cache: {error}")))
}

/// The cache in an image's configuration, and the image's layers.
fn inline_of(config: &[u8]) -> Result<(Document, Vec<Digest>), SolveError> {
    let failed = |text: &str| SolveError::Failed(format!("failed to parse the cache: {text}"));
    let config: serde_json::Value =
        serde_json::from_slice(config).map_err(|error| failed(&error.to_string()))?;
    let Some(text) = config[INLINE].as_str() else {
        return Err(failed("the image has none"));
    };
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| failed(&error.to_string()))?;
    let diff_ids = config["rootfs"]["diff_ids"].as_array();
    let diff_ids = diff_ids.into_iter().flatten().filter_map(|one| {
        let text = one.as_str()?;
        Digest::parse(text).ok()
    });
    Ok((parse(&bytes)?, diff_ids.collect()))
}

/// Caches that are read and steps that are noted, of one job.
#[derive(Default)]
pub(crate) struct Imports(std::sync::Mutex<Inner>);

#[derive(Default)]
struct Inner {
    places: HashSet<String>,
    read: Vec<Arc<Imported>>,
    noted: Vec<Noted>,
}

impl Imports {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn is_new(&self, place: &str) -> bool {
        self.lock().places.insert(place.to_owned())
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
