//! An OCI runtime's command line, as runc's: the same commands, flags, answers and exit codes.

mod check;
mod container;
mod create;
mod delete;
mod devices;
mod events;
mod exec;
mod features;
mod flags;
mod foreground;
mod global;
mod kill;
mod list;
mod load;
mod log;
mod pause;
mod ps;
mod spec;
mod start;
mod state;
mod terminal;
mod update;

use std::ffi::OsString;

use flags::{Command, Said};
use global::Global;

/// What a command gives: an exit code, or words for people.
type Outcome = Result<i32, String>;

/// The OCI runtime specification that this follows.
pub(crate) const SPEC_VERSION: &str = "1.3.0";

type Verb = fn(&Global, &Said) -> Outcome;

const COMMANDS: &[(&Command, Verb)] = &[
    (&create::CREATE, create::create),
    (&delete::DELETE, delete::delete),
    (&events::EVENTS, events::events),
    (&exec::EXEC, exec::exec),
    (&features::FEATURES, features::features),
    (&kill::KILL, kill::kill),
    (&list::LIST, list::list),
    (&pause::PAUSE, pause::pause),
    (&ps::PS, ps::ps),
    (&pause::RESUME, pause::resume),
    (&create::RUN, create::run),
    (&spec::SPEC, spec::spec),
    (&start::START, start::start),
    (&state::STATE, state::state),
    (&update::UPDATE, update::update),
];

/// Runs a command; the exit code.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> i32 {
    let mut words = arguments.map(|word| word.to_string_lossy().into_owned());
    // Without a place to write to, an error is still one.
    let quiet = Global::of(&Said::default());
    let said = match Said::parse(global::FLAGS, true, &mut words) {
        Ok(said) => said,
        Err(message) => {
            println!("Incorrect Usage. {message}\n\n{}", help());
            return fail(quiet.as_ref().ok(), &message);
        }
    };
    let global = match Global::of(&said) {
        Ok(global) => global,
        Err(message) => return fail(quiet.as_ref().ok(), &message),
    };
    if said.has("version") {
        println!(
            "wharf-shim version {}\nspec: {SPEC_VERSION}",
            env!("CARGO_PKG_VERSION")
        );
        return 0;
    }
    let mut words = said.words.iter().cloned();
    let name = words.next().unwrap_or_default();
    if said.has("help") || name.is_empty() || name == "help" || name == "h" {
        println!("{}", words.next().and_then(about).unwrap_or_else(help));
        return 0;
    }
    dispatch(&global, &said, &name, &mut words)
}

fn dispatch(
    global: &Global,
    said: &Said,
    name: &str,
    words: &mut dyn Iterator<Item = String>,
) -> i32 {
    let known = COMMANDS.iter().find(|(command, _)| command.name == name);
    let Some((command, verb)) = known else {
        if matches!(name, "checkpoint" | "restore") {
            return fail(
                Some(global),
                &format!("{name} failed: checkpointing is not supported"),
            );
        }
        fail(Some(global), &format!("No help topic for '{name}'"));
        return 3;
    };
    let mut words = words.peekable();
    if matches!(words.peek().map(String::as_str), Some("--help" | "-h")) {
        println!("{}", command.help());
        return 0;
    }
    let parsed = command.parse(&mut words);
    let done = match parsed {
        Err(message) => {
            println!("Incorrect Usage: {message}\n\n{}", command.help());
            Err(message)
        }
        Ok(parsed) => Global::refuse(said)
            .and_then(|()| verb(global, &parsed))
            .map_err(|message| match name {
                "run" | "create" => format!("runc {name} failed: {message}"),
                "exec" => format!("exec failed: {message}"),
                _ => message,
            }),
    };
    done.unwrap_or_else(|message| match (fail(Some(global), &message), name) {
        (_, "exec") => 255,
        (code, _) => code,
    })
}

fn fail(global: Option<&Global>, message: &str) -> i32 {
    match global {
        Some(global) => log::error(global, message),
        None => eprintln!("{message}"),
    }
    1
}

fn about(name: String) -> Option<String> {
    let known = COMMANDS.iter().find(|(command, _)| command.name == name);
    known.map(|(command, _)| command.help())
}

fn help() -> String {
    let mut text = "NAME:\n   wharf-shim - Open Container Initiative runtime\n\nUSAGE:\n   \
                    wharf-shim [global options] command [command options] [arguments...]\n\nCOMMANDS:\n"
        .to_owned();
    for (command, _) in COMMANDS {
        text += &format!("   {:10}  {}\n", command.name, command.about);
    }
    text + "\nGLOBAL OPTIONS:\n" + &flags::options(global::FLAGS)
}
