//! `wharf top`.

use serde_json::Value;
use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Matches, Outcome};
use crate::format::{json, table};

/// Show processes of a container
pub static COMMAND: Command = Command {
    name: "top",
    about: "Show the processes of a container",
    usage: "CONTAINER [ps OPTIONS]",
    also: "wharf container top, wharf top",
    arity: Arity::AtLeast(1),
    interspersed: false,
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let options = matches.args[1..].join(" ");
    let options = (!options.is_empty()).then_some(options);
    let url = Url::new(["containers", &matches.args[0], "top"]).maybe("ps_args", options);
    let answer: Value = client.get(url).await?;
    let mut text = json::texts(&answer, "Titles").join("\t") + "\n";
    for process in json::items(&answer, "Processes") {
        let cells: Vec<&str> = process
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        text.push_str(&cells.join("\t"));
        text.push('\n');
    }
    out(&table::align_with(&text, 20, 3))
}
