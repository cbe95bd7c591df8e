//! `delete`.

use super::Outcome;
use super::arguments::Arguments;
use super::container::{Container, Status};

/// Removes what is left of a stopped container; with `--force` of any.
pub(crate) fn delete(arguments: &Arguments) -> Outcome {
    let container = match Container::load(arguments) {
        Err(_) if arguments.force => return Ok(0),
        other => other?,
    };
    match container.status() {
        Status::Running if !arguments.force => {
            let id = &container.id;
            return Err(format!(
                "cannot delete container {id} that is not stopped: running"
            ));
        }
        Status::Running | Status::Created => {
            // It may end at this moment.
            let _ = super::kill::send(&container, 9);
        }
        Status::Stopped => {}
    }
    container.remove();
    Ok(0)
}
