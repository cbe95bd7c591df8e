//! `wharf volume export` and `wharf volume import`: a volume's files as a tar archive. Not Docker's.

use std::io::IsTerminal as _;

use wharf_client::{Url, upload};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, text};
use crate::commands::export;
use crate::options::env::reason;

static EXPORT_FLAGS: &[Flag] = &[text("output", "Write to a file, instead of STDOUT").short('o')];
static IMPORT_FLAGS: &[Flag] = &[text("input", "Read this file, not standard input").short('i')];

pub(super) static EXPORT: Command = Command {
    name: "export",
    about: "Write all files of a volume as a tar archive",
    usage: "[OPTIONS] VOLUME",
    flags: &[EXPORT_FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run_export(context, matches))),
    ..EMPTY
};
pub(super) static IMPORT: Command = Command {
    name: "import",
    about: "Unpack a tar archive into a volume, which is made if it is not there",
    usage: "[OPTIONS] VOLUME",
    flags: &[IMPORT_FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run_import(context, matches))),
    ..EMPTY
};

async fn run_export(context: &Context, matches: &Matches) -> Outcome {
    let output = matches.maybe("output");
    export::check(output, "failed to export volume")?;
    let client = context.client().await?;
    let url = Url::new(["wharf", "volumes", &matches.args[0], "export"]);
    let (_, body) = client.get_with_header(url, "content-type").await?;
    export::write(body, output).await
}

async fn run_import(context: &Context, matches: &Matches) -> Outcome {
    let path = match matches.maybe("input") {
        Some(path) => path,
        None if std::io::stdin().is_terminal() => {
            return Err(Exit::new("requested import from stdin, but stdin is empty"));
        }
        // Read by the runtime's file threads: it may be a pipe or a file.
        None => "/dev/stdin",
    };
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| Exit::new(format!("open {path}: {}", reason(&error))))?;
    let client = context.client().await?;
    let url = Url::new(["wharf", "volumes", &matches.args[0], "import"]);
    let mut answer = client
        .upload(url, "application/x-tar", upload(file))
        .await?;
    // Nothing is said; but it is over only when the answer is.
    while answer.chunk().await?.is_some() {}
    Ok(())
}
