//! What a scenario has in hand: an engine, a client, and the words to say what must hold.

use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use serde_json::Value;
use wharf_testkit::api::Answer;
use wharf_testkit::{Engine, EngineKind, EngineOptions, fixtures};

use crate::schema;

/// The command line that a scenario speaks through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// The stock `docker` command.
    Docker,
    /// Our own.
    Wharf,
}

/// What a scenario ends with that has nothing to ask.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) &'static str);

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "skipped: {}", self.0)
    }
}

impl std::error::Error for Skipped {}

/// Ends a scenario that cannot be asked of this engine, or not on this machine: it counts neither as passed nor as failed.
pub(crate) fn skip<T>(reason: &'static str) -> Result<T> {
    Err(Skipped(reason).into())
}

/// One run of one scenario.
pub struct Case {
    /// The daemon under test, in a world of its own.
    pub engine: Engine,
    /// The command line.
    pub client: Client,
}

/// What a command did.
#[derive(Debug)]
pub struct Run {
    /// Its exit status.
    pub code: i32,
    /// What it printed, without the last newline.
    pub stdout: String,
    /// What it complained, without the last newline.
    pub stderr: String,
}

impl Case {
    /// A new daemon of `kind`, spoken to through `client`, holding the image `busybox`.
    ///
    /// # Errors
    /// If it does not come up or cannot load the image.
    pub fn new(kind: EngineKind, client: Client) -> Result<Self> {
        let case = Self::empty(kind, client)?;
        case.load_busybox()?;
        Ok(case)
    }

    /// Loads the image `busybox`.
    ///
    /// # Errors
    /// If the daemon refuses it.
    pub(crate) fn load_busybox(&self) -> Result<()> {
        let archive = fixtures::folder()?.join("busybox.tar");
        let output = self
            .engine
            .docker(["load", "-q", "-i"])
            .arg(archive)
            .output()?;
        ensure!(
            output.status.success(),
            "load: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// As [`Case::new`], with this daemon.json.
    ///
    /// # Errors
    /// As [`Case::new`].
    pub(crate) fn with(kind: EngineKind, client: Client, config: Option<String>) -> Result<Self> {
        let options = EngineOptions {
            config,
            ..EngineOptions::default()
        };
        let engine = Engine::start(kind, options)?;
        let case = Self { engine, client };
        case.load_busybox()?;
        Ok(case)
    }

    /// A new daemon without any image.
    ///
    /// # Errors
    /// If it does not come up.
    pub fn empty(kind: EngineKind, client: Client) -> Result<Self> {
        let engine = Engine::start(kind, EngineOptions::default())?;
        Ok(Self { engine, client })
    }

    /// The command with `args`, not yet run; stdin is empty.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.client {
            Client::Docker => self.engine.docker(args),
            Client::Wharf => self.engine.wharf(args),
        };
        command.stdin(Stdio::null());
        command
    }

    /// Runs the command with `args`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn run(&self, args: &[&str]) -> Result<Run> {
        let output = self.command(args).output()?;
        let text = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes)
                .trim_end_matches('\n')
                .to_owned()
        };
        Ok(Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        })
    }

    /// Runs the command and returns its stdout.
    ///
    /// # Errors
    /// If its exit status is not 0.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        let run = self.run(args)?;
        ensure!(
            run.code == 0,
            "{args:?} exits with {}: {}",
            run.code,
            run.stderr
        );
        Ok(run.stdout)
    }

    /// Runs the command, which must print exactly `stdout`.
    ///
    /// # Errors
    /// If it does not, or fails.
    pub fn prints(&self, args: &[&str], stdout: &str) -> Result<()> {
        let printed = self.ok(args)?;
        ensure!(
            printed == stdout,
            "{args:?} prints {printed:?}, not {stdout:?}"
        );
        Ok(())
    }

    /// Runs the command, which must exit with `code` and have `words` in its stderr.
    ///
    /// # Errors
    /// If it does not.
    pub fn fails(&self, args: &[&str], code: i32, words: &str) -> Result<()> {
        let run = self.run(args)?;
        ensure!(
            run.code == code,
            "{args:?} exits with {}, not {code}: {}",
            run.code,
            run.stderr
        );
        ensure!(
            run.stderr.contains(words),
            "{args:?} says {:?}, not {words:?}",
            run.stderr
        );
        Ok(())
    }

    /// One API request; the answer is held against the API's description.
    ///
    /// # Errors
    /// If there is no answer, or it is not as described.
    pub fn api(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
        let answer = self.engine.api(method, target, body)?;
        if let Ok(json) = serde_json::from_slice::<Value>(&answer.body) {
            let mut faults = schema::faults(method, target, answer.status, &json);
            if self.engine.kind.is_dockerd() {
                // Debian's dockerd is older than the description: what it lacks is not its fault.
                faults.retain(|fault| {
                    !fault.ends_with("is missing")
                        && !fault.ends_with("is null")
                        && !fault.contains("not one of")
                        && !fault.contains("is no ")
                });
            }
            ensure!(faults.is_empty(), "{method} {target}: {faults:#?}");
        }
        Ok(answer)
    }

    /// An API request that must be answered with `status`; the answer's JSON.
    ///
    /// # Errors
    /// If it is answered otherwise.
    pub fn expect(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
        status: u16,
    ) -> Result<Value> {
        let answer = self.api(method, target, body)?;
        let text = answer.text();
        ensure!(
            answer.status == status,
            "{method} {target} answers {}: {text}",
            answer.status
        );
        Ok(answer.json())
    }
}
