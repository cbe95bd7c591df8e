//! `pause` and `resume`.

use super::Outcome;
use super::container::{Container, Status};
use super::flags::{Command, Said};
use super::global::Global;

pub(crate) const PAUSE: Command = Command {
    name: "pause",
    about: "pause suspends all processes inside the container",
    usage: "<container-id>",
    words: (1, Some(1)),
    flags: &[],
    stops: false,
};

pub(crate) const RESUME: Command = Command {
    name: "resume",
    about: "resumes all processes that have been previously paused",
    usage: "<container-id>",
    words: (1, Some(1)),
    flags: &[],
    stops: false,
};

/// Freezes all processes.
pub(crate) fn pause(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    match container.status() {
        Status::Running | Status::Created => {
            let frozen = container.needs_cgroup()?.freeze();
            frozen.map(|()| 0).map_err(|error| error.to_string())
        }
        Status::Creating | Status::Paused | Status::Stopped => {
            Err("container not running".to_owned())
        }
    }
}

/// Lets them go on.
pub(crate) fn resume(global: &Global, said: &Said) -> Outcome {
    let container = Container::load(global, said)?;
    if container.status() != Status::Paused {
        return Err("container not paused".to_owned());
    }
    let thawed = container.needs_cgroup()?.thaw();
    thawed.map(|()| 0).map_err(|error| error.to_string())
}
