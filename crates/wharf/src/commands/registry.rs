//! `wharf registry`: hands over to [`crate::registry`].

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use wharf_sys::words::plain;

use crate::cli::Command;
use crate::cli::command::COMMAND as EMPTY;
use crate::registry::ServeArgs;

/// Listed in the help; but for its verb of the client, [`start_if_asked`] runs it before any runtime of the client is made.
pub static COMMAND: Command = Command {
    name: "registry",
    about: "Run a registry in the foreground",
    usage: "[OPTIONS] | serve | check | serve-local",
    commands: &[&super::serve_local::COMMAND],
    ..EMPTY
};

#[derive(Parser)]
#[command(
    name = "wharf registry",
    about = "Run a registry in the foreground",
    args_conflicts_with_subcommands = true,
    help_template = "Usage:  {usage}\n\n{about}\n\nCommands:\n{subcommands}\n\nOptions:\n{options}\n"
)]
struct RegistryCli {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Run a registry, as without a verb
    Serve {
        #[command(flatten)]
        args: ServeArgs,
        /// Settings file
        #[arg(value_name = "CONFIG", conflicts_with = "config")]
        file: Option<PathBuf>,
    },
    /// Look at everything in a folder that no registry serves: digests, links, manifests, tags
    Check {
        /// The folder
        #[arg(long, value_name = "DIR")]
        data_root: PathBuf,
    },
    /// Serve the images of the daemon, read-only; see serve-local --help
    ServeLocal,
}

/// Runs a registry if that is what the words ask for, and gives its exit code.
pub fn start_if_asked(words: &[String]) -> Option<i32> {
    let (first, rest) = words.split_first()?;
    // What asks a daemon is a command as any other.
    if first != "registry" || rest.first().is_some_and(|verb| verb == "serve-local") {
        return None;
    }
    let words = std::iter::once("wharf registry").chain(rest.iter().map(String::as_str));
    let parsed = match RegistryCli::try_parse_from(words) {
        Ok(parsed) => parsed,
        Err(error) => {
            let code = error.exit_code();
            // Help goes to standard output; a closed one is no reason to fail.
            let _ = error.print();
            return Some(code);
        }
    };
    let done = match parsed.verb {
        None => crate::registry::serve(parsed.serve),
        Some(Verb::Serve { mut args, file }) => {
            args.config = args.config.or(file);
            crate::registry::serve(args)
        }
        Some(Verb::Check { data_root }) => crate::registry::check(&data_root),
        Some(Verb::ServeLocal) => return None,
    };
    match done {
        Ok(()) => Some(0),
        Err(error) => {
            eprintln!("{}", plain(&format!("wharf registry: {error:#}")));
            Some(1)
        }
    }
}
