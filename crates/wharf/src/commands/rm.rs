//! `wharf rm`.

use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch};

static FLAGS: &[Flag] = &[
    switch("force", "Kill it first if it runs").short('f'),
    switch("link", "Remove the link, not the container").short('l'),
    switch("volumes", "Remove its anonymous volumes too").short('v'),
];

/// Remove containers
pub static COMMAND: Command = Command {
    name: "rm",
    aliases: &["remove"],
    about: "Remove containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container rm, wharf container remove, wharf rm",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let force = matches.on("force");
    each(&matches.args, |name| async move {
        let name = name.trim_start_matches('/');
        if name.is_empty() {
            return Err(Exit::new("container name cannot be empty"));
        }
        let url = Url::new(["containers", name])
            .flag("v", matches.on("volumes"))
            .flag("link", matches.on("link"))
            .flag("force", force);
        match client.bytes(Method::DELETE, url, None::<&()>).await {
            // With -f, one that is not there is as good as removed.
            Err(error) if force && error.is_not_found() => {
                eprintln!("{error}");
                Ok(())
            }
            Err(error) => Err(error.into()),
            Ok(_) => line(name),
        }
    })
    .await
}
