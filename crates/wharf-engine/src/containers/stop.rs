//! `stop` and `restart`.

use std::time::Duration;

use super::{Containers, Entry, StopOptions};
use crate::lifecycle::Event;
use crate::{Config, EngineError, signal};

/// Seconds that a stop waits if nobody says (moby `container.defaultStopTimeout`).
const DEFAULT_TIMEOUT: i64 = 10;

impl Containers {
    /// Stops it: its stop signal, then after a time a kill. Returns when it has ended.
    ///
    /// # Errors
    /// `NotModified` if it does not run.
    pub async fn stop(&self, container: &str, options: StopOptions) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        let resolved = resolve(&view.config, &options);
        let (signal, patience) = resolved.map_err(|error| match view.state.running {
            true => {
                let text = error.message();
                EngineError::Invalid(format!("cannot stop container: {container}: {text}"))
            }
            // As dockerd, which looks at the signal when it is to be sent.
            false => EngineError::NotModified,
        })?;
        entry
            .ask_with(Event::Stop { signal }, patience, false)
            .await?;
        ended_since(&entry, view.exits).await;
        Ok(())
    }

    /// Stops it if it runs, and starts it. Returns when it runs again.
    ///
    /// # Errors
    /// `Start` if it cannot be started.
    pub async fn restart(&self, container: &str, options: StopOptions) -> Result<(), EngineError> {
        let entry = self.find(container)?;
        let view = entry.now();
        let (signal, patience) = match resolve(&view.config, &options) {
            Err(error) if view.state.running => {
                let text = error.message();
                let text = format!("Cannot restart container {container}: {text}");
                return Err(EngineError::Invalid(text));
            }
            // None is sent to one that does not run.
            Err(_) => (
                stop_signal(&view.config),
                patience(&view.config, options.timeout),
            ),
            Ok(resolved) => resolved,
        };
        entry
            .ask_with(Event::Restart { signal }, patience, false)
            .await?;
        if view.state.pid != 0 {
            let again = |now: &std::sync::Arc<crate::View>| {
                let settled =
                    now.state.running && now.state.pid != 0 || !now.state.error.is_empty();
                now.removed || (now.exits > view.exits && settled)
            };
            let now = entry.until(again).await;
            if !now.state.running && !now.state.error.is_empty() {
                return Err(EngineError::Failed(now.state.error.clone()));
            }
        }
        self.shared.emit_view(&entry.now(), "restart", &[]);
        Ok(())
    }
}

pub(super) async fn ended_since(entry: &Entry, exits: u64) {
    entry
        .until(|view| view.removed || view.exits > exits || !view.state.running)
        .await;
}

/// The stop signal's number and how long to wait: what is asked for, else the container's, else Docker's.
fn resolve(config: &Config, options: &StopOptions) -> Result<(i32, Option<Duration>), EngineError> {
    let signal = match options.signal.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => signal::parse(text)?,
        None => stop_signal(config),
    };
    Ok((signal, patience(config, options.timeout)))
}

/// How long a stop waits: what is asked for, else the container's, else Docker's; `None` for ever.
pub(crate) fn patience(config: &Config, asked: Option<i64>) -> Option<Duration> {
    let seconds = asked.or(config.stop_timeout).unwrap_or(DEFAULT_TIMEOUT);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// The container's own stop signal.
pub(crate) fn stop_signal(config: &Config) -> i32 {
    let given = config
        .stop_signal
        .as_deref()
        .and_then(|text| signal::parse(text).ok());
    given.unwrap_or(signal::TERM)
}
