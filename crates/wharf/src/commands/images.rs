//! `wharf images`.

use std::io::IsTerminal as _;

use serde_json::Value;
use wharf_client::Url;
use wharf_oci::Reference;

use super::images_tree::Canvas;
use super::{FORMAT_HELP, filters};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, switch, text};
use crate::format::rows::{Headers, Row, render, short_id};
use crate::format::{json, time, units};
use crate::row;

static FLAGS: &[Flag] = &[
    switch("all", "Show intermediate images too").short('a'),
    switch("digests", "Show digests"),
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Show only those that match: KEY=VALUE",
    )
    .short('f'),
    text("format", FORMAT_HELP),
    switch("no-trunc", "Cut nothing off"),
    switch("quiet", "Show IDs only").short('q'),
    switch("tree", "Show the platforms of each image as a tree"),
];

const EITHER: Command = Command {
    about: "List images",
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    also: "wharf image ls, wharf image list, wharf images",
    flags: &[FLAGS],
    arity: Arity::AtMost(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// List images
pub static COMMAND: Command = Command {
    name: "images",
    ..EITHER
};

/// The same in the group `image`.
pub static LS: Command = Command {
    name: "ls",
    aliases: &["list"],
    ..EITHER
};

/// Fields of an image, and their headers.
pub const HEADERS: Headers = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];

const TAIL: &str = "{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let mut wanted = matches.list("filter").to_vec();
    if let Some(name) = matches.args.first() {
        wanted.push(format!("reference={name}"));
    }
    let tree = matches.on("tree");
    let url = Url::new(["images", "json"])
        .flag("all", matches.on("all"))
        .flag("manifests", tree)
        .maybe("filters", filters(&wanted));
    if tree {
        check_tree(matches)?;
        let images: Vec<Value> = context.client().await?.get(url).await?;
        let terminal = crate::term::resize::size().filter(|_| std::io::stdout().is_terminal());
        let canvas = Canvas {
            width: terminal.map_or(80, |(_, columns)| columns.into()),
            colours: terminal.is_some(),
        };
        return out(&super::images_tree::render(&images, canvas));
    }
    let images: Vec<Value> = context.client().await?.get(url).await?;
    let quiet = matches.on("quiet");
    let format = context.format(matches.text("format"), "imagesFormat", quiet);
    let digests = matches.on("digests") || format.contains(".Digest");
    let rows: Vec<Row> = images
        .iter()
        .flat_map(|image| rows(image, digests, matches.on("no-trunc")))
        .collect();
    let format = if quiet && matches!(format, "" | "table") {
        "{{.ID}}"
    } else {
        format
    };
    let head = if matches.on("digests") {
        "{{.Repository}}\t{{.Tag}}\t{{.Digest}}"
    } else {
        "{{.Repository}}\t{{.Tag}}"
    };
    out(&render(format, &format!("{head}\t{TAIL}"), HEADERS, rows)?)
}

fn check_tree(matches: &Matches) -> Outcome {
    let flags = [
        ("quiet", "quiet"),
        ("no-trunc", "no-trunc"),
        ("digests", "show-digest"),
        ("format", "format"),
    ];
    for (flag, name) in flags {
        if matches.given(flag) {
            return Err(Exit::new(format!(
                "--{name} is not yet supported with --tree"
            )));
        }
    }
    Ok(())
}

fn split_tag(name: &str) -> (String, String) {
    match Reference::parse_normalized(name) {
        Ok(reference) => {
            let tag = reference.tag().unwrap_or("<none>").to_owned();
            (reference.familiar_name(), tag)
        }
        Err(_) => ("<none>".to_owned(), "<none>".to_owned()),
    }
}

/// One row for each name of an image (and each digest of it, when digests are shown).
pub fn rows(image: &Value, digests: bool, full: bool) -> Vec<Row> {
    let tags: Vec<(String, String)> = json::texts(image, "RepoTags")
        .into_iter()
        .map(split_tag)
        .collect();
    let tags: Vec<_> = tags
        .into_iter()
        .filter(|(name, _)| name != "<none>")
        .collect();
    let digested: Vec<(String, &str)> = json::texts(image, "RepoDigests")
        .into_iter()
        .filter_map(|text| {
            text.split_once('@')
                .map(|(name, digest)| (split_tag(name).0, digest))
        })
        .filter(|(name, _)| name != "<none>")
        .collect();
    let mut names: Vec<(String, String, String)> = Vec::new();
    for (name, tag) in &tags {
        let of_name: Vec<&str> = digested
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, digest)| *digest)
            .collect();
        if !digests || of_name.is_empty() {
            names.push((name.clone(), tag.clone(), "<none>".to_owned()));
            continue;
        }
        names.extend(
            of_name
                .iter()
                .map(|digest| (name.clone(), tag.clone(), (*digest).to_owned())),
        );
    }
    for (name, digest) in &digested {
        if tags.iter().any(|(tagged, _)| tagged == name) {
            continue;
        }
        let shown = if digests { *digest } else { "" };
        let entry = (name.clone(), "<none>".to_owned(), shown.to_owned());
        if !names.contains(&entry) {
            names.push(entry);
        }
    }
    if names.is_empty() {
        names.push((
            "<none>".to_owned(),
            "<none>".to_owned(),
            "<none>".to_owned(),
        ));
    }
    names
        .into_iter()
        .map(|(name, tag, digest)| row(image, name, tag, digest, full))
        .collect()
}

/// One row for an image, by its first name, as `system df -v` shows it.
pub fn first_row(image: &Value) -> Row {
    let name = json::texts(image, "RepoTags")
        .first()
        .map(|name| split_tag(name));
    let none = || "<none>".to_owned();
    let (name, tag) = name.unwrap_or_else(|| (none(), none()));
    row(image, name, tag, none(), false)
}

fn row(image: &Value, name: String, tag: String, digest: String, full: bool) -> Row {
    let id = json::text(image, "Id");
    let created = json::int(image, "Created");
    let known = |name: &str| match image.get(name).and_then(Value::as_i64) {
        None | Some(-1) => None,
        Some(number) => Some(number),
    };
    let shared = known("SharedSize");
    let unique = shared.map(|shared| json::int(image, "Size") - shared);
    let bytes = |number: Option<i64>| {
        number.map_or("N/A".to_owned(), |number| units::human_size(number, 3))
    };
    row! {
        "ID" => if full { id } else { short_id(id) },
        "Repository" => name,
        "Tag" => tag,
        "Digest" => digest,
        "CreatedSince" => time::ago(created as f64),
        "CreatedAt" => time::go_string(created),
        "Size" => units::human_size(json::int(image, "Size"), 3),
        "Containers" => known("Containers").map_or("N/A".to_owned(), |count| count.to_string()),
        "VirtualSize" => units::human_size(json::int(image, "Size"), 4),
        "SharedSize" => bytes(shared),
        "UniqueSize" => bytes(unique),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(image: Value, digests: bool) -> Vec<String> {
        let text = |row: &Row, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        rows(&image, digests, false)
            .iter()
            .map(|row| {
                format!(
                    "{} {} {}",
                    text(row, "Repository"),
                    text(row, "Tag"),
                    text(row, "Digest")
                )
            })
            .collect()
    }

    #[test]
    fn names_of_an_image() {
        let both =
            json!({"Id": "sha256:1", "RepoTags": ["a:1", "a:2"], "RepoDigests": ["a@sha256:d"]});
        assert_eq!(shown(both.clone(), false), ["a 1 <none>", "a 2 <none>"]);
        assert_eq!(shown(both, true), ["a 1 sha256:d", "a 2 sha256:d"]);
        let untagged = json!({"Id": "sha256:1", "RepoTags": [], "RepoDigests": ["a@sha256:d"]});
        assert_eq!(shown(untagged, false), ["a <none> "]);
        assert_eq!(
            shown(
                json!({"Id": "sha256:1", "RepoTags": ["<none>:<none>"]}),
                false
            ),
            ["<none> <none> <none>"]
        );
    }
}
