//! `wharf image tags`.

use wharf_client::{Method, Url};
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome, credentials};

/// List the tags of a repository
pub static COMMAND: Command = Command {
    name: "tags",
    about: "List the tags that a repository has in its registry",
    usage: "NAME",
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    for tag in remote(context, &matches.args[0]).await? {
        out(&format!("{tag}\n"))?;
    }
    Ok(())
}

/// The tags of a repository in its registry.
///
/// # Errors
/// Those of the daemon.
pub async fn remote(context: &Context, name: &str) -> Outcome<Vec<String>> {
    let reference =
        Reference::parse_normalized(name).map_err(|error| Exit::new(error.to_string()))?;
    let headers: Vec<_> = credentials::header(context, reference.domain())
        .map(|value| ("x-registry-auth", value))
        .into_iter()
        .collect();
    let url = Url::new(["wharf", "tags", &reference.short_name()]);
    let client = context.client().await?;
    let mut answer = client
        .stream_with_headers(Method::GET, url, &headers)
        .await?;
    let mut body = Vec::new();
    while let Some(bytes) = answer.chunk().await? {
        body.extend_from_slice(&bytes);
    }
    serde_json::from_slice(&body).map_err(|error| Exit::new(error.to_string()))
}
