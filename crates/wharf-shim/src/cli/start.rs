//! `start`.

use super::Outcome;
use super::arguments::Arguments;
use super::container::{Container, FIFO, Status};

/// Lets a created container go, by reading from its FIFO.
pub(crate) fn start(arguments: &Arguments) -> Outcome {
    let container = Container::load(arguments)?;
    match container.status() {
        Status::Created => {}
        Status::Running => return Err("cannot start an already running container".to_owned()),
        Status::Stopped => return Err("cannot start a container that has stopped".to_owned()),
    }
    let fifo = container.folder.join(FIFO);
    std::fs::read(&fifo)
        .and_then(|_| std::fs::remove_file(&fifo))
        .map_err(|error| format!("start: {error}"))?;
    Ok(0)
}
