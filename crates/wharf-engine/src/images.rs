//! Images as the engine's users see them: the store's verbs, told of containers, with Docker's events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use tokio::io::AsyncRead;
use wharf_distribution::{Credentials, RegistryErrorKind};
use wharf_images::{
    Checked, Image, ImageError, ImageUse, Images, ListOptions, ManifestKind, ManifestView,
    ProgressSender, Pruned, PullOptions, Pulled, PushOptions, RemoveOptions, Removed,
};
use wharf_oci::{Descriptor, Digest, Platform, Reference};

use crate::files::{self, FileStream};
use crate::{Containers, EngineError, EventKind, Events, PruneWatcher, View};

/// Bytes of an archive that are handed on at a time.
const PIECE: usize = 128 * 1024;

/// Images, with the containers that use them and events about them. Reads go to [`ImageService::store`].
#[derive(Clone)]
pub struct ImageService {
    pub(crate) store: Images,
    pub(crate) containers: Containers,
    pub(crate) events: Events,
}

impl ImageService {
    /// The store, for everything that only reads (`resolve`, `list`, `history`, `search`).
    pub fn store(&self) -> &Images {
        &self.store
    }

    /// How many containers each image has that has any, in any state: one look for all of them.
    pub fn user_counts(&self) -> HashMap<Digest, usize> {
        let mut counts = HashMap::new();
        for view in self.containers.views().iter() {
            *counts.entry(view.image).or_default() += 1;
        }
        counts
    }

    /// Containers of the image, in any state (the `Containers` column of `docker images`).
    pub fn uses(&self, image: &Digest) -> Vec<ImageUse> {
        uses(&self.containers, image)
    }

    /// Pulls.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn pull(
        &self,
        reference: &Reference,
        options: PullOptions,
        progress: ProgressSender,
    ) -> Result<Vec<Pulled>, EngineError> {
        let pulled = self.store.pull(reference, options, progress).await?;
        for one in &pulled {
            let name = one.reference.familiar();
            let mut attributes = labels(&one.image);
            attributes.insert("name".to_owned(), one.reference.familiar_name());
            self.events
                .emit(EventKind::Image, "pull", &name, attributes);
        }
        Ok(pulled)
    }

    /// Pushes one tag, or all of a repository.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn push(
        &self,
        reference: &Reference,
        options: PushOptions,
        progress: ProgressSender,
    ) -> Result<(), EngineError> {
        for (name, image) in self.store.push(reference, options, progress).await? {
            let mut attributes = labels(&image);
            attributes.insert("name".to_owned(), name.familiar_name());
            let text = name.familiar();
            self.events
                .emit(EventKind::Image, "push", &text, attributes);
        }
        Ok(())
    }

    /// Loads an archive of `docker save`.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn load(
        &self,
        archive: impl AsyncRead + Send + Unpin + 'static,
        platforms: &[Platform],
        progress: ProgressSender,
    ) -> Result<Vec<Digest>, EngineError> {
        let loaded = self.store.load(archive, platforms, progress).await?;
        for id in &loaded {
            self.emit("load", &id.to_string(), &id.to_string());
        }
        Ok(loaded)
    }

    /// Images as one archive, as `docker save` writes it; they stay until it is written.
    ///
    /// # Errors
    /// Those of the store, if there is no such image. What comes later is the stream's.
    pub async fn save(
        &self,
        names: Vec<String>,
        platforms: Vec<Platform>,
    ) -> Result<FileStream, EngineError> {
        let (store, wanted, on) = (self.store.clone(), names.clone(), platforms.clone());
        let pins = blocking(move || {
            // A repository without a tag is all its tags, and `latest` need not be among them.
            let pins = wanted.iter().filter_map(|name| store.pin(name).ok());
            let pins: Vec<_> = pins.collect();
            store.check_save(&wanted, &on)?;
            Ok(pins)
        })
        .await?;
        let service = self.clone();
        files::stream(None, move |sink| {
            let _pins = pins;
            let mut out = BufWriter::with_capacity(PIECE, sink);
            service.store.save(&names, &platforms, &mut out)?;
            let flushed = out.flush();
            flushed.map_err(|error| ImageError::Archive(error.to_string()))?;
            service.saved(&names);
            Ok::<_, ImageError>(())
        })
    }

    /// Says that images went into an archive: of each once, by however many names.
    fn saved(&self, names: &[String]) {
        let mut told = BTreeSet::new();
        let images = names.iter().filter_map(|name| self.store.id_of(name));
        for id in images.filter(|id| told.insert(*id)) {
            let id = id.to_string();
            self.emit("save", &id, &id);
        }
    }

    /// Gives a name.
    ///
    /// # Errors
    /// Those of the store.
    pub fn tag(&self, source: &str, target: &Reference) -> Result<Digest, EngineError> {
        let id = self.store.tag(source, target)?;
        self.emit("tag", &id.to_string(), &target.familiar());
        Ok(id)
    }

    /// Shows a registry a user's name and password.
    ///
    /// # Errors
    /// `Unauthorized` if it does not take them.
    pub async fn login(
        &self,
        domain: &str,
        credentials: Option<&Credentials>,
    ) -> Result<Option<String>, EngineError> {
        let shown = self.store.registry().login(domain, credentials).await;
        shown.map_err(|error| match error.kind() {
            RegistryErrorKind::Unauthorized => EngineError::Unauthorized(error.to_string()),
            _ => EngineError::Failed(error.to_string()),
        })
    }

    /// What a name means in its registry, and the platforms that it is for.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn describe(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<(Descriptor, Vec<Platform>), EngineError> {
        let registry = self.store.registry();
        let found = registry.describe(reference, credentials).await;
        found.map_err(|error| match error.kind() {
            RegistryErrorKind::Unauthorized => EngineError::Unauthorized(error.to_string()),
            RegistryErrorKind::NotFound => EngineError::NotFound(error.said()),
            _ => EngineError::Failed(error.to_string()),
        })
    }

    /// The tags of a repository in its registry, in the registry's order.
    ///
    /// # Errors
    /// Those of the registry.
    pub async fn tags(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<String>, EngineError> {
        let registry = self.store.registry();
        let found = registry.tags(reference, credentials).await;
        found.map_err(|error| match error.kind() {
            RegistryErrorKind::Unauthorized => EngineError::Unauthorized(error.to_string()),
            RegistryErrorKind::NotFound => EngineError::NotFound(error.to_string()),
            _ => EngineError::Failed(error.to_string()),
        })
    }

    /// Removes a name or an image.
    ///
    /// # Errors
    /// Those of the store: a container may use it.
    pub async fn remove(
        &self,
        name: &str,
        options: RemoveOptions,
    ) -> Result<Vec<Removed>, EngineError> {
        let (service, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let uses = |image: &Digest| uses(&service.containers, image);
            let removed = service.store.remove(&name, options, &uses)?;
            // Here, as who asked may be gone when it is done.
            service.announce(&removed);
            Ok(removed)
        })
        .await
    }

    /// Removes what nothing uses.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune(
        &self,
        options: ListOptions,
        watcher: &PruneWatcher,
    ) -> Result<Pruned, EngineError> {
        let (service, watcher) = (self.clone(), watcher.clone());
        blocking(move || service.prune_now(&options, &watcher)).await
    }

    /// With its events, as who asked may be gone when it is done.
    fn prune_now(
        &self,
        options: &ListOptions,
        watcher: &PruneWatcher,
    ) -> Result<Pruned, ImageError> {
        let gone = RefCell::new(Vec::new());
        let tell = |removed: &Removed| {
            gone.borrow_mut().push(removed.clone());
            match (removed.untagged(), removed.deleted()) {
                (Some(name), _) => watcher.tell(name, "Untagged"),
                (None, Some(id)) => watcher.deleted(&id.to_string()),
                (None, None) => {}
            }
        };
        let uses = |image: &Digest| uses(&self.containers, image);
        let pruned = self.store.prune(options, &uses, &tell);
        self.announce(&gone.take());
        let pruned = pruned?;
        let reclaimed = [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into();
        self.events.emit(EventKind::Image, "prune", "", reclaimed);
        Ok(pruned)
    }

    /// The images that the options ask for.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<Image>, EngineError> {
        let store = self.store.clone();
        blocking(move || store.list(&options)).await
    }

    /// The manifests of an image, and the ids of the containers of each.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn manifests(
        &self,
        image: &Digest,
    ) -> Result<Vec<(ManifestView, Vec<String>)>, EngineError> {
        let (store, id) = (self.store.clone(), *image);
        let views = blocking(move || store.manifests(&id)).await?;
        let with_users = |view: ManifestView| {
            let users = match &view.kind {
                ManifestKind::Image { id: Some(id), .. } => self.uses(id),
                _ => Vec::new(),
            };
            let ids = users.into_iter().map(|user| user.container).collect();
            (view, ids)
        };
        Ok(views.into_iter().map(with_users).collect())
    }

    /// What each of the images shares with others, by id, in bytes.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn shared_sizes(&self) -> Result<BTreeMap<Digest, u64>, EngineError> {
        let store = self.store.clone();
        blocking(move || Ok(store.shared_sizes())).await
    }

    /// Checks the whole store, and repairs what can be fetched again if that is wanted.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn check(&self, repair: bool) -> Result<Checked, EngineError> {
        Ok(self.store.check(repair).await?)
    }

    fn announce(&self, removed: &[Removed]) {
        for one in removed {
            match one {
                Removed::Untagged { is_told: false, .. } => {}
                Removed::Untagged { image, labels, .. } => {
                    let (id, mut attributes) = (image.to_string(), labels.clone());
                    attributes.insert("name".to_owned(), id.clone());
                    self.events.emit(EventKind::Image, "untag", &id, attributes);
                }
                Removed::Image(id) => self.emit("delete", &id.to_string(), &id.to_string()),
                Removed::Layer(_) => {}
            }
        }
    }

    fn emit(&self, action: &str, id: &str, name: &str) {
        let image = self.store.resolve(id).ok();
        let mut attributes = image.as_ref().map(labels).unwrap_or_default();
        attributes.insert("name".to_owned(), name.to_owned());
        self.events.emit(EventKind::Image, action, id, attributes);
    }
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    image.config.config.labels.clone()
}

fn uses(containers: &Containers, image: &Digest) -> Vec<ImageUse> {
    let of = |view: &Arc<View>| ImageUse {
        container: view.id.clone(),
        image: view.image,
        running: view.state.running,
    };
    let views = containers.views();
    views
        .iter()
        .filter(|view| view.image == *image)
        .map(of)
        .collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| EngineError::failed(&error))??)
}
