//! The small init of `--init`: starts the program, passes signals on, reaps whatever becomes an orphan.

use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, ioctl_tiocsctty, setpgid, wait};
use wharf_sys::process::{CloneOptions, Cloned, clone, exit_now};
use wharf_sys::signals::{self, SignalFd};

/// `SIGCHLD`
const CHILD: i32 = 17;
/// All that can be passed on: not KILL and STOP, which cannot be caught, and not those of faults of our own.
const PASSED: &[i32] = &[
    1, 2, 3, 6, 10, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
];

/// Runs the program that follows `--`; its exit code.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    let program: Vec<OsString> = arguments.skip_while(|word| word == "--").collect();
    match supervise(program) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("docker-init: {error}");
            127
        }
    }
}

fn supervise(program: Vec<OsString>) -> std::io::Result<i32> {
    let watched: Vec<i32> = PASSED.iter().copied().chain([CHILD]).collect();
    let signals = SignalFd::new(&watched)?;
    match clone(CloneOptions::default())? {
        Cloned::Child => exit_now(become_program(program)),
        Cloned::Parent { pid, pidfd } => look_after(&signals, pid, &pidfd),
    }
}

/// The child: a process group of its own in the foreground, as tini makes it.
fn become_program(program: Vec<OsString>) -> i32 {
    let _ = setpgid(None, None);
    // Without a terminal there is no foreground.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
    let _ = ioctl_tiocsctty(rustix::stdio::stdin());
    let _ = signals::reset();
    let name = program
        .first()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    let strings = |words: Vec<OsString>| -> Vec<CString> {
        words
            .into_iter()
            .filter_map(|word| CString::new(word.into_vec()).ok())
            .collect()
    };
    let environment = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    let environment = strings(environment.collect());
    let path = std::env::var("PATH").unwrap_or_default();
    let found = wharf_runtime::find_program(&name, &path).unwrap_or(name);
    let Ok(found) = CString::new(found) else {
        return 127;
    };
    let error = wharf_sys::exec::execve(&found, &strings(program), &environment);
    eprintln!("exec {}: {error}", found.to_string_lossy());
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

fn look_after(signals: &SignalFd, program: Pid, pidfd: &OwnedFd) -> std::io::Result<i32> {
    loop {
        poll(&mut [PollFd::new(signals, PollFlags::IN)], None)?;
        while let Some(signal) = signals.read()? {
            if signal != CHILD {
                send(pidfd, signal);
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == program {
                return Ok(code_of(status));
            }
        }
    }
}

fn send(pidfd: &OwnedFd, signal: i32) {
    if let Some(signal) = rustix::process::Signal::from_named_raw(signal) {
        // It may have ended: then its end is what comes next.
        let _ = rustix::process::pidfd_send_signal(pidfd, signal);
    }
}

fn code_of(status: WaitStatus) -> i32 {
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(killed).unwrap_or(255)
}
