//! From the store to a registry: layers side by side, then the configuration, then the manifest, and the name.
//!
//! What was pulled is pushed as it came, byte for byte, so that its digest stays. A layer that is here only
//! uncompressed (of a load, an import or a commit) is compressed on the way, as Docker does, into a file without a name.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Seek as _, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::{FutureExt as _, try_join_all};
use wharf_distribution::{BlobPushed, Client, Content, RegistryError, Source};
use wharf_oci::{Descriptor, Digest, Document, Hasher, Manifest, Reference, media_type};

use crate::records::Change;
use crate::save::Picked;
use crate::store::Images;
use crate::{Image, ImageError, LayerState, ManifestKind, Progress, ProgressSender, PushOptions};

/// More repositories than this are not asked whether they have a layer.
const MAX_MOUNTS: usize = 3;

/// A registry that is pushed to.
pub(crate) struct Target {
    pub(crate) registry: Client,
    pub(crate) source: Source,
    pub(crate) mounts: Vec<String>,
    /// What has come to be there by this push, and whether the registry lists it with its subject.
    sent: Mutex<HashMap<Digest, bool>>,
}

impl Target {
    pub(crate) fn new(registry: Client, source: Source, mounts: Vec<String>) -> Self {
        Self {
            registry,
            source,
            mounts,
            sent: Mutex::default(),
        }
    }

    /// What became of a blob or a manifest that is there by this push: images share blobs, and an index may name one thing often.
    fn sent(&self, digest: &Digest) -> Option<bool> {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.get(digest).copied()
    }

    fn remember(&self, digest: &Digest, is_listed: bool) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.insert(*digest, is_listed);
    }
}

/// A layer on its way.
struct Layer {
    /// Twelve digits of its diff id.
    label: String,
    blob: Descriptor,
}

impl Images {
    /// Pushes a name, or all tags of a repository if it has no tag; the names that were pushed.
    ///
    /// # Errors
    /// In Docker's words, if there is no such name, or the registry refuses. Tags before the failed one stay pushed.
    pub async fn push(
        &self,
        reference: &Reference,
        options: PushOptions,
        progress: ProgressSender,
    ) -> Result<Vec<(Reference, Image)>, ImageError> {
        progress.send(Progress::PushTo {
            repository: reference.name(),
        });
        let mut pushed = Vec::new();
        for name in self.names_to_push(reference)? {
            let image = self.push_one(&name, &options, &progress).await?;
            pushed.push((name, image));
        }
        Ok(pushed)
    }

    /// Pushes an image without a tag; its digest there. What was pulled or made as a whole goes as it is.
    ///
    /// # Errors
    /// As [`Images::push`].
    pub async fn push_by_digest(
        &self,
        name: &Reference,
        image: &Digest,
        options: PushOptions,
    ) -> Result<Digest, ImageError> {
        let progress = ProgressSender::discard();
        let (image, _pin) = self.pin(&image.to_string())?;
        let registry = self.registry();
        let source = registry.push_target(name, options.credentials.as_ref(), &[])?;
        let target = Target::new(registry, source, Vec::new());
        if let Some(index) = self.whole_index(&image)? {
            let tag = index.digest.to_string();
            return self
                .send_index(&target, &image, &index, &tag, &progress)
                .await;
        }
        let manifest = image.manifest.as_ref().map(|manifest| manifest.digest);
        let manifest = manifest.ok_or_else(|| ImageError::NoSuchImage(image.id.to_string()))?;
        let sent = self
            .send_image(&target, &image, &manifest.to_string(), &progress)
            .await?;
        Ok(sent.digest)
    }

    fn names_to_push(&self, reference: &Reference) -> Result<Vec<Reference>, ImageError> {
        let state = self.read();
        let repository = reference.name();
        let known: Vec<_> = state
            .names
            .keys()
            .filter(|name| name.name() == repository)
            .collect();
        if known.is_empty() {
            return Err(ImageError::NoSuchRepository(reference.familiar_name()));
        }
        if !reference.is_name_only() {
            return match known.contains(&&crate::lookup::key_of(reference)) {
                true if reference.digest().is_none() => Ok(vec![reference.clone()]),
                true => Err(ImageError::Push(
                    "cannot push a digest reference".to_owned(),
                )),
                false => Err(ImageError::NoSuchTag(reference.familiar())),
            };
        }
        let mut tags: Vec<Reference> = known
            .into_iter()
            .filter(|name| name.digest().is_none())
            .cloned()
            .collect();
        if tags.is_empty() {
            return Err(ImageError::NoTags(reference.familiar_name()));
        }
        tags.sort_by_cached_key(Reference::to_string);
        Ok(tags)
    }

    async fn push_one(
        &self,
        name: &Reference,
        options: &PushOptions,
        progress: &ProgressSender,
    ) -> Result<Image, ImageError> {
        // Its short name may be that of another registry (`docker.io/a.b/c`).
        let text = name.to_string();
        let (image, _pin) = self.pin_for(&text, options.platform.as_ref())?;
        let mounts = self.repositories_with(name, &image);
        let registry = self.registry();
        let source = registry.push_target(name, options.credentials.as_ref(), &mounts)?;
        let target = Target::new(registry, source, mounts);
        let tag = name.tag().unwrap_or("latest");
        let digest = match self
            .whole_index(&image)?
            .filter(|_| options.platform.is_none())
        {
            Some(index) => {
                self.send_index(&target, &image, &index, tag, progress)
                    .await?
            }
            None => {
                let sent = self.send_image(&target, &image, tag, progress).await?;
                if let Some(index) = image.index.clone().filter(|_| options.platform.is_none()) {
                    progress.send(Progress::NotTheIndex {
                        index: Box::new(index),
                        manifest: Box::new(sent.clone()),
                    });
                }
                sent.digest
            }
        };
        if options.referrers {
            self.send_referrers(&target, &image, &digest).await?;
        }
        progress.registry_warns(&target.source);
        let by_digest = name.clone().without_tag_and_digest().with_digest(digest);
        let mut state = self.write();
        // A platform of an image goes by the image's names.
        let named = state.lookup(&text).unwrap_or(image.id);
        let change = Change {
            put_names: vec![(by_digest, named)],
            ..Change::default()
        };
        state.apply(self.db(), change)?;
        drop(state);
        Ok(image)
    }

    /// Repositories of the same registry from where the image, or one with a layer of it, came.
    fn repositories_with(&self, name: &Reference, image: &Image) -> Vec<String> {
        let state = self.read();
        let shares = |other: &Digest| {
            *other == image.id
                || state.images.get(other).is_some_and(|entry| {
                    let bottom = entry.chain.first();
                    bottom.is_some() && bottom == image.chain.first()
                })
        };
        let from = state.names.iter().filter(|(other, id)| {
            let same_registry = other.domain() == name.domain() && other.path() != name.path();
            same_registry && other.digest().is_some() && shares(id)
        });
        let all: BTreeSet<String> = from.map(|(other, _)| other.path().to_owned()).collect();
        all.into_iter().take(MAX_MOUNTS).collect()
    }

    /// The index of an image, if each of its images is here.
    pub(crate) fn whole_index(&self, image: &Image) -> Result<Option<Descriptor>, ImageError> {
        let Some(index) = &image.index else {
            return Ok(None);
        };
        let views = self.manifests(&image.id)?;
        let is_whole = !views.is_empty() && views.iter().all(|view| view.available);
        Ok(Some(index.clone())
            .filter(|_| is_whole && self.stores().content.contains(&index.digest)))
    }

    /// Sends each manifest of an index by its digest, and then the index by the tag.
    async fn send_index(
        &self,
        target: &Target,
        image: &Image,
        index: &Descriptor,
        tag: &str,
        progress: &ProgressSender,
    ) -> Result<Digest, ImageError> {
        for view in self.manifests(&image.id)? {
            let by_digest = view.descriptor.digest.to_string();
            match view.kind {
                ManifestKind::Image { id: Some(id), .. } => {
                    let image = self.resolve(&id.to_string())?;
                    self.send_image(target, &image, &by_digest, progress)
                        .await?;
                }
                _ => self.send_other(target, &view.descriptor).await.map(drop)?,
            }
        }
        let bytes = self.document(index)?;
        self.send_manifest(target, tag, index, &bytes, progress)
            .await?;
        Ok(index.digest)
    }

    /// Sends a manifest that is no image's with all its blobs, or an index with its manifests; whether the registry lists it with
    /// its subject.
    pub(crate) async fn send_other(
        &self,
        target: &Target,
        descriptor: &Descriptor,
    ) -> Result<bool, ImageError> {
        if let Some(is_listed) = target.sent(&descriptor.digest) {
            return Ok(is_listed);
        }
        let bytes = self.document(descriptor)?;
        let document = Document::parse(&bytes, Some(&descriptor.media_type))
            .map_err(|error| ImageError::content("read", &error))?;
        match document {
            Document::Manifest(manifest) => {
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    self.send_blob(target, blob).await?;
                }
            }
            Document::Index(index) => {
                for entry in &index.manifests {
                    Box::pin(self.send_other(target, entry)).await?;
                }
            }
        }
        let by_digest = descriptor.digest.to_string();
        let quiet = ProgressSender::discard();
        self.send_manifest(target, &by_digest, descriptor, &bytes, &quiet)
            .await
    }

    pub(crate) fn document(&self, descriptor: &Descriptor) -> Result<Bytes, ImageError> {
        let bytes = self.stores().read_config(&descriptor.digest);
        bytes.map(Bytes::from).ok_or_else(|| ImageError::Content {
            operation: "read",
            message: format!("no blob {}: pull the image again", descriptor.digest),
        })
    }

    /// Sends an image for one platform by a tag or its digest.
    async fn send_image(
        &self,
        target: &Target,
        image: &Image,
        tag: &str,
        progress: &ProgressSender,
    ) -> Result<Descriptor, ImageError> {
        let picked = {
            let state = self.read();
            let entry = state
                .images
                .get(&image.id)
                .ok_or_else(|| ImageError::NoSuchImage(image.id.to_string()))?;
            self.describe(&state, entry)?
        };
        let as_it_came = picked.as_it_came;
        let diff_ids = &image.config.rootfs.diff_ids;
        let layers: Vec<Layer> = picked
            .layers
            .iter()
            .zip(diff_ids)
            .map(|(blob, diff_id)| Layer {
                label: diff_id.short(),
                blob: blob.clone(),
            })
            .collect();
        // Docker begins with the newest layer.
        for layer in layers.iter().rev() {
            progress.layer(&layer.label, LayerState::Preparing);
        }
        let mut uploads = Vec::new();
        for (at, layer) in layers.iter().enumerate().rev() {
            let upload = async move {
                let blob = self.send_layer(target, layer, as_it_came, progress).await?;
                Ok::<_, ImageError>((at, blob))
            };
            uploads.push(upload.boxed());
        }
        let mut blobs = picked.layers.clone();
        for (at, blob) in try_join_all(uploads).await? {
            blobs[at] = blob;
        }
        let (descriptor, bytes, config) = document(picked, blobs)?;
        self.send_blob(target, &config).await?;
        self.send_manifest(target, tag, &descriptor, &bytes, progress)
            .await?;
        Ok(descriptor)
    }

    async fn send_layer(
        &self,
        target: &Target,
        layer: &Layer,
        as_it_came: bool,
        progress: &ProgressSender,
    ) -> Result<Descriptor, ImageError> {
        let mut slot = target.registry.upload_slot().await;
        let (blob, file) = self.outgoing(&layer.blob, as_it_came).await?;
        if target.sent(&blob.digest).is_some() {
            progress.layer(&layer.label, LayerState::AtRegistry);
            return Ok(blob);
        }
        let (label, total, last) = (layer.label.clone(), blob.size, AtomicU64::new(0));
        let sender = progress.clone();
        let step = (total / 50).max(256 * 1024);
        let told = move |current: u64| {
            if current == total || current >= last.load(Ordering::Relaxed) + step {
                last.store(current, Ordering::Relaxed);
                sender.layer(&label, LayerState::Pushing { current, total });
            }
        };
        let content = Content {
            file: Arc::new(file),
            progress: Arc::new(told),
        };
        let (source, mounts) = (&target.source, &target.mounts);
        let pushed = target
            .registry
            .push_blob(source, &blob, mounts, &content, Some(&mut slot))
            .await
            .map_err(|error| refused(&error))?;
        target.remember(&blob.digest, false);
        match pushed {
            BlobPushed::Exists => progress.layer(&layer.label, LayerState::AtRegistry),
            BlobPushed::Uploaded => progress.layer(&layer.label, LayerState::Pushed),
            BlobPushed::Mounted(from) => progress.send(Progress::Mounted {
                id: layer.label.clone(),
                from,
            }),
        }
        Ok(blob)
    }

    /// The blob as it is sent.
    async fn outgoing(
        &self,
        blob: &Descriptor,
        as_it_came: bool,
    ) -> Result<(Descriptor, File), ImageError> {
        let file = self.stores().open(&blob.digest)?;
        let plain = [media_type::OCI_LAYER, media_type::DOCKER_LAYER];
        if as_it_came || !plain.contains(&blob.media_type.as_str()) {
            return Ok((blob.clone(), file));
        }
        let root = self.root().to_owned();
        crate::work::blocking(move || compress(file, &root)).await
    }

    /// Sends a small blob.
    pub(crate) async fn send_blob(
        &self,
        target: &Target,
        blob: &Descriptor,
    ) -> Result<(), ImageError> {
        if target.sent(&blob.digest).is_some() {
            return Ok(());
        }
        let file = self.stores().open(&blob.digest)?;
        let content = Content {
            file: Arc::new(file),
            progress: Arc::new(|_| {}),
        };
        let (source, mounts) = (&target.source, &target.mounts);
        let pushed = target
            .registry
            .push_blob(source, blob, mounts, &content, None);
        pushed.await.map_err(|error| refused(&error))?;
        target.remember(&blob.digest, false);
        Ok(())
    }

    /// Sends a manifest or an index; a tag is told of, a digest is a step on the way.
    pub(crate) async fn send_manifest(
        &self,
        target: &Target,
        tag: &str,
        descriptor: &Descriptor,
        bytes: &Bytes,
        progress: &ProgressSender,
    ) -> Result<bool, ImageError> {
        let pushed = target
            .registry
            .push_manifest(&target.source, tag, descriptor, bytes);
        let is_listed = pushed.await.map_err(|error| refused(&error))?;
        target.remember(&descriptor.digest, is_listed);
        if !tag.contains(':') {
            progress.send(Progress::PushedTag {
                tag: tag.to_owned(),
                digest: descriptor.digest,
                size: descriptor.size,
            });
        }
        Ok(is_listed)
    }
}

/// The manifest as it was pulled, or, if layers were compressed, one of Docker's type as dockerd writes it.
fn document(
    picked: Picked,
    mut blobs: Vec<Descriptor>,
) -> Result<(Descriptor, Bytes, Descriptor), ImageError> {
    if blobs == picked.layers {
        let (descriptor, bytes) = picked.manifest;
        let manifest = Manifest::parse(&bytes, Some(&descriptor.media_type))
            .map_err(|error| ImageError::content("read", &error))?;
        return Ok((descriptor, bytes.into(), manifest.config));
    }
    for blob in &mut blobs {
        if blob.media_type == media_type::OCI_LAYER_GZIP {
            media_type::DOCKER_LAYER_GZIP.clone_into(&mut blob.media_type);
        }
    }
    // zstd has no place in Docker's manifests, and a foreign layer is as it came.
    let docker = blobs
        .iter()
        .all(|blob| blob.media_type == media_type::DOCKER_LAYER_GZIP);
    let (kind, config) = match docker {
        true => (media_type::DOCKER_MANIFEST, media_type::DOCKER_CONFIG),
        false => (media_type::OCI_MANIFEST, media_type::OCI_CONFIG),
    };
    if !docker {
        for blob in &mut blobs {
            if blob.media_type == media_type::DOCKER_LAYER_GZIP {
                media_type::OCI_LAYER_GZIP.clone_into(&mut blob.media_type);
            }
        }
    }
    let config = Descriptor::of(config, &picked.config);
    let manifest = Manifest {
        media_type: kind.to_owned(),
        ..Manifest::oci(config.clone(), blobs)
    };
    let bytes =
        serde_json::to_vec(&manifest).map_err(|error| ImageError::content("write", &error))?;
    Ok((Descriptor::of(kind, &bytes), bytes.into(), config))
}

/// A gzip of a layer, always the same for the same bytes, in a file that a kill takes away.
fn compress(mut layer: File, root: &Path) -> Result<(Descriptor, File), ImageError> {
    struct Hashed<'a> {
        file: &'a File,
        hasher: Hasher,
        size: u64,
    }
    impl Write for Hashed<'_> {
        fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
            let count = self.file.write(piece)?;
            self.hasher.update(&piece[..count]);
            self.size += count as u64;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let failed = |source| ImageError::io("write a compressed layer in", root, source);
    let file = tempfile::tempfile_in(root).map_err(failed)?;
    let out = Hashed {
        file: &file,
        hasher: Hasher::sha256(),
        size: 0,
    };
    let mut encoder = GzEncoder::new(io::BufWriter::new(out), Compression::default());
    layer.rewind().map_err(failed)?;
    io::copy(&mut layer, &mut encoder).map_err(failed)?;
    let out = encoder
        .finish()
        .map_err(failed)?
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    let (digest, size) = (out.hasher.finish(), out.size);
    let blob = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size);
    Ok((blob, file))
}

pub(crate) fn refused(error: &RegistryError) -> ImageError {
    ImageError::Push(error.push_message())
}
