//! The record of the end.

use std::io;
use std::path::Path;

use wharf_shim_api::{EXIT_FILE, ExitStatus};

/// Leaves `status` in the task's folder: whole or not at all.
pub(crate) fn record(folder: &Path, status: &ExitStatus) -> io::Result<()> {
    let text = serde_json::to_vec(status)?;
    let new = folder.join("exit.json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, folder.join(EXIT_FILE))
}
