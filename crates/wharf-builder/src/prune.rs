//! Removes what builds keep for the next build: which steps were done, and the folders of cache mounts.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::FlockOperation;

use crate::copy::blocking;
use crate::{BuildError, Builder};

/// What to remove.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// Also steps whose images have names.
    pub all: bool,
    /// Only what was last used before.
    pub until: Option<Timestamp>,
    /// As many bytes may stay; then no step is forgotten, as steps have none.
    pub keep_bytes: u64,
}

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct Pruned {
    /// Keys of steps and names of caches.
    pub gone: Vec<String>,
    /// Bytes of the caches.
    pub bytes: u64,
}

/// A cache mount's folder.
struct Cache {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// A cache mount, as it lies on the disk.
#[derive(Clone, Debug)]
pub struct CacheUsage {
    /// Its name there.
    pub name: String,
    /// Bytes of its files.
    pub bytes: u64,
    /// When a step had it last.
    pub used: SystemTime,
}

impl Builder {
    /// The caches of `RUN --mount=type=cache`. Blocks on the disk.
    pub fn cache_mounts(&self) -> Vec<CacheUsage> {
        let all = caches(&self.caches()).into_iter();
        let all = all.map(|cache| CacheUsage {
            name: name_of(&cache),
            bytes: cache.bytes,
            used: cache.used,
        });
        all.collect()
    }

    /// Removes. Images stay: they are removed as images are. Caches in use stay too.
    ///
    /// # Errors
    /// If the disk or the records refuse.
    pub async fn prune(&self, options: PruneOptions) -> Result<Pruned, BuildError> {
        let mut pruned = Pruned::default();
        let until = options.until.unwrap_or_else(Timestamp::now);
        if options.keep_bytes == 0 {
            pruned.gone = self.cache.forget(options.all, until.as_second())?;
        }
        let folder = self.caches();
        let caches = blocking(move || remove(&folder, until.into(), options.keep_bytes)).await?;
        for cache in caches {
            pruned.gone.push(name_of(&cache));
            pruned.bytes += cache.bytes;
        }
        Ok(pruned)
    }
}

fn name_of(cache: &Cache) -> String {
    let name = cache.path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn caches(folder: &Path) -> Vec<Cache> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| {
            let path = entry.path();
            let lock = std::fs::metadata(path.join("lock"));
            Cache {
                bytes: size(&path.join("data")),
                used: lock
                    .and_then(|meta| meta.modified())
                    .unwrap_or(SystemTime::UNIX_EPOCH),
                path,
            }
        })
        .collect()
}

/// Removes caches, longest unused first, until no more than `keep` bytes are left.
fn remove(folder: &Path, until: SystemTime, keep: u64) -> Result<Vec<Cache>, BuildError> {
    let mut caches = caches(folder);
    caches.sort_by_key(|cache| cache.used);
    let mut left: u64 = caches.iter().map(|cache| cache.bytes).sum();
    let mut removed = Vec::new();
    for cache in caches {
        if cache.used > until || (keep > 0 && left <= keep) || in_use(&cache.path) {
            continue;
        }
        std::fs::remove_dir_all(&cache.path).map_err(BuildError::io("remove a cache mount"))?;
        left -= cache.bytes;
        removed.push(cache);
    }
    Ok(removed)
}

/// Whether a step has it mounted now: it holds its lock.
fn in_use(cache: &Path) -> bool {
    let lock = std::fs::File::options()
        .write(true)
        .open(cache.join("lock"));
    lock.is_ok_and(|lock| {
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err()
    })
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().map_or(0, |meta| meta.len()),
        })
        .sum()
}
