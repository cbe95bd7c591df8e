//! The volumes of one data root, and how they are found.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use wharf_records::Db;

use crate::record::{Phase, Record, VOLUMES};
use crate::{Volume, VolumeError, VolumeName};

/// Removed volumes wait here for their files to be deleted; no volume name begins with a dot.
const TRASH: &str = ".trash";

/// All named volumes. Clones share the store.
#[derive(Clone)]
pub struct Volumes {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) db: Db,
    records: Mutex<BTreeMap<VolumeName, Record>>,
}

impl Volumes {
    /// Opens the store in `folder`, finishes removals that a kill cut short, and adopts folders without a
    /// record.
    ///
    /// # Errors
    /// If records or folders cannot be read or written.
    pub fn open(folder: &Path, db: Db) -> Result<Self, VolumeError> {
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
                records: Mutex::new(records.collect()),
            }),
        };
        volumes.recover()?;
        Ok(volumes)
    }

    /// The volume `name`.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`].
    pub fn get(&self, name: &str) -> Result<Volume, VolumeError> {
        let not_found = || VolumeError::NotFound(name.to_owned());
        let name = VolumeName::parse(name).map_err(|_| not_found())?;
        let records = self.lock();
        let record = records
            .get(&name)
            .filter(|record| record.phase == Phase::Kept);
        record.map(|record| self.view(record)).ok_or_else(not_found)
    }

    /// All volumes, by name.
    pub fn list(&self) -> Vec<Volume> {
        let records = self.lock();
        let kept = records
            .values()
            .filter(|record| record.phase == Phase::Kept);
        kept.map(|record| self.view(record)).collect()
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

    /// Deletes the files of removed volumes. Slow: call it off the request's path.
    ///
    /// # Errors
    /// If a file cannot be deleted; the next call tries again.
    pub fn empty_trash(&self) -> Result<(), VolumeError> {
        let trash = self.trash();
        let list = VolumeError::folder("list", &trash);
        for entry in std::fs::read_dir(&trash).map_err(&list)? {
            let path = entry.map_err(&list)?.path();
            std::fs::remove_dir_all(&path).map_err(VolumeError::folder("remove", &path))?;
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

    pub(crate) fn view(&self, record: &Record) -> Volume {
        Volume {
            name: record.name.clone(),
            created: record.created,
            labels: record.labels.clone(),
            anonymous: record.anonymous,
            mountpoint: self.data_folder(&record.name),
        }
    }

    fn recover(&self) -> Result<(), VolumeError> {
        let mut records = self.lock();
        let (kept, removing): (Vec<_>, Vec<_>) = records
            .values()
            .cloned()
            .partition(|record| record.phase == Phase::Kept);
        for record in kept {
            make_folder(&self.data_folder(&record.name), 0o755)?;
        }
        for record in removing {
            self.finish_removal(&mut records, &record.name)?;
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
                labels: BTreeMap::new(),
                anonymous: false,
                phase: Phase::Kept,
            };
            self.put(&record)?;
            records.insert(name, record);
        }
        Ok(())
    }
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

fn disk_usage(folder: &Path) -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = std::collections::HashSet::new();
    let mut folders = vec![folder.to_owned()];
    let mut blocks = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            // Does not follow a symbolic link: what it leads to is not the volume's.
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            if metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino())) {
                blocks += metadata.blocks();
            }
        }
    }
    Ok(blocks * 512)
}
