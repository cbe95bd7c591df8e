//! Deletes what nobody needs.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use wharf_oci::Digest;

use crate::error::io_at;
use crate::store::flat_name;
use crate::{Content, ContentError};

/// A part of a blob that nobody went on with for so long is no use any more.
const PARTIAL_AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is collected: nobody finds it any more, but it still takes room on the disk. To drop it deletes the files, which can
/// take its time; so no lock should be held then.
#[derive(Debug)]
#[must_use = "to drop it blocks"]
pub struct Garbage {
    content: Content,
    freed: u64,
}

impl Garbage {
    /// Bytes of the blobs that are gone.
    pub fn freed(&self) -> u64 {
        self.freed
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        sweep(&self.content.trash());
    }
}

/// Deletes these files. What cannot be deleted is tried again with the next collection.
fn sweep(files: &[PathBuf]) {
    for file in files {
        let _ = fs::remove_file(file);
    }
}

impl Content {
    /// Takes away all blobs but `roots` and those that are being ingested, and parts that nobody has written to for a week.
    ///
    /// `roots` must have been read under whatever keeps new roots from appearing.
    ///
    /// # Errors
    /// The system's, the first of them; what could be taken away is, and is deleted in the background.
    pub fn collect(&self, roots: &HashSet<Digest>) -> Result<Garbage, ContentError> {
        match self.take_away(roots) {
            Ok(freed) => Ok(Garbage {
                freed,
                content: self.clone(),
            }),
            Err(error) => {
                // Who is told of an error still holds a lock.
                let _ = self.sweep_in_background();
                Err(error)
            }
        }
    }

    /// Moves all blobs that nobody needs to the trash; their bytes.
    fn take_away(&self, roots: &HashSet<Digest>) -> Result<u64, ContentError> {
        let (mut freed, mut failure) = (0, None);
        for (digest, size) in self.list()? {
            if roots.contains(&digest) {
                continue;
            }
            // Asked again for each: an ingest that begins while we work counts.
            let mut state = self.state();
            if state.busy.contains(&digest) {
                continue;
            }
            // One that cannot be moved is in nobody's way.
            match self.discard_file(&self.path(&digest)) {
                Ok(()) => {
                    self.shared.settle.forget(&flat_name(&digest));
                    state.unchecked.remove(&digest);
                    freed += size;
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        self.expire_partials()?;
        failure.map_or(Ok(freed), Err)
    }

    /// Moves a file of ours to the trash. One that is not there is no error.
    fn discard_file(&self, path: &Path) -> Result<(), ContentError> {
        let number = self.shared.counter.fetch_add(1, Ordering::Relaxed);
        let to = self.shared.dir.join("trash").join(number.to_string());
        match fs::rename(path, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_at("remove", path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Deletes what a kill left in the trash, on a thread of its own: nobody waits for it with the start.
    ///
    /// # Errors
    /// If there is no room for a thread; the next collection deletes it then.
    pub(crate) fn sweep_in_background(&self) -> io::Result<JoinHandle<()>> {
        // What comes there from now on is for who has moved it.
        let left = self.trash();
        let thread = std::thread::Builder::new().name("sweep".to_owned());
        thread.spawn(move || sweep(&left))
    }

    /// What is in the trash.
    fn trash(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.shared.dir.join("trash"));
        let entries = entries.into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    }

    /// Deletes a blob whose bytes are not what its name says.
    ///
    /// # Errors
    /// The system's.
    pub fn discard(&self, digest: &Digest) -> Result<(), ContentError> {
        let path = self.path(digest);
        let mut state = self.state();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_at("remove", &path)(error));
            }
            _ => {}
        }
        self.shared.settle.forget(&flat_name(digest));
        state.unchecked.remove(digest);
        Ok(())
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

    /// Takes away parts of blobs that nobody has written to for a week.
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
                self.discard_file(&path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_in_the_trash_goes_beside_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let trash = dir.path().join("trash");
        fs::write(trash.join("0"), "of a predecessor's").unwrap();
        content.sweep_in_background().unwrap().join().unwrap();
        assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
    }

    fn put(content: &Content, bytes: &[u8]) -> Digest {
        let blob = Digest::sha256(bytes);
        let mut ingest = content.ingest(&blob, None).unwrap();
        ingest.write(bytes).unwrap();
        ingest.commit().unwrap();
        blob
    }

    #[test]
    fn one_that_cannot_be_moved_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let blobs = [&b"one"[..], b"two", b"three"].map(|bytes| put(&content, bytes));
        // In the way of the second.
        let trash = dir.path().join("trash");
        let next = content.shared.counter.load(Ordering::Relaxed);
        fs::create_dir(trash.join((next + 1).to_string())).unwrap();
        assert!(content.collect(&HashSet::new()).is_err());
        let left = blobs.iter().filter(|blob| content.contains(blob)).count();
        assert_eq!(left, 1);
        // Those that could be moved are deleted, though nobody waits for it.
        while fs::read_dir(&trash).unwrap().count() != 1 {
            std::thread::yield_now();
        }
        drop(content.collect(&HashSet::new()).unwrap());
        assert!(!blobs.iter().any(|blob| content.contains(blob)));
    }

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
