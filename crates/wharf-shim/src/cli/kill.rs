//! `kill`.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use wharf_cgroups::Cgroup;

use super::Outcome;
use super::container::{Container, Status};
use super::flags::{Command, Said, Takes};
use super::global::Global;

const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

const SIGKILL: i32 = 9;

pub(crate) const KILL: Command = Command {
    name: "kill",
    about: "kill sends the specified signal (default: SIGTERM) to the container's init process",
    usage: "[command options] <container-id> [signal]",
    words: (1, Some(2)),
    flags: &[(
        "all",
        "a",
        Takes::Nothing,
        "send the specified signal to all processes inside the container",
    )],
    stops: false,
};

/// Sends a signal to the first process, or with `--all` to all of them.
pub(crate) fn kill(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    let word = said.words.get(1).map_or("", String::as_str);
    let word = if word.is_empty() { "TERM" } else { word };
    let signal = number(word).ok_or_else(|| format!("unknown signal \"{word}\""))?;
    let status = container.status();
    if said.has("all") {
        return match container.cgroup() {
            Some(cgroup) => send_to_all(&cgroup, signal),
            None => send(&container, signal),
        }
        .map(|()| 0);
    }
    if !status.lives() {
        return Err("container not running".to_owned());
    }
    match container.cgroup() {
        // With its first process alone the others would live on.
        Some(cgroup) if signal == SIGKILL && !container.own_pids => send_to_all(&cgroup, signal)?,
        _ => send(&container, signal)?,
    }
    if status == Status::Paused && signal == SIGKILL {
        // v1's freezer holds even what is to die.
        let _ = container.cgroup().map(|cgroup| cgroup.thaw());
    }
    Ok(0)
}

fn send_to_all(cgroup: &Cgroup, signal: i32) -> Result<(), String> {
    if signal == SIGKILL {
        return cgroup.kill_all().map_err(|error| error.to_string());
    }
    let frozen = cgroup.is_frozen();
    // Held for a moment, so that none is forked meanwhile.
    let held = !frozen && cgroup.freeze().is_ok();
    let pids = cgroup.processes().map_err(|error| error.to_string());
    for pid in pids.iter().flatten().copied().filter_map(Pid::from_raw) {
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        let _ = wharf_sys::process::send_signal(std::os::fd::AsFd::as_fd(&pidfd), signal);
    }
    if held {
        cgroup.thaw().map_err(|error| error.to_string())?;
    }
    pids.map(drop)
}

/// To the process that the number stood for when the container was made, or to none.
pub(crate) fn send(container: &Container, signal: i32) -> Result<(), String> {
    use std::os::fd::AsFd as _;
    let gone = "container not running";
    let pidfd = pidfd_of(container).ok_or(gone)?;
    wharf_sys::process::send_signal(pidfd.as_fd(), signal)
        .map_err(|error| format!("unable to signal init: {error}"))
}

/// Its first process, if it has not ended.
pub(crate) fn pidfd_of(container: &Container) -> Option<std::os::fd::OwnedFd> {
    let pidfd = pidfd_open(Pid::from_raw(container.pid)?, PidfdFlags::empty()).ok()?;
    let same = super::container::start_time(container.pid) == Some(container.start_time);
    same.then_some(pidfd)
}

/// Waits until its first process has ended: ten seconds are more than a killed one takes.
pub(crate) fn wait_for_end(container: &Container) -> Result<(), String> {
    let Some(pidfd) = pidfd_of(container) else {
        return Ok(());
    };
    let timeout = rustix::event::Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&timeout));
    match ended {
        Ok(0) => Err("container init still running".to_owned()),
        _ => Ok(()),
    }
}

fn number(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse() {
        // The kernel knows which there are.
        return Some(number);
    }
    let name = word.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}
