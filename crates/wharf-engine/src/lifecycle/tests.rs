//! Transcripts of whole lives, and properties that hold in every one.

use proptest::prelude::*;

use super::*;

fn state(policy: RestartPolicy, auto_remove: bool) -> State {
    State {
        phase: Phase::Created,
        policy,
        auto_remove,
        stop_signal: 15,
        stopped_by_hand: false,
        last_run: false,
        restarts: 0,
        backoff: 0,
    }
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
        Event::Remove { force: false },
        Event::Pause,
        Event::Pause,
        Event::Start,
        Event::Remove { force: false },
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
        Event::Remove { force: false },
        Event::Remove { force: false },
        Event::Start,
    ];
    let expected = "\
Stop { signal: 15 } !! NotModified
Kill { signal: 9 } !! NotRunning
Start -> Starting [Launch]
Launched { pid: 7 } -> Running { pid: 7 } []
Start !! NotModified
Remove { force: false } !! Running
Pause -> Paused { pid: 7 } [Freeze]
Pause !! AlreadyPaused
Start !! StartPaused
Remove { force: false } !! Paused
Unpause -> Running { pid: 7 } [Thaw]
Unpause !! NotPaused
Kill { signal: 1 } -> Running { pid: 7 } [Signal(1)]
Stop { signal: 15 } -> Stopping { pid: 7, then: Rest } [Signal(15), ArmStopTimer]
StopTimeout -> Stopping { pid: 7, then: Rest } [Signal(9)]
Exited { code: 137, ran_long: false } -> Exited [Release]
StopTimeout -> Exited []
Stop { signal: 15 } !! NotModified
Remove { force: false } -> Removing [Delete]
Remove { force: false } !! RemovalInProgress
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
        Event::DaemonStarted { code: 1 },
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
DaemonStarted { code: 1 } -> Exited []
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
        Event::DaemonStarted { code: 0 },
    ];
    let expected = "\
Start -> Starting [Launch]
Launched { pid: 1 } -> Running { pid: 1 } []
Exited { code: 1, ran_long: false } -> Waiting [Release, ArmBackoff(100)]
BackoffOver -> Starting [Launch]
Launched { pid: 2 } -> Running { pid: 2 } []
Exited { code: 0, ran_long: true } -> Waiting [Release, ArmBackoff(100)]
Stop { signal: 15 } -> Exited [CancelBackoff]
DaemonStarted { code: 0 } -> Exited []
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
        Event::Remove { force: true },
        Event::Restart { signal: 15 },
        Event::Remove { force: true },
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
Remove { force: true } -> Stopping { pid: 2, then: Remove } [Signal(9)]
Restart { signal: 15 } -> Stopping { pid: 2, then: Remove } [Signal(15), ArmStopTimer]
Remove { force: true } !! RemovalInProgress
Exited { code: 137, ran_long: false } -> Removing [Release, Delete]
";
    assert_eq!(
        transcript(state(RestartPolicy::Always, false), &events),
        expected
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        Just(Event::Start),
        (1u32..9).prop_map(|pid| Event::Launched { pid }),
        Just(Event::LaunchFailed),
        prop_oneof![Just(1), Just(9), Just(15)].prop_map(|signal| Event::Stop { signal }),
        Just(Event::StopTimeout),
        Just(Event::Shutdown),
        prop_oneof![Just(1), Just(9), Just(15)].prop_map(|signal| Event::Kill { signal }),
        Just(Event::Restart { signal: 15 }),
        (0..3, any::<bool>()).prop_map(|(code, ran_long)| Event::Exited { code, ran_long }),
        Just(Event::Pause),
        Just(Event::Unpause),
        Just(Event::BackoffOver),
        any::<bool>().prop_map(|force| Event::Remove { force }),
        (0..3).prop_map(|code| Event::DaemonStarted { code }),
    ]
}

fn any_policy() -> impl Strategy<Value = RestartPolicy> {
    prop_oneof![
        Just(RestartPolicy::No),
        Just(RestartPolicy::Always),
        Just(RestartPolicy::UnlessStopped),
        (0u32..4).prop_map(|max_retries| RestartPolicy::OnFailure { max_retries }),
    ]
}

fn runs(phase: Phase) -> bool {
    matches!(
        phase,
        Phase::Running { .. } | Phase::Paused { .. } | Phase::Stopping { .. }
    )
}

proptest! {
    /// Whatever happens in whatever order: nothing is launched beside a run, nothing that runs is deleted, every
    /// end of a run gives back what it held, and who is gone stays gone.
    #[test]
    fn holds_in_every_life(
        policy in any_policy(),
        auto_remove: bool,
        events in proptest::collection::vec(any_event(), 0..60),
    ) {
        let mut state = state(policy, auto_remove);
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
            if let RestartPolicy::OnFailure { max_retries } = policy && max_retries > 0 {
                prop_assert!(next.restarts <= max_retries);
            }
            state = next;
        }
    }
}
