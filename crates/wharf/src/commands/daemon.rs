//! `wharf daemon`: hands over to [`crate::daemon`].

use std::os::unix::process::CommandExt;

use clap::Parser;
use wharf_sys::words::plain;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Exit};
use crate::daemon::DaemonArgs;

/// Hidden first word with which [`crate::autostart`] starts a daemon in a session of its own.
pub const BACKGROUND: &str = "__background-daemon";

/// Listed in the help; [`start_if_asked`] runs it before any runtime of the client is made.
pub static COMMAND: Command = Command {
    name: "daemon",
    about: "Run the daemon in the foreground",
    usage: "[OPTIONS]",
    arity: Arity::AtLeast(0),
    run: Some(|_, _| {
        Box::pin(async {
            Err(Exit::new(
                "'wharf daemon' takes its flags after the word: wharf daemon [OPTIONS]",
            ))
        })
    }),
    ..EMPTY
};

#[derive(Parser)]
#[command(
    name = "wharf daemon",
    about = "Run the daemon in the foreground",
    disable_help_flag = true,
    disable_version_flag = true,
    version,
    help_template = "Usage:  {usage}\n\n{about}\n\nOptions:\n{options}\n"
)]
struct DaemonCli {
    /// Print this help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'v', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    #[command(flatten)]
    args: DaemonArgs,
}

/// Runs the daemon if that is what the words ask for, and gives its exit code.
pub fn start_if_asked(words: &[String]) -> Option<i32> {
    let (first, rest) = words.split_first()?;
    if first == BACKGROUND {
        return Some(background());
    }
    if first != "daemon" {
        return None;
    }
    let words = std::iter::once("wharf daemon").chain(rest.iter().map(String::as_str));
    let args = match DaemonCli::try_parse_from(words) {
        Ok(parsed) => parsed.args,
        Err(error) => {
            if let Some((flag, why)) = refused(&error) {
                eprintln!("wharf daemon: {flag} is not supported: {why}");
                return Some(1);
            }
            let code = error.exit_code();
            // Help goes to standard output; a closed one is no reason to fail.
            let _ = error.print();
            return Some(code);
        }
    };
    match crate::daemon::run(args) {
        Ok(()) => Some(0),
        Err(error) => {
            eprintln!("{}", plain(&format!("wharf daemon: {error:#}")));
            Some(crate::daemon::exit_code(&error))
        }
    }
}

// A flag of dockerd's that we do not have, and why.
fn refused(error: &clap::Error) -> Option<(String, &'static str)> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let why = crate::daemon::refused_flag(flag)?;
    Some((flag.clone(), why))
}

// Leaves the session of the terminal, so that closing that does not end the daemon, then becomes it.
fn background() -> i32 {
    let _ = rustix::process::setsid();
    let error = std::process::Command::new("/proc/self/exe")
        .arg("daemon")
        .exec();
    eprintln!("wharf daemon: {error}");
    1
}
