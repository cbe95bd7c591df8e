//! `wharf load`.

use std::io::IsTerminal;

use wharf_client::{Url, upload};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Command, Context, Exit, Flag, Matches, Outcome, list, switch, text};
use crate::options::env::reason;
use crate::options::platform;
use crate::term::progress;

static FLAGS: &[Flag] = &[
    text("input", "Read this file, not standard input").short('i'),
    list("platform", "Load only this platform"),
    switch("quiet", "Show no progress").short('q'),
];

/// Load images from an archive
pub static COMMAND: Command = Command {
    name: "load",
    about: "Load images from a tar archive",
    usage: "[OPTIONS]",
    also: "wharf image load, wharf load",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let body = match matches.maybe("input") {
        Some(path) => {
            let file = tokio::fs::File::open(path)
                .await
                .map_err(|error| Exit::new(format!("open {path}: {}", reason(&error))))?;
            upload(file)
        }
        None if std::io::stdin().is_terminal() => {
            return Err(Exit::new("requested load from stdin, but stdin is empty"));
        }
        // Read by the runtime's file threads: it may be a pipe or a file.
        None => upload(tokio::fs::File::open("/dev/stdin").await?),
    };
    let client = context.client().await?;
    // Progress moves lines about; that needs a terminal.
    let quiet = matches.on("quiet") || !std::io::stdout().is_terminal();
    let url = Url::new(["images", "load"]).with("quiet", u8::from(quiet));
    let url = platform::add(url, "platform", matches.list("platform"))?;
    let mut answer = client.upload(url, "application/x-tar", body).await?;
    if answer.content_type().starts_with("application/json") {
        return progress::show(answer, false).await;
    }
    while let Some(bytes) = answer.chunk().await? {
        crate::term::pump::write(std::io::stdout(), &bytes)?;
    }
    Ok(())
}
