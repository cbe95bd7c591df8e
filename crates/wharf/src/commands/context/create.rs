//! `wharf context create`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use wharf_client::Endpoint;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::contexts::{DEFAULT, Store, check_name};
use crate::cli::number::parse_bool;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, text};
use crate::format::json as read;
use crate::options::csv;

static FLAGS: &[Flag] = &[
    text("description", "What is said of it in lists"),
    text(
        "docker",
        "The daemon: host=ADDRESS, ca=FILE, cert=FILE, key=FILE, skip-tls-verify=BOOL, from=CONTEXT",
    ),
    text("from", "Context that it is made like"),
];

/// Create a context
pub(super) static COMMAND: Command = Command {
    name: "create",
    about: "Create a context",
    usage: "[OPTIONS] CONTEXT",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(async move { run(context, matches) })),
    ..EMPTY
};

const KEYS: &[&str] = &["from", "host", "ca", "cert", "key", "skip-tls-verify"];

fn run(context: &Context, matches: &Matches) -> Outcome {
    let name = matches.args[0].as_str();
    check_name(name)?;
    let store = Store::new(context.config_dir());
    if store.meta(name).exists() {
        return Err(Exit::new(format!("context {name:?} already exists")));
    }
    let settings = settings(matches.text("docker"))?;
    if matches.given("from") && matches.given("docker") {
        return Err(Exit::new("cannot use --docker flag when --from is set"));
    }
    let from = settings.get("from").map(String::as_str);
    let from = from.or(matches.maybe("from"));
    let (mut document, files) = match (from, settings.contains_key("host")) {
        (Some(from), _) => copied(context, &store, from)?,
        (None, true) => described(&settings)?,
        (None, false) if settings.is_empty() => copied(context, &store, context.name())?,
        (None, false) => described(&settings)?,
    };
    document["Name"] = name.into();
    if let Some(text) = matches.maybe("description") {
        document["Metadata"] = json!({ "Description": text });
    }
    let files: Vec<(&str, PathBuf)> = files
        .iter()
        .map(|(name, path)| (*name, path.clone()))
        .collect();
    store.keep(name, &files).map_err(failed)?;
    store.write(name, &document)?;
    line(name)?;
    eprintln!("Successfully created context {name:?}");
    Ok(())
}

fn failed(exit: Exit) -> Exit {
    let text = exit.message;
    Exit::new(format!("unable to create docker endpoint config: {text}"))
}

/// `KEY=VALUE,…`
fn settings(text: &str) -> Outcome<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    if text.is_empty() {
        return Ok(all);
    }
    for field in csv::fields(text)? {
        let Some((key, value)) = field.split_once('=') else {
            return Err(Exit::new(format!("{field} must be formatted as key=value")));
        };
        if !KEYS.contains(&key) {
            return Err(failed(Exit::new(format!("unrecognized config key: {key}"))));
        }
        all.insert(key.to_owned(), value.to_owned());
    }
    Ok(all)
}

type Described = (Value, Vec<(&'static str, PathBuf)>);

fn described(settings: &BTreeMap<String, String>) -> Outcome<Described> {
    let text = |key: &str| settings.get(key).map_or("", String::as_str);
    if !text("host").is_empty() {
        text("host")
            .parse::<Endpoint>()
            .map_err(|error| failed(error.into()))?;
    }
    let skip = match text("skip-tls-verify") {
        "" => false,
        text => parse_bool(text).map_err(|error| failed(Exit::new(error)))?,
    };
    let files = [("ca", "ca.pem"), ("cert", "cert.pem"), ("key", "key.pem")];
    let files = files.into_iter().filter(|(key, _)| !text(key).is_empty());
    let files = files.map(|(key, name)| (name, PathBuf::from(text(key))));
    Ok((document(text("host"), skip), files.collect()))
}

fn document(host: &str, skip: bool) -> Value {
    json!({
        "Name": "",
        "Metadata": {},
        "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skip}},
    })
}

fn copied(context: &Context, store: &Store, from: &str) -> Outcome<Described> {
    if from == DEFAULT {
        return Ok((document(&super::default_host(context), false), Vec::new()));
    }
    let document = store.read(from)?;
    let folder = store.tls(from).join("docker");
    let files = ["ca.pem", "cert.pem", "key.pem"];
    let files = files.into_iter().map(|name| (name, folder.join(name)));
    let files = files.filter(|(_, path)| path.exists());
    let endpoint = &document["Endpoints"]["docker"];
    let mut copy = self::document(
        read::text(endpoint, "Host"),
        read::on(endpoint, "SkipTLSVerify"),
    );
    copy["Metadata"] = document["Metadata"].clone();
    Ok((copy, files.collect()))
}
