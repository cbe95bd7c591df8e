//! `wharf version`.

use serde_json::{Value, json};
use wharf_client::{API_VERSION, Url};

use super::{DOCUMENT_HELP, inspect_defaults, root};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::{Command, Context, Flag, Matches, Outcome, text};
use crate::format::json as read;
use crate::format::table;
use crate::format::template::Template;

static FLAGS: &[Flag] = &[text("format", DOCUMENT_HELP).short('f')];

/// Show versions
pub static COMMAND: Command = Command {
    name: "version",
    about: "Show the versions of the client and the daemon",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let template = match matches.text("format") {
        "" => None,
        "json" => Some(template("{{json .}}")?),
        source => Some(template(source)?),
    };
    let (server, failure) = match server(context).await {
        Ok(server) => (server, Ok(())),
        Err(exit) => (Value::Null, Err(exit)),
    };
    let client = client(context);
    match template {
        Some(template) => {
            let document = json!({"Client": client, "Server": server});
            line(template.render_completed(&document, &completed(&document))?)?;
        }
        None => {
            let mut text = client_text(&client);
            if !server.is_null() {
                text.push_str(&server_text(&server));
            }
            out(&table::align_with(&text, 20, 1))?;
        }
    }
    failure
}

async fn server(context: &Context) -> Outcome<Value> {
    Ok(context.client().await?.get(Url::new(["version"])).await?)
}

fn template(source: &str) -> Outcome<Template> {
    Ok(Template::typed(source, "version", "system.versionInfo")?)
}

/// With the fields of Docker's structs that may be missing.
fn completed(document: &Value) -> Value {
    let mut document = document.clone();
    let defaults = json!({
        "Client": {"Platform": {"Name": ""}},
        "Server": {
            "Platform": {"Name": ""}, "Components": null, "Version": "", "ApiVersion": "", "MinAPIVersion": "",
            "GitCommit": "", "GoVersion": "", "Os": "", "Arch": "", "KernelVersion": "", "Experimental": false,
            "BuildTime": "",
        },
    });
    inspect_defaults::fill(&mut document, &defaults);
    document
}

fn client(context: &Context) -> Value {
    json!({
        "Version": root::VERSION,
        "ApiVersion": context.api_version(),
        "DefaultAPIVersion": API_VERSION,
        "GitCommit": root::build(),
        "GoVersion": "none (Rust)",
        "Os": "linux",
        "Arch": architecture(),
        "BuildTime": match crate::COMMIT_TIME {
            "" => "unknown".to_owned(),
            time => crate::format::time::ansi_c(time),
        },
        "Context": context.name(),
    })
}

/// The machine's architecture in Docker's spelling.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn client_text(client: &Value) -> String {
    let mut text = String::from("Client: Wharf\n");
    for (title, field) in [
        ("Version", "Version"),
        ("API version", "ApiVersion"),
        ("Go version", "GoVersion"),
        ("Git commit", "GitCommit"),
        ("Built", "BuildTime"),
    ] {
        text.push_str(&format!(" {title}:\t{}\n", read::text(client, field)));
    }
    text.push_str(&format!(
        " OS/Arch:\t{}/{}\n",
        read::text(client, "Os"),
        read::text(client, "Arch")
    ));
    text.push_str(&format!(" Context:\t{}\n", read::text(client, "Context")));
    text
}

fn server_text(server: &Value) -> String {
    let platform = match read::text(&server["Platform"], "Name") {
        "" => String::new(),
        name => format!(" {name}"),
    };
    let mut text = format!("\nServer:{platform}\n");
    let components = read::items(server, "Components");
    if components.is_empty() {
        text.push_str(&format!(" Engine:\n{}", engine(server, server)));
    }
    for component in components {
        let name = read::text(component, "Name");
        text.push_str(&format!(" {name}:\n"));
        if name == "Engine" {
            text.push_str(&engine(component, &component["Details"]));
            continue;
        }
        text.push_str(&format!(
            "  Version:\t{}\n",
            read::text(component, "Version")
        ));
        for (key, value) in read::pairs(read::field(component, "Details")) {
            text.push_str(&format!("  {key}:\t{value}\n"));
        }
    }
    text
}

fn engine(component: &Value, details: &Value) -> String {
    let detail = |name: &str| match details.get(name) {
        Some(Value::Bool(on)) => on.to_string(),
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let built = crate::format::time::ansi_c(&detail("BuildTime"));
    let experimental = match detail("Experimental").as_str() {
        "" => "false".to_owned(),
        text => text.to_owned(),
    };
    format!(
        "  Version:\t{}\n  API version:\t{} (minimum version {})\n  Go version:\t{}\n  Git commit:\t{}\n  Built:\t{built}\n  OS/Arch:\t{}/{}\n  Experimental:\t{experimental}\n",
        read::text(component, "Version"),
        detail("ApiVersion"),
        detail("MinAPIVersion"),
        detail("GoVersion"),
        detail("GitCommit"),
        detail("Os"),
        detail("Arch"),
    )
}
