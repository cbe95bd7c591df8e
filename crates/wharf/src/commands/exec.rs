//! `wharf exec`.

use serde_json::{Value, json};
use wharf_client::{Client, Method, Url};

use super::run::code_of;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, list, switch, text,
};
use crate::format::json as read;
use crate::options::{checks, env};
use crate::term::pump::{Ended, Session};
use crate::term::raw::{self, check_tty};
use crate::term::{resize, signals};

static FLAGS: &[Flag] = &[
    switch("detach", "Run in the background").short('d'),
    text("detach-keys", "Keys that detach from the command"),
    flag(
        "env",
        Kind::Checked("list", checks::env),
        "Set a variable: NAME=VALUE, or NAME to take it over",
    )
    .short('e'),
    list("env-file", "Read variables from a file"),
    switch("interactive", "Keep standard input open").short('i'),
    switch("privileged", "Give the command all privileges"),
    switch("tty", "Give it a terminal").short('t'),
    text("user", "User to run as: <name|uid>[:<group|gid>]").short('u'),
    text("workdir", "Directory to start in").short('w'),
];

/// Run a command in a container
pub static COMMAND: Command = Command {
    name: "exec",
    about: "Run a command in a running container",
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    also: "wharf container exec, wharf exec",
    flags: &[FLAGS],
    arity: Arity::AtLeast(2),
    interspersed: false,
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (detach, tty) = (matches.on("detach"), matches.on("tty"));
    let stdin = matches.on("interactive") && !detach;
    check_tty(stdin, tty)?;
    let keys = matches
        .maybe("detach-keys")
        .or_else(|| context.setting("detachKeys"))
        .unwrap_or_default();
    let body = request(matches, stdin, keys)?;
    let client = context.client().await?;
    let url = Url::new(["containers", &matches.args[0], "exec"]);
    let answer: Value = client.json(Method::POST, url, Some(&body)).await?;
    let id = read::text(&answer, "Id");
    if id.is_empty() {
        return Err(Exit::new("exec ID empty"));
    }
    let mut start = json!({"Detach": detach, "Tty": tty});
    if let (true, Some((rows, columns))) = (tty, resize::size()) {
        start["ConsoleSize"] = json!([rows, columns]);
    }
    let url = Url::new(["exec", id, "start"]);
    if detach {
        client.bytes(Method::POST, url, Some(&start)).await?;
        return Ok(());
    }
    let stream = client.hijack(url, Some(&start)).await.map_err(|error| {
        let exit = Exit::from(error);
        Exit::with_code(code_of(&exit.message).unwrap_or(1), exit.message)
    })?;
    let session = Session {
        stdin,
        output: true,
        tty,
        detach_keys: keys.to_owned(),
    };
    let follow = async {
        if tty && resize::size().is_some() {
            resize::follow(client, "exec", id).await;
        }
        std::future::pending::<()>().await;
    };
    // A terminal in raw mode must be put back before a signal ends the process.
    let killed = async {
        if tty && stdin {
            return signals::end().await;
        }
        std::future::pending().await
    };
    tokio::select! {
        ended = session.run(stream) => {
            if ended? == Ended::Detached {
                return Err(Exit::new("read escape sequence"));
            }
        }
        () = follow => {}
        number = killed => {
            raw::restore();
            return Err(Exit::silent(128 + number));
        }
    }
    exit_code(client, id).await
}

fn request(matches: &Matches, stdin: bool, keys: &str) -> Result<Value, String> {
    let mut variables = Vec::new();
    for file in matches.list("env-file") {
        variables.extend(env::read_file(file, true)?);
    }
    variables.extend_from_slice(matches.list("env"));
    let attach = !matches.on("detach");
    let mut body = json!({
        "User": matches.text("user"),
        "Privileged": matches.on("privileged"),
        "Tty": matches.on("tty"),
        "AttachStdin": stdin,
        "AttachStdout": attach,
        "AttachStderr": attach,
        "DetachKeys": keys,
        "Env": variables,
        "WorkingDir": matches.text("workdir"),
        "Cmd": matches.args[1..],
    });
    if let (true, Some((rows, columns))) = (matches.on("tty"), resize::size()) {
        body["ConsoleSize"] = json!([rows, columns]);
    }
    Ok(body)
}

async fn exit_code(client: &Client, id: &str) -> Outcome {
    let inspect: Value = client.get(Url::new(["exec", id, "json"])).await?;
    match read::int(&inspect, "ExitCode") as i32 {
        0 => Ok(()),
        code => Err(Exit::silent(code)),
    }
}
