//! One task per container: it alone changes the container. It takes requests in turn, lets [`lifecycle::step`]
//! decide, writes the record, publishes the view and runs the effects.
//!
//! ```text
//!  verbs ──▶ mailbox ──▶ ┌────────────┐ ─▶ record (SQLite) ─▶ watch<Arc<View>> ─▶ inspect, ps, wait
//!  shim's exit ────────▶ │ supervisor │ ─▶ effects: launch, signals, release, delete
//!  timers ─────────────▶ └────────────┘ ─▶ events
//! ```
//!
//! The record is written before an effect runs; so a daemon killed between any two lines finds on its next start
//! what was about to be done, and does it or finds it done. Waiting (for an exit, a timer) happens in the loop's
//! `select`, never inside an effect; but a launch waits for its turn with the files, and obeys meanwhile.

mod health;
mod launching;
mod meet;
mod network;
mod release;
mod rename;
mod silent;
mod update;

pub(crate) use meet::{Late, WithDaemon};

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use meet::Unresolved;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, warn};
use wharf_tasks::{ExitStatus, Found, Task, TaskError};

use crate::containers::stop::Patience;
use crate::containers::{DeviceLists, Entry, NameHold, Shared, stop};
use crate::launch;
use crate::lifecycle::{
    AfterExit, Effect, Event, Phase, Refusal, State, Unwritten, follow_up, step, thawed, unwritten,
};
use crate::record::{CONTAINERS, Record};
use crate::{
    EndpointSettings, EngineError, HealthStatus, Probe, Resources, RestartPolicy, View, signal,
};

/// How long a run must have been for the back-off to begin anew (moby `restartmanager`).
const LONG_RUN: Duration = Duration::from_secs(10);
/// How long the end of what was killed is waited for (moby `daemon.Kill`: ten seconds, and two more).
const DYING: Duration = Duration::from_secs(12);
/// The least time until a start that could not be written down is tried again.
const UNWRITTEN: Duration = Duration::from_secs(1);

/// A request to a supervisor.
pub(crate) enum Command {
    /// Something is asked of the life.
    Ask {
        event: Event,
        /// How long a stop may take.
        patience: Patience,
        reply: Reply,
    },
    /// It is to have another name, which nobody else can have.
    Rename { hold: NameHold, reply: Reply },
    /// Another one has another name, which stands in links.
    Renamed,
    /// It is to lose the link of that alias.
    Unlink { alias: String, reply: Reply },
    /// It is to be in a further network.
    Connect {
        network: String,
        settings: Box<EndpointSettings>,
        reply: Reply,
    },
    /// It is to leave one of its networks.
    Disconnect { network: String, reply: Reply },
    /// Its policy or limits change.
    Update {
        policy: Option<RestartPolicy>,
        resources: Option<Box<Resources>>,
        lists: DeviceLists,
        reply: Reply,
    },
    /// A probe of its health has ended.
    Probed {
        probe: Probe,
        reply: oneshot::Sender<()>,
    },
}

type Reply = oneshot::Sender<Result<(), EngineError>>;
type Exit = Pin<Box<dyn Future<Output = ExitStatus> + Send>>;

/// Somebody who waits until it has been started again.
struct Restarter {
    reply: Reply,
    /// Of the counters, when it was asked.
    launches: u64,
    attempts: u64,
    unkilled: u64,
}

pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    entry: Arc<Entry>,
    record: Record,
    view: watch::Sender<Arc<View>>,
    mailbox: mpsc::UnboundedReceiver<Command>,
    task: Option<Task>,
    exit: Option<Exit>,
    /// Says when memory has run out.
    memory: Option<watch::Receiver<u64>>,
    stop_at: Option<Instant>,
    backoff_at: Option<Instant>,
    /// The last run's leftovers are being given back.
    release: Option<JoinHandle<()>>,
    /// The record's limits are being set again, after a start of the daemon.
    limiting: Option<JoinHandle<()>>,
    patience: Patience,
    /// When a kill should have worked.
    kill_at: Option<Instant>,
    /// How many kills have not; for waiters.
    unkilled: u64,
    /// How many launches were tried, and how many of them succeeded.
    attempts: u64,
    launches: u64,
    restarters: Vec<Restarter>,
    /// Commands that came while a launch waited for its turn.
    backlog: VecDeque<Command>,
    /// What its shim has not said yet, and what comes then.
    late: Option<Unresolved>,
    /// What a launch failed with; for whoever asked for it.
    failure: Option<EngineError>,
    /// Watches its health while it runs.
    monitor: Option<AbortOnDropHandle<()>>,
    gone: bool,
}

enum Input {
    Command(Option<Command>),
    Exit(ExitStatus),
    Found(Found),
    Overdue,
    OutOfMemory,
    StopTimeout,
    KillTimedOut,
    BackoffOver,
}

impl Supervisor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        entry: Arc<Entry>,
        record: Record,
        view: watch::Sender<Arc<View>>,
        mailbox: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            shared,
            entry,
            record,
            view,
            mailbox,
            task: None,
            exit: None,
            memory: None,
            stop_at: None,
            backoff_at: None,
            release: None,
            limiting: None,
            patience: Patience::default(),
            kill_at: None,
            unkilled: 0,
            attempts: 0,
            launches: 0,
            restarters: Vec::new(),
            backlog: VecDeque::new(),
            late: None,
            failure: None,
            monitor: None,
            gone: false,
        }
    }

    /// Takes requests until the container is gone or the daemon is.
    pub(crate) async fn run(mut self) {
        while !self.gone {
            match self.next().await {
                Input::Command(None) => return,
                Input::Command(Some(command)) => self.obey(command).await,
                Input::Exit(status) => self.ended(&status).await,
                Input::Found(found) => self.meet_late(found).await,
                Input::Overdue => self.overdue().await,
                Input::OutOfMemory => self.out_of_memory(),
                Input::StopTimeout => self.feed(Event::StopTimeout).await,
                Input::KillTimedOut => {
                    self.unkilled += 1;
                    self.feed(Event::KillTimedOut).await;
                }
                Input::BackoffOver => self.feed(Event::BackoffOver).await,
            }
            self.answer_restarters();
        }
    }

    async fn next(&mut self) -> Input {
        if let Some(command) = self.backlog.pop_front() {
            return Input::Command(Some(command));
        }
        let exit = async {
            match &mut self.exit {
                Some(exit) => exit.await,
                None => std::future::pending().await,
            }
        };
        let memory = async {
            let changed = match &mut self.memory {
                Some(memory) => memory.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                std::future::pending::<()>().await;
            }
        };
        let overdue_at = self.late.as_ref().and_then(Unresolved::overdue_at);
        let late = async {
            match &mut self.late {
                Some(unresolved) => (&mut unresolved.found).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            found = late => Input::Found(found),
            () = at(overdue_at) => Input::Overdue,
            () = memory => Input::OutOfMemory,
            status = exit => {
                self.exit = None;
                Input::Exit(status)
            }
            command = self.mailbox.recv() => Input::Command(command),
            () = at(self.stop_at) => {
                self.stop_at = None;
                Input::StopTimeout
            }
            () = at(self.kill_at) => {
                self.kill_at = None;
                Input::KillTimedOut
            }
            () = at(self.backoff_at) => {
                self.backoff_at = None;
                Input::BackoffOver
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let Some(command) = self.hold_back(command) else {
            return;
        };
        match command {
            Command::Ask {
                event,
                patience,
                reply,
            } => self.asked(event, patience, reply).await,
            Command::Rename { hold, reply } => {
                let _ = reply.send(self.rename(hold));
            }
            Command::Renamed => self.rename_links(),
            Command::Unlink { alias, reply } => {
                let _ = reply.send(self.unlink(&alias));
            }
            Command::Connect {
                network,
                settings,
                reply,
            } => {
                let _ = reply.send(self.connect(&network, *settings).await);
            }
            Command::Disconnect { network, reply } => {
                let _ = reply.send(self.disconnect(&network).await);
            }
            Command::Update {
                policy,
                resources,
                lists,
                reply,
            } => {
                let _ = reply.send(self.update(policy, resources, lists).await);
            }
            Command::Probed { probe, reply } => {
                self.probed(probe).await;
                // A monitor that has ended meanwhile waits for nothing.
                let _ = reply.send(());
            }
        }
    }

    async fn asked(&mut self, event: Event, patience: Patience, reply: Reply) {
        if self.is_too_late_for(&event) {
            let _ = reply.send(Err(EngineError::ShuttingDown));
            return;
        }
        self.patience = patience;
        let done = self.apply(event).await;
        if done.is_ok() && self.record.state.last_run && ends(&event) {
            self.end_unresolved();
        }
        if matches!(event, Event::Restart { .. }) && done.is_ok() {
            if self.record.state.is_to_start_again() {
                self.restarters.push(Restarter {
                    reply,
                    launches: self.launches,
                    attempts: self.attempts,
                    unkilled: self.unkilled,
                });
                return;
            }
            self.emit("restart", &[]);
        }
        // Who asked may have gone.
        let _ = reply.send(done);
    }

    /// Whether somebody asks for a start of a daemon that ends: it is refused before anything is written.
    fn is_too_late_for(&self, event: &Event) -> bool {
        let starts = match event {
            Event::Start => true,
            Event::Restart { .. } => self.record.state.phase.pid().is_none(),
            _ => false,
        };
        starts && self.shared.stopping.load(Ordering::SeqCst)
    }

    /// As soon as it is not to be started again any more, for whatever reason.
    fn answer_restarters(&mut self) {
        if self.restarters.is_empty() || self.record.state.is_to_start_again() {
            return;
        }
        for asked in std::mem::take(&mut self.restarters) {
            let answer = if self.launches > asked.launches {
                self.emit("restart", &[]);
                Ok(())
            } else if self.gone {
                Err(EngineError::NoSuchContainer(self.record.id.clone()))
            } else if self.unkilled > asked.unkilled {
                Err(EngineError::Failed(stop::UNDYING.to_owned()))
            } else if self.attempts > asked.attempts {
                Err(EngineError::Failed(self.record.last.error.clone()))
            } else if self.shared.stopping.load(Ordering::SeqCst) {
                Err(EngineError::ShuttingDown)
            } else {
                Err(EngineError::Conflict(stop::OVERTAKEN.to_owned()))
            };
            let _ = asked.reply.send(answer);
        }
    }

    /// As [`Supervisor::apply`], for events that nobody waits for.
    pub(crate) async fn feed(&mut self, event: Event) {
        if let Err(error) = self.apply(event).await {
            warn!(container = %self.record.id, ?event, error = error.message(), "container");
        }
    }

    /// A daemon that has started hands over what the shim says.
    pub(crate) fn adopt(&mut self, task: Task) {
        // The record was written before a connection; the rest of it is found out now.
        self.record.network = self.network_view(task.pid());
        if self.record.state.phase == Phase::Starting {
            self.record.last.started_at = Some(Timestamp::now());
        }
        self.exit = Some(exit_of(&task));
        self.memory = Some(task.out_of_memory());
        if self.record.last.oom_killed
            && let Some(memory) = &mut self.memory
        {
            // It has been told already.
            memory.mark_unchanged();
        }
        self.entry.io().task = Some(task.clone());
        self.task = Some(task);
        // Whoever asked for a stop that is under way has gone with the last daemon, and what they said of its time.
        self.patience = stop::patience(&self.record.config, None);
        self.limit_again();
    }

    /// Memory has run out: the kernel has killed a process, not necessarily the first one.
    fn out_of_memory(&mut self) {
        self.record.last.oom_killed = true;
        if let Err(error) = self.save() {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        self.publish();
        self.emit("oom", &[]);
    }

    /// The process has ended.
    pub(crate) async fn ended(&mut self, status: &ExitStatus) {
        let at = status.at;
        if self.record.state.phase == Phase::Starting {
            // A daemon was killed between the start and its record: it has run all the same.
            self.record.last.started_at = Some(at);
        }
        let started = self.record.last.started_at.unwrap_or(at);
        let ran = Duration::try_from(started.duration_until(at)).unwrap_or_default();
        self.memory = None;
        if status.oom_killed && !self.record.last.oom_killed {
            self.emit("oom", &[]);
        }
        let last = &mut self.record.last;
        last.exit_code = status.code;
        last.oom_killed = status.oom_killed;
        last.finished_at = Some(at);
        last.exits += 1;
        self.monitor = None;
        if let Some(health) = &mut self.record.health {
            health.status = HealthStatus::Unhealthy;
        }
        (self.stop_at, self.kill_at) = (None, None);
        self.entry.io().task = None;
        self.shared.execs.forget_idle(&self.record.id);
        let phase = self.record.state.phase;
        let duration = ("execDuration", ran.as_secs().to_string());
        self.shared
            .emit_networks("disconnect", &self.record.id, &self.record.network);
        self.shared.emit_volumes("unmount", &self.record);
        self.emit("die", &[("exitCode", status.code.to_string()), duration]);
        launch::network::forget_all(&mut self.record.network);
        if follow_up(phase).is_some_and(|then| then != AfterExit::Remove) {
            self.emit("stop", &[]);
        }
        let ran_long = ran >= LONG_RUN;
        self.feed(Event::Exited {
            code: status.code,
            ran_long,
        })
        .await;
    }

    /// Decides, writes, publishes, acts; and goes on with what came of it.
    pub(crate) async fn apply(&mut self, event: Event) -> Result<(), EngineError> {
        let mut next = Some(event);
        self.failure = None;
        while let Some(event) = next.take() {
            let before = self.record.state;
            let (state, mut effects) =
                step(&before, &event).map_err(|refusal| self.refused(refusal))?;
            let removes = self.record.remove_volumes;
            self.record.state = state;
            // Only of a removal that is done is it said what goes with it.
            if let Event::Remove { volumes, .. } = event {
                self.record.remove_volumes = volumes;
            }
            if let Err(error) = self.save() {
                let (rest, then) = match unwritten(&before, &event, &state, &effects) {
                    Unwritten::Undone(state) => {
                        (self.record.state, self.record.remove_volumes) = (state, removes);
                        self.publish();
                        self.back_off_again();
                        return Err(error);
                    }
                    Unwritten::Done(rest, then) => (rest, then),
                };
                error!(container = %self.record.id, error = error.message(), "write the record");
                if then.is_some() {
                    // It was tried, for whoever waits for it.
                    self.attempts += 1;
                    self.record.last.error = error.message();
                    self.failure = Some(error);
                }
                (effects, next) = (rest, then);
            }
            self.publish();
            let mut failed = Ok(());
            for effect in effects {
                // One that fails does not take those after it along: a stop whose signal is not sent has its time.
                match self.act(effect, event).await {
                    Ok(event) => next = event.or(next),
                    Err(error) => failed = failed.and(Err(error)),
                }
            }
            self.watch_health();
            failed?;
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// A start by the policy, or with the daemon, that could not be written down is tried again.
    fn back_off_again(&mut self) {
        let State { phase, backoff, .. } = self.record.state;
        if phase == Phase::Waiting && self.backoff_at.is_none() {
            let wait = Duration::from_millis(u64::from(backoff)).max(UNWRITTEN);
            self.backoff_at = Some(Instant::now() + wait);
        }
    }

    async fn act(&mut self, effect: Effect, cause: Event) -> Result<Option<Event>, EngineError> {
        match effect {
            Effect::Launch => return Ok(Some(self.launch(cause).await)),
            Effect::Signal(number) => self.signal(number).await?,
            Effect::Freeze => {
                if let Err(error) = self.freeze().await {
                    self.feed_back_unfrozen();
                    return Err(match error {
                        TaskError::Gone => self.refused(Refusal::NotRunning),
                        error => self.failed("pause", &error),
                    });
                }
                self.emit("pause", &[]);
            }
            Effect::Thaw => match self.thaw().await {
                Ok(()) => self.emit("unpause", &[]),
                // What was to end has ended.
                Err(TaskError::Gone) if cause != Event::Unpause => {}
                Err(TaskError::Gone) => return Err(self.refused(Refusal::NotRunning)),
                Err(error) => {
                    self.feed_back_frozen();
                    return Err(self.failed("unpause", &error));
                }
            },
            Effect::ArmStopTimer => {
                self.stop_at = self.patience.limit.map(|limit| Instant::now() + limit);
            }
            Effect::ArmBackoff(milliseconds) => {
                let wait = Duration::from_millis(u64::from(milliseconds));
                self.backoff_at = Some(Instant::now() + wait);
            }
            Effect::CancelBackoff => self.backoff_at = None,
            Effect::Release => self.release().await,
            Effect::Delete => return Ok(self.delete().await),
        }
        Ok(None)
    }

    /// It could not be frozen, so it runs.
    fn feed_back_unfrozen(&mut self) {
        if let Phase::Paused { pid, then } = self.record.state.phase {
            self.found(thawed(pid, then));
        }
    }

    /// It could not be thawed, so it is frozen still; a stop that is under way goes on, and thaws it with its kill.
    fn feed_back_frozen(&mut self) {
        let then = follow_up(self.record.state.phase);
        if let Phase::Running { pid } | Phase::Stopping { pid, .. } = self.record.state.phase {
            self.found(Phase::Paused { pid, then });
        }
    }

    /// What is, whatever was wanted.
    fn found(&mut self, phase: Phase) {
        self.record.state.phase = phase;
        if let Err(error) = self.save() {
            error!(container = %self.record.id, error = error.message(), "write the record");
        }
        self.publish();
    }

    fn save(&mut self) -> Result<(), EngineError> {
        let (entry, record) = (&self.entry, &mut self.record);
        Ok(self.shared.db.write(|tx| {
            // While nobody else writes: whoever renames one that it is linked to does so before or after.
            rename::take_in_renames(entry, record);
            CONTAINERS.put(tx, &record.id, record)
        })?)
    }

    fn publish(&self) {
        let mut view = self.record.view(&self.shared.folders, false);
        view.unkilled = self.unkilled;
        self.view.send_replace(Arc::new(view));
    }

    fn emit(&self, action: &str, more: &[(&str, String)]) {
        self.shared.emit(
            &self.record.id,
            &self.record.name,
            &self.record.config,
            action,
            more,
        );
    }

    fn failed(&self, what: &str, error: &dyn std::error::Error) -> EngineError {
        let text = wharf_sys::words::chain(error);
        EngineError::Failed(format!(
            "cannot {what} container: {}: {text}",
            self.record.id
        ))
    }

    /// Docker's words for a refusal.
    fn refused(&self, refusal: Refusal) -> EngineError {
        let id = &self.record.id;
        let remove = |state: &str, advice: &str| {
            let name = &self.record.name;
            format!("cannot remove container \"/{name}\": container is {state}{advice}")
        };
        EngineError::Conflict(match refusal {
            Refusal::NotModified => return EngineError::NotModified,
            Refusal::NotRunning => format!("container {id} is not running"),
            Refusal::AlreadyPaused => format!("Container {id} is already paused"),
            // dockerd has no class for it.
            Refusal::NotPaused => {
                return EngineError::Failed(format!("Container {id} is not paused"));
            }
            Refusal::Restarting => return EngineError::restarting(id),
            Refusal::StartPaused => {
                "cannot start a paused container, try unpause instead".to_owned()
            }
            Refusal::MarkedForRemoval => {
                "container is marked for removal and cannot be started".to_owned()
            }
            Refusal::RemovalInProgress => {
                format!("removal of container {id} is already in progress")
            }
            Refusal::Running => remove(
                "running",
                ": stop the container before removing or force remove",
            ),
            Refusal::Between => remove(
                "restarting",
                ": stop the container before removing or force remove",
            ),
            Refusal::Paused => remove("paused", " and must be unpaused first"),
        })
    }
}

/// Whether it may end what runs, for good.
fn ends(event: &Event) -> bool {
    matches!(
        event,
        Event::Stop { .. } | Event::Shutdown | Event::Kill { .. } | Event::Remove { .. }
    )
}

/// Whether a container that waits to be started is told not to be.
fn ends_a_start(event: &Event) -> bool {
    match event {
        Event::Stop { .. } | Event::Shutdown | Event::Remove { force: true, .. } => true,
        Event::Kill { signal } => *signal == signal::KILL,
        _ => false,
    }
}

/// Until then; for ever if there is no such time.
async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether nobody but the first process could end by a signal that this one does not hear, or learn to hear it.
async fn is_alone(task: &Task) -> bool {
    let pids = task.pids().await;
    pids.is_ok_and(|pids| pids.len() <= 1)
}

fn exit_of(task: &Task) -> Exit {
    let task = task.clone();
    Box::pin(async move { task.wait().await })
}
