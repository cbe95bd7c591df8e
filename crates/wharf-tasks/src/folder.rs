//! A task's folder.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wharf_shim_api::{EXIT_FILE, ExitStatus};

use crate::TaskError;

/// What a daemon must know of a task whose shim is gone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TaskRecord {
    pub(crate) version: u32,
    /// The control group of the spec, or empty.
    pub(crate) cgroup: String,
    /// Whose it is.
    #[serde(default)]
    pub(crate) owner: String,
}

/// The name of the file that holds it.
pub(crate) const RECORD: &str = "task.json";

pub(crate) fn make(path: &Path, mode: u32) -> Result<(), TaskError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| TaskError::io("make", path, source))
}

/// Removes `path` with all in it; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), TaskError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| TaskError::io("remove", path, source)),
    }
}

/// Whether `id` can be a folder's name; what comes from elsewhere must not lead out.
pub(crate) fn is_id(id: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    !id.is_empty() && !id.starts_with('.') && id.bytes().all(letter)
}

impl TaskRecord {
    pub(crate) fn write(&self, folder: &Path) -> Result<(), TaskError> {
        let path = folder.join(RECORD);
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        let written = text.and_then(|text| std::fs::write(&path, text));
        written.map_err(|source| TaskError::io("write", &path, source))
    }

    /// `None` if it is not there or not whole: the task was never begun.
    ///
    /// # Errors
    /// If it cannot be read, which says nothing of the task.
    pub(crate) fn read(folder: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(folder.join(RECORD)) {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The exit record, if there is one; it is renamed into place, so it is whole.
pub(crate) fn exit_status(folder: &Path) -> Option<ExitStatus> {
    let text = std::fs::read(folder.join(EXIT_FILE)).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_lead_out() {
        assert!(is_id("0f3a") && is_id("my-task_1.x"));
        assert!(!is_id("") && !is_id("..") && !is_id("a/b") && !is_id(".hidden"));
    }
}
