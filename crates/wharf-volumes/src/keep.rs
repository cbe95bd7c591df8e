//! `keep`: what was made for a container stays, in the same moment in which the container comes to be.

use wharf_records::{RecordError, Transaction};

use crate::record::{Phase, VOLUMES};
use crate::{VolumeName, Volumes};

impl Volumes {
    /// Keeps those of `names` that are only promised, in one transaction with whatever `with` writes: after a kill either both
    /// are there or neither is. Without this, the next [`Volumes::open`] removes them.
    ///
    /// # Errors
    /// Those of `with`, and if a record cannot be written; nothing has changed then.
    pub fn keep<E: From<RecordError>>(
        &self,
        names: &[&str],
        with: impl FnOnce(&Transaction<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut records = self.lock();
        let names = names.iter().filter_map(|name| VolumeName::parse(name).ok());
        let mut kept: Vec<_> = names
            .filter_map(|name| records.get(&name).cloned())
            .collect();
        kept.retain(|record| record.phase == Phase::Promised);
        for record in &mut kept {
            record.phase = Phase::Kept;
        }
        self.inner.db.write(|tx| {
            for record in &kept {
                VOLUMES.put(tx, record.name.as_str(), record)?;
            }
            with(tx)
        })?;
        for record in kept {
            records.insert(record.name.clone(), record);
        }
        Ok(())
    }
}
