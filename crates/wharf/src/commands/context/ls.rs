//! `wharf context ls`.

use serde_json::{Value, json};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::contexts::{DEFAULT, Store};
use crate::cli::{Command, Context, Flag, Matches, Outcome, switch, text};
use crate::commands::FORMAT_HELP;
use crate::format::json as read;
use crate::format::rows::{Headers, Row, ellipsis, render};
use crate::row;

static FLAGS: &[Flag] = &[
    text("format", FORMAT_HELP),
    switch("quiet", "Show names only").short('q'),
];

/// List contexts
pub(super) static COMMAND: Command = Command {
    name: "ls",
    aliases: &["list"],
    about: "List contexts",
    usage: "[OPTIONS]",
    also: "wharf context ls, wharf context list",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(async move { run(context, matches) })),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
];

fn run(context: &Context, matches: &Matches) -> Outcome {
    let mut all = Store::new(context.config_dir()).all()?;
    all.push(json!({
        "Name": DEFAULT,
        "Metadata": {"Description": "Current DOCKER_HOST based configuration"},
        "Endpoints": {"docker": {"Host": super::default_host(context)}},
    }));
    all.sort_by(|a, b| read::text(a, "Name").cmp(read::text(b, "Name")));
    if matches.on("quiet") {
        return all
            .iter()
            .try_for_each(|document| line(read::text(document, "Name")));
    }
    let format = matches.text("format");
    let is_table = format.is_empty() || format.starts_with("table");
    let rows = all.iter().map(|document| row(context, document, is_table));
    let mut rows: Vec<Row> = rows.collect();
    // One that is current and is not there is told of.
    if let Some(fault) = context.fault()
        && all
            .iter()
            .all(|document| read::text(document, "Name") != context.name())
    {
        rows.push(entry(
            context,
            context.name(),
            "",
            "",
            &fault.message,
            is_table,
        ));
    }
    let table = "{{.Name}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
    out(&render(format, table, HEADERS, rows)?)
}

fn row(context: &Context, document: &Value, is_table: bool) -> Row {
    let host = read::text(&document["Endpoints"]["docker"], "Host");
    let description = read::text(&document["Metadata"], "Description");
    let name = read::text(document, "Name");
    entry(context, name, description, host, "", is_table)
}

fn entry(
    context: &Context,
    name: &str,
    description: &str,
    host: &str,
    error: &str,
    is_table: bool,
) -> Row {
    let is_current = name == context.name();
    let shown = match is_table && is_current {
        true => format!("{name} *"),
        false => name.to_owned(),
    };
    row! {
        "Name" => shown,
        "Description" => ellipsis(description, 60),
        "DockerEndpoint" => host,
        "Error" => ellipsis(error, 45),
        "Current" => is_current,
    }
}
