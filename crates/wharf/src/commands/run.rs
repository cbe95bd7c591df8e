//! `wharf run`.
//!
//! Three round trips: create; then attach and wait side by side; then start. Attached before the start, no byte of
//! output is missed, and waiting before it, no quick exit.

use wharf_client::{Client, Hijacked, Url};

use super::create::{check_pull, create, with_help};
use super::wait::{Condition, Waiting};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};
use crate::options::container::{Attach, Request, request};
use crate::options::{container, health, mounts, network, resources, security};
use crate::term::pump::{Ended, Session};
use crate::term::raw::check_tty;
use crate::term::{resize, signals};

static OWN: &[Flag] = &[
    switch("detach", "Run in the background and print the ID").short('d'),
    text("detach-keys", "Keys that detach from the container"),
    switch("sig-proxy", "Pass signals on to the process").default("true"),
];

/// Flags of `run`.
pub static FLAGS: &[&[Flag]] = &[
    container::FLAGS,
    network::FLAGS,
    mounts::FLAGS,
    security::FLAGS,
    resources::FLAGS,
    health::FLAGS,
    OWN,
];

/// Create and run a new container
pub static COMMAND: Command = Command {
    name: "run",
    about: "Create a container from an image and run it",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    also: "wharf container run, wharf run",
    flags: FLAGS,
    arity: Arity::AtLeast(1),
    interspersed: false,
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let usage = |error: String| with_help(&error, "run", 125);
    check_pull(matches).map_err(usage)?;
    let detach = matches.on("detach");
    if detach && matches.given("attach") {
        return Err(Exit::new(
            "conflicting options: cannot specify both --attach and --detach",
        ));
    }
    let request = request(matches, detach, resize::size()).map_err(usage)?;
    check_tty(request.attach.stdin, request.tty)?;
    let client = context.client().await.map_err(|exit| usage(exit.message))?;
    let id = create(context, client, matches, &request)
        .await
        .map_err(|exit| failed(&exit))?;
    if !request.attach.any() {
        // As Docker does, even if the start fails: the container is there.
        line(&id)?;
        return start(client, &id).await.map_err(|exit| failed(&exit));
    }
    attached(context, client, matches, &request, &id).await
}

async fn attached(
    context: &Context,
    client: &Client,
    matches: &Matches,
    request: &Request,
    id: &str,
) -> Outcome {
    let mut caught = matches.on("sig-proxy").then(signals::Caught::all);
    let detach_keys = matches
        .maybe("detach-keys")
        .or_else(|| context.setting("detachKeys"))
        .unwrap_or_default();
    let condition = if request.auto_remove {
        Condition::Removed
    } else {
        Condition::NextExit
    };
    let (stream, waiting) = tokio::try_join!(
        connect(client, id, request.attach, detach_keys),
        Waiting::new(client, id, condition)
    )?;
    if !request.attach.stdout && !request.attach.stderr {
        line(id)?;
    }
    if let Err(exit) = start(client, id).await {
        drop(stream);
        if request.auto_remove {
            // The daemon removes it; only then may its name be used again.
            let _ = waiting.finish().await;
        }
        return Err(failed(&exit));
    }
    let session = Session {
        stdin: request.attach.stdin,
        output: request.attach.stdout || request.attach.stderr,
        tty: request.tty,
        detach_keys: detach_keys.to_owned(),
    };
    let work = async {
        if session.run(stream).await? == Ended::Detached {
            return Ok(());
        }
        if !request.attach.stdout && !request.attach.stderr {
            return Ok(());
        }
        match waiting.finish().await? {
            0 => Ok(()),
            code => Err(Exit::silent(code)),
        }
    };
    attended(client, id, request.tty, &mut caught, work).await
}

/// Does `work` while signals go on to the container and its terminal follows ours in size.
pub async fn attended(
    client: &Client,
    id: &str,
    tty: bool,
    caught: &mut Option<signals::Caught>,
    work: impl Future<Output = Outcome>,
) -> Outcome {
    let forward = async {
        match caught {
            Some(caught) => caught.forward(client, id).await,
            None => std::future::pending().await,
        }
    };
    let follow = async {
        if tty && resize::size().is_some() {
            resize::follow(client, "containers", id).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = work => ended,
        () = forward => Ok(()),
        () = follow => Ok(()),
    }
}

/// Starts a container.
pub async fn start(client: &Client, id: &str) -> Outcome {
    Ok(client.post(Url::new(["containers", id, "start"])).await?)
}

/// Connects to the streams of a container.
pub async fn connect(client: &Client, id: &str, attach: Attach, keys: &str) -> Outcome<Hijacked> {
    let url = Url::new(["containers", id, "attach"])
        .flag("stream", true)
        .flag("stdin", attach.stdin)
        .flag("stdout", attach.stdout)
        .flag("stderr", attach.stderr)
        .maybe("detachKeys", Some(keys).filter(|keys| !keys.is_empty()));
    Ok(client.hijack(url, None::<&()>).await?)
}

/// The failure of a start, with Docker's exit code for its reason.
pub fn failed(exit: &Exit) -> Exit {
    with_help(&exit.message, "run", code_of(&exit.message).unwrap_or(125))
}

/// Docker's exit code for why a program could not be started, of which its daemon says nothing but the text: 127 not found,
/// 126 not executable.
pub fn code_of(message: &str) -> Option<i32> {
    let has = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    if has(&["executable file not found", "no such file or directory"]) {
        return Some(127);
    }
    has(&["permission denied", "is a directory"]).then_some(126)
}
