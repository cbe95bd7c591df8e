//! The volumes of one data root, and how they are found.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use wharf_records::Db;
use wharf_sys::trash::Sweeper;

use crate::create::NewVolume;
use crate::drivers::{Drivers, PluginFolders};
use crate::local::LocalOptions;
use crate::mount::Holders;
use crate::plugin::{Fault, PluginVolume, unreachable};
use crate::record::{LOCAL, Mounted, Phase, Record, VOLUMES};
use crate::{Volume, VolumeError, VolumeName, local, quota};

/// Removed volumes wait here for their files to be deleted; no volume name begins with a dot.
const TRASH: &str = ".trash";

/// How many folders within each other are looked at for their size.
const MAX_DEPTH: usize = 400;

/// All named volumes. Clones share the store.
#[derive(Clone)]
pub struct Volumes {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) db: Db,
    pub(crate) drivers: Drivers,
    pub(crate) holders: Mutex<BTreeMap<VolumeName, Holders>>,
    /// Of plugins, and promised by a predecessor to containers that did not come to be.
    pub(crate) forsaken: Mutex<Vec<VolumeName>>,
    /// Mounted by plugins for holders of a predecessor's that are gone.
    pub(crate) left: Mutex<Vec<Mounted>>,
    /// Who makes or removes a volume while its plugin takes its time, one after the other.
    turns: Mutex<BTreeMap<VolumeName, Turn>>,
    records: Mutex<BTreeMap<VolumeName, Record>>,
    references: Mutex<BTreeMap<VolumeName, BTreeSet<String>>>,
    sweeper: Sweeper,
}

/// Held by whoever makes or removes the volume of a name; to be locked before anything else.
pub(crate) type Turn = Arc<Mutex<()>>;

pub(crate) fn lock_turn(turn: &Turn) -> MutexGuard<'_, ()> {
    turn.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All volumes that can be seen.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// By name.
    pub volumes: Vec<Volume>,
    /// What a plugin said instead of an answer.
    pub warnings: Vec<String>,
}

impl Volumes {
    /// Opens the store in `folder`, finishes removals that a kill cut short, and adopts folders without a
    /// record.
    ///
    /// # Errors
    /// If records or folders cannot be read or written.
    pub fn open(folder: &Path, db: Db) -> Result<Self, VolumeError> {
        Self::open_with(folder, db, PluginFolders::default())
    }

    /// As [`Volumes::open`], with plugins in `plugins`.
    ///
    /// # Errors
    /// As [`Volumes::open`].
    pub fn open_with(folder: &Path, db: Db, plugins: PluginFolders) -> Result<Self, VolumeError> {
        // 0711: a container's user walks through it to its own bind mounts only by descriptor, but rootless
        // tools want to stat a volume that they own.
        make_folder(folder, 0o711)?;
        make_folder(&folder.join(TRASH), 0o700)?;
        let records = db.read(|tx| VOLUMES.all(tx))?;
        let records = records
            .into_iter()
            .map(|(_, record)| (record.name.clone(), record));
        let volumes = Self {
            inner: Arc::new(Inner {
                folder: folder.to_owned(),
                db,
                drivers: Drivers::new(plugins),
                holders: Mutex::default(),
                forsaken: Mutex::default(),
                left: Mutex::default(),
                turns: Mutex::default(),
                records: Mutex::new(records.collect()),
                references: Mutex::default(),
                sweeper: Sweeper::default(),
            }),
        };
        volumes.recover()?;
        Ok(volumes)
    }

    /// The volume `name`; one that only a plugin knows is found too. Blocks while a plugin is asked.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`]; if its plugin does not answer, or one that may have it.
    pub fn get(&self, name: &str) -> Result<Volume, VolumeError> {
        let not_found = || VolumeError::NotFound(name.to_owned());
        let parsed = VolumeName::parse(name).map_err(|_| not_found())?;
        let known = self.kept(&parsed);
        match known {
            Some(record) => self.view(&record),
            None => self.in_any_plugin("get", name)?.ok_or_else(not_found),
        }
    }

    /// All volumes, by name: ours, and whatever plugins say that they have. Blocks while they are asked.
    pub fn list(&self) -> Listed {
        let records: Vec<Record> = {
            let records = self.lock();
            let kept = records.values();
            kept.filter(|record| record.phase.is_there())
                .cloned()
                .collect()
        };
        let mut listed = Listed::default();
        let local = records.iter().filter(|record| record.is_local());
        listed
            .volumes
            .extend(local.map(|record| self.local_view(record)));
        for (driver, found) in self.inner.drivers.ask_all(|driver| driver.list()) {
            let found = match found {
                Ok(found) => found,
                Err(fault) => {
                    listed
                        .warnings
                        .push(format!("list {}: {fault}", driver.name));
                    // What is known of them is shown, though nothing can be done with them now.
                    let of_it = records.iter().filter(|record| record.driver == driver.name);
                    of_it.map(remembered).collect()
                }
            };
            for volume in found {
                let known = records.iter().find(|record| {
                    record.driver == driver.name && record.name.as_str() == volume.name
                });
                let view = plugin_view(volume, &driver.name, &driver.scope, known);
                listed.volumes.extend(view);
            }
        }
        listed.volumes.sort_by(|a, b| a.name.cmp(&b.name));
        listed
    }

    /// The names of the drivers that are in use.
    pub fn drivers(&self) -> Vec<String> {
        let mut names = self.inner.drivers.names();
        names.push(LOCAL.to_owned());
        names.sort();
        names
    }

    /// How many bytes of disk the volume `name` takes, hard links counted once.
    ///
    /// # Errors
    /// If there is no such volume, or its files cannot be listed.
    pub fn usage(&self, name: &str) -> Result<u64, VolumeError> {
        let volume = self.get(name)?;
        crate::store::disk_usage(&volume.mountpoint)
            .map_err(VolumeError::folder("list", &volume.mountpoint))
    }

    /// Deletes the files of removed volumes; what cannot be deleted keeps no other from it. Slow: call it off the
    /// request's path.
    ///
    /// # Errors
    /// The first of the system's; the next call tries again.
    pub fn empty_trash(&self) -> Result<(), VolumeError> {
        let trash = self.trash();
        let list = VolumeError::folder("list", &trash);
        let mut refused = Ok(());
        for entry in std::fs::read_dir(&trash).map_err(&list)? {
            let name = entry.map_err(&list)?.file_name();
            match self.delete_from_trash(&name) {
                // Somebody else empties it, too.
                Err(VolumeError::Folder { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound => {}
                done => refused = refused.and(done),
            }
        }
        refused
    }

    /// As [`Volumes::empty_trash`], on a thread of its own, of which there is one however often this is called. `failed` is told
    /// what goes wrong.
    pub fn empty_trash_in_background(&self, failed: impl Fn(VolumeError) + Send + 'static) {
        let sweeper = &self.inner.sweeper;
        if !sweeper.ask() {
            return;
        }
        let volumes = self.clone();
        let sweep = move || {
            let empty = || volumes.empty_trash().unwrap_or_else(&failed);
            volumes.inner.sweeper.run(empty);
        };
        let thread = std::thread::Builder::new().name("sweep".to_owned());
        if thread.spawn(sweep).is_err() {
            // It stays for the next one that is removed, or the next start.
            sweeper.give_up();
        }
    }

    fn delete_from_trash(&self, name: &OsStr) -> Result<(), VolumeError> {
        let trash = self.trash();
        let path = trash.join(name);
        // Never through a mount into somebody else's files.
        let data = path.join("_data");
        match local::unmount(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(VolumeError::folder("unmount", &data)(error));
            }
            _ => {}
        }
        let project = quota::of(&data);
        let failed = VolumeError::folder("remove", &path);
        let top = std::fs::File::open(&trash).map_err(&failed)?;
        wharf_sys::trash::remove(top.as_fd(), name).map_err(&failed)?;
        if let Some(project) = project
            && let Err(error) = quota::forget(&trash, project)
        {
            tracing::warn!(%error, project, "the limit of a removed volume stays");
        }
        Ok(())
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.inner.folder.join(TRASH)
    }

    pub(crate) fn data_folder(&self, name: &VolumeName) -> PathBuf {
        self.inner.folder.join(name.as_str()).join("_data")
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Record>> {
        // Every change is one insert or removal after its record was written: a panic leaves no half.
        self.inner
            .records
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put(&self, record: &Record) -> Result<(), VolumeError> {
        let key = record.name.as_str();
        Ok(self.inner.db.write(|tx| VOLUMES.put(tx, key, record))?)
    }

    /// The volume `name` is needed for `reference` until [`Volumes::release`]: nobody removes it.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn need(&self, name: &str, reference: &str) -> Result<(), VolumeError> {
        let new = NewVolume {
            name: name.to_owned(),
            reference: Some(reference.to_owned()),
            ..NewVolume::default()
        };
        let found = self.refer(&new);
        found
            .map(drop)
            .ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    /// Nobody needs anything any more for `reference`, which the creation of volumes was given.
    pub fn release(&self, reference: &str) {
        self.references().retain(|_, references| {
            references.remove(reference);
            !references.is_empty()
        });
    }

    pub(crate) fn turn(&self, name: &VolumeName) -> Turn {
        let mut turns = self
            .inner
            .turns
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(name.clone()).or_default().clone()
    }

    pub(crate) fn left(&self) -> MutexGuard<'_, Vec<Mounted>> {
        let left = self.inner.left.lock();
        left.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forsaken(&self) -> MutexGuard<'_, Vec<VolumeName>> {
        let forsaken = self.inner.forsaken.lock();
        forsaken.unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn references(&self) -> MutexGuard<'_, BTreeMap<VolumeName, BTreeSet<String>>> {
        self.inner
            .references
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The record of the volume of that name, if there is one; it is referred to before anybody can remove it.
    pub(crate) fn refer(&self, new: &NewVolume) -> Option<Record> {
        let name = VolumeName::parse(&new.name).ok()?;
        let records = self.lock();
        let record = records.get(&name)?;
        if !record.phase.is_there() {
            return None;
        }
        self.add_reference(&name, new);
        Some(record.clone())
    }

    /// Whoever asked for `new` needs the volume `name` from now on. To be called with the records locked: then nobody
    /// removes it in between.
    pub(crate) fn add_reference(&self, name: &VolumeName, new: &NewVolume) {
        if let Some(reference) = &new.reference {
            let mut references = self.references();
            let of_volume = references.entry(name.clone()).or_default();
            of_volume.insert(reference.clone());
        }
    }

    pub(crate) fn drop_reference(&self, new: &NewVolume) {
        let (Ok(name), Some(reference)) = (VolumeName::parse(&new.name), &new.reference) else {
            return;
        };
        let mut references = self.references();
        if let Some(of_volume) = references.get_mut(&name) {
            of_volume.remove(reference);
            if of_volume.is_empty() {
                references.remove(&name);
            }
        }
    }

    pub(crate) fn kept(&self, name: &VolumeName) -> Option<Record> {
        let known = self.lock().get(name).cloned();
        known.filter(|record| record.phase.is_there())
    }

    /// The record goes, whatever it stood for is gone already.
    pub(crate) fn forget(&self, name: &VolumeName) -> Result<(), VolumeError> {
        let mut records = self.lock();
        self.inner
            .db
            .write(|tx| VOLUMES.delete(tx, name.as_str()))?;
        records.remove(name);
        Ok(())
    }

    /// Whether the plugin of `record` has it still.
    pub(crate) fn is_in_plugin(&self, record: &Record) -> Result<bool, VolumeError> {
        let name = record.name.as_str();
        let plugin = self.inner.drivers.activated(&record.driver, name)?;
        match plugin.get(name) {
            Ok(_) => Ok(true),
            Err(Fault::Said(_)) => Ok(false),
            Err(Fault::Silent(reason)) => Err(silent(record, &reason)),
        }
    }

    /// The volume `name` as the first plugin that has it describes it.
    ///
    /// # Errors
    /// If none says that it has it, and one of those that have answered before does not now: it is not known then that
    /// there is no such volume. `operation` is what it is looked for.
    pub(crate) fn in_any_plugin(
        &self,
        operation: &'static str,
        name: &str,
    ) -> Result<Option<Volume>, VolumeError> {
        let drivers = &self.inner.drivers;
        let mut unknown = Ok(None);
        for (driver, found) in drivers.ask_all(|driver| driver.get(name)) {
            match found {
                Ok(found) => {
                    let view = plugin_view(found, &driver.name, &driver.scope, None);
                    if view.is_some() {
                        return Ok(view);
                    }
                }
                Err(Fault::Silent(reason)) if drivers.is_installed(&driver.name) => {
                    unknown = Err(VolumeError::Plugin {
                        operation,
                        name: name.to_owned(),
                        reason: unreachable(name, &driver.name, &reason),
                    });
                }
                Err(Fault::Said(_) | Fault::Silent(_)) => {}
            }
        }
        unknown
    }

    /// Blocks while a plugin is asked.
    pub(crate) fn view(&self, record: &Record) -> Result<Volume, VolumeError> {
        if record.is_local() {
            return Ok(self.local_view(record));
        }
        let name = record.name.as_str();
        let driver = self.inner.drivers.activated(&record.driver, name)?;
        let mut found = driver.get(name).map_err(|fault| match fault {
            Fault::Said(_) => VolumeError::NotFound(name.to_owned()),
            Fault::Silent(reason) => silent(record, &reason),
        })?;
        if found.mountpoint.is_empty() {
            // Old plugins say it only when they are asked for it alone.
            found.mountpoint = driver.path(name).unwrap_or_default().display().to_string();
        }
        let view = plugin_view(found, &driver.name, &driver.scope, Some(record));
        view.ok_or_else(|| VolumeError::NotFound(name.to_owned()))
    }

    fn local_view(&self, record: &Record) -> Volume {
        Volume {
            name: record.name.clone(),
            created: Some(record.created),
            labels: record.labels.clone(),
            anonymous: record.anonymous,
            mountpoint: self.data_folder(&record.name),
            driver: LOCAL.to_owned(),
            options: record.options.clone(),
            scope: "local".to_owned(),
            status: None,
        }
    }

    fn recover(&self) -> Result<(), VolumeError> {
        let mut records = self.lock();
        let known: Vec<Record> = records.values().cloned().collect();
        for record in known {
            match (record.phase, record.is_local()) {
                (Phase::Kept, true) => {
                    let folder = self.data_folder(&record.name);
                    match make_folder(&folder, 0o755) {
                        Ok(()) => hold_again(&record, &folder),
                        // Whoever uses it will see; the others need not.
                        Err(error) => complain(&record, &error, "make its folder"),
                    }
                }
                (Phase::Kept, false) => {}
                // Its plugin may not be up yet: see `remove_forsaken`.
                (Phase::Promised, false) => self.forsaken().push(record.name),
                (Phase::Promised | Phase::Removing, _) => {
                    if let Err(error) = self.remove_locked(&mut records, &record.name) {
                        complain(&record, &error, "remove it; the next start tries again");
                    }
                }
            }
        }
        self.adopt(&mut records)
    }

    fn adopt(&self, records: &mut BTreeMap<VolumeName, Record>) -> Result<(), VolumeError> {
        let list = VolumeError::folder("list", &self.inner.folder);
        for entry in std::fs::read_dir(&self.inner.folder).map_err(&list)? {
            let entry = entry.map_err(&list)?;
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| VolumeName::parse(name).ok()) else {
                continue;
            };
            if records.contains_key(&name) || !self.data_folder(&name).is_dir() {
                continue;
            }
            let record = Record {
                name: name.clone(),
                created: Timestamp::now(),
                labels: None,
                anonymous: false,
                phase: Phase::Kept,
                driver: LOCAL.to_owned(),
                options: None,
            };
            self.put(&record)?;
            records.insert(name, record);
        }
        Ok(())
    }
}

/// A kill may have come between the folder and its limit.
fn hold_again(record: &Record, folder: &Path) {
    let name = record.name.as_str();
    let options = record.options.clone().unwrap_or_default();
    let size = LocalOptions::parse(name, &options).map_or(None, |options| options.size);
    if let Some(bytes) = size
        && let Err(error) = quota::hold(folder, bytes)
    {
        tracing::warn!(%error, volume = name, "a volume is not held to its size");
    }
}

fn complain(record: &Record, error: &VolumeError, what: &str) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::error!(volume = record.name.as_str(), %error, source, "{what}");
}

fn silent(record: &Record, reason: &str) -> VolumeError {
    VolumeError::Plugin {
        operation: "get",
        name: record.name.as_str().to_owned(),
        reason: unreachable(record.name.as_str(), &record.driver, reason),
    }
}

fn remembered(record: &Record) -> PluginVolume {
    PluginVolume {
        name: record.name.as_str().to_owned(),
        created_at: record.created.to_string(),
        ..PluginVolume::default()
    }
}

/// What a plugin says of a volume, and what is kept of it here. Nothing if its name is none of ours.
fn plugin_view(
    found: PluginVolume,
    driver: &str,
    scope: &str,
    record: Option<&Record>,
) -> Option<Volume> {
    Some(Volume {
        name: VolumeName::parse(&found.name).ok()?,
        created: found.created_at.parse().ok(),
        labels: record.and_then(|record| record.labels.clone()),
        anonymous: record.is_some_and(|record| record.anonymous),
        mountpoint: found.mountpoint.into(),
        driver: driver.to_owned(),
        options: record.and_then(|record| record.options.clone()),
        scope: scope.to_owned(),
        status: found.status,
    })
}

/// Makes `path` and what is missing above it; one that is there stays as it is.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), VolumeError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(VolumeError::folder("make", parent))?;
    }
    match std::fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(VolumeError::folder("make", path)),
    }
}

/// Bytes of the files below `folder` on its own file system, hard links counted once. By descriptor: who writes to the
/// volume meanwhile leads it nowhere else, and what goes in between is not counted. Neither is what is nested deeper than a
/// process may have descriptors.
fn disk_usage(folder: &Path) -> std::io::Result<u64> {
    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, openat, statx};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let gone = |error: &rustix::io::Errno| {
        use rustix::io::Errno;
        matches!(*error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
    };
    let top = openat(CWD, folder, flags, Mode::empty())?;
    let of_top = statx(&top, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    let mut seen = std::collections::HashSet::new();
    let mut folders = vec![Dir::new(top)?];
    let mut blocks = 0;
    // Each has one descriptor.
    while let depth = folders.len()
        && let Some(open) = folders.last_mut()
    {
        let Some(entry) = open.next().transpose()? else {
            folders.pop();
            continue;
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let at = AtFlags::SYMLINK_NOFOLLOW;
        let found = match statx(open.fd()?, name, at, StatxFlags::BASIC_STATS) {
            Err(error) if gone(&error) => continue,
            other => other?,
        };
        if (found.stx_dev_major, found.stx_dev_minor)
            != (of_top.stx_dev_major, of_top.stx_dev_minor)
        {
            continue;
        }
        if found.stx_nlink == 1 || seen.insert(found.stx_ino) {
            blocks += found.stx_blocks;
        }
        let is_folder = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Directory;
        if is_folder && depth < MAX_DEPTH {
            match openat(open.fd()?, name, flags, Mode::empty()) {
                Err(error) if gone(&error) => {}
                below => folders.push(Dir::new(below?)?),
            }
        }
    }
    Ok(blocks * 512)
}
