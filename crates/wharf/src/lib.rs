//! `wharf`: the command line, and the daemon's program.
//!
//! The command line starts in about a millisecond and speaks to the daemon over its public API only. Where the
//! daemon is wanted (`wharf daemon`), [`daemon`] takes over with a runtime of its own.
//!
//! A library only so that its tests can call it; the program is [`main`].

pub mod autostart;
pub mod cli;
pub mod commands;
pub mod daemon;
pub mod format;
pub mod options;
pub mod registry;
pub mod term;

use std::io::Write;

/// The commit that this program was built from, by its short name; empty if the build was not told (see Makefile).
const COMMIT: &str = match option_env!("WHARF_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// When that was committed, by RFC 3339; empty if the build was not told.
const COMMIT_TIME: &str = match option_env!("WHARF_COMMIT_TIME") {
    Some(time) => time,
    None => "",
};

/// The program: runs the command line of this process and exits.
pub fn main() -> ! {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // Daemon and registry bring their own runtimes, so they leave before one is made here.
    let started = commands::daemon::start_if_asked(&words)
        .or_else(|| commands::registry::start_if_asked(&words));
    if let Some(code) = started {
        std::process::exit(code);
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => std::process::exit(finish(cli::Exit::new(format!("starting: {error}")))),
    };
    let code = runtime.block_on(run(&words));
    term::raw::restore();
    // Neither threads that read standard input nor the runtime's end are waited for.
    std::process::exit(code);
}

async fn run(words: &[String]) -> i32 {
    match commands::root::run(words).await {
        Ok(()) => 0,
        Err(exit) => finish(exit),
    }
}

fn finish(exit: cli::Exit) -> i32 {
    term::raw::restore();
    if !exit.message.is_empty() {
        // Standard error may be closed; the exit code still tells.
        let message = wharf_sys::words::plain(&exit.message);
        let _ = writeln!(std::io::stderr(), "{message}");
    }
    exit.code
}
