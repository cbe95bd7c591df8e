//! The small init of `--init`: starts the program, passes signals on, reaps whatever becomes an orphan.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, pidfd_open, wait};
use wharf_sys::signals::{SignalFd, unblocked};

/// `SIGCHLD`
const CHILD: i32 = 17;
/// All that can be passed on but the real-time ones: not KILL and STOP, which cannot be caught, and not those of faults of our own.
const PASSED: &[i32] = &[
    1, 2, 3, 6, 10, 12, 13, 14, 15, 16, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
];
/// Real-time signals that are nobody's but the programs': systemd is told to end by one (`STOPSIGNAL SIGRTMIN+3`).
const REAL_TIME: std::ops::RangeInclusive<i32> = 35..=64;

/// Runs the program that follows `--`; its exit code.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    // The kernel has called us after the memory that we run from. It is a name alone, so no harm if that stays.
    let _ = rustix::thread::set_name(c"docker-init");
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
    let Some((name, arguments)) = program.split_first() else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    // The runtime has blocked every signal before it started us: what has come since is for the program.
    let named = PASSED.iter().copied().chain([CHILD]);
    let watched: Vec<i32> = named.chain(REAL_TIME).collect();
    let signals = SignalFd::new(&watched)?;
    // The library's fork, not our clone3: Docker's seccomp profile answers that with ENOSYS.
    let mut command = Command::new(name);
    command.args(arguments).process_group(0);
    let spawned = unblocked(&mut command).spawn();
    let child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!("exec {}: {error}", name.to_string_lossy());
            return Ok(if error.kind() == std::io::ErrorKind::NotFound {
                127
            } else {
                126
            });
        }
    };
    let pid = Pid::from_child(&child);
    // The foreground of the terminal is the program's, as tini makes it; without a terminal there is none.
    let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), pid);
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    look_after(&signals, pid, &pidfd)
}

fn look_after(signals: &SignalFd, program: Pid, pidfd: &OwnedFd) -> std::io::Result<i32> {
    loop {
        // First: several ends may be told by one signal.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == program {
                return Ok(code_of(status));
            }
        }
        poll(&mut [PollFd::new(signals, PollFlags::IN)], None)?;
        while let Some(signal) = signals.read()? {
            if signal != CHILD {
                // It may have ended: then its end is what comes next.
                let _ = wharf_sys::process::send_signal(pidfd.as_fd(), signal);
            }
        }
    }
}

fn code_of(status: WaitStatus) -> i32 {
    let killed = status.terminating_signal().map(|signal| 128 + signal);
    status.exit_status().or(killed).unwrap_or(255)
}
