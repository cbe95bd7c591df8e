//! `start`.

use std::io::Read as _;

use super::Outcome;
use super::container::{Container, FIFO, Status};
use super::flags::{Command, Said};
use super::global::Global;

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
        Status::Stopped => return Err("cannot start a container that has stopped".to_owned()),
        Status::Running | Status::Paused => {
            return Err("cannot start an already running container".to_owned());
        }
    }
    let fifo = container.folder.join(FIFO);
    // The container's process opens it for writing, writes one byte, and executes its program: that closes it.
    // What it writes else is why it could not.
    let mut said = String::new();
    std::fs::File::open(&fifo)
        .and_then(|mut fifo| fifo.read_to_string(&mut said))
        .and_then(|_| std::fs::remove_file(&fifo))
        .map_err(|error| format!("start: {error}"))?;
    if let Some(reason) = said.get(1..).filter(|reason| !reason.is_empty()) {
        return Err(destroyed(global, &container, reason.trim_end()));
    }
    let done = poststart(&container);
    done.map_err(|reason| destroyed(global, &container, &reason))?;
    Ok(0)
}

/// A hook that fails ends the container, and the hooks of the end run (OCI, lifecycle).
fn destroyed(global: &Global, container: &Container, reason: &str) -> String {
    let _ = super::kill::send(container, 9);
    let gone = super::kill::wait_for_end(container).and_then(|()| container.remove(global));
    if let Err(also) = gone {
        super::log::warning(global, &also);
    }
    reason.to_owned()
}

/// Runs the hooks of the start. If one fails the container is stopped.
pub(crate) fn poststart(container: &Container) -> Result<(), String> {
    let spec = container.spec()?;
    let hooks = spec
        .hooks()
        .as_ref()
        .and_then(|hooks| hooks.poststart().as_deref());
    let state = container.oci_state("running", container.pid);
    for (number, hook) in hooks.unwrap_or_default().iter().enumerate() {
        let done = wharf_runtime::hooks::run("poststart", number, hook, &state);
        if let Err(failure) = done {
            let _ = super::kill::send(container, 9);
            return Err(failure.to_string());
        }
    }
    Ok(())
}
