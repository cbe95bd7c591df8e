//! Deletes what nobody needs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::time::{Duration, SystemTime};

use wharf_oci::Digest;

use crate::error::io_at;
use crate::store::flat_name;
use crate::{Content, ContentError};

/// A part of a blob that nobody went on with for so long is no use any more.
const PARTIAL_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

impl Content {
    /// Deletes all blobs but `roots`, those that are leased and those that are being ingested. Returns how many
    /// bytes of blobs went.
    ///
    /// `roots` must have been read under whatever keeps new roots from appearing, or new ones must be leased.
    ///
    /// # Errors
    /// The system's; blobs that were deleted until then stay deleted.
    pub fn collect(&self, roots: &HashSet<Digest>) -> Result<u64, ContentError> {
        let mut freed = 0;
        for (digest, size) in self.list()? {
            if roots.contains(&digest) {
                continue;
            }
            // Asked again for each: a lease that is taken while we work counts.
            let state = self.state();
            if state.leased.contains_key(&digest) || state.busy.contains(&digest) {
                continue;
            }
            self.remove_blob(&digest)?;
            freed += size;
        }
        self.expire_partials()?;
        Ok(freed)
    }

    /// Deletes a blob whose bytes are not what its name says.
    ///
    /// # Errors
    /// The system's.
    pub fn discard(&self, digest: &Digest) -> Result<(), ContentError> {
        self.remove_blob(digest)
    }

    /// Deletes what there is of a blob that is not whole, unless somebody is at it.
    ///
    /// # Errors
    /// The system's.
    pub fn forget_partial(&self, digest: &Digest) -> Result<(), ContentError> {
        if self.state().busy.contains(digest) {
            return Ok(());
        }
        let path = self.partial_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_at("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes a blob. One that is not there is no error.
    fn remove_blob(&self, digest: &Digest) -> Result<(), ContentError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_at("remove", &path)(error));
            }
            _ => {}
        }
        self.shared.settle.forget(&flat_name(digest));
        Ok(())
    }

    /// Deletes parts of blobs that nobody has written to for a week.
    pub(crate) fn expire_partials(&self) -> Result<(), ContentError> {
        self.expire_partials_before(SystemTime::now() - PARTIAL_AGE)
    }

    fn expire_partials_before(&self, limit: SystemTime) -> Result<(), ContentError> {
        for (path, metadata) in self.files("ingest")? {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .replacen('-', ":", 1);
            let state = self.state();
            let busy = Digest::parse(&name).is_ok_and(|digest| state.busy.contains(&digest));
            if !busy && metadata.modified().is_ok_and(|time| time < limit) {
                fs::remove_file(&path).map_err(io_at("remove", &path))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_parts_go_unless_somebody_is_at_them() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let (left, busy) = (Digest::sha256(b"left"), Digest::sha256(b"busy"));
        content.ingest(&left, None).unwrap().write(b"le").unwrap();
        let mut ingest = content.ingest(&busy, None).unwrap();
        ingest.write(b"bu").unwrap();
        content.expire_partials().unwrap();
        assert!(content.partial_path(&left).exists());
        content
            .expire_partials_before(SystemTime::now() + PARTIAL_AGE)
            .unwrap();
        assert!(!content.partial_path(&left).exists());
        assert!(content.partial_path(&busy).exists());
    }
}
