//! Transcripts of whole lives, and properties that hold in every one.

use proptest::prelude::*;

use super::*;

fn state(policy: RestartPolicy, auto_remove: bool) -> State {
    State {
        phase: Phase::Created,
        policy,
        auto_remove,
        stop_signal: 15,
        own_stop_signal: false,
        stopped_by_hand: false,
        last_run: false,
        restarts: 0,
        backoff: 0,
    }
}

fn remove_it(force: bool) -> Event {
    let volumes = false;
    Event::Remove { force, volumes }
}

/// Runs `events` and writes one line for each: what is asked, where it leads, what is done.
fn transcript(mut state: State, events: &[Event]) -> String {
    let mut text = String::new();
    for event in events {
        let line = match step(&state, event) {
            Ok((next, effects)) => {
                state = next;
                format!("{event:?} -> {:?} {effects:?}\n", state.phase)
            }
            Err(refusal) => format!("{event:?} !! {refusal:?}\n"),
        };
        text.push_str(&line);
    }
    text
}

#[test]
fn an_unhealthy_one_is_started_again_if_its_policy_says_so() {
    let policy = RestartPolicy::OnUnhealthy { max_retries: 1 };
    let exit = Event::Exited {
        code: 0,
        ran_long: true,
    };
    let events = [
        Event::Start,
        Event::Launched { pid: 7 },
        Event::Unhealthy,
        exit,
        Event::BackoffOver,
        Event::Launched { pid: 8 },
        Event::Unhealthy,
        exit,
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 7 } -> Running { pid: 7 } []
Unhealthy -> Stopping { pid: 7, then: Again } [Signal(15), ArmStopTimer]
Exited { code: 0, ran_long: true } -> Waiting [Release, ArmBackoff(100)]
BackoffOver -> Starting [Launch]
Launched { pid: 8 } -> Running { pid: 8 } []
Unhealthy -> Running { pid: 8 } []
Exited { code: 0, ran_long: true } -> Exited [Release]
";
    assert_eq!(transcript(state(policy, false), &events), expected);
    let other = state(RestartPolicy::Always, false);
    let lines = transcript(other, &events[..3]);
    assert!(
        lines.ends_with("Unhealthy -> Running { pid: 7 } []\n"),
        "{lines}"
    );
}

const EXIT_1: Event = Event::Exited {
    code: 1,
    ran_long: false,
};

#[test]
fn an_ordinary_life() {
    let events = [
        Event::Stop { signal: 15 },
        Event::Kill { signal: 9 },
        Event::Start,
        Event::Launched { pid: 7 },
        Event::Start,
        remove_it(false),
        Event::Pause,
        Event::Pause,
        Event::Start,
        remove_it(false),
        Event::Unpause,
        Event::Unpause,
        Event::Kill { signal: 1 },
        Event::Stop { signal: 15 },
        Event::StopTimeout,
        Event::Exited {
            code: 137,
            ran_long: false,
        },
        Event::StopTimeout,
        Event::Stop { signal: 15 },
        remove_it(false),
        remove_it(false),
        Event::Start,
    ];
    let expected = "\
Stop { signal: 15 } !! NotModified
Kill { signal: 9 } !! NotRunning
Start -> Starting [Launch]
Launched { pid: 7 } -> Running { pid: 7 } []
Start !! NotModified
Remove { force: false, volumes: false } !! Running
Pause -> Paused { pid: 7, then: None } [Freeze]
Pause !! AlreadyPaused
Start !! StartPaused
Remove { force: false, volumes: false } !! Paused
Unpause -> Running { pid: 7 } [Thaw]
Unpause !! NotPaused
Kill { signal: 1 } -> Running { pid: 7 } [Signal(1)]
Stop { signal: 15 } -> Stopping { pid: 7, then: Rest } [Signal(15), ArmStopTimer]
StopTimeout -> Stopping { pid: 7, then: Rest } [Signal(9)]
Exited { code: 137, ran_long: false } -> Exited [Release]
StopTimeout -> Exited []
Stop { signal: 15 } !! NotModified
Remove { force: false, volumes: false } -> Removing [Delete]
Remove { force: false, volumes: false } !! RemovalInProgress
Start !! MarkedForRemoval
";
    assert_eq!(
        transcript(state(RestartPolicy::No, false), &events),
        expected
    );
}

#[test]
fn restarts_back_off_and_end() {
    let events = [
        Event::Start,
        Event::Launched { pid: 1 },
        EXIT_1,
        Event::BackoffOver,
        Event::Launched { pid: 2 },
        EXIT_1,
        Event::Pause,
        Event::Start,
        Event::BackoffOver,
        Event::Launched { pid: 3 },
        EXIT_1,
        Event::DaemonStarted {
            code: 1,
            has_dependencies: false,
        },
        Event::Start,
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Exited { code: 1, ran_long: false } -> Waiting [Release, ArmBackoff(100)]
BackoffOver -> Starting [Launch]
Launched { pid: 2 } -> Running { pid: 2 } []
Exited { code: 1, ran_long: false } -> Waiting [Release, ArmBackoff(200)]
Pause !! Restarting
Start !! NotModified
BackoffOver -> Starting [Launch]
Launched { pid: 3 } -> Running { pid: 3 } []
Exited { code: 1, ran_long: false } -> Exited [Release]
DaemonStarted { code: 1, has_dependencies: false } -> Exited []
Start -> Starting [Launch]
";
    let policy = RestartPolicy::OnFailure { max_retries: 2 };
    assert_eq!(transcript(state(policy, false), &events), expected);
}

#[test]
fn a_long_run_resets_the_back_off_and_a_stop_ends_it() {
    let events = [
        Event::Start,
        Event::Launched { pid: 1 },
        EXIT_1,
        Event::BackoffOver,
        Event::Launched { pid: 2 },
        Event::Exited {
            code: 0,
            ran_long: true,
        },
        Event::Stop { signal: 15 },
        Event::DaemonStarted {
            code: 0,
            has_dependencies: false,
        },
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Exited { code: 1, ran_long: false } -> Waiting [Release, ArmBackoff(100)]
BackoffOver -> Starting [Launch]
Launched { pid: 2 } -> Running { pid: 2 } []
Exited { code: 0, ran_long: true } -> Waiting [Release, ArmBackoff(100)]
Stop { signal: 15 } -> Exited [CancelBackoff]
DaemonStarted { code: 0, has_dependencies: false } -> Exited []
";
    let policy = RestartPolicy::UnlessStopped;
    assert_eq!(transcript(state(policy, false), &events), expected);
}

#[test]
fn rm_force_and_restart_go_on_after_the_end() {
    let events = [
        Event::Start,
        Event::Launched { pid: 1 },
        Event::Restart { signal: 15 },
        Event::Exited {
            code: 143,
            ran_long: false,
        },
        Event::Launched { pid: 2 },
        remove_it(true),
        Event::Restart { signal: 15 },
        remove_it(true),
        Event::Exited {
            code: 137,
            ran_long: false,
        },
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Restart { signal: 15 } -> Stopping { pid: 1, then: Start } [Signal(15), ArmStopTimer]
Exited { code: 143, ran_long: false } -> Starting [Release, Launch]
Launched { pid: 2 } -> Running { pid: 2 } []
Remove { force: true, volumes: false } -> Stopping { pid: 2, then: Remove } [Signal(9)]
Restart { signal: 15 } -> Stopping { pid: 2, then: Remove } [Signal(15), ArmStopTimer]
Remove { force: true, volumes: false } !! RemovalInProgress
Exited { code: 137, ran_long: false } -> Removing [Release, Delete]
";
    assert_eq!(
        transcript(state(RestartPolicy::Always, false), &events),
        expected
    );
}

#[test]
fn a_stop_goes_on_though_it_is_frozen_meanwhile() {
    let stop = Event::Stop { signal: 15 };
    let events = [
        Event::Start,
        Event::Launched { pid: 1 },
        stop,
        Event::Pause,
        Event::Unpause,
        Event::Pause,
        Event::StopTimeout,
        Event::KillTimedOut,
        Event::Restart { signal: 15 },
        Event::Pause,
        Event::Launched { pid: 1 },
        EXIT_1,
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Stop { signal: 15 } -> Stopping { pid: 1, then: Rest } [Signal(15), ArmStopTimer]
Pause -> Paused { pid: 1, then: Some(Rest) } [Freeze]
Unpause -> Stopping { pid: 1, then: Rest } [Thaw]
Pause -> Paused { pid: 1, then: Some(Rest) } [Freeze]
StopTimeout -> Stopping { pid: 1, then: Rest } [Signal(9), Thaw]
KillTimedOut -> Running { pid: 1 } []
Restart { signal: 15 } -> Stopping { pid: 1, then: Start } [Signal(15), ArmStopTimer]
Pause -> Paused { pid: 1, then: Some(Start) } [Freeze]
Launched { pid: 1 } -> Paused { pid: 1, then: Some(Start) } [ArmStopTimer]
Exited { code: 1, ran_long: false } -> Starting [Release, Launch]
";
    let none = state(RestartPolicy::No, false);
    assert_eq!(transcript(none, &events), expected);
}

#[test]
fn who_needs_others_is_held_until_somebody_decides() {
    let daemon = Event::DaemonStarted {
        code: 0,
        has_dependencies: true,
    };
    let exit = Event::Exited {
        code: 0,
        ran_long: false,
    };
    let events = [
        Event::Start,
        // The daemon was killed while it launched.
        daemon,
        Event::Kill { signal: 9 },
        Event::Pause,
        Event::Start,
        Event::Launched { pid: 1 },
        Event::Stop { signal: 15 },
        exit,
        Event::NeedsMet,
        daemon,
        Event::Shutdown,
        Event::NeedsMet,
        Event::Launched { pid: 2 },
        exit,
        daemon,
        Event::Stop { signal: 15 },
        daemon,
        remove_it(false),
    ];
    let expected = "\
Start -> Starting [Launch]
DaemonStarted { code: 0, has_dependencies: true } -> Held [CancelBackoff]
Kill { signal: 9 } !! NotRunning
Pause !! NotRunning
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Stop { signal: 15 } -> Stopping { pid: 1, then: Rest } [Signal(15), ArmStopTimer]
Exited { code: 0, ran_long: false } -> Exited [Release]
NeedsMet -> Exited []
DaemonStarted { code: 0, has_dependencies: true } -> Held [CancelBackoff]
Shutdown !! NotModified
NeedsMet -> Starting [Launch]
Launched { pid: 2 } -> Running { pid: 2 } []
Exited { code: 0, ran_long: false } -> Waiting [Release, ArmBackoff(100)]
DaemonStarted { code: 0, has_dependencies: true } -> Held [CancelBackoff]
Stop { signal: 15 } -> Exited [CancelBackoff]
DaemonStarted { code: 0, has_dependencies: true } -> Held [CancelBackoff]
Remove { force: false, volumes: false } -> Removing [Delete]
";
    let always = state(RestartPolicy::Always, false);
    assert_eq!(transcript(always, &events), expected);
}

/// dockerd 26.1: without a stop signal of its own, any signal ends the policy's tries and thaws.
#[test]
fn a_signal_is_taken_for_a_stop_unless_the_container_has_its_own() {
    let events = [
        Event::Start,
        Event::Launched { pid: 1 },
        Event::Pause,
        Event::Kill { signal: 1 },
        EXIT_1,
    ];
    let usual = state(RestartPolicy::Always, false);
    let lines = transcript(usual, &events);
    let expected = "\
Kill { signal: 1 } -> Running { pid: 1 } [Signal(1), Thaw]
Exited { code: 1, ran_long: false } -> Exited [Release]
";
    assert!(lines.ends_with(expected), "{lines}");
    let own = State {
        own_stop_signal: true,
        ..usual
    };
    let lines = transcript(own, &events);
    let expected = "\
Kill { signal: 1 } -> Paused { pid: 1, then: None } [Signal(1)]
Exited { code: 1, ran_long: false } -> Waiting [Release, ArmBackoff(100)]
";
    assert!(lines.ends_with(expected), "{lines}");
}

fn any_event() -> impl Strategy<Value = Event> {
    let signal = || prop_oneof![Just(1), Just(9), Just(15)];
    let often = prop_oneof![
        Just(Event::Start),
        (1u32..9).prop_map(|pid| Event::Launched { pid }),
        signal().prop_map(|signal| Event::Stop { signal }),
        Just(Event::Restart { signal: 15 }),
        (0..3, any::<bool>()).prop_map(|(code, ran_long)| Event::Exited { code, ran_long }),
        Just(Event::Pause),
        Just(Event::Unpause),
    ];
    let seldom = prop_oneof![
        Just(Event::LaunchFailed),
        Just(Event::LaunchDeferred),
        Just(Event::StopTimeout),
        Just(Event::KillTimedOut),
        Just(Event::Shutdown),
        Just(Event::Unhealthy),
        signal().prop_map(|signal| Event::Kill { signal }),
        Just(Event::BackoffOver),
        any::<bool>().prop_map(remove_it),
        Just(Event::RemoveFailed),
        (0..3, any::<bool>()).prop_map(|(code, has_dependencies)| Event::DaemonStarted {
            code,
            has_dependencies
        }),
        Just(Event::NeedsMet),
        any_policy().prop_map(Event::Policy),
    ];
    prop_oneof![2 => often, 1 => seldom]
}

fn any_policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::No),
        Just(RestartPolicy::Always),
        Just(RestartPolicy::UnlessStopped),
        (0u32..4).prop_map(|max_retries| RestartPolicy::OnFailure { max_retries }),
        (0u32..4).prop_map(|max_retries| RestartPolicy::OnUnhealthy { max_retries }),
    ]
}

fn any_life() -> impl Strategy<Value = (State, Vec<Event>)> {
    let events = proptest::collection::vec(any_event(), 0..60);
    let begin = (any_policy(), any::<bool>(), any::<bool>());
    (begin, events).prop_map(|((policy, auto_remove, own_stop_signal), events)| {
        let state = State {
            own_stop_signal,
            ..state(policy, auto_remove)
        };
        (state, events)
    })
}

fn runs(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. }
    )
}

fn is_frozen(phase: Phase) -> bool {
    matches!(phase, Phase::Paused { .. })
}

/// What one is left with who asks `event` of `state`.
fn after(state: &State, event: Event) -> (State, Vec<Effect>) {
    step(state, &event).unwrap_or((*state, vec![]))
}

proptest! {
    /// Whatever happens in whatever order: nothing is launched beside a run, nothing that runs is deleted, every
    /// end of a run gives back what it held, and who is gone stays gone.
    #[test]
    fn holds_in_every_life((mut state, events) in any_life()) {
        for event in events {
            let Ok((next, effects)) = step(&state, &event) else { continue };
            let has = |effect: Effect| effects.contains(&effect);
            if has(Effect::Launch) {
                prop_assert_eq!(next.phase, Phase::Starting);
                prop_assert!(!runs(state.phase) || has(Effect::Release));
            }
            prop_assert!(next.phase != Phase::Starting || state.phase == Phase::Starting || has(Effect::Launch));
            prop_assert!(!has(Effect::Delete) || next.phase == Phase::Removing);
            prop_assert!(!runs(state.phase) || runs(next.phase) || has(Effect::Release));
            prop_assert!(state.phase != Phase::Removing || matches!(next.phase, Phase::Removing | Phase::Dead));
            if let Some(Effect::ArmBackoff(wait)) = effects.last() {
                prop_assert!((BACKOFF_FIRST..=BACKOFF_MAX).contains(wait));
                prop_assert!(!state.last_run);
            }
            if let RestartPolicy::OnFailure { max_retries } = state.policy && max_retries > 0 {
                prop_assert!(next.restarts <= state.restarts || next.restarts <= max_retries);
            }
            // Frozen is what is said to be.
            if runs(state.phase) && runs(next.phase) {
                prop_assert_eq!(is_frozen(next.phase) && !is_frozen(state.phase), has(Effect::Freeze));
                prop_assert_eq!(is_frozen(state.phase) && !is_frozen(next.phase), has(Effect::Thaw));
            }
            state = next;
        }
    }

    /// A stop that was asked for ends in a kill, or in an exit before it, whatever else is asked meanwhile; and one that
    /// waits for a restart is answered by either.
    #[test]
    fn a_stop_ends((mut state, events) in any_life()) {
        let mut owed = false;
        for event in events {
            let Ok((next, effects)) = step(&state, &event) else { continue };
            let asks = matches!(event, Event::Stop { .. } | Event::Restart { .. } | Event::Shutdown)
                || matches!(event, Event::Remove { force: true, .. });
            if asks && runs(state.phase) {
                let timed = effects.contains(&Effect::ArmStopTimer);
                prop_assert!(timed || effects.contains(&Effect::Signal(KILL)), "{event:?}: {effects:?}");
                owed = true;
            }
            owed &= runs(next.phase) && event != Event::KillTimedOut;
            state = next;
            if owed {
                let (killed, effects) = after(&state, Event::StopTimeout);
                prop_assert!(effects.contains(&Effect::Signal(KILL)), "{state:?} is not killed");
                prop_assert!(!is_frozen(killed.phase), "{killed:?} cannot end");
            }
            if state.is_to_start_again() {
                prop_assert!(owed, "{state:?} is never left");
                let (again, effects) = after(&state, EXIT_1);
                prop_assert!(!again.is_to_start_again() && effects.contains(&Effect::Launch));
                prop_assert!(!after(&state, Event::KillTimedOut).0.is_to_start_again());
            }
        }
    }

    /// A start with the daemon that others come before is undone by whoever decides otherwise, and nobody is in a state
    /// that nothing leads out of.
    #[test]
    fn nobody_is_stuck((mut state, events) in any_life()) {
        for event in events {
            let Ok((next, effects)) = step(&state, &event) else { continue };
            let by_hand = matches!(event, Event::Start | Event::Stop { .. } | Event::Restart { .. } | Event::Remove { .. });
            let late = after(&next, Event::NeedsMet).1;
            prop_assert!(!by_hand || late.is_empty(), "{event:?} is undone: {late:?}");
            if let Event::DaemonStarted { .. } = event {
                prop_assert!(next.phase != Phase::Starting || effects.contains(&Effect::Launch));
            }
            state = next;
            let busy = matches!(state.phase, Phase::Starting | Phase::Removing) || follow_up(state.phase) == Some(AfterExit::Remove);
            prop_assert!(busy || step(&state, &remove_it(true)).is_ok(), "{state:?} cannot be removed");
            prop_assert!(runs(state.phase) || busy || state.phase == Phase::Waiting || state.phase == Phase::Dead
                || step(&state, &Event::Start).is_ok(), "{state:?} cannot be started");
        }
    }

    /// What could not be written down is not launched, and what has happened is not undone.
    #[test]
    fn nothing_is_launched_that_is_not_written((mut state, events) in any_life()) {
        for event in events {
            let Ok((next, effects)) = step(&state, &event) else { continue };
            let exited = matches!(event, Event::Exited { .. });
            match unwritten(&state, &event, &next, &effects) {
                Unwritten::Undone(undone) => {
                    prop_assert!(!exited, "{event:?} has happened");
                    // Nobody else would start it; and its policy is that of one that was started.
                    let is_of_daemon = matches!(event, Event::DaemonStarted { .. } | Event::NeedsMet);
                    let waits = State { phase: Phase::Waiting, ..next };
                    prop_assert_eq!(undone, if is_of_daemon { waits } else { state });
                }
                Unwritten::Done(rest, then) => {
                    prop_assert!(state.phase == Phase::Starting || !rest.contains(&Effect::Launch), "{event:?}");
                    let kept = rest.len() == effects.len();
                    prop_assert_eq!(kept, then.is_none());
                    // And it is at rest then.
                    prop_assert!(kept || after(&next, Event::LaunchFailed).0.phase != Phase::Starting);
                }
            }
            state = next;
        }
    }
}
