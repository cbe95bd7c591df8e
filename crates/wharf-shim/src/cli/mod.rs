//! An OCI runtime's command line: `run create start state kill delete`, with runc's flags.

mod arguments;
mod container;
mod create;
mod delete;
mod devices;
mod kill;
mod start;
mod state;
mod terminal;

use std::ffi::OsString;

use arguments::Arguments;

/// What a command gives: an exit code, or words for people.
type Outcome = Result<i32, String>;

const USAGE: &str = "usage: wharf-shim [--root DIR] [--log FILE] COMMAND
  run      [-b DIR] [-d] [--pid-file FILE] [--console-socket SOCKET] [--preserve-fds N] ID
  create   [-b DIR] [--pid-file FILE] [--console-socket SOCKET] [--preserve-fds N] ID
  start    ID
  state    ID
  kill     [-a] ID [SIGNAL]
  delete   [-f] ID";

/// Runs a command; the exit code.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    let words = arguments.map(|word| word.to_string_lossy().into_owned());
    let outcome = Arguments::parse(words).and_then(|arguments| {
        let done = dispatch(&arguments);
        if let (Err(message), Some(log)) = (&done, &arguments.log) {
            note(log, message);
        }
        done
    });
    outcome.unwrap_or_else(|message| {
        eprintln!("{message}");
        1
    })
}

fn dispatch(arguments: &Arguments) -> Outcome {
    match arguments.command.as_str() {
        "run" => create::run(arguments),
        "create" => create::create(arguments),
        "start" => start::start(arguments),
        "state" => state::state(arguments),
        "kill" => kill::kill(arguments),
        "delete" => delete::delete(arguments),
        "--version" | "-v" => {
            println!(
                "wharf-shim version {}\nspec: 1.2.0",
                env!("CARGO_PKG_VERSION")
            );
            Ok(0)
        }
        _ => Err(USAGE.to_owned()),
    }
}

/// As runc's `--log`: containerd reads the reason from there.
fn note(log: &str, message: &str) {
    use std::io::Write as _;
    let line = serde_json::json!({
        "level": "error",
        "msg": message,
        "time": jiff::Timestamp::now().to_string(),
    });
    let file = std::fs::File::options().create(true).append(true).open(log);
    // The message stands on standard error too.
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
