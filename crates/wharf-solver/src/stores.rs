//! Content stores of clients: what is read out of them, every byte against its digest, and what is written there.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharf_builder::StorePlace;
use wharf_images::BlobHold;
use wharf_oci::{Descriptor, Digest, Hasher};

use crate::{Job, SolveError, blocking};

/// Blobs that are sent to a client at a time.
const AT_ONCE: usize = 4;

impl Job {
    /// A small blob of a client's store.
    ///
    /// # Errors
    /// If the client does not have it, it is longer than `limit`, or is not what its digest says.
    pub(crate) async fn document_of(
        &self,
        place: &StorePlace,
        digest: &Digest,
        limit: u64,
    ) -> Result<Vec<u8>, SolveError> {
        let data = self.client().blob(place, digest).await?;
        let mut bytes = Vec::new();
        let read = data.take(limit + 1).read_to_end(&mut bytes).await;
        read.map_err(SolveError::io(format!("read {digest} from the client")))?;
        if bytes.len() as u64 > limit {
            return Err(SolveError::Failed(format!(
                "{digest} of the client is too large"
            )));
        }
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        match hasher.finish() == *digest {
            true => Ok(bytes),
            false => Err(SolveError::Failed(format!(
                "{digest} of the client is not what it should be"
            ))),
        }
    }

    /// Brings a blob of a client's store here, where it stays while the hold lives.
    ///
    /// # Errors
    /// If the client does not have it, or it is not what its digest says.
    pub(crate) async fn bring(
        &self,
        place: &StorePlace,
        blob: &Descriptor,
    ) -> Result<BlobHold, SolveError> {
        let store = self.engine().images.store().clone();
        let hold = store.hold_blob(&blob.digest);
        if store.has_blob(&blob.digest) {
            return Ok(hold);
        }
        let failed = SolveError::io(format!("read {} from the client", blob.digest));
        let data = self.client().blob(place, &blob.digest).await?;
        let dir = self.scratch()?;
        let path = dir.path().join("blob");
        let mut file = tokio::fs::File::create(&path).await.map_err(&failed)?;
        // One byte more shows that it is too long, and no more than that is taken.
        let mut data = data.take(blob.size.saturating_add(1));
        tokio::io::copy(&mut data, &mut file)
            .await
            .map_err(&failed)?;
        file.flush().await.map_err(failed)?;
        let digest = blob.digest;
        blocking(move || {
            let _dir = dir;
            let kept = store.keep_blob(&digest, &mut |out| {
                let mut file = std::fs::File::open(&path)?;
                std::io::copy(&mut file, out).map(drop)
            });
            drop(hold);
            Ok(kept?)
        })
        .await
    }

    /// Writes blobs that are here, and documents that are not, into a client's store.
    ///
    /// # Errors
    /// If one is not here, or the client does not take it.
    pub(crate) async fn send_to(
        &self,
        place: &StorePlace,
        blobs: &[Descriptor],
        documents: &[(&Descriptor, &[u8])],
    ) -> Result<(), SolveError> {
        for blobs in blobs.chunks(AT_ONCE) {
            let mut sends = Vec::new();
            for blob in blobs {
                sends.push(self.send_blob(place, blob));
            }
            futures_util::future::try_join_all(sends).await?;
        }
        // What names them comes after them.
        for (descriptor, bytes) in documents {
            let data = Box::new(std::io::Cursor::new(bytes.to_vec()));
            self.client().keep_blob(place, descriptor, data).await?;
        }
        Ok(())
    }

    async fn send_blob(&self, place: &StorePlace, blob: &Descriptor) -> Result<(), SolveError> {
        let file = self.engine().images.store().open_blob(&blob.digest)?;
        let data = Box::new(tokio::fs::File::from_std(file));
        Ok(self.client().keep_blob(place, blob, data).await?)
    }
}
