//! `wharf search`.

use serde_json::Value;
use wharf_client::Url;

use super::{FORMAT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Flag, Kind, Matches, Outcome, flag, switch, text};
use crate::format::json;
use crate::format::rows::{Headers, Row, ellipsis, render};
use crate::row;

static FLAGS: &[Flag] = &[
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", FORMAT_HELP),
    flag("limit", Kind::Int, "Show no more than so many"),
    switch("no-trunc", "Cut nothing off"),
    switch("tags", "List the tags of the repository that TERM names"),
];

/// Search a registry
pub static COMMAND: Command = Command {
    name: "search",
    about: "Search a registry for images",
    usage: "[OPTIONS] TERM",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
];

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

async fn run(context: &Context, matches: &Matches) -> Outcome {
    if matches.on("tags") {
        for tag in super::tags::remote(context, &matches.args[0]).await? {
            out(&format!("{tag}\n"))?;
        }
        return Ok(());
    }
    let client = context.client().await?;
    let limit = matches.given("limit").then(|| matches.int("limit"));
    let url = Url::new(["images", "search"])
        .with("term", &matches.args[0])
        .maybe("limit", limit)
        .maybe("filters", filters(matches.list("filter")));
    let found: Vec<Value> = client.get(url).await?;
    let full = matches.on("no-trunc");
    let rows = found
        .iter()
        .map(|image| row(image, full, matches.text("format") != "json"))
        .collect();
    out(&render(matches.text("format"), TABLE, HEADERS, rows)?)
}

// A table marks what is official; everything else gets a boolean.
fn row(image: &Value, full: bool, table: bool) -> Row {
    let official = match (table, json::on(image, "is_official")) {
        (false, official) => official.to_string(),
        (true, true) => "[OK]".to_owned(),
        (true, false) => String::new(),
    };
    let about = json::text(image, "description").replace(['\n', '\r'], " ");
    row! {
        "Name" => json::text(image, "name"),
        "Description" => if full { about } else { ellipsis(&about, 45) },
        "StarCount" => json::int(image, "star_count").to_string(),
        "IsOfficial" => official,
    }
}
