//! `wharf context …`.

mod create;
mod ls;

use serde_json::{Value, json};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, variable};
use crate::cli::contexts::{DEFAULT, Store};
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Matches, Outcome, credentials, switch, text,
};
use crate::format::indent;
use crate::format::template::Template;

/// Manage contexts
pub static COMMAND: Command = Command {
    name: "context",
    about: "Manage contexts: daemons by name",
    commands: &[&create::COMMAND, &INSPECT, &ls::COMMAND, &RM, &SHOW, &USE],
    ..EMPTY
};

static SHOW: Command = Command {
    name: "show",
    about: "Print the name of the current context",
    run: Some(|context, _| Box::pin(async move { line(context.name()) })),
    ..EMPTY
};

static USE: Command = Command {
    name: "use",
    about: "Make a context the current one",
    usage: "CONTEXT",
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(async move { use_it(context, &matches.args[0]) })),
    ..EMPTY
};

static RM_FLAGS: &[Flag] = &[switch("force", "Also the context that is in use").short('f')];

static RM: Command = Command {
    name: "rm",
    aliases: &["remove"],
    about: "Remove contexts",
    usage: "CONTEXT [CONTEXT...]",
    also: "wharf context rm, wharf context remove",
    flags: &[RM_FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(async move { remove(context, matches) })),
    ..EMPTY
};

static INSPECT_FLAGS: &[Flag] = &[text("format", super::DOCUMENT_HELP).short('f')];

static INSPECT: Command = Command {
    name: "inspect",
    about: "Show all that is known about contexts",
    usage: "[OPTIONS] [CONTEXT] [CONTEXT...]",
    flags: &[INSPECT_FLAGS],
    arity: Arity::AtLeast(0),
    run: Some(|context, matches| Box::pin(async move { inspect(context, matches) })),
    ..EMPTY
};

fn use_it(context: &Context, name: &str) -> Outcome {
    if name != DEFAULT {
        Store::new(context.config_dir()).read(name)?;
    }
    set_current(context, name)?;
    line(name)?;
    eprintln!("Current context is now {name:?}");
    if name != DEFAULT && variable("DOCKER_HOST").is_some() {
        eprintln!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable."
        );
    }
    Ok(())
}

fn set_current(context: &Context, name: &str) -> Outcome {
    credentials::rewrite(context, |config| {
        match name {
            DEFAULT => config.shift_remove("currentContext"),
            name => config.insert("currentContext".to_owned(), name.into()),
        };
    })
}

fn remove(context: &Context, matches: &Matches) -> Outcome {
    let store = Store::new(context.config_dir());
    let mut failures = Vec::new();
    for name in &matches.args {
        match remove_one(context, &store, name, matches.on("force")) {
            Ok(()) => line(name)?,
            Err(exit) => failures.push(exit.message),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(Exit::new(failures.join("\n"))),
    }
}

fn remove_one(context: &Context, store: &Store, name: &str, force: bool) -> Outcome {
    if name == DEFAULT {
        return Err(Exit::new("context \"default\" cannot be removed"));
    }
    if !force && store.read(name).is_err() {
        return Err(Exit::new(format!("context {name:?} does not exist")));
    }
    if name == context.name() {
        if !force {
            return Err(Exit::new(format!(
                "context {name:?} is in use, set -f flag to force remove"
            )));
        }
        set_current(context, DEFAULT)?;
    }
    store.remove(name)
}

fn inspect(context: &Context, matches: &Matches) -> Outcome {
    let current = [context.name().to_owned()];
    let names = match matches.args.as_slice() {
        [] => &current[..],
        names => names,
    };
    let store = Store::new(context.config_dir());
    let documents = names.iter().map(|name| whole(context, &store, name));
    let documents = documents.collect::<Outcome<Vec<Value>>>()?;
    match matches.text("format") {
        "" => {
            let documents: Vec<String> = documents.iter().map(Value::to_string).collect();
            line(indent::list(documents.iter().map(String::as_str)).trim_end())
        }
        "json" => line(Value::Array(documents)),
        source => {
            let template = Template::strict(source).map_err(|error| Exit::with_code(64, error))?;
            for document in &documents {
                line(template.render(document)?)?;
            }
            Ok(())
        }
    }
}

/// A context with the places of its files.
fn whole(context: &Context, store: &Store, name: &str) -> Outcome<Value> {
    if name == DEFAULT {
        return Ok(json!({
            "Name": name,
            "Metadata": {},
            "Endpoints": {"docker": {"Host": default_host(context), "SkipTLSVerify": false}},
            "TLSMaterial": {},
            "Storage": {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"},
        }));
    }
    let mut document = store.read(name)?;
    document["TLSMaterial"] = store.material(name);
    document["Storage"] = json!({
        "MetadataPath": store.meta(name).display().to_string(),
        "TLSPath": store.tls(name).display().to_string(),
    });
    Ok(document)
}

/// The daemon of the context that is no file.
fn default_host(context: &Context) -> String {
    match context.name() {
        DEFAULT => context.host().to_owned(),
        _ => variable("WHARF_HOST")
            .or_else(|| variable("DOCKER_HOST"))
            .unwrap_or_else(|| wharf_client::Endpoint::default().to_string()),
    }
}
