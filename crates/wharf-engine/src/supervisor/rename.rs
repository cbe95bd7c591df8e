//! Another name, and the links of the default bridge, which are by names.

use std::sync::Arc;

use tracing::error;

use super::{Command, Supervisor};
use crate::EngineError;
use crate::containers::{Entry, NameHold, Renamed};
use crate::launch::links;
use crate::record::{CONTAINERS, Record};

impl Supervisor {
    pub(super) fn rename(&mut self, hold: NameHold) -> Result<(), EngineError> {
        let new = hold.name().to_owned();
        let old = std::mem::replace(&mut self.record.name, new.clone());
        let (network, host) = (self.record.network.clone(), self.record.host.clone());
        if self.pid().is_none() {
            self.rename_endpoints();
        }
        if let Some(links) = links::renamed(&host.links, &old, &new) {
            Arc::make_mut(&mut self.record.host).links = links;
        }
        if let Err(error) = self.save_renamed(&old, &new) {
            self.record.name = old;
            (self.record.network, self.record.host) = (network, host);
            return Err(error);
        }
        hold.keep_instead_of(&old);
        self.renamed();
        self.publish();
        self.tell_of_rename();
        self.emit("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Its record, and with it those of the containers that are linked to it: a daemon that is killed before they have heard of it
    /// would leave them links to nobody.
    fn save_renamed(&mut self, old: &str, new: &str) -> Result<(), EngineError> {
        let linked: Vec<_> = self.linked().collect();
        let (own, record) = (&self.entry, &mut self.record);
        let saved = self.shared.db.write(|tx| {
            take_in_renames(own, record);
            CONTAINERS.put(tx, &record.id, record)?;
            for entry in &linked {
                // What is written last, not what is shown, which may be behind.
                let Some(mut other) = CONTAINERS.get(tx, &entry.id)? else {
                    continue;
                };
                if let Some(links) = links::renamed(&other.host.links, old, new) {
                    Arc::make_mut(&mut other.host).links = links;
                    CONTAINERS.put(tx, &entry.id, &other)?;
                }
            }
            // No other record is written before this is done: each takes it in when it is written next.
            for entry in &linked {
                let (old, new) = (old.to_owned(), new.to_owned());
                entry.renames().push(Renamed { old, new });
            }
            Ok::<_, wharf_records::RecordError>(())
        });
        if saved.is_err() {
            let is_this = |one: &Renamed| one.old == old && one.new == new;
            for entry in &linked {
                entry.renames().retain(|one| !is_this(one));
            }
        }
        Ok(saved?)
    }

    /// Those that are linked to it find it by its name. Whether they are they know themselves: of an earlier name they may not have
    /// read yet.
    fn tell_of_rename(&self) {
        for other in self.linked() {
            // One that goes meanwhile needs no links.
            let _ = other.mailbox.send(Command::Renamed);
        }
    }

    /// The others with any links, to whomever.
    fn linked(&self) -> impl Iterator<Item = Arc<Entry>> {
        let others = self.shared.entries().into_iter();
        others.filter(|one| one.id != self.record.id && !one.now().host.links.is_empty())
    }

    /// What the link has written into a container that runs, stays there until its next start.
    pub(super) fn unlink(&mut self, alias: &str) -> Result<(), EngineError> {
        let host = self.record.host.clone();
        let links = &mut Arc::make_mut(&mut self.record.host).links;
        links.retain(|link| !links::is_called(link, alias));
        if let Err(error) = self.save() {
            self.record.host = host;
            return Err(error);
        }
        self.publish();
        Ok(())
    }

    pub(super) fn rename_links(&mut self) {
        let links = self.record.host.links.clone();
        take_in_renames(&self.entry, &mut self.record);
        if self.record.host.links != links
            && let Err(error) = self.save()
        {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        // One that was saved meanwhile has them already, and does not show them.
        self.publish();
    }
}

/// Others have other names: its links follow. What is written without would bring back links to nobody, on a disk that has
/// better ones.
pub(super) fn take_in_renames(entry: &Entry, record: &mut Record) {
    for Renamed { old, new } in entry.renames().drain(..) {
        if let Some(links) = links::renamed(&record.host.links, &old, &new) {
            Arc::make_mut(&mut record.host).links = links;
        }
    }
}
