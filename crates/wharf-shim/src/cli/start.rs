//! `start`.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};

use super::Outcome;
use super::container::{Container, FIFO, Status};
use super::flags::{Command, Said};
use super::global::Global;
use super::notify::Notify;

pub(crate) const START: Command = Command {
    name: "start",
    about: "executes the user defined process in a created container",
    usage: "<container-id>",
    words: (1, Some(1)),
    flags: &[],
    stops: false,
};

/// Lets a created container go, by reading from its FIFO.
pub(crate) fn start(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    match container.status() {
        Status::Created => {}
        Status::Creating => {
            return Err("cannot start a container in the creating state".to_owned());
        }
        Status::Stopped => return Err("cannot start a container that has stopped".to_owned()),
        Status::Running => return Err("cannot start an already running container".to_owned()),
        Status::Paused => return Err("cannot start a container in the paused state".to_owned()),
    }
    let spec = container.spec()?;
    if spec.process().is_none() {
        return Err("process property must not be empty".to_owned());
    }
    let notify = Notify::listen(&container)?;
    let pidfd = super::kill::pidfd_of(&container).ok_or("container not running")?;
    let said = let_go(&container, pidfd.as_fd())?;
    if let Some(reason) = said.get(1..).filter(|reason| !reason.is_empty()) {
        return Err(ended(&container, reason.trim_end()));
    }
    let done = poststart(&container, &spec);
    done.map_err(|reason| ended(&container, &reason))?;
    if let Some(notify) = notify {
        notify.pass_on(pidfd.as_fd(), Some(container.pid))?;
    }
    Ok(0)
}

/// Reads from the container's FIFO, to the end. The container's process opens it for writing, writes one byte, and
/// executes its program: that closes it. What it writes else is why it could not.
///
/// The FIFO's name goes first: of two that start at once one has it, and whoever is killed here leaves a container that
/// counts as started.
fn let_go(container: &Container, pidfd: BorrowedFd<'_>) -> Result<String, String> {
    let path = container.folder.join(FIFO);
    let failed = |error: rustix::io::Errno| format!("start: {}", std::io::Error::from(error));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let place = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let place = place.and_then(|place| rustix::fs::unlink(&path).map(|()| place));
    let place = match place {
        Err(rustix::io::Errno::NOENT) => {
            return Err("cannot start an already running container".to_owned());
        }
        other => other.map_err(failed)?,
    };
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    let fifo = rustix::fs::open(place, flags, Mode::empty()).map_err(failed)?;
    let (mut said, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let mut polled = [
            PollFd::new(&fifo, PollFlags::IN),
            PollFd::from_borrowed_fd(pidfd, PollFlags::IN),
        ];
        match poll(&mut polled, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(failed)?,
        };
        match rustix::io::read(&fifo, &mut buffer) {
            Ok(0) if said.is_empty() => return Err("the container's process has ended".to_owned()),
            Ok(0) => return Ok(String::from_utf8_lossy(&said).into_owned()),
            Ok(length) => said.extend_from_slice(&buffer[..length]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

/// A hook that fails ends the container, which is there until it is deleted (OCI, lifecycle).
fn ended(container: &Container, reason: &str) -> String {
    let _ = super::kill::send(container, 9);
    match super::kill::wait_for_end(container) {
        Ok(()) => reason.to_owned(),
        Err(also) => format!("{reason}: {also}"),
    }
}

/// Runs the hooks of the start. If one fails the container is stopped.
pub(crate) fn poststart(container: &Container, spec: &Spec) -> Result<(), String> {
    let hooks = spec
        .hooks()
        .as_ref()
        .and_then(|hooks| hooks.poststart().as_deref());
    let state = container.oci_state("running", container.pid);
    wharf_runtime::hooks::run_all("poststart", hooks, &state).map_err(|failure| {
        let _ = super::kill::send(container, 9);
        failure.to_string()
    })
}
