//! Uploads that requests are at, each open once. What is not here is found again on the disk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;

use crate::names::UploadId;
use crate::store::Upload;

type Shared = Arc<tokio::sync::Mutex<Upload>>;

/// Uploads whose files are open at most; of more, those that wait longest for their next request are closed.
const OPEN: usize = 1024;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Uploads(Mutex<HashMap<UploadId, (Shared, Instant)>>);

impl Uploads {
    fn table(&self) -> MutexGuard<'_, HashMap<UploadId, (Shared, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upload, if a request was at it lately.
    pub(crate) fn get(&self, id: &UploadId) -> Option<Shared> {
        let mut table = self.table();
        let (upload, used) = table.get_mut(id)?;
        *used = Instant::now();
        Some(upload.clone())
    }

    /// Takes in an upload that was found on the disk, unless another request did so meanwhile.
    pub(crate) fn share(&self, upload: Upload) -> Shared {
        let mut table = self.table();
        let id = upload.id.clone();
        make_room(&mut table);
        let entry = table
            .entry(id)
            .or_insert_with(|| (Arc::new(upload.into()), Instant::now()));
        entry.0.clone()
    }

    /// Takes in a new upload, for its first request.
    pub(crate) async fn add(&self, upload: Upload) -> OwnedMutexGuard<Upload> {
        let id = upload.id.clone();
        let shared: Shared = Arc::new(upload.into());
        let guard = shared.clone().lock_owned().await;
        let mut table = self.table();
        make_room(&mut table);
        table.insert(id, (shared, Instant::now()));
        guard
    }

    /// Forgets an upload that is over.
    pub(crate) fn remove(&self, id: &UploadId) {
        self.table().remove(id);
    }

    /// Closes the files of uploads that no request was at for so long.
    pub(crate) fn close_idle(&self, idle: Duration) {
        self.table()
            .retain(|_, (upload, used)| Arc::strong_count(upload) > 1 || used.elapsed() < idle);
    }
}

/// Closes one upload that no request is at, if there are too many.
fn make_room(table: &mut HashMap<UploadId, (Shared, Instant)>) {
    if table.len() < OPEN {
        return;
    }
    let idle = table
        .iter()
        .filter(|(_, (upload, _))| Arc::strong_count(upload) == 1);
    let oldest = idle
        .min_by_key(|(_, (_, used))| *used)
        .map(|(id, _)| id.clone());
    if let Some(id) = oldest {
        table.remove(&id);
    }
}
