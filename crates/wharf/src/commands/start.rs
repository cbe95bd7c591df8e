//! `wharf start`.

use serde_json::Value;
use wharf_client::Url;

use super::run::{attended, connect, start};
use super::wait::{Condition, Waiting};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};
use crate::format::json;
use crate::options::container::Attach;
use crate::term::pump::{Ended, Session};
use crate::term::raw::check_tty;
use crate::term::signals;

static FLAGS: &[Flag] = &[
    switch("attach", "Show its output and pass signals on").short('a'),
    text("checkpoint", "").hidden(),
    text("checkpoint-dir", "").hidden(),
    text("detach-keys", "Keys that detach from the container"),
    switch("interactive", "Connect standard input").short('i'),
];

/// Start containers
pub static COMMAND: Command = Command {
    name: "start",
    about: "Start stopped containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    also: "wharf container start, wharf start",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let names = &matches.args;
    if matches.on("attach") || matches.on("interactive") {
        if names.len() > 1 {
            return Err(Exit::new(
                "you cannot start and attach multiple containers at once",
            ));
        }
        return attached(context, matches, &names[0]).await;
    }
    let client = context.client().await?;
    let mut failures = Vec::new();
    let mut failed = Vec::new();
    for name in names {
        match start(client, name).await {
            Ok(()) => line(name)?,
            Err(exit) => {
                failures.push(exit.message);
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let text = failures.join("\n");
    Err(Exit::new(format!(
        "{text}\nfailed to start containers: {}",
        failed.join(", ")
    )))
}

async fn attached(context: &Context, matches: &Matches, name: &str) -> Outcome {
    let client = context.client().await?;
    let inspect: Value = client.get(Url::new(["containers", name, "json"])).await?;
    let id = json::text(&inspect, "Id");
    let tty = json::on(&inspect["Config"], "Tty");
    let stdin = matches.on("interactive") && json::on(&inspect["Config"], "OpenStdin");
    check_tty(stdin, tty)?;
    let keys = matches
        .maybe("detach-keys")
        .or_else(|| context.setting("detachKeys"))
        .unwrap_or_default();
    let mut caught = Some(signals::Caught::all());
    let attach = Attach {
        stdin,
        stdout: true,
        stderr: true,
    };
    let removed = json::on(&inspect["HostConfig"], "AutoRemove");
    let condition = if removed {
        Condition::Removed
    } else {
        Condition::NextExit
    };
    let (stream, waiting) = tokio::try_join!(
        connect(client, id, attach, keys),
        Waiting::new(client, id, condition)
    )?;
    start(client, id).await?;
    let session = Session {
        stdin,
        output: true,
        tty,
        detach_keys: keys.to_owned(),
    };
    let work = async {
        if session.run(stream).await? == Ended::Detached {
            return Ok(());
        }
        match waiting.finish().await? {
            0 => Ok(()),
            code => Err(Exit::silent(code)),
        }
    };
    attended(client, id, tty, &mut caught, work).await
}
