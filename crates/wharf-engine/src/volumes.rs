//! Volumes as the engine's users see them: told of containers, with Docker's events.

use std::collections::BTreeMap;

use wharf_volumes::{NewVolume, Volume, VolumeError, VolumeName, Volumes};

use crate::{Containers, EngineError, EventKind, Events, Filters, PruneReport, names};

/// Volumes, with the containers that use them and events about them.
#[derive(Clone)]
pub struct VolumeService {
    pub(crate) store: Volumes,
    pub(crate) containers: Containers,
    pub(crate) events: Events,
}

impl VolumeService {
    /// Makes a volume; an empty name asks for an anonymous one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn create(&self, mut new: NewVolume) -> Result<Volume, EngineError> {
        if new.name.is_empty() {
            new.name = names::new_id();
            new.anonymous = true;
            new.labels
                .insert("com.docker.volume.anonymous".to_owned(), String::new());
        }
        let fresh = self.store.get(&new.name).is_err();
        let volume = self.store.create(new)?;
        if fresh {
            self.emit("create", volume.name.as_str());
        }
        Ok(volume)
    }

    /// The volume `name`.
    ///
    /// # Errors
    /// `get x: no such volume`.
    pub fn inspect(&self, name: &str) -> Result<Volume, EngineError> {
        Ok(self.store.get(name)?)
    }

    /// Volumes that fit the filters `name label dangling driver`.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub fn list(&self, filters: &Filters) -> Result<Vec<Volume>, EngineError> {
        filters.check(&["dangling", "name", "driver", "label"])?;
        let dangling = filters.boolean("dangling")?;
        let wanted = |volume: &Volume| {
            filters.any("name", |part| volume.name.as_str().contains(part))
                && filters.any("driver", |driver| driver == "local")
                && filters.labels("label", &volume.labels)
                && dangling.is_none_or(|dangling| self.users(&volume.name).is_empty() == dangling)
        };
        let mut volumes = self.store.list();
        volumes.retain(wanted);
        Ok(volumes)
    }

    /// Removes the volume `name`. With `force` one that is not there is no error.
    ///
    /// # Errors
    /// Those of the store: a container may use it.
    pub fn remove(&self, name: &str, force: bool) -> Result<(), EngineError> {
        match self.store.remove(name, |name| self.users(name)) {
            Err(VolumeError::NotFound(_)) if force => return Ok(()),
            other => other?,
        }
        self.emit("destroy", name);
        self.empty_trash();
        Ok(())
    }

    /// Removes anonymous volumes (with the filter `all=true` every volume) that no container uses.
    ///
    /// # Errors
    /// If a filter is unknown.
    pub async fn prune(&self, filters: &Filters) -> Result<PruneReport, EngineError> {
        filters.check(&["label", "label!", "all"])?;
        let all = filters.boolean("all")?.unwrap_or(false);
        let service = self.clone();
        let filters = filters.clone();
        let prune = move || {
            let mut report = PruneReport::default();
            for volume in service.store.list() {
                let labels = &volume.labels;
                let wanted = filters.labels("label", labels) && filters.no_labels("label!", labels);
                if !wanted || !(all || volume.anonymous) || !service.users(&volume.name).is_empty()
                {
                    continue;
                }
                let size = service.store.usage(volume.name.as_str()).unwrap_or(0);
                // One that came into use in the meantime is simply not pruned.
                if service.remove(volume.name.as_str(), false).is_ok() {
                    report.deleted.push(volume.name.as_str().to_owned());
                    report.reclaimed += size;
                }
            }
            report
        };
        let report = tokio::task::spawn_blocking(prune)
            .await
            .map_err(|error| EngineError::failed(&error))?;
        let reclaimed = [("reclaimed".to_owned(), report.reclaimed.to_string())].into();
        self.events.emit(EventKind::Volume, "prune", "", reclaimed);
        Ok(report)
    }

    /// Ids of the containers that use the volume.
    pub fn users(&self, name: &VolumeName) -> Vec<String> {
        self.containers.shared.volume_users(name.as_str())
    }

    fn empty_trash(&self) {
        let store = self.store.clone();
        std::thread::spawn(move || {
            if let Err(error) = store.empty_trash() {
                tracing::warn!(
                    error = crate::error::chain(&error),
                    "empty the trash of volumes"
                );
            }
        });
    }

    fn emit(&self, action: &str, name: &str) {
        let driver = BTreeMap::from([("driver".to_owned(), "local".to_owned())]);
        self.events.emit(EventKind::Volume, action, name, driver);
    }
}
