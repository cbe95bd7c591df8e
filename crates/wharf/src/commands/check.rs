//! `wharf system check`.

use serde_json::Value;
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::{Command, Context, Exit, Flag, Matches, Outcome, switch};
use crate::format::json;

static FLAGS: &[Flag] = &[switch(
    "repair",
    "Fetch again what is damaged or missing, and unpack what is not unpacked",
)];

/// Check all stored images
pub static COMMAND: Command = Command {
    name: "check",
    about: "Verify every digest, layer and record of the stored images",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let url = Url::new(["wharf", "system", "check"]).flag("repair", matches.on("repair"));
    let found: Value = client.json(Method::POST, url, None::<&()>).await?;
    let faults = json::items(&found, "Faults");
    for fault in faults {
        let end = if json::on(fault, "Repaired") {
            ": repaired"
        } else {
            ""
        };
        let (subject, problem) = (json::text(fault, "Subject"), json::text(fault, "Problem"));
        out(&format!("{subject}: {problem}{end}\n"))?;
    }
    let count = |name: &str| json::int(&found, name);
    line(format!(
        "{} images, {} layers, {} blobs: {} faults",
        count("Images"),
        count("Layers"),
        count("Blobs"),
        faults.len()
    ))?;
    match faults.iter().all(|fault| json::on(fault, "Repaired")) {
        true => Ok(()),
        false => Err(Exit::new("the store is not whole")),
    }
}
