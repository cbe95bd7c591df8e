//! `wharf image send`.
//!
//! The daemon serves its images on a port of loopback, `ssh -R` makes that a port of the other machine's loopback, and the
//! engine there pulls from it: what it has already is not sent.

use std::io::Write as _;
use std::process::{Command as Program, Stdio};

use wharf_client::Url;
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};

static FLAGS: &[Flag] = &[
    switch("quiet", "Show no progress").short('q'),
    text("ssh", "Program to reach the host with").default("ssh"),
];

/// Send images to another machine
pub static COMMAND: Command = Command {
    name: "send",
    about: "Send images to the engine of another machine, by ssh; only layers that it lacks",
    usage: "[OPTIONS] [USER@]HOST IMAGE [IMAGE...]",
    flags: &[FLAGS],
    arity: Arity::AtLeast(2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// Ports that the other machine's kernel gives nobody by itself, as a rule.
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 12_000;

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (host, images) = (&matches.args[0], &matches.args[1..]);
    // ssh takes it for an option.
    if host.starts_with('-') {
        return Err(Exit::new(format!("invalid host: {host}")));
    }
    if !context.host().starts_with("unix://") {
        return Err(Exit::new(
            "images are sent from a daemon on this machine: its socket is a Unix socket",
        ));
    }
    let mut names = Vec::new();
    for image in images {
        names.push(known(context, image).await?);
    }
    let (addr, mut serving) = super::serve_local::open(context, "127.0.0.1:0").await?;
    let port = FIRST_PORT + random(PORTS);
    let script = script(&names, port, matches.on("quiet"));
    let (ssh, host) = (matches.text("ssh").to_owned(), host.clone());
    let forward = format!("127.0.0.1:{port}:{addr}");
    let sending = tokio::task::spawn_blocking(move || send(&ssh, &host, &forward, &script));
    tokio::pin!(sending);
    loop {
        tokio::select! {
            sent = &mut sending => {
                return sent.unwrap_or_else(|error| Err(Exit::new(error.to_string())));
            }
            // Signs of life.
            beat = serving.chunk() => {
                if beat?.is_none() {
                    return Err(Exit::new("the daemon does not serve any more"));
                }
            }
        }
    }
}

/// The name of an image that is here.
async fn known(context: &Context, text: &str) -> Outcome<Reference> {
    let name = Reference::parse_normalized(text).map_err(|error| Exit::new(error.to_string()))?;
    if name.digest().is_some() {
        return Err(Exit::new(format!("{text}: images are sent by a tag")));
    }
    let name = name.with_default_tag();
    let client = context.client().await?;
    let url = Url::new(["images", &name.to_string(), "json"]);
    client.get::<serde_json::Value>(url).await?;
    Ok(name)
}

/// A number below `limit` that others do not have at the same time.
fn random(limit: u16) -> u16 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(std::process::id());
    u16::try_from(random % u64::from(limit)).unwrap_or_default()
}

/// What the other machine's shell does.
fn script(names: &[Reference], port: u16, quiet: bool) -> String {
    let mut script = "set -e\nengine=$(command -v wharf || command -v docker) || { echo 'neither wharf nor docker is on this machine' >&2; exit 127; }\n".to_owned();
    let quietly = if quiet { " >/dev/null" } else { "" };
    for name in names {
        let tag = name.tag().unwrap_or("latest");
        let here = format!("127.0.0.1:{port}/{}:{tag}", name.as_repository());
        // No name has anything in it that a shell takes for itself. A short one may be that of another registry.
        let (there, short) = (name.to_string(), name.familiar());
        script.push_str(&format!(
            "\"$engine\" pull '{here}'{quietly}\n\"$engine\" tag '{here}' '{there}'\n\"$engine\" rmi '{here}' >/dev/null\necho 'Sent {short}'\n"
        ));
    }
    script
}

fn send(ssh: &str, host: &str, forward: &str, script: &str) -> Outcome {
    let mut child = Program::new(ssh)
        .args([
            "-o",
            "ExitOnForwardFailure=yes",
            "-R",
            forward,
            host,
            "sh",
            "-s",
        ])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| Exit::new(format!("{ssh}: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read says why by its status.
        let _ = stdin.write_all(script.as_bytes());
    }
    let status = child.wait()?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Exit::with_code(code, format!("{ssh} {host}: {status}"))),
        None => Err(Exit::new(format!("{ssh} {host}: {status}"))),
    }
}
