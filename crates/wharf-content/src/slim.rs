//! Blobs of which only the skeleton is kept: layers whose files lie unpacked elsewhere (see [`wharf_layer::write_skeleton`]).
//!
//! ```text
//! content/skeletons/<flat name>   a line (`wharf-skeleton 1 SIZE FOLDER`), and the skeleton behind it
//!
//!   blob ──slim──▶ skeleton, and no blob ──somebody opens it──▶ skeleton and blob ──slim──▶ ...
//! ```
//!
//! A blob is taken away only after its skeleton is on the disk and has given the same bytes; what it gives later counts if it has the
//! digest. So a skeleton is a blob that takes time to open, as long as its folder is there: who collects folders must leave those that
//! [`Content::folders_of`] names.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use wharf_oci::{Digest, Hasher};

use crate::error::io_at;
use crate::store::flat_name;
use crate::{Content, ContentError};

/// First word of a skeleton's file.
const MAGIC: &str = "wharf-skeleton";
const VERSION: &str = "1";
/// Longest first line, in bytes.
const MAX_LINE: u64 = 4096;
/// At the ends of the names of files in the making.
const NEW: &str = ".new";
const BUFFER: usize = 256 * 1024;

/// Where a folder of that name is, if it is there.
pub type Folders = dyn Fn(&str) -> Option<PathBuf> + Send + Sync;

/// Who was said to know the folders.
#[derive(Default)]
pub(crate) struct Places(OnceLock<Box<Folders>>);

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Places")
    }
}

/// What is known of a skeleton without reading it.
#[derive(Debug, Clone)]
pub(crate) struct Skeleton {
    /// Size of the blob in bytes.
    pub(crate) size: u64,
    pub(crate) folder: String,
}

impl Content {
    /// Says where the folders are that skeletons are of. Before that, no skeleton counts.
    pub fn set_folders(&self, folders: Box<Folders>) {
        // Who opened the store says it once.
        let _ = self.shared.folders.0.set(folders);
    }

    /// Names of the folders without which these blobs could not be read any more.
    pub fn folders_of<'a>(&self, blobs: impl Iterator<Item = &'a Digest>) -> HashSet<String> {
        let state = self.state();
        let skeletons = blobs.filter_map(|blob| state.skeletons.get(blob));
        skeletons.map(|one| one.folder.clone()).collect()
    }

    /// Whether the blob's own bytes are here, and nobody has written them for so long.
    pub fn is_settled_for(&self, digest: &Digest, age: Duration) -> bool {
        let changed = fs::metadata(self.path(digest)).and_then(|metadata| metadata.modified());
        changed.is_ok_and(|changed| {
            let past = SystemTime::now().duration_since(changed);
            past.is_ok_and(|past| past >= age)
        })
    }

    /// Keeps of a blob only the skeleton: an uncompressed layer that lies unpacked in `folder`. One that would not become much smaller stays.
    /// Bytes that are free now. Blocks on the disk for as long as it takes to read the blob some times.
    ///
    /// # Errors
    /// If there is no such blob or folder, or the system refuses. The blob is as before.
    pub fn slim(&self, digest: &Digest, folder: &str) -> Result<u64, ContentError> {
        let _turn = self.turn();
        let blob = self.open_whole(digest)?;
        let path = self.path(digest);
        let size = blob.metadata().map_err(io_at("look at", &path))?.len();
        if self.skeleton(digest).is_none() && !self.make_skeleton(digest, &blob, size, folder)? {
            return Ok(0);
        }
        let state = self.state();
        // Where it is needed no more, neither is the other.
        if !path.exists() || !state.skeletons.contains_key(digest) {
            return Ok(0);
        }
        self.discard_file(&path)?;
        drop(state);
        self.sweep();
        Ok(size)
    }

    /// Whether a skeleton was made that is worth its while.
    fn make_skeleton(
        &self,
        digest: &Digest,
        blob: &File,
        size: u64,
        folder: &str,
    ) -> Result<bool, ContentError> {
        let skeleton = Skeleton {
            size,
            folder: folder.to_owned(),
        };
        let new = self.skeleton_path(digest, NEW);
        let made = self.write_new(&new, digest, blob, &skeleton);
        if !matches!(made, Ok(true)) {
            let _ = fs::remove_file(&new);
            return made;
        }
        let path = self.skeleton_path(digest, "");
        fs::rename(&new, &path).map_err(io_at("place", &path))?;
        // Both names are on the disk before the blob goes.
        let dir = self.shared.dir.join("skeletons");
        let synced = File::open(&dir).and_then(|dir| dir.sync_all());
        synced.map_err(io_at("sync", &dir))?;
        self.state().skeletons.insert(*digest, skeleton);
        Ok(true)
    }

    /// Writes a skeleton down, and sees whether it gives the blob.
    fn write_new(
        &self,
        new: &Path,
        digest: &Digest,
        blob: &File,
        skeleton: &Skeleton,
    ) -> Result<bool, ContentError> {
        let folder = self.folder(digest, skeleton)?;
        let failed = |error| io_at("write", new)(io::Error::other(error));
        let file = File::create(new).map_err(io_at("make", new))?;
        let mut out = BufWriter::with_capacity(BUFFER, &file);
        writeln!(
            out,
            "{MAGIC} {VERSION} {} {}",
            skeleton.size, skeleton.folder
        )
        .map_err(io_at("write", new))?;
        wharf_layer::write_skeleton(blob, folder.as_fd(), &mut out).map_err(failed)?;
        out.flush().map_err(io_at("write", new))?;
        drop(out);
        file.sync_all().map_err(io_at("sync", new))?;
        let takes = file.metadata().map_err(io_at("look at", new))?.len();
        if takes > skeleton.size / 2 {
            return Ok(false);
        }
        let mut hasher = Hashing(Hasher::new(digest.algorithm()));
        self.rebuild(new, digest, skeleton, &mut hasher)?;
        Ok(hasher.0.finish() == *digest)
    }

    /// What is known of a blob that is here as a skeleton.
    pub(crate) fn skeleton(&self, digest: &Digest) -> Option<Skeleton> {
        let known = self.state().skeletons.get(digest).cloned()?;
        self.folder_path(&known).is_some().then_some(known)
    }

    /// Makes a blob whole again of which only the skeleton is here.
    ///
    /// # Errors
    /// [`ContentError::NotFound`] if it is not; [`ContentError::DigestMismatch`] if somebody has changed the files; or the system's.
    pub(crate) fn restore(&self, digest: &Digest) -> Result<(), ContentError> {
        let _turn = self.turn();
        let path = self.path(digest);
        // Somebody else may have wanted it at the same time.
        if path.exists() {
            return Ok(());
        }
        let skeleton = self.skeleton(digest);
        let skeleton = skeleton.ok_or(ContentError::NotFound(*digest))?;
        let new = self.skeleton_path(digest, NEW);
        let restored = self.restore_to(&new, digest, &skeleton);
        let placed = restored.and_then(|()| {
            let settle = &self.shared.settle;
            let begun = settle.begin(&flat_name(digest));
            begun.map_err(io_at("mark as new", &path))?;
            fs::rename(&new, &path).map_err(io_at("place", &path))
        });
        if placed.is_err() {
            let _ = fs::remove_file(&new);
        }
        placed
    }

    fn restore_to(
        &self,
        new: &Path,
        digest: &Digest,
        skeleton: &Skeleton,
    ) -> Result<(), ContentError> {
        let file = File::create(new).map_err(io_at("make", new))?;
        let mut out = Both {
            hasher: Hasher::new(digest.algorithm()),
            file: BufWriter::with_capacity(BUFFER, file),
        };
        self.rebuild(&self.skeleton_path(digest, ""), digest, skeleton, &mut out)?;
        out.file.flush().map_err(io_at("write", new))?;
        match out.hasher.finish() {
            found if found == *digest => Ok(()),
            found => Err(ContentError::DigestMismatch {
                expected: *digest,
                found: found.to_string(),
            }),
        }
    }

    /// Whether a blob that is here as a skeleton would be the right one; `None` if it is not one.
    pub fn gives_its_blob(&self, digest: &Digest) -> Option<bool> {
        if self.path(digest).exists() {
            return None;
        }
        let skeleton = self.skeleton(digest)?;
        let mut hasher = Hashing(Hasher::new(digest.algorithm()));
        let path = self.skeleton_path(digest, "");
        let rebuilt = self.rebuild(&path, digest, &skeleton, &mut hasher);
        Some(rebuilt.is_ok() && hasher.0.finish() == *digest)
    }

    fn rebuild(
        &self,
        path: &Path,
        digest: &Digest,
        skeleton: &Skeleton,
        out: &mut dyn Write,
    ) -> Result<(), ContentError> {
        let folder = self.folder(digest, skeleton)?;
        let file = File::open(path).map_err(io_at("open", path))?;
        let mut input = BufReader::with_capacity(BUFFER, file);
        first_line(&mut input).map_err(io_at("read", path))?;
        let rebuilt = wharf_layer::read_skeleton(input, folder.as_fd(), out);
        rebuilt.map_err(|error| match error {
            // A full disk is to be known as one.
            wharf_layer::LayerError::Write(source) => io_at("write", path)(source),
            other => io_at("read", path)(io::Error::other(other)),
        })
    }

    fn folder_path(&self, skeleton: &Skeleton) -> Option<PathBuf> {
        let folders = self.shared.folders.0.get()?;
        folders(&skeleton.folder)
    }

    fn folder(&self, digest: &Digest, skeleton: &Skeleton) -> Result<File, ContentError> {
        let path = self.folder_path(skeleton);
        let path = path.ok_or(ContentError::NotFound(*digest))?;
        File::open(&path).map_err(io_at("open", &path))
    }

    fn skeleton_path(&self, digest: &Digest, end: &str) -> PathBuf {
        let name = format!("{}{end}", flat_name(digest));
        self.shared.dir.join("skeletons").join(name)
    }

    /// Takes a skeleton away, if there is one; the caller holds the state.
    pub(crate) fn discard_skeleton(
        &self,
        state: &mut crate::store::State,
        digest: &Digest,
    ) -> Result<(), ContentError> {
        match state.skeletons.remove(digest) {
            Some(_) => self.discard_file(&self.skeleton_path(digest, "")),
            None => Ok(()),
        }
    }

    /// Skeletons are made, and blobs made of them, one after the other.
    fn turn(&self) -> MutexGuard<'_, ()> {
        let turn = &self.shared.turn;
        turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns which skeletons are here, and takes away what a kill left of others.
    pub(crate) fn find_skeletons(&self) -> Result<(), ContentError> {
        for (path, _) in self.files("skeletons")? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = Digest::parse(&name.replacen('-', ":", 1));
            let found = File::open(&path).and_then(|file| first_line(&mut BufReader::new(file)));
            match (digest, found) {
                (Ok(digest), Ok(skeleton)) => {
                    self.state().skeletons.insert(digest, skeleton);
                }
                // Nobody can read it, and nobody was promised that it can be.
                _ if name.ends_with(NEW) => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads the first line of a skeleton's file.
fn first_line(input: &mut impl io::BufRead) -> io::Result<Skeleton> {
    let mut line = String::new();
    io::Read::take(&mut *input, MAX_LINE).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (magic, version) = (words.next(), words.next());
    let size = words.next().and_then(|size| size.parse().ok());
    match (magic, version, size, words.next()) {
        (Some(MAGIC), Some(VERSION), Some(size), Some(folder)) => Ok(Skeleton {
            size,
            folder: folder.to_owned(),
        }),
        _ => Err(io::Error::other("not a skeleton that is known here")),
    }
}

struct Hashing(Hasher);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Both {
    hasher: Hasher,
    file: BufWriter<File>,
}

impl Write for Both {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
