//! `start`.

use super::Containers;
use crate::EngineError;
use crate::lifecycle::Event;

impl Containers {
    /// Starts it.
    ///
    /// # Errors
    /// `NotModified` if it runs; `Start` if it cannot.
    pub async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.find(container)?.ask(Event::Start).await
    }
}
