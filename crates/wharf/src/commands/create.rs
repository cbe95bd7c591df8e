//! `wharf create`, and the creating half of `wharf run`.

use std::io::Write;

use serde_json::Value;
use wharf_client::{Client, Method, Url};
use wharf_oci::{AnyReference, Reference};

use super::{api_socket, pull};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome};
use crate::format::json;
use crate::options::container::{Request, request};
use crate::options::{container, health, mounts, network, platform, proxies, resources, security};
use crate::term::resize;

/// Flags that `create` and `run` share.
pub static FLAGS: &[&[Flag]] = &[
    container::FLAGS,
    network::FLAGS,
    mounts::FLAGS,
    security::FLAGS,
    resources::FLAGS,
    health::FLAGS,
];

/// Create a new container
pub static COMMAND: Command = Command {
    name: "create",
    about: "Create a container without starting it",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    also: "wharf container create, wharf create",
    flags: FLAGS,
    arity: Arity::AtLeast(1),
    interspersed: false,
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    check_pull(matches).map_err(|error| with_help(&error, "create", 125))?;
    let request = request(matches, false, resize::size())
        .map_err(|error| with_help(&error, "create", 125))?;
    let client = context.client().await?;
    line(create(context, client, matches, &request).await?)
}

/// Docker's form of a failure of `run` and `create`.
pub fn with_help(error: &str, verb: &str, code: i32) -> Exit {
    Exit::with_code(
        code,
        format!("wharf: {error}\n\nRun 'wharf {verb} --help' for more information"),
    )
}

/// Refuses a `--pull` that is none of the three.
pub fn check_pull(matches: &Matches) -> Result<(), String> {
    match matches.text("pull") {
        "always" | "missing" | "never" | "" => Ok(()),
        other => Err(format!(
            "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
        )),
    }
}

/// Creates the container, pulling its image when it is missing, and gives its id.
pub async fn create(
    context: &Context,
    client: &Client,
    matches: &Matches,
    request: &Request,
) -> Outcome<String> {
    let cid_file = CidFile::open(matches.maybe("cidfile"))?;
    let mut body = request.body.clone();
    add_proxies(context, matches, &mut body);
    let secrets = match matches.on("use-api-socket") {
        true => api_socket::prepare(context, &mut body)?,
        false => None,
    };
    let quiet = matches.on("quiet");
    let platform = platform::wanted(matches);
    let platform = platform.as_deref();
    // An id is no reference, but names an image all the same.
    let reference = match AnyReference::parse(&request.image) {
        Ok(_) => Reference::parse_normalized(&request.image).map(Reference::with_default_tag),
        Err(error) => return Err(Exit::new(error.to_string())),
    };
    if matches.text("pull") == "always"
        && let Ok(reference) = &reference
    {
        pull::pull(
            context,
            client,
            reference,
            platform,
            pull::Show::stderr(quiet),
        )
        .await?;
    }
    let url = Url::new(["containers", "create"])
        .maybe("name", matches.maybe("name"))
        .maybe("platform", platform);
    let mut answer = client
        .json::<Value>(Method::POST, url.clone(), Some(&body))
        .await;
    let missing = answer
        .as_ref()
        .is_err_and(wharf_client::Error::is_not_found);
    if let (true, "missing", Ok(reference)) = (missing, matches.text("pull"), &reference) {
        eprintln!("Unable to find image '{}' locally", reference.familiar());
        pull::pull(
            context,
            client,
            reference,
            platform,
            pull::Show::stderr(quiet),
        )
        .await?;
        answer = client.json::<Value>(Method::POST, url, Some(&body)).await;
    }
    let answer = answer?;
    for warning in json::texts(&answer, "Warnings") {
        eprintln!("WARNING: {warning}");
    }
    let id = json::text(&answer, "Id").to_owned();
    if let Some(secrets) = secrets {
        secrets.copy_into(client, &id).await?;
    }
    cid_file.write(&id)?;
    Ok(id)
}

/// The variables of `proxies` in `config.json` that `--env` says nothing of.
fn add_proxies(context: &Context, matches: &Matches, body: &mut Value) {
    let own = matches.list("env");
    let known = |name: &str| {
        own.iter()
            .any(|variable| variable.split('=').next() == Some(name))
    };
    let found = proxies::missing(&context.config, context.host(), &known);
    if let Some(variables) = body["Env"].as_array_mut() {
        variables.extend(
            found
                .iter()
                .map(|(name, value)| format!("{name}={value}").into()),
        );
    }
}

/// `--cidfile`: made before the container, removed again when there is none.
struct CidFile {
    file: Option<(String, std::fs::File)>,
}

impl CidFile {
    fn open(path: Option<&str>) -> Outcome<CidFile> {
        let Some(path) = path else {
            return Ok(CidFile { file: None });
        };
        if std::fs::exists(path).unwrap_or_default() {
            return Err(Exit::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = std::fs::File::create(path).map_err(|error| {
            let reason = crate::options::env::reason(&error);
            Exit::new(format!(
                "failed to create the container ID file: open {path}: {reason}"
            ))
        })?;
        Ok(CidFile {
            file: Some((path.to_owned(), file)),
        })
    }

    fn write(mut self, id: &str) -> Outcome {
        if let Some((path, mut file)) = self.file.take() {
            file.write_all(id.as_bytes()).map_err(|error| {
                Exit::new(format!(
                    "failed to write the container ID to the file {path}: {error}"
                ))
            })?;
        }
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if let Some((path, _)) = self.file.take() {
            // Empty, as no container was made.
            let _ = std::fs::remove_file(path);
        }
    }
}
