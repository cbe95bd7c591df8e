//! `wharf push`.

use wharf_client::{Method, Url};
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Matches, Outcome, credentials, switch, text,
};
use crate::options::platform;
use crate::term::progress;

static FLAGS: &[Flag] = &[
    switch("all-tags", "Push all tags of the repository").short('a'),
    switch("disable-content-trust", "").default("true").hidden(),
    text("platform", "Push only if the image has this platform"),
    switch("quiet", "Show no progress").short('q'),
    switch(
        "referrers",
        "Push artifacts about the image as well that were pulled with it",
    ),
];

/// Push an image
pub static COMMAND: Command = Command {
    name: "push",
    about: "Put an image into a registry",
    usage: "[OPTIONS] NAME[:TAG]",
    also: "wharf image push, wharf push",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let invalid = |error: wharf_oci::ReferenceError| Exit::new(error.to_string());
    let reference = Reference::parse_normalized(&matches.args[0]).map_err(invalid)?;
    let (all, quiet) = (matches.on("all-tags"), matches.on("quiet"));
    if all && !reference.is_name_only() {
        return Err(Exit::new("tag can't be used with --all-tags/-a"));
    }
    if reference.digest().is_some() {
        return Err(Exit::new("cannot push a digest reference"));
    }
    let reference = match all {
        true => reference,
        false => {
            if reference.is_name_only() && !quiet {
                line("Using default tag: latest")?;
            }
            reference.with_default_tag()
        }
    };
    let platform = matches.maybe("platform").map(platform::json).transpose()?;
    let name = reference.short_name();
    let url = Url::new(["images", &name, "push"])
        .maybe("tag", reference.tag())
        .maybe("platform", platform)
        .flag("referrers", matches.on("referrers"));
    // dockerd insists on the header, be it empty.
    let auth =
        credentials::header(context, reference.domain()).unwrap_or_else(|| "e30=".to_owned());
    let client = context.client().await?;
    let stream = client
        .stream_with_headers(Method::POST, url, &[("x-registry-auth", auth)])
        .await?;
    if quiet {
        progress::discard(stream).await?;
        return line(&reference);
    }
    progress::show(stream, false).await
}
