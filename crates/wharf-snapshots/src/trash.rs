//! The trash: where things go by a rename, to be deleted when nobody waits.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::error::io_at;
use crate::{SnapshotError, Snapshots};

impl Snapshots {
    /// Moves a folder of ours to the trash. One that is not there is no error.
    pub(crate) fn discard(&self, path: &Path) -> Result<(), SnapshotError> {
        match fs::rename(path, self.fresh_in_trash()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(io_at("discard", path)),
        }
    }

    /// A name in the trash that no earlier process left there.
    fn fresh_in_trash(&self) -> std::path::PathBuf {
        loop {
            let path = self.fresh("trash");
            if !path.exists() {
                return path;
            }
        }
    }

    /// Deletes everything in the trash now. What cannot be deleted keeps nothing else from it.
    ///
    /// # Errors
    /// The system's first; what could not be deleted stays in the trash.
    pub fn sweep_trash(&self) -> Result<(), SnapshotError> {
        let trash = self.path("trash");
        let top = fs::File::open(&trash).map_err(io_at("open", &trash))?;
        let (mut stuck, mut refused) = (HashSet::new(), Ok(()));
        loop {
            let mut names = self.names("trash")?;
            names.retain(|name| !stuck.contains(name));
            if names.is_empty() {
                return refused;
            }
            for name in names {
                match wharf_sys::trash::remove(top.as_fd(), name.as_ref()) {
                    // Somebody else sweeps, too.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => {
                        let path = trash.join(&name);
                        refused = refused.and(Err(io_at("delete", &path)(error)));
                        stuck.insert(name);
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    /// Sees to it that the trash gets emptied.
    pub(crate) fn sweep_in_background(&self) {
        if !self.shared.sweeper.ask() {
            return;
        }
        let snapshots = self.clone();
        let sweep = move || {
            // What cannot be deleted is tried again with the next thing that is thrown away.
            snapshots
                .shared
                .sweeper
                .run(|| drop(snapshots.sweep_trash()));
        };
        let spawned = std::thread::Builder::new()
            .name("sweep".into())
            .spawn(sweep);
        if spawned.is_err() {
            self.shared.sweeper.give_up();
        }
    }
}
