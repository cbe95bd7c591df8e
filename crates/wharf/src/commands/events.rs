//! `wharf events`.

use serde_json::{Value, json};
use wharf_client::{Method, Url};

use super::{DOCUMENT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, text};
use crate::format::template::Template;
use crate::format::{json as read, time};

static FLAGS: &[Flag] = &[
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", DOCUMENT_HELP),
    text("since", "From this time or this long ago"),
    text("until", "Up to this time or this long ago"),
];

/// Show what happens
pub static COMMAND: Command = Command {
    name: "events",
    about: "Show what happens, as it happens",
    usage: "[OPTIONS]",
    also: "wharf system events, wharf events",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let template = match matches.text("format") {
        "" => None,
        "json" => Some(event_template("{{json .}}")?),
        source => Some(event_template(source)?),
    };
    let point = |flag: &str| matches.maybe(flag).map(time::point).transpose();
    let url = Url::new(["events"])
        .maybe("since", point("since")?)
        .maybe("until", point("until")?)
        .maybe("filters", filters(matches.list("filter")));
    let client = context.client().await?;
    let mut stream = client.stream(Method::GET, url, None::<&()>).await?;
    while let Some(event) = stream.next::<Value>().await? {
        match &template {
            Some(template) => {
                let event = sorted(event);
                let shown = template.render_completed(&event, &named(&event));
                line(shown.map_err(wrong)?)?;
            }
            None => line(pretty(&event))?,
        }
    }
    Ok(())
}

fn event_template(source: &str) -> Outcome<Template> {
    let template = Template::typed(source, "", "*events.Message").map_err(wrong)?;
    // A field that no event has is told of before the first one.
    let none = json!({"Type": "", "Action": "", "Actor": {"ID": "", "Attributes": {}}});
    let tried = template.render_completed(&none, &named(&none));
    tried.map(|_| template).map_err(wrong)
}

fn wrong(error: String) -> Exit {
    Exit::with_code(64, format!("Error parsing format: {error}"))
}

/// With the fields as Go's struct calls them; those of containers are there, and empty, for other events as well.
fn named(event: &Value) -> Value {
    let mut event = event.clone();
    let Some(fields) = event.as_object_mut() else {
        return event;
    };
    for (wire, go, zero) in [
        ("status", "Status", Value::from("")),
        ("id", "ID", "".into()),
        ("from", "From", "".into()),
        ("scope", "Scope", "".into()),
        ("time", "Time", 0.into()),
        ("timeNano", "TimeNano", 0.into()),
    ] {
        let value = fields.remove(wire).unwrap_or(zero);
        fields.insert(go.to_owned(), value);
    }
    event
}

// Docker's client reads attributes into a map, which has no order of its own.
fn sorted(mut event: Value) -> Value {
    if let Some(attributes) = event
        .pointer_mut("/Actor/Attributes")
        .and_then(Value::as_object_mut)
    {
        attributes.sort_keys();
    }
    event
}

fn pretty(event: &Value) -> String {
    let nanos = match read::int(event, "timeNano") {
        0 => i128::from(read::int(event, "time")) * 1_000_000_000,
        nanos => i128::from(nanos),
    };
    let actor = &event["Actor"];
    let mut text = format!(
        "{} {} {} {}",
        time::rfc3339_nanos(nanos),
        read::text(event, "Type"),
        read::text(event, "Action"),
        read::text(actor, "ID")
    );
    let pairs = read::pairs(read::field(actor, "Attributes"));
    if !pairs.is_empty() {
        let shown: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        text.push_str(&format!(" ({})", shown.join(", ")));
    }
    text
}
