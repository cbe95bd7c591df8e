//! `wharf rmi`.

use serde_json::Value;
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, list, switch};
use crate::format::json;
use crate::options::platform;

static FLAGS: &[Flag] = &[
    switch(
        "force",
        "Remove it even if containers or other names need it",
    )
    .short('f'),
    switch("no-prune", "Keep its untagged parents"),
    list("platform", "Remove only this platform of the image"),
];

const EITHER: Command = Command {
    about: "Remove images",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    also: "wharf image rm, wharf image remove, wharf rmi",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// Remove images
pub static COMMAND: Command = Command {
    name: "rmi",
    ..EITHER
};

/// The same in the group `image`.
pub static RM: Command = Command {
    name: "rm",
    aliases: &["remove"],
    ..EITHER
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let mut failures = Vec::new();
    for image in &matches.args {
        let mut url = Url::new(["images", image])
            .flag("force", matches.on("force"))
            .flag("noprune", matches.on("no-prune"));
        url = platform::add(url, "platforms", matches.list("platform"))?;
        match client
            .json::<Vec<Value>>(Method::DELETE, url, None::<&()>)
            .await
        {
            Ok(done) => out(&lines(&done))?,
            Err(error) if matches.on("force") && error.is_not_found() => eprintln!("{error}"),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Exit::new(failures.join("\n")))
    }
}

/// What a removal did, as `rmi` and `image prune` print it.
pub fn lines(done: &[Value]) -> String {
    let line = |item: &Value| match json::text(item, "Deleted") {
        "" => format!("Untagged: {}\n", json::text(item, "Untagged")),
        id => format!("Deleted: {id}\n"),
    };
    done.iter().map(line).collect()
}
