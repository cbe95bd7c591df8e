//! `wharf commit`.

use serde_json::Value;
use wharf_client::{Method, Url};
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, list, switch, text};
use crate::format::json;

static FLAGS: &[Flag] = &[
    text("author", "Author (\"A. Name <name@example.com>\")").short('a'),
    list(
        "change",
        "Apply an instruction of a Dockerfile to the image",
    )
    .short('c'),
    text("message", "What the image is for").short('m'),
    switch("pause", "Pause the container meanwhile")
        .short('p')
        .default("true"),
];

/// Make an image of a container
pub static COMMAND: Command = Command {
    name: "commit",
    about: "Make an image of what a container has changed",
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    also: "wharf container commit, wharf commit",
    flags: &[FLAGS],
    arity: Arity::Between(1, 2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (repo, tag) = match matches.args.get(1).map(String::as_str) {
        None | Some("") => (String::new(), String::new()),
        Some(text) => name(text)?,
    };
    let client = context.client().await?;
    let mut url = Url::new(["commit"])
        .with("container", &matches.args[0])
        .with("repo", repo)
        .with("tag", tag)
        .with("comment", matches.text("message"))
        .with("author", matches.text("author"));
    for change in matches.list("change") {
        url = url.with("changes", change);
    }
    if !matches.on("pause") {
        url = url.with("pause", 0);
    }
    let nothing = Value::Object(serde_json::Map::new());
    let answer: Value = client.json(Method::POST, url, Some(&nothing)).await?;
    line(json::text(&answer, "Id"))
}

/// Repository and tag of a name.
fn name(text: &str) -> Outcome<(String, String)> {
    let name = Reference::parse_normalized(text).map_err(|error| Exit::new(error.to_string()))?;
    if name.digest().is_some() {
        return Err(Exit::new(
            "refusing to create a tag with a digest reference",
        ));
    }
    let repo = name.short_name();
    let tag = name.with_default_tag().tag().unwrap_or_default().to_owned();
    Ok((repo, tag))
}
