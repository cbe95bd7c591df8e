//! Where content lies: in a folder of this machine, or in a bucket. Uploads under way are in the folder in any case.

use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use super::bucket::{Bucket, Object};
use super::directory::{Directory, Entry};
use crate::Error;
use crate::error::io_at;

/// A blob that is about to be read.
#[derive(Debug)]
pub(crate) enum Opened {
    /// A file, and its size in bytes.
    File(File, u64),
    /// An object of the bucket.
    Object(Box<Object>),
}

impl Opened {
    /// Size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Opened::File(_, size) => *size,
            Opened::Object(object) => object.size(),
        }
    }
}

/// Content by its key.
#[derive(Debug)]
pub(super) struct Storage {
    /// Uploads, the lock, and without a bucket all there is.
    pub(super) local: Directory,
    bucket: Option<Bucket>,
}

impl Storage {
    pub(super) fn new(local: Directory, bucket: Option<Bucket>) -> Storage {
        Storage { local, bucket }
    }

    /// Whether content is elsewhere than uploads: putting a blob in place takes as long as sending it.
    pub(super) fn is_remote(&self) -> bool {
        self.bucket.is_some()
    }

    /// Something small as a whole; `None` if there is none.
    pub(super) fn read(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        match &self.bucket {
            None => self.local.read(key),
            Some(bucket) => bucket.read(key),
        }
    }

    /// As [`Directory::stat`].
    pub(super) fn stat(&self, key: &str) -> Result<Option<(u64, SystemTime)>, Error> {
        match &self.bucket {
            None => self.local.stat(key),
            Some(bucket) => bucket.stat(key),
        }
    }

    /// Opens something for reading; `None` if there is none.
    pub(super) fn open(&self, key: &str) -> Result<Option<Opened>, Error> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.open_object(key)?.map(Box::new).map(Opened::Object));
        }
        let Some(file) = self.local.open_file(key)? else {
            return Ok(None);
        };
        let stat = file
            .metadata()
            .map_err(io_at("look at", &self.local.path(key)))?;
        Ok(Some(Opened::File(file, stat.len())))
    }

    /// Puts something small in place; it is there to stay when this returns.
    pub(super) fn put(&self, key: &str, bytes: &[u8]) -> Result<(), Error> {
        match &self.bucket {
            None => self.local.put(key, bytes),
            Some(bucket) => bucket.put(key, bytes),
        }
    }

    /// Puts a file of ours in place, whose bytes are on the disk.
    pub(super) fn place(&self, from: &Path, key: &str) -> Result<(), Error> {
        match &self.bucket {
            None => self.local.place(from, key),
            Some(bucket) => bucket.place(from, key),
        }
    }

    /// As [`Directory::remove_file`].
    pub(super) fn remove_file(&self, key: &str, keep: &str) -> Result<(), Error> {
        match &self.bucket {
            None => self.local.remove_file(key, keep),
            Some(bucket) => bucket.remove(key),
        }
    }

    /// As [`Directory::remove_folder`].
    pub(super) fn remove_folder(&self, key: &str) -> Result<(), Error> {
        match &self.bucket {
            None => self.local.remove_folder(key),
            Some(bucket) => bucket.remove_below(key),
        }
    }

    /// As [`Directory::list`].
    pub(super) fn list(&self, key: &str) -> Result<Vec<Entry>, Error> {
        match &self.bucket {
            None => self.local.list(key),
            Some(bucket) => bucket.list(key),
        }
    }

    /// Names of the folders right below a key that have something at `below`, by name.
    pub(super) fn with(&self, key: &str, below: &str) -> Result<Vec<String>, Error> {
        if let Some(bucket) = &self.bucket {
            return bucket.with(key, below);
        }
        let mut names = Vec::new();
        for entry in self.local.list(key)? {
            let path = format!("{key}/{}/{below}", entry.name);
            if entry.is_folder && self.local.stat(&path)?.is_some() {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    /// Whether content can be put.
    pub(super) fn probe(&self) -> Result<(), Error> {
        self.put(".wharf/probe", b"")
    }
}
