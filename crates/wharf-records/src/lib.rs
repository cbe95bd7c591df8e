//! Records in one SQLite file: versioned JSON documents in typed tables.
//!
//! One file holds every record of the daemon, so that several of them change in one transaction. The
//! journal is a write-ahead log with `synchronous=NORMAL`: a commit is a plain `write(2)`, so it survives
//! `kill -9` of the daemon at any point without an fsync in the way of `run`; a power cut may lose the last
//! commits, never the file (<https://www.sqlite.org/wal.html>).
//!
//! A [`Table`] names a kind of document and the version of its shape. Documents are JSON, as a record must
//! be readable by the next version of the program: an older version found on disk is handed to the table's
//! upgrade function, a newer one is an error that names the record.
//!
//! Invariant: nothing here knows what a document means. The lock is held only for the closure given to
//! [`Db::read`] or [`Db::write`], which must not block on anything but the disk.

mod db;
mod error;
mod table;

pub use db::{Db, Transaction};
pub use error::RecordError;
pub use table::Table;
