//! Removing what a task leaves.

use std::path::Path;
use std::time::Duration;

use crate::{Found, TaskError, Tasks, folder};

/// `SIGKILL`
pub(crate) const KILL: i32 = 9;

/// How long a shim may take to end after its process: lines go to a logger, and hooks are run.
pub(crate) const OVER: Duration = Duration::from_secs(60);

impl Tasks {
    /// Removes the task `id`, whatever state it is in: kills it if it runs, and a shim that does not answer. None of that id is
    /// fine.
    ///
    /// # Errors
    /// If its folder cannot be removed.
    pub async fn delete(&self, id: &str) -> Result<(), TaskError> {
        let loaded = tokio::time::timeout(OVER, self.load(id)).await;
        let found = match loaded {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => self.end(id, None).await?,
        };
        match found {
            Found::Running(task) => task.delete().await,
            Found::Exited(_) | Found::Gone if folder::is_id(id) => folder(&self.folder.join(id)),
            Found::Exited(_) | Found::Gone => Ok(()),
        }
    }
}

pub(crate) fn folder(path: &Path) -> Result<(), TaskError> {
    folder::remove(path)
}
