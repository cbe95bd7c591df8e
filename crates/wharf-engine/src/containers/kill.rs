//! `kill`.

use super::Containers;
use super::stop::ended_since;
use crate::lifecycle::Event;
use crate::{EngineError, signal};

impl Containers {
    /// Sends it a signal, by name or number; KILL if `signal` is empty. After a KILL it returns when the
    /// container has ended, as dockerd does.
    ///
    /// # Errors
    /// If the signal is none, or it does not run.
    pub async fn kill(&self, container: &str, signal: &str) -> Result<(), EngineError> {
        let refused = |text: String| format!("cannot kill container: {container}: {text}");
        let number = match signal {
            "" => signal::KILL,
            text => signal::parse(text)
                .map_err(|error| EngineError::Invalid(refused(error.message())))?,
        };
        let entry = self.find(container).map_err(|error| match error {
            EngineError::NoSuchContainer(_) => EngineError::NotFound(refused(error.message())),
            other => other,
        })?;
        let view = entry.now();
        let sent = entry.ask(Event::Kill { signal: number }).await;
        sent.map_err(|error| match error {
            EngineError::Conflict(text) => EngineError::Conflict(refused(text)),
            other => other,
        })?;
        if number == signal::KILL {
            let ended = ended_since(&entry, &view).await;
            return ended
                .map_err(|kill_timed_out| EngineError::Failed(refused(kill_timed_out.to_owned())));
        }
        Ok(())
    }
}
