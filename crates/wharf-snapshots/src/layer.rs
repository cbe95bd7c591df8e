//! Layers: made in a stage, committed by a rename, then never changed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use tracing::warn;
use wharf_oci::ChainId;
use wharf_sys::boot;

use crate::error::io_at;
use crate::store::{Index, chain_id, read_about};
use crate::{SnapshotError, Snapshots};

/// At the end of the name of a folder that was in a layer's place, and that a container may stand on that does not say so.
const ASIDE: &str = ".aside";

/// A layer in the making. Dropping it throws it away.
#[derive(Debug)]
pub struct LayerStage {
    snapshots: Snapshots,
    path: PathBuf,
    dir: File,
    committed: bool,
}

impl Snapshots {
    /// An empty folder to unpack a layer into.
    ///
    /// # Errors
    /// The system's.
    pub fn stage_layer(&self) -> Result<LayerStage, SnapshotError> {
        let path = self.fresh("stage");
        make_dir(&path)?;
        let fs_path = path.join("fs");
        make_dir(&fs_path)?;
        let dir = File::open(&fs_path).map_err(io_at("open", &fs_path))?;
        Ok(LayerStage {
            snapshots: self.clone(),
            path,
            dir,
            committed: false,
        })
    }

    /// A stage of a folder that is there: it is moved.
    pub(crate) fn stage_moved(&self, from: &Path) -> Result<LayerStage, SnapshotError> {
        let path = self.fresh("stage");
        make_dir(&path)?;
        let fs_path = path.join("fs");
        fs::rename(from, &fs_path).map_err(io_at("move", from))?;
        let dir = File::open(&fs_path).map_err(io_at("open", &fs_path))?;
        Ok(LayerStage {
            snapshots: self.clone(),
            path,
            dir,
            committed: false,
        })
    }

    /// Whether the layer is here.
    pub fn has(&self, chain: &ChainId) -> bool {
        self.index().layers.contains_key(chain)
    }

    /// Size of a layer in bytes, as it was given when it was committed.
    ///
    /// # Errors
    /// [`SnapshotError::NoLayer`].
    pub fn layer_usage(&self, chain: &ChainId) -> Result<u64, SnapshotError> {
        let size = self.index().layers.get(chain).copied();
        size.ok_or(SnapshotError::NoLayer(*chain))
    }

    /// All layers with their sizes in bytes.
    pub fn layers(&self) -> Vec<(ChainId, u64)> {
        self.index()
            .layers
            .iter()
            .map(|(chain, size)| (*chain, *size))
            .collect()
    }

    /// The folder with the files of a layer.
    ///
    /// # Errors
    /// [`SnapshotError::NoLayer`].
    pub fn layer_path(&self, chain: &ChainId) -> Result<PathBuf, SnapshotError> {
        match self.has(chain) {
            true => Ok(self.layer_dir(chain).join("fs")),
            false => Err(SnapshotError::NoLayer(*chain)),
        }
    }

    /// Forgets a layer whose folder is gone, so that it can be unpacked again. One that is there stays.
    pub fn forget_layer(&self, chain: &ChainId) {
        let mut index = self.index();
        if !self.layer_dir(chain).join("fs").is_dir() {
            index.layers.remove(chain);
        }
    }

    /// Takes away a folder that could not be read when we started. No writable layer stands on it, as that one would have
    /// told of it; unless one does not say what it stands on: a container may be running on it, so its files stay.
    fn clear_the_way(&self, path: &Path, index: &Index) -> Result<(), SnapshotError> {
        if index.broken.is_empty() || matches!(path.try_exists(), Ok(false)) {
            return self.discard(path);
        }
        let aside = loop {
            let mut name = self.fresh("layers").into_os_string();
            name.push(aside_of_this_boot()?);
            let aside = PathBuf::from(name);
            // An earlier process may have had our number.
            if !aside.exists() {
                break aside;
            }
        };
        fs::rename(path, &aside).map_err(io_at("put aside", path))
    }

    pub(crate) fn layer_dir(&self, chain: &ChainId) -> PathBuf {
        self.path("layers").join(short_name(chain))
    }

    /// Reads which layers are here; the writable layers are known already. A folder that does not say which layer it is
    /// goes, so that its image can be unpacked again; but not one that a writable layer stands on, which says it instead:
    /// a container may be running on it. What cannot be read now stays where it is.
    pub(crate) fn load_layers(&self) -> Result<(), SnapshotError> {
        let mut index = self.index();
        let needed = index.rw.values().flatten();
        let needed: HashMap<String, ChainId> =
            needed.map(|chain| (short_name(chain), *chain)).collect();
        for name in self.names("layers")? {
            let path = self.path("layers").join(&name);
            if name.ends_with(ASIDE) {
                // Its files may be those of a container that has run since, though all can be read again.
                let unused = index.rw.is_empty() || !name.ends_with(&aside_of_this_boot()?);
                if index.broken.is_empty() && unused {
                    self.discard(&path)?;
                }
                continue;
            }
            match (read_layer(&path.join("about")), needed.get(&name)) {
                (Ok((chain, size)), _) => drop(index.layers.insert(chain, size)),
                (Err(error), Some(chain)) => {
                    warn!(%chain, %error, "a layer that a container needs does not say what it is");
                    let fs_path = path.join("fs");
                    if fs_path.is_dir() {
                        let size = crate::usage::tree_size(&fs_path).unwrap_or(0);
                        index.layers.insert(*chain, size);
                    }
                }
                // What a broken writable layer stands on is not known.
                (Err(error), None) if error.is_damage() && index.broken.is_empty() => {
                    self.discard(&path)?;
                }
                (Err(error), None) => warn!(layer = name, %error, "a layer is left out"),
            }
        }
        Ok(())
    }
}

/// The end of the name of what is put aside until the machine is started again.
fn aside_of_this_boot() -> Result<String, SnapshotError> {
    let read = io_at("read", Path::new(boot::ID));
    Ok(format!(".{}{ASIDE}", boot::id().map_err(read)?))
}

fn read_layer(about: &Path) -> Result<(ChainId, u64), SnapshotError> {
    let damaged = || SnapshotError::Damaged(about.to_owned());
    let (version, words) = read_about(about)?;
    match (version, &words[..]) {
        (1, [chain, size]) => Ok((
            chain_id(chain, about)?,
            size.parse().map_err(|_| damaged())?,
        )),
        _ => Err(damaged()),
    }
}

impl LayerStage {
    /// The folder to unpack into.
    pub fn dirfd(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes the layer visible as `chain`, with `size` bytes. If it is there already, this one is thrown away.
    ///
    /// # Errors
    /// [`SnapshotError::Collision`], or the system's.
    pub fn commit(mut self, chain: &ChainId, size: u64) -> Result<(), SnapshotError> {
        let about = self.path.join("about");
        fs::write(&about, format!("1 {chain} {size}\n")).map_err(io_at("write", &about))?;
        let snapshots = self.snapshots.clone();
        // Held until the index knows it, so that two commits of one layer do not race.
        let mut index = snapshots.index();
        if index.layers.contains_key(chain) {
            return Ok(());
        }
        let name = short_name(chain);
        if let Some(there) = index.layers.keys().find(|other| short_name(other) == name) {
            return Err(SnapshotError::Collision {
                wanted: *chain,
                there: there.to_string(),
            });
        }
        let path = snapshots.layer_dir(chain);
        snapshots.clear_the_way(&path, &index)?;
        snapshots
            .shared
            .settle
            .begin(&name)
            .map_err(io_at("mark as new", &path))?;
        fs::rename(&self.path, &path).map_err(io_at("commit", &path))?;
        self.committed = true;
        index.layers.insert(*chain, size);
        Ok(())
    }
}

impl Drop for LayerStage {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be moved is swept at the next start.
            let _ = self.snapshots.discard(&self.path);
            self.snapshots.sweep_in_background();
        }
    }
}

fn short_name(chain: &ChainId) -> String {
    chain.digest().hex()[..16].to_owned()
}

/// Makes a folder with mode 0755 whatever the umask: it becomes `/` of a container.
pub(crate) fn make_dir(path: &Path) -> Result<(), SnapshotError> {
    fs::create_dir(path).map_err(io_at("make", path))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o755);
    rustix::fs::chmod(path, mode).map_err(io_at("set the mode of", path))
}
