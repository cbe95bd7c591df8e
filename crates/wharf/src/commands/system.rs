//! `wharf system …`.

use super::*;
use crate::cli::Command;
use crate::cli::command::COMMAND as EMPTY;

/// Manage the daemon
pub static COMMAND: Command = Command {
    name: "system",
    about: "Look at and clean up the whole engine",
    commands: &[
        &check::COMMAND,
        &df::COMMAND,
        &dial_stdio::COMMAND,
        &events::COMMAND,
        &info::COMMAND,
        &prune::SYSTEM,
    ],
    ..EMPTY
};
