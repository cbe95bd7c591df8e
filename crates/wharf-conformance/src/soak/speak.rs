//! Requests to a daemon that may die under them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use wharf_testkit::api::{self, Answer};

/// How long a daemon may be away: a limit for a broken one.
const AWAY: Duration = Duration::from_secs(120);

/// Who asks, and asks again when the answer was lost.
#[derive(Clone, Debug)]
pub(super) struct Speaker {
    socket: PathBuf,
}

impl Speaker {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Asks until there is an answer that is no failure of the daemon's own.
    pub(super) fn ask(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
        let limit = Instant::now() + AWAY;
        loop {
            match api::request(&self.socket, method, target, body) {
                Ok(answer) => {
                    // dockerd's status for the mistake of a client, who is too late.
                    let late = answer.text().contains("is not paused");
                    ensure!(
                        answer.status < 500 || late,
                        "{method} {target}: {} {}",
                        answer.status,
                        answer.text()
                    );
                    return Ok(answer);
                }
                Err(error) if Instant::now() > limit => {
                    bail!("{method} {target}: no answer: {error:#}")
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Asks, and is content with these statuses only.
    pub(super) fn expect(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        statuses: &[u16],
    ) -> Result<Answer> {
        let answer = self.ask(method, target, body)?;
        ensure!(
            statuses.contains(&answer.status),
            "{method} {target}: {} {}",
            answer.status,
            answer.text()
        );
        Ok(answer)
    }

    /// Asks once; `None` if the answer was lost.
    pub(super) fn try_once(&self, method: &str, target: &str) -> Option<Answer> {
        api::request(&self.socket, method, target, None).ok()
    }
}
