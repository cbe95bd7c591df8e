//! `wharf manifest create`.

use super::remote::Remote;
use super::store::Store;
use super::{INSECURE_HELP, name, named};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch};

static FLAGS: &[Flag] = &[
    switch("amend", "Add to a list that is there").short('a'),
    switch("insecure", INSECURE_HELP),
];

/// Create a local manifest list
pub(super) static COMMAND: Command = Command {
    name: "create",
    about: "Create a local manifest list for annotating and pushing to a registry",
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    flags: &[FLAGS],
    arity: Arity::AtLeast(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let text = &matches.args[0];
    let list = named(
        text,
        &format!("error parsing name for manifest list {text}: "),
    )?;
    let store = Store::of(context);
    if store.list(&list)?.is_some() && !matches.on("amend") {
        return Err(Exit::new(
            "refusing to amend an existing manifest list with no --amend flag",
        ));
    }
    for text in &matches.args[1..] {
        let member = name(text)?;
        let entry = match store.get(&list, &member)? {
            Some(entry) => entry,
            None => {
                let remote = Remote::reader(context, &member, matches.on("insecure"))?;
                remote.image(&member).await?
            }
        };
        store.save(&list, &member, &entry)?;
    }
    line(format!("Created manifest list {list}"))
}
