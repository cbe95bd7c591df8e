//! Volumes that have to be mounted before their files are there, and who needs them.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tracing::warn;
use wharf_sys::words::chain;
use wharf_volumes::Volumes;

use crate::containers::Shared;
use crate::record::Record;
use crate::{EngineError, MountPoint, View, names};

/// Makes the volumes of a container that is about to start usable, and notes where they are.
pub(crate) async fn mount_all(shared: &Shared, record: &mut Record) -> Result<(), EngineError> {
    let found = mount_named(&shared.volumes, &record.mounts, &record.id).await?;
    for point in &mut record.mounts {
        if let Some(path) = found.get(&point.name) {
            point.source.clone_from(path);
        }
    }
    Ok(())
}

/// The container's process is gone: it needs its volumes no longer.
pub(crate) async fn unmount_all(shared: &Shared, id: &str, mounts: &[MountPoint]) {
    unmount_named(&shared.volumes, named(&shared.volumes, mounts), id).await;
}

/// Whether any of them has to be mounted before it is used.
pub(crate) fn any_mounted(shared: &Shared, mounts: &[MountPoint]) -> bool {
    !named(&shared.volumes, mounts).is_empty()
}

fn is_volume(point: &MountPoint) -> bool {
    point.kind == "volume" && !point.name.is_empty()
}

/// The names of those among `mounts` that have to be mounted at all.
fn named(volumes: &Volumes, mounts: &[MountPoint]) -> Vec<String> {
    let names = mounts.iter().filter(|point| is_volume(point));
    let names: BTreeSet<&String> = names.map(|point| &point.name).collect();
    let wanted = names
        .into_iter()
        .filter(|name| volumes.is_mounted_on_use(name));
    wanted.cloned().collect()
}

/// Mounts what has to be; either all of it or nothing.
async fn mount_named(
    volumes: &Volumes,
    mounts: &[MountPoint],
    holder: &str,
) -> Result<BTreeMap<String, PathBuf>, EngineError> {
    let names = named(volumes, mounts);
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let (volumes, holder) = (volumes.clone(), holder.to_owned());
    let mount = move || {
        let mut found = BTreeMap::new();
        for name in &names {
            match volumes.mount(name, &holder) {
                Ok(path) => found.insert(name.clone(), path),
                Err(error) => {
                    for name in found.keys() {
                        let_go(&volumes, name, &holder);
                    }
                    return Err(error);
                }
            };
        }
        Ok(found)
    };
    let mounted = wharf_images::at_clients_pace(mount).await;
    Ok(mounted.map_err(|error| EngineError::failed(&error))??)
}

async fn unmount_named(volumes: &Volumes, names: Vec<String>, holder: &str) {
    if names.is_empty() {
        return;
    }
    let (volumes, holder, told) = (volumes.clone(), holder.to_owned(), holder);
    let unmount = move || {
        names
            .iter()
            .for_each(|name| let_go(&volumes, name, &holder))
    };
    // A panic is its own.
    let done = wharf_images::at_clients_pace_or_in_turn(unmount).await;
    if let Err(error) = done {
        warn!(holder = told, error = chain(&error), "unmount the volumes");
    }
}

fn let_go(volumes: &Volumes, name: &str, holder: &str) {
    if let Err(error) = volumes.unmount(name, holder) {
        warn!(
            volume = name,
            holder,
            error = chain(&error),
            "unmount the volume"
        );
    }
}

/// The volumes of a container held for somebody who looks into them; let go when it is dropped.
pub(crate) struct Hold {
    volumes: Volumes,
    holder: String,
    paths: BTreeMap<String, PathBuf>,
    runtime: Handle,
}

impl Hold {
    /// Holds the volumes of `view`.
    pub(crate) async fn of(shared: &Shared, view: &View) -> Result<Self, EngineError> {
        let holder = format!("files-{}", names::new_id());
        let paths = mount_named(&shared.volumes, &view.mounts, &holder).await?;
        Ok(Self {
            volumes: shared.volumes.clone(),
            holder,
            paths,
            runtime: Handle::current(),
        })
    }

    /// Where the files of `point` are.
    pub(crate) fn path_of(&self, point: &MountPoint) -> PathBuf {
        let mounted = self.paths.get(&point.name);
        mounted.unwrap_or(&point.source).clone()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.paths.is_empty() {
            return;
        }
        let (volumes, holder) = (self.volumes.clone(), std::mem::take(&mut self.holder));
        let names = std::mem::take(&mut self.paths).into_keys().collect();
        // By a thread of the runtime's own: this one may have left the daemon's mount namespace.
        self.runtime
            .spawn(async move { unmount_named(&volumes, names, &holder).await });
    }
}
