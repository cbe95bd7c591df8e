//! `wharf save`.

use wharf_client::{Method, Url};

use super::export::{check, write};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Flag, Matches, Outcome, list, text};
use crate::options::platform;

static FLAGS: &[Flag] = &[
    text("output", "Write to a file, instead of STDOUT").short('o'),
    list("platform", "Save only this platform"),
];

/// Save images
pub static COMMAND: Command = Command {
    name: "save",
    about: "Save images to a tar archive",
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    also: "wharf image save, wharf save",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let output = matches.maybe("output");
    check(output, "failed to save image")?;
    let mut url = Url::new(["images", "get"]);
    for name in &matches.args {
        url = url.with("names", name);
    }
    url = platform::add(url, "platform", matches.list("platform"))?;
    let client = context.client().await?;
    let body = client.stream_with_headers(Method::GET, url, &[]).await?;
    write(body, output).await
}
