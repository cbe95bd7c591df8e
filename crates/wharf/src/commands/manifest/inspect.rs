//! `wharf manifest inspect`.

use wharf_oci::Reference;

use super::entry::{Entry, list, pretty};
use super::remote::{Found, Remote};
use super::store::Store;
use super::{INSECURE_HELP, name};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch};

static FLAGS: &[Flag] = &[
    switch("insecure", INSECURE_HELP),
    switch("verbose", "Show layers and platform as well").short('v'),
];

/// Show a manifest or a list
pub(super) static COMMAND: Command = Command {
    name: "inspect",
    about: "Display an image manifest, or manifest list",
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    flags: &[FLAGS],
    arity: Arity::Between(1, 2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (verbose, insecure) = (matches.on("verbose"), matches.on("insecure"));
    let store = Store::of(context);
    if let [list, member] = matches.args.as_slice() {
        let (list, member) = (name(list)?, name(member)?);
        let missing = || Exit::new(format!("No such manifest: {member}"));
        let entry = store.get(&list, &member)?.ok_or_else(missing)?;
        return one(&entry, verbose);
    }
    let target = name(&matches.args[0])?;
    if let Some(entries) = store.list(&target)? {
        return many(&entries, &target, verbose);
    }
    let remote = Remote::reader(context, &target, insecure)?;
    match remote.find(&target).await? {
        Found::One(entry) => one(&entry, verbose),
        Found::Many(entries) => many(&entries, &target, verbose),
    }
}

fn one(entry: &Entry, verbose: bool) -> Outcome {
    match verbose {
        true => line(pretty(entry, b"\t")?),
        false => line(entry.shown()?),
    }
}

fn many(entries: &[Entry], target: &Reference, verbose: bool) -> Outcome {
    if verbose {
        return line(pretty(&entries, b"\t")?);
    }
    let (_, text) = list(entries, target).map_err(|error| {
        Exit::new(format!(
            "failed to assemble ManifestDescriptor: {}",
            error.message
        ))
    })?;
    line(text)
}
