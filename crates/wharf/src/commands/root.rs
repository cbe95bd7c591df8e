//! `wharf` itself: global flags, and the list of commands.

use std::path::PathBuf;

use wharf_client::{Authorities, Tls};

use super::*;
use crate::cli::context::{Context, Wanted, config_dir, line, out};
use crate::cli::{Command, Exit, Flag, Matches, Outcome, help, list, plugin, switch, text};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Flags before the command.
pub static FLAGS: &[Flag] = &[
    text(
        "config",
        "Directory of the client's configuration (default: DOCKER_CONFIG or ~/.docker)",
    ),
    text(
        "context",
        "Context that names the daemon (over DOCKER_HOST and DOCKER_CONTEXT)",
    )
    .short('c'),
    switch("debug", "Say more").short('D'),
    list(
        "host",
        "Daemon to connect to: unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST",
    )
    .short('H'),
    text(
        "log-level",
        "How much to say (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
    )
    .short('l')
    .default("info"),
    switch("tls", "Speak TLS with the daemon, whoever it is"),
    text(
        "tlscacert",
        "Certificates of the daemon's authority (default: ca.pem in DOCKER_CERT_PATH or ~/.docker)",
    ),
    text(
        "tlscert",
        "Certificate to show to the daemon (default: cert.pem there)",
    ),
    text("tlskey", "Key of the certificate (default: key.pem there)"),
    switch(
        "tlsverify",
        "Speak TLS with a daemon whose certificate is of the authority",
    ),
    switch("version", "Print the version").short('v'),
];

/// What a newcomer needs first.
static COMMON: &[&Command] = &[
    &run::COMMAND,
    &exec::COMMAND,
    &ps::COMMAND,
    &build::COMMAND,
    &pull::COMMAND,
    &push::COMMAND,
    &images::COMMAND,
    &login::LOGIN,
    &login::LOGOUT,
    &search::COMMAND,
    &version::COMMAND,
    &info::COMMAND,
];
/// Groups by object.
static GROUPS: &[&Command] = &[
    &builder::COMMAND,
    &container::COMMAND,
    &context::COMMAND,
    &image::COMMAND,
    &manifest::COMMAND,
    &network::COMMAND,
    &system::COMMAND,
    &volume::COMMAND,
];
/// All others.
static OTHERS: &[&Command] = &[
    &attach::COMMAND,
    &commit::COMMAND,
    &completion::COMMAND,
    &cp::COMMAND,
    &create::COMMAND,
    &daemon::COMMAND,
    &diff::COMMAND,
    &events::COMMAND,
    &export::COMMAND,
    &history::COMMAND,
    &import::COMMAND,
    &inspect::COMMAND,
    &kill::COMMAND,
    &load::COMMAND,
    &logs::COMMAND,
    &pause::COMMAND,
    &port::COMMAND,
    &registry::COMMAND,
    &rename::COMMAND,
    &restart::COMMAND,
    &rm::COMMAND,
    &rmi::COMMAND,
    &save::COMMAND,
    &start::COMMAND,
    &stats::COMMAND,
    &stop::COMMAND,
    &tag::COMMAND,
    &top::COMMAND,
    &pause::UNPAUSE,
    &update::COMMAND,
    &wait::COMMAND,
];

/// All commands, in the order of the help.
pub fn commands() -> impl Iterator<Item = &'static Command> {
    COMMON.iter().chain(GROUPS).chain(OTHERS).copied()
}

fn find(word: &str) -> Option<&'static Command> {
    commands().find(|command| command.name == word || command.aliases.contains(&word))
}

/// Runs a whole command line.
pub async fn run(words: &[String]) -> Outcome {
    let matches = Matches::parse(&[FLAGS], words, false).map_err(|error| {
        let usage = "Usage:  wharf [OPTIONS] COMMAND [ARG...]";
        Exit::with_code(
            125,
            format!("{error}\n\n{usage}\n\nRun 'wharf --help' for more information"),
        )
    })?;
    if matches.on("version") {
        return line(format_args!("Wharf version {VERSION}, build {}", build()));
    }
    let Some(word) = matches.args.first().filter(|_| !matches.help) else {
        return out(&usage());
    };
    let rest = &matches.args[1..];
    if word == "help" {
        return help_for(rest);
    }
    let host = match matches.list("host") {
        [] => None,
        [host] => Some(host.clone()),
        _ => return Err(Exit::new("specify only one -H")),
    };
    let context = Context::new(Wanted {
        host,
        context: matches.maybe("context").map(str::to_owned),
        config: matches.maybe("config").map(str::to_owned),
        tls: tls(&matches),
    })?;
    if let Some((name, words)) = builder::forwarded(&context, &matches.args)
        && let Some(program) = plugin::find(&name, &context)
    {
        context.wake().await;
        let flags = passed_on(&matches);
        return Err(plugin::become_it(&program, &flags, &words, &context));
    }
    let Some(command) = find(word) else {
        if let Some(program) = plugin::find(word, &context) {
            context.wake().await;
            let flags = passed_on(&matches);
            return Err(plugin::become_it(&program, &flags, &matches.args, &context));
        }
        return Err(Exit::new(format!(
            "wharf: unknown command: wharf {word}\n\nRun 'wharf --help' for more information"
        )));
    };
    command
        .dispatch(&context, &format!("wharf {}", command.name), rest)
        .await
}

/// Docker's rules: who says anything of verifying means TLS; a file that nobody named and that is not there is none.
fn tls(matches: &Matches) -> Option<Tls> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let asked = matches.on("tlsverify");
    let verify = match matches.given("tlsverify") {
        true => asked,
        false => variable("DOCKER_TLS_VERIFY").is_some(),
    };
    let on = matches.on("tls") || variable("DOCKER_TLS").is_some();
    if !on && !verify && !matches.given("tlsverify") {
        return None;
    }
    let folder = variable("DOCKER_CERT_PATH")
        .map_or_else(|| config_dir(matches.maybe("config")), PathBuf::from);
    let file = |flag: &str, name: &str| match matches.maybe(flag) {
        Some(path) => (PathBuf::from(path), true),
        None => (folder.join(name), false),
    };
    let (authorities, _) = file("tlscacert", "ca.pem");
    let (certificate, named) = file("tlscert", "cert.pem");
    let (key, key_named) = file("tlskey", "key.pem");
    let there = named || key_named || (certificate.exists() && key.exists());
    Some(Tls {
        authorities: match verify {
            true => Authorities::File(authorities),
            false => Authorities::Any,
        },
        identity: there.then_some((certificate, key)),
    })
}

/// The flags before the command that a plugin is to know, as it knows them itself.
fn passed_on(matches: &Matches) -> Vec<String> {
    let mut flags = Vec::new();
    for name in ["debug", "tls", "tlsverify"] {
        if matches.given(name) {
            flags.push(format!("--{name}={}", matches.on(name)));
        }
    }
    for name in ["log-level", "tlscacert", "tlscert", "tlskey"] {
        if matches.given(name) {
            flags.push(format!("--{name}={}", matches.text(name)));
        }
    }
    flags
}

fn help_for(words: &[String]) -> Outcome {
    let Some(word) = words.first() else {
        return out(&usage());
    };
    let mut command =
        find(word).ok_or_else(|| Exit::new(format!("unknown help topic: {}", words.join(" "))))?;
    let mut path = format!("wharf {}", command.name);
    for word in &words[1..] {
        command = command
            .find(word)
            .ok_or_else(|| Exit::new(format!("unknown help topic: {}", words.join(" "))))?;
        path = format!("{path} {}", command.name);
    }
    out(&help::render(command, &path))
}

/// The commit this was built from, if the build said so.
pub fn build() -> &'static str {
    match crate::COMMIT {
        "" => "unknown",
        commit => commit,
    }
}

fn usage() -> String {
    let mut text = String::from("Usage:  wharf [OPTIONS] COMMAND\n\nRuns containers.\n");
    let lists: [(&str, &[&Command]); 3] = [
        ("Common Commands", COMMON),
        ("Management Commands", GROUPS),
        ("Commands", OTHERS),
    ];
    for (title, commands) in lists {
        text.push_str(&format!("\n{title}:\n{}", help::commands(commands)));
    }
    text.push_str(&format!("\nGlobal Options:\n{}", help::flags(&[FLAGS])));
    text.push_str("\nRun 'wharf COMMAND --help' for more information on a command.\n");
    text
}
