//! Mounted while somebody uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::local::{self, LocalOptions};
use crate::plugin::Fault;
use crate::record::{MOUNTED, Mounted, Record};
use crate::{VolumeError, VolumeName, Volumes};

/// Who holds a volume, each by an id of the caller's. A lock of its own: a server that does not answer keeps only
/// those waiting who want the same volume.
pub(crate) type Holders = Arc<Mutex<BTreeSet<String>>>;

impl Volumes {
    /// Makes the volume `name` usable for `holder`, and says where its files are. It stays so until the last holder
    /// lets go. To hold it twice is to hold it once. Blocks.
    ///
    /// # Errors
    /// If there is no such volume, or it cannot be mounted.
    pub fn mount(&self, name: &str, holder: &str) -> Result<PathBuf, VolumeError> {
        let record = self.record(name)?;
        if record.is_local() && options(&record)?.mount.is_none() {
            return Ok(self.data_folder(&record.name));
        }
        let holders = self.holders(&record.name);
        let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        let path = match record.is_local() {
            true => self.mount_local(&record)?,
            false => self.mount_in_plugin(&record, holder, holders.contains(holder))?,
        };
        holders.insert(holder.to_owned());
        Ok(path)
    }

    /// It is noted first, so that it can be unmounted should we be killed.
    fn mount_in_plugin(
        &self,
        record: &Record,
        holder: &str,
        again: bool,
    ) -> Result<PathBuf, VolumeError> {
        let name = record.name.as_str();
        let plugin = self.inner.drivers.activated(&record.driver, name)?;
        let note = Mounted {
            name: record.name.clone(),
            holder: holder.to_owned(),
        };
        self.inner
            .db
            .write(|tx| MOUNTED.put(tx, &note.key(), &note))?;
        plugin.mount(name, holder).map_err(|fault| {
            if !again && matches!(fault, Fault::Said(_)) {
                self.forget_mounted(&note);
            }
            VolumeError::Mount {
                // As dockerd, which does not know yet where it would be.
                path: PathBuf::new(),
                reason: fault.to_string(),
            }
        })
    }

    fn unmount_in_plugin(&self, record: &Record, holder: &str) -> Result<(), VolumeError> {
        let name = record.name.as_str();
        let plugin = self.inner.drivers.activated(&record.driver, name)?;
        let unmounted = plugin.unmount(name, holder);
        unmounted.map_err(|fault| VolumeError::Plugin {
            operation: "unmount",
            name: name.to_owned(),
            reason: fault.to_string(),
        })?;
        self.forget_mounted(&Mounted {
            name: record.name.clone(),
            holder: holder.to_owned(),
        });
        Ok(())
    }

    fn forget_mounted(&self, note: &Mounted) {
        let forgotten = self.inner.db.write(|tx| MOUNTED.delete(tx, &note.key()));
        if let Err(error) = forgotten {
            // It is unmounted once more after the next start.
            tracing::warn!(volume = note.name.as_str(), %error, "forget who held the volume");
        }
    }

    /// Unmounts what a predecessor's holder left; not if that one holds it again.
    pub(crate) fn unmount_left(&self, name: &VolumeName, holder: &str) -> Result<(), VolumeError> {
        let Ok(record) = self.record(name.as_str()) else {
            self.forget_mounted(&Mounted {
                name: name.clone(),
                holder: holder.to_owned(),
            });
            return Ok(());
        };
        let holders = self.holders(name);
        let holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        match holders.contains(holder) {
            true => Ok(()),
            false => self.unmount_in_plugin(&record, holder),
        }
    }

    fn mount_local(&self, record: &Record) -> Result<PathBuf, VolumeError> {
        let folder = self.data_folder(&record.name);
        let mounted = local::is_mounted(&folder);
        if let Some(options) = options(record)?.mount
            && !mounted.map_err(VolumeError::folder("stat", &folder))?
        {
            options
                .mount(&folder)
                .map_err(|reason| VolumeError::Mount {
                    path: folder.clone(),
                    reason,
                })?;
        }
        Ok(folder)
    }

    /// `holder` needs the volume `name` no longer. One that did not hold it changes nothing. Blocks.
    ///
    /// # Errors
    /// If it cannot be unmounted.
    pub fn unmount(&self, name: &str, holder: &str) -> Result<(), VolumeError> {
        let record = self.record(name)?;
        let holders = self.holders(&record.name);
        let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        if !holders.remove(holder) {
            return Ok(());
        }
        if !record.is_local() {
            return self.unmount_in_plugin(&record, holder);
        }
        let folder = self.data_folder(&record.name);
        match holders.is_empty() {
            true => local::unmount(&folder).map_err(VolumeError::folder("unmount", &folder)),
            false => Ok(()),
        }
    }

    /// What is so after a start of the daemon: `held` names volumes and who holds them still; whatever else a
    /// predecessor left mounted is unmounted, what plugins mounted by [`Volumes::remove_forsaken`].
    ///
    /// # Errors
    /// The first, if something cannot be unmounted; the rest is.
    pub fn restore(&self, held: &[(String, String)]) -> Result<(), VolumeError> {
        for (name, holder) in held {
            if let Ok(name) = VolumeName::parse(name) {
                let holders = self.holders(&name);
                let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
                holders.insert(holder.clone());
            }
        }
        let noted = self.inner.db.read(|tx| MOUNTED.all(tx))?;
        let left = noted.into_iter().map(|(_, note)| (note.name, note.holder));
        let is_held = |name: &VolumeName, holder: &String| {
            let holders = self.holders(name);
            let holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
            holders.contains(holder)
        };
        let left = left.filter(|(name, holder)| !is_held(name, holder));
        self.left().extend(left);
        let records: Vec<Record> = self.lock().values().cloned().collect();
        let mut refused = Ok(());
        for record in records.iter().filter(|record| record.is_local()) {
            refused = refused.and(self.unmount_if_idle(record));
        }
        refused
    }

    fn unmount_if_idle(&self, record: &Record) -> Result<(), VolumeError> {
        let holders = self.holders(&record.name);
        let holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        if holders.is_empty() && options(record)?.mount.is_some() {
            let folder = self.data_folder(&record.name);
            local::unmount(&folder).map_err(VolumeError::folder("unmount", &folder))?;
        }
        Ok(())
    }

    /// Whether the volume `name` is not simply a folder: [`Volumes::mount`] has something to do.
    pub fn is_mounted_on_use(&self, name: &str) -> bool {
        self.record(name).is_ok_and(|record| {
            !record.is_local() || options(&record).is_ok_and(|options| options.mount.is_some())
        })
    }

    /// The driver of the volume `name`, if it is known here.
    pub fn driver_of(&self, name: &str) -> Option<String> {
        self.record(name).ok().map(|record| record.driver)
    }

    /// Whether the owner and mode of the volume's folder were chosen at its creation.
    pub fn owns_its_folder(&self, name: &str) -> bool {
        let options = self.record(name).and_then(|record| options(&record));
        options.is_ok_and(|options| options.owns())
    }

    fn record(&self, name: &str) -> Result<Record, VolumeError> {
        let not_found = || VolumeError::NotFound(name.to_owned());
        let parsed = VolumeName::parse(name).map_err(|_| not_found())?;
        let known = self.lock().get(&parsed).cloned();
        let known = known.filter(|record| record.phase.is_there());
        known.ok_or_else(not_found)
    }

    fn holders(&self, name: &VolumeName) -> Holders {
        let mut all = self
            .inner
            .holders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.entry(name.clone()).or_default().clone()
    }
}

fn options(record: &Record) -> Result<LocalOptions, VolumeError> {
    let none = BTreeMap::new();
    LocalOptions::parse(
        record.name.as_str(),
        record.options.as_ref().unwrap_or(&none),
    )
}
