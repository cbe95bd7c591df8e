//! `wharf image …`.

use super::*;
use crate::cli::Command;
use crate::cli::command::COMMAND as EMPTY;

/// Manage images
pub static COMMAND: Command = Command {
    name: "image",
    about: "Manage images",
    commands: &[
        &build::COMMAND,
        &history::COMMAND,
        &import::COMMAND,
        &inspect::IMAGE,
        &load::COMMAND,
        &images::LS,
        &prune::IMAGES,
        &pull::COMMAND,
        &push::COMMAND,
        &rmi::RM,
        &save::COMMAND,
        &send::COMMAND,
        &tag::COMMAND,
        &tags::COMMAND,
    ],
    ..EMPTY
};
