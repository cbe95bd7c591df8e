//! `wharf logs`.

use serde_json::Value;
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Flag, Matches, Outcome, switch, text};
use crate::format::{json, time};
use crate::term::pump::{Splitter, write};

static FLAGS: &[Flag] = &[
    switch(
        "clear",
        "Throw away what was logged so far, and print nothing (wharf only)",
    ),
    switch("details", "Show extra attributes of lines"),
    switch("follow", "Go on with new output").short('f'),
    text(
        "since",
        "From this time (2013-01-02T13:23:37Z) or this long ago (42m)",
    ),
    text("tail", "Number of lines from the end")
        .short('n')
        .default("all"),
    switch("timestamps", "Show the time of each line").short('t'),
    text(
        "until",
        "Up to this time (2013-01-02T13:23:37Z) or this long ago (42m)",
    ),
];

/// Show the logs of a container
pub static COMMAND: Command = Command {
    name: "logs",
    about: "Show the output of a container",
    usage: "[OPTIONS] CONTAINER",
    also: "wharf container logs, wharf logs",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let reads = ["details", "follow", "timestamps"];
    let reads = reads.iter().any(|flag| matches.on(flag));
    let bounded = ["since", "until"];
    let bounded = bounded.iter().any(|flag| matches.maybe(flag).is_some());
    if matches.on("clear") && (reads || bounded || matches.text("tail") != "all") {
        return Err("conflicting options: --clear reads nothing"
            .to_owned()
            .into());
    }
    let point = |flag: &str| {
        let invalid = |error: String| format!("invalid value for \"{flag}\": {error}");
        matches
            .maybe(flag)
            .map(time::point)
            .transpose()
            .map_err(invalid)
    };
    let (since, until) = (point("since")?, point("until")?);
    let client = context.client().await?;
    let inspect: Value = client
        .get(Url::new(["containers", &matches.args[0], "json"]))
        .await?;
    let id = json::text(&inspect, "Id");
    if matches.on("clear") {
        let url = Url::new(["wharf", "containers", id, "logs"]);
        client.bytes(Method::DELETE, url, None::<&()>).await?;
        return Ok(());
    }
    let url = Url::new(["containers", id, "logs"])
        .flag("stdout", true)
        .flag("stderr", true)
        .flag("follow", matches.on("follow"))
        .flag("timestamps", matches.on("timestamps"))
        .flag("details", matches.on("details"))
        .maybe("since", since)
        .maybe("until", until)
        .with("tail", matches.text("tail"));
    let mut stream = client.stream(Method::GET, url, None::<&()>).await?;
    let raw = json::on(&inspect["Config"], "Tty");
    let mut splitter = Splitter::default();
    while let Some(bytes) = stream.chunk().await? {
        if raw {
            write(std::io::stdout(), &bytes)?;
        } else {
            splitter.feed(&bytes)?;
        }
    }
    Ok(())
}
