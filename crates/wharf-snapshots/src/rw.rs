//! Writable layers of containers.

use std::fs;
use std::path::{Path, PathBuf};

use tracing::warn;
use wharf_oci::ChainId;

use crate::error::io_at;
use crate::layer::make_dir;
use crate::store::{Index, chain_id, read_about};
use crate::{SnapshotError, Snapshots};

/// The folders that overlay makes a container's root of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rootfs {
    /// The layers, topmost first; never empty.
    pub lowers: Vec<PathBuf>,
    /// What the container writes.
    pub upper: PathBuf,
    /// Overlay's scratch.
    pub work: PathBuf,
}

impl Snapshots {
    /// Makes the writable layer of container `id` on top of `chain` (bottom first). It holds these layers until it
    /// is removed.
    ///
    /// # Errors
    /// [`SnapshotError::NoLayer`], [`SnapshotError::RwExists`], [`SnapshotError::BadId`], or the system's.
    pub fn create_rw(&self, id: &str, chain: &[ChainId]) -> Result<Rootfs, SnapshotError> {
        if id.is_empty() || id.starts_with('.') || id.contains(['/', '\0']) {
            return Err(SnapshotError::BadId(id.to_owned()));
        }
        // The index is locked throughout, so that no layer goes between the look at it and the reference to it.
        let mut index = self.index();
        if let Some(missing) = chain.iter().find(|layer| !index.layers.contains_key(layer)) {
            return Err(SnapshotError::NoLayer(*missing));
        }
        if index.has_rw(id) {
            return Err(SnapshotError::RwExists(id.to_owned()));
        }
        let stage = self.fresh("stage");
        make_dir(&stage)?;
        make_dir(&stage.join("fs"))?;
        make_dir(&stage.join("work"))?;
        let mut about = format!("2 {}\n", chain.len());
        for layer in chain {
            about.push_str(&format!("{layer}\n"));
        }
        let about_path = stage.join("about");
        fs::write(&about_path, about).map_err(io_at("write", &about_path))?;
        let path = self.path("rw").join(id);
        fs::rename(&stage, &path).map_err(io_at("make", &path))?;
        index.rw.insert(id.to_owned(), chain.to_vec());
        drop(index);
        Ok(self.folders(id, chain))
    }

    /// The folders of container `id`.
    ///
    /// # Errors
    /// [`SnapshotError::NoRw`]; [`SnapshotError::NoLayer`] if a layer was lost; [`SnapshotError::Damaged`] if it is not
    /// known any more which layers they are.
    pub fn rootfs(&self, id: &str) -> Result<Rootfs, SnapshotError> {
        let index = self.index();
        let chain = index.rw.get(id).cloned();
        let chain = chain.ok_or_else(|| self.no_chain(&index, id))?;
        if let Some(missing) = chain.iter().find(|layer| !index.layers.contains_key(layer)) {
            return Err(SnapshotError::NoLayer(*missing));
        }
        drop(index);
        Ok(self.folders(id, &chain))
    }

    /// Removes the writable layer of container `id`: gone at once, its files deleted in the background. One that is
    /// not there is no error.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_rw(&self, id: &str) -> Result<(), SnapshotError> {
        let mut index = self.index();
        if index.has_rw(id) {
            self.discard(&self.path("rw").join(id))?;
            index.rw.remove(id);
            index.broken.remove(id);
        }
        drop(index);
        self.sweep_in_background();
        Ok(())
    }

    /// The writable layer of container `id` is that of `other` from now on.
    ///
    /// # Errors
    /// [`SnapshotError::NoRw`], [`SnapshotError::Damaged`], [`SnapshotError::RwExists`], or the system's.
    pub fn rename_rw(&self, id: &str, other: &str) -> Result<(), SnapshotError> {
        let mut index = self.index();
        if index.has_rw(other) {
            return Err(SnapshotError::RwExists(other.to_owned()));
        }
        let chain = index.rw.get(id).cloned();
        let chain = chain.ok_or_else(|| self.no_chain(&index, id))?;
        let path = self.path("rw").join(other);
        fs::rename(self.path("rw").join(id), &path).map_err(io_at("rename to", &path))?;
        index.rw.remove(id);
        index.rw.insert(other.to_owned(), chain);
        Ok(())
    }

    /// Makes what was written on top of the layers below `id` a layer `chain` of `size` bytes: its folder is moved, not
    /// copied. The writable layer is gone then; nobody may have it mounted. If the layer is there already, what was
    /// written is thrown away.
    ///
    /// # Errors
    /// [`SnapshotError::NoRw`], [`SnapshotError::Collision`], or the system's.
    pub fn seal_rw(&self, id: &str, chain: &ChainId, size: u64) -> Result<(), SnapshotError> {
        if !self.index().rw.contains_key(id) {
            return Err(SnapshotError::NoRw(id.to_owned()));
        }
        let stage = self.stage_moved(&self.path("rw").join(id).join("fs"))?;
        stage.commit(chain, size)?;
        self.remove_rw(id)
    }

    /// The ids of all containers with a writable layer.
    ///
    /// # Errors
    /// None today; the signature leaves room for reading the disk.
    pub fn list_rw(&self) -> Result<Vec<String>, SnapshotError> {
        let index = self.index();
        Ok(index.rw.keys().chain(&index.broken).cloned().collect())
    }

    /// Bytes that container `id` wrote: sizes of files, each once, as `docker ps -s` counts.
    ///
    /// # Errors
    /// [`SnapshotError::NoRw`], or the system's.
    pub fn rw_usage(&self, id: &str) -> Result<u64, SnapshotError> {
        if !self.index().has_rw(id) {
            return Err(SnapshotError::NoRw(id.to_owned()));
        }
        let path = self.path("rw").join(id).join("fs");
        crate::usage::tree_size(&path).map_err(io_at("measure", &path))
    }

    fn folders(&self, id: &str, chain: &[ChainId]) -> Rootfs {
        let rw = self.path("rw").join(id);
        let mut lowers: Vec<PathBuf> = chain
            .iter()
            .rev()
            .map(|layer| self.layer_dir(layer).join("fs"))
            .collect();
        if lowers.is_empty() {
            lowers.push(self.path("empty"));
        }
        Rootfs {
            lowers,
            upper: rw.join("fs"),
            work: rw.join("work"),
        }
    }

    fn no_chain(&self, index: &Index, id: &str) -> SnapshotError {
        match index.broken.contains(id) {
            true => SnapshotError::Damaged(self.path("rw").join(id).join("about")),
            false => SnapshotError::NoRw(id.to_owned()),
        }
    }

    /// A power cut can take the content of a file that was just written. What the container wrote stays then until the
    /// container is removed; without its layers it cannot be started.
    pub(crate) fn load_rw(&self) -> Result<(), SnapshotError> {
        let mut index = self.index();
        for id in self.names("rw")? {
            match read_rw(&self.path("rw").join(&id).join("about")) {
                Ok(chain) => drop(index.rw.insert(id, chain)),
                Err(error) => {
                    warn!(container = id, %error, "the layers of a container are not known");
                    index.broken.insert(id);
                }
            }
        }
        Ok(())
    }
}

fn read_rw(about: &Path) -> Result<Vec<ChainId>, SnapshotError> {
    let (version, words) = read_about(about)?;
    let chain = match (version, &words[..]) {
        (1, chain) => chain,
        (2, [count, chain @ ..]) if count.parse() == Ok(chain.len()) => chain,
        _ => return Err(SnapshotError::Damaged(about.to_owned())),
    };
    chain.iter().map(|word| chain_id(word, about)).collect()
}

impl Index {
    fn has_rw(&self, id: &str) -> bool {
        self.rw.contains_key(id) || self.broken.contains(id)
    }
}
