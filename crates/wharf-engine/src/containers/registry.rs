//! Which containers there are, by id and by name, and what all of them share.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::warn;
use wharf_images::Images;
use wharf_network::Networks;
use wharf_records::Db;
use wharf_snapshots::Snapshots;
use wharf_tasks::{Task, Tasks};
use wharf_volumes::Volumes;

use super::Pending;
use super::exec::Execs;
use super::stop::{self, Patience};
use crate::files::Turns;
use crate::launch::links;
use crate::lifecycle::Event;
use crate::record::{Folders, Record};
use crate::supervisor::{Command, Supervisor};
use crate::userns::MountUser;
use crate::{
    Config, EngineConfig, EngineError, EventKind, Events, HostConfig, MountPoint, NetworkView,
    View, names,
};

/// What all containers share.
pub(crate) struct Shared {
    /// What never changes; see [`Shared::settings`].
    pub(crate) config: Arc<EngineConfig>,
    /// The settings as they are now.
    pub(crate) live: RwLock<Arc<EngineConfig>>,
    pub(crate) db: Db,
    pub(crate) images: Images,
    pub(crate) snapshots: Snapshots,
    pub(crate) volumes: Volumes,
    pub(crate) networks: Networks,
    pub(crate) tasks: Tasks,
    pub(crate) events: Events,
    pub(crate) folders: Folders,
    pub(crate) execs: Execs,
    /// The user namespace of remapped containers' files.
    pub(crate) user_for_mounts: crate::userns::ForMounts,
    /// Compiled seccomp filters.
    pub(crate) filters: crate::spec::Filters,
    /// Work that nobody waits for, but a clean end of the daemon.
    pub(crate) background: TaskTracker,
    pub(crate) registry: RwLock<Registry>,
    /// Those who follow logs.
    pub(crate) followers: crate::logging::Followers,
    /// The daemon stops, and starts nothing more.
    pub(crate) stopping: AtomicBool,
}

/// The index of containers.
#[derive(Default)]
pub(crate) struct Registry {
    entries: BTreeMap<String, Arc<Entry>>,
    /// Names to ids; a name is here from the moment it is promised.
    names: HashMap<String, String>,
    /// The last that removed themselves, for who asks for their exit codes; see [`Shared::find_or_gone`].
    gone: VecDeque<Arc<Entry>>,
}

/// How many containers that removed themselves are remembered.
const GONE: usize = 64;

impl Registry {
    /// The container that the link called `alias` of `owner` leads to.
    fn by_link(&self, owner: &str, alias: &str) -> Option<Arc<Entry>> {
        let named = |name: &str| self.entries.get(self.names.get(name)?);
        let view = named(owner)?.now();
        let target = links::target(&view.host.links, alias)?;
        named(&target).cloned()
    }
}

/// One container, as verbs see it.
pub(crate) struct Entry {
    pub(crate) id: String,
    pub(crate) mailbox: mpsc::UnboundedSender<Command>,
    pub(crate) view: watch::Receiver<Arc<View>>,
    io: Mutex<Io>,
    /// What others are called now, as its record on disk has it in its links, and its supervisor does not yet.
    renames: Mutex<Vec<Renamed>>,
    /// Held for reading by those who look at the container's files, and for writing by a start, which mounts them.
    pub(crate) files: Turns,
}

/// Another container has another name.
#[derive(Clone, Debug)]
pub(crate) struct Renamed {
    pub(crate) old: String,
    pub(crate) new: String,
}

/// What attaching and exec need of the present run; never held across an `await`.
#[derive(Default)]
pub(crate) struct Io {
    /// The process, from before it runs.
    pub(crate) task: Option<Task>,
    /// It may run, and its shim has not said so to this daemon.
    pub(crate) unresolved: bool,
    /// Clients that attached before there was one.
    pub(crate) pending: Vec<Pending>,
    /// How many of them have sent something and are gone.
    pub(crate) left: usize,
    /// What the next run finds of its stdin.
    pub(crate) input: Input,
}

/// The stdin of a run that has not begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Input {
    /// It is open, if it was asked for.
    #[default]
    Open,
    /// Who attached before the start is gone, and it ends with him (`StdinOnce`).
    Over,
}

impl Io {
    /// Lets those go who wait for a start that failed.
    pub(crate) fn drop_pending(&mut self) {
        self.pending.clear();
        self.task = None;
        self.input = Input::default();
    }
}

impl Entry {
    /// What others were renamed to since this was asked last.
    pub(crate) fn renames(&self) -> MutexGuard<'_, Vec<Renamed>> {
        self.renames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn io(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process, from before it runs.
    ///
    /// # Errors
    /// If there is none, or nobody knows.
    pub(crate) fn task(&self) -> Result<Task, EngineError> {
        let io = self.io();
        match &io.task {
            Some(task) => Ok(task.clone()),
            None if io.unresolved && self.now().state.running => Err(EngineError::silent(&self.id)),
            None => Err(EngineError::not_running(&self.id)),
        }
    }

    /// The container as it is now.
    pub(crate) fn now(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Asks the supervisor, and waits for its word.
    pub(crate) async fn ask(&self, event: Event) -> Result<(), EngineError> {
        self.ask_with(event, Patience::default()).await
    }

    pub(crate) async fn ask_with(
        &self,
        event: Event,
        patience: Patience,
    ) -> Result<(), EngineError> {
        self.send(|reply| Command::Ask {
            event,
            patience,
            reply,
        })
        .await
    }

    pub(crate) async fn send(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), EngineError>>) -> Command,
    ) -> Result<(), EngineError> {
        let (reply, answer) = oneshot::channel();
        let gone = || EngineError::NoSuchContainer(self.id.clone());
        self.mailbox.send(command(reply)).map_err(|_| gone())?;
        // The supervisor ends with its container, and drops what is still asked.
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the view is as wanted.
    pub(crate) async fn until(&self, wanted: impl FnMut(&Arc<View>) -> bool) -> Arc<View> {
        let mut view = self.view.clone();
        let found = view.wait_for(wanted).await.map(|view| view.clone());
        // The supervisor is gone, and so is the container: its last view is the truth.
        found.unwrap_or_else(|_| self.now())
    }
}

impl Shared {
    /// The settings as they are now: some can change.
    pub(crate) fn settings(&self) -> Arc<EngineConfig> {
        let live = self.live.read();
        live.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The user namespace to mount the files of a container with, if it has one of its own. Blocks.
    pub(crate) fn mount_user(&self, host: &HostConfig) -> Result<Option<MountUser>, EngineError> {
        let Some(remap) = crate::userns::of(&self.config, host) else {
            return Ok(None);
        };
        let namespace = self.user_for_mounts.get(&self.tasks, remap)?;
        let root = remap.root();
        Ok(Some(MountUser { namespace, root }))
    }

    /// The container that `text` means: a full id, a name, a unique beginning of an id, in this order.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Entry>, EngineError> {
        let registry = self.read();
        let none = || EngineError::NoSuchContainer(text.to_owned());
        if let Some(entry) = registry.entries.get(text) {
            return Ok(entry.clone());
        }
        let name = text.strip_prefix('/').unwrap_or(text);
        if let Some(entry) = registry
            .names
            .get(name)
            .and_then(|id| registry.entries.get(id))
        {
            return Ok(entry.clone());
        }
        if let Some((owner, alias)) = name.split_once('/') {
            return registry.by_link(owner, alias).ok_or_else(none);
        }
        if text.is_empty() {
            return Err(none());
        }
        let mut found = registry
            .entries
            .range(text.to_owned()..)
            .take_while(|(id, _)| id.starts_with(text));
        match (found.next(), found.next()) {
            (Some((_, entry)), None) => Ok(entry.clone()),
            (None, _) => Err(none()),
            _ => Err(EngineError::AmbiguousPrefix(text.to_owned())),
        }
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.read().entries.values().cloned().collect()
    }

    pub(crate) fn views(&self) -> Vec<Arc<View>> {
        self.read()
            .entries
            .values()
            .map(|entry| entry.now())
            .collect()
    }

    /// Promises `name` (or a made-up one) to the container `id`.
    pub(crate) fn reserve_name(
        self: &Arc<Self>,
        name: Option<&str>,
        id: &str,
    ) -> Result<NameHold, EngineError> {
        let mut registry = self.write();
        let name = match name {
            Some(name) => match registry.names.get(name) {
                Some(holder) => {
                    let (name, holder) = (name.to_owned(), holder.clone());
                    return Err(EngineError::NameInUse { name, holder });
                }
                None => name.to_owned(),
            },
            None => (0..6)
                .map(names::made_up)
                .find(|name| !registry.names.contains_key(name))
                // As Docker: with all names taken, the short id is one.
                .unwrap_or_else(|| id.chars().take(12).collect()),
        };
        registry.names.insert(name.clone(), id.to_owned());
        Ok(NameHold {
            shared: self.clone(),
            name,
            id: id.to_owned(),
            kept: false,
        })
    }

    /// Takes a container in, and starts its supervisor.
    pub(crate) fn enter(self: &Arc<Self>, mut record: Record) -> (Arc<Entry>, Supervisor) {
        // Records of before do not say it.
        record.state.own_stop_signal = stop::has_stop_signal(&record.config);
        let (mailbox, commands) = mpsc::unbounded_channel();
        let (publish, view) = watch::channel(Arc::new(record.view(&self.folders, false)));
        let entry = Arc::new(Entry {
            id: record.id.clone(),
            mailbox,
            view,
            io: Mutex::default(),
            renames: Mutex::default(),
            files: Turns::default(),
        });
        let mut registry = self.write();
        registry
            .names
            .insert(record.name.clone(), record.id.clone());
        registry.entries.insert(record.id.clone(), entry.clone());
        drop(registry);
        let supervisor = Supervisor::new(self.clone(), entry.clone(), record, publish, commands);
        (entry, supervisor)
    }

    /// As [`Shared::find`]; by its whole id also one that has just removed itself. A client that starts a container and then waits
    /// for it is slower than a short process: of dockerd, which takes its time, it would hear the exit code.
    ///
    /// # Errors
    /// If there is no such container.
    pub(crate) fn find_or_gone(&self, container: &str) -> Result<Arc<Entry>, EngineError> {
        self.find(container).or_else(|error| {
            let registry = self.registry.read().unwrap_or_else(PoisonError::into_inner);
            let gone = registry.gone.iter().find(|entry| entry.id == container);
            gone.cloned().ok_or(error)
        })
    }

    /// A container is gone: neither its id nor its name means anything any more.
    pub(crate) fn forget(&self, record: &Record) {
        let mut registry = self.write();
        let entry = registry.entries.remove(&record.id);
        if let Some(entry) = entry.filter(|_| record.state.auto_remove) {
            registry.gone.truncate(GONE - 1);
            registry.gone.push_front(entry);
        }
        registry.release(&record.name, &record.id);
        drop(registry);
        self.execs.forget(&record.id);
    }

    pub(crate) fn emit(
        &self,
        id: &str,
        name: &str,
        config: &Config,
        action: &str,
        more: &[(&str, String)],
    ) {
        let mut attributes = config.labels.clone();
        attributes.insert("image".to_owned(), config.image.clone());
        attributes.insert("name".to_owned(), name.to_owned());
        for (key, value) in more {
            attributes.insert((*key).to_owned(), value.clone());
        }
        self.events
            .emit(EventKind::Container, action, id, attributes);
    }

    /// `connect` and `disconnect`, which are events of the networks.
    pub(crate) fn emit_networks(&self, action: &str, id: &str, network: &NetworkView) {
        for (name, endpoint) in &network.endpoints {
            let driver = self
                .networks
                .get(name)
                .map(|network| network.driver.to_string());
            let attributes = [
                ("container".to_owned(), id.to_owned()),
                ("name".to_owned(), name.clone()),
                ("type".to_owned(), driver.unwrap_or_default()),
            ];
            let actor = &endpoint.network_id;
            self.events
                .emit(EventKind::Network, action, actor, attributes.into());
        }
    }

    /// `mount` and `unmount`, which are events of the volumes.
    pub(crate) fn emit_volumes(&self, action: &str, record: &Record) {
        for mount in record.mounts.iter().filter(|mount| mount.kind == "volume") {
            let mut attributes: BTreeMap<_, _> = [
                ("container".to_owned(), record.id.clone()),
                ("driver".to_owned(), mount.driver.clone()),
            ]
            .into();
            if action == "mount" {
                attributes.extend([
                    ("destination".to_owned(), mount.destination.clone()),
                    ("propagation".to_owned(), mount.propagation.clone()),
                    ("read/write".to_owned(), mount.rw.to_string()),
                ]);
            }
            self.events
                .emit(EventKind::Volume, action, &mount.name, attributes);
        }
    }

    pub(crate) fn emit_view(&self, view: &View, action: &str, more: &[(&str, String)]) {
        self.emit(&view.id, &view.name, &view.config, action, more);
    }

    /// Ids of the containers that use the volume `name`.
    pub(crate) fn volume_users(&self, name: &str) -> Vec<String> {
        let uses = |view: &Arc<View>| view.mounts.iter().any(|mount| mount.name == name);
        self.views()
            .iter()
            .filter(|view| uses(view))
            .map(|view| view.id.clone())
            .collect()
    }

    /// Removes the volumes of a container that nobody named and nobody else uses.
    pub(crate) fn remove_anonymous_volumes(&self, record: &Record) {
        let mounts = record.mounts.iter();
        self.remove_unused_volumes(mounts.filter(|mount| mount.anonymous), &record.id);
    }

    /// Removes the volumes of `mounts` that no container but `id` uses.
    pub(crate) fn remove_unused_volumes<'a>(
        &self,
        mounts: impl Iterator<Item = &'a MountPoint>,
        id: &str,
    ) {
        for mount in mounts.filter(|mount| !mount.name.is_empty()) {
            let others = |name: &wharf_volumes::VolumeName| {
                let mut users = self.volume_users(name.as_str());
                users.retain(|user| user != id);
                users
            };
            match self.volumes.remove(&mount.name, others) {
                Ok(()) => {
                    let driver = [("driver".to_owned(), mount.driver.clone())].into();
                    self.events
                        .emit(EventKind::Volume, "destroy", &mount.name, driver);
                }
                Err(
                    wharf_volumes::VolumeError::NotFound(_)
                    | wharf_volumes::VolumeError::InUse { .. },
                ) => {}
                Err(error) => {
                    warn!(
                        volume = mount.name,
                        error = wharf_sys::words::chain(&error),
                        "remove the volume"
                    );
                }
            }
        }
    }

    /// Removes the container's own layer, and the snapshots of images that it mounts.
    pub(crate) fn remove_layers(&self, id: &str) {
        let all = self.snapshots.list_rw().unwrap_or_default();
        for layer in all.iter().filter(|layer| container_of(layer) == id) {
            if let Err(error) = self.snapshots.remove_rw(layer) {
                warn!(
                    container = id,
                    layer,
                    error = wharf_sys::words::chain(&error),
                    "remove the layer"
                );
            }
        }
    }

    /// Deletes what a container leaves on disk. Its record is gone: what this does not finish, the next start
    /// of the daemon sweeps.
    pub(crate) fn remove_files(&self, id: &str) {
        self.remove_layers(id);
        match std::fs::remove_dir_all(self.folders.of(id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(container = id, %error, "remove the folder");
            }
            _ => {}
        }
    }

    /// Sees to it that what removed volumes have left is deleted.
    pub(crate) fn empty_trash(&self) {
        self.volumes.empty_trash_in_background(|error| {
            warn!(
                error = wharf_sys::words::chain(&error),
                "empty the trash of volumes"
            );
        });
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Registry> {
        self.registry.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Registry> {
        self.registry
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The container that a snapshot belongs to: its own layer has its id, others have more behind a dot.
pub(crate) fn container_of(layer: &str) -> &str {
    layer.split_once('.').map_or(layer, |(id, _)| id)
}

/// A promised name; free again if it is dropped before it is kept.
pub(crate) struct NameHold {
    shared: Arc<Shared>,
    name: String,
    /// Of the container that it is promised to.
    id: String,
    kept: bool,
}

impl NameHold {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keep(mut self) {
        self.kept = true;
    }

    /// Keeps it instead of `old`, which is free then, unless it is somebody else's by now.
    pub(crate) fn keep_instead_of(self, old: &str) {
        let (shared, id) = (self.shared.clone(), self.id.clone());
        self.keep();
        shared.write().release(old, &id);
    }
}

impl Registry {
    /// The name `name` means nothing any more, if it has meant `id`.
    fn release(&mut self, name: &str, id: &str) {
        if self.names.get(name).is_some_and(|holder| holder == id) {
            self.names.remove(name);
        }
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        if !self.kept {
            self.shared.write().release(&self.name, &self.id);
        }
    }
}
