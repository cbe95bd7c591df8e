//! `wharf history`.

use serde_json::Value;
use wharf_client::Url;

use super::FORMAT_HELP;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Flag, Matches, Outcome, switch, text};
use crate::format::rows::{Headers, Row, ellipsis, render, short_id};
use crate::format::{json, time, units};
use crate::options::platform;
use crate::row;

static FLAGS: &[Flag] = &[
    text("format", FORMAT_HELP),
    switch("human", "Show sizes and dates for people")
        .short('H')
        .default("true"),
    switch("no-trunc", "Cut nothing off"),
    text("platform", "Platform of the image"),
    switch("quiet", "Show IDs only").short('q'),
];

/// Show how an image was made
pub static COMMAND: Command = Command {
    name: "history",
    about: "Show the steps an image was made in",
    usage: "[OPTIONS] IMAGE",
    also: "wharf image history, wharf history",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let platform = matches.maybe("platform").map(platform::json).transpose()?;
    let url = Url::new(["images", &matches.args[0], "history"]).maybe("platform", platform);
    let steps: Vec<Value> = client.get(url).await?;
    let (human, full) = (matches.on("human"), matches.on("no-trunc"));
    let rows = steps.iter().map(|step| row(step, human, full)).collect();
    let format = match (matches.text("format"), matches.on("quiet")) {
        ("" | "table", true) => "{{.ID}}",
        (format, _) => format,
    };
    let table = match human {
        true => "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        false => "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    };
    out(&render(format, table, HEADERS, rows)?)
}

fn row(step: &Value, human: bool, full: bool) -> Row {
    let (created, size) = (json::int(step, "Created"), json::int(step, "Size"));
    let id = json::text(step, "Id");
    let by = json::text(step, "CreatedBy").replace('\t', " ");
    let since = match (human, created) {
        (false, _) => time::rfc3339(created),
        (true, ..=0) => "N/A".to_owned(),
        (true, _) => time::ago(created as f64),
    };
    row! {
        "ID" => if full || !id.starts_with("sha256:") { id } else { short_id(id) },
        "CreatedSince" => since,
        "CreatedAt" => if created <= 0 && human { "N/A".to_owned() } else { time::rfc3339(created) },
        "CreatedBy" => if full { by } else { ellipsis(&by, 45) },
        "Size" => if human { units::human_size(size, 3) } else { size.to_string() },
        "Comment" => json::text(step, "Comment"),
    }
}
