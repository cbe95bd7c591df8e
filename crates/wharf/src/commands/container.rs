//! `wharf container …`.

use super::*;
use crate::cli::Command;
use crate::cli::command::COMMAND as EMPTY;

/// Manage containers
pub static COMMAND: Command = Command {
    name: "container",
    about: "Manage containers",
    commands: &[
        &attach::COMMAND,
        &commit::COMMAND,
        &cp::COMMAND,
        &create::COMMAND,
        &diff::COMMAND,
        &exec::COMMAND,
        &export::COMMAND,
        &inspect::CONTAINER,
        &kill::COMMAND,
        &logs::COMMAND,
        &ps::LS,
        &pause::COMMAND,
        &port::COMMAND,
        &prune::CONTAINERS,
        &rename::COMMAND,
        &restart::COMMAND,
        &rm::COMMAND,
        &run::COMMAND,
        &start::COMMAND,
        &stats::COMMAND,
        &stop::COMMAND,
        &top::COMMAND,
        &pause::UNPAUSE,
        &update::COMMAND,
        &wait::COMMAND,
    ],
    ..EMPTY
};
