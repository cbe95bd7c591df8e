//! Starts a daemon in the background when none listens on the default socket.

use std::fs::OpenOptions;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use wharf_client::{Client, Error};

use crate::cli::{Exit, Outcome};
use crate::daemon::LOCKED;

/// Where a daemon started this way logs.
const LOG: &str = "/var/log/wharf.log";
/// How long a daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one may take that was started at the same time. One that has run for longer listens elsewhere.
const WINNER: Duration = Duration::from_secs(5);

/// Starts `wharf daemon` and returns when it listens.
pub async fn start(client: &Client) -> Outcome {
    let mut child = spawn().map_err(|error| Exit::new(format!("starting a daemon: {error}")))?;
    eprintln!("wharf: started a daemon in the background (log: {LOG})");
    let mut deadline = Instant::now() + PATIENCE;
    let mut lost_the_race = false;
    loop {
        match client.connect().await {
            Ok(()) => return Ok(()),
            Err(Error::Connect { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = child.try_wait().ok().flatten();
        if !lost_the_race && ended.and_then(|status| status.code()) == Some(LOCKED) {
            lost_the_race = true;
            deadline = Instant::now() + WINNER;
        }
        let give_up = Instant::now() > deadline || ended.is_some_and(is_failure);
        if give_up && client.connect().await.is_err() {
            let words = match lost_the_race {
                true => "another daemon runs, and does not listen on this socket",
                false => "the daemon did not start",
            };
            return Err(Exit::new(format!(
                "{words}; the end of {LOG}:\n{}",
                log_tail()
            )));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether no daemon is to be expected after ours has ended so. One that lost the race to another daemon ends, and the other one
/// will listen soon.
fn is_failure(status: ExitStatus) -> bool {
    !status.success() && status.code() != Some(LOCKED)
}

fn spawn() -> std::io::Result<Child> {
    let log = OpenOptions::new().create(true).append(true).open(LOG)?;
    Command::new("/proc/self/exe")
        .arg(crate::commands::daemon::BACKGROUND)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .current_dir("/")
        .spawn()
}

fn log_tail() -> String {
    let text = std::fs::read_to_string(LOG).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn who_loses_the_race_waits_for_the_winner() {
        let code = |code: i32| ExitStatus::from_raw(code << 8);
        assert!(!is_failure(code(0)) && !is_failure(code(LOCKED)));
        assert!(is_failure(code(1)) && is_failure(ExitStatus::from_raw(9)));
    }
}
