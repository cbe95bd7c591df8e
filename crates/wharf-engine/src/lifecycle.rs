//! The life of a container as a pure function: no file, clock, lock or process is touched here.
//!
//! ```text
//!             Start            Launched             Exited, to be restarted
//!  Created ───────▶ Starting ──────────▶ Running ───────────────▶ Waiting ──┐ back-off over
//!     ▲                │ ▲                │ ▲  │                             │
//!     │ LaunchFailed   │ │          Pause │ │  │ Stop, Restart, Remove -f    │
//!     └────────────────┘ │                ▼ │  ▼                             │
//!                        │             Paused Stopping ──▶ Exited ◀──────────┘ Stop, Kill
//!                        └───────────────────────────────────┘   Start
//!  any that does not run ── Remove ──▶ Removing ──▶ gone (or Dead, if that failed)
//! ```
//! One that the daemon is to start, but others before it, is Held until then, or until somebody says otherwise.
//!
//! [`step`] decides; the supervisor writes the new state into the record, then runs the effects, and feeds what
//! came of them back as events. On the start of the daemon the record and what the shim says come in as the same
//! events, so recovery is no second path. Decisions are dockerd's (moby `daemon/{start,stop,kill,monitor}.go`,
//! `restartmanager`).

use serde::{Deserialize, Serialize};

use crate::RestartPolicy;

/// First wait before a restart, milliseconds (moby `restartmanager.defaultTimeout`).
const BACKOFF_FIRST: u32 = 100;
/// Longest wait before a restart, milliseconds.
const BACKOFF_MAX: u32 = 60_000;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// It has never run.
    Created,
    /// It is being launched.
    Starting,
    /// Its process runs.
    Running {
        /// The first process.
        pid: u32,
    },
    /// Its processes are frozen.
    Paused {
        /// The first process.
        pid: u32,
        /// It had been told to stop before; that time runs on, and this is what comes after its end.
        #[serde(default)]
        then: Option<AfterExit>,
    },
    /// It was told to stop, and still runs.
    Stopping {
        /// The first process.
        pid: u32,
        /// What comes after its end.
        then: AfterExit,
    },
    /// It has ended, and the back-off before its restart runs.
    Waiting,
    /// It is to be started with the daemon, as soon as those that it needs have been.
    Held,
    /// It has ended.
    Exited,
    /// It is being deleted.
    Removing,
    /// Its deletion failed.
    Dead,
}

/// What follows the end of a container that was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AfterExit {
    /// Nothing.
    Rest,
    /// It is started again (`restart`).
    Start,
    /// It is deleted (`rm -f`).
    Remove,
    /// The policy starts it again, after its back-off.
    Again,
}

/// What a step goes by; written into the record with each change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Where it is.
    pub(crate) phase: Phase,
    /// What follows an exit.
    pub(crate) policy: RestartPolicy,
    /// `--rm`.
    pub(crate) auto_remove: bool,
    /// Number of the signal of `stop`.
    pub(crate) stop_signal: i32,
    /// That signal is the container's own choice, not the usual one.
    #[serde(default)]
    pub(crate) own_stop_signal: bool,
    /// Somebody stopped or killed it; `unless-stopped` goes by it.
    pub(crate) stopped_by_hand: bool,
    /// The present run is the last one, whatever the policy says.
    pub(crate) last_run: bool,
    /// Restarts by the policy since the last start by hand.
    pub(crate) restarts: u32,
    /// The last back-off, milliseconds.
    pub(crate) backoff: u32,
}

/// Something that happened, or is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Somebody asks for a start.
    Start,
    /// The launch succeeded, or the shim was found with its process.
    Launched {
        /// The first process.
        pid: u32,
    },
    /// The launch failed; nothing runs.
    LaunchFailed,
    /// The launch was not begun: somebody has decided otherwise, and that comes next.
    LaunchDeferred,
    /// Somebody asks for an end.
    Stop {
        /// With this signal.
        signal: i32,
    },
    /// The daemon ends, and its containers with it; they come back with it, as far as their policy says.
    Shutdown,
    /// Its health checks have found it unhealthy.
    Unhealthy,
    /// The time that a stop may take is over.
    StopTimeout,
    /// It has been killed, and lives on: it hangs in the kernel, or its shim does.
    KillTimedOut,
    /// Somebody sends a signal.
    Kill {
        /// This one.
        signal: i32,
    },
    /// Somebody asks for an end and a start.
    Restart {
        /// With this signal.
        signal: i32,
    },
    /// The process has ended.
    Exited {
        /// Exit code.
        code: i32,
        /// Whether it had run for at least ten seconds.
        ran_long: bool,
    },
    /// Somebody asks to freeze it.
    Pause,
    /// Somebody asks to thaw it.
    Unpause,
    /// The back-off is over.
    BackoffOver,
    /// Somebody asks to delete it.
    Remove {
        /// Though it runs.
        force: bool,
        /// With its anonymous volumes.
        volumes: bool,
    },
    /// The deletion failed.
    RemoveFailed,
    /// The daemon has started, and has met what it knows of the container's process.
    DaemonStarted {
        /// Exit code of its last run, though that has ended while there was no daemon.
        code: i32,
        /// Whether it needs others, which have to be started before it.
        has_dependencies: bool,
    },
    /// All that it needs has been started with the daemon.
    NeedsMet,
    /// The restart policy is another one now.
    Policy(RestartPolicy),
}

/// What has to be done. The supervisor runs them in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start the process; answers with `Launched` or `LaunchFailed`.
    Launch,
    /// Send a signal to the first process.
    Signal(i32),
    /// Freeze.
    Freeze,
    /// Thaw.
    Thaw,
    /// Answer with `StopTimeout` after the time that the caller of the stop gave.
    ArmStopTimer,
    /// Answer with `BackoffOver` after so many milliseconds.
    ArmBackoff(u32),
    /// Forget the back-off's timer.
    CancelBackoff,
    /// Give back what a run held: network, shim.
    Release,
    /// Delete the record; then the files.
    Delete,
}

/// Why a request is not followed. Which is 304 and which 409 is dockerd's choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is so already: 304.
    NotModified,
    /// It does not run.
    NotRunning,
    /// It is frozen already.
    AlreadyPaused,
    /// It is not frozen.
    NotPaused,
    /// It is between two runs, and cannot be frozen.
    Restarting,
    /// A frozen one cannot be started.
    StartPaused,
    /// It is being deleted and cannot be started.
    MarkedForRemoval,
    /// It is being deleted already.
    RemovalInProgress,
    /// A running one is not deleted without force.
    Running,
    /// One between two runs is not deleted without force.
    Between,
    /// A frozen one is not deleted without force.
    Paused,
}

const KILL: i32 = 9;

/// The next state, and what is to be done. An event that means nothing in a state (a timer that lost its race)
/// changes nothing.
pub(crate) fn step(state: &State, event: &Event) -> Result<(State, Vec<Effect>), Refusal> {
    match *event {
        Event::Start => start(state),
        Event::Launched { pid } => launched(state, pid),
        Event::LaunchFailed => Ok(launch_failed(state)),
        Event::LaunchDeferred => Ok(match state.phase {
            Phase::Starting => (at(state, Phase::Waiting), vec![]),
            _ => (*state, vec![]),
        }),
        Event::Stop { signal } => stop(state, signal, AfterExit::Rest),
        Event::Shutdown => {
            // It is not started by this daemon any more, but by the next one.
            if state.phase == Phase::Held {
                return Err(Refusal::NotModified);
            }
            let (next, effects) = stop(state, state.stop_signal, AfterExit::Rest)?;
            let stopped_by_hand = state.stopped_by_hand;
            Ok((
                State {
                    stopped_by_hand,
                    ..next
                },
                effects,
            ))
        }
        Event::Unhealthy => Ok(unhealthy(state)),
        Event::StopTimeout => Ok(stop_timeout(state)),
        Event::KillTimedOut => Ok(kill_timed_out(state)),
        Event::Kill { signal } => kill(state, signal),
        Event::Restart { signal } => restart(state, signal),
        Event::Exited { code, ran_long } => Ok(exited(state, code, ran_long)),
        Event::Pause => pause(state),
        Event::Unpause => unpause(state),
        Event::BackoffOver => Ok(match state.phase {
            Phase::Waiting => (at(state, Phase::Starting), vec![Effect::Launch]),
            _ => (*state, vec![]),
        }),
        Event::Remove { force, .. } => remove(state, force),
        Event::RemoveFailed => Ok(match state.phase {
            Phase::Removing => (at(state, Phase::Dead), vec![]),
            _ => (*state, vec![]),
        }),
        Event::DaemonStarted {
            code,
            has_dependencies,
        } => Ok(daemon_started(state, code, has_dependencies)),
        Event::NeedsMet => Ok(match state.phase {
            Phase::Held => (at(state, Phase::Starting), vec![Effect::Launch]),
            // Somebody has decided meanwhile.
            _ => (*state, vec![]),
        }),
        Event::Policy(policy) => {
            let last_run = state.last_run && policy == state.policy;
            Ok((
                State {
                    policy,
                    last_run,
                    ..*state
                },
                vec![],
            ))
        }
    }
}

impl Phase {
    /// The first process of one that runs.
    pub(crate) fn pid(self) -> Option<u32> {
        match self {
            Phase::Running { pid } | Phase::Paused { pid, .. } | Phase::Stopping { pid, .. } => {
                Some(pid)
            }
            _ => None,
        }
    }
}

impl State {
    /// Whether a start follows the end that it has been told.
    pub(crate) fn is_to_start_again(&self) -> bool {
        follow_up(self.phase) == Some(AfterExit::Start)
    }
}

/// What follows the end that one was told which still runs.
pub(crate) fn follow_up(phase: Phase) -> Option<AfterExit> {
    match phase {
        Phase::Stopping { then, .. } => Some(then),
        Phase::Paused { then, .. } => then,
        _ => None,
    }
}

/// What comes of a step whose state could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// Nothing has happened yet, and so nothing does; this is the state then. One that waits is started later.
    Undone(State),
    /// These effects, and an event after them.
    Done(Vec<Effect>, Option<Event>),
}

/// What goes on with a step from `before` to `next` that could not be written. Nothing is launched that the next daemon would not
/// know to be there.
pub(crate) fn unwritten(
    before: &State,
    event: &Event,
    next: &State,
    effects: &[Effect],
) -> Unwritten {
    // What stands in its record already says so.
    let launches = effects.contains(&Effect::Launch) && before.phase != Phase::Starting;
    match event {
        Event::Start | Event::Pause | Event::Unpause | Event::Policy(_) => {
            return Unwritten::Undone(*before);
        }
        // What has happened has happened, though the disk is full.
        Event::Exited { .. } => {}
        // Nobody else would ask for it again.
        Event::DaemonStarted { .. } | Event::NeedsMet if launches => {
            // What the policy has been asked for by now still counts: not that it was stopped before.
            return Unwritten::Undone(at(next, Phase::Waiting));
        }
        _ if launches => return Unwritten::Undone(*before),
        _ => {}
    }
    let rest = effects
        .iter()
        .filter(|effect| !launches || **effect != Effect::Launch);
    Unwritten::Done(
        rest.copied().collect(),
        launches.then_some(Event::LaunchFailed),
    )
}

fn at(state: &State, phase: Phase) -> State {
    State { phase, ..*state }
}

/// A start by hand forgets what came before.
fn fresh(state: &State) -> State {
    State {
        phase: Phase::Starting,
        stopped_by_hand: false,
        last_run: false,
        restarts: 0,
        backoff: 0,
        ..*state
    }
}

fn start(state: &State) -> Result<(State, Vec<Effect>), Refusal> {
    match state.phase {
        Phase::Created | Phase::Exited | Phase::Held => Ok((fresh(state), vec![Effect::Launch])),
        // Docker's restarting container counts as running.
        Phase::Starting | Phase::Running { .. } | Phase::Stopping { .. } | Phase::Waiting => {
            Err(Refusal::NotModified)
        }
        Phase::Paused { .. } => Err(Refusal::StartPaused),
        Phase::Removing | Phase::Dead => Err(Refusal::MarkedForRemoval),
    }
}

fn launched(state: &State, pid: u32) -> Result<(State, Vec<Effect>), Refusal> {
    Ok(match state.phase {
        Phase::Starting => (at(state, Phase::Running { pid }), vec![]),
        // A daemon that finds its container again: the rest of what it was doing goes on.
        Phase::Stopping { then, .. } => {
            let signal = if then == AfterExit::Remove {
                KILL
            } else {
                state.stop_signal
            };
            let state = at(state, Phase::Stopping { pid, then });
            (state, vec![Effect::Signal(signal), Effect::ArmStopTimer])
        }
        Phase::Paused { then: Some(_), .. } => (*state, vec![Effect::ArmStopTimer]),
        _ => (*state, vec![]),
    })
}

fn launch_failed(state: &State) -> (State, Vec<Effect>) {
    match state.phase {
        Phase::Starting if state.auto_remove => (
            at(state, Phase::Removing),
            vec![Effect::Release, Effect::Delete],
        ),
        // A start that the policy made and that failed ends the policy's tries, as in dockerd.
        Phase::Starting => (at(state, Phase::Exited), vec![Effect::Release]),
        _ => (*state, vec![]),
    }
}

fn stop(state: &State, signal: i32, then: AfterExit) -> Result<(State, Vec<Effect>), Refusal> {
    let by_hand = State {
        stopped_by_hand: true,
        last_run: true,
        ..*state
    };
    let timed = vec![Effect::Signal(signal), Effect::ArmStopTimer];
    match state.phase {
        Phase::Running { pid } => Ok((at(&by_hand, Phase::Stopping { pid, then }), timed)),
        Phase::Paused { pid, .. } => {
            let effects = vec![Effect::Signal(signal), Effect::Thaw, Effect::ArmStopTimer];
            Ok((at(&by_hand, Phase::Stopping { pid, then }), effects))
        }
        // The later wish wins, but nothing undoes a removal.
        Phase::Stopping { pid, then: earlier } => {
            let then = if earlier == AfterExit::Remove {
                earlier
            } else {
                then
            };
            Ok((at(&by_hand, Phase::Stopping { pid, then }), timed))
        }
        Phase::Waiting | Phase::Held => Ok(end_waiting(&by_hand)),
        Phase::Created | Phase::Starting | Phase::Exited | Phase::Removing | Phase::Dead => {
            Err(Refusal::NotModified)
        }
    }
}

/// A policy that is there for it ends the run, and starts another.
fn unhealthy(state: &State) -> (State, Vec<Effect>) {
    match (state.phase, state.policy) {
        (Phase::Running { pid }, RestartPolicy::OnUnhealthy { .. })
            if !state.last_run && wants_restart(state, 1) =>
        {
            let then = AfterExit::Again;
            let effects = vec![Effect::Signal(state.stop_signal), Effect::ArmStopTimer];
            (at(state, Phase::Stopping { pid, then }), effects)
        }
        _ => (*state, vec![]),
    }
}

fn end_waiting(state: &State) -> (State, Vec<Effect>) {
    if state.auto_remove {
        let effects = vec![Effect::CancelBackoff, Effect::Delete];
        return (at(state, Phase::Removing), effects);
    }
    (at(state, Phase::Exited), vec![Effect::CancelBackoff])
}

fn stop_timeout(state: &State) -> (State, Vec<Effect>) {
    match state.phase {
        Phase::Stopping { .. } => (*state, vec![Effect::Signal(KILL)]),
        Phase::Paused {
            pid,
            then: Some(then),
        } => (
            at(state, Phase::Stopping { pid, then }),
            vec![Effect::Signal(KILL), Effect::Thaw],
        ),
        _ => (*state, vec![]),
    }
}

/// Whoever asked for its end is told so, and what was to follow is off (moby `daemon.Kill`).
fn kill_timed_out(state: &State) -> (State, Vec<Effect>) {
    match state.phase {
        Phase::Stopping { pid, .. } => (at(state, Phase::Running { pid }), vec![]),
        Phase::Paused { pid, .. } => (at(state, Phase::Paused { pid, then: None }), vec![]),
        _ => (*state, vec![]),
    }
}

/// A frozen one that is thawed.
pub(crate) fn thawed(pid: u32, then: Option<AfterExit>) -> Phase {
    match then {
        None => Phase::Running { pid },
        Some(then) => Phase::Stopping { pid, then },
    }
}

fn kill(state: &State, signal: i32) -> Result<(State, Vec<Effect>), Refusal> {
    // moby `killWithSignal`: without a stop signal of its own, every signal is taken for one.
    let ends = signal == KILL || !state.own_stop_signal || signal == state.stop_signal;
    let by_hand = State {
        stopped_by_hand: true,
        last_run: state.last_run || ends,
        ..*state
    };
    match state.phase {
        Phase::Running { .. } | Phase::Stopping { .. } => {
            Ok((by_hand, vec![Effect::Signal(signal)]))
        }
        // A frozen process does not see a signal before it is thawed (cgroup v1 not even KILL).
        Phase::Paused { pid, then } if ends => {
            let running = at(&by_hand, thawed(pid, then));
            Ok((running, vec![Effect::Signal(signal), Effect::Thaw]))
        }
        Phase::Paused { .. } => Ok((by_hand, vec![Effect::Signal(signal)])),
        Phase::Waiting if ends => Ok(end_waiting(&by_hand)),
        Phase::Waiting => Ok((by_hand, vec![])),
        Phase::Created
        | Phase::Starting
        | Phase::Held
        | Phase::Exited
        | Phase::Removing
        | Phase::Dead => Err(Refusal::NotRunning),
    }
}

fn restart(state: &State, signal: i32) -> Result<(State, Vec<Effect>), Refusal> {
    match state.phase {
        Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. } => {
            stop(state, signal, AfterExit::Start)
        }
        Phase::Waiting => Ok((fresh(state), vec![Effect::CancelBackoff, Effect::Launch])),
        Phase::Created | Phase::Exited | Phase::Held => start(state),
        Phase::Starting => Err(Refusal::NotModified),
        Phase::Removing | Phase::Dead => Err(Refusal::MarkedForRemoval),
    }
}

fn exited(state: &State, code: i32, ran_long: bool) -> (State, Vec<Effect>) {
    match state.phase {
        Phase::Starting | Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. } => {
        }
        Phase::Created
        | Phase::Waiting
        | Phase::Held
        | Phase::Exited
        | Phase::Removing
        | Phase::Dead => return (*state, vec![]),
    }
    match follow_up(state.phase) {
        Some(AfterExit::Start) => (fresh(state), vec![Effect::Release, Effect::Launch]),
        Some(AfterExit::Remove) => (
            at(state, Phase::Removing),
            vec![Effect::Release, Effect::Delete],
        ),
        // However it ends, it was unhealthy.
        Some(AfterExit::Again) => after_exit(state, if code == 0 { 1 } else { code }, ran_long),
        Some(AfterExit::Rest) | None => after_exit(state, code, ran_long),
    }
}

fn after_exit(state: &State, code: i32, ran_long: bool) -> (State, Vec<Effect>) {
    if !state.last_run && wants_restart(state, code) {
        let backoff = match (ran_long, state.backoff) {
            (true, _) | (_, 0) => BACKOFF_FIRST,
            (false, last) => last.saturating_mul(2).min(BACKOFF_MAX),
        };
        let waiting = State {
            phase: Phase::Waiting,
            restarts: state.restarts.saturating_add(1),
            backoff,
            ..*state
        };
        return (waiting, vec![Effect::Release, Effect::ArmBackoff(backoff)]);
    }
    if state.auto_remove {
        let effects = vec![Effect::Release, Effect::Delete];
        return (at(state, Phase::Removing), effects);
    }
    (at(state, Phase::Exited), vec![Effect::Release])
}

fn wants_restart(state: &State, code: i32) -> bool {
    match state.policy {
        RestartPolicy::No => false,
        RestartPolicy::Always => true,
        RestartPolicy::UnlessStopped => !state.stopped_by_hand,
        RestartPolicy::OnFailure { max_retries } | RestartPolicy::OnUnhealthy { max_retries } => {
            code != 0 && (max_retries == 0 || state.restarts < max_retries)
        }
    }
}

fn pause(state: &State) -> Result<(State, Vec<Effect>), Refusal> {
    match state.phase {
        Phase::Running { pid } => {
            let paused = Phase::Paused { pid, then: None };
            Ok((at(state, paused), vec![Effect::Freeze]))
        }
        // It still runs and may be frozen, as in dockerd, which kills it all the same when its time is over.
        Phase::Stopping { pid, then } if then != AfterExit::Remove => {
            let then = Some(then);
            let paused = Phase::Paused { pid, then };
            Ok((at(state, paused), vec![Effect::Freeze]))
        }
        Phase::Paused { .. } => Err(Refusal::AlreadyPaused),
        Phase::Waiting => Err(Refusal::Restarting),
        _ => Err(Refusal::NotRunning),
    }
}

fn unpause(state: &State) -> Result<(State, Vec<Effect>), Refusal> {
    match state.phase {
        Phase::Paused { pid, then } => Ok((at(state, thawed(pid, then)), vec![Effect::Thaw])),
        _ => Err(Refusal::NotPaused),
    }
}

fn remove(state: &State, force: bool) -> Result<(State, Vec<Effect>), Refusal> {
    match state.phase {
        Phase::Created | Phase::Held | Phase::Exited | Phase::Dead => {
            Ok((at(state, Phase::Removing), vec![Effect::Delete]))
        }
        Phase::Starting => Err(Refusal::Running),
        Phase::Removing => Err(Refusal::RemovalInProgress),
        Phase::Stopping {
            then: AfterExit::Remove,
            ..
        } => Err(Refusal::RemovalInProgress),
        Phase::Waiting if force => {
            let effects = vec![Effect::CancelBackoff, Effect::Delete];
            Ok((at(state, Phase::Removing), effects))
        }
        Phase::Waiting => Err(Refusal::Between),
        Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. } if force => {
            let (state, effects) = stop(state, KILL, AfterExit::Remove)?;
            let untimed = |effect: &Effect| *effect != Effect::ArmStopTimer;
            Ok((state, effects.into_iter().filter(untimed).collect()))
        }
        Phase::Running { .. } | Phase::Stopping { .. } => Err(Refusal::Running),
        Phase::Paused { .. } => Err(Refusal::Paused),
    }
}

/// moby `daemon.restore`: a policy that wants its container up starts it with the daemon.
fn daemon_started(state: &State, code: i32, has_dependencies: bool) -> (State, Vec<Effect>) {
    let launched = |state: &State| match has_dependencies {
        true => (at(state, Phase::Held), vec![Effect::CancelBackoff]),
        false => (at(state, Phase::Starting), vec![Effect::Launch]),
    };
    match state.phase {
        // Decided before the last daemon died, and not done.
        Phase::Starting | Phase::Waiting | Phase::Held => launched(state),
        Phase::Exited if wants_restart(state, code) => launched(&State {
            last_run: false,
            ..*state
        }),
        Phase::Created | Phase::Exited if state.auto_remove => {
            (at(state, Phase::Removing), vec![Effect::Delete])
        }
        Phase::Removing => (*state, vec![Effect::Release, Effect::Delete]),
        _ => (*state, vec![]),
    }
}

#[cfg(test)]
#[path = "lifecycle/tests.rs"]
mod tests;
