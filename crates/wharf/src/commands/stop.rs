//! `wharf stop`.

use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{Arity, Command, Context, Flag, Kind, Matches, Outcome, flag, text};

/// Flags of `stop` and `restart`.
pub static FLAGS: &[Flag] = &[
    text("signal", "Signal to send").short('s'),
    flag("timeout", Kind::Int, "Seconds to wait before it is killed").short('t'),
    flag("time", Kind::Int, "").same_as("timeout"),
];

/// Stop containers
pub static COMMAND: Command = Command {
    name: "stop",
    about: "Stop running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container stop, wharf stop",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches, "stop"))),
    ..EMPTY
};

/// Stops or restarts all of them at the same time, and names them in order.
pub async fn run(context: &Context, matches: &Matches, verb: &'static str) -> Outcome {
    let client = context.client().await?;
    let calls = matches.args.iter().map(|name| {
        let url = Url::new(["containers", name, verb])
            .maybe("signal", matches.maybe("signal"))
            .maybe(
                "t",
                matches.given("timeout").then(|| matches.int("timeout")),
            );
        client.post(url)
    });
    let mut answers = futures_util::future::join_all(calls).await.into_iter();
    each(&matches.args, |name| {
        let answer = answers.next();
        async move {
            answer.transpose()?;
            line(name)
        }
    })
    .await
}
