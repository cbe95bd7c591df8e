//! `wharf ps`.

use serde_json::Value;
use serde_json::value::RawValue;
use wharf_client::Url;

use super::{FORMAT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Flag, Kind, Matches, Outcome, flag, switch, text};
use crate::format::rows::{Headers, Row, Wanted, ellipsis, labels, render, short_id};
use crate::format::{json, time, units};
use crate::row;

static FLAGS: &[Flag] = &[
    switch("all", "Show stopped ones too").short('a'),
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", FORMAT_HELP),
    flag("last", Kind::Int, "Show the last so many that were made")
        .short('n')
        .default("-1"),
    switch("latest", "Show the last one that was made").short('l'),
    switch("no-trunc", "Cut nothing off"),
    switch("quiet", "Show IDs only").short('q'),
    switch("size", "Show sizes").short('s'),
];

/// List containers
pub static COMMAND: Command = Command {
    name: "ps",
    ..EITHER
};

/// The same in the group `container`.
pub static LS: Command = Command {
    name: "ls",
    aliases: &["list", "ps"],
    ..EITHER
};
const EITHER: Command = Command {
    about: "List containers",
    usage: "[OPTIONS]",
    also: "wharf container ls, wharf container list, wharf container ps, wharf ps",
    flags: &[FLAGS],
    arity: Arity::None,
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// Fields of a container, and their headers.
pub const HEADERS: Headers = &[
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];

const TABLE: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let quiet = matches.on("quiet");
    let format = context.format(matches.text("format"), "psFormat", quiet);
    let last = if matches.on("latest") {
        1
    } else {
        matches.int("last")
    };
    let with_size = match matches.given("size") {
        true => matches.on("size"),
        false => shows_size(format),
    };
    let url = Url::new(["containers", "json"])
        .flag("all", matches.on("all") || last > 0)
        .maybe("limit", (last > 0).then_some(last))
        .flag("size", with_size)
        .maybe("filters", filters(matches.list("filter")));
    let client = context.client().await?;
    let containers: Vec<Box<RawValue>> = client.get(url).await?;
    let full = matches.on("no-trunc");
    let default = match matches.on("size") {
        true => format!("{TABLE}\t{{{{.Size}}}}"),
        false => TABLE.to_owned(),
    };
    // As Docker has it, a format that is written wins over -q only when it is no table.
    let only_ids = quiet && matches!(format, "" | "table");
    let wanted = match only_ids {
        true => Wanted::of("", "{{.ID}}"),
        false => Wanted::of(format, &default),
    };
    // Of many containers, one is held at a time.
    let rows = containers.iter().map(|container| {
        let container = serde_json::from_str(container.get())?;
        Ok(wanted_row(&container, full, &wanted))
    });
    let rows = rows.collect::<serde_json::Result<_>>();
    let rows = rows.map_err(|source| wharf_client::Error::Decode { source })?;
    let format = if only_ids { "{{.ID}}" } else { format };
    out(&render(format, &default, HEADERS, rows)?)
}

/// Whether a template shows sizes, which cost the daemon time. `json` alone does not, as with Docker's client.
fn shows_size(format: &str) -> bool {
    let compact: String = format.split_whitespace().collect();
    format.contains(".Size") || compact.contains("json.}}")
}

/// The fields of one container of the list.
pub fn row(container: &Value, full: bool) -> Row {
    wanted_row(container, full, &Wanted::of("json", ""))
}

fn wanted_row(container: &Value, full: bool, wanted: &Wanted<'_>) -> Row {
    let id = json::text(container, "Id");
    let command = json::text(container, "Command");
    let created = json::int(container, "Created");
    let shown = if full {
        command.to_owned()
    } else {
        ellipsis(command, 20)
    };
    let mounts = json::items(container, "Mounts");
    let local = mounts
        .iter()
        .filter(|mount| json::text(mount, "Driver") == "local")
        .count();
    let networks =
        json::field(&container["NetworkSettings"], "Networks").and_then(Value::as_object);
    let mut networks: Vec<&str> = networks
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    networks.sort_unstable();
    row! {
        wanted;
        "ID" => if full { id } else { short_id(id) },
        "Names" => names(container, full),
        "Image" => image(container, full),
        "Command" => quote(&shown),
        "CreatedAt" => time::go_string(created),
        "RunningFor" => time::ago(created as f64),
        "Ports" => ports(json::items(container, "Ports")),
        "State" => json::text(container, "State"),
        "Status" => json::text(container, "Status"),
        "Size" => size(container),
        "Labels" => labels(json::field(container, "Labels")),
        "Mounts" => mount_names(mounts, full),
        "LocalVolumes" => local.to_string(),
        "Networks" => networks.join(","),
        "Platform" => platform(container),
        "__labels" => container["Labels"].clone(),
    }
}

// `null` where the daemon does not say.
fn platform(container: &Value) -> Value {
    container["ImageManifestDescriptor"]["platform"].clone()
}

fn names(container: &Value, full: bool) -> String {
    let names = json::texts(container, "Names");
    let names = names.iter().map(|name| name.trim_start_matches('/'));
    // A link's name has a second slash; it is shown in full listings only.
    names
        .filter(|name| full || !name.contains('/'))
        .collect::<Vec<_>>()
        .join(",")
}

fn image(container: &Value, full: bool) -> String {
    let image = json::text(container, "Image");
    if image.is_empty() {
        return "<no image>".to_owned();
    }
    if full {
        return image.to_owned();
    }
    let short = short_id(json::text(container, "ImageID"));
    if short_id(image) == short {
        return short.to_owned();
    }
    // A digest beside a name is too long for a table.
    image.split('@').next().unwrap_or(image).to_owned()
}

/// Go's quoted form of a text.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            other if (other as u32) < 0x20 || other as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", other as u32));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// `Size`: what it wrote, and with the image's size where that is known.
pub fn size(container: &Value) -> String {
    let written = units::human_size(json::int(container, "SizeRw"), 3);
    match json::int(container, "SizeRootFs") {
        0 => written,
        whole => format!("{written} (virtual {})", units::human_size(whole, 3)),
    }
}

fn mount_names(mounts: &[Value], full: bool) -> String {
    let name = |mount: &Value| {
        let name = match json::text(mount, "Name") {
            "" => json::text(mount, "Source"),
            name => name,
        };
        if full {
            name.to_owned()
        } else {
            ellipsis(name, 15)
        }
    };
    mounts.iter().map(name).collect::<Vec<_>>().join(",")
}

struct Group {
    key: String,
    first: u16,
    last: u16,
}

impl Group {
    fn show(&self) -> String {
        let range = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.key.split_once('/') {
            Some((address, protocol)) => format!("{}->{range}/{protocol}", join(address, &range)),
            None => format!("{range}/{}", self.key),
        }
    }
}

fn join(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// Ports as `ps` shows them: neighbours as ranges, published ones as `address:port->port/protocol`.
pub fn ports(ports: &[Value]) -> String {
    let number = |port: &Value, name: &str| json::int(port, name) as u16;
    let mut sorted: Vec<&Value> = ports.iter().collect();
    sorted.sort_by_key(|port| {
        (
            number(port, "PrivatePort"),
            json::text(port, "IP"),
            number(port, "PublicPort"),
            json::text(port, "Type"),
        )
    });
    let (mut done, mut mapped): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut groups: Vec<Group> = Vec::new();
    for port in sorted {
        let (inside, outside) = (number(port, "PrivatePort"), number(port, "PublicPort"));
        let (address, protocol) = (json::text(port, "IP"), json::text(port, "Type"));
        if !address.is_empty() && outside != inside {
            mapped.push(format!(
                "{}->{inside}/{protocol}",
                join(address, &outside.to_string())
            ));
            continue;
        }
        let key = match address {
            "" => protocol.to_owned(),
            address => format!("{address}/{protocol}"),
        };
        match groups.iter_mut().find(|group| group.key == key) {
            None => groups.push(Group {
                key,
                first: inside,
                last: inside,
            }),
            Some(group) if inside == group.last.wrapping_add(1) => group.last = inside,
            Some(group) => {
                done.push(group.show());
                (group.first, group.last) = (inside, inside);
            }
        }
    }
    done.extend(groups.iter().map(Group::show));
    done.append(&mut mapped);
    done.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(list: Value, expected: &str) {
        assert_eq!(ports(list.as_array().unwrap()), expected);
    }

    #[test]
    fn ports_are_grouped() {
        let port = |ip: &str, private: u16, public: u16| json!({"IP": ip, "PrivatePort": private, "PublicPort": public, "Type": "tcp"});
        check(
            json!([{"PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 81, "Type": "tcp"}, {"PrivatePort": 90, "Type": "udp"}]),
            "80-81/tcp, 90/udp",
        );
        check(
            json!([port("0.0.0.0", 80, 8080), port("::", 80, 8080)]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp",
        );
        check(
            json!([port("0.0.0.0", 80, 80), port("0.0.0.0", 81, 81)]),
            "0.0.0.0:80-81->80-81/tcp",
        );
        check(json!([]), "");
    }

    #[test]
    fn one_row() {
        let container = json!({"Id": "0123456789abcdef", "Names": ["/web", "/other/link"], "Image": "nginx", "ImageID": "sha256:1",
            "Command": "/bin/sh -c 'a long command line'", "Created": 0, "Status": "Up 2 minutes", "State": "running", "Labels": {"a": "b"}});
        let row = row(&container, false);
        assert_eq!(row["ID"], "0123456789ab");
        assert_eq!(row["Names"], "web");
        assert_eq!(row["Command"], "\"/bin/sh -c 'a long …\"");
        assert_eq!(row["Labels"], "a=b");
        assert_eq!(row["Size"], "0B");
    }
}
