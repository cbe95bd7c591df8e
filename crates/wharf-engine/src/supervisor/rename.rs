//! Another name, and the links of the default bridge, which are by names.

use std::sync::Arc;

use tracing::error;

use super::{Command, Supervisor};
use crate::EngineError;
use crate::containers::{Entry, NameHold};
use crate::launch::links;
use crate::record::CONTAINERS;

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
        self.tell_of_rename(&old, &new);
        self.emit("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Its record, and with it those of the containers that are linked to it: a daemon that is killed before they have heard of it
    /// would leave them links to nobody.
    fn save_renamed(&self, old: &str, new: &str) -> Result<(), EngineError> {
        let linked: Vec<_> = self.linked().map(|other| other.id.clone()).collect();
        Ok(self.shared.db.write(|tx| {
            CONTAINERS.put(tx, &self.record.id, &self.record)?;
            for id in &linked {
                // What is written last, not what is shown, which may be behind.
                let Some(mut other) = CONTAINERS.get(tx, id)? else {
                    continue;
                };
                if let Some(links) = links::renamed(&other.host.links, old, new) {
                    Arc::make_mut(&mut other.host).links = links;
                    CONTAINERS.put(tx, id, &other)?;
                }
            }
            Ok::<_, wharf_records::RecordError>(())
        })?)
    }

    /// Those that are linked to it find it by its name. Whether they are they know themselves: of an earlier name they may not have
    /// read yet.
    fn tell_of_rename(&self, old: &str, new: &str) {
        for other in self.linked() {
            let (old, new) = (old.to_owned(), new.to_owned());
            // One that goes meanwhile needs no links.
            let _ = other.mailbox.send(Command::Renamed { old, new });
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

    pub(super) fn rename_links(&mut self, old: &str, new: &str) {
        let Some(links) = links::renamed(&self.record.host.links, old, new) else {
            return;
        };
        Arc::make_mut(&mut self.record.host).links = links;
        if let Err(error) = self.save() {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        self.publish();
    }
}
