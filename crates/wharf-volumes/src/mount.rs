//! Mounted while somebody uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
        let note = note(record, holder);
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

    fn unmount_in_plugin(&self, driver: &str, note: &Mounted) -> Result<(), VolumeError> {
        let name = note.name.as_str();
        let plugin = self.inner.drivers.activated(driver, name)?;
        match plugin.unmount(name, &note.holder) {
            Ok(()) => {}
            // One that has forgotten the volume, as we have, will never say anything else.
            Err(Fault::Said(reason)) if !self.is_of(&note.name, driver) => {
                tracing::warn!(volume = name, reason, "unmount a volume that is gone");
            }
            Err(fault) => {
                return Err(VolumeError::Plugin {
                    operation: "unmount",
                    name: name.to_owned(),
                    reason: fault.to_string(),
                });
            }
        }
        self.forget_mounted(note);
        Ok(())
    }

    /// Whether there is a volume `name` of that driver here.
    fn is_of(&self, name: &VolumeName, driver: &str) -> bool {
        let record = self.record(name.as_str());
        record.is_ok_and(|record| record.driver == driver)
    }

    fn forget_mounted(&self, note: &Mounted) {
        let forgotten = self.inner.db.write(|tx| MOUNTED.delete(tx, &note.key()));
        if let Err(error) = forgotten {
            // It is unmounted once more after the next start.
            tracing::warn!(volume = note.name.as_str(), %error, "forget who held the volume");
        }
    }

    /// Has the plugin that mounted it unmount what a predecessor's holder left; not if that one holds it again.
    pub(crate) fn unmount_left(&self, note: &Mounted) -> Result<(), VolumeError> {
        let of_record = || Some(self.record(note.name.as_str()).ok()?.driver);
        let Some(driver) = note.driver.clone().or_else(of_record) else {
            // Nobody knows any more who mounted it.
            self.forget_mounted(note);
            return Ok(());
        };
        let holders = self.holders(&note.name);
        let holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        match holders.contains(&note.holder) {
            true => Ok(()),
            false => self.unmount_in_plugin(&driver, note),
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
    /// If it cannot be unmounted. A plugin's is held still then; of a local one the kernel knows that it is mounted, and its next
    /// last holder tries again.
    pub fn unmount(&self, name: &str, holder: &str) -> Result<(), VolumeError> {
        let record = self.record(name)?;
        let holders = self.holders(&record.name);
        let mut holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
        if !holders.contains(holder) {
            return Ok(());
        }
        if !record.is_local() {
            self.unmount_in_plugin(&record.driver, &note(&record, holder))?;
        } else if holders.len() == 1 {
            holders.remove(holder);
            let folder = self.data_folder(&record.name);
            return local::unmount(&folder).map_err(VolumeError::folder("unmount", &folder));
        }
        holders.remove(holder);
        Ok(())
    }

    /// Nobody holds a volume that is gone; one that comes after it, of the same name, begins anew. To be called in the
    /// name's turn.
    pub(crate) fn forget_holders(&self, name: &VolumeName) {
        let mut all = self.all_holders();
        all.remove(name);
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
        let is_held = |note: &Mounted| {
            let holders = self.holders(&note.name);
            let holders = holders.lock().unwrap_or_else(PoisonError::into_inner);
            holders.contains(&note.holder)
        };
        let left = noted.into_iter().map(|(_, note)| note);
        let left = left.filter(|note| !is_held(note));
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
        let mut all = self.all_holders();
        all.entry(name.clone()).or_default().clone()
    }

    fn all_holders(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Holders>> {
        let all = self.inner.holders.lock();
        all.unwrap_or_else(PoisonError::into_inner)
    }
}

/// That `holder` has had the volume mounted by its plugin.
fn note(record: &Record, holder: &str) -> Mounted {
    Mounted {
        name: record.name.clone(),
        holder: holder.to_owned(),
        driver: Some(record.driver.clone()),
    }
}

fn options(record: &Record) -> Result<LocalOptions, VolumeError> {
    let none = BTreeMap::new();
    LocalOptions::parse(
        record.name.as_str(),
        record.options.as_ref().unwrap_or(&none),
    )
}
