//! From a reference to an image in the store: manifest, configuration, all layers at once, names.

use bytes::Bytes;
use futures_util::future::try_join_all;
use wharf_distribution::{RegistryErrorKind, Resolved, Room};
use wharf_oci::{
    ChainId, Descriptor, Digest, ImageConfig, MAX_CONFIG_SIZE, Manifest, Platform, Reference,
    media_type,
};

use crate::built::{BuiltLayer, LayerHold};
use crate::catalogue::{self, CatalogueImage};
use crate::flight::Feed;
use crate::lookup::key_of;
use crate::records::{Change, Entry, ImageRecord, LayerRecord, State, now_ms};
use crate::save::twin;
use crate::store::Images;
use crate::unpack::LayerPlan;
use crate::{ImageError, LayerState, Progress, ProgressSender, PullOptions, Pulled};

/// An image that is to be brought in, wherever it comes from.
pub(crate) struct Incoming {
    pub(crate) config: ImageConfig,
    pub(crate) manifest: (Descriptor, Bytes),
    pub(crate) index: Option<(Descriptor, Bytes)>,
    pub(crate) layers: Vec<(LayerPlan, Feed)>,
    pub(crate) parent: Option<Digest>,
    /// Other small blobs that are kept with it: what builders say of it.
    pub(crate) extras: Vec<(Descriptor, Bytes)>,
    /// Whether it is pushed as it came, byte for byte: not what was made here, whose layers are compressed on the way.
    pub(crate) as_it_came: bool,
}

impl Incoming {
    /// Checks a configuration against a manifest and pairs their layers.
    pub(crate) fn new(
        config: ImageConfig,
        manifest: &Manifest,
        raw: (Descriptor, Bytes),
        mut feed: impl FnMut(usize) -> Feed,
    ) -> Result<Incoming, ImageError> {
        let os = config.platform().os;
        if os != "linux" {
            return Err(ImageError::OperatingSystem(os));
        }
        let diff_ids = &config.rootfs.diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::RootFsMismatch);
        }
        let layers = manifest
            .layers
            .iter()
            .zip(diff_ids)
            .zip(config.chain())
            .enumerate()
            .map(|(at, ((blob, diff_id), chain))| {
                let plan = LayerPlan {
                    blob: blob.clone(),
                    diff_id: *diff_id,
                    chain,
                };
                (plan, feed(at))
            })
            .collect();
        Ok(Incoming {
            config,
            manifest: raw,
            index: None,
            layers,
            parent: None,
            extras: Vec::new(),
            as_it_came: false,
        })
    }
}

/// The layers of an image, which stay while it lives.
#[derive(Debug)]
pub struct Fetched {
    /// Digest of the index, or of the manifest if there is no index.
    pub digest: Digest,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Names of the layers' folders, bottom first, and what they are.
    pub layers: Vec<(ChainId, BuiltLayer)>,
    _hold: LayerHold,
}

impl Images {
    /// Pulls one image, or all tags of a repository; in the order of the tags.
    ///
    /// Dropping the future gives the pull up, but for layers that another pull waits for too. What was fetched so
    /// far stays and is not fetched again.
    ///
    /// # Errors
    /// An [`ImageError`]; then no name has changed and no image has come. Two exceptions, as with dockerd: the tags before
    /// the one of all that failed stay, and what is not for the platform that was asked for has come all the same
    /// ([`ImageError::OtherPlatform`]).
    pub async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: ProgressSender,
    ) -> Result<Vec<Pulled>, ImageError> {
        if !options.all_tags {
            let reference = reference.clone().with_default_tag();
            let pulled = self.pull_one(&reference, &options, &progress).await?;
            return Ok(vec![pulled]);
        }
        let registry = self.registry();
        let tags = registry
            .tags(reference, options.credentials.as_ref())
            .await?;
        let mut all = Vec::new();
        for tag in tags {
            let tagged = reference
                .clone()
                .with_tag(&tag)
                .map_err(ImageError::Reference)?;
            all.push(self.pull_one(&tagged, &options, &progress).await?);
        }
        progress.send(Progress::Pulled {
            name: reference.familiar(),
            newer: all.iter().any(|pulled| pulled.newer),
        });
        Ok(all)
    }

    async fn pull_one(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &ProgressSender,
    ) -> Result<Pulled, ImageError> {
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let (incoming, digest) = self.find(reference, options, progress).await?;
        let found = incoming.config.platform();
        let names = vec![
            key_of(reference),
            reference
                .clone()
                .without_tag_and_digest()
                .with_digest(digest),
        ];
        let (image, newer) = self.bring_in(incoming, names, progress).await?;
        progress.send(Progress::Digest(digest));
        // The end of all tags is told once, by who pulls them.
        if !options.all_tags {
            progress.send(Progress::Pulled {
                name: reference.familiar(),
                newer,
            });
        }
        // What has one platform only is taken whatever that is; but it is not what was asked for.
        if options.platform.is_some() && !platform.matches(&found) {
            return Err(ImageError::OtherPlatform {
                reference: reference.familiar(),
                found: found.to_string(),
                wanted: platform.to_string(),
            });
        }
        Ok(Pulled {
            image,
            reference: reference.clone(),
            digest,
            newer,
        })
    }

    /// Fetches the layers of an image without making it an image here: what a build stands on.
    ///
    /// # Errors
    /// As [`Images::pull`].
    pub async fn fetch(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &ProgressSender,
    ) -> Result<Fetched, ImageError> {
        let (incoming, digest) = self.find(reference, options, progress).await?;
        let _lease = self.hold(&incoming);
        self.layers(&incoming.layers, progress, false).await?;
        let mut layers = Vec::new();
        for (plan, _) in &incoming.layers {
            let layer = BuiltLayer {
                diff_id: plan.diff_id,
                size: self.stores().layer_size(&plan.chain)?,
                blob: Some(plan.blob.clone()),
            };
            layers.push((plan.chain, layer));
        }
        let chains: Vec<_> = layers.iter().map(|(chain, _)| *chain).collect();
        Ok(Fetched {
            digest,
            config: incoming.config.raw().to_vec(),
            layers,
            _hold: self.hold_layers(&chains),
        })
    }

    /// What a name means, in its registry or in the built-in catalogue.
    async fn find(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &ProgressSender,
    ) -> Result<(Incoming, Digest), ImageError> {
        let platform = options.platform.clone().unwrap_or_else(Platform::host);
        let registry = self.registry();
        let found = registry
            .resolve(reference, &platform, options.credentials.as_ref())
            .await;
        match found {
            Ok(resolved) => {
                check_class(&resolved.manifest)?;
                announce(reference, progress);
                let (digest, source) = (resolved.digest(), resolved.source.clone());
                let incoming = self.fetch_config(resolved, options).await?;
                progress.registry_warns(&source);
                Ok((incoming, digest))
            }
            Err(error) => {
                let unreachable = error.kind() == RegistryErrorKind::Unreachable;
                let Some(image) = catalogue::find(reference, &platform).filter(|_| unreachable)
                else {
                    return Err(error.into());
                };
                progress.send(Progress::FromCatalogue {
                    name: reference.familiar(),
                    reason: error.to_string(),
                });
                announce(reference, progress);
                from_catalogue(image)
            }
        }
    }

    async fn fetch_config(
        &self,
        resolved: Resolved,
        options: &PullOptions,
    ) -> Result<Incoming, ImageError> {
        let descriptor = &resolved.manifest.config;
        let is_docker = resolved.manifest.media_type == media_type::DOCKER_MANIFEST;
        if !is_docker && !media_type::is_config(&descriptor.media_type) {
            return Err(ImageError::NotAnImage(descriptor.media_type.clone()));
        }
        if let Some(layer) = resolved
            .manifest
            .layers
            .iter()
            .find(|layer| !media_type::is_layer(&layer.media_type))
        {
            return Err(ImageError::NotAnImage(layer.media_type.clone()));
        }
        let registry = self.registry();
        let bytes = match self.stores().read_config(&descriptor.digest) {
            Some(bytes) => Bytes::from(bytes),
            None => {
                registry
                    .small_blob(
                        &resolved.source,
                        descriptor,
                        "image configuration",
                        MAX_CONFIG_SIZE,
                    )
                    .await?
            }
        };
        let config = ImageConfig::parse(bytes.to_vec())?;
        let raw = (resolved.raw.descriptor, resolved.raw.bytes);
        let mut incoming = Incoming::new(config, &resolved.manifest, raw, |_| Feed::Registry {
            client: registry.clone(),
            source: Box::new(resolved.source.clone()),
        })?;
        incoming.as_it_came = true;
        let mut room = Room::default();
        if let Some(index) = resolved.index {
            let manifest = incoming.manifest.0.digest;
            incoming.extras = registry
                .statements(&resolved.source, &index.bytes, &manifest, &mut room)
                .await;
            incoming.index = Some((index.descriptor, index.bytes));
        }
        if options.referrers {
            let index = incoming.index.as_ref().map(|(index, _)| index.digest);
            let subjects: Vec<_> = index
                .into_iter()
                .chain([incoming.manifest.0.digest])
                .collect();
            let found = registry.referrers(&resolved.source, &subjects, &mut room);
            incoming.extras.extend(found.await?);
        }
        Ok(incoming)
    }

    /// Unpacks again what is missing of an image's layers. A power cut can take layers that were new, and then
    /// `Snapshots::create_rw` says `NoLayer`; their blobs are still here.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], or [`ImageError::Content`] if a blob is gone too and the image must be pulled.
    pub async fn repair(&self, id: &Digest) -> Result<(), ImageError> {
        let entry = self.read().images.get(id).cloned();
        let entry = entry.ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
        let places = entry.config.rootfs.diff_ids.iter().zip(&entry.chain);
        let layers: Vec<(LayerPlan, Feed)> = entry
            .record
            .layers
            .iter()
            .zip(places)
            .map(|(layer, (diff_id, chain))| {
                let is_here = |blob: &Descriptor| self.stores().content.contains(&blob.digest);
                let twin = layer.twin.as_ref().filter(|_| !is_here(&layer.blob));
                let plan = LayerPlan {
                    blob: twin.unwrap_or(&layer.blob).clone(),
                    diff_id: *diff_id,
                    chain: *chain,
                };
                (plan, Feed::Here)
            })
            .collect();
        let nobody = ProgressSender::discard();
        self.layers(&layers, &nobody, true).await
    }

    /// Fetches what is missing, and then makes image and names visible, all at once.
    pub(crate) async fn bring_in(
        &self,
        incoming: Incoming,
        names: Vec<Reference>,
        progress: &ProgressSender,
    ) -> Result<(crate::Image, bool), ImageError> {
        let id = incoming.config.digest();
        // From here on until the image is recorded, nobody collects what it needs.
        let _lease = self.hold(&incoming);
        let known = self.read().images.contains_key(&id);
        self.layers(&incoming.layers, progress, known).await?;
        let config = Bytes::copy_from_slice(incoming.config.raw());
        self.keep(id, config).await?;
        let documents = incoming.index.iter().chain([&incoming.manifest]);
        let documents = documents.chain(&incoming.extras);
        for (descriptor, bytes) in documents {
            self.keep(descriptor.digest, bytes.clone()).await?;
        }
        self.record(incoming, names)
    }

    /// Keeps a small blob; another pull may be about to keep the same.
    pub(crate) async fn keep(&self, digest: Digest, bytes: Bytes) -> Result<(), ImageError> {
        let guard = self.flights().lock_blob(&digest).await;
        let stores = self.stores().clone();
        crate::work::blocking(move || {
            let _guard = guard;
            stores.keep(&digest, &bytes)
        })
        .await
    }

    /// Fetches the layers that are missing. Of an image that is `known` nothing is said of those that are here, as dockerd
    /// does not look at them.
    pub(crate) async fn layers(
        &self,
        layers: &[(LayerPlan, Feed)],
        progress: &ProgressSender,
        known: bool,
    ) -> Result<(), ImageError> {
        let label = |plan: &LayerPlan, feed: &Feed| match feed {
            Feed::Spool { .. } => plan.diff_id.short(),
            _ => plan.blob.digest.short(),
        };
        let mut missing = Vec::new();
        for (plan, feed) in layers {
            let loading = matches!(feed, Feed::Spool { .. });
            let here = self.stores().snapshots.has(&plan.chain);
            match (here, loading || known) {
                (true, true) => {}
                (true, false) => progress.layer(&label(plan, feed), LayerState::AlreadyExists),
                (false, _) => {
                    if !loading {
                        progress.layer(&label(plan, feed), LayerState::PullingFsLayer);
                    }
                    missing.push((plan, feed));
                }
            }
        }
        let flights = missing.into_iter().map(|(plan, feed)| {
            let label = label(plan, feed);
            async move {
                self.flights()
                    .fly(self.stores(), plan, feed.clone(), &label, progress)
                    .await
            }
        });
        try_join_all(flights).await.map(|_| ())
    }

    fn record(
        &self,
        incoming: Incoming,
        names: Vec<Reference>,
    ) -> Result<(crate::Image, bool), ImageError> {
        let id = incoming.config.digest();
        let sizes = incoming
            .layers
            .iter()
            .map(|(plan, _)| self.stores().layer_size(&plan.chain))
            .collect::<Result<Vec<_>, ImageError>>()?;
        let mut state = self.write();
        let layers = self.layer_records(&state, &incoming, sizes);
        let unknown = !state.images.contains_key(&id);
        let named = |name: &Reference| {
            let old = state.names.get(name);
            old.is_some_and(|old| state.variants(old).contains(&id))
        };
        let newer = unknown || !names.iter().all(named);
        let tag_newer = unknown || !names.first().is_none_or(named);
        let known = state.images.get(&id).map(|entry| entry.record.clone());
        let known_stays = known
            .as_ref()
            .filter(|known| self.prefers_known(known, &layers))
            .cloned();
        let record = ImageRecord {
            parent: incoming
                .parent
                .or_else(|| known.as_ref().and_then(|record| record.parent)),
            manifest: Some(incoming.manifest.0),
            index: incoming
                .index
                .map(|(descriptor, _)| descriptor)
                .or_else(|| known.as_ref().and_then(|record| record.index.clone())),
            layers,
            last_tagged: if newer {
                Some(now_ms())
            } else {
                known.as_ref().and_then(|record| record.last_tagged)
            },
            as_it_came: incoming.as_it_came,
            extras: with_extras(
                known.map_or_else(Vec::new, |record| record.extras),
                incoming.extras,
            ),
        };
        // What it was pushed and saved as, it can still be: the blobs of the new manifest are not here.
        let record = match known_stays {
            Some(known) => ImageRecord {
                manifest: known.manifest,
                layers: known.layers,
                as_it_came: known.as_it_came,
                ..record
            },
            None => record,
        };
        let entry = Entry::new(record, incoming.config);
        // A name of an image for several platforms means the one that suits this machine.
        let put_names = names.into_iter().map(|name| {
            let old = state.names.get(&name);
            let meant = old.map_or(id, |old| state.better(old, &entry));
            (name, meant)
        });
        let change = Change {
            put_names: put_names.collect(),
            put_images: vec![entry],
            ..Change::default()
        };
        state.apply(self.db(), change)?;
        let image = state
            .view(&id)
            .ok_or_else(|| ImageError::NoSuchImage(id.to_string()))?;
        Ok((image, tag_newer))
    }
}

impl Images {
    /// The layers as they are recorded; for a blob that was not fetched, as its layer was here, the one that is.
    fn layer_records(
        &self,
        state: &State,
        incoming: &Incoming,
        sizes: Vec<u64>,
    ) -> Vec<LayerRecord> {
        let is_here = |digest: &Digest| self.stores().content.contains(digest);
        let layers = incoming.layers.iter().zip(sizes);
        layers
            .map(|((plan, _), size)| LayerRecord {
                blob: plan.blob.clone(),
                twin: match is_here(&plan.blob.digest) {
                    true => None,
                    false => twin(state, &plan.diff_id, is_here),
                },
                size,
            })
            .collect()
    }

    /// Whether the blobs of the image as it is known are here, and those of the image as it comes are not all.
    fn prefers_known(&self, known: &ImageRecord, layers: &[LayerRecord]) -> bool {
        let is_here = |layer: &LayerRecord| self.stores().content.contains(&layer.blob.digest);
        !layers.iter().all(is_here) && known.manifest.is_some() && known.layers.iter().all(is_here)
    }
}

/// What is kept with an image already, and what comes with it now.
fn with_extras(mut known: Vec<Descriptor>, new: Vec<(Descriptor, Bytes)>) -> Vec<Descriptor> {
    for (descriptor, _) in new {
        if !known.iter().any(|one| one.digest == descriptor.digest) {
            known.push(descriptor);
        }
    }
    known
}

/// Whether a manifest of Docker's type may be an image, by its configuration's type: old registries wrote the type of
/// whatever the file looked like (moby's issues 22378 and 30083).
fn check_class(manifest: &Manifest) -> Result<(), ImageError> {
    let kind = manifest.config.media_type.as_str();
    let seen = [
        "application/octet-stream",
        "application/json",
        "text/html",
        "",
    ];
    let is_docker = manifest.media_type == media_type::DOCKER_MANIFEST;
    if !is_docker || media_type::is_config(kind) || seen.contains(&kind) {
        return Ok(());
    }
    Err(ImageError::OtherClass {
        media_type: kind.to_owned(),
        class: match kind {
            "application/vnd.docker.plugin.v1+json" => "plugin",
            _ => "unknown",
        },
    })
}

fn from_catalogue(image: CatalogueImage) -> Result<(Incoming, Digest), ImageError> {
    let manifest = Manifest::parse(&image.manifest, None)
        .map_err(|error| ImageError::content("read", &error))?;
    let config = ImageConfig::parse(image.config.to_vec())?;
    let descriptor = Descriptor::of(&manifest.media_type, &image.manifest);
    let digest = descriptor.digest;
    let raw = (descriptor, image.manifest.clone());
    let incoming = Incoming::new(config, &manifest, raw, |_| {
        Feed::Memory(image.layer.clone())
    })?;
    Ok((incoming, digest))
}

fn announce(reference: &Reference, progress: &ProgressSender) {
    let tag = match (reference.digest(), reference.tag()) {
        (Some(_), _) => reference.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    progress.send(Progress::PullingFrom {
        tag,
        repository: reference.path().to_owned(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What dockerd 20.10 and 26.1 say of these.
    #[test]
    fn artifacts_in_manifests_of_dockers_type() {
        let said = |kind: &str, config: &str| {
            let manifest = Manifest {
                media_type: kind.to_owned(),
                ..Manifest::oci(Descriptor::of(config, b"{}"), Vec::new())
            };
            check_class(&manifest).err().map(|error| error.to_string())
        };
        let docker = |config: &str| said(media_type::DOCKER_MANIFEST, config);
        assert_eq!(
            docker("application/vnd.docker.plugin.v1+json").as_deref(),
            Some(
                "Encountered remote \"application/vnd.docker.plugin.v1+json\"(plugin) when fetching"
            )
        );
        assert_eq!(
            docker("application/vnd.cncf.helm.config.v1+json").as_deref(),
            Some(
                "Encountered remote \"application/vnd.cncf.helm.config.v1+json\"(unknown) when fetching"
            )
        );
        for image in [media_type::DOCKER_CONFIG, "application/octet-stream", ""] {
            assert_eq!(docker(image), None);
        }
        // Of OCI's, it is said when the configuration is asked for.
        assert_eq!(said(media_type::OCI_MANIFEST, "a/b"), None);
    }
}
