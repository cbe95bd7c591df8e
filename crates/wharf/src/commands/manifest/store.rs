//! The lists on the client's disk: a folder for each list, a file for each member, named as Docker names them.

use std::fs;
use std::io;
use std::path::PathBuf;

use wharf_oci::Reference;

use super::entry::Entry;
use crate::cli::{Context, Exit, Outcome};

/// All lists of a user.
pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    pub(super) fn of(context: &Context) -> Store {
        Store {
            folder: context.config_dir().join("manifests"),
        }
    }

    /// The members of a list, in the order of their names; `None` if there is no such list.
    pub(super) fn list(&self, list: &Reference) -> Outcome<Option<Vec<Entry>>> {
        let folder = self.folder.join(file_name(list));
        let found = match fs::read_dir(&folder) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut paths = found
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        // What a kill left of a member that was being written is none.
        paths.retain(|path| path.extension().is_none_or(|end| end != "new"));
        paths.sort();
        paths
            .into_iter()
            .map(read)
            .collect::<Outcome<_>>()
            .map(Some)
    }

    /// A member of a list, if it is there.
    pub(super) fn get(&self, list: &Reference, member: &Reference) -> Outcome<Option<Entry>> {
        let path = self.folder.join(file_name(list)).join(file_name(member));
        match path.exists() {
            true => read(path).map(Some),
            false => Ok(None),
        }
    }

    /// Puts a member into a list, whole or not at all.
    pub(super) fn save(&self, list: &Reference, member: &Reference, entry: &Entry) -> Outcome {
        let folder = self.folder.join(file_name(list));
        fs::create_dir_all(&folder)?;
        let text = serde_json::to_vec(entry).map_err(|error| Exit::new(error.to_string()))?;
        let path = folder.join(file_name(member));
        let new = folder.join(format!("{}.{}.new", file_name(member), std::process::id()));
        fs::write(&new, text)?;
        Ok(fs::rename(&new, &path)?)
    }

    /// Removes a list.
    pub(super) fn remove(&self, list: &Reference) -> Outcome {
        Ok(fs::remove_dir_all(self.folder.join(file_name(list)))?)
    }
}

fn read(path: PathBuf) -> Outcome<Entry> {
    let text = fs::read(&path)?;
    serde_json::from_slice(&text).map_err(|error| Exit::new(format!("{}: {error}", path.display())))
}

/// A whole name as a file name. It has no `..` between slashes, as no name has.
fn file_name(reference: &Reference) -> String {
    reference.to_string().replace(':', "-").replace('/', "_")
}
