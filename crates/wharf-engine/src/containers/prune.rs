//! `prune`.

use jiff::Timestamp;

use super::{Containers, PruneReport, PruneWatcher, RemoveOptions};
use crate::{EngineError, Filters, Status};

impl Containers {
    /// Removes all that do not run. Filters: `label`, `label!`, `until`.
    ///
    /// # Errors
    /// If a filter is unknown or malformed.
    pub async fn prune(
        &self,
        filters: &Filters,
        watcher: &PruneWatcher,
    ) -> Result<PruneReport, EngineError> {
        filters.check(&["label", "label!", "until"])?;
        let until = until(filters)?;
        let mut report = PruneReport::default();
        for view in self.views() {
            let resting = matches!(
                view.state.status,
                Status::Created | Status::Exited | Status::Dead
            );
            let labels = &view.config.labels;
            let wanted = filters.labels("label", labels) && filters.no_labels("label!", labels);
            let old = until.is_none_or(|until| view.created < until);
            if !(resting && wanted && old) {
                continue;
            }
            let size = self.size(&view.id).await.map_or(0, |size| size.rw);
            // One that has started or gone in the meantime is simply not pruned.
            if self
                .remove(&view.id, RemoveOptions::default())
                .await
                .is_ok()
            {
                watcher.deleted(&view.id);
                report.deleted.push(view.id.clone());
                report.reclaimed += size;
            }
        }
        let reclaimed = [("reclaimed".to_owned(), report.reclaimed.to_string())].into();
        self.shared
            .events
            .emit(crate::EventKind::Container, "prune", "", reclaimed);
        Ok(report)
    }
}

/// The time of `until`: seconds since 1970, RFC 3339, or a Go duration before now.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>, EngineError> {
    let mut values = filters.values("until");
    let (Some(text), None) = (values.next(), values.next()) else {
        return match filters.has("until") {
            true => Err(EngineError::Invalid(
                "more than one until filter specified".to_owned(),
            )),
            false => Ok(None),
        };
    };
    match crate::time::parse(text, Timestamp::now()) {
        Some(time) => Ok(Some(time)),
        None => Err(EngineError::Invalid(format!(
            "failed to parse value as time or duration: {text:?}"
        ))),
    }
}
