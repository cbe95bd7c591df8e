//! `wharf ps`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wharf_client::{Method, Url};

use super::{FORMAT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Flag, Kind, Matches, Outcome, flag, switch, text};
use crate::format::rows::{Headers, Row, Wanted, ellipsis, render, short_id};
use crate::format::{time, units};
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
    let answer = client.bytes(Method::GET, url, None::<&()>).await?;
    let containers: Vec<Listed<'_>> =
        serde_json::from_slice(&answer).map_err(|source| wharf_client::Error::Decode { source })?;
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
    let rows = containers
        .iter()
        .map(|container| wanted_row(container, full, &wanted))
        .collect();
    let format = if only_ids { "{{.ID}}" } else { format };
    out(&render(format, &default, HEADERS, rows)?)
}

/// Whether a template shows sizes, which cost the daemon time. `json` alone does not, as with Docker's client.
fn shows_size(format: &str) -> bool {
    let compact: String = format.split_whitespace().collect();
    format.contains(".Size") || compact.contains("json.}}")
}

/// What is shown of a container in a list, as the daemon tells it: of thousands, no more than this is kept.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Listed<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    names: Option<Vec<String>>,
    #[serde(borrow)]
    image: Cow<'a, str>,
    #[serde(rename = "ImageID", borrow)]
    image_id: Cow<'a, str>,
    #[serde(borrow)]
    command: Cow<'a, str>,
    /// Seconds since 1970.
    created: i64,
    ports: Option<Vec<Port>>,
    size_rw: i64,
    size_root_fs: i64,
    labels: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    state: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
    network_settings: Option<Networks>,
    mounts: Option<Vec<Mount>>,
    image_manifest_descriptor: Option<Manifest>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Networks {
    networks: Option<BTreeMap<String, serde::de::IgnoredAny>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    /// `null` where the daemon does not say.
    platform: Value,
}

#[derive(Default, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "PascalCase", default)]
struct Port {
    private_port: u16,
    #[serde(rename = "IP")]
    ip: String,
    public_port: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

/// The fields of one container of a list.
///
/// # Errors
/// If a field of it is of another type than the Engine API says.
pub fn row(container: &Value, full: bool) -> serde_json::Result<Row> {
    let container = Listed::deserialize(container)?;
    Ok(wanted_row(&container, full, &Wanted::of("json", "")))
}

fn wanted_row(container: &Listed<'_>, full: bool, wanted: &Wanted<'_>) -> Row {
    let id: &str = &container.id;
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let local = mounts.iter().filter(|mount| mount.driver == "local");
    row! {
        wanted;
        "ID" => if full { id } else { short_id(id) },
        "Names" => container.shown_names(full),
        "Image" => container.shown_image(full),
        "Command" => match full {
            true => quote(&container.command),
            false => quote(&ellipsis(&container.command, 20)),
        },
        "CreatedAt" => time::go_string(container.created),
        "RunningFor" => time::ago(container.created as f64),
        "Ports" => ports(container.ports.as_deref().unwrap_or_default()),
        "State" => &*container.state,
        "Status" => &*container.status,
        "Size" => size(container.size_rw, container.size_root_fs),
        "Labels" => container.shown_labels(),
        "Mounts" => mount_names(mounts, full),
        "LocalVolumes" => local.count().to_string(),
        "Networks" => container.networks(),
        "Platform" => container.platform(),
        "__labels" => serde_json::json!(container.labels),
    }
}

impl Listed<'_> {
    fn shown_names(&self, full: bool) -> String {
        let names = self.names.iter().flatten();
        let names = names.map(|name| name.trim_start_matches('/'));
        // A link's name has a second slash; it is shown in full listings only.
        names
            .filter(|name| full || !name.contains('/'))
            .collect::<Vec<_>>()
            .join(",")
    }

    fn shown_image(&self, full: bool) -> &str {
        let image = &*self.image;
        if image.is_empty() {
            return "<no image>";
        }
        if full {
            return image;
        }
        let short = short_id(&self.image_id);
        if short_id(image) == short {
            return short;
        }
        // A digest beside a name is too long for a table.
        image.split('@').next().unwrap_or(image)
    }

    fn shown_labels(&self) -> String {
        let labels = self.labels.iter().flatten();
        let pairs = labels.map(|(key, value)| format!("{key}={value}"));
        pairs.collect::<Vec<_>>().join(",")
    }

    fn networks(&self) -> String {
        let networks = self.network_settings.as_ref();
        let networks = networks.and_then(|settings| settings.networks.as_ref());
        let names = networks.into_iter().flatten().map(|(name, _)| &**name);
        names.collect::<Vec<&str>>().join(",")
    }

    fn platform(&self) -> Value {
        let manifest = self.image_manifest_descriptor.as_ref();
        manifest.map_or(Value::Null, |manifest| manifest.platform.clone())
    }
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
fn size(written: i64, whole: i64) -> String {
    let written = units::human_size(written, 3);
    match whole {
        0 => written,
        whole => format!("{written} (virtual {})", units::human_size(whole, 3)),
    }
}

fn mount_names(mounts: &[Mount], full: bool) -> String {
    let name = |mount: &Mount| {
        let name = match mount.name.as_str() {
            "" => &mount.source,
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
fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort();
    let (mut done, mut mapped): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let mut groups: Vec<Group> = Vec::new();
    for port in sorted {
        let (inside, outside) = (port.private_port, port.public_port);
        let (address, protocol) = (&*port.ip, &*port.protocol);
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
        let list: Vec<Port> = serde_json::from_value(list).unwrap();
        assert_eq!(ports(&list), expected);
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
        let row = row(&container, false).unwrap();
        assert_eq!(row["ID"], "0123456789ab");
        assert_eq!(row["Names"], "web");
        assert_eq!(row["Command"], "\"/bin/sh -c 'a long …\"");
        assert_eq!(row["Labels"], "a=b");
        assert_eq!(row["Size"], "0B");
    }
}
