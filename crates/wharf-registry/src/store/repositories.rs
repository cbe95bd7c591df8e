//! Which repositories there are, and what is linked in them.

use wharf_oci::{Algorithm, Digest};

use super::directory::Entry;
use super::{Store, keys};
use crate::Error;
use crate::names::Name;

impl Store {
    /// Whether somebody has ever put something into the repository.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn has_repository(&self, name: &Name) -> Result<bool, Error> {
        let entries = self.storage.list(&keys::repository(name))?;
        Ok(entries
            .iter()
            .any(|entry| matches!(entry.name.as_str(), "_manifests" | "_layers")))
    }

    /// Repositories that have manifests, in the order of their names; those behind `after`, `limit` of them at most.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn repositories(&self, after: &str, limit: usize) -> Result<Vec<Name>, Error> {
        let mut all = Vec::new();
        self.walk("", &mut |name| {
            if name.as_str() > after {
                all.push(name.clone());
            }
            Ok(())
        })?;
        // A folder's children come before its neighbours, which is not the order of the names. Only those that may be
        // on the page are looked into: in a bucket each look is a request.
        all.sort_unstable();
        let mut page = Vec::new();
        for name in all {
            if page.len() == limit {
                break;
            }
            if self.has_manifests(&name)? {
                page.push(name);
            }
        }
        Ok(page)
    }

    fn has_manifests(&self, name: &Name) -> Result<bool, Error> {
        Ok(!self.storage.list(&keys::revisions(name))?.is_empty())
    }

    /// Calls `found` for every repository.
    pub(super) fn walk(
        &self,
        above: &str,
        found: &mut dyn FnMut(&Name) -> Result<(), Error>,
    ) -> Result<(), Error> {
        walk(&|key| self.storage.list(key), above, found)
    }

    /// The same for those that have uploads.
    pub(super) fn walk_local(
        &self,
        above: &str,
        found: &mut dyn FnMut(&Name) -> Result<(), Error>,
    ) -> Result<(), Error> {
        walk(&|key| self.storage.local.list(key), above, found)
    }

    /// Digests that have a link below the folder `key` (`<algorithm>/<hex>/link`).
    pub(super) fn linked_digests(&self, key: &str) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::new();
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let folder = format!("{key}/{}", algorithm.as_str());
            for name in self.storage.with(&folder, "link")? {
                if let Ok(digest) = Digest::parse(&format!("{}:{name}", algorithm.as_str())) {
                    digests.push(digest);
                }
            }
        }
        Ok(digests)
    }
}

/// Calls `found` for every repository of `list`, children first.
fn walk(
    list: &dyn Fn(&str) -> Result<Vec<Entry>, Error>,
    above: &str,
    found: &mut dyn FnMut(&Name) -> Result<(), Error>,
) -> Result<(), Error> {
    let key = match above {
        "" => keys::REPOSITORIES.to_owned(),
        above => format!("{}/{above}", keys::REPOSITORIES),
    };
    let mut is_repository = false;
    for entry in list(&key)?.into_iter().filter(|entry| entry.is_folder) {
        if entry.name.starts_with('_') {
            is_repository = true;
            continue;
        }
        let below = match above {
            "" => entry.name,
            above => format!("{above}/{}", entry.name),
        };
        walk(list, &below, found)?;
    }
    match Name::parse(above) {
        Ok(name) if is_repository => found(&name),
        _ => Ok(()),
    }
}
