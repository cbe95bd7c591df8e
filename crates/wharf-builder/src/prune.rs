//! Forgets which steps were done.

use jiff::Timestamp;

use crate::{BuildError, Builder};

impl Builder {
    /// Forgets steps that were last used before `until`; without `all` only those whose images have no names. Their
    /// keys. Images stay: they are removed as images are.
    ///
    /// # Errors
    /// If the records refuse.
    pub fn forget(&self, all: bool, until: Option<Timestamp>) -> Result<Vec<String>, BuildError> {
        let until = until.unwrap_or_else(Timestamp::now);
        Ok(self.cache.forget(all, until.as_second())?)
    }
}
