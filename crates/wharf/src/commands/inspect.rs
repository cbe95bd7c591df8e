//! `wharf inspect`, and `inspect` of each kind of object.

use futures_util::StreamExt as _;
use serde_json::value::RawValue;
use wharf_client::{Client, Url};

use super::{DOCUMENT_HELP, inspect_defaults};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch, text};
use crate::format::indent;
use crate::format::template::Template;
use crate::options::platform;

const FORMAT: Flag = text("format", DOCUMENT_HELP).short('f');

static FLAGS: &[Flag] = &[
    FORMAT,
    switch("size", "Show sizes, if it is a container").short('s'),
    text("type", "Look only for this kind of object"),
];
static CONTAINER_FLAGS: &[Flag] = &[FORMAT, switch("size", "Show sizes").short('s')];
static IMAGE_FLAGS: &[Flag] = &[FORMAT, text("platform", "Platform of the image")];
static NETWORK_FLAGS: &[Flag] = &[
    FORMAT,
    switch("verbose", "Show more, for diagnosis").short('v'),
];
static VOLUME_FLAGS: &[Flag] = &[FORMAT];

/// Show everything about objects
pub static COMMAND: Command = Command {
    name: "inspect",
    about: "Show all that is known about an object of any kind",
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    flags: &[FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(any(context, matches))),
    ..EMPTY
};

macro_rules! inspect {
    ($name:ident, $kind:literal, $flags:expr, $usage:literal, $about:literal) => {
        #[doc = $about]
        pub static $name: Command = Command {
            name: "inspect",
            about: $about,
            usage: $usage,
            flags: &[$flags],
            arity: Arity::AtLeast(1),
            run: Some(|context, matches| Box::pin(one(context, matches, $kind))),
            ..EMPTY
        };
    };
}

inspect!(
    CONTAINER,
    "container",
    CONTAINER_FLAGS,
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Show all that is known about containers"
);
inspect!(
    IMAGE,
    "image",
    IMAGE_FLAGS,
    "[OPTIONS] IMAGE [IMAGE...]",
    "Show all that is known about images"
);
inspect!(
    NETWORK,
    "network",
    NETWORK_FLAGS,
    "[OPTIONS] NETWORK [NETWORK...]",
    "Show all that is known about networks"
);
inspect!(
    VOLUME,
    "volume",
    VOLUME_FLAGS,
    "[OPTIONS] VOLUME [VOLUME...]",
    "Show all that is known about volumes"
);

/// How many are asked for at the same time.
const AT_ONCE: usize = 4;
const KINDS: &[&str] = &["container", "image", "network", "volume"];
/// Kinds of a swarm or of plugins, of which there are none here.
const ABSENT: &[&str] = &["config", "node", "plugin", "secret", "service", "task"];

async fn one(context: &Context, matches: &Matches, kind: &str) -> Outcome {
    inspect(context, matches, &[kind]).await
}

async fn any(context: &Context, matches: &Matches) -> Outcome {
    let kind = matches.text("type");
    if matches.given("type") && kind.is_empty() {
        return Err(Exit::new(
            "type is empty: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\"",
        ));
    }
    if kind.is_empty() {
        return inspect(context, matches, KINDS).await;
    }
    if KINDS.contains(&kind) || ABSENT.contains(&kind) {
        return inspect(context, matches, &[kind]).await;
    }
    Err(Exit::new(format!(
        "unknown type: {kind:?}: must be one of \"config\", \"container\", \"image\", \"network\", \"node\", \"plugin\", \"secret\", \"service\", \"task\", \"volume\""
    )))
}

async fn inspect(context: &Context, matches: &Matches, kinds: &[&str]) -> Outcome {
    let format = matches.text("format");
    let template = match format {
        "" => None,
        "json" => Some(Template::strict("{{json .}}")?),
        source => {
            let source = source.replace("\\t", "\t").replace("\\n", "\n");
            Some(Template::strict(&source).map_err(|error| Exit::with_code(64, error))?)
        }
    };
    let client = context.client().await?;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    let answers = matches
        .args
        .iter()
        .map(|name| find(client, matches, kinds, name));
    let mut answers = futures_util::stream::iter(answers).buffered(AT_ONCE);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(one) => found.push(one),
            Err(exit) => failures.push(exit.message),
        }
    }
    match (&template, format) {
        (None, _) => {
            let documents = found.iter().map(|(document, _)| document.get());
            out(&indent::list(documents))?;
        }
        (Some(_), "json") => {
            let documents: Vec<&str> = found.iter().map(|(document, _)| document.get()).collect();
            out(&format!("[{}]\n", documents.join(",")))?;
        }
        (Some(template), _) => {
            for (document, kind) in &found {
                let document = serde_json::from_str(document.get())
                    .map_err(|source| wharf_client::Error::Decode { source })?;
                let completed = inspect_defaults::completed(kind, &document);
                match template.render_completed(&document, &completed) {
                    Ok(text) => out(&format!("{text}\n"))?,
                    Err(error) => {
                        // Docker ends the line that it had begun.
                        out("\n")?;
                        failures.push(error);
                    }
                }
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Exit::new(failures.join("\n")))
    }
}

/// Whether an error says no more than that nothing of a kind is called so; that a name begins several ids is another one.
fn is_of_no_such_kind(error: &wharf_client::Error) -> bool {
    let text = error.to_string();
    error.is_not_found()
        || ["not supported", "invalid reference format"]
            .iter()
            .any(|known| text.contains(known))
}

/// A document, and which kind of object it is of.
async fn find<'a>(
    client: &Client,
    matches: &Matches,
    kinds: &[&'a str],
    name: &str,
) -> Outcome<(Box<RawValue>, &'a str)> {
    let several = kinds.len() > 1;
    for kind in kinds {
        let url = match *kind {
            "container" => Url::new(["containers", name.trim_start_matches('/'), "json"])
                .flag("size", matches.on("size")),
            "image" => {
                let platform = matches.maybe("platform").map(platform::json).transpose()?;
                Url::new(["images", name, "json"]).maybe("platform", platform)
            }
            "network" => Url::new(["networks", name]).flag("verbose", matches.on("verbose")),
            "volume" => Url::new(["volumes", name]),
            other => {
                return Err(Exit::new(format!(
                    "Error response from daemon: wharf has no object of type {other}: {name}"
                )));
            }
        };
        match client.get::<Box<RawValue>>(url).await {
            Ok(document) => return Ok((document, kind)),
            // It may be one of the next kind.
            Err(error) if several && is_of_no_such_kind(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Exit::new(format!("Error: No such object: {name}")))
}
