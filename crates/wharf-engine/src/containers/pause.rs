//! `pause` and `unpause`.

use super::Containers;
use crate::EngineError;
use crate::lifecycle::Event;

impl Containers {
    /// Freezes all its processes.
    ///
    /// # Errors
    /// If it does not run, or is frozen.
    pub async fn pause(&self, container: &str) -> Result<(), EngineError> {
        self.find(container)?.ask(Event::Pause).await
    }

    /// Thaws it.
    ///
    /// # Errors
    /// If it is not frozen.
    pub async fn unpause(&self, container: &str) -> Result<(), EngineError> {
        self.find(container)?.ask(Event::Unpause).await
    }
}
