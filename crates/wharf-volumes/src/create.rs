//! `create`: a volume is made, or found if it is there.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::record::{Phase, Record};
use crate::store::make_folder;
use crate::{Volume, VolumeError, VolumeName, Volumes};

/// What is asked for in a new volume.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// Its name; empty for an anonymous one, which gets 64 hexadecimal digits of the caller's in `id`.
    pub name: String,
    /// The driver; `local`, or empty for it.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether `name` was made up rather than given.
    pub anonymous: bool,
}

impl Volumes {
    /// Makes the volume `new`. One of the same name that is there is returned as it is, as dockerd does.
    ///
    /// # Errors
    /// If the name, driver or an option is not to be had, or the disk refuses; nothing is left behind.
    pub fn create(&self, new: NewVolume) -> Result<Volume, VolumeError> {
        let name = VolumeName::parse(&new.name)?;
        check(&new)?;
        let mut records = self.lock();
        match records.get(&name).map(|record| record.phase) {
            Some(Phase::Kept) => return Ok(self.view(&records[&name])),
            Some(Phase::Removing) => self.finish_removal(&mut records, &name)?,
            None => {}
        }
        let record = Record {
            name: name.clone(),
            created: Timestamp::now(),
            labels: new.labels,
            anonymous: new.anonymous,
            phase: Phase::Kept,
        };
        self.put(&record)?;
        let made = make_folder(&self.data_folder(&name), 0o755);
        let view = self.view(&record);
        records.insert(name.clone(), record);
        if let Err(error) = made {
            self.remove_locked(&mut records, &name)?;
            return Err(error);
        }
        Ok(view)
    }
}

fn check(new: &NewVolume) -> Result<(), VolumeError> {
    if !matches!(new.driver.as_str(), "" | "local") {
        return Err(VolumeError::UnknownDriver {
            name: new.name.clone(),
            driver: new.driver.clone(),
        });
    }
    match new.options.keys().next() {
        None => Ok(()),
        Some(option) => Err(VolumeError::Option {
            name: new.name.clone(),
            option: option.clone(),
        }),
    }
}
