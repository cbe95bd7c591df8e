//! What is done though a shim does not answer: it is stopped, hangs in the kernel, or was met by no daemon yet.
//!
//! ```text
//!  a signal, a freeze … ──▶ shim: no answer in time ──▶ a clear error
//!  a KILL               ──▶ shim: no answer in time ──▶ one that was stopped goes on, and does it
//!                                                  └──▶ any other is killed, and all that it looked after with it:
//!                                                      the end comes as that of any shim that was killed, but for
//!                                                      a first process that had ended before
//! ```
//! containerd does so with one that a daemon that starts finds deaf; later it waits for ever, which dockerd mends by a KILL to
//! the first process, whose end then nobody tells.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;
use wharf_cgroups::Cgroup;
use wharf_sys::words::chain;
use wharf_tasks::{ExitStatus, Found, Task, TaskError};

use super::{Command, DYING, Supervisor, at, ends_a_start, is_alone};
use crate::launch::{self, Failure, Launched};
use crate::lifecycle::{Event, Phase};
use crate::{EngineError, signal};

/// How long whoever wants an end, or another run, waits for a shim that has to say first what runs.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a shim may take from the end of its process to its own: its hooks are run, and what it has of the log is taken. It says
/// nothing meanwhile.
pub(super) const DRAINING: Duration = Duration::from_secs(60);
/// How long a shim is waited for that is woken, killed and cleared up after: more than each of these takes at most, together.
const ENDING: Duration = Duration::from_secs(20);
/// What a run ends with that is killed with its shim.
const KILLED: i32 = 128 + signal::KILL;

/// When whoever asks this has waited enough for a shim; `None`: never.
pub(super) fn deadline(command: &Command) -> Option<Instant> {
    let Command::Ask {
        event, patience, ..
    } = command
    else {
        return None;
    };
    let wait = match event {
        // It may take the time that it was given.
        Event::Stop { .. } => patience.limit?.max(PATIENCE),
        _ => PATIENCE,
    };
    Some(Instant::now() + wait)
}

/// The earlier one.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

impl Supervisor {
    pub(super) async fn signal(&mut self, number: i32) -> Result<(), EngineError> {
        if number == signal::KILL {
            self.kill_at = Some(Instant::now() + DYING);
        }
        let Some(task) = self.task.clone() else {
            return self.signal_unmet(number);
        };
        if let Phase::Stopping { pid, .. } = self.record.state.phase
            && number != signal::KILL
            && !self.patience.named
            && crate::proc::ignores(pid, number)
            && is_alone(&task).await
        {
            // The kernel drops a signal that the first process of a PID namespace has no handler for, and one
            // that any process ignores: to wait for it to work would be in vain.
            self.patience.limit = Some(Duration::ZERO);
        }
        match task.kill(number).await {
            // It has ended, and we are about to hear of it.
            Ok(()) | Err(TaskError::Gone) => {}
            Err(TaskError::Silent) if number == signal::KILL => self.end_silent(&task).await,
            Err(error @ TaskError::Silent) if self.is_killed_later() => {
                warn!(container = %self.record.id, error = chain(&error), "tell it to stop");
                return Ok(());
            }
            Err(error) => return Err(self.failed("kill", &error)),
        }
        self.emit("kill", &[("signal", number.to_string())]);
        Ok(())
    }

    /// Whether it was told to end, and is killed when its time is over.
    fn is_killed_later(&self) -> bool {
        matches!(self.record.state.phase, Phase::Stopping { .. }) && self.patience.limit.is_some()
    }

    async fn end_silent(&mut self, task: &Task) {
        warn!(container = %self.record.id, "its shim does not answer: killed with it");
        if let Err(error) = task.end().await {
            warn!(container = %self.record.id, error = chain(&error), "kill its shim");
        }
        // Its end is told as soon as its control group is empty.
        self.kill_at = Some(Instant::now() + DYING);
    }

    /// Nobody is there who could be asked to send it. What it is told to do by its record, it is told when it is met.
    fn signal_unmet(&mut self, number: i32) -> Result<(), EngineError> {
        let later = self.is_killed_later();
        let Some(unresolved) = &mut self.late else {
            return Ok(());
        };
        if number == signal::KILL {
            self.kill_at = None;
            unresolved.kill(Instant::now() + PATIENCE);
            return Ok(());
        }
        match later {
            true => Ok(()),
            false => Err(self.failed("kill", &TaskError::Silent)),
        }
    }

    /// Nobody has said what runs, and somebody has waited enough for it.
    pub(super) async fn overdue(&mut self) {
        let phase = self.record.state.phase;
        let Some(unresolved) = &mut self.late else {
            return;
        };
        let ends = unresolved.is_to_end(phase);
        let (tasks, id) = (self.shared.tasks.clone(), self.record.id.clone());
        if !ends && tasks.has_shim(&id) {
            return self.refuse_kept(&TaskError::Silent).await;
        }
        let is_over = phase != Phase::Starting && phase.pid().is_none();
        if is_over && tasks.drains(&id) && unresolved.lets_drain() {
            return;
        }
        let first = phase.pid().and_then(|pid| i32::try_from(pid).ok());
        let ended = tokio::time::timeout(ENDING, tasks.end(&id, first)).await;
        match ended.unwrap_or(Err(TaskError::Silent)) {
            // It was about to be met by itself.
            Ok(found @ Found::Running(_)) => self.meet_late(found).await,
            Ok(found) if ends && (phase == Phase::Starting || phase.pid().is_some()) => {
                self.bury(found, phase).await;
            }
            Ok(found) => self.meet_late(found).await,
            Err(error) => {
                warn!(container = %id, error = chain(&error), "find out what runs");
                self.refuse_kept(&error).await;
            }
        }
    }

    /// It was ended together with its shim, and nothing starts it again.
    async fn bury(&mut self, found: Found, phase: Phase) {
        let Some(unresolved) = self.late.take() else {
            return;
        };
        self.entry.io().unresolved = false;
        let state = &mut self.record.state;
        (state.stopped_by_hand, state.last_run) = (true, true);
        match found {
            // What the run before has left; this one has never begun.
            Found::Exited(status) if phase == Phase::Starting && self.knows(&status) => {
                self.feed(Event::LaunchFailed).await;
            }
            Found::Exited(status) => self.ended(&status).await,
            Found::Running(_) | Found::Gone => {
                self.emit("kill", &[("signal", signal::KILL.to_string())]);
                let status = ExitStatus {
                    code: KILLED,
                    at: Timestamp::now(),
                    oom_killed: false,
                };
                self.ended(&status).await;
            }
        }
        for command in unresolved.over().into_iter().rev() {
            match command {
                Command::Ask { event, reply, .. } if is_done(&event) => {
                    // Who asked may have gone.
                    let _ = reply.send(Ok(()));
                }
                command => self.backlog.push_front(command),
            }
        }
    }

    /// Who waits for what cannot be known is told why.
    async fn refuse_kept(&mut self, error: &TaskError) {
        let Some(unresolved) = &mut self.late else {
            return;
        };
        let (refused, killed) = unresolved.refuse();
        for command in refused {
            if let Command::Ask { event, reply, .. } = command {
                let refusal = self.failed(verb(&event), error);
                let _ = reply.send(Err(refusal));
            }
        }
        if killed {
            self.unkilled += 1;
            self.feed(Event::KillTimedOut).await;
        }
    }

    /// Freezes it, as its record says.
    pub(super) async fn freeze(&mut self) -> Result<(), TaskError> {
        let asked = match &self.task {
            Some(task) => task.pause().await,
            None => Err(TaskError::Silent),
        };
        self.or_by_group(asked).await
    }

    /// Thaws it, as its record says.
    pub(super) async fn thaw(&mut self) -> Result<(), TaskError> {
        let asked = match &self.task {
            Some(task) => task.resume().await,
            None => Err(TaskError::Silent),
        };
        self.or_by_group(asked).await
    }

    /// The freezer needs no shim.
    async fn or_by_group(&mut self, asked: Result<(), TaskError>) -> Result<(), TaskError> {
        match asked {
            Err(TaskError::Silent) => self.freeze_as_written().await,
            other => other,
        }
    }

    /// Sets the freezer to what the record says.
    pub(super) async fn freeze_as_written(&mut self) -> Result<(), TaskError> {
        let frozen = matches!(self.record.state.phase, Phase::Paused { .. });
        let Some(name) = self.shared.tasks.cgroup(&self.record.id) else {
            return Ok(());
        };
        let set = move || {
            let group = Cgroup::open(&name)?;
            match (group.is_frozen(), frozen) {
                (false, true) => group.freeze(),
                (true, false) => group.thaw(),
                _ => Ok(()),
            }
        };
        let set = tokio::task::spawn_blocking(set).await;
        Ok(set.map_err(|_| TaskError::Silent)??)
    }

    /// Launches. Who wants the end of it meanwhile waits, but not for ever for a shim that does not get it done.
    pub(super) async fn launch_in_time(&mut self) -> Result<Launched, Failure> {
        let Self {
            shared,
            entry,
            record,
            mailbox,
            backlog,
            ..
        } = self;
        let mut launched = std::pin::pin!(launch::launch(shared, entry, record));
        let mut overdue = None;
        loop {
            tokio::select! {
                biased;
                launched = &mut launched => return launched,
                Some(command) = mailbox.recv() => {
                    if matches!(&command, Command::Ask { event, .. } if ends_a_start(event)) {
                        overdue = earlier(overdue, deadline(&command));
                    }
                    backlog.push_back(command);
                }
                () = at(overdue) => {
                    overdue = None;
                    let ended = tokio::time::timeout(DYING, shared.tasks.abort(&record.id)).await;
                    if let Err(error) = ended.unwrap_or(Err(TaskError::Silent)) {
                        warn!(container = %record.id, error = chain(&error), "end what is not launched in time");
                    }
                }
            }
        }
    }
}

/// Whether this has happened with the end of the run.
fn is_done(event: &Event) -> bool {
    matches!(event, Event::Stop { .. } | Event::Kill { .. })
}

/// What was asked for, in an error's words.
fn verb(event: &Event) -> &'static str {
    match event {
        Event::Stop { .. } => "stop",
        Event::Kill { .. } => "kill",
        Event::Remove { .. } => "remove",
        Event::Restart { .. } => "restart",
        _ => "start",
    }
}
