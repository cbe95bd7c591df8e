//! `wharf diff`.

use wharf_api_types::FilesystemChange;
use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};

/// Show what a container has changed
pub static COMMAND: Command = Command {
    name: "diff",
    about: "Show what a container has changed in its files",
    usage: "CONTAINER",
    also: "wharf container diff, wharf diff",
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let container = matches.args[0].as_str();
    if container.is_empty() {
        return Err(Exit::new("container name cannot be empty"));
    }
    let client = context.client().await?;
    let url = Url::new(["containers", container, "changes"]);
    let changes: Option<Vec<FilesystemChange>> = client.get(url).await?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            2 => 'D',
            _ => continue,
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    out(&text)
}
