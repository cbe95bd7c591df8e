//! `wharf restart`.

use super::stop;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command};

/// Restart containers
pub static COMMAND: Command = Command {
    name: "restart",
    about: "Stop containers and start them again",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container restart, wharf restart",
    flags: &[stop::FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(stop::run(context, matches, "restart"))),
    ..EMPTY
};
