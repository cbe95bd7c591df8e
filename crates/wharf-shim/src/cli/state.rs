//! `state`.

use super::Outcome;
use super::arguments::Arguments;
use super::container::{Container, Status};

/// Prints the container's state as the OCI runtime specification has it.
pub(crate) fn state(arguments: &Arguments) -> Outcome {
    let container = Container::load(arguments)?;
    let (word, pid) = match container.status() {
        Status::Created => ("created", container.pid),
        Status::Running => ("running", container.pid),
        Status::Stopped => ("stopped", 0),
    };
    let state = serde_json::json!({
        "ociVersion": "1.2.0",
        "id": container.id,
        "status": word,
        "pid": pid,
        "bundle": container.bundle,
    });
    println!("{state:#}");
    Ok(0)
}
