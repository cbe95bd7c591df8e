//! Files below one root. What is read by its key is whole: files appear by rename, after their bytes are on the disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;
use crate::error::io_at;
use crate::names::uuid;

/// Ours alone, below the root: the lock, and files that are on their way.
const OWN: &str = ".wharf";
/// How often something is put into a folder that others take away as it is empty.
const ATTEMPTS: usize = 10;

/// A storage folder, held by this process alone.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    /// The lock on the folder goes with the file.
    _lock: File,
}

/// One thing in a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
}

impl Directory {
    /// Opens the folder `root`, and makes it if it is not there.
    ///
    /// # Errors
    /// If another process serves it, or the system refuses.
    pub(crate) fn open(root: &Path) -> Result<Directory, Error> {
        let own = root.join(OWN);
        fs::create_dir_all(&own).map_err(io_at("make", &own))?;
        let path = own.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io_at("open", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Config(format!(
                    "{} is in use by another registry",
                    root.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(io_at("lock", &path)(error)),
        }
        let way = own.join("tmp");
        // What was on its way when the last process ended belongs to nobody.
        match fs::remove_dir_all(&way) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(io_at("remove", &way)(error));
            }
            _ => {}
        }
        fs::create_dir_all(&way).map_err(io_at("make", &way))?;
        Ok(Directory {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// A small file as a whole; `None` if there is none.
    pub(crate) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(key);
        found(fs::read(&path)).map_err(io_at("read", &path))
    }

    /// Opens a file for reading; `None` if there is none.
    pub(crate) fn open_file(&self, key: &str) -> Result<Option<File>, Error> {
        let path = self.path(key);
        found(File::open(&path)).map_err(io_at("open", &path))
    }

    /// Size in bytes and time of the last change; `None` if there is no such file.
    pub(crate) fn stat(&self, key: &str) -> Result<Option<(u64, SystemTime)>, Error> {
        let path = self.path(key);
        let stat = found(fs::metadata(&path)).map_err(io_at("look at", &path))?;
        Ok(stat.map(|stat| {
            (
                stat.len(),
                stat.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            )
        }))
    }

    /// Puts a small file in place, on the disk when this returns.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        let way = self.on_the_way();
        let write = || {
            let mut file = File::create_new(&way)?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        let written = write().map_err(io_at("write", &way));
        let placed = written.and_then(|()| self.place(&way, key));
        if placed.is_err() {
            let _ = fs::remove_file(&way);
        }
        placed
    }

    /// Moves a file of ours whose bytes are on the disk to its key.
    pub(crate) fn place(&self, from: &Path, key: &str) -> Result<(), Error> {
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        let mut attempts = 0;
        loop {
            self.make_folder(parent)?;
            match fs::rename(from, &path) {
                Ok(()) => return sync_folder(parent),
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                }
                Err(error) => return Err(io_at("place", &path)(error)),
            }
        }
    }

    /// Makes a folder with all above it, on the disk when this returns.
    pub(crate) fn make_folder(&self, path: &Path) -> Result<(), Error> {
        let parent = path.parent().unwrap_or(&self.root);
        // A folder that was emptied may be taken away under our hands.
        let mut attempts = 0;
        loop {
            match fs::create_dir(path) {
                Ok(()) => return sync_folder(parent),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                    self.make_folder(parent)?;
                }
                Err(error) => return Err(io_at("make", path)(error)),
            }
        }
    }

    /// Takes a file away, and the folders above it that are empty now, up to the one named `keep`.
    pub(crate) fn remove_file(&self, key: &str, keep: &str) -> Result<(), Error> {
        let path = self.path(key);
        if found(fs::remove_file(&path))
            .map_err(io_at("remove", &path))?
            .is_none()
        {
            return Ok(());
        }
        let mut parent = path.parent();
        while let Some(folder) = parent.filter(|folder| !folder.ends_with(keep)) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
            parent = folder.parent();
        }
        Ok(())
    }

    /// Takes a folder away with all in it: at once for who reads by keys, and then piece by piece.
    pub(crate) fn remove_folder(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key);
        let way = self.on_the_way();
        if found(fs::rename(&path, &way))
            .map_err(io_at("remove", &path))?
            .is_none()
        {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
        // What stays goes at the next start.
        let _ = fs::remove_dir_all(&way);
        Ok(())
    }

    /// What is in a folder, by name; nothing if there is no such folder.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<Entry>, Error> {
        let path = self.path(key);
        let Some(entries) = found(fs::read_dir(&path)).map_err(io_at("read", &path))? else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io_at("read", &path))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            all.push(Entry { name, is_folder });
        }
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// A name for a file that is not in its place yet.
    pub(crate) fn on_the_way(&self) -> PathBuf {
        self.root.join(OWN).join("tmp").join(uuid())
    }
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn sync_folder(path: &Path) -> Result<(), Error> {
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // Taken away again by who emptied it.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(io_at("sync", path)),
    }
}
