//! A typed table of versioned documents.

use std::marker::PhantomData;

use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{RecordError, Transaction};

/// Turns a document of an older version into one of the next version.
type Upgrade = fn(from: u32, document: Value) -> Value;

/// A kind of document: its name on disk, its Rust type and the version of its shape.
///
/// A `Table` is a constant without state: `const CONTAINERS: Table<Record> = Table::new("containers", 1);`
pub struct Table<T> {
    name: &'static str,
    version: u32,
    upgrade: Option<Upgrade>,
    document: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// A table `name` whose documents have version `version`.
    pub const fn new(name: &'static str, version: u32) -> Self {
        Self {
            name,
            version,
            upgrade: None,
            document: PhantomData,
        }
    }

    /// The same table with a function that lifts a document of version `from` to `from + 1`.
    pub const fn upgraded_by(mut self, upgrade: Upgrade) -> Self {
        self.upgrade = Some(upgrade);
        self
    }

    /// The document at `key`, if there is one.
    ///
    /// # Errors
    /// If it cannot be read, has another shape than its version says, or a newer version.
    pub fn get(&self, tx: &Transaction<'_>, key: &str) -> Result<Option<T>, RecordError> {
        let row: Option<(u32, Vec<u8>)> =
            tx.0.prepare_cached("SELECT version, body FROM record WHERE kind = ?1 AND key = ?2")
                .and_then(|mut statement| {
                    statement
                        .query_row(params![self.name, key], |row| {
                            Ok((row.get(0)?, row.get(1)?))
                        })
                        .optional()
                })
                .map_err(self.sql("read"))?;
        row.map(|(version, body)| self.decode(key, version, &body))
            .transpose()
    }

    /// All documents with their keys, in the order of the keys.
    ///
    /// # Errors
    /// As [`Table::get`]; one bad document fails the whole, as a forgotten record is worse than a stop.
    pub fn all(&self, tx: &Transaction<'_>) -> Result<Vec<(String, T)>, RecordError> {
        let mut statement = tx
            .0
            .prepare_cached("SELECT key, version, body FROM record WHERE kind = ?1 ORDER BY key")
            .map_err(self.sql("read"))?;
        let rows = statement
            .query_map(params![self.name], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(self.sql("read"))?;
        let mut documents = Vec::new();
        for row in rows {
            let (key, version, body): (String, u32, Vec<u8>) = row.map_err(self.sql("read"))?;
            let document = self.decode(&key, version, &body)?;
            documents.push((key, document));
        }
        Ok(documents)
    }

    /// Writes `document` at `key`, over one that is there.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn put(&self, tx: &Transaction<'_>, key: &str, document: &T) -> Result<(), RecordError> {
        let body = serde_json::to_vec(document).map_err(|source| self.malformed(key, source))?;
        tx.0.prepare_cached(
            "INSERT INTO record (kind, key, version, body) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (kind, key) DO UPDATE SET version = ?3, body = ?4",
        )
        .and_then(|mut statement| statement.execute(params![self.name, key, self.version, body]))
        .map_err(self.sql("write"))?;
        Ok(())
    }

    /// Deletes the document at `key`; whether there was one.
    ///
    /// # Errors
    /// If it cannot be deleted.
    pub fn delete(&self, tx: &Transaction<'_>, key: &str) -> Result<bool, RecordError> {
        let deleted =
            tx.0.prepare_cached("DELETE FROM record WHERE kind = ?1 AND key = ?2")
                .and_then(|mut statement| statement.execute(params![self.name, key]))
                .map_err(self.sql("delete"))?;
        Ok(deleted > 0)
    }

    fn decode(&self, key: &str, version: u32, body: &[u8]) -> Result<T, RecordError> {
        if version > self.version {
            return Err(RecordError::TooNew {
                table: self.name,
                key: key.to_owned(),
                found: version,
                known: self.version,
            });
        }
        let malformed = |source| self.malformed(key, source);
        let Some(upgrade) = self.upgrade.filter(|_| version < self.version) else {
            return serde_json::from_slice(body).map_err(malformed);
        };
        let mut document: Value = serde_json::from_slice(body).map_err(malformed)?;
        for from in version..self.version {
            document = upgrade(from, document);
        }
        serde_json::from_value(document).map_err(malformed)
    }

    fn malformed(&self, key: &str, source: serde_json::Error) -> RecordError {
        RecordError::Malformed {
            table: self.name,
            key: key.to_owned(),
            source,
        }
    }

    fn sql(&self, operation: &'static str) -> impl Fn(rusqlite::Error) -> RecordError + use<T> {
        let table = self.name;
        move |source| RecordError::Sql {
            operation,
            table,
            source,
        }
    }
}
