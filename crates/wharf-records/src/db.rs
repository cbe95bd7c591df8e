//! The file, its settings, and transactions.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use rustix::fs::FallocateFlags;

use crate::RecordError;

/// Bytes of the write-ahead log that have their place on the disk from the beginning. SQLite writes it anew from its start
/// when it has some 4 MB (`wal_autocheckpoint`), so that with this a commit finds room on a full disk: what is in the way must be
/// removable then.
const RESERVED: u64 = 5 << 20;

/// A handle to the record file. Clones share one connection.
#[derive(Clone)]
pub struct Db {
    connection: Arc<Mutex<Connection>>,
    path: Arc<PathBuf>,
}

/// A running transaction, given to the closures of [`Db::read`] and [`Db::write`].
pub struct Transaction<'a>(pub(crate) &'a rusqlite::Transaction<'a>);

impl Db {
    /// Opens the record file at `path`, and makes it if it is not there.
    ///
    /// # Errors
    /// [`RecordError::Open`] if the file is no database or its folder cannot be written.
    pub fn open(path: &Path) -> Result<Self, RecordError> {
        let open = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            // SQLite would remove the log with the last connection, and its blocks with it: the next daemon may find the disk
            // full.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            // Two processes never share a data root (the engine holds its lock), but a reader such as the
            // sqlite3 shell may hold the file for a moment.
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            // Small documents and few of them: a small page cache keeps the idle daemon small.
            connection.pragma_update(None, "cache_size", -512)?;
            connection.execute_batch(
                "CREATE TABLE IF NOT EXISTS record (
                     kind TEXT NOT NULL,
                     key TEXT NOT NULL,
                     version INTEGER NOT NULL,
                     body BLOB NOT NULL,
                     PRIMARY KEY (kind, key)
                 ) WITHOUT ROWID, STRICT;",
            )?;
            Ok(connection)
        };
        let connection = open().map_err(|source| RecordError::Open {
            path: path.to_owned(),
            source,
        })?;
        if let Err(error) = reserve(path) {
            tracing::warn!(%error, "no place is kept for records: on a full disk nothing can be removed");
        }
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path: Arc::new(path.to_owned()),
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `body` with a consistent view of all records.
    ///
    /// # Errors
    /// Those of `body`, and [`RecordError::Sql`] if no transaction could be begun.
    pub fn read<T, E: From<RecordError>>(
        &self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection.transaction().map_err(whole("begin"))?;
        body(&Transaction(&transaction))
    }

    /// Runs `body`, and commits what it did if it returns `Ok`; else nothing of it stays.
    ///
    /// # Errors
    /// Those of `body`, and [`RecordError::Sql`] if the transaction could not be begun or committed.
    pub fn write<T, E: From<RecordError>>(
        &self,
        body: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.lock();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(whole("begin"))?;
        let value = body(&Transaction(&transaction))?;
        transaction.commit().map_err(whole("commit"))?;
        Ok(value)
    }

    // A panic inside a closure rolled its transaction back when it was dropped: the connection is sound.
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the log its blocks, without a change of its length.
fn reserve(path: &Path) -> std::io::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // The log alone: to open and close the database would give SQLite's locks on it away.
    let log = OpenOptions::new().write(true).open(log)?;
    rustix::fs::fallocate(&log, FallocateFlags::KEEP_SIZE, 0, RESERVED)?;
    Ok(())
}

fn whole(operation: &'static str) -> impl Fn(rusqlite::Error) -> RecordError {
    move |source| RecordError::Sql {
        operation,
        table: "*",
        source,
    }
}
