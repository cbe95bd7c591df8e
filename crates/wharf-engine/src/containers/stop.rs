//! `stop` and `restart`.

use std::time::Duration;

use super::{Containers, Entry, StopOptions};
use crate::lifecycle::Event;
use crate::{Config, EngineError, View, signal};

/// Seconds that a stop waits if nobody says (moby `container.defaultStopTimeout`).
const DEFAULT_TIMEOUT: i64 = 10;

/// A kill has not worked (moby `daemon.Kill`).
pub(crate) const UNDYING: &str = "tried to kill container, but did not receive an exit event";
/// A restart that somebody else has made a stop.
pub(crate) const OVERTAKEN: &str = "it was stopped meanwhile";

/// How long a stop waits before it kills.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    /// `None` for ever.
    pub(crate) limit: Option<Duration>,
    /// Somebody has chosen it, so it is kept to though the signal cannot work now: a handler may come yet.
    pub(crate) named: bool,
}

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
        let failed = |text: &str| format!("cannot stop container: {container}: {text}");
        entry.ask_with(Event::Stop { signal }, patience).await?;
        ended_since(&entry, &view)
            .await
            .map_err(|kill_timed_out| EngineError::Failed(failed(kill_timed_out)))
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
        let failed = |text: &str| format!("Cannot restart container {container}: {text}");
        let done = entry.ask_with(Event::Restart { signal }, patience).await;
        done.map_err(|error| match error {
            // Whatever a start fails with, dockerd has no class for it here.
            EngineError::Failed(text) | EngineError::Start { message: text, .. } => {
                EngineError::Failed(failed(&text))
            }
            EngineError::Conflict(text) if text == OVERTAKEN => {
                EngineError::Conflict(failed(&text))
            }
            error => error,
        })
    }
}

/// Waits for the end of the run that `view` is of.
///
/// # Errors
/// [`UNDYING`] if not even a kill brings it.
pub(super) async fn ended_since(entry: &Entry, view: &View) -> Result<(), &'static str> {
    let over = |now: &View| now.removed || now.exits > view.exits || !now.state.running;
    let now = entry
        .until(|now| over(now) || now.unkilled > view.unkilled)
        .await;
    match over(&now) {
        true => Ok(()),
        false => Err(UNDYING),
    }
}

/// The stop signal's number and how long to wait: what is asked for, else the container's, else Docker's.
fn resolve(config: &Config, options: &StopOptions) -> Result<(i32, Patience), EngineError> {
    let signal = match options.signal.as_deref().filter(|text| !text.is_empty()) {
        Some(text) => signal::parse(text)?,
        None => stop_signal(config),
    };
    Ok((signal, patience(config, options.timeout)))
}

/// How long a stop waits: what is asked for, else the container's, else Docker's.
pub(crate) fn patience(config: &Config, asked: Option<i64>) -> Patience {
    let named = asked.or(config.stop_timeout);
    let seconds = u64::try_from(named.unwrap_or(DEFAULT_TIMEOUT)).ok();
    // A century is for ever, and can be added to any point in time.
    let seconds = seconds.map(|seconds| seconds.min(u32::MAX.into()));
    Patience {
        limit: seconds.map(Duration::from_secs),
        named: named.is_some(),
    }
}

/// Whether the container has a stop signal of its own.
pub(crate) fn has_stop_signal(config: &Config) -> bool {
    config
        .stop_signal
        .as_ref()
        .is_some_and(|text| !text.is_empty())
}

/// The container's own stop signal.
pub(crate) fn stop_signal(config: &Config) -> i32 {
    let given = config
        .stop_signal
        .as_deref()
        .and_then(|text| signal::parse(text).ok());
    given.unwrap_or(signal::TERM)
}
