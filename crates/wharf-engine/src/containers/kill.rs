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
        let number = match signal {
            "" | "0" => signal::KILL,
            text => signal::parse(text)?,
        };
        let entry = self.find(container)?;
        let exits = entry.now().exits;
        let sent = entry.ask(Event::Kill { signal: number }).await;
        sent.map_err(|error| match error {
            EngineError::Conflict(text) => {
                EngineError::Conflict(format!("cannot kill container: {container}: {text}"))
            }
            other => other,
        })?;
        if number == signal::KILL {
            ended_since(&entry, exits).await;
        }
        Ok(())
    }
}
