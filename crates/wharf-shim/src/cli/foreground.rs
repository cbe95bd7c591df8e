//! A process that is waited for: its terminal, and our signals, which are meant for it.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, waitpid};
use wharf_runtime::Created;
use wharf_sys::signals::SignalFd;

use super::terminal::Relay;

/// `SIGCHLD`, `SIGURG`, `SIGWINCH`
const CHILD: i32 = 17;
const WINDOW: i32 = 28;

/// All that can be passed on: not KILL and STOP, which cannot be caught, not those of faults of our own.
fn passed() -> Vec<i32> {
    let own = [4, 5, 7, 8, 9, 11, 13, 17, 19, 23, 31, 32, 33];
    (1..=64).filter(|number| !own.contains(number)).collect()
}

/// Takes our signals from now on. Before the process is made, so that none is lost.
pub(crate) fn listen() -> Result<SignalFd, String> {
    let mut signals = passed();
    signals.push(CHILD);
    SignalFd::new(&signals).map_err(|error| format!("signals: {error}"))
}

/// Waits for the process; its exit code.
pub(crate) fn wait(
    created: &Created,
    terminal: Option<OwnedFd>,
    signals: &SignalFd,
) -> Result<i32, String> {
    let attended = attend(created, terminal, signals);
    let waited = waitpid(Some(created.pid), WaitOptions::empty());
    attended.map_err(|error| format!("terminal: {error}"))?;
    let (_, status) = waited
        .ok()
        .flatten()
        .ok_or("the container's process is lost")?;
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    Ok(status.exit_status().or(killed).unwrap_or(255))
}

fn attend(created: &Created, terminal: Option<OwnedFd>, signals: &SignalFd) -> std::io::Result<()> {
    let mut relay = terminal.map(Relay::begin).transpose()?;
    let nothing = PollFlags::empty();
    loop {
        let [output, typed, ended, signal] = {
            let (master, input) = match &relay {
                Some(relay) if relay.output_open() => (relay.master(), relay.input_open()),
                _ => (created.pidfd.as_fd(), false),
            };
            let open = relay.as_ref().is_some_and(Relay::output_open);
            let shown = if open { PollFlags::IN } else { nothing };
            let mut polled = [
                PollFd::from_borrowed_fd(master, shown),
                PollFd::from_borrowed_fd(
                    rustix::stdio::stdin(),
                    if input { PollFlags::IN } else { nothing },
                ),
                PollFd::new(&created.pidfd, PollFlags::IN),
                PollFd::new(signals, PollFlags::IN),
            ];
            match poll(&mut polled, None) {
                Err(rustix::io::Errno::INTR) => continue,
                other => other?,
            };
            polled.map(|one| one.revents())
        };
        if !signal.is_empty() {
            pass_on(created, relay.as_ref(), signals)?;
        }
        let quiet = match &mut relay {
            None => true,
            Some(relay) => relay.go_on(!output.is_empty(), !typed.is_empty())?,
        };
        if quiet && !ended.is_empty() {
            return Ok(());
        }
    }
}

fn pass_on(created: &Created, relay: Option<&Relay>, signals: &SignalFd) -> std::io::Result<()> {
    while let Some(signal) = signals.read()? {
        match (signal, relay) {
            (CHILD, _) => {}
            (WINDOW, Some(relay)) => relay.resize(),
            // It may have ended: then its end is what comes next.
            _ => drop(wharf_sys::process::send_signal(
                created.pidfd.as_fd(),
                signal,
            )),
        }
    }
    Ok(())
}
