//! `wharf registry serve-local`.

use serde_json::Value;
use wharf_client::{BodyStream, Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Command, Context, Exit, Flag, Matches, Outcome, text};

static FLAGS: &[Flag] =
    &[text("addr", "Address for the daemon to listen on, HOST:PORT").default("127.0.0.1:5000")];

/// Serve the daemon's images
pub static COMMAND: Command = Command {
    name: "serve-local",
    about: "Serve the daemon's images as a registry, read-only, until it is interrupted",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let (addr, mut stream) = open(context, matches.text("addr")).await?;
    line(format!(
        "Serving the images of {} on {addr}",
        context.host()
    ))?;
    while stream.chunk().await?.is_some() {}
    Err(Exit::new("the daemon does not serve any more"))
}

/// Has the daemon serve its images; where it does so, and what it does so as long as it is there.
///
/// # Errors
/// The daemon's.
pub(super) async fn open(context: &Context, addr: &str) -> Outcome<(String, BodyStream)> {
    let client = context.client().await?;
    let url = Url::new(["wharf", "registry"]).with("addr", addr);
    let mut stream = client.stream(Method::POST, url, None::<&()>).await?;
    let first: Option<Value> = stream.next().await?;
    let addr = first.as_ref().and_then(|first| first["Addr"].as_str());
    let addr = addr.ok_or_else(|| Exit::new("the daemon does not say where it serves"))?;
    Ok((addr.to_owned(), stream))
}
