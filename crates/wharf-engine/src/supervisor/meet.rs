//! A daemon that has started tells a container what has become of its process.

use std::collections::VecDeque;
use std::pin::Pin;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{info, warn};
use wharf_sys::words::chain;
use wharf_tasks::{ExitStatus, Found, Task, Tasks};

use super::{Command, Supervisor, ends_a_start, silent};
use crate::lifecycle::{Event, Phase};
use crate::signal;

/// What dockerd gives a run whose end nobody saw.
const UNKNOWN_EXIT: i32 = 255;

/// What becomes known of a process later, because its shim does not answer yet.
pub(crate) type Late = Pin<Box<dyn Future<Output = Found> + Send>>;

/// How a container is started with the daemon, as far as it is to be.
pub(crate) struct WithDaemon {
    /// Whether it needs others, which have to be started before it.
    pub(crate) has_dependencies: bool,
    /// Told when that is done; for those that need it.
    pub(crate) told: Option<tokio::sync::watch::Sender<bool>>,
}

/// A container whose process is not known yet.
pub(super) struct Unresolved {
    pub(super) found: Late,
    start: WithDaemon,
    /// What could lead to a launch, beside a process that may be there.
    kept: VecDeque<Command>,
    /// Somebody has told it to end, which its policy does not undo.
    is_told_to_end: bool,
    /// Somebody has killed it.
    is_killed: bool,
    /// When that, or a command that is kept, does not wait any more for an answer.
    overdue_at: Option<Instant>,
    /// Its shim was given the time to come to its end.
    has_drained: bool,
}

impl Unresolved {
    /// Whether the command has to wait until it is known what has become of the process.
    fn holds_back(&self, command: &Command, phase: Phase) -> bool {
        let Command::Ask { event, .. } = command else {
            return false;
        };
        match event {
            Event::Start | Event::NeedsMet => true,
            // One that runs is told to end first; whether it has ended is known only when it is met.
            Event::Restart { .. } => phase.pid().is_none(),
            // It may run, and nobody knows.
            Event::Shutdown => false,
            event => phase == Phase::Starting && ends_a_start(event),
        }
    }

    pub(super) fn overdue_at(&self) -> Option<Instant> {
        self.overdue_at
    }

    /// It has ended, and its shim is about to: who waits, waits for that, once. Whether it is so.
    pub(super) fn lets_drain(&mut self) -> bool {
        let first = !std::mem::replace(&mut self.has_drained, true);
        if first {
            self.overdue_at = Some(Instant::now() + silent::DRAINING);
        }
        first
    }

    /// It is to be dead by then.
    pub(super) fn kill(&mut self, overdue_at: Instant) {
        self.is_killed = true;
        self.overdue_at = silent::earlier(self.overdue_at, Some(overdue_at));
    }

    /// Whether somebody wants the end of what runs, or nothing is to run.
    pub(super) fn is_to_end(&self, phase: Phase) -> bool {
        let ends = |command: &Command| matches!(command, Command::Ask { event, .. } if ends_a_start(event));
        match phase {
            Phase::Starting => self.kept.iter().any(ends),
            phase => phase.pid().is_none() || self.is_killed,
        }
    }

    /// Those of the commands that are kept whose askers do not wait any more, and whether it was killed in vain. What only
    /// the daemon asks for still comes.
    pub(super) fn refuse(&mut self) -> (Vec<Command>, bool) {
        self.overdue_at = None;
        let (kept, refused) = std::mem::take(&mut self.kept)
            .into_iter()
            .partition(is_the_daemons);
        self.kept = kept;
        (refused.into(), std::mem::take(&mut self.is_killed))
    }

    /// It has ended, and is not started with the daemon. What was asked meanwhile.
    pub(super) fn over(self) -> VecDeque<Command> {
        self.start.done();
        self.kept
    }
}

fn is_the_daemons(command: &Command) -> bool {
    matches!(
        command,
        Command::Ask {
            event: Event::NeedsMet,
            ..
        }
    )
}

impl Supervisor {
    /// What has become of the process is not known yet; as soon as it is, the container meets it, and hears then that the
    /// daemon has started.
    pub(crate) fn expect(&mut self, found: Late, start: WithDaemon) {
        self.late = Some(Unresolved {
            found,
            start,
            kept: VecDeque::new(),
            is_told_to_end: false,
            is_killed: false,
            overdue_at: None,
            has_drained: false,
        });
        self.entry.io().unresolved = true;
    }

    /// Keeps a command that must wait for what has become of the process.
    pub(super) fn hold_back(&mut self, command: Command) -> Option<Command> {
        let phase = self.record.state.phase;
        match &mut self.late {
            Some(unresolved) if unresolved.holds_back(&command, phase) => {
                unresolved.overdue_at =
                    silent::earlier(unresolved.overdue_at, silent::deadline(&command));
                unresolved.kept.push_back(command);
            }
            _ => return Some(command),
        }
        None
    }

    /// If it was not met yet, its policy does not start it any more.
    pub(super) fn end_unresolved(&mut self) {
        if let Some(unresolved) = &mut self.late {
            unresolved.is_told_to_end = true;
        }
    }

    pub(super) async fn meet_late(&mut self, found: Found) {
        let Some(unresolved) = self.late.take() else {
            return;
        };
        self.entry.io().unresolved = false;
        self.meet(found).await;
        if unresolved.is_killed && self.pid().is_some() {
            self.feed(Event::Kill {
                signal: signal::KILL,
            })
            .await;
        }
        match unresolved.is_told_to_end {
            true => unresolved.start.done(),
            false => self.start_with_daemon(unresolved.start).await,
        }
        // In their order, and before what comes now.
        for command in unresolved.kept.into_iter().rev() {
            self.backlog.push_front(command);
        }
    }

    /// The daemon has started. What its policy goes by is how the last run has ended, though that is known only since the
    /// container has met it.
    pub(crate) async fn start_with_daemon(&mut self, start: WithDaemon) {
        let code = self.record.last.exit_code;
        let has_dependencies = start.has_dependencies;
        self.feed(Event::DaemonStarted {
            code,
            has_dependencies,
        })
        .await;
        start.done();
    }

    /// A container that is gone was not met any more: whatever is found goes after it.
    pub(super) fn discard_unresolved(&mut self) {
        let Some(unresolved) = self.late.take() else {
            return;
        };
        unresolved.start.done();
        let (tasks, id) = (self.shared.tasks.clone(), self.record.id.clone());
        // Nobody waits for it, not even the end of the daemon: the next one finds it again.
        tokio::spawn(async move {
            let task = match unresolved.found.await {
                Found::Running(task) => Some(task),
                Found::Exited(_) | Found::Gone => None,
            };
            delete_task(&tasks, &id, task).await;
        });
    }

    /// Takes in what has been found.
    pub(crate) async fn meet(&mut self, found: Found) {
        let phase = self.record.state.phase;
        let expected = phase == Phase::Starting || phase.pid().is_some();
        match found {
            // What the run before has left; the start that was written has not come to it.
            Found::Exited(status) if phase == Phase::Starting && self.knows(&status) => {
                self.meet_unstarted().await;
            }
            Found::Running(task) if expected => self.meet_running(task).await,
            Found::Running(task) => {
                warn!(container = %self.record.id, "its record says that it does not run: killed");
                self.delete_behind(Some(task));
            }
            Found::Exited(status) if expected => self.ended(&status).await,
            Found::Gone if phase == Phase::Starting => self.meet_unstarted().await,
            Found::Gone if expected => {
                let status = ExitStatus {
                    code: UNKNOWN_EXIT,
                    at: Timestamp::now(),
                    oom_killed: false,
                };
                self.ended(&status).await;
            }
            // Its end is in the record already; only its folder was not removed any more.
            Found::Exited(_) => self.delete_behind(None),
            Found::Gone => {}
        }
    }

    /// Whether this end is in the record.
    pub(super) fn knows(&self, status: &ExitStatus) -> bool {
        self.record.last.finished_at == Some(status.at)
    }

    /// The daemon was killed before the process was started: it is launched now, but for one that nobody would be told the
    /// name of.
    async fn meet_unstarted(&mut self) {
        match self.record.state.auto_remove {
            true => self.feed(Event::LaunchFailed).await,
            // One that is met late looked alive until now, and has its network and volumes still.
            false => self.release().await,
        }
    }

    async fn meet_running(&mut self, task: Task) {
        let pid = task.pid();
        info!(container = %self.record.id, pid, "found running");
        self.finish_changes(pid).await;
        self.adopt(task);
        // The last daemon may have been killed between the record and the freezer.
        if let Err(error) = self.freeze_as_written().await {
            warn!(container = %self.record.id, error = chain(&error), "freeze or thaw it as its record says");
        }
        self.feed(Event::Launched { pid }).await;
    }

    /// Removes what a task has left; a launch waits for it.
    fn delete_behind(&mut self, task: Option<Task>) {
        let (tasks, id) = (self.shared.tasks.clone(), self.record.id.clone());
        let work = async move { delete_task(&tasks, &id, task).await };
        self.release = Some(self.shared.background.spawn(work));
    }
}

impl WithDaemon {
    fn done(self) {
        if let Some(told) = self.told {
            told.send_replace(true);
        }
    }
}

/// Removes the container's `task`, or what one has left that nobody holds.
pub(super) async fn delete_task(tasks: &Tasks, id: &str, task: Option<Task>) {
    let deleted = match task {
        Some(task) => task.delete().await,
        None => tasks.delete(id).await,
    };
    if let Err(error) = deleted {
        warn!(container = %id, error = chain(&error), "delete the task");
    }
}
