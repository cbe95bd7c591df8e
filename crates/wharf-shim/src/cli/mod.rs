//! An OCI runtime's command line, as runc's: the same commands, flags, answers and exit codes.

mod check;
mod checkpoint;
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
mod group;
mod kill;
mod list;
mod load;
mod log;
mod notify;
mod pause;
mod ps;
mod spec;
mod start;
mod state;
mod terminal;
mod update;
mod wrong;

use std::ffi::OsString;

use flags::{Command, Said};
use global::Global;
use wharf_sys::words::plain;

/// What a command gives: an exit code, or words for people.
type Outcome = Result<i32, String>;

/// The OCI runtime specification that this follows.
pub(crate) const SPEC_VERSION: &str = "1.3.0";

type Verb = fn(&Global, &Said) -> Outcome;

const COMMANDS: &[(&Command, Verb)] = &[
    (&checkpoint::CHECKPOINT, checkpoint::checkpoint),
    (&create::CREATE, create::create),
    (&delete::DELETE, delete::delete),
    (&events::EVENTS, events::events),
    (&exec::EXEC, exec::exec),
    (&features::FEATURES, features::features),
    (&kill::KILL, kill::kill),
    (&list::LIST, list::list),
    (&pause::PAUSE, pause::pause),
    (&ps::PS, ps::ps),
    (&checkpoint::RESTORE, checkpoint::restore),
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
            say(&format!("Incorrect Usage. {message}\n\n{}\n", help()));
            return fail(quiet.as_ref().ok(), &message);
        }
    };
    let global = match Global::of(&said) {
        Ok(global) => global,
        Err(message) => return fail(quiet.as_ref().ok(), &message),
    };
    if said.has("version") {
        let version = env!("CARGO_PKG_VERSION");
        let commit = option_env!("WHARF_COMMIT").filter(|commit| !commit.is_empty());
        let commit = commit.unwrap_or("unknown");
        say(&format!(
            "{} version {version}\ncommit: {commit}\nspec: {SPEC_VERSION}\n",
            program()
        ));
        return 0;
    }
    let mut words = said.words.iter().cloned();
    let name = words.next().unwrap_or_default();
    if said.has("help") || name.is_empty() || name == "help" || name == "h" {
        return help_of(&global, words.next());
    }
    if let Err(message) = log::open(&global) {
        return fail(quiet.as_ref().ok(), &message);
    }
    dispatch(&global, &name, &mut words)
}

/// What we were started as, for texts about ourselves.
fn program() -> String {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name();
    name.map_or_else(
        || "wharf-shim".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Writes to standard output. Who has stopped reading misses nothing.
fn say(text: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn help_of(global: &Global, name: Option<String>) -> i32 {
    let Some(name) = name else {
        say(&help());
        return 0;
    };
    let known = COMMANDS.iter().find(|(command, _)| command.name == name);
    match known {
        Some((command, _)) => say(&format!("{}\n", command.help())),
        None => return no_topic(global, &name),
    }
    0
}

fn no_topic(global: &Global, name: &str) -> i32 {
    fail(Some(global), &format!("No help topic for '{name}'"));
    3
}

fn dispatch(global: &Global, name: &str, words: &mut dyn Iterator<Item = String>) -> i32 {
    let known = COMMANDS.iter().find(|(command, _)| command.name == name);
    let Some((command, verb)) = known else {
        return no_topic(global, name);
    };
    let parsed = match Said::parse(command.flags, command.stops, words) {
        Ok(parsed) if parsed.has("help") => {
            say(&format!("{}\n", command.help()));
            return 0;
        }
        Ok(parsed) => parsed,
        Err(message) => {
            say(&format!(
                "Incorrect Usage: {message}\n\n{}\n",
                command.help()
            ));
            return fail(Some(global), &message);
        }
    };
    if let Err(message) = command.count(&parsed) {
        say(&format!("Incorrect Usage.\n\n{}\n", command.help()));
        return fail(Some(global), &message);
    }
    // What these start is a copy of us for a while, and must not get at our file by that.
    let sealed = match name {
        "create" | "run" | "exec" => wharf_sys::sealed::run_sealed(),
        _ => Ok(()),
    };
    let sealed = sealed.map_err(|error| format!("unable to seal our own program: {error}"));
    let done = sealed
        .and_then(|()| verb(global, &parsed))
        .map_err(|message| match name {
            "run" | "create" => format!("runc {name} failed: {message}"),
            "exec" => format!("exec failed: {message}"),
            _ => message,
        });
    done.unwrap_or_else(|message| match (fail(Some(global), &message), name) {
        (_, "exec") => 255,
        (code, _) => code,
    })
}

fn fail(global: Option<&Global>, message: &str) -> i32 {
    match global {
        Some(global) => log::error(global, &plain(message)),
        None => eprintln!("{}", plain(message)),
    }
    1
}

fn help() -> String {
    let program = program();
    let mut text = format!(
        "NAME:\n   {program} - Open Container Initiative runtime\n\nUSAGE:\n   \
         {program} [global options] command [command options] [arguments...]\n\nCOMMANDS:\n"
    );
    for (command, _) in COMMANDS {
        text += &format!("   {:10}  {}\n", command.name, command.about);
    }
    text + "\nGLOBAL OPTIONS:\n" + &flags::options(global::FLAGS)
}
