//! The store: its parts, its locks, and the verbs that only touch records.
//!
//! Who owns what: `state` is the memory of the records and is locked for moments only, never across an await;
//! `held` are blobs and layers of pulls under way and images that are just being made into containers. Collection
//! takes `state` first and `held` second, and so does everything else.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use wharf_content::Content;
use wharf_distribution::{Client, Credentials, RegistryErrorKind};
use wharf_oci::{ChainId, Descriptor, Digest, MAX_CONFIG_SIZE, Platform, Reference};
use wharf_records::Db;
use wharf_snapshots::Snapshots;

use crate::built::Built;
use crate::flight::Flights;
use crate::pull::Incoming;
use crate::records::{Change, Entry, State, now_ms};
use crate::remove::{Plan, Users};
use crate::save::twin;
use crate::unpack::{Garbage, Stores};
use crate::{
    DiskUsage, HistoryEntry, Image, ImageError, ImageUsage, ListOptions, Pruned, RemoveOptions,
    Removed, SearchResults, catalogue,
};

/// All images of a data root. Cheap to clone.
#[derive(Clone)]
pub struct Images(Arc<Inner>);

struct Inner {
    root: PathBuf,
    db: Db,
    stores: Stores,
    registry: RwLock<Client>,
    state: RwLock<State>,
    flights: Arc<Flights>,
    held: Arc<Mutex<Held>>,
    built: Mutex<Built>,
    /// Blobs of what was made here are written one after the other.
    packing: Mutex<()>,
}

/// What must not be collected although no record names it (yet), with the number of those who hold it.
#[derive(Default)]
struct Held {
    images: HashMap<Digest, usize>,
    blobs: HashMap<Digest, usize>,
    chains: HashMap<ChainId, usize>,
}

/// While it lives, an image is not removed: the time between looking it up and having a container of it.
pub struct ImagePin {
    held: Arc<Mutex<Held>>,
    id: Digest,
}

/// While it lives, what a pull needs is not collected.
pub(crate) struct Lease {
    held: Arc<Mutex<Held>>,
    blobs: Vec<Digest>,
    chains: Vec<ChainId>,
}

impl Images {
    /// Opens the store over its parts. `root` is the data root; a load spools its archive there, in a file without
    /// a name.
    ///
    /// # Errors
    /// If records cannot be read.
    pub fn open(
        root: &Path,
        db: Db,
        content: Content,
        snapshots: Snapshots,
        registry: Client,
    ) -> Result<Images, ImageError> {
        let stores = Stores { content, snapshots };
        let state = State::open(&db, |id| stores.content.read_small(id, MAX_CONFIG_SIZE))?;
        let built = Mutex::new(Built::open(&db)?);
        Ok(Images(Arc::new(Inner {
            built,
            root: root.to_owned(),
            db,
            stores,
            registry: RwLock::new(registry),
            state: RwLock::new(state),
            flights: Arc::new(Flights::default()),
            packing: Mutex::default(),
            held: Arc::default(),
        })))
    }

    /// Replaces the registry client, after a reload of the settings; pulls under way keep the old one.
    pub fn set_registry(&self, registry: Client) {
        *self
            .0
            .registry
            .write()
            .unwrap_or_else(PoisonError::into_inner) = registry;
    }

    /// The image that a name, a name with digest, an id or the beginning of an id means.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], or [`ImageError::Reference`] for a text that can be none of these.
    pub fn resolve(&self, name: &str) -> Result<Image, ImageError> {
        let state = self.read();
        let id = state.lookup(name)?;
        view(&state, &id)
    }

    /// The id of the image that a name means, if there is one: no more is looked up.
    pub fn id_of(&self, name: &str) -> Option<Digest> {
        self.read().lookup(name).ok()
    }

    /// The manifest that an image came with, if it is here and did, with its platform. As cheap as [`Images::id_of`].
    pub fn manifest_of(&self, id: &Digest) -> Option<Descriptor> {
        let state = self.read();
        let entry = state.images.get(id)?;
        let mut manifest = entry.record.manifest.clone()?;
        manifest
            .platform
            .get_or_insert_with(|| entry.config.platform());
        Some(manifest)
    }

    /// As [`Images::resolve`]; and the image stays while the pin lives.
    ///
    /// # Errors
    /// As [`Images::resolve`].
    pub fn pin(&self, name: &str) -> Result<(Image, ImagePin), ImageError> {
        self.pin_for(name, None)
    }

    /// As [`Images::pin`], for a platform; for this machine if none is given.
    ///
    /// # Errors
    /// As [`Images::resolve_for`].
    pub fn pin_for(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<(Image, ImagePin), ImageError> {
        let state = self.read();
        let id = state.lookup_for(name, platform)?;
        let image = view(&state, &id)?;
        *self.held().images.entry(id).or_default() += 1;
        let held = self.0.held.clone();
        Ok((image, ImagePin { held, id }))
    }

    /// The images that the options ask for, newest first.
    ///
    /// # Errors
    /// If `before` or `since` name no image, or a pattern is malformed.
    pub fn list(&self, options: &ListOptions) -> Result<Vec<Image>, ImageError> {
        self.read().list(options)
    }

    /// The images that were built from `parent`; without one, those that were built from nothing or came from elsewhere.
    pub fn children(&self, parent: Option<&Digest>) -> Vec<Image> {
        self.read().children(parent)
    }

    /// How many images there are, parents included.
    pub fn count(&self) -> usize {
        self.read().images.len()
    }

    /// Gives an image one more name; the image's id. An image that had the name loses it.
    ///
    /// # Errors
    /// If there is no such image, or the name is not one for a tag.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Digest, ImageError> {
        if target.digest().is_some() {
            return Err(ImageError::InvalidTag(
                "refusing to create a tag with a digest reference".to_owned(),
            ));
        }
        if target.familiar_name() == "sha256" {
            return Err(ImageError::InvalidTag(
                "refusing to create an ambiguous tag using digest algorithm as name".to_owned(),
            ));
        }
        let mut state = self.write();
        let id = state.lookup(source)?;
        let mut change = Change {
            put_names: vec![(target.clone().with_default_tag(), id)],
            ..Change::default()
        };
        if let Some(entry) = state.images.get(&id) {
            let mut entry = (**entry).clone();
            entry.record.last_tagged = Some(now_ms());
            change.put_images.push(entry);
        }
        state.apply(&self.0.db, change)?;
        Ok(id)
    }

    /// Removes a name, or the image with its last name, and what then nobody needs. Blocks on the disk.
    ///
    /// `uses` gives the containers of an image, in any state. It is called under the store's lock and must not call
    /// the store.
    ///
    /// # Errors
    /// Docker's conflicts, see [`ImageError`]; then nothing was removed.
    pub fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
        uses: &dyn Fn(&Digest) -> Vec<crate::ImageUse>,
    ) -> Result<Vec<Removed>, ImageError> {
        let mut state = self.write();
        let uses = self.with_pins(uses);
        let removed = self.remove_from(&mut state, name, options, &uses)?;
        let garbage = self.collect_locked(&state)?;
        drop(state);
        // Slow: others may go on meanwhile.
        drop(garbage);
        Ok(removed)
    }

    fn remove_from(
        &self,
        state: &mut State,
        name: &str,
        options: RemoveOptions,
        uses: Users<'_>,
    ) -> Result<Vec<Removed>, ImageError> {
        let mut plan = Plan::new(state, uses);
        match plan.remove(name, options.clone()) {
            Err(ImageError::NoSuchImage(_)) if plan.remove_unreadable(name, &options)? => {}
            other => other?,
        }
        let (change, removed) = (plan.change, plan.removed);
        state.apply(&self.0.db, change)?;
        Ok(removed)
    }

    /// Removes images that nothing needs: without a tag, or (`dangling: Some(false)`) all that no container uses.
    /// `until`, `labels` and `without_labels` narrow it. `tell` is told of each step. Blocks on the disk.
    ///
    /// # Errors
    /// If records or files cannot be changed. An image that may not be removed is no error, it stays.
    pub fn prune(
        &self,
        options: &ListOptions,
        uses: &dyn Fn(&Digest) -> Vec<crate::ImageUse>,
        tell: &dyn Fn(&Removed),
    ) -> Result<Pruned, ImageError> {
        let all = options.dangling == Some(false);
        let candidates = ListOptions {
            dangling: None,
            ..options.clone()
        };
        let mut state = self.write();
        let uses = self.with_pins(uses);
        let mut removed = Vec::new();
        for image in state.list(&candidates)? {
            if state.is_covered(&image.id) {
                continue;
            }
            let tagged = !image.repo_tags.is_empty();
            if (tagged && !all) || !uses(&image.id).is_empty() {
                continue;
            }
            let names: Vec<String> = match [image.repo_tags, image.repo_digests].concat() {
                names if names.is_empty() => vec![image.id.hex()],
                names => names,
            };
            for name in names {
                let options = RemoveOptions {
                    force: false,
                    prune: true,
                    platforms: Vec::new(),
                };
                match self.remove_from(&mut state, &name, options, &uses) {
                    Ok(steps) => {
                        steps.iter().for_each(tell);
                        removed.extend(steps);
                    }
                    // Gone with the one before, or needed by a child: both are fine.
                    Err(error) => tracing::debug!(name, %error, "not pruned"),
                }
            }
        }
        if options.is_plain() {
            let steps = self.prune_unreadable(&mut state, all, &uses)?;
            steps.iter().for_each(tell);
            removed.extend(steps);
        }
        let garbage = self.collect_locked(&state)?;
        let reclaimed = garbage.freed();
        drop(state);
        drop(garbage);
        Ok(Pruned { removed, reclaimed })
    }

    /// Removes images whose configuration is lost for good, and that no container uses: those without a tag, or `all`.
    fn prune_unreadable(
        &self,
        state: &mut State,
        all: bool,
        uses: Users<'_>,
    ) -> Result<Vec<Removed>, ImageError> {
        let has_tag = |id: &Digest| {
            let names = state.lost_names_of(id);
            names.iter().any(|name| name.digest().is_none())
        };
        let lost = state.unreadable.iter();
        let lost = lost.filter(|(id, image)| image.gone && (all || !has_tag(id)));
        let mut plan = Plan::new(state, uses);
        for (id, _) in lost.filter(|(id, _)| uses(id).is_empty()) {
            plan.delete_unreadable(id);
        }
        let (change, steps) = (plan.change, plan.removed);
        state.apply(&self.0.db, change)?;
        Ok(steps)
    }

    /// How an image came about, newest step first.
    ///
    /// # Errors
    /// [`ImageError::NoSuchImage`], or [`ImageError::HistoryMismatch`] for a configuration that contradicts itself.
    pub fn history(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryEntry>, ImageError> {
        let state = self.read();
        state.history(&state.lookup_for(name, platform)?)
    }

    /// What each image shares with others, in bytes.
    pub fn shared_sizes(&self) -> BTreeMap<Digest, u64> {
        let state = self.read();
        let users = state.layer_users();
        let shared = |entry: &Entry| {
            let layers = entry.chain.iter().zip(&entry.record.layers);
            let shared = layers.filter(|(chain, _)| users.get(chain).is_some_and(|n| *n > 1));
            shared.map(|(_, layer)| layer.size).sum()
        };
        let images = state.images.iter();
        images.map(|(id, entry)| (*id, shared(entry))).collect()
    }

    /// What images take on disk. Blocks on the disk.
    ///
    /// # Errors
    /// If the content store cannot be read.
    pub fn disk_usage(&self) -> Result<DiskUsage, ImageError> {
        let state = self.read();
        let users = state.layer_users();
        let entries = state.images.values();
        let layers = entries.flat_map(|entry| entry.chain.iter().zip(&entry.record.layers));
        let sizes: HashMap<ChainId, u64> =
            layers.map(|(chain, layer)| (*chain, layer.size)).collect();
        let mut images = Vec::new();
        for image in state.list(&ListOptions::default())? {
            let (mut shared, mut unique) = (0, 0);
            let layers = state
                .images
                .get(&image.id)
                .map_or(&[][..], |entry| &entry.record.layers[..]);
            for (chain, layer) in image.chain.iter().zip(layers) {
                if users.get(chain).is_some_and(|users| *users > 1) {
                    shared += layer.size;
                } else {
                    unique += layer.size;
                }
            }
            images.push(ImageUsage {
                image,
                shared,
                unique,
            });
        }
        // The walk over all blobs is long, and nobody is to wait for it.
        drop(state);
        Ok(DiskUsage {
            images,
            layers: sizes.values().sum(),
            content: self.0.stores.content_usage()?,
        })
    }

    /// Deletes blobs and layers that nothing needs (after a kill in the middle of a pull, say). Bytes that are free
    /// again. Blocks on the disk.
    ///
    /// # Errors
    /// If files cannot be deleted.
    pub fn collect(&self) -> Result<u64, ImageError> {
        // For writing: no image is recorded while it is decided what is needed.
        let state = self.write();
        let garbage = self.collect_locked(&state)?;
        drop(state);
        Ok(garbage.freed())
    }

    /// What nothing needs is gone afterwards; its files, when what is returned is dropped.
    fn collect_locked(&self, state: &State) -> Result<Garbage, ImageError> {
        let held = self.held();
        let mut blobs = state.blobs();
        blobs.extend(held.blobs.keys().copied());
        let mut chains = state.chains();
        chains.extend(held.chains.keys().copied());
        let built = self.built();
        blobs.extend(built.blobs());
        chains.extend(built.chains());
        drop(built);
        let chains = (!state.has_unknown_layers()).then_some(&chains);
        self.0.stores.collect(&blobs, chains)
    }

    /// Searches the registry that the term names, or Docker Hub; the built-in catalogue if it cannot be reached.
    ///
    /// # Errors
    /// If the limit is not 1 to 100, or the registry refuses.
    pub async fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: Option<&Credentials>,
    ) -> Result<SearchResults, ImageError> {
        if !(1..=100).contains(&limit) {
            return Err(ImageError::InvalidFilter(format!(
                "limit {limit} is outside the range of [1, 100]"
            )));
        }
        match self.registry().search(term, limit, credentials).await {
            Ok(hits) => Ok(SearchResults {
                hits,
                from_catalogue: false,
            }),
            Err(error) if error.kind() == RegistryErrorKind::Unreachable && is_hub(term) => {
                Ok(SearchResults {
                    hits: catalogue::search(term),
                    from_catalogue: true,
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The engine's answer about containers, and images that are just becoming one.
    fn with_pins<'a>(&'a self, uses: Users<'a>) -> impl Fn(&Digest) -> Vec<crate::ImageUse> + 'a {
        move |id| {
            let mut users = uses(id);
            if self.held().images.contains_key(id) {
                users.push(crate::ImageUse {
                    container: "(creating)".to_owned(),
                    image: *id,
                    running: true,
                });
            }
            users
        }
    }

    pub(crate) fn hold(&self, incoming: &Incoming) -> Lease {
        let mut blobs = vec![incoming.config.digest(), incoming.manifest.0.digest];
        blobs.extend(incoming.index.iter().map(|(index, _)| index.digest));
        blobs.extend(incoming.extras.iter().map(|(extra, _)| extra.digest));
        let layers = incoming.layers.iter();
        blobs.extend(layers.clone().map(|(plan, _)| plan.blob.digest));
        let chains: Vec<ChainId> = layers.map(|(plan, _)| plan.chain).collect();
        // Behind the state's lock, so that a collection sees all of it or comes before it.
        let state = self.read();
        let content = &self.0.stores.content;
        let twins = incoming.layers.iter().filter_map(|(plan, _)| {
            let absent = !content.contains(&plan.blob.digest);
            let twin = || twin(&state, &plan.diff_id, |digest| content.contains(digest));
            absent.then(twin).flatten()
        });
        blobs.extend(twins.map(|twin| twin.digest));
        self.held_now(blobs, chains)
    }

    /// Holds blobs and layers.
    pub(crate) fn lease(&self, blobs: Vec<Digest>, chains: Vec<ChainId>) -> Lease {
        // As in `hold`.
        let _state = self.read();
        self.held_now(blobs, chains)
    }

    fn held_now(&self, blobs: Vec<Digest>, chains: Vec<ChainId>) -> Lease {
        let mut held = self.held();
        for blob in &blobs {
            *held.blobs.entry(*blob).or_default() += 1;
        }
        for chain in &chains {
            *held.chains.entry(*chain).or_default() += 1;
        }
        Lease {
            held: self.0.held.clone(),
            blobs,
            chains,
        }
    }

    /// The right to write a blob that was made here.
    pub(crate) fn packing(&self) -> std::sync::MutexGuard<'_, ()> {
        let packing = &self.0.packing;
        packing
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn built(&self) -> std::sync::MutexGuard<'_, Built> {
        self.0.built.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        lock(&self.0.held)
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of registries, with the present settings.
    pub fn registry(&self) -> Client {
        self.0
            .registry
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0.root
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }

    /// The folders of an image's layers, the topmost first; none if one of them is not unpacked.
    pub fn layer_folders(&self, image: &Image) -> Vec<PathBuf> {
        let folders = image.chain.iter().rev();
        let folders = folders.map(|chain| self.0.stores.snapshots.layer_path(chain));
        folders.collect::<Result<_, _>>().unwrap_or_default()
    }

    pub(crate) fn stores(&self) -> &Stores {
        &self.0.stores
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.0.flights
    }
}

pub(crate) fn view(state: &State, id: &Digest) -> Result<Image, ImageError> {
    state
        .view(id)
        .ok_or_else(|| ImageError::NoSuchImage(id.to_string()))
}

fn is_hub(term: &str) -> bool {
    match term.split_once('/') {
        Some((host, _)) => {
            host == "docker.io" || !(host.contains(['.', ':']) || host == "localhost")
        }
        None => true,
    }
}

fn lock(held: &Mutex<Held>) -> std::sync::MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

fn release<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for ImagePin {
    fn drop(&mut self) {
        release(&mut lock(&self.held).images, &self.id);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        for blob in &self.blobs {
            release(&mut held.blobs, blob);
        }
        for chain in &self.chains {
            release(&mut held.chains, chain);
        }
    }
}
