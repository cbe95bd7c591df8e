//! What can go wrong with a record.

use std::path::PathBuf;

/// An error of the record store.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file could not be opened or its settings applied.
    #[error("open record store {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
    /// A transaction could not be begun, run or committed; nothing of it is on disk.
    #[error("{operation} records in table {table}")]
    Sql {
        /// What was tried: `read`, `write`, `delete`, `begin`, `commit`.
        operation: &'static str,
        /// The table, or `*` for the whole transaction.
        table: &'static str,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
    /// A document does not have the shape that its version promises.
    #[error("record {table}/{key} is malformed")]
    Malformed {
        /// The table.
        table: &'static str,
        /// The document's key.
        key: String,
        /// The JSON error.
        #[source]
        source: serde_json::Error,
    },
    /// A newer program wrote this document.
    #[error(
        "record {table}/{key} has version {found}, this program knows up to {known}: it was written by a newer wharf"
    )]
    TooNew {
        /// The table.
        table: &'static str,
        /// The document's key.
        key: String,
        /// The version on disk.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
}

impl RecordError {
    /// Whether the disk had no room for the change (which then did not happen).
    pub fn is_disk_full(&self) -> bool {
        let (Self::Open { source, .. } | Self::Sql { source, .. }) = self else {
            return false;
        };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}
