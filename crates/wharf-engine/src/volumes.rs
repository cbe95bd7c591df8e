//! Volumes as the engine's users see them: told of containers, with Docker's events.

mod archive;
mod hold;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use wharf_volumes::{
    Created, LOCAL, Listed, NewVolume, Volume, VolumeError, VolumeName, VolumeRemoval, Volumes,
};

pub(crate) use hold::{Hold, any_mounted, mount_all, unmount_all};

use crate::{
    Containers, EngineError, EventKind, Events, Filters, PruneReport, PruneWatcher, names,
};

/// What marks a volume that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// How many questions of clients are before plugins at once: each holds a thread, which one that does not answer keeps.
const MOST_ASKED: usize = 16;

/// Volumes, with the containers that use them and events about them.
#[derive(Clone)]
pub struct VolumeService {
    pub(crate) store: Volumes,
    pub(crate) containers: Containers,
    pub(crate) events: Events,
    /// Places for clients' questions to plugins.
    asking: Arc<Semaphore>,
}

impl VolumeService {
    pub(crate) fn new(store: Volumes, containers: Containers, events: Events) -> Self {
        Self {
            store,
            containers,
            events,
            asking: Arc::new(Semaphore::new(MOST_ASKED)),
        }
    }

    /// Makes a volume; an empty name asks for an anonymous one.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn create(&self, mut new: NewVolume) -> Result<Volume, EngineError> {
        if new.name.is_empty() {
            new.name = names::new_id();
            new.anonymous = true;
            let labels = new.labels.get_or_insert_default();
            labels.insert(ANONYMOUS.to_owned(), String::new());
        }
        let service = self.clone();
        self.at_their_pace(move || {
            let Created { volume, fresh } = service
                .store
                .create_beside(new, |name| service.users(name))?;
            if fresh {
                emit(&service.events, "create", &volume.name, &volume.driver);
            }
            Ok(volume)
        })
        .await
    }

    /// The volume `name`.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub async fn inspect(&self, name: &str) -> Result<Volume, EngineError> {
        let (store, name) = (self.store.clone(), name.to_owned());
        let is_local = store.driver_of(&name).is_some_and(|driver| driver == LOCAL);
        let get = move || Ok(store.get(&name)?);
        match is_local {
            // No plugin is asked, so that none of them keeps it waiting.
            true => self.at_their_pace(get).await,
            false => self.ask(get).await,
        }
    }

    /// Volumes that fit the filters `name label dangling driver`.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub async fn list(&self, filters: &Filters) -> Result<Listed, EngineError> {
        filters.check(&["dangling", "name", "driver", "label"])?;
        let dangling = filters.boolean("dangling")?;
        let name = filters.patterns("name");
        let store = self.store.clone();
        let mut listed = self.ask(move || Ok(store.list())).await?;
        listed.volumes.retain(|volume| {
            let labels = volume.labels.as_ref();
            name.fit(volume.name.as_str())
                && filters.any("driver", |driver| driver == volume.driver)
                && filters.labels("label", labels.unwrap_or(&BTreeMap::new()))
                && dangling.is_none_or(|dangling| self.users(&volume.name).is_empty() == dangling)
        });
        Ok(listed)
    }

    /// Removes the volume `name`. With `force` one that is not there is no error, and one that its plugin does not remove
    /// is not known here any more.
    ///
    /// # Errors
    /// Those of the store: a container may use it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        let (service, name) = (self.clone(), name.to_owned());
        let removal = match force {
            true => VolumeRemoval::Forced,
            false => VolumeRemoval::Plain,
        };
        self.at_their_pace(move || match service.remove_now(&name, removal) {
            Err(VolumeError::NotFound(_)) if force => Ok(()),
            other => {
                other?;
                service.empty_trash();
                Ok(())
            }
        })
        .await
    }

    /// Its files are in the trash then.
    fn remove_now(&self, name: &str, removal: VolumeRemoval) -> Result<(), VolumeError> {
        let driver = self.store.driver_of(name);
        self.store
            .remove_as(removal, name, |name| self.users(name))?;
        let driver = driver.unwrap_or_else(|| LOCAL.to_owned());
        if let Ok(name) = VolumeName::parse(name) {
            emit(&self.events, "destroy", &name, &driver);
        }
        Ok(())
    }

    /// Removes anonymous volumes (with the filter `all=true` every volume) that no container uses. As with dockerd,
    /// those with options and those of plugins stay: their data is not ours.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub async fn prune(
        &self,
        filters: &Filters,
        watcher: &PruneWatcher,
    ) -> Result<PruneReport, EngineError> {
        filters.check(&["label", "label!", "all"])?;
        // This one filter is read by Go's `ParseBool`.
        let all = filters.values("all").next().map(wharf_go::parse_bool);
        let all = all
            .transpose()
            .map_err(|reason| EngineError::Invalid(format!("invalid filter 'all': {reason}")))?;
        let all = all.unwrap_or(false);
        let service = self.clone();
        let (filters, watcher) = (filters.clone(), watcher.clone());
        self.at_their_pace(move || Ok(service.prune_now(&filters, all, &watcher)))
            .await
    }

    /// With its event, as who asked may be gone when it is done.
    fn prune_now(&self, filters: &Filters, all: bool, watcher: &PruneWatcher) -> PruneReport {
        let mut report = PruneReport::default();
        for volume in self.store.list().volumes {
            let none = BTreeMap::new();
            let labels = volume.labels.as_ref().unwrap_or(&none);
            let wanted = filters.labels("label", labels) && filters.no_labels("label!", labels);
            let anonymous = labels.contains_key(ANONYMOUS);
            if !wanted || !volume.is_plain() || !(all || anonymous) {
                continue;
            }
            if !self.users(&volume.name).is_empty() {
                continue;
            }
            let size = self.store.usage(volume.name.as_str()).unwrap_or(0);
            // One that came into use in the meantime is simply not pruned.
            let removed = self.remove_now(volume.name.as_str(), VolumeRemoval::Plain);
            if removed.is_ok() {
                watcher.deleted(volume.name.as_str());
                report.deleted.push(volume.name.as_str().to_owned());
                report.reclaimed += size;
            }
        }
        self.empty_trash();
        let reclaimed = [("reclaimed".to_owned(), report.reclaimed.to_string())].into();
        self.events.emit(EventKind::Volume, "prune", "", reclaimed);
        report
    }

    /// Ids of the containers that use the volume.
    pub fn users(&self, name: &VolumeName) -> Vec<String> {
        self.containers.shared.volume_users(name.as_str())
    }

    fn empty_trash(&self) {
        self.containers.shared.empty_trash();
    }

    /// As [`VolumeService::at_their_pace`], for what clients may ask again and again: in turn. `work` must not ask so itself.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let work = in_a_place(Arc::clone(&self.asking), work).await?;
        self.at_their_pace(work).await
    }

    /// A plugin can take its time, and so can a file server.
    pub(crate) async fn at_their_pace<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let done = wharf_images::at_clients_pace(work).await;
        done.map_err(|error| EngineError::failed(&error))?
    }
}

/// `work` with one of `places`, once there is one; it has it until it is done, though whoever asked may be gone.
async fn in_a_place<T>(
    places: Arc<Semaphore>,
    work: impl FnOnce() -> T,
) -> Result<impl FnOnce() -> T, EngineError> {
    let place = places.acquire_owned().await;
    let place = place.map_err(|error| EngineError::failed(&error))?;
    Ok(move || {
        let _place = place;
        work()
    })
}

/// An event of the volume `name`.
pub(crate) fn emit(events: &Events, action: &str, name: &VolumeName, driver: &str) {
    let attributes = BTreeMap::from([("driver".to_owned(), driver.to_owned())]);
    events.emit(EventKind::Volume, action, name.as_str(), attributes);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn who_goes_away_leaves_the_place_to_the_work() {
        let places = Arc::new(Semaphore::new(1));
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let work = in_a_place(places.clone(), move || wait.recv().is_err());
        let asked = wharf_images::at_clients_pace(work.await.unwrap());
        let gone = tokio::time::timeout(Duration::from_millis(50), asked).await;
        assert!(gone.is_err());
        assert_eq!(places.available_permits(), 0);
        drop(release);
        let next =
            tokio::time::timeout(Duration::from_secs(10), in_a_place(places.clone(), || 1)).await;
        assert_eq!(next.unwrap().unwrap()(), 1);
        assert_eq!(places.available_permits(), 1);
    }
}
