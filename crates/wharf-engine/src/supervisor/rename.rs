//! Another name, and the links of the default bridge, which are by names.

use std::sync::Arc;

use tracing::error;

use super::{Command, Supervisor};
use crate::EngineError;
use crate::containers::NameHold;
use crate::launch::links;

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
        if let Err(error) = self.save() {
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

    /// Those that are linked to it find it by its name.
    fn tell_of_rename(&self, old: &str, new: &str) {
        for other in self.shared.entries() {
            if links::renamed(&other.now().host.links, old, new).is_some() {
                let (old, new) = (old.to_owned(), new.to_owned());
                // One that goes meanwhile needs no links.
                let _ = other.mailbox.send(Command::Renamed { old, new });
            }
        }
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
