//! `wharf volume …`.

mod archive;

use serde_json::{Value, json};
use wharf_client::{Method, Url};

use super::{FORMAT_HELP, filters, inspect, prune};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line, out};
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, list, switch, text,
};
use crate::format::json as read;
use crate::format::rows::{Headers, Row, labels, render};
use crate::options::{checks, pairs};
use crate::row;

/// Manage volumes
pub static COMMAND: Command = Command {
    name: "volume",
    about: "Manage volumes",
    commands: &[
        &CREATE,
        &archive::EXPORT,
        &archive::IMPORT,
        &inspect::VOLUME,
        &LS,
        &prune::VOLUMES,
        &RM,
    ],
    ..EMPTY
};

static CREATE_FLAGS: &[Flag] = &[
    text("driver", "Driver of the volume")
        .short('d')
        .default("local"),
    flag(
        "label",
        Kind::Checked("list", checks::label),
        "Set a label: KEY=VALUE",
    ),
    list("opt", "Set an option of the driver: KEY=VALUE").short('o'),
    text("name", "").hidden(),
];
static LS_FLAGS: &[Flag] = &[
    switch("cluster", "").hidden(),
    flag(
        "filter",
        Kind::Checked("filter", checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", FORMAT_HELP),
    switch("quiet", "Show names only").short('q'),
];
static RM_FLAGS: &[Flag] = &[switch("force", "Do not mind volumes that are not there").short('f')];

static CREATE: Command = Command {
    name: "create",
    about: "Create a volume",
    usage: "[OPTIONS] [VOLUME]",
    flags: &[CREATE_FLAGS],
    arity: Arity::AtMost(1),
    run: Some(|context, matches| Box::pin(create(context, matches))),
    ..EMPTY
};
static LS: Command = Command {
    name: "ls",
    aliases: &["list"],
    about: "List volumes",
    usage: "[OPTIONS]",
    also: "wharf volume ls, wharf volume list",
    flags: &[LS_FLAGS],
    run: Some(|context, matches| Box::pin(ls(context, matches))),
    ..EMPTY
};
static RM: Command = Command {
    name: "rm",
    aliases: &["remove"],
    about: "Remove volumes that no container uses",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    also: "wharf volume rm, wharf volume remove",
    flags: &[RM_FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(rm(context, matches))),
    ..EMPTY
};

async fn create(context: &Context, matches: &Matches) -> Outcome {
    let name = match (matches.args.first(), matches.maybe("name")) {
        (Some(_), Some(_)) => {
            return Err(Exit::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        (Some(name), None) => name,
        (None, name) => name.unwrap_or_default(),
    };
    let body = json!({
        "Name": name,
        "Driver": matches.text("driver"),
        "DriverOpts": pairs(matches.list("opt")),
        "Labels": pairs(matches.list("label")),
    });
    let client = context.client().await?;
    let volume: Value = client
        .json(Method::POST, Url::new(["volumes", "create"]), Some(&body))
        .await?;
    line(read::text(&volume, "Name"))
}

/// Fields of a volume, and their headers.
pub const HEADERS: Headers = &[
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];

/// The fields of one volume.
pub fn row(volume: &Value) -> Row {
    let usage = read::field(volume, "UsageData");
    let links = usage.map_or("N/A".to_owned(), |usage| {
        read::int(usage, "RefCount").to_string()
    });
    let size = usage.map_or("N/A".to_owned(), |usage| {
        crate::format::units::human_size(read::int(usage, "Size"), 4)
    });
    row! {
        "Name" => read::text(volume, "Name"),
        "Driver" => read::text(volume, "Driver"),
        "Scope" => read::text(volume, "Scope"),
        "Mountpoint" => read::text(volume, "Mountpoint"),
        "Labels" => labels(read::field(volume, "Labels")),
        "Links" => links,
        "Size" => size,
        "Availability" => "N/A",
        "Group" => "N/A",
        "Status" => "N/A",
        "__labels" => volume["Labels"].clone(),
    }
}

async fn ls(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let url = Url::new(["volumes"]).maybe("filters", filters(matches.list("filter")));
    let answer: Value = client.get(url).await?;
    let mut volumes: Vec<&Value> = read::items(&answer, "Volumes").iter().collect();
    volumes.sort_by(|a, b| natural(read::text(a, "Name"), read::text(b, "Name")));
    let rows = volumes.into_iter().map(row).collect();
    let quiet = matches.on("quiet");
    let format = context.format(matches.text("format"), "volumesFormat", quiet);
    let format = if quiet && matches!(format, "" | "table") {
        "{{.Name}}"
    } else {
        format
    };
    out(&render(format, "{{.Driver}}\t{{.Name}}", HEADERS, rows)?)
}

async fn rm(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    each(&matches.args, |name| async move {
        let url = Url::new(["volumes", name]).flag("force", matches.on("force"));
        client.bytes(Method::DELETE, url, None::<&()>).await?;
        line(name)
    })
    .await
}

/// The order of names in which numbers count as numbers: `v2` before `v10`.
pub fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let run = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let (digits_a, digits_b) = (run(a), run(b));
        if digits_a > 0 && digits_b > 0 {
            let (x, y) = (
                a[..digits_a].trim_start_matches('0'),
                b[..digits_b].trim_start_matches('0'),
            );
            let order = x.len().cmp(&y.len()).then_with(|| x.cmp(y));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[digits_a..], &b[digits_b..]);
            continue;
        }
        match (a.chars().next(), b.chars().next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (&a[x.len_utf8()..], &b[y.len_utf8()..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_sort_as_numbers() {
        let mut names = ["v10", "v2", "a", "v02x"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "v2", "v02x", "v10"]);
    }
}
