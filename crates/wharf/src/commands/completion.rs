//! `wharf completion`.

use super::root;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome, complete};

/// Print a completion script
pub static COMMAND: Command = Command {
    name: "completion",
    about: "Print the completion script for a shell",
    usage: "bash|zsh|fish",
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(_context: &Context, matches: &Matches) -> Outcome {
    let shell = &matches.args[0];
    let commands: Vec<_> = root::commands().collect();
    let script = complete::script(shell, &commands);
    out(&script.ok_or_else(|| {
        Exit::new(format!(
            "no completion for {shell:?}: use bash, zsh or fish"
        ))
    })?)
}
