//! Caches that are written: the steps of a build, for another one.

use std::collections::{BTreeMap, HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use wharf_builder::StorePlace;
use wharf_images::{BlobHold, PushOptions};
use wharf_oci::{Descriptor, Digest, Index, Manifest, Reference, media_type};

use super::{Annotations, CONFIG, CacheLayer, CacheRecord, CacheResult, Document, Noted, folder};
use crate::attributes::{flag, is_on};
use crate::export::{Compression, blobs_of};
use crate::flight::Outputs;
use crate::progress::InternalVertex;
use crate::{CacheOption, Job, Ref, SolveError, SolveResult, blocking};

/// Where a cache is written.
enum Target {
    /// Into the image's own configuration, with the image.
    Inline,
    Registry(Reference),
    /// Into a folder of the client's.
    Client(StorePlace),
}

/// How a cache is written.
struct Wanted {
    target: Target,
    /// All steps, not only those whose layers the result has.
    max: bool,
    compression: Compression,
    /// As an index over the layers, for who knows no manifest of a cache.
    as_index: bool,
    /// A cache that cannot be written is no failure of the build.
    ignore_error: bool,
}

impl CacheOption {
    /// Whether such a cache can be written.
    ///
    /// # Errors
    /// Why not.
    pub fn check_export(&self) -> Result<(), SolveError> {
        self.wanted().map(drop)
    }

    fn wanted(&self) -> Result<Wanted, SolveError> {
        let text = |name: &str| self.attrs.get(name).map_or("", String::as_str);
        let target = match self.kind.as_str() {
            "inline" => Target::Inline,
            "registry" => {
                let name = Reference::parse_normalized(text("ref")).map_err(|error| {
                    SolveError::Invalid(format!("invalid reference format: {error}"))
                })?;
                Target::Registry(name.with_default_tag())
            }
            "local" => Target::Client(folder(self, "dest", "exporter")?),
            other => {
                return Err(SolveError::NotImplemented(format!(
                    "cache export to {other} is not built"
                )));
            }
        };
        let max = match text("mode") {
            "" | "min" => false,
            "max" => true,
            mode => {
                return Err(SolveError::Invalid(format!(
                    "unsupported cache mode {mode}"
                )));
            }
        };
        let is_off = |name: &str| Ok::<_, SolveError>(flag(&self.attrs, name)? == Some(false));
        let as_index = is_off("image-manifest")?;
        if as_index && matches!(target, Target::Registry(_)) {
            return Err(SolveError::NotImplemented(
                "a cache without a manifest (image-manifest=false) is not built for registries"
                    .to_owned(),
            ));
        }
        if is_off("oci-mediatypes")? {
            return Err(SolveError::NotImplemented(
                "caches of Docker's media types (oci-mediatypes=false) are not built".to_owned(),
            ));
        }
        Ok(Wanted {
            target,
            max,
            compression: Compression::of_cache(&self.attrs)?,
            as_index,
            ignore_error: is_on(&self.attrs, "ignore-error")?,
        })
    }
}

/// A cache, ready to be written.
struct Written {
    layers: Vec<Descriptor>,
    config: (Descriptor, Vec<u8>),
    root: (Descriptor, Vec<u8>),
    _keep: Vec<(Ref, Vec<BlobHold>)>,
}

impl Job {
    /// Remembers a step for the caches that are written. Of one with several results, nobody else could make use.
    pub(crate) fn note(&self, keys: impl IntoIterator<Item = Digest>, outputs: &Outputs) {
        if self.writes_cache()
            && let [Some(tree)] = &outputs[..]
            && tree.folder().is_none()
        {
            self.imports().note(Noted {
                keys: keys.into_iter().collect(),
                tree: tree.clone(),
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
            let diff_ids = noted.tree.diff_ids().into_iter();
            diff_ids.map(|one| one.to_string()).collect::<Vec<_>>()
        });
        for noted in all {
            let diff_ids: Vec<Digest> = noted.tree.diff_ids();
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
                        created: noted.tree.layers()[end - 1]
                            .created
                            .and_then(|second| Timestamp::from_second(second).ok()),
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

    /// Writes a cache: `registry`, with `ref`; `local`, with `dest`; both with `mode` and more. Returns the exporter's
    /// response.
    ///
    /// # Errors
    /// If the registry or the client refuses.
    pub async fn export_cache(
        &self,
        cache: &CacheOption,
        result: &SolveResult,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let wanted = cache.wanted()?;
        let name = match &wanted.target {
            // It went with the image.
            Target::Inline => return Ok(BTreeMap::new()),
            Target::Registry(_) => "exporting cache to registry",
            Target::Client(_) => "exporting cache to client directory",
        };
        let mut shown = InternalVertex::begin(self, name).await;
        let written = self.write_cache(&wanted, result, &shown).await;
        shown.end(written.as_ref().err()).await;
        match written {
            Err(error) if wanted.ignore_error => {
                tracing::warn!(%error, "write a cache");
                Ok(BTreeMap::new())
            }
            written => written,
        }
    }

    async fn write_cache(
        &self,
        wanted: &Wanted,
        result: &SolveResult,
        shown: &InternalVertex,
    ) -> Result<BTreeMap<String, String>, SolveError> {
        let started = Timestamp::now();
        let cache = self.prepared_cache(wanted, result).await?;
        shown.did("preparing build cache for export", started).await;
        let started = Timestamp::now();
        let (root, manifest) = &cache.root;
        match &wanted.target {
            Target::Inline => {}
            Target::Registry(reference) => {
                let options = PushOptions {
                    credentials: self.client().credentials(reference.domain()).await,
                    ..PushOptions::default()
                };
                let store = self.engine().images.store();
                let manifest = (root.clone(), manifest.clone().into());
                let config = (cache.config.0.clone(), cache.config.1.clone().into());
                let pushed = store.push_document(reference, manifest, config, options);
                pushed.await?;
            }
            Target::Client(place) => {
                let (config, bytes) = &cache.config;
                let documents = [(config, &bytes[..]), (root, &manifest[..])];
                self.send_to(place, &cache.layers, &documents).await?;
            }
        }
        let text = format!("writing cache manifest {}", root.digest);
        shown.did(text, started).await;
        let descriptor = serde_json::to_string(root).unwrap_or_default();
        Ok([("cache.manifest".to_owned(), descriptor)].into())
    }

    async fn prepared_cache(
        &self,
        wanted: &Wanted,
        result: &SolveResult,
    ) -> Result<Written, SolveError> {
        let noted = self.imports().noted();
        let mut trees: Vec<Ref> = result
            .single
            .iter()
            .chain(result.refs.values())
            .cloned()
            .collect();
        if wanted.max {
            trees.extend(noted.iter().map(|one| one.tree.clone()));
        }
        let (job, compression) = (self.clone(), wanted.compression);
        let found = blocking(move || {
            let mut blobs: HashMap<Digest, Descriptor> = HashMap::new();
            let mut keep = Vec::new();
            for tree in trees {
                let tree = job.layered(&tree)?;
                let (own, holds) = blobs_of(&job, &tree, compression)?;
                blobs.extend(tree.diff_ids().into_iter().zip(own));
                keep.push((tree, holds));
            }
            Ok((blobs, keep))
        });
        let (blobs, keep) = found.await?;
        let own = blobs.keys().copied().collect();
        let (document, order) = self.document(&own, &blobs);
        let config = json(&document)?;
        let config = (Descriptor::of(CONFIG, &config), config);
        let layers = order
            .iter()
            .filter_map(|diff_id| blobs.get(diff_id).cloned());
        let mut known = HashSet::new();
        let layers: Vec<Descriptor> = layers.filter(|blob| known.insert(blob.digest)).collect();
        let (kind, root) = match wanted.as_index {
            true => {
                let parts = layers.iter().chain([&config.0]).cloned();
                let index = Index {
                    schema_version: 2,
                    media_type: media_type::OCI_INDEX.to_owned(),
                    manifests: parts.collect(),
                    annotations: BTreeMap::new(),
                };
                (media_type::OCI_INDEX, json(&index)?)
            }
            false => {
                let manifest = Manifest::oci(config.0.clone(), layers.clone());
                (media_type::OCI_MANIFEST, json(&manifest)?)
            }
        };
        Ok(Written {
            layers,
            config,
            root: (Descriptor::of(kind, &root), root),
            _keep: keep,
        })
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, SolveError> {
    serde_json::to_vec(value).map_err(|error| SolveError::Failed(error.to_string()))
}
