//! The store: its folders, and what is in memory of them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf_content::Settle;
use wharf_oci::ChainId;
use wharf_sys::trash::Sweeper;

use crate::SnapshotError;
use crate::error::io_at;

/// All layers and writable layers below one folder. Clones share them. One process owns the folder.
#[derive(Debug, Clone)]
pub struct Snapshots {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) settle: Settle,
    index: Mutex<Index>,
    /// Makes names in `stage` and `trash`.
    counter: AtomicU64,
    /// Whether a thread empties the trash.
    pub(crate) sweeper: Sweeper,
}

/// What is on the disk, so that no folder is read to answer a question.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Size of each layer in bytes.
    pub(crate) layers: HashMap<ChainId, u64>,
    /// The layers of each container, bottom first.
    pub(crate) rw: HashMap<String, Vec<ChainId>>,
    /// Containers with a writable layer that does not say what it stands on. While there is one, no layer is deleted.
    pub(crate) broken: HashSet<String>,
}

impl Snapshots {
    /// Opens the snapshots in `dir`, and makes the folder if it is not there. What a kill left half-made goes.
    ///
    /// # Errors
    /// If a folder cannot be made or read.
    pub fn open(dir: &Path) -> Result<Snapshots, SnapshotError> {
        for name in ["layers", "rw", "empty", "stage", "trash"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(io_at("make", &path))?;
        }
        let markers = dir.join("unsettled");
        let (settle, lost) = Settle::open(&markers).map_err(io_at("open", &markers))?;
        let snapshots = Snapshots {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                settle,
                index: Mutex::default(),
                counter: AtomicU64::new(0),
                sweeper: Sweeper::default(),
            }),
        };
        for stage in snapshots.names("stage")? {
            snapshots.discard(&dir.join("stage").join(stage))?;
        }
        for name in lost {
            snapshots.discard(&dir.join("layers").join(&name))?;
            snapshots.shared.settle.forget(&name);
        }
        snapshots.load_rw()?;
        snapshots.load_layers()?;
        snapshots.sweep_in_background();
        Ok(snapshots)
    }

    pub(crate) fn index(&self) -> MutexGuard<'_, Index> {
        self.shared
            .index
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.shared.dir.join(name)
    }

    /// A path in `stage` or `trash` where nothing is.
    pub(crate) fn fresh(&self, folder: &str) -> PathBuf {
        let number = self.shared.counter.fetch_add(1, Ordering::Relaxed);
        self.path(folder)
            .join(format!("{}-{number}", std::process::id()))
    }

    /// The names in one of our folders.
    pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>, SnapshotError> {
        let path = self.path(folder);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(io_at("read", &path))? {
            let entry = entry.map_err(io_at("read", &path))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// Reads an `about` file: its version, and the words behind it.
pub(crate) fn read_about(path: &Path) -> Result<(u32, Vec<String>), SnapshotError> {
    let text = fs::read_to_string(path).map_err(io_at("read", path))?;
    let mut words = text.split_ascii_whitespace().map(str::to_owned);
    let version = words.next().and_then(|word| word.parse().ok());
    let version = version.ok_or_else(|| SnapshotError::Damaged(path.to_owned()))?;
    Ok((version, words.collect()))
}

pub(crate) fn chain_id(word: &str, path: &Path) -> Result<ChainId, SnapshotError> {
    word.parse()
        .map(ChainId)
        .map_err(|_| SnapshotError::Damaged(path.to_owned()))
}
