//! What a container gives back when it ends, and when it is removed.

use std::sync::Arc;

use tracing::{error, warn};
use wharf_sys::words::chain;

use super::{Supervisor, meet};
use crate::containers::Shared;
use crate::lifecycle::Event;
use crate::record::CONTAINERS;

impl Supervisor {
    /// Ports, volumes and networks are given back before anybody hears of the end: ports can be had again at once, volumes and networks
    /// removed (Compose leaves a network behind that seems to be in use). What takes time and nobody waits for goes on behind.
    pub(super) async fn release(&mut self) {
        self.exit = None;
        (self.stop_at, self.kill_at) = (None, None);
        let task = self.task.take();
        self.entry.io().task = None;
        let (shared, id) = (self.shared.clone(), self.record.id.clone());
        let mounts = self.record.mounts.clone();
        let earlier = self.release.take();
        let awaited = !self.record.host.port_bindings.is_empty()
            || self.record.host.publish_all_ports
            || crate::volumes::any_mounted(&shared, &mounts);
        let leaves_first = in_removable_network(&shared, &id);
        let leaving = disconnect(shared.clone(), id.clone());
        let mut leaving = Some(self.shared.background.spawn(leaving));
        if leaves_first && let Some(leaving) = leaving.take() {
            let _ = leaving.await;
        }
        let work = async move {
            for before in [leaving, earlier].into_iter().flatten() {
                // As for a launch.
                let _ = before.await;
            }
            meet::delete_task(&shared.tasks, &id, task).await;
            crate::volumes::unmount_all(&shared, &id, &mounts).await;
        };
        let handle = self.shared.background.spawn(work);
        if awaited {
            let _ = handle.await;
        } else {
            self.release = Some(handle);
        }
    }

    /// Removes its record and then, behind it, its files.
    pub(super) async fn delete(&mut self) -> Option<Event> {
        let id = self.record.id.clone();
        let removes = self.record.remove_volumes || self.record.state.auto_remove;
        if removes && self.record.mounts.iter().any(|mount| mount.anonymous) {
            // A plugin may take its time.
            let (shared, record) = (self.shared.clone(), self.record.clone());
            let remove = move || shared.remove_anonymous_volumes(&record);
            if let Err(error) = wharf_images::at_clients_pace_or_in_turn(remove).await {
                error!(container = %id, error = chain(&error), "remove its volumes");
            }
        }
        let deleted = self.shared.db.write(|tx| CONTAINERS.delete(tx, &id));
        if let Err(error) = deleted {
            error!(container = %id, error = chain(&error), "delete the record");
            self.record.last.error = chain(&error);
            return Some(Event::RemoveFailed);
        }
        self.gone = true;
        self.discard_unresolved();
        self.entry.io().drop_pending();
        self.shared.forget(&self.record);
        self.emit("destroy", &[]);
        let view = self.record.view(&self.shared.folders, true);
        self.view.send_replace(Arc::new(view));
        let (shared, release) = (self.shared.clone(), self.release.take());
        self.shared.background.spawn(async move {
            if let Some(release) = release {
                let _ = release.await;
            }
            let clean = move || {
                shared.remove_files(&id);
                shared.empty_trash();
            };
            let _ = tokio::task::spawn_blocking(clean).await;
        });
        None
    }
}

/// Whether it holds up somebody who removes one of its networks.
fn in_removable_network(shared: &Shared, id: &str) -> bool {
    let networks = &shared.networks;
    let of = |network_id: &str| networks.get(network_id);
    let mut endpoints = networks.endpoints_of(id).into_iter();
    endpoints.any(|one| of(&one.network_id).is_ok_and(|network| !network.is_built_in()))
}

async fn disconnect(shared: Arc<Shared>, id: String) {
    if let Err(error) = shared.networks.disconnect(&id).await {
        warn!(container = %id, error = chain(&error), "disconnect");
    }
}
