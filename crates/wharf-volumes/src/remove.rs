//! `remove`: a volume is gone at once; its files are deleted later.

use std::collections::BTreeMap;

use crate::record::{Phase, Record, VOLUMES};
use crate::{VolumeError, VolumeName, Volumes};

impl Volumes {
    /// Removes the volume `name`, unless `users` names somebody that uses it. `users` is asked under the
    /// store's lock, so that no volume is created, found and removed at the same moment.
    ///
    /// The files lie in the trash afterwards: see [`Volumes::empty_trash`].
    ///
    /// # Errors
    /// If there is no such volume, somebody uses it, or the disk refuses.
    pub fn remove(
        &self,
        name: &str,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<(), VolumeError> {
        let name = self.get(name)?.name;
        let mut records = self.lock();
        let users = users(&name);
        if !users.is_empty() {
            return Err(VolumeError::InUse { name, users });
        }
        if !records.contains_key(&name) {
            return Err(VolumeError::NotFound(name.as_str().to_owned()));
        }
        self.remove_locked(&mut records, &name)
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
        match std::fs::rename(&folder, self.free_trash_name(name)) {
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

    fn free_trash_name(&self, name: &VolumeName) -> std::path::PathBuf {
        let trash = self.trash();
        let numbered = (0u64..).map(|number| trash.join(format!("{number}-{name}")));
        let mut free = numbered.filter(|path| !path.exists());
        // The numbers do not end before the disk does.
        free.next().unwrap_or(trash)
    }
}
