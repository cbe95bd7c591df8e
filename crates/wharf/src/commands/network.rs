//! `wharf network …`.

mod create;
mod members;

use serde_json::Value;
use wharf_client::Url;

use super::volume::natural;
use super::{FORMAT_HELP, filters, inspect, prune};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Command, Context, Flag, Kind, Matches, Outcome, flag, switch, text};
use crate::format::json;
use crate::format::rows::{Headers, Row, labels, render, short_id};
use crate::options::checks;
use crate::row;

/// Manage networks
pub static COMMAND: Command = Command {
    name: "network",
    about: "Manage networks",
    commands: &[
        &members::CONNECT,
        &create::COMMAND,
        &members::DISCONNECT,
        &inspect::NETWORK,
        &LS,
        &prune::NETWORKS,
        &members::RM,
    ],
    ..EMPTY
};

static FLAGS: &[Flag] = &[
    flag(
        "filter",
        Kind::Checked("filter", checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", FORMAT_HELP),
    switch("no-trunc", "Cut nothing off"),
    switch("quiet", "Show IDs only").short('q'),
];

static LS: Command = Command {
    name: "ls",
    aliases: &["list"],
    about: "List networks",
    usage: "[OPTIONS]",
    also: "wharf network ls, wharf network list",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(ls(context, matches))),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];

fn row(network: &Value, full: bool) -> Row {
    let id = json::text(network, "Id");
    let created = json::text(network, "Created");
    let text = |name: &str| json::on(network, name).to_string();
    row! {
        "ID" => if full { id } else { short_id(id) },
        "Name" => json::text(network, "Name"),
        "Driver" => json::text(network, "Driver"),
        "Scope" => json::text(network, "Scope"),
        "IPv4" => text("EnableIPv4"),
        "IPv6" => text("EnableIPv6"),
        "Internal" => text("Internal"),
        "Labels" => labels(json::field(network, "Labels")),
        "CreatedAt" => created_at(created),
        "__labels" => network["Labels"].clone(),
    }
}

// Go's `String()` of the time, which keeps its fraction.
fn created_at(text: &str) -> String {
    let Some(time) = crate::format::time::parse(text) else {
        return text.to_owned();
    };
    let fraction = time.subsec_nanosecond();
    let shown = crate::format::time::go_string(time.as_second());
    if fraction == 0 {
        return shown;
    }
    let digits = format!("{fraction:09}");
    format!(
        "{}.{}{}",
        &shown[..19],
        digits.trim_end_matches('0'),
        &shown[19..]
    )
}

async fn ls(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let url = Url::new(["networks"]).maybe("filters", filters(matches.list("filter")));
    let mut networks: Vec<Value> = client.get(url).await?;
    networks.sort_by(|a, b| natural(json::text(a, "Name"), json::text(b, "Name")));
    let rows = networks
        .iter()
        .map(|network| row(network, matches.on("no-trunc")))
        .collect();
    let quiet = matches.on("quiet");
    let format = context.format(matches.text("format"), "networksFormat", quiet);
    let format = if quiet && matches!(format, "" | "table") {
        "{{.ID}}"
    } else {
        format
    };
    out(&render(
        format,
        "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        HEADERS,
        rows,
    )?)
}
