//! `wharf kill`.

use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Flag, Matches, Outcome, text};

static FLAGS: &[Flag] = &[text("signal", "Signal to send").short('s')];

/// Kill containers
pub static COMMAND: Command = Command {
    name: "kill",
    about: "Send a signal to running containers, SIGKILL unless said otherwise",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container kill, wharf kill",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let signal = matches.maybe("signal");
    each(&matches.args, |name| async move {
        client
            .post(Url::new(["containers", name, "kill"]).maybe("signal", signal))
            .await?;
        line(name)
    })
    .await
}
