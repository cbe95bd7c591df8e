//! `wharf import`.

use wharf_client::{Method, Url, upload};
use wharf_oci::Reference;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, list, text};
use crate::options::env::reason;
use crate::options::platform;
use crate::term::progress;

static FLAGS: &[Flag] = &[
    list(
        "change",
        "Apply an instruction of a Dockerfile to the image",
    )
    .short('c'),
    text("message", "What the history says of it").short('m'),
    text("platform", "Platform of the image"),
];

/// Import files as an image
pub static COMMAND: Command = Command {
    name: "import",
    about: "Make an image of the files in a tar archive",
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    also: "wharf image import, wharf import",
    flags: &[FLAGS],
    arity: Arity::Between(1, 2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let source = matches.args[0].as_str();
    let name = matches.args.get(1).map(String::as_str);
    if let Some(name) = name {
        Reference::parse_normalized(name).map_err(|error| Exit::new(error.to_string()))?;
    }
    let is_url = source.starts_with("http://") || source.starts_with("https://");
    let mut url = Url::new(["images", "create"])
        .with("fromSrc", if is_url { source } else { "-" })
        .maybe("message", matches.maybe("message"))
        .maybe("platform", platform::wanted(matches))
        .maybe("repo", name);
    for change in matches.list("change") {
        url = url.with("changes", change);
    }
    let client = context.client().await?;
    let stream = if is_url {
        client.stream_with_headers(Method::POST, url, &[]).await?
    } else {
        let path = if source == "-" { "/dev/stdin" } else { source };
        let file = tokio::fs::File::open(path)
            .await
            .map_err(|error| Exit::new(format!("open {source}: {}", reason(&error))))?;
        client
            .upload(url, "application/x-tar", upload(file))
            .await?
    };
    progress::show(stream, false).await
}
