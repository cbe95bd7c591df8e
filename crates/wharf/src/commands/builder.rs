//! `wharf builder …`.

use wharf_client::{Method, Url};

use super::*;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{confirm, line};
use crate::cli::{Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, switch};
use crate::format::{json, units};

/// Manage builds
pub static COMMAND: Command = Command {
    name: "builder",
    about: "Manage builds",
    commands: &[&build::COMMAND, &PRUNE],
    ..EMPTY
};

static FLAGS: &[Flag] = &[
    switch("all", "Also steps whose images have names").short('a'),
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Remove only what matches: until=24h",
    ),
    switch("force", "Do not ask").short('f'),
    flag("keep-storage", Kind::Bytes, "Bytes that may stay"),
];

static PRUNE: Command = Command {
    name: "prune",
    about: "Remove what builds keep for the next build",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(prune(context, matches))),
    ..EMPTY
};

async fn prune(context: &Context, matches: &Matches) -> Outcome {
    let warning = match matches.on("all") {
        true => "This will remove all build cache.",
        false => "This will remove all dangling build cache.",
    };
    let question = format!("WARNING! {warning}\nAre you sure you want to continue?");
    if !matches.on("force") && !confirm(&question)? {
        return Err(Exit::new("builder prune has been cancelled"));
    }
    let url = Url::new(["build", "prune"])
        .flag("all", matches.on("all"))
        .with("keep-storage", matches.int("keep-storage").to_string())
        .maybe("filters", filters(matches.list("filter")));
    let client = context.client().await?;
    let answer: serde_json::Value = client.json(Method::POST, url, None::<&()>).await?;
    let gone = json::texts(&answer, "CachesDeleted");
    if !gone.is_empty() {
        line(format!(
            "Deleted build cache objects:\n{}\n",
            gone.join("\n")
        ))?;
    }
    let bytes = units::human_size(json::int(&answer, "SpaceReclaimed"), 4);
    line(format!("Total reclaimed space: {bytes}"))
}
