//! `create`: a volume is made, or found if it is there.

use jiff::Timestamp;

use crate::local::LocalOptions;
use crate::plugin::Fault;
use crate::record::{LOCAL, Pairs, Phase, Record};
use crate::store::{lock_turn, make_folder};
use crate::{Volume, VolumeError, VolumeName, Volumes, quota};

/// What is asked for in a new volume.
#[derive(Clone, Debug, Default)]
pub struct NewVolume {
    /// Its name; for an anonymous one 64 hexadecimal digits of the caller's.
    pub name: String,
    /// The driver; empty for that of the volume that is there, else `local`.
    pub driver: String,
    /// The driver's options.
    pub options: Pairs,
    /// Its labels.
    pub labels: Pairs,
    /// Whether `name` was made up rather than given.
    pub anonymous: bool,
    /// Who needs it from now on, though nobody can see yet that it does: see [`Volumes::release`]. One that is anonymous, too,
    /// is only promised until [`Volumes::keep`].
    pub reference: Option<String>,
}

/// What came of a creation.
#[derive(Clone, Debug, PartialEq)]
pub struct Created {
    /// The volume.
    pub volume: Volume,
    /// Whether it was not there before.
    pub fresh: bool,
}

impl Volumes {
    /// Makes the volume `new`. One of the same name and driver that is there is returned as it is, as dockerd does.
    /// Blocks while a plugin is asked.
    ///
    /// # Errors
    /// If the name, driver or an option is not to be had, or the disk or the plugin refuses; nothing is left behind.
    pub fn create(&self, new: NewVolume) -> Result<Created, VolumeError> {
        self.create_beside(new, |_| Vec::new())
    }

    /// As [`Volumes::create`]. `users` says who uses a volume of that name that its plugin does not have any more: for
    /// them no other is made in its place.
    ///
    /// # Errors
    /// As [`Volumes::create`]; and [`VolumeError::Lost`].
    pub fn create_beside(
        &self,
        new: NewVolume,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<Created, VolumeError> {
        let turn = VolumeName::parse(&new.name).map(|name| self.turn(&name));
        let _turn = turn.as_ref().map(lock_turn);
        if let Some(volume) = self.existing(&new, users)? {
            return Ok(Created {
                volume,
                fresh: false,
            });
        }
        match new.driver.as_str() {
            "" | LOCAL => self.create_local(new),
            _ => self.create_in_plugin(new),
        }
    }

    /// The volume of that name, referred to by `new.reference` then. Nothing if there is none, or only what is remembered
    /// of one that its plugin has lost, and nobody uses.
    fn existing(
        &self,
        new: &NewVolume,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<Option<Volume>, VolumeError> {
        if !matches!(new.driver.as_str(), "" | LOCAL) {
            self.inner.drivers.activated(&new.driver, &new.name)?;
        }
        let known = self.refer(new);
        let Some(record) = known else {
            return self.unknown(new);
        };
        let found = self.found(new, &record, users);
        if !matches!(found, Ok(Some(_))) {
            self.drop_reference(new);
        }
        found
    }

    fn found(
        &self,
        new: &NewVolume,
        record: &Record,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<Option<Volume>, VolumeError> {
        if !record.is_local() && !self.is_in_plugin(record)? {
            return self.lost(new, record, users).map(|()| None);
        }
        if !new.driver.is_empty() && new.driver != record.driver {
            return Err(VolumeError::Exists {
                name: record.name.clone(),
                driver: record.driver.clone(),
            });
        }
        self.view(record).map(Some)
    }

    /// A plugin that is in trouble says just what one says that has no such volume: only who asks for a driver by name gets
    /// a new volume (dockerd then gives a local one to others), and only if nobody expects the old one's data.
    fn lost(
        &self,
        new: &NewVolume,
        record: &Record,
        users: impl FnOnce(&VolumeName) -> Vec<String>,
    ) -> Result<(), VolumeError> {
        let mut users = users(&record.name);
        let references = self.references().get(&record.name).cloned();
        users.extend(references.into_iter().flatten());
        users.retain(|user| Some(user) != new.reference.as_ref());
        if new.driver.is_empty() || !users.is_empty() {
            return Err(VolumeError::Lost {
                name: record.name.clone(),
                driver: record.driver.clone(),
            });
        }
        match new.driver == record.driver {
            // Its record is replaced when there is a new one.
            true => Ok(()),
            false => self.forget(&record.name),
        }
    }

    /// One that a plugin has and nobody here made: it is found only without a driver or with that one. While a plugin is
    /// silent that may have it, no local one takes its place.
    fn unknown(&self, new: &NewVolume) -> Result<Option<Volume>, VolumeError> {
        match new.driver.as_str() {
            "" if !new.anonymous => {}
            _ => return Ok(None),
        }
        let Some(volume) = self.in_any_plugin("create", &new.name)? else {
            return Ok(None);
        };
        let record = record_of(new, volume.name.clone(), &volume.driver);
        let record = Record {
            labels: None,
            options: None,
            ..record
        };
        let mut records = self.lock();
        if !records.contains_key(&record.name) {
            self.put(&record)?;
            records.insert(record.name.clone(), record);
        }
        self.add_reference(&volume.name, new);
        drop(records);
        Ok(Some(volume))
    }

    fn create_local(&self, new: NewVolume) -> Result<Created, VolumeError> {
        let name = VolumeName::parse(&new.name)?;
        let none = Default::default();
        let options = LocalOptions::parse(&new.name, new.options.as_ref().unwrap_or(&none))?;
        if options.size.is_some() && !quota::is_supported(&self.inner.folder) {
            return Err(VolumeError::Option {
                name: new.name.clone(),
                reason: "quota size requested but no quota support".to_owned(),
            });
        }
        let mut records = self.lock();
        match records.get(&name).map(|record| record.phase) {
            Some(Phase::Kept | Phase::Promised) => {
                let record = records[&name].clone();
                // Before anybody can remove it.
                self.add_reference(&name, &new);
                drop(records);
                let volume = self.view(&record)?;
                return Ok(Created {
                    volume,
                    fresh: false,
                });
            }
            Some(Phase::Removing) if !records[&name].is_local() => {
                return Err(VolumeError::Exists {
                    driver: records[&name].driver.clone(),
                    name,
                });
            }
            Some(Phase::Removing) => self.finish_removal(&mut records, &name)?,
            None => {}
        }
        let record = record_of(&new, name.clone(), LOCAL);
        let folder = self.data_folder(&name);
        self.put(&record)?;
        let made = make_folder(&folder, 0o755).and_then(|()| options.prepare(&folder));
        records.insert(name.clone(), record.clone());
        if let Err(error) = made {
            self.remove_locked(&mut records, &name)?;
            return Err(error);
        }
        self.add_reference(&name, &new);
        drop(records);
        let volume = self.view(&record)?;
        Ok(Created {
            volume,
            fresh: true,
        })
    }

    /// The record is written first: a volume that a killed daemon made is found again with its labels. One that the plugin
    /// does not make is forgotten again, and what was known before of one that it had lost is not.
    fn create_in_plugin(&self, new: NewVolume) -> Result<Created, VolumeError> {
        let plugin = self.inner.drivers.activated(&new.driver, &new.name)?;
        // A plugin's names are its own affair; but ours is to keep one as a key.
        let name = VolumeName::parse(&new.name)?;
        let record = record_of(&new, name.clone(), &new.driver);
        let before = {
            let mut records = self.lock();
            // Somebody else made one in the meantime, or is removing it.
            let is_other =
                |other: &&Record| other.driver != record.driver || other.phase == Phase::Removing;
            if let Some(other) = records.get(&name).filter(is_other) {
                return Err(VolumeError::Exists {
                    name,
                    driver: other.driver.clone(),
                });
            }
            self.put(&record)?;
            self.add_reference(&name, &new);
            records.insert(name.clone(), record.clone())
        };
        let none = Default::default();
        let options = new.options.as_ref().unwrap_or(&none);
        // One that it has, or may have, is not made again.
        let made = match plugin.get(name.as_str()) {
            Ok(_) => Ok(()),
            Err(Fault::Said(_)) => plugin.create(name.as_str(), options),
            Err(silent @ Fault::Silent(_)) => Err(silent),
        };
        if let Err(fault) = made {
            self.drop_reference(&new);
            match before {
                Some(before) => {
                    let mut records = self.lock();
                    self.put(&before)?;
                    records.insert(name, before);
                }
                None => self.forget(&name)?,
            }
            return Err(VolumeError::Plugin {
                operation: "create",
                name: new.name,
                reason: fault.to_string(),
            });
        }
        let volume = self.view(&record)?;
        Ok(Created {
            volume,
            fresh: true,
        })
    }
}

fn record_of(new: &NewVolume, name: VolumeName, driver: &str) -> Record {
    Record {
        name,
        created: Timestamp::now(),
        labels: new.labels.clone(),
        anonymous: new.anonymous,
        phase: match (new.anonymous, &new.reference) {
            (true, Some(_)) => Phase::Promised,
            _ => Phase::Kept,
        },
        driver: driver.to_owned(),
        options: new.options.clone(),
    }
}
