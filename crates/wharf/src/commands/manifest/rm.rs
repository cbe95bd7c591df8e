//! `wharf manifest rm`.

use super::name;
use super::store::Store;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};

/// Remove local lists
pub(super) static COMMAND: Command = Command {
    name: "rm",
    about: "Delete one or more manifest lists from local storage",
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let store = Store::of(context);
    let mut faults = Vec::new();
    for text in &matches.args {
        if let Err(error) = remove(&store, text) {
            faults.push(error.message);
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Exit::new(faults.join("\n"))),
    }
}

fn remove(store: &Store, text: &str) -> Outcome {
    let list = name(text)?;
    match store.list(&list)? {
        Some(_) => store.remove(&list),
        None => Err(Exit::new(format!("No such manifest: {list}"))),
    }
}
