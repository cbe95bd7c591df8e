//! The store itself: what is there, and how it is read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wharf_oci::{Algorithm, Digest, Hasher};

use crate::error::io_at;
use crate::{ContentError, Settle};

/// A store of blobs. Clones share it.
#[derive(Debug, Clone)]
pub struct Content {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) settle: Settle,
    state: Mutex<State>,
    /// Makes names in `trash`.
    pub(crate) counter: AtomicU64,
}

/// What holds blobs against being collected.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Blobs that are being ingested.
    pub(crate) busy: HashSet<Digest>,
    /// Blobs that were not settled when the machine went down, and that nobody has looked at since: perhaps not whole.
    pub(crate) unchecked: HashSet<Digest>,
}

impl Content {
    /// Opens the store in `dir`, and makes it if it is not there. Blobs that a power cut damaged are dropped.
    ///
    /// # Errors
    /// If the folder cannot be made or read.
    pub fn open(dir: &Path) -> Result<Content, ContentError> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let blobs = dir.join("blobs").join(algorithm.as_str());
            fs::create_dir_all(&blobs).map_err(io_at("make", &blobs))?;
        }
        for name in ["ingest", "trash"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(io_at("make", &path))?;
        }
        let markers = dir.join("unsettled");
        let (settle, lost) = Settle::open(&markers).map_err(io_at("open", &markers))?;
        let content = Content {
            shared: Arc::new(Shared {
                dir: dir.to_owned(),
                settle,
                state: Mutex::default(),
                counter: AtomicU64::new(0),
            }),
        };
        // What is not swept now is with the next collection.
        let _ = content.sweep_in_background();
        content.check(&lost);
        content.expire_partials()?;
        Ok(content)
    }

    /// Hashes the blobs that were not settled when the machine went down. What cannot be looked at now keeps its marker.
    fn check(&self, names: &[String]) {
        for name in names {
            match Digest::parse(&name.replacen('-', ":", 1)) {
                Ok(digest) => {
                    self.state().unchecked.insert(digest);
                    // It is asked again when somebody needs it, or at the next start.
                    let _ = self.look(&digest);
                }
                Err(_) => self.shared.settle.forget(name),
            }
        }
    }

    /// Hashes a blob that was not looked at since the machine went down: afterwards it is whole or gone.
    ///
    /// # Errors
    /// If the machine has no room to look, or what is damaged cannot be removed. Nothing is known of the blob then.
    pub(crate) fn look(&self, digest: &Digest) -> Result<(), ContentError> {
        if !self.state().unchecked.contains(digest) {
            return Ok(());
        }
        let path = self.path(digest);
        let found = File::open(&path).and_then(|file| hash(&file, digest.algorithm()));
        let mut state = self.state();
        // Somebody else has looked meanwhile, and there may be another file by now.
        if !state.unchecked.contains(digest) {
            return Ok(());
        }
        match found {
            Ok(found) if found == *digest => {}
            Err(error) if is_shortage(&error) => return Err(io_at("read", &path)(error)),
            // What the disk does not give is no better than damaged: it can be fetched again.
            _ => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_at("remove", &path)(error));
                }
                _ => {}
            },
        }
        self.shared.settle.forget(&flat_name(digest));
        state.unchecked.remove(digest);
        Ok(())
    }

    /// Whether the whole blob is here.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.look(digest).is_ok() && self.path(digest).exists()
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`ContentError::NotFound`], or the system's.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ContentError> {
        self.look(digest)?;
        let path = self.path(digest);
        File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ContentError::NotFound(*digest),
            _ => io_at("open", &path)(error),
        })
    }

    /// Size of a blob in bytes.
    ///
    /// # Errors
    /// As [`Content::open_blob`].
    pub fn size(&self, digest: &Digest) -> Result<u64, ContentError> {
        self.look(digest)?;
        let path = self.path(digest);
        match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ContentError::NotFound(*digest))
            }
            Err(error) => Err(io_at("look at", &path)(error)),
        }
    }

    /// A small blob as a whole, such as a manifest. Its digest is checked again: what is decided by these bytes must
    /// not rest on the disk.
    ///
    /// # Errors
    /// As [`Content::open_blob`]; [`ContentError::TooLarge`] above `limit` bytes; [`ContentError::DigestMismatch`].
    pub fn read_small(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let file = self.open_blob(digest)?;
        let path = self.path(digest);
        let size = file.metadata().map_err(io_at("look at", &path))?.len();
        if size > limit {
            return Err(ContentError::TooLarge {
                digest: *digest,
                size,
                limit,
            });
        }
        let mut bytes = Vec::new();
        file.take(limit)
            .read_to_end(&mut bytes)
            .map_err(io_at("read", &path))?;
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        match hasher.finish() {
            found if found == *digest => Ok(bytes),
            found => Err(ContentError::DigestMismatch {
                expected: *digest,
                found: found.to_string(),
            }),
        }
    }

    /// Bytes that the store takes on the disk, parts of blobs included.
    ///
    /// # Errors
    /// If the folders cannot be read.
    pub fn usage(&self) -> Result<u64, ContentError> {
        use std::os::unix::fs::MetadataExt as _;
        let mut total = 0;
        for folder in ["blobs/sha256", "blobs/sha512", "ingest"] {
            for (_, metadata) in self.files(folder)? {
                total += metadata.blocks() * 512;
            }
        }
        Ok(total)
    }

    /// All whole blobs with their sizes in bytes.
    ///
    /// # Errors
    /// If the folders cannot be read.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ContentError> {
        let mut all = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for (path, metadata) in self.files(&format!("blobs/{algorithm}"))? {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // Something that is not ours is none of our business.
                if let Ok(digest) = Digest::parse(&format!("{algorithm}:{name}")) {
                    all.push((digest, metadata.len()));
                }
            }
        }
        Ok(all)
    }

    /// Writes everything to the disk now, instead of soon (see the crate's page on power cuts).
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn settle(&self) -> Result<(), ContentError> {
        self.shared
            .settle
            .settle()
            .map_err(io_at("sync", &self.shared.dir))
    }

    /// The files of one folder of the store. One that goes away meanwhile is left out.
    pub(crate) fn files(&self, folder: &str) -> Result<Vec<(PathBuf, fs::Metadata)>, ContentError> {
        let dir = self.shared.dir.join(folder);
        let mut files = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io_at("read", &dir))? {
            let entry = entry.map_err(io_at("read", &dir))?;
            match entry.metadata() {
                Ok(metadata) => files.push((entry.path(), metadata)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io_at("look at", &entry.path())(error)),
            }
        }
        Ok(files)
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.shared
            .dir
            .join("blobs")
            .join(digest.algorithm().as_str())
            .join(digest.hex())
    }

    pub(crate) fn partial_path(&self, digest: &Digest) -> PathBuf {
        self.shared.dir.join("ingest").join(flat_name(digest))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The digest as a file name.
pub(crate) fn flat_name(digest: &Digest) -> String {
    digest.to_string().replacen(':', "-", 1)
}

/// Whether it is the machine that is short of something, which says nothing about the file.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// The digest of a file's content, from where it stands.
pub(crate) fn hash(mut file: impl Read, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = Hasher::new(algorithm);
    io::copy(&mut file, &mut hasher)?;
    Ok(hasher.finish())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::process::Command;

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    /// In a process of its own, as that has no descriptors to spare.
    #[test]
    fn without_descriptors_nothing_is_known_of_a_blob() {
        const NAME: &str = "store::tests::without_descriptors_nothing_is_known_of_a_blob";
        if std::env::var_os("WHARF_TEST_ALONE").is_none() {
            let mut alone = Command::new(std::env::current_exe().unwrap());
            alone.args([NAME, "--exact"]).env("WHARF_TEST_ALONE", "1");
            assert!(alone.status().unwrap().success());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let content = Content::open(dir.path()).unwrap();
        let blobs = ["one", "two"].map(|text| Digest::sha256(text.as_bytes()));
        fs::write(content.path(&blobs[0]), "one").unwrap();
        fs::write(content.path(&blobs[1]), "tw").unwrap();
        let names = blobs.map(|digest| flat_name(&digest));
        for name in &names {
            let marker = dir.path().join("unsettled").join(name);
            fs::write(marker, "another boot").unwrap();
        }
        let markers = || fs::read_dir(dir.path().join("unsettled")).unwrap().count();
        let limit = Rlimit {
            current: Some(64),
            maximum: Some(64),
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let held: Vec<File> = std::iter::from_fn(|| File::open("/").ok()).collect();
        content.check(&names);
        assert!(!blobs.iter().any(|blob| content.contains(blob)));
        assert!(content.open_blob(&blobs[0]).is_err() && content.ingest(&blobs[0], None).is_err());
        drop(held);
        assert_eq!(markers(), 2);
        assert!(content.contains(&blobs[0]) && !content.contains(&blobs[1]));
        assert_eq!(markers(), 0);
    }
}
