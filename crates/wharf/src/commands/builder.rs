//! `wharf builder …`, and which builds are left to a plugin.
//!
//! `wharf build` speaks to BuildKit's solver inside the daemon, so a build needs no plugin as one with Docker's old builder
//! does. It has the flags of that builder; those of buildx (`--secret`, `--output`, `--cache-to`, …) are buildx's, if it is
//! installed. Who wants buildx in any case says so, as to Docker: `DOCKER_BUILDKIT=1`, or `aliases` in `config.json`.

use super::*;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::number::parse_bool;
use crate::cli::{Command, Context, Matches};
use crate::format::json;

/// Manage builds
pub static COMMAND: Command = Command {
    name: "builder",
    about: "Manage builds",
    commands: &[&build::COMMAND, &prune::BUILDS],
    ..EMPTY
};

/// The plugin that this command line is for instead, and what it is told; nothing for what is done here.
pub fn forwarded(context: &Context, words: &[String]) -> Option<(String, Vec<String>)> {
    let wanted = crate::cli::context::variable("DOCKER_BUILDKIT");
    let wanted = wanted.and_then(|text| parse_bool(&text).ok());
    if wanted == Some(false) {
        return None;
    }
    let alias = Some(json::text(&context.config["aliases"], "builder"));
    let alias = alias.filter(|alias| !alias.is_empty());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (verb, rest) = match words.as_slice() {
        ["build", rest @ ..] | ["image" | "builder", "build", rest @ ..] => (Some("build"), rest),
        ["builder", rest @ ..] if alias.is_some() => (None, rest),
        _ => return None,
    };
    let rest: Vec<String> = rest.iter().map(|word| (*word).to_owned()).collect();
    let is_ours = || !has_unknown_flag(&rest);
    if alias.is_none() && wanted.is_none() && is_ours() {
        return None;
    }
    let plugin = alias.unwrap_or("buildx").to_owned();
    let mut told = vec![plugin.clone()];
    told.extend(verb.map(str::to_owned));
    told.extend(rest);
    Some((plugin, told))
}

fn has_unknown_flag(words: &[String]) -> bool {
    let parsed = Matches::parse(build::COMMAND.flags, words, true);
    parsed.is_err_and(|error| error.starts_with("unknown "))
}
