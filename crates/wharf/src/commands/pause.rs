//! `wharf pause` and `wharf unpause`.

use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Matches, Outcome};

/// Pause containers
pub static COMMAND: Command = Command {
    name: "pause",
    about: "Freeze all processes of containers",
    usage: "CONTAINER [CONTAINER...]",
    also: "wharf container pause, wharf pause",
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches, "pause"))),
    ..EMPTY
};

/// Unpause containers
pub static UNPAUSE: Command = Command {
    name: "unpause",
    about: "Let frozen processes of containers go on",
    usage: "CONTAINER [CONTAINER...]",
    also: "wharf container unpause, wharf unpause",
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches, "unpause"))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches, verb: &'static str) -> Outcome {
    let client = context.client().await?;
    each(&matches.args, |name| async move {
        client.post(Url::new(["containers", name, verb])).await?;
        line(name)
    })
    .await
}
