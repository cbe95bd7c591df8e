//! `wharf pull`, and the pulling in `run` and `create`.

use wharf_client::{Client, Method, Url};
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Matches, Outcome, credentials, switch, text,
};
use crate::options::platform;
use crate::term::progress;

static FLAGS: &[Flag] = &[
    switch("all-tags", "Pull all tags of the repository").short('a'),
    switch("disable-content-trust", "").default("true").hidden(),
    text("platform", "Platform to pull, if the image has several"),
    switch("quiet", "Show no progress").short('q'),
    switch(
        "referrers",
        "Pull signatures and other artifacts about the image as well",
    ),
];

/// Pull an image
pub static COMMAND: Command = Command {
    name: "pull",
    about: "Get an image from a registry",
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    also: "wharf image pull, wharf pull",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let reference = Reference::parse_normalized(&matches.args[0])
        .map_err(|error| Exit::new(error.to_string()))?;
    let (all, quiet) = (matches.on("all-tags"), matches.on("quiet"));
    if all && !reference.is_name_only() {
        return Err(Exit::new("tag can't be used with --all-tags/-a"));
    }
    if !all && reference.is_name_only() && !quiet {
        line("Using default tag: latest")?;
    }
    let reference = if all {
        reference
    } else {
        reference.with_default_tag()
    };
    let client = context.client().await?;
    fetch(
        context,
        client,
        &reference,
        platform::wanted(matches).as_deref(),
        matches.on("referrers"),
        Show {
            quiet,
            stderr: false,
        },
    )
    .await?;
    line(&reference)
}

/// Where progress goes.
#[derive(Debug, Clone, Copy)]
pub struct Show {
    quiet: bool,
    stderr: bool,
}

impl Show {
    /// On standard error, or nowhere.
    pub fn stderr(quiet: bool) -> Show {
        Show {
            quiet,
            stderr: true,
        }
    }
}

/// Pulls an image and shows how it goes.
pub async fn pull(
    context: &Context,
    client: &Client,
    reference: &Reference,
    platform: Option<&str>,
    show: Show,
) -> Outcome {
    fetch(context, client, reference, platform, false, show).await
}

async fn fetch(
    context: &Context,
    client: &Client,
    reference: &Reference,
    platform: Option<&str>,
    referrers: bool,
    show: Show,
) -> Outcome {
    let tag = match reference.digest() {
        Some(digest) => Some(digest.to_string()),
        None => reference.tag().map(str::to_owned),
    };
    let url = Url::new(["images", "create"])
        .with("fromImage", reference.short_name())
        .maybe("tag", tag)
        .maybe("platform", platform)
        .flag("referrers", referrers);
    let headers: Vec<_> = credentials::header(context, reference.domain())
        .map(|value| ("x-registry-auth", value))
        .into_iter()
        .collect();
    let stream = client
        .stream_with_headers(Method::POST, url, &headers)
        .await?;
    if show.quiet {
        progress::discard(stream).await
    } else {
        progress::show(stream, show.stderr).await
    }
}
