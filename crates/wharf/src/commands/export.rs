//! `wharf export`.

use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, text};
use crate::options::env::reason;
use crate::term::pump;

static FLAGS: &[Flag] = &[text("output", "Write to a file, instead of STDOUT").short('o')];

/// Export a container's files
pub static COMMAND: Command = Command {
    name: "export",
    about: "Write all files of a container as a tar archive",
    usage: "[OPTIONS] CONTAINER",
    also: "wharf container export, wharf export",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let output = matches.maybe("output");
    check(output, "failed to export container")?;
    let client = context.client().await?;
    let url = Url::new(["containers", &matches.args[0], "export"]);
    let (_, body) = client.get_with_header(url, "content-type").await?;
    write(body, output).await
}

/// Writes a stream to a file, beside its place and moved there when it is whole, or to standard output.
pub(super) async fn write(mut body: wharf_client::BodyStream, output: Option<&str>) -> Outcome {
    let Some(path) = output else {
        while let Some(bytes) = body.chunk().await? {
            pump::write(std::io::stdout(), &bytes)?;
        }
        return Ok(());
    };
    let temporary = format!("{path}.wharf-{}", std::process::id());
    let written = async {
        // What is in an image or a container is the user's own business, as with Docker's client.
        let mut options = std::fs::File::options();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&temporary)?;
        while let Some(bytes) = body.chunk().await? {
            file.write_all(&bytes)?;
        }
        Ok::<_, Exit>(std::fs::rename(&temporary, path)?)
    };
    let written = written.await;
    if written.is_err() {
        // It may not even have been made.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Refuses, in Docker's words, a terminal and a place that cannot be written to.
pub(super) fn check(output: Option<&str>, what: &str) -> Outcome {
    let Some(path) = output else {
        return match std::io::stdout().is_terminal() {
            true => Err(Exit::new(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            )),
            false => Ok(()),
        };
    };
    let fail = |text: String| Err(Exit::new(format!("{what}: {text}")));
    let folder = Path::new(path)
        .parent()
        .filter(|folder| *folder != Path::new(""));
    if let Some(folder) = folder
        && let Err(error) = std::fs::metadata(folder)
    {
        let (folder, reason) = (folder.display(), reason(&error));
        return fail(format!("invalid output path: stat {folder}: {reason}"));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => fail(format!(
            "invalid output path: {path:?} must be a regular file"
        )),
        Ok(found) if found.file_type().is_char_device() || found.file_type().is_block_device() => {
            fail(format!(
                "invalid output path: {path:?} must be a directory or a regular file: got a device"
            ))
        }
        _ => Ok(()),
    }
}
