//! `remove`: a volume is gone at once; its files are deleted later. That of a plugin is gone when the plugin says so.

use std::collections::BTreeMap;

use crate::plugin::{Fault, unreachable};
use crate::record::{Phase, Record, VOLUMES};
use crate::store::lock_turn;
use crate::{VolumeError, VolumeName, Volumes, local};

/// How a volume is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VolumeRemoval {
    /// One that its plugin does not remove stays.
    Plain,
    /// One that its plugin has, and does not remove, is forgotten here: as with dockerd its name is free for another driver
    /// then, though the plugin's refusal is an error.
    Forced,
}

/// Why a plugin has not removed a volume.
enum Failure {
    /// It does not say whether it has it.
    Unasked(VolumeError),
    /// It was told to.
    Refused(VolumeError),
}

impl Volumes {
    /// Removes the volume `name`, unless `users` names somebody that uses it. `users` is asked under the
    /// store's lock, so that no volume is created, found and removed at the same moment.
    ///
    /// The files lie in the trash afterwards: see [`Volumes::empty_trash`].
    ///
    /// # Errors
    /// If there is no such volume, somebody uses it, or the disk or its plugin refuses.
    pub fn remove(
        &self,
        name: &str,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<(), VolumeError> {
        self.remove_as(VolumeRemoval::Plain, name, users)
    }

    /// As [`Volumes::remove`], by force or not.
    ///
    /// # Errors
    /// As [`Volumes::remove`].
    pub fn remove_as(
        &self,
        removal: VolumeRemoval,
        name: &str,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<(), VolumeError> {
        let not_found = || VolumeError::NotFound(name.to_owned());
        let parsed = VolumeName::parse(name).map_err(|_| not_found())?;
        let turn = self.turn(&parsed);
        let _turn = lock_turn(&turn);
        let mut records = self.lock();
        let known = records.get(&parsed).cloned();
        let known = known.filter(|record| record.phase.is_there());
        let mut users = users(&parsed);
        let references = self.references().get(&parsed).cloned();
        users.extend(references.into_iter().flatten());
        users.sort();
        users.dedup();
        if !users.is_empty() {
            return Err(VolumeError::InUse {
                name: parsed,
                users,
            });
        }
        match known {
            Some(record) if record.is_local() => {
                self.refuse_mounts_below(&parsed)?;
                self.remove_locked(&mut records, &parsed)?;
                drop(records);
                self.forget_holders(&parsed);
                Ok(())
            }
            Some(record) => {
                // Nobody finds it, and so nobody comes to need it, while the plugin takes its time.
                let removing = Record {
                    phase: Phase::Removing,
                    ..record.clone()
                };
                records.insert(parsed.clone(), removing);
                drop(records);
                let removed = self.remove_and_forget(&record.driver, &parsed, removal);
                // Whatever could not be done: the record is there still, or it is not.
                let mut records = self.lock();
                if records.contains_key(&parsed) {
                    records.insert(parsed, record);
                }
                removed
            }
            None => {
                drop(records);
                let volume = self.in_any_plugin("remove", name)?.ok_or_else(not_found)?;
                self.remove_and_forget(&volume.driver, &parsed, removal)
            }
        }
    }

    /// Has plugins unmount what they mounted for holders of a predecessor's that are gone ([`Volumes::restore`]), and then
    /// removes what it promised to containers that did not come to be, and a plugin made. Blocks while plugins are asked;
    /// local volumes of that kind have gone when the store was opened.
    ///
    /// # Errors
    /// The first, if plugins refuse or cannot be reached: they are asked again after the next start.
    pub fn remove_forsaken(&self) -> Result<(), VolumeError> {
        let mut refused = Ok(());
        loop {
            // Not in the loop's head, where the lock would be held for the body.
            let next = self.left().pop();
            let Some(note) = next else { break };
            refused = refused.and(self.unmount_left(&note));
        }
        loop {
            let next = self.forsaken().pop();
            let Some(name) = next else { return refused };
            let removed = self.remove(name.as_str(), |_| Vec::new());
            refused = refused.and(removed);
        }
    }

    /// The plugin removes it first: should we be killed in between, the record is found to stand for nothing.
    fn remove_and_forget(
        &self,
        driver: &str,
        name: &VolumeName,
        removal: VolumeRemoval,
    ) -> Result<(), VolumeError> {
        let told = match self.remove_in_plugin(driver, name) {
            Ok(()) => Ok(()),
            Err(Failure::Refused(error)) if removal == VolumeRemoval::Forced => Err(error),
            Err(Failure::Unasked(error) | Failure::Refused(error)) => return Err(error),
        };
        self.forget(name)?;
        self.forget_holders(name);
        told
    }

    fn remove_in_plugin(&self, driver: &str, name: &VolumeName) -> Result<(), Failure> {
        let plugin = self.inner.drivers.activated(driver, name.as_str());
        let plugin = plugin.map_err(Failure::Unasked)?;
        let failed = |operation, reason: String| VolumeError::Plugin {
            operation,
            name: name.as_str().to_owned(),
            reason,
        };
        match plugin.get(name.as_str()) {
            // It is gone already.
            Err(Fault::Said(_)) => Ok(()),
            Err(Fault::Silent(reason)) => {
                let reason = unreachable(name.as_str(), driver, &reason);
                Err(Failure::Unasked(failed("get", reason)))
            }
            Ok(_) => {
                let removed = plugin.remove(name.as_str());
                removed.map_err(|fault| Failure::Refused(failed("remove", fault.to_string())))
            }
        }
    }

    /// What somebody mounted within a volume is not the volume's: no file is deleted through it.
    fn refuse_mounts_below(&self, name: &VolumeName) -> Result<(), VolumeError> {
        let data = self.data_folder(name);
        match local::mount_below(&data).map_err(VolumeError::folder("list", &data))? {
            None => Ok(()),
            Some(path) => Err(VolumeError::Mounted {
                name: name.clone(),
                path,
                source: rustix::io::Errno::BUSY.into(),
            }),
        }
    }

    pub(crate) fn remove_locked(
        &self,
        records: &mut BTreeMap<VolumeName, Record>,
        name: &VolumeName,
    ) -> Result<(), VolumeError> {
        if let Some(record) = records.get_mut(name) {
            let removing = Record {
                phase: Phase::Removing,
                ..record.clone()
            };
            self.put(&removing)?;
            *record = removing;
        }
        self.finish_removal(records, name)
    }

    /// The second half of a removal; may run again after a kill.
    pub(crate) fn finish_removal(
        &self,
        records: &mut BTreeMap<VolumeName, Record>,
        name: &VolumeName,
    ) -> Result<(), VolumeError> {
        let folder = self.inner.folder.join(name.as_str());
        let data = self.data_folder(name);
        match local::unmount(&data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(VolumeError::Mounted {
                    name: name.clone(),
                    path: data,
                    source: error,
                });
            }
            _ => {}
        }
        match std::fs::rename(&folder, self.free_trash_name()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(VolumeError::folder("remove", &folder)(error));
            }
            _ => {}
        }
        self.inner
            .db
            .write(|tx| VOLUMES.delete(tx, name.as_str()))?;
        records.remove(name);
        Ok(())
    }

    /// By number alone: a volume's name can be as long as a name can be.
    fn free_trash_name(&self) -> std::path::PathBuf {
        let trash = self.trash();
        let numbered = (0u64..).map(|number| trash.join(number.to_string()));
        let mut free = numbered.filter(|path| !path.exists());
        // The numbers do not end before the disk does.
        free.next().unwrap_or(trash)
    }
}
