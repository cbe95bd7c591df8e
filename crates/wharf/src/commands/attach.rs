//! `wharf attach`.

use serde_json::Value;
use wharf_client::Url;

use super::run::{attended, connect};
use super::wait::{Condition, Waiting};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};
use crate::format::json;
use crate::options::container::Attach;
use crate::term::pump::{Ended, Session};
use crate::term::raw::check_tty;
use crate::term::signals;

static FLAGS: &[Flag] = &[
    text("detach-keys", "Keys that detach from the container"),
    switch("no-stdin", "Do not connect standard input"),
    switch("sig-proxy", "Pass signals on to the process").default("true"),
];

/// Attach to a container
pub static COMMAND: Command = Command {
    name: "attach",
    about: "Connect to the input and output of a running container",
    usage: "[OPTIONS] CONTAINER",
    also: "wharf container attach, wharf attach",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let inspect: Value = client
        .get(Url::new(["containers", &matches.args[0], "json"]))
        .await?;
    let (id, state) = (json::text(&inspect, "Id"), &inspect["State"]);
    check_state(state)?;
    let tty = json::on(&inspect["Config"], "Tty");
    let stdin = !matches.on("no-stdin") && json::on(&inspect["Config"], "OpenStdin");
    check_tty(stdin, tty)?;
    let keys = matches
        .maybe("detach-keys")
        .or_else(|| context.setting("detachKeys"))
        .unwrap_or_default();
    let mut caught = (matches.on("sig-proxy") && !tty).then(signals::Caught::all);
    let attach = Attach {
        stdin,
        stdout: true,
        stderr: true,
    };
    let (stream, waiting) = tokio::try_join!(
        connect(client, id, attach, keys),
        Waiting::new(client, id, Condition::NotRunning)
    )?;
    let session = Session {
        stdin,
        output: true,
        tty,
        detach_keys: keys.to_owned(),
    };
    let work = async {
        if session.run(stream).await? == Ended::Detached {
            return Err(Exit::new("read escape sequence"));
        }
        match waiting.finish().await? {
            0 => Ok(()),
            code => Err(Exit::silent(code)),
        }
    };
    attended(client, id, tty, &mut caught, work).await
}

fn check_state(state: &Value) -> Outcome {
    if !json::on(state, "Running") {
        return Err(Exit::new(
            "cannot attach to a stopped container, start it first",
        ));
    }
    if json::on(state, "Paused") {
        return Err(Exit::new(
            "cannot attach to a paused container, unpause it first",
        ));
    }
    if json::on(state, "Restarting") {
        return Err(Exit::new(
            "cannot attach to a restarting container, wait until it is running",
        ));
    }
    Ok(())
}
