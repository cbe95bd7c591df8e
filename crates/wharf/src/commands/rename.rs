//! `wharf rename`.

use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};

/// Rename a container
pub static COMMAND: Command = Command {
    name: "rename",
    about: "Give a container another name",
    usage: "CONTAINER NEW_NAME",
    also: "wharf container rename, wharf rename",
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (old, new) = (matches.args[0].trim(), matches.args[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Exit::new("Error: Neither old nor new names may be empty"));
    }
    let client = context.client().await?;
    let url = Url::new(["containers", old, "rename"]).with("name", new);
    client.post(url).await.map_err(|error| {
        Exit::new(format!(
            "{error}\nError: failed to rename container named {old}"
        ))
    })
}
