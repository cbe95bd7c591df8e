//! Removing what a task leaves.

use std::path::Path;

use crate::{Found, TaskError, Tasks, folder};

/// `SIGKILL`
pub(crate) const KILL: i32 = 9;

impl Tasks {
    /// Removes the task `id`, whatever state it is in: kills it if it runs. None of that id is fine.
    ///
    /// # Errors
    /// If its folder cannot be removed.
    pub async fn delete(&self, id: &str) -> Result<(), TaskError> {
        match self.load(id).await? {
            Found::Running(task) => task.delete().await,
            Found::Exited(_) | Found::Gone if folder::is_id(id) => folder(&self.folder.join(id)),
            Found::Exited(_) | Found::Gone => Ok(()),
        }
    }
}

pub(crate) fn folder(path: &Path) -> Result<(), TaskError> {
    folder::remove(path)
}
