//! Uploads: a file per upload, which outlives the process. Its length is how far it came.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use wharf_oci::{Algorithm, Digest, Hasher};

use super::usage::Usage;
use super::{Store, keys};
use crate::Error;
use crate::error::io_at;
use crate::names::{Name, UploadId};

const BUFFER: usize = 256 * 1024;

/// A blob on its way in.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) name: Name,
    pub(crate) id: UploadId,
    file: File,
    path: PathBuf,
    offset: u64,
    /// Of what came; `None` when another process took it in, and it must be read.
    hasher: Option<(Algorithm, Hasher)>,
    place: Place,
}

/// What an upload holds of the quotas, as long as it is open.
#[derive(Debug)]
struct Place {
    usage: Arc<Usage>,
    id: UploadId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.usage.let_go(&self.id);
    }
}

impl Upload {
    /// Is about to have so many bytes.
    fn hold(&self, bytes: u64) -> Result<(), Error> {
        self.place.usage.hold(&self.id, &self.name, bytes)
    }

    /// Bytes that came.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes in the next bytes. After an error, the file is as before.
    pub(crate) fn append(&mut self, pieces: &[Bytes]) -> Result<(), Error> {
        for piece in pieces {
            if let Err(error) = self.file.write_all(piece) {
                let back = self
                    .file
                    .set_len(self.offset)
                    .and_then(|()| self.file.seek(SeekFrom::Start(self.offset)));
                if back.is_err() {
                    // Then the file is read again for its digest.
                    self.hasher = None;
                }
                return Err(io_at("write", &self.path)(error));
            }
            if let Some((_, hasher)) = &mut self.hasher {
                hasher.update(piece);
            }
            self.offset += piece.len() as u64;
        }
        Ok(())
    }

    /// The digest of all that came.
    fn digest(&mut self, algorithm: Algorithm) -> Result<Digest, Error> {
        if let Some((ours, hasher)) = &self.hasher
            && *ours == algorithm
        {
            return Ok(hasher.clone().finish());
        }
        let mut hasher = Hasher::new(algorithm);
        let mut read = || -> io::Result<()> {
            self.file.seek(SeekFrom::Start(0))?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match self.file.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => hasher.update(&buffer[..count]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        };
        read().map_err(io_at("read", &self.path))?;
        Ok(hasher.finish())
    }
}

impl Store {
    /// Begins an upload into a repository, of a blob whose digest will be of this kind.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn begin_upload(&self, name: &Name, algorithm: Algorithm) -> Result<Upload, Error> {
        self.touch(name, None);
        let id = UploadId::random();
        let path = self.storage.local.path(&keys::upload_data(name, &id));
        self.storage
            .local
            .make_folder(path.parent().unwrap_or(&path))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(io_at("make", &path))?;
        // docker-registry's own collector of uploads goes by this file.
        let started = jiff::Timestamp::now().to_string();
        self.storage.local.put(
            &format!("{}/startedat", keys::upload(name, &id)),
            started.as_bytes(),
        )?;
        Ok(Upload {
            name: name.clone(),
            place: self.place(&id),
            id,
            file,
            path,
            offset: 0,
            hasher: Some((algorithm, Hasher::new(algorithm))),
        })
    }

    /// An upload that an earlier process began.
    ///
    /// # Errors
    /// [`Error::UploadUnknown`], or the system's.
    pub(crate) fn resume_upload(&self, name: &Name, id: &UploadId) -> Result<Upload, Error> {
        let path = self.storage.local.path(&keys::upload_data(name, id));
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::UploadUnknown);
            }
            other => other.map_err(io_at("open", &path))?,
        };
        let offset = file
            .seek(SeekFrom::End(0))
            .map_err(io_at("look at", &path))?;
        // Not before: names of no repository are nobody's to be remembered.
        self.touch(name, None);
        Ok(Upload {
            name: name.clone(),
            id: id.clone(),
            file,
            path,
            offset,
            hasher: None,
            place: self.place(id),
        })
    }

    fn place(&self, id: &UploadId) -> Place {
        Place {
            usage: self.usage.clone(),
            id: id.clone(),
        }
    }

    /// Takes in the next bytes of an upload, within the quotas.
    ///
    /// # Errors
    /// [`Error::Quota`], or the system's; the upload is as before.
    pub(crate) fn append(&self, upload: &mut Upload, pieces: &[Bytes]) -> Result<(), Error> {
        let more: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        upload.hold(upload.offset + more)?;
        self.touch(&upload.name, None);
        upload.append(pieces)
    }

    /// Makes an upload a blob of its repository, if its bytes have the digest. Returns the size in bytes.
    ///
    /// # Errors
    /// [`Error::DigestInvalid`], [`Error::Quota`], or the system's.
    pub(crate) fn finish_upload(&self, upload: &mut Upload, digest: &Digest) -> Result<u64, Error> {
        let found = upload.digest(digest.algorithm())?;
        if found != *digest {
            return Err(Error::DigestInvalid(format!(
                "content has digest {found}, not {digest}"
            )));
        }
        upload
            .file
            .sync_data()
            .map_err(io_at("sync", &upload.path))?;
        let size = upload.offset;
        // It does already, unless it was closed meanwhile, by this process or with an earlier one.
        upload.hold(size)?;
        let key = keys::blob(digest);
        if self.storage.is_remote() {
            // Without the gate, which others would wait for as long; the lease holds the blob until the repository does.
            self.touch(&upload.name, Some(digest));
            if self.storage.stat(&key)?.is_none() {
                self.storage.place(&upload.path, &key)?;
            }
        }
        let _gate = self.gate();
        let _turn = self.usage.turn();
        if self.storage.stat(&key)?.is_none() {
            self.storage.place(&upload.path, &key)?;
        }
        self.usage.stored(&upload.id, digest, size);
        let is_new = self.link(&upload.name, digest)?;
        let bytes = if is_new { size } else { 0 };
        self.usage.linked(&upload.id, &upload.name, bytes);
        self.drop_upload(&upload.name, &upload.id)?;
        Ok(size)
    }

    /// Takes an upload away.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn drop_upload(&self, name: &Name, id: &UploadId) -> Result<(), Error> {
        self.storage.local.remove_folder(&keys::upload(name, id))?;
        self.usage.let_go(id);
        Ok(())
    }

    /// Takes uploads away that nobody has gone on with for so long. Returns how many.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn purge_uploads(&self, age: Duration) -> Result<usize, Error> {
        let mut old = Vec::new();
        self.walk_local("", &mut |name| {
            for entry in self.storage.local.list(&keys::uploads(name))? {
                let Ok(id) = UploadId::parse(&entry.name) else {
                    continue;
                };
                // One that begins just now has a folder, and no file yet.
                let data = self.storage.local.stat(&keys::upload_data(name, &id))?;
                let found = match data {
                    None => self.storage.local.stat(&keys::upload(name, &id))?,
                    data => data,
                };
                let Some((_, changed)) = found else { continue };
                if SystemTime::now()
                    .duration_since(changed)
                    .is_ok_and(|past| past >= age)
                {
                    old.push((name.clone(), id));
                }
            }
            Ok(())
        })?;
        for (name, id) in &old {
            self.drop_upload(name, id)?;
        }
        Ok(old.len())
    }

    /// Whether an upload into the repository is under way, or was not given up yet.
    pub(super) fn has_uploads(&self, name: &Name) -> Result<bool, Error> {
        let uploads = self.storage.local.list(&keys::uploads(name))?;
        Ok(!uploads.is_empty())
    }
}
