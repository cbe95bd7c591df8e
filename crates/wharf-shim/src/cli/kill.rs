//! `kill`.

use super::Outcome;
use super::arguments::Arguments;
use super::container::{Container, Status};

const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Sends a signal to the first process, or with `--all` kills all of them.
pub(crate) fn kill(arguments: &Arguments) -> Outcome {
    let container = Container::load(arguments)?;
    let word = arguments.rest.get(1).map_or("TERM", String::as_str);
    let signal = number(word).ok_or_else(|| format!("unknown signal \"{word}\""))?;
    if arguments.all {
        let killed = container
            .cgroup()
            .map_or(Ok(()), |cgroup| cgroup.kill_all());
        return killed.map(|()| 0).map_err(|error| error.to_string());
    }
    if container.status() == Status::Stopped {
        return Err("container not running".to_owned());
    }
    send(&container, signal).map(|()| 0)
}

/// To the process that the number stood for when the container was made, or to none.
pub(crate) fn send(container: &Container, signal: i32) -> Result<(), String> {
    use std::os::fd::AsFd as _;
    let gone = "container not running";
    let pid = rustix::process::Pid::from_raw(container.pid).ok_or(gone)?;
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    let pidfd = pidfd.map_err(|_| gone)?;
    if super::container::start_time(container.pid) != Some(container.start_time) {
        return Err(gone.to_owned());
    }
    wharf_sys::process::send_signal(pidfd.as_fd(), signal).map_err(|error| error.to_string())
}

fn number(word: &str) -> Option<i32> {
    if let Ok(number) = word.parse() {
        return (0..=64).contains(&number).then_some(number);
    }
    let name = word.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let index = NAMES.iter().position(|known| *known == name)?;
    i32::try_from(index + 1).ok()
}
