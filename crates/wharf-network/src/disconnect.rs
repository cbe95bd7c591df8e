//! Disconnecting a container that has ended.

use std::sync::Arc;

use wharf_records::RecordError;

use crate::networks::Inner;
use crate::record::ENDPOINTS;
use crate::{EndpointInfo, NetworkError, Networks};

impl Networks {
    /// Gives back all that a container holds: address, ports, link. Quick; the slow part goes on behind.
    /// Nothing happens if it is not connected.
    ///
    /// # Errors
    /// If the record cannot be deleted.
    pub async fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let (inner, container) = (Arc::clone(&self.inner), container.to_owned());
        let work = tokio::task::spawn_blocking(move || inner.disconnect(&container));
        work.await
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

impl Inner {
    fn disconnect(&self, container: &str) -> Result<(), NetworkError> {
        let Some(info) = self.lock().endpoints.remove(container) else {
            return Ok(());
        };
        let published = !info.ports.is_empty();
        // Rules first: nothing is sent to an address that may soon be another container's.
        let rules = if published {
            self.apply_firewall()
        } else {
            Ok(())
        };
        self.give_back(&info);
        let deleted = self
            .db
            .write(|tx| -> Result<_, RecordError> { ENDPOINTS.delete(tx, container) });
        rules.and(deleted.map(drop).map_err(Into::into))
    }

    /// Undoes a connection that failed halfway.
    pub(crate) fn forget(&self, info: &EndpointInfo, published: bool) {
        self.lock().endpoints.remove(&info.container);
        if published && let Err(error) = self.apply_firewall() {
            tracing::warn!(error = &error as &dyn std::error::Error, "take rules back");
        }
        self.give_back(info);
        let deleted = self
            .db
            .write(|tx| -> Result<_, RecordError> { ENDPOINTS.delete(tx, &info.container) });
        if let Err(error) = deleted {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "take a record back"
            );
        }
    }
}
