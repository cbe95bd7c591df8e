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
    ("IsAutomated", "AUTOMATED"),
];

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let limit = matches.given("limit").then(|| matches.int("limit"));
    let url = Url::new(["images", "search"])
        .with("term", &matches.args[0])
        .maybe("limit", limit)
        .maybe("filters", filters(matches.list("filter")));
    let mut found: Vec<Value> = client.get(url).await?;
    found.sort_by_key(|image| std::cmp::Reverse(json::int(image, "star_count")));
    let full = matches.on("no-trunc");
    let rows = found.iter().map(|image| row(image, full)).collect();
    out(&render(
        matches.text("format"),
        "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        HEADERS,
        rows,
    )?)
}

fn row(image: &Value, full: bool) -> Row {
    let about = json::text(image, "description").replace(['\n', '\r'], " ");
    let ok = |name: &str| if json::on(image, name) { "[OK]" } else { "" };
    row! {
        "Name" => json::text(image, "name"),
        "Description" => if full { about } else { ellipsis(&about, 45) },
        "StarCount" => json::int(image, "star_count").to_string(),
        "IsOfficial" => ok("is_official"),
        "IsAutomated" => ok("is_automated"),
    }
}
