//! Looks at everything: each blob's digest, each link, each tag, all that each manifest names.

use std::fmt;
use std::io::{self, Read as _};

use wharf_oci::{Digest, Hasher};

use super::{Store, keys};
use crate::Error;
use crate::error::io_at;
use crate::manifest::Manifest;
use crate::names::Name;

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A blob's bytes are not those that its digest names.
    Damaged(Digest),
    /// A repository links to a blob that is not there.
    Dangling(Name, Digest),
    /// A manifest names a blob or manifest that its repository lacks.
    Incomplete(Name, Digest, Digest),
    /// A repository has a manifest that cannot be read as one.
    Unreadable(Name, Digest),
    /// A tag means a manifest that its repository lacks.
    Tag(Name, String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Damaged(digest) => write!(f, "blob {digest} is damaged"),
            Fault::Dangling(name, digest) => {
                write!(f, "{name} links to {digest}, which is not there")
            }
            Fault::Incomplete(name, manifest, digest) => {
                write!(
                    f,
                    "{name}@{manifest} names {digest}, which the repository lacks"
                )
            }
            Fault::Unreadable(name, digest) => write!(f, "{name}@{digest} is no manifest"),
            Fault::Tag(name, tag) => {
                write!(f, "{name}:{tag} means a manifest that the repository lacks")
            }
        }
    }
}

impl Store {
    /// All faults of the store. Nothing is changed.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn check(&self) -> Result<Vec<Fault>, Error> {
        let mut faults = Vec::new();
        for digest in self.all_blobs()? {
            if self.hash(&digest)?.is_some_and(|found| found != digest) {
                faults.push(Fault::Damaged(digest));
            }
        }
        self.walk("", &mut |name| self.check_repository(name, &mut faults))?;
        Ok(faults)
    }

    fn check_repository(&self, name: &Name, faults: &mut Vec<Fault>) -> Result<(), Error> {
        for digest in self.linked_digests(&keys::layers(name))? {
            if self.storage.stat(&keys::blob(&digest))?.is_none() {
                faults.push(Fault::Dangling(name.clone(), digest));
            }
        }
        for digest in self.linked_digests(&keys::revisions(name))? {
            if self.storage.stat(&keys::blob(&digest))?.is_none() {
                faults.push(Fault::Dangling(name.clone(), digest));
                continue;
            }
            let Some(manifest) = self.parsed(name, &digest)? else {
                faults.push(Fault::Unreadable(name.clone(), digest));
                continue;
            };
            let blobs = manifest
                .blobs
                .iter()
                .filter(|blob| !Manifest::may_be_elsewhere(blob));
            for named in blobs.chain(&manifest.children) {
                let here = self.linked(name, &named.digest)?.is_some()
                    || self
                        .storage
                        .stat(&keys::revision(name, &named.digest))?
                        .is_some();
                if !here {
                    faults.push(Fault::Incomplete(name.clone(), digest, named.digest));
                }
            }
        }
        for tag in self.tags(name)? {
            let digest = self.resolve(name, &tag)?;
            let there = match &digest {
                Some(digest) => self.storage.stat(&keys::revision(name, digest))?.is_some(),
                None => false,
            };
            if !there {
                faults.push(Fault::Tag(name.clone(), tag));
            }
        }
        Ok(())
    }

    fn hash(&self, digest: &Digest) -> Result<Option<Digest>, Error> {
        let key = keys::blob(digest);
        let Some(mut file) = self.storage.local.open_file(&key)? else {
            return Ok(None);
        };
        let mut hasher = Hasher::new(digest.algorithm());
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(Some(hasher.finish())),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(io_at("read", &self.storage.local.path(&key))(error)),
            }
        }
    }
}
