//! Caches that are looked into.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wharf_builder::StorePlace;
use wharf_images::{BlobHold, BlobPlace, BuiltLayer, LayerHold, ProgressSender};
use wharf_oci::{ChainId, Descriptor, Digest, Index, Manifest, Reference};

use super::{CONFIG, Document, INLINE, Imported, Known, Place, folder};
use crate::cache::{Record, hold};
use crate::flight::Outputs;
use crate::progress::InternalVertex;
use crate::{CacheOption, Job, Layer, SolveError};

impl Job {
    /// Reads the caches that a request names. One that cannot be had is told of, and the build goes on.
    pub(crate) async fn import_caches(&self, caches: &[CacheOption]) {
        for cache in caches {
            let place = cache.attrs.get("ref").or_else(|| cache.attrs.get("src"));
            let place = place.cloned().unwrap_or_else(|| cache.kind.clone());
            let import = || async {
                self.import_cache(cache, &place).await;
                Ok(())
            };
            // Of one folder there may be several, by their digests.
            let name = format!("{} {:?}", cache.kind, cache.attrs);
            // It never fails.
            let _ = self.imports().places.get(&name, import).await;
        }
    }

    async fn import_cache(&self, cache: &CacheOption, place: &str) {
        let shown = format!("importing cache manifest from {place}");
        let mut shown = InternalVertex::begin(self, &shown).await;
        let read = match cache.kind.as_str() {
            "registry" => self.import_registry(place).await,
            "local" => self.import_local(cache).await.map(|one| vec![one]),
            other => Err(SolveError::NotImplemented(format!(
                "cache import of type {other} is not built"
            ))),
        };
        shown.end(read.as_ref().err()).await;
        if let Ok(read) = read {
            read.into_iter().for_each(|one| self.imports().add(one));
        }
    }

    /// Of an index, the caches of all its images: they may be for other platforms than ours, as this build may be. One that is
    /// gone or is none is no reason to do without the others; one that is refused is, as nobody knows what it has.
    async fn import_registry(&self, place: &str) -> Result<Vec<Imported>, SolveError> {
        let reference = Reference::parse_normalized(place)
            .map_err(|error| SolveError::Invalid(format!("invalid reference format: {error}")))?
            .with_default_tag();
        let failed =
            |error: wharf_distribution::RegistryError| SolveError::Failed(error.to_string());
        let registry = self.engine().images.store().registry();
        let credentials = self.client().credentials(reference.domain()).await;
        let found = registry.resolve_all(&reference, credentials.as_ref()).await;
        let (source, manifests) = found.map_err(failed)?;
        let (mut all, mut wrong) = (Vec::new(), None);
        for manifest in manifests {
            let config = registry.small_blob(
                &source,
                &manifest.config,
                "cache configuration",
                wharf_oci::MAX_CONFIG_SIZE,
            );
            let place = Place::Registry(Box::new(source.clone()));
            let read = match config.await {
                Ok(config) => imported(place, &manifest, &config),
                Err(error) if error.is_gone() => Err(failed(error)),
                Err(error) => return Err(failed(error)),
            };
            match read {
                Ok(one) => all.push(one),
                Err(error) => {
                    tracing::debug!(%error, %reference, "import the cache of an image");
                    wrong = Some(error);
                }
            }
        }
        match (all.is_empty(), wrong) {
            (true, Some(error)) => Err(error),
            _ => Ok(all),
        }
    }

    /// The client names the manifest: it has read the folder's index.
    async fn import_local(&self, cache: &CacheOption) -> Result<Imported, SolveError> {
        let digest = cache.attrs.get("digest").map_or("", String::as_str);
        let digest = Digest::parse(digest).map_err(|_| {
            SolveError::Invalid("local cache importer requires explicit digest".to_owned())
        })?;
        let place = folder(cache, "src", "importer")?;
        let manifest = self
            .document_of(&place, &digest, wharf_oci::MAX_MANIFEST_SIZE)
            .await?;
        let root = wharf_oci::Document::parse(&manifest, None)
            .map_err(|error| SolveError::Failed(format!("failed to parse the cache: {error}")))?;
        let manifest = match root {
            wharf_oci::Document::Manifest(manifest) => manifest,
            wharf_oci::Document::Index(index) => manifest_of(index)?,
        };
        let config = manifest.config.digest;
        let config = self
            .document_of(&place, &config, wharf_oci::MAX_CONFIG_SIZE)
            .await?;
        imported(Place::Client(place), &manifest, &config)
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
        let (layers, _hold) = match self.fetched(&imported.place, &chain).await {
            Ok(fetched) => fetched,
            Err(error) => {
                // A cache that has lost a layer is none.
                tracing::warn!(%error, step = name, "fetch from a cache");
                return Ok(None);
            }
        };
        let layers = layers
            .into_iter()
            .zip(&chain)
            .map(|((chain, layer), known)| Layer {
                chain,
                diff_id: layer.diff_id,
                size: layer.size,
                blob: layer.blob,
                created: known.created,
            });
        let store = self.engine().images.store();
        let outputs = vec![Some(hold(store, layers.collect()))];
        let record = Record::new(&outputs, name.to_owned());
        self.solver().cache.put(key, definition, record).await?;
        Ok(Some(outputs))
    }

    async fn fetched(
        &self,
        place: &Place,
        chain: &[Known],
    ) -> Result<(Vec<(ChainId, BuiltLayer)>, LayerHold), SolveError> {
        let layers: Vec<(Descriptor, Digest)> = chain
            .iter()
            .map(|known| (known.blob.clone(), known.diff_id))
            .collect();
        match place {
            Place::Registry(source) => {
                let store = self.engine().images.store();
                let place = BlobPlace::Registry(source.clone());
                let progress = ProgressSender::discard();
                Ok(store.fetch_layers(&place, &layers, &progress).await?)
            }
            Place::Client(place) => self.layers_from(place, &layers).await,
        }
    }

    /// Layers of one of the client's stores, bottom first, unpacked.
    ///
    /// # Errors
    /// If the client does not have one, or it is not what it should be.
    pub(crate) async fn layers_from(
        &self,
        place: &StorePlace,
        layers: &[(Descriptor, Digest)],
    ) -> Result<(Vec<(ChainId, BuiltLayer)>, LayerHold), SolveError> {
        let store = self.engine().images.store();
        let diff_ids: Vec<Digest> = layers.iter().map(|(_, diff_id)| *diff_id).collect();
        let chains = ChainId::from_diff_ids(&diff_ids);
        let _layers = store.hold_layers(&chains);
        let mut fetches = Vec::new();
        for ((blob, _), chain) in layers.iter().zip(&chains) {
            if !store.has_layer(chain) {
                fetches.push(self.bring(place, blob));
            }
        }
        let _blobs: Vec<BlobHold> = futures_util::future::try_join_all(fetches).await?;
        let progress = ProgressSender::discard();
        let fetched = store.fetch_layers(&BlobPlace::Here, layers, &progress);
        Ok(fetched.await?)
    }
}

/// A cache without a manifest: an index over its configuration and layers.
fn manifest_of(index: Index) -> Result<Manifest, SolveError> {
    let entries = index.manifests.into_iter();
    let (config, layers): (Vec<_>, Vec<_>) = entries.partition(|entry| entry.media_type == CONFIG);
    let config = config.into_iter().next().ok_or_else(|| {
        SolveError::Failed("failed to parse the cache: no configuration".to_owned())
    })?;
    Ok(Manifest::oci(config, layers))
}

fn imported(place: Place, manifest: &Manifest, config: &[u8]) -> Result<Imported, SolveError> {
    let (document, diff_ids) = match manifest.config.media_type.as_str() {
        CONFIG => (parse(config)?, Vec::new()),
        _ => inline_of(config)?,
    };
    // In a cache's own manifest layers go by their digests; in an image by their place.
    let layers = manifest.layers.iter();
    let mut blobs: HashMap<Digest, Descriptor> = layers
        .clone()
        .map(|blob| (blob.digest, blob.clone()))
        .collect();
    blobs.extend(diff_ids.into_iter().zip(layers.cloned()));
    Ok(Imported::of(place, &document, &blobs))
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
