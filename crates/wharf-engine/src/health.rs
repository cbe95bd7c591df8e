//! Health checks: a command that runs in the container again and again, and what its results say (moby
//! `daemon/health.go`).
//!
//! A monitor is one task per running container with a check; it runs probes as execs and hands each result to the
//! container's supervisor, which alone changes the state. It ends with the run, and while the container is frozen.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;
use wharf_tasks::ExecTask;

use crate::containers::{Entry, Shared};
use crate::supervisor::Command;
use crate::{Config, Containers, ExecStartOptions, Health, NewExec, signal};

const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// Results that are kept.
const MAX_LOG: usize = 5;
/// Bytes of a probe's output that are kept.
const MAX_OUTPUT: usize = 4096;

/// How a container is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// It is not known yet.
    #[default]
    Starting,
    /// The last probe went well.
    Healthy,
    /// Too many probes in a row failed; or it does not run.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// What one probe found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// Its exit code; −1 if it could not be run, or took too long.
    pub exit_code: i32,
    /// What it said, or why it could not be run.
    pub output: String,
}

/// A container's health.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthView {
    /// How it is.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last results, oldest first.
    pub log: Vec<Probe>,
}

impl HealthView {
    /// A run begins.
    pub(crate) fn begin(&mut self) {
        self.status = HealthStatus::Starting;
        self.failing_streak = 0;
    }

    /// Takes a result; whether the status is another one now.
    pub(crate) fn take(&mut self, probe: Probe, check: &Health, started: Timestamp) -> bool {
        let old = self.status;
        let since_start = Duration::try_from(started.duration_until(probe.start));
        let forgiven = old == HealthStatus::Starting
            && since_start.unwrap_or_default() < nanoseconds(check.start_period, Duration::ZERO);
        if probe.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if !forgiven {
            self.failing_streak += 1;
            if self.failing_streak >= retries(check) {
                self.status = HealthStatus::Unhealthy;
            }
        }
        let surplus = (self.log.len() + 1).saturating_sub(MAX_LOG);
        self.log.drain(..surplus);
        self.log.push(probe);
        self.status != old
    }

    /// Whether the last result was the one failure that was too many. What is not watched counts as unhealthy already, so that the
    /// status need not be another one for it.
    pub(crate) fn has_just_failed(&self, check: &Health) -> bool {
        self.failing_streak == retries(check)
    }
}

fn retries(check: &Health) -> u32 {
    let retries = u32::try_from(check.retries).ok();
    retries.filter(|count| *count > 0).unwrap_or(RETRIES)
}

fn nanoseconds(value: i64, default: Duration) -> Duration {
    match u64::try_from(value) {
        Ok(0) | Err(_) => default,
        Ok(value) => Duration::from_nanos(value),
    }
}

/// The command of a check, if there is one.
pub(crate) fn command(config: &Config) -> Option<Vec<String>> {
    let check = config.healthcheck.as_ref()?;
    let (kind, rest) = check.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(rest.to_vec()).filter(|words| !words.is_empty()),
        "CMD-SHELL" => {
            let shell = config.shell.clone().filter(|shell| !shell.is_empty());
            let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
            Some([&shell, rest].concat())
        }
        _ => None,
    }
}

/// Watches a container until the handle is dropped.
pub(crate) fn watch(
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    command: Vec<String>,
) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let containers = Containers { shared };
        let view = entry.now();
        let check = view.config.healthcheck.clone().unwrap_or_default();
        let started = view.state.started_at.unwrap_or_else(Timestamp::now);
        loop {
            tokio::time::sleep(pause(&check, &entry, started)).await;
            let Some(probe) = probe(&containers, &entry, &check, &command).await else {
                continue;
            };
            let (reply, taken) = oneshot::channel();
            let told = entry.mailbox.send(Command::Probed { probe, reply });
            // The next pause goes by what this result has changed.
            if told.is_err() || taken.await.is_err() {
                return;
            }
        }
    }))
}

/// How long until the next probe.
fn pause(check: &Health, entry: &Entry, started: Timestamp) -> Duration {
    let since_start = Duration::try_from(started.duration_until(Timestamp::now()));
    let status = entry
        .now()
        .state
        .health
        .as_ref()
        .map(|health| health.status);
    pause_after(
        check,
        status.unwrap_or_default(),
        since_start.unwrap_or_default(),
    )
}

/// The same, so long after the start. One probe falls on the end of the start period, as since 29: a container that starts faster than
/// dockerd's own start takes would else wait five seconds for its first.
fn pause_after(check: &Health, status: HealthStatus, since_start: Duration) -> Duration {
    let period = nanoseconds(check.start_period, Duration::ZERO);
    let left = period.saturating_sub(since_start);
    match status {
        HealthStatus::Starting if !left.is_zero() => {
            nanoseconds(check.start_interval, START_INTERVAL).min(left)
        }
        _ => nanoseconds(check.interval, INTERVAL),
    }
}

/// Runs one probe; nothing if the container does not run any more.
async fn probe(
    containers: &Containers,
    entry: &Entry,
    check: &Health,
    command: &[String],
) -> Option<Probe> {
    let start = Timestamp::now();
    let view = entry.now();
    let exec = NewExec {
        cmd: command.to_vec(),
        user: view.config.user.clone(),
        working_dir: view.config.working_dir.clone(),
        attach_stdout: true,
        attach_stderr: true,
        ..NewExec::default()
    };
    let id = containers.exec_create(&entry.id, exec).await.ok()?;
    let session = Forgotten(containers, &id);
    let limit = nanoseconds(check.timeout, TIMEOUT);
    let (exit_code, output) = run(containers, &id, limit).await;
    drop(session);
    // What failed because the container ended says nothing of its health.
    entry.now().state.running.then(|| Probe {
        start,
        end: Timestamp::now(),
        exit_code,
        output,
    })
}

async fn run(containers: &Containers, id: &str, limit: Duration) -> (i32, String) {
    let started = containers.exec_start(id, ExecStartOptions::default()).await;
    let attached = match started {
        Ok(Some(attached)) => attached,
        Ok(None) => return (-1, "the probe has no output".to_owned()),
        Err(error) => return (-1, error.message()),
    };
    let mut running = Running(containers.exec_task(id));
    let (ours, theirs) = tokio::io::duplex(16 * 1024);
    let serving =
        AbortOnDropHandle::new(tokio::spawn(attached.serve(theirs, std::future::pending())));
    let mut output = Output::default();
    let ended = async {
        output.read(ours).await;
        // Its end is the end of the process: the exit code is known then.
        let _ = serving.await;
    };
    if tokio::time::timeout(limit, ended).await.is_ok() {
        running.0 = None;
        let code = containers.exec_code(id).await;
        return (code, output.text());
    }
    running.kill().await;
    (-1, exceeded(limit, &output.text()))
}

/// What is said of a probe that took too long, with what it had said until then.
fn exceeded(limit: Duration, output: &str) -> String {
    let limit = crate::human::go_duration(limit);
    let colon = if output.is_empty() { "" } else { ": " };
    format!("Health check exceeded timeout ({limit}){colon}{output}")
}

/// A probe's session, which is forgotten with the probe, however that ends.
struct Forgotten<'a>(&'a Containers, &'a str);

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.0.exec_forget(self.1);
    }
}

/// A probe's process. It does not outlive its monitor.
struct Running(Option<ExecTask>);

impl Running {
    async fn kill(&mut self) {
        if let Some(task) = self.0.take() {
            // One that has ended needs no kill.
            let _ = task.kill(signal::KILL).await;
            task.wait().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            tokio::spawn(async move { task.kill(signal::KILL).await });
        }
    }
}

/// The first bytes of what a probe says.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

impl Output {
    /// Takes what is in Docker's frames, until their end.
    async fn read(&mut self, mut stream: tokio::io::DuplexStream) {
        let mut header = [0; 8];
        while stream.read_exact(&mut header).await.is_ok() {
            let [_, _, _, _, length @ ..] = header;
            let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
            if stream.read_exact(&mut bytes).await.is_err() {
                break;
            }
            let room = MAX_OUTPUT - self.bytes.len();
            self.cut |= bytes.len() > room;
            bytes.truncate(room);
            self.bytes.extend_from_slice(&bytes);
        }
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut {
            text.push_str("...");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn probe(seconds: i64, exit_code: i32) -> Probe {
        Probe {
            start: at(seconds),
            end: at(seconds),
            exit_code,
            output: String::new(),
        }
    }

    #[test]
    fn failures_count_after_the_start_period_and_in_a_row() {
        let check = Health {
            start_period: 10_000_000_000,
            retries: 2,
            ..Health::default()
        };
        let mut health = HealthView::default();
        assert!(!health.take(probe(5, 1), &check, at(0)));
        assert_eq!(
            (health.failing_streak, health.status),
            (0, HealthStatus::Starting)
        );
        assert!(!health.take(probe(15, 1), &check, at(0)));
        assert!(health.take(probe(16, 0), &check, at(0)));
        assert_eq!(
            (health.failing_streak, health.status),
            (0, HealthStatus::Healthy)
        );
        assert!(!health.take(probe(17, 1), &check, at(0)));
        assert!(health.take(probe(18, 1), &check, at(0)));
        assert_eq!(
            (health.failing_streak, health.status),
            (2, HealthStatus::Unhealthy)
        );
        assert!(!health.take(probe(19, 3), &check, at(0)));
        assert!(health.take(probe(20, 0), &check, at(0)));
        assert_eq!(health.log.len(), MAX_LOG);
        assert_eq!(health.log[0].start, at(16));
    }

    /// After a pause it counts as unhealthy: its failure is one all the same.
    #[test]
    fn one_that_is_unhealthy_already_fails_once() {
        let check = Health {
            retries: 2,
            ..Health::default()
        };
        let mut health = HealthView {
            status: HealthStatus::Unhealthy,
            ..HealthView::default()
        };
        let mut failed = |seconds, code| {
            let changed = health.take(probe(seconds, code), &check, at(0));
            (changed, health.has_just_failed(&check))
        };
        assert_eq!(failed(1, 1), (false, false));
        assert_eq!(failed(2, 1), (false, true));
        assert_eq!(failed(3, 1), (false, false));
        assert_eq!(failed(4, 0), (true, false));
    }

    #[test]
    fn a_success_ends_the_start_though_its_period_is_not_over() {
        let check = Health {
            start_period: 100_000_000_000,
            retries: 1,
            ..Health::default()
        };
        let mut health = HealthView::default();
        assert!(health.take(probe(1, 0), &check, at(0)));
        assert!(health.take(probe(2, 1), &check, at(0)));
        assert_eq!(health.status, HealthStatus::Unhealthy);
    }

    #[test]
    fn what_took_too_long_says_what_it_had_said() {
        let limit = Duration::from_millis(500);
        assert_eq!(exceeded(limit, ""), "Health check exceeded timeout (500ms)");
        assert_eq!(
            exceeded(limit, "a\n"),
            "Health check exceeded timeout (500ms): a\n"
        );
    }

    #[test]
    fn a_probe_falls_on_the_end_of_the_start_period() {
        let seconds = Duration::from_secs;
        let check = |start_period: i64, start_interval: i64| Health {
            start_period: start_period * 1_000_000_000,
            start_interval: start_interval * 1_000_000_000,
            interval: 7_000_000_000,
            ..Health::default()
        };
        let starting =
            |check: &Health, since| pause_after(check, HealthStatus::Starting, seconds(since));
        assert_eq!(starting(&check(0, 0), 0), seconds(7));
        assert_eq!(starting(&check(1, 0), 0), seconds(1));
        assert_eq!(starting(&check(1, 0), 1), seconds(7));
        assert_eq!(starting(&check(60, 0), 0), seconds(5));
        assert_eq!(starting(&check(60, 2), 59), seconds(1));
        let healthy = pause_after(&check(60, 2), HealthStatus::Healthy, seconds(1));
        assert_eq!(healthy, seconds(7));
    }

    #[test]
    fn commands() {
        let config = |test: &[&str]| Config {
            healthcheck: Some(Health {
                test: test.iter().map(|word| (*word).to_owned()).collect(),
                ..Health::default()
            }),
            ..Config::default()
        };
        assert_eq!(command(&Config::default()), None);
        assert_eq!(command(&config(&[])), None);
        assert_eq!(command(&config(&["NONE"])), None);
        assert_eq!(command(&config(&["CMD", "x", "y"])).unwrap(), ["x", "y"]);
        assert_eq!(
            command(&config(&["CMD-SHELL", "x y"])).unwrap(),
            ["/bin/sh", "-c", "x y"]
        );
    }
}
